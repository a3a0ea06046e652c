"""Does a kernel metric see fine detail? How far it falls when one thing is changed, beside how far it should.

Alignment of two views of the same items falls when the second ones tell of items with one thing changed. The yardstick
is the state itself against the same state with one thing changed: where even the states hardly differ by a metric, no
representation can be blamed.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from jam.metrics.kernels import layer_alignment
from jam.metrics.kernels.nulls import deal, jackknife_interval
from jam.world.edits import edit_states
from jam.world.state import States, facts

GRAM = ("mutual_knn", "unbiased_cka", "cknna")
"""Metrics whose value by chance is known: k / (n − 1) of neighbours, else 0."""
FALL, STATE, FROZEN = "fall", "state", "frozen"
Floats = npt.NDArray[np.float64]


class Views(NamedTuple):
    """Rows (n, d) of the same n items: of one side, of the other, and of the other with one thing changed."""

    told: Mapping[str, Any]
    x: np.ndarray
    matched: np.ndarray
    changed: np.ndarray


def yardstick(states: States, seed: int) -> Views:
    """The state against itself, and against itself with one attribute of one thing replaced."""
    rng = np.random.default_rng(seed)
    edited = []
    for state in states:
        found = [other for kind, other in edit_states(state, rng) if kind.startswith("replace_")]
        edited.append(found[0])
    own = facts(states)
    return Views({"x": STATE, "y": STATE}, own, own, facts(np.stack(edited)))


def falls(views: Views, metrics: Sequence[str], k: int, fold: npt.NDArray[np.int64]) -> dict[str, Floats]:
    """Share of each metric, above its chance, that is lost: of all rows, then without each fold, (1 + folds,)."""
    found: dict[str, list[float]] = {metric: [] for metric in metrics}
    for left_out in range(-1, int(fold.max()) + 1):
        rows = fold != left_out
        x, matched, changed = (of[rows] for of in (views.x, views.matched, views.changed))
        scores = layer_alignment([x], [matched, changed], metrics, k, normalize=False).scores
        for metric in metrics:
            [[whole, less]] = scores[metric].tolist()
            chance = k / (len(x) - 1) if metric == "mutual_knn" else 0.0
            found[metric].append((whole - less) / (whole - chance))
    return {metric: np.array(values) for metric, values in found.items()}


def detail_rows(
    frozen: Views, aligned: Sequence[Views], states: States, metrics: Sequence[str], k: int, folds: int, seed: int
) -> list[dict[str, Any]]:
    """Falls of the state, of frozen sides and of aligned ones, and paired differences between them.

    Args:
        frozen: before alignment.
        aligned: after it, in some spaces.
        states: of the same items.
        metrics: of the kernels; those of `GRAM` are taken.
        k: neighbours.
        folds: of the delete-a-group jackknife, the same for all.
        seed: of the folds and of what is changed.

    Returns:
        Rows of results under the condition ``fall``: each value, then with ``against`` its difference from that of the
        state, and of aligned sides from the frozen ones.
    """
    metrics = [metric for metric in GRAM if metric in metrics]
    fold = deal(len(states), folds, seed)
    everything = [yardstick(states, seed), frozen, *aligned]
    lost = [falls(views, metrics, k, fold) for views in everything]
    rows = []
    for views, mine in zip(everything, lost, strict=True):
        against: list[tuple[str | None, dict[str, Floats] | None]] = [(None, None)]
        against += [(STATE, lost[0])] if views is not everything[0] else []
        against += [(FROZEN, lost[1])] if any(views is one for one in aligned) else []
        for metric in metrics:
            for name, other in against:
                values = mine[metric] - (other[metric] if other else 0)
                interval = jackknife_interval(float(values[0]), values[1:])
                told = {**views.told, "condition": FALL, "metric": metric, "against": name, "value": float(values[0])}
                told |= {"low": interval.low, "high": interval.high, "interval": "jackknife over rows"}
                rows.append(told | {"n": len(states), "k": k if metric != "unbiased_cka" else None, "split": "test"})
    return rows
