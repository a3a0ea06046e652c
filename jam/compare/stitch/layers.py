"""Stitching by layer: the bottom of one image tower, a map of each token, the top of another."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from jam.compare.resamples import Resamples
from jam.compare.stitch.halves import bottoms, fitted_to, like, rows_of, top
from jam.compare.stitch.maps import Map, fit_map, unit_rows
from jam.compare.stitch.towers import OWN, SHUFFLED, STITCHED, UNTRAINED, Hits, hits, score_rows
from jam.encoders import Encoder

BATCH = 250
TOKENS = 8_000  # that a map is fitted on at most
TRAINED = "trained"


@dataclass(frozen=True)
class Bottoms:
    """States of every layer, 0 … last, of the same images: (n, t, d) tokens or (n, d, h, w) maps."""

    train: Sequence[Tensor]
    test: Sequence[Tensor]


@dataclass(frozen=True)
class Told:
    """What B's text tower makes of the images' captions: (n, d) of the training, (m, d) of the test images."""

    train: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Learning:
    """How a trained map learns: Adam on the contrastive loss of images and B's texts, through B's frozen top."""

    epochs: int
    learning_rate: float
    batch_size: int
    temperature: float = 0.07


def states_of(encoder: Encoder, images: Sequence[Any]) -> list[Tensor]:
    """States of every layer, as `bottoms` gives them."""
    parts = []
    for start in range(0, len(images), BATCH):
        inputs = encoder.prepare(images[start : start + BATCH])
        parts.append([states.cpu() for states in bottoms(encoder, inputs)])
    return [torch.cat(layer) for layer in zip(*parts, strict=True)]


def token_map(method: str, of_a: Tensor, of_b: Tensor, seed: int, shuffled: bool = False) -> Map:
    """A map of tokens, fitted on the same places of the same images (``shuffled``: of other images).

    Args:
        method: of `jam.compare.stitch.maps.FITS`.
        of_a: states of A of the training images, at B's places.
        of_b: of B.
        seed: of the tokens that are drawn.
    """
    if shuffled:
        of_b = of_b.roll(1, dims=0)
    x, y = rows_of(of_a), rows_of(of_b)
    drawn = torch.from_numpy(np.sort(np.random.default_rng(seed).permutation(len(x))[:TOKENS]))
    return fit_map(method, x[drawn].numpy(), y[drawn].numpy())


class TokenMap(nn.Linear):
    """A map as a layer, to run and to train: rows of a token are mapped alike at all places."""

    @classmethod
    def of(cls, made: Map) -> "TokenMap":
        """With the weights of a fitted map."""
        layer = cls(*made.matrix.shape)
        bias = made.after - made.before @ made.matrix
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(np.ascontiguousarray(made.matrix.T)))
            layer.bias.copy_(torch.from_numpy(bias))
        return layer

    def states(self, of_a: Tensor) -> Tensor:
        """States of A as states of B."""
        return like(self(rows_of(of_a)), of_a)


@torch.inference_mode()
def vectors(made: TokenMap, encoder: Encoder, of_a: Tensor, layer: int) -> np.ndarray:
    """What B's top makes of A's mapped states, (n, d)."""
    parts = [top(encoder, made.states(part), layer) for part in of_a.split(BATCH)]
    found: np.ndarray = torch.cat(parts).numpy()
    return found


def train_map(
    made: TokenMap, encoder: Encoder, of_a: Tensor, layer: int, texts: np.ndarray, learning: Learning, seed: int
) -> TokenMap:
    """Train a map, from where it is, by the task itself: that images and their texts are near in B's space.

    Args:
        made: new, or fitted.
        encoder: B, frozen.
        of_a: states of A of the training images, at B's places.
        layer: of B from which its top runs.
        texts: (n, d) of B's text tower, of the same images.
        learning: see there.
        seed: of the batches.
    """
    told = torch.from_numpy(unit_rows(texts)).float()
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.Adam(made.parameters(), lr=learning.learning_rate)
    for _ in range(learning.epochs):
        order = torch.from_numpy(rng.permutation(len(of_a)))
        for rows in order.split(learning.batch_size):
            seen = nn.functional.normalize(top(encoder, made.states(of_a[rows]), layer), dim=1)
            logits = seen @ told[rows].T / learning.temperature
            own = torch.arange(len(rows))
            loss = (nn.functional.cross_entropy(logits, own) + nn.functional.cross_entropy(logits.T, own)) / 2
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return made


@dataclass(frozen=True)
class Above:
    """What is stitched onto: B's image tower, states of its layers, and what its text tower makes of the captions."""

    encoder: Encoder
    states: Bottoms
    told: Told


def stitched_at(
    of: Bottoms,
    b: Above,
    way: tuple[int, int],
    method: str,
    seed: int,
    *,
    shuffled: bool = False,
    learning: Learning | None = None,
) -> Hits:
    """Retrieval of B's texts by images that A has seen up to a layer and B from one.

    Args:
        of: states of A.
        b: see there.
        way: layer l of A and m of B.
        method: of the map, which is fitted first in any case.
        seed: of drawn tokens and batches.
        shuffled: fitted on tokens of other images.
        learning: how the map is trained further; None for not at all.
    """
    low, m = way
    there = b.states.train[m]
    of_a = fitted_to(of.train[low], there)
    made = TokenMap.of(token_map(method, of_a, there, seed, shuffled))
    if learning is not None:
        made = train_map(made, b.encoder, of_a, m, b.told.train, learning, seed)
    return hits(vectors(made, b.encoder, fitted_to(of.test[low], there), m), b.told.test)


def layer_rows(
    a: Bottoms,
    b: Above,
    untrained: Bottoms | None,
    *,
    methods: Sequence[str],
    learning: Learning | None,
    drawn: Resamples,
    seed: int,
) -> Iterator[dict[str, Any]]:
    """Rows of results of every layer l of A into every layer m of B, retrieval with B's texts.

    Late layers into early ones (l beyond m) are among them: that these score well says that stitching does not tell
    what a layer is. On the diagonal (l = m) controls: ``shuffled`` images, and an ``untrained`` bottom of A, by the
    first method. A map is trained on the diagonal, on the diagonal above an untrained bottom, and from the last layer
    of A into every one of B.

    Args:
        a: states of A, of the same images as B's.
        b: see there.
        untrained: of A before its training.
        methods: of maps.
        learning: of the trained map; None for none.
        drawn: the bootstrap of the test items.
        seed: of drawn tokens and batches.
    """
    first, last = methods[0], len(a.train) - 1
    whole = b.states.test[0]
    own = hits(vectors(_same(whole), b.encoder, whole, 0), b.told.test)
    yield from score_rows(own, {"condition": OWN, "y_layer": 0}, drawn)
    for way in product(range(len(a.train)), range(len(b.states.train))):
        cells: list[tuple[str, str, Bottoms, dict[str, Any]]] = [(STITCHED, method, a, {}) for method in methods]
        trained: dict[str, Any] = {"learning": learning}
        if way[0] == way[1]:
            cells.append((SHUFFLED, first, a, {"shuffled": True}))
            if untrained is not None:
                cells.append((UNTRAINED, first, untrained, {}))
            if untrained is not None and learning is not None:
                cells.append((UNTRAINED, TRAINED, untrained, trained))
        if way[0] in (way[1], last) and learning is not None:
            cells.append((STITCHED, TRAINED, a, trained))
        for condition, method, of, how in cells:
            found = stitched_at(of, b, way, first if method == TRAINED else method, seed, **how)
            told = {"x_layer": way[0], "y_layer": way[1], "condition": condition, "method": method}
            yield from score_rows(found, told, drawn, {OWN: own})


def _same(states: Tensor) -> TokenMap:
    """The identity on tokens of such states."""
    width = rows_of(states[:1]).shape[1]
    return TokenMap.of(Map(np.zeros(width), np.eye(width), np.zeros(width)))
