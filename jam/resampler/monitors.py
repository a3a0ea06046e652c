"""What is watched of adapters that read tokens: norms, attention, latents, and how pairs stand to one another."""

from collections.abc import Iterator
from typing import cast

import numpy as np
import torch
from torch import Tensor

from jam.align.resampler import Resampler
from jam.align.token_adapter import TOGETHER, TokenAdapter
from jam.features.ragged import Ragged
from jam.metrics import alignment, uniformity

Monitor = tuple[str, str | None]
"""Its name, and of which side; None of both."""


def latent_diversity(latents: np.ndarray) -> float:
    """1 − the mean cosine of two latents of an item, the mean over items: 0 where all latents are one.

    Args:
        latents: (n, K, w) with K ≥ 2.
    """
    units = latents / np.maximum(np.linalg.norm(latents, axis=2, keepdims=True), 1e-12)
    count = units.shape[1]
    total = np.square(units.sum(axis=1)).sum(axis=1) - np.square(units).sum(axis=(1, 2))
    return float(1 - (total / (count * (count - 1))).mean())


@torch.inference_mode()
def _attention(adapter: TokenAdapter, tokens: Ragged) -> Iterator[tuple[np.ndarray, Tensor, int, list[Tensor]]]:
    """Batch by batch, in evaluation mode: rows, tokens of each, of the longest, and attention layer by layer."""
    reducer, training = adapter.reducer, adapter.training
    assert isinstance(reducer, Resampler)
    adapter.eval()
    try:
        for rows in tokens.batches(TOGETHER):
            states, real = (torch.from_numpy(each).to(adapter.modality.device) for each in tokens[rows].flat())
            yield rows, real.sum(dim=1), real.shape[1], reducer.weights(adapter.tokens(states, real), real)
    finally:
        adapter.train(training)


def attention(adapter: TokenAdapter, tokens: Ragged) -> list[np.ndarray]:
    """Of each item what each latent takes of each key in the last layer, the mean over heads: (K, tokens), or, where
    latents are among their own keys, (K, tokens + K), themselves last.
    """
    found = dict[int, np.ndarray]()
    for rows, lengths, longest, layers in _attention(adapter, tokens):
        weights = layers[-1].mean(dim=1).cpu().numpy()
        for row, each, length in zip(rows.tolist(), weights, lengths.tolist(), strict=True):
            found[row] = np.concatenate([each[:, :length], each[:, longest:]], axis=1)
    return [found[row] for row in range(len(tokens))]


def attention_entropy(adapter: TokenAdapter, tokens: Ragged) -> float:
    """−Σ a log a / log t over the t keys of an item, the mean over heads, layers, latents and items; 1 is uniform."""
    total, count, masked = 0.0, 0, cast(Resampler, adapter.reducer).masked
    for rows, lengths, longest, layers in _attention(adapter, tokens):
        for weights in layers:
            keys = lengths + (weights.shape[-1] - longest) if masked else weights.shape[-1]
            entropy = torch.special.entr(weights).sum(dim=-1) / torch.as_tensor(keys).log().view(-1, 1, 1)
            several = torch.as_tensor(keys).expand(len(rows)) > 1  # of a single key there is nothing to spread over
            total += float(entropy[several].sum())
            count += int(entropy[several].numel())
    return total / max(count, 1)


def monitors(adapters: dict[str, TokenAdapter], tokens: dict[str, Ragged]) -> dict[Monitor, float]:
    """By name of a monitor and side (None of both): of items that each side sees once, row by row.

    ``norm`` is the largest |‖z‖ − 1|, ``diagonal`` the mean cosine of matching pairs minus that of all others.
    """
    vectors = {name: adapter.encode(tokens[name]) for name, adapter in adapters.items()}
    a, b = vectors.values()
    cosines = a @ b.T
    own = float(np.diagonal(cosines).mean())
    others = float((cosines.sum() - np.trace(cosines)) / (cosines.size - len(cosines)))
    found: dict[tuple[str, str | None], float] = {
        ("diagonal", None): own - others,
        ("alignment", None): alignment(a, b),
    }
    for name, adapter in adapters.items():
        found["norm", name] = float(np.abs(np.linalg.norm(vectors[name], axis=1) - 1).max())
        found["uniformity", name] = uniformity(vectors[name])
        latents = adapter.encode_latents(tokens[name])
        if latents.shape[1] > 1:
            found["latent_diversity", name] = latent_diversity(latents)
            found["latent_rank", name] = float(np.mean([_rank(each) for each in latents]))
            found["attention_entropy", name] = attention_entropy(adapter, tokens[name])
    return found


def _rank(latents: np.ndarray) -> float:
    """Effective rank of the latents of an item (K, w): exp of the entropy of the shares of their singular values."""
    shares = np.linalg.svd(latents, compute_uv=False)
    shares = shares[shares > 1e-12 * shares[0]] / shares.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))
