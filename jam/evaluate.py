"""What a space is worth on rows that it has not seen, with intervals over seeds and items."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from jam.align.adapter import Adapter
from jam.align.items import Items, owners
from jam.metrics import (
    alignment,
    hard_negative_correct,
    modality_gap,
    preservation_rows,
    reconstruction_r2,
    retrieval_ranks,
    t_interval,
    uniformity,
)

RECALLS = (1, 5, 10)


@dataclass(frozen=True)
class Key:
    """What an outcome is, in the columns of `jam.results`: of two sides, or of one side alone."""

    metric: str
    x: str
    y: str | None = None
    direction: str | None = None
    k: int | None = None
    tier: str | None = None
    kind: str | None = None


@dataclass(frozen=True)
class PerRow:
    """A metric that is a mean over observations, each of which belongs to an item.

    Attributes:
        values: (m,) one for each observation.
        item: (m,) the item (0 … n−1) that it belongs to; items are what a bootstrap may resample.
    """

    values: np.ndarray
    item: np.ndarray


Outcome = PerRow | float


def evaluate(
    adapters: Mapping[str, Adapter],
    items: Items,
    pairs: Sequence[tuple[str, str]],
    negatives: Mapping[str, pd.DataFrame],
    k: int,
) -> dict[Key, Outcome]:
    """Score the adapters of a space.

    Args:
        adapters: by side.
        items: the rows to score on.
        pairs: of sides.
        negatives: by side one row for each false view, as `jam.align.rows.negative_rows` gives it.
        k: neighbours, for preservation.

    Returns:
        For each key its outcome. Of pairs: retrieval both ways; accuracy on the false views of the second side by
        kind and by tier; alignment and modality gap of the items' first views. Of sides: preservation, uniformity and,
        of autoencoders, reconstruction R², on the items' first views.
    """
    outcomes: dict[Key, Outcome] = {}
    flat = {name: side.flat() for name, side in items.sides.items()}
    features = {name: side.table[flat[name][0]] for name, side in items.sides.items()}
    latents = {name: adapters[name].encode(rows) for name, rows in features.items()}
    first = {name: np.unique(item, return_index=True)[1] for name, (_, item) in flat.items()}
    for x, y in pairs:
        outcomes |= _retrieval(x, y, latents, flat)
        if len(negatives.get(y, ())):
            outcomes |= _negatives(x, y, latents[x][first[x]], adapters[y], items.sides[y].table, negatives[y])
    for name, adapter in adapters.items():
        rows, mapped = features[name][first[name]], latents[name][first[name]]
        if adapter.reconstructs:
            outcomes[Key("reconstruction_r2", name)] = reconstruction_r2(rows, adapter.autoencode(rows))
        kept = preservation_rows(rows, mapped, k)
        outcomes[Key("preservation", name, k=k)] = PerRow(kept, np.arange(len(items)))
        outcomes[Key("uniformity", name)] = uniformity(mapped)
    for x, y in pairs:
        outcomes[Key("alignment", x, y)] = alignment(latents[x][first[x]], latents[y][first[y]])
        outcomes[Key("modality_gap", x, y)] = modality_gap(latents[x][first[x]], latents[y][first[y]])
    return outcomes


def _retrieval(
    x: str, y: str, latents: Mapping[str, np.ndarray], flat: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> dict[Key, Outcome]:
    found: dict[Key, Outcome] = {}
    item_x, item_y = flat[x][1], flat[y][1]
    both = retrieval_ranks(latents[x], latents[y], *owners(item_x, item_y))
    for direction, ranks, item in zip(("x_to_y", "y_to_x"), both, (item_x, item_y), strict=True):
        for cut in RECALLS:
            found[Key("recall", x, y, direction, cut)] = PerRow(ranks <= cut, item)
        found[Key("mrr", x, y, direction)] = PerRow(1 / ranks, item)
        found[Key("median_rank", x, y, direction)] = float(np.median(ranks))
    return found


def _negatives(
    x: str, y: str, anchors: np.ndarray, adapter: Adapter, table: np.ndarray, negatives: pd.DataFrame
) -> dict[Key, Outcome]:
    found: dict[Key, Outcome] = {}
    item = negatives["item"].to_numpy()
    true, false = (adapter.encode(table[negatives[column].to_numpy()]) for column in ("true_row", "row"))
    correct = hard_negative_correct(anchors, true, false, item, np.arange(len(item)))
    for column in ("kind", "tier"):
        for group in sorted(negatives[column].unique()):
            here = (negatives[column] == group).to_numpy()
            found[Key("hard_negatives", x, y, **{column: group})] = PerRow(correct[here], item[here])
    return found


def rows_of(outcomes: Mapping[Key, Outcome]) -> Iterator[dict[str, object]]:
    """The outcomes of one seed as rows of results, without intervals."""
    for key, outcome in outcomes.items():
        yield {**asdict(key), "value": _value(outcome)}


def summarise(
    runs: Mapping[int, Mapping[Key, Outcome]], n: int, resamples: int, seed: int = 0, confidence: float = 0.95
) -> pd.DataFrame:
    """Results over seeds: a row for each key and seed, and one for their mean with its interval.

    The interval of a mean over rows is a two-level bootstrap: seeds and items are both drawn with replacement, an
    item with all of its observations (its captions, its negatives). Other metrics have a t-interval over seeds.

    Args:
        runs: outcomes by seed.
        n: number of items.
        resamples: of the bootstrap.
        seed: of the bootstrap.
        confidence: of the interval.

    Returns:
        The columns of `Key`, and seed (empty of a mean), value, low, high, interval (of means), n, seeds.
    """
    rows = []
    generator = np.random.default_rng(seed)
    item_weights = generator.multinomial(n, np.full(n, 1 / n), size=resamples)
    seed_weights = generator.multinomial(len(runs), np.full(len(runs), 1 / len(runs)), size=resamples) / len(runs)
    for key in next(iter(runs.values())):
        outcomes = [run[key] for run in runs.values()]
        values = [_value(outcome) for outcome in outcomes]
        mean: dict[str, object] = {"value": np.mean(values)}
        if all(isinstance(outcome, PerRow) for outcome in outcomes):
            low, high = _bootstrap(outcomes, n, item_weights, seed_weights, confidence)  # type: ignore[arg-type]
            how = "bootstrap over seeds and items" if len(runs) > 1 else "bootstrap over items"
            mean |= {"low": low, "high": high, "interval": how}
        elif len(runs) > 1:
            low, high = t_interval(values, confidence)
            mean |= {"low": low, "high": high, "interval": "t over seeds"}
        count = len(outcomes[0].values) if isinstance(outcomes[0], PerRow) else n
        shared = {**asdict(key), "n": count, "seeds": len(runs)}
        rows += [{**shared, "seed": s, "value": value} for s, value in zip(runs, values, strict=True)]
        rows.append({**shared, **mean})
    return pd.DataFrame(rows)


def _value(outcome: Outcome) -> float:
    return float(np.mean(outcome.values)) if isinstance(outcome, PerRow) else float(outcome)


def _bootstrap(
    outcomes: Sequence[PerRow], n: int, item_weights: np.ndarray, seed_weights: np.ndarray, confidence: float
) -> tuple[float, float]:
    """Percentiles of the resampled mean: weights (resamples, n) and (resamples, seeds) say what each draw holds."""
    sums = np.stack([np.bincount(outcome.item, weights=outcome.values, minlength=n) for outcome in outcomes])
    counts = np.bincount(outcomes[0].item, minlength=n)
    held = item_weights @ counts
    means = ((seed_weights @ sums) * item_weights).sum(axis=1)[held > 0] / held[held > 0]
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
