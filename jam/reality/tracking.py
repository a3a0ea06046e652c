"""Which scores track recall and precision: rank correlations over representations, with the encoders resampled."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from jam.metrics.clustered import Floats, cluster_draws, rank_correlations

RAW, CALIBRATED, PARTIAL, GIVEN = "raw", "calibrated", "partial", "given_rank"
BASELINE = "mutual_knn"
BOTH = "both"
_NOTHING = 1e-9  # shares of variance below it are rounding alone
FEWEST = 3  # encoders of a modality, below which nothing can be told

Name = tuple[str, str | None, str | None]
"""A metric, what it compares with, and the form of its score; the latter two of comparisons alone."""

TRIVIAL: Name = ("effective_rank", None, None)


@dataclass(frozen=True)
class Table:
    """Representations and all that is known of them, in one order.

    Attributes:
        encoder: (n,) the encoder that each is made of: what is drawn as one.
        modality: (n,).
        scores: by name (n,), NaN where there is none.
        outcomes: by name (n,).
        among: sets of representations by name, booleans (n,).
    """

    encoder: npt.NDArray[np.object_]
    modality: npt.NDArray[np.object_]
    scores: Mapping[Name, Floats]
    outcomes: Mapping[str, Floats]
    among: Mapping[str, npt.NDArray[np.bool_]]


def correlation_rows(table: Table, resamples: int, seed: int) -> list[dict[str, Any]]:
    """Rows of results: Spearman's ρ of every score with every outcome, in each modality and on average over both.

    Raw scores are told once more with effective rank held constant (partial rank correlation), which is the form
    ``given_rank``. Intervals are percentiles over resampled encoders, the same for all scores, so that differences are
    paired: to mutual kNN with the same references and to effective rank, of other forms to the raw score; of the
    average over modalities alone. With few encoders percentiles are too narrow: that an interval of six or seven
    excludes 0 is weak evidence.
    """
    rows, names = [], list(table.scores)
    raw = [i for i, name in enumerate(names) if name[2] == RAW]
    told = [*names, *((names[i][0], names[i][1], GIVEN) for i in raw if TRIVIAL in table.scores)]
    for among, kept in table.among.items():
        found: dict[str, tuple[Floats, int, int]] = {}  # by modality (scores, outcomes, 1 + resamples), n, encoders
        for modality in dict.fromkeys(table.modality):
            here = kept & (table.modality == modality)
            count = len(set(table.encoder[here]))
            if count >= FEWEST:
                draws = cluster_draws(list(table.encoder[here]), resamples, seed)
                counts = np.concatenate([np.ones((1, int(here.sum()))), draws])
                found[modality] = _correlations(table, here, counts, raw), int(here.sum()), count
        if len(found) > 1:
            parts, sizes, counts_of = zip(*found.values(), strict=True)
            found[BOTH] = np.mean(parts, axis=0), sum(sizes), sum(counts_of)
        for modality, (rho, n, count) in found.items():
            what = {"among": among, "modality": modality, "n": n, "encoders": count}
            last = modality == list(found)[-1]
            rows += [{**what, **row} for row in _rows(told, list(table.outcomes), rho, last)]
    return rows


def _correlations(table: Table, here: npt.NDArray[np.bool_], counts: Floats, raw: Sequence[int]) -> Floats:
    """Of all scores and, given effective rank, of raw ones, with all outcomes under all counts; (p, q, b)."""
    xs, ys = (np.array([values[here] for values in some.values()]) for some in (table.scores, table.outcomes))
    rho = rank_correlations(xs, ys, counts)
    if TRIVIAL not in table.scores:
        return rho
    rank, given = table.scores[TRIVIAL][here], np.full((len(raw), *rho.shape[1:]), np.nan)
    held = np.isfinite(xs[raw])
    for same in np.unique(held, axis=0) if len(raw) else ():  # all three correlations are of the same things
        mine = (held == same).all(axis=1)
        parts = np.array(raw)[mine]
        own = rank_correlations(xs[parts][:, same], rank[None, same], counts[:, same])
        its = rank_correlations(rank[None, same], ys[:, same], counts[:, same])
        left = np.maximum((1 - own**2) * (1 - its**2), 0)  # of the variances of both; nothing of what is a rank itself
        shares = np.where(left > _NOTHING, rho[parts] - own * its, np.nan)
        given[mine] = shares / np.sqrt(np.where(left > _NOTHING, left, 1))
    return np.concatenate([rho, given])


def _rows(names: Sequence[Name], outcomes: Sequence[str], rho: Floats, differences: bool) -> Iterator[dict[str, Any]]:
    """Correlations (names, outcomes, 1 + resamples), the first without resampling, and differences; if defined."""
    place = {name: i for i, name in enumerate(names)}
    for name, (j, outcome) in product(names, enumerate(outcomes)):
        metric, reference, form = name
        what = {"metric": metric, "reference": reference, "form": form, "outcome": outcome}
        mine = rho[place[name], j]
        found: list[tuple[str | None, Floats]] = [(None, mine)]
        for other in _rivals(name) if differences else ():
            if other in place and other != name:
                found.append((RAW if other[0] == metric else other[0], mine - rho[place[other], j]))
        for against, values in found:
            if np.isfinite(values[0]):
                drawn = values[1:][np.isfinite(values[1:])]
                low, high = np.quantile(drawn, [0.025, 0.975]) if len(drawn) else (None, None)
                told = {"value": values[0], "low": low, "high": high, "interval": "bootstrap over encoders"}
                yield {**what, **told, "against": against}


def _rivals(name: Name) -> list[Name]:
    """What a score is compared with: raw ones with mutual kNN and effective rank, its other forms with the raw one."""
    metric, reference, form = name
    rivals: dict[str | None, list[Name]] = {
        RAW: [(BASELINE, reference, RAW), TRIVIAL], GIVEN: [(BASELINE, reference, GIVEN)],
        CALIBRATED: [(metric, reference, RAW)], PARTIAL: [(metric, reference, RAW)], None: [],
    }  # fmt: skip
    return rivals[form]
