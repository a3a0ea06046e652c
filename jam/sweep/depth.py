"""Which layers align best, over many pairs of encoders: CCA of every layer of the one with every layer of the other.

A closed form needs no training, so that every pair of layers is fitted and the question is asked of many encoders. Its
regularisation is chosen on validation rows, pair by pair; scores are of test rows.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from jam.metrics import relevant_first
from jam.parallel import in_processes

SHRINKAGES = (0.001, 0.01, 0.1)  # ridge on each covariance, in units of its mean variance
COMPONENTS = (16, 48, 128)
_FLAT = 1e-12  # of the mean variance: directions that rounding alone fills

Floats = npt.NDArray[np.float64]
Layers = Mapping[int, Mapping[str, np.ndarray]]
"""Number of a layer → "train", "val" and "test" → (rows, d); rows are the same items in all layers of all encoders."""


@dataclass(frozen=True)
class Fitted:
    """The best CCA of two layers.

    Attributes:
        x, y: names of the encoders.
        layers: their layers.
        shrinkage, components: chosen on validation rows.
        validation: share of queries of both directions that find a right answer first, on validation rows.
        rows: (m,) the same of each test item, mean of both directions.
    """

    x: str
    y: str
    layers: tuple[int, int]
    shrinkage: float
    components: int
    validation: float
    rows: Floats


def fit_layers(
    xs: Mapping[str, Layers], ys: Mapping[str, Layers], relevant: Mapping[str, np.ndarray], workers: int = 1
) -> list[Fitted]:
    """Every layer of every encoder of the one side with every one of the other.

    Args:
        xs: by name, an encoder's layers.
        ys: likewise of the other side.
        relevant: "val" and "test" → (rows, rows) which of x (rows) is a right answer to which of y (columns).
        workers: processes; the numbers are the same with any.
    """
    names = list(product(xs, ys))
    calls = ((x, y, xs[x], ys[y], relevant) for x, y in names)
    found = {(some[0].x, some[0].y): some for some in in_processes(_fit_pair, calls, workers) if some}
    return [one for name in names for one in found.get(name, [])]


def _fit_pair(x: str, y: str, left: Layers, right: Layers, relevant: Mapping[str, np.ndarray]) -> list[Fitted]:
    white = [{number: _Whitened(of) for number, of in layers.items()} for layers in (left, right)]
    return [_fit(x, y, (i, j), a, b, relevant) for (i, a), (j, b) in product(white[0].items(), white[1].items())]


class _Whitened:
    """Principal directions of one layer: each shrinkage only rescales them."""

    def __init__(self, layer: Mapping[str, np.ndarray]) -> None:
        train = layer["train"].astype(np.float64)
        mean = train.mean(axis=0)
        variances, basis = np.linalg.eigh((train - mean).T @ (train - mean) / len(train))
        self.variances, self.unit = np.maximum(variances, 0), variances.mean()
        self.parts = {split: (of - mean) @ basis for split, of in layer.items()}

    def scale(self, shrinkage: float) -> Floats:
        """What each direction is multiplied with."""
        found: Floats = 1 / np.sqrt(self.variances + max(shrinkage, _FLAT) * self.unit)
        return found


def _fit(
    x: str, y: str, layers: tuple[int, int], a: _Whitened, b: _Whitened, relevant: Mapping[str, np.ndarray]
) -> Fitted:
    covariance = a.parts["train"].T @ b.parts["train"] / len(a.parts["train"])
    best: tuple[float, float, int] | None = None
    latents: tuple[Floats, Floats] | None = None
    for shrinkage in SHRINKAGES:
        scale = a.scale(shrinkage), b.scale(shrinkage)
        u, correlations, vt = np.linalg.svd(scale[0][:, None] * covariance * scale[1], full_matrices=False)
        maps = scale[0][:, None] * u * correlations, scale[1][:, None] * vt.T * correlations
        mapped = [(of.parts["val"] @ by, of.parts["test"] @ by) for of, by in zip((a, b), maps, strict=True)]
        for components in dict.fromkeys(min(count, len(correlations)) for count in COMPONENTS):
            val, test = ([of[i][:, :components] for of in mapped] for i in (0, 1))
            score = float(np.mean(_first(val[0], val[1], relevant["val"])))
            if best is None or score > best[0]:
                best, latents = (score, shrinkage, components), (test[0], test[1])
    assert best is not None
    assert latents is not None
    right = relevant["test"]
    rows = relevant_first(*latents, right), relevant_first(latents[1], latents[0], right.T)
    return Fitted(x, y, layers, best[1], best[2], best[0], (rows[0] + rows[1].astype(np.float64)) / 2)


def _first(a: Floats, b: Floats, right: np.ndarray) -> Floats:
    """Whether the nearest is right, (2, n): of x, of y; from one product, ties as they fall."""
    a, b = (of / np.linalg.norm(of, axis=1, keepdims=True) for of in (a, b))
    cosines = a @ b.T
    n = np.arange(len(a))
    found: Floats = np.stack([right[n, cosines.argmax(axis=1)], right[cosines.argmax(axis=0), n]]).astype(np.float64)
    return found


def grids(
    fitted: Iterable[Fitted], numbers: Mapping[str, Sequence[int]], split: str = "test"
) -> dict[tuple[str, str], Floats]:
    """Scores of each pair of encoders, layers of x (rows) × layers of y (columns), as ``numbers`` lists them."""
    found: dict[tuple[str, str], Floats] = {}
    for one in fitted:
        empty = np.full((len(numbers[one.x]), len(numbers[one.y])), np.nan)
        grid = found.setdefault((one.x, one.y), empty)
        at = numbers[one.x].index(one.layers[0]), numbers[one.y].index(one.layers[1])
        grid[at] = one.rows.mean() if split == "test" else one.validation
    return found


def best_of(fitted: Sequence[Fitted]) -> Iterator[Fitted]:
    """Of each pair of encoders the layers that are best on validation rows."""
    for pair in dict.fromkeys((one.x, one.y) for one in fitted):
        yield max((one for one in fitted if (one.x, one.y) == pair), key=lambda one: one.validation)
