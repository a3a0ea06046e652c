"""A few couples of encoders over more pairs than the grid has, with trained methods beside the closed forms."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jam.features.store import layer_name
from jam.metrics.intervals import paired_difference
from jam.metrics.law import crossing, interval_of
from jam.parallel import in_processes
from jam.params import Objective, Training
from jam.sweep.closed import SETTINGS, Answers, Principal, align
from jam.sweep.members import TRAINED, Ids, Member, answers_of, shared_ids
from jam.sweep.pair_rows import OVER_ITEMS, Row, couple, scored_rows
from jam.sweep.trained import train_on

Booleans = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Curve:
    """Two encoders, all items that both have features of, and which of these belong together."""

    x: Member
    y: Member
    ids: Ids
    answers: Answers


@dataclass(frozen=True)
class Point:
    """What a method reaches on so many pairs: ``own`` and ``true`` as of `jam.sweep.closed.Cell`."""

    method: str
    n: int
    own: Booleans
    true: Booleans
    shrinkage: float | None = None


def curve_of(x: str, y: str, xs: Sequence[Member], ys: Sequence[Member], world: Path) -> Curve:
    """The encoders of these names, as they are after training, from the seed that comes first."""
    a, b = (
        next(one for one in side if one.name == name and one.checkpoint == TRAINED and one.first)
        for name, side in ((x, xs), (y, ys))
    )
    ids = shared_ids(world, (a, b))
    return Curve(a, b, ids, answers_of(world, ids, swapped=a.spec.modality == "text"))


def run_curves(
    curves: Sequence[Curve],
    ns: Sequence[int],
    trained: Mapping[str, Objective],
    trained_ns: Sequence[int],
    training: Training,
    seed: int,
    workers: int,
) -> list[list[Point]]:
    """Closed forms, then trainings in the whitening that CCA has chosen on as many pairs; of each curve its points."""
    closed = dict(in_processes(_closed, ((place, one, ns) for place, one in enumerate(curves)), workers))
    found = [closed[place] for place in range(len(curves))]
    calls = list[tuple[Any, ...]]()
    for place, points in enumerate(found):
        chosen = {point.n: point.shrinkage for point in points if point.shrinkage is not None}
        for name, objective in trained.items():
            for n in (n for n in trained_ns if n in chosen):
                calls.append((place, len(calls), curves[place], n, name, objective, training, chosen[n], seed))
    longest = sorted(calls, key=lambda call: -call[3])
    for place, _, point in sorted(in_processes(_trained, longest, workers), key=lambda one: one[:2]):
        found[place].append(point)
    return found


def _closed(place: int, of: Curve, ns: Sequence[int]) -> tuple[int, list[Point]]:
    left, right = of.x.rows(of.ids), of.y.rows(of.ids)
    points = []
    for n in (n for n in ns if n <= len(left.train)):
        x, y = Principal.of(left, n), Principal.of(right, n)
        for method in SETTINGS:
            cell = align(method, x, y, of.answers)
            points.append(Point(method, n, cell.own, cell.true, cell.setting.get("shrinkage")))
    return place, points


def _trained(
    place: int, number: int, of: Curve, n: int, name: str, objective: Objective, training: Training,
    whitening: float, seed: int,
) -> tuple[int, int, Point]:  # fmt: skip
    paths = {side: one.folder / layer_name(one.layer) for side, one in (("x", of.x), ("y", of.y))}
    return place, number, Point(name, n, *train_on(paths, n, objective, training, of.answers, whitening, seed))


def point_rows(of: Curve, points: Sequence[Point], resamples: int, seed: int) -> Iterator[Row]:
    """The curve; the best of the closed forms minus each trained method, and ridge, and where these cross."""
    told: dict[str, Any] = couple(of.x, of.y)
    for point in points:
        yield from scored_rows(
            {**told, "condition": "curve", "method": point.method, "pairs": point.n},
            point.own, point.true, resamples, seed,
        )  # fmt: skip
    hits = {(point.method, point.n): point.true.mean(axis=0) for point in points}
    trained = dict.fromkeys(point.method for point in points if point.method not in SETTINGS)
    told |= {"split": "test", "direction": "both", "k": 1, "interval": OVER_ITEMS}
    for a in ("cca", "ridge"):
        for b in trained:
            ns = sorted(n for method, n in hits if method == b)
            gaps = np.stack([hits[a, n] - hits[b, n] for n in ns], axis=1)
            for n in ns:
                gap = paired_difference(hits[a, n], hits[b, n], resamples, seed)
                yield {**told, "condition": "curve_difference", "method": a, "against": b, "pairs": n, "n": len(gaps),
                       "metric": "true_recall", "value": gap.value, "low": gap.low, "high": gap.high}  # fmt: skip
            if np.isfinite(at := float(crossing(ns, gaps.mean(axis=0)))):
                drawn = np.random.default_rng(seed).integers(len(gaps), size=(resamples, len(gaps)))
                low, high = interval_of(crossing(ns, gaps[drawn].mean(axis=1)))
                yield {**told, "condition": "curve_crossing", "method": a, "against": b, "metric": "pairs_crossing",
                       "direction": None, "k": None, "value": at, "low": low, "high": high,
                       "n": len(gaps)}  # fmt: skip
