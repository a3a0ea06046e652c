"""What a space is worth on rows that it has not seen, with intervals over seeds and items."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from jam.align.adapter import Adapter
from jam.align.items import Items, owners
from jam.metrics import (
    alignment,
    average_precision,
    hard_negative_correct,
    modality_gap,
    preservation_rows,
    reconstruction_r2,
    relevant_first,
    retrieval_ranks,
    t_interval,
    uniformity,
)

RECALLS = (1, 5, 10)
RELATION = "replace_relation"  # told by its kind alone: it asks for more than the single edits that a tier's mean is of


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
    label: str | None = None
    condition: str | None = None
    against: str | None = None


@dataclass(frozen=True)
class PerRow:
    """A metric that is a mean over observations, each of which belongs to an item.

    Attributes:
        values: (m,) one for each observation.
        item: (m,) the item (0 … n−1) that it belongs to; items are what a bootstrap may resample.
        chance: what the mean is where answers are drawn at random, if that is known.
        null: what it exceeds by chance in one case of twenty.
        ceiling: what it could be at best.
    """

    values: np.ndarray
    item: np.ndarray
    chance: float | None = None
    null: float | None = None
    ceiling: float | None = None

    def told(self) -> dict[str, object]:
        """What its mean is held against, in columns of `jam.results`."""
        known = {"null_mean": self.chance, "null": self.null, "ceiling": self.ceiling}
        return {name: value for name, value in known.items() if value is not None}


Outcome = PerRow | float


def evaluate(
    adapters: Mapping[str, Adapter],
    items: Items,
    pairs: Sequence[tuple[str, str]],
    negatives: Mapping[str, pd.DataFrame],
    k: int,
    relevant: Mapping[tuple[str, str], np.ndarray] | None = None,
    ranked: bool = True,
) -> dict[Key, Outcome]:
    """Score the adapters of a space.

    Args:
        adapters: by side.
        items: the rows to score on.
        pairs: of sides.
        negatives: by side one row for each false view, as `jam.align.rows.negative_rows` gives it.
        k: neighbours, for preservation.
        relevant: of pairs where it is known, which view of x (rows) is true of which of y (columns), in the order of
            `jam.align.items.SideRows.flat`.
        ranked: whether all answers are ranked for their average precision, which takes longer than all else.

    Returns:
        For each key its outcome. Of pairs: retrieval both ways, of an item's own views and, where it is known, of all
        that are true; accuracy on the false views of the second side by kind, and by tier as the mean of its kinds;
        alignment and modality gap of the items' first views. Of sides: preservation, uniformity and, of autoencoders,
        reconstruction R², on the items' first views; trained parameters.
    """
    outcomes: dict[Key, Outcome] = {}
    flat = {name: side.flat() for name, side in items.sides.items()}
    features = {name: side.table[flat[name][0]] for name, side in items.sides.items()}
    latents = {name: adapters[name].encode(rows) for name, rows in features.items()}
    first = {name: np.unique(item, return_index=True)[1] for name, (_, item) in flat.items()}
    for x, y in pairs:
        outcomes |= _retrieval(x, y, latents, flat)
        if relevant and (x, y) in relevant:
            outcomes |= true_retrieval(x, y, latents, flat, relevant[x, y], ranked)
        if len(negatives.get(y, ())):
            true, false = (
                adapters[y].encode(items.sides[y].table[negatives[y][column].to_numpy()])
                for column in ("true_row", "row")
            )
            outcomes |= hard_negatives(x, y, latents[x][first[x]], true, false, negatives[y])
    for name, adapter in adapters.items():
        rows, mapped = features[name][first[name]], latents[name][first[name]]
        if adapter.reconstructs:
            outcomes[Key("reconstruction_r2", name)] = reconstruction_r2(rows, adapter.autoencode(rows))
        kept = preservation_rows(rows, mapped, k)
        outcomes[Key("preservation", name, k=k)] = PerRow(kept, np.arange(len(items)))
        outcomes[Key("uniformity", name)] = uniformity(mapped)
        outcomes[Key("parameters", name)] = float(sum(weights.numel() for weights in adapter.tower.parameters()))
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
    for direction, ranks, item, there in zip(
        ("x_to_y", "y_to_x"), both, (item_x, item_y), (item_y, item_x), strict=True
    ):
        right = np.bincount(there, minlength=item.max() + 1)[item]
        for cut in RECALLS:
            by_chance = float(chance_of_recall(right, len(there), cut).mean())
            found[Key("recall", x, y, direction, cut)] = PerRow(ranks <= cut, item, by_chance)
        found[Key("mrr", x, y, direction)] = PerRow(1 / ranks, item)
        found[Key("median_rank", x, y, direction)] = float(np.median(ranks))
    return found


def chance_of_recall(right: np.ndarray, n: int, k: int) -> np.ndarray:
    """The chance that one of so many right answers is among k drawn of n: 1 − C(n−right, k) / C(n, k)."""
    drawn = np.arange(min(k, n))
    left = np.maximum(n - right[..., None] - drawn, 0)
    return 1 - (left / (n - drawn)).prod(axis=-1)


def true_retrieval(
    x: str,
    y: str,
    latents: Mapping[str, np.ndarray],
    flat: Mapping[str, tuple[np.ndarray, np.ndarray]],
    relevant: np.ndarray,
    ranked: bool,
) -> dict[Key, Outcome]:
    """R@1 of any right answer both ways, ``relevant`` (n, m) tells which; with ``ranked`` average precision too."""
    found: dict[Key, Outcome] = {}
    for direction, a, b, right in (("x_to_y", x, y, relevant), ("y_to_x", y, x, relevant.T)):
        asked = latents[a], latents[b], right
        found[Key("true_recall", x, y, direction, 1)] = PerRow(relevant_first(*asked), flat[a][1], float(right.mean()))
        if ranked:
            found[Key("average_precision", x, y, direction)] = PerRow(average_precision(*asked), flat[a][1])
    return found


def fine_recall(
    adapters: Mapping[str, Adapter],
    items: Items,
    group: np.ndarray,
    scene: np.ndarray,
    pairs: Sequence[tuple[str, str]],
) -> dict[Key, Outcome]:
    """Whether each item finds its own view among those of its group, which all but equal it; chance is one in a group.

    Args:
        adapters: by side.
        items: of the fine gallery, each with one view on every side.
        group: (n,) the group of each item, numbers from 0.
        scene: (groups,) the test item that each group is made of: what a bootstrap resamples.
        pairs: of sides.
    """
    outcomes: dict[Key, Outcome] = {}
    latents = {name: adapters[name].encode(side.table[side.true[:, 0]]) for name, side in items.sides.items()}
    members = [np.flatnonzero(group == number) for number in range(group.max() + 1)]
    for x, y in pairs:
        for direction, a, b in (("x_to_y", x, y), ("y_to_x", y, x)):
            hits = [relevant_first(latents[a][rows], latents[b][rows], np.eye(len(rows))) for rows in members]
            outcomes[Key("fine_recall", x, y, direction, 1)] = PerRow(
                np.concatenate(hits), scene[np.sort(group)], len(members) / len(group)
            )
    return outcomes


def hard_negatives(
    x: str, y: str, anchors: np.ndarray, true: np.ndarray, false: np.ndarray, negatives: pd.DataFrame
) -> dict[Key, Outcome]:
    """Accuracy on false views by kind and by tier: of vectors of items (n, d), of true and of false views (q, d)."""
    found: dict[Key, Outcome] = {}
    item = negatives["item"].to_numpy()
    correct = hard_negative_correct(anchors, true, false, item, np.arange(len(item)))
    tier, kind = (negatives[column].to_numpy() for column in ("tier", "kind"))
    for group in np.unique(kind):
        here = kind == group
        found[Key("hard_negatives", x, y, kind=group)] = PerRow(correct[here], item[here])
    for group in np.unique(tier):
        here = (tier == group) & (kind != RELATION) if (kind[tier == group] != RELATION).any() else tier == group
        _, of, counts = np.unique(kind[here], return_inverse=True, return_counts=True)
        share = here.sum() / (len(counts) * counts[of])  # all kinds count the same, however many there are of each
        found[Key("hard_negatives", x, y, tier=group)] = PerRow(correct[here] * share, item[here])
    return found


def rows_of(outcomes: Mapping[Key, Outcome]) -> Iterator[dict[str, object]]:
    """The outcomes of one seed as rows of results, without intervals."""
    for key, outcome in outcomes.items():
        yield {**asdict(key), "value": _value(outcome)}


def summarise(
    runs: Mapping[int, Mapping[Key, Outcome]],
    n: int,
    resamples: int,
    seed: int = 0,
    confidence: float = 0.95,
    units: np.ndarray | None = None,
) -> pd.DataFrame:
    """Results over seeds: a row for each key and seed, and one for their mean with its interval.

    The interval of a mean over rows is a two-level bootstrap: seeds and items are both drawn with replacement, an
    item with all of its observations (its captions, its negatives), and items of one unit together. Other metrics have
    a t-interval over seeds.

    Args:
        runs: outcomes by seed.
        n: number of items.
        resamples: of the bootstrap.
        seed: of the bootstrap.
        confidence: of the interval.
        units: (n,) numbers from 0, one for items that are no independent draws (images of one scene); each its own if
            None.

    Returns:
        The columns of `Key`, and seed (empty of a mean), value, low, high, interval (of means), what they are
        held against (`PerRow.told`), n (of a mean the least of its seeds'), seeds.
    """
    rows = []
    generator = np.random.default_rng(seed)
    units = np.arange(n) if units is None else units
    count = int(units.max()) + 1
    weights = generator.multinomial(count, np.full(count, 1 / count), size=resamples)[:, units]
    seed_weights = generator.multinomial(len(runs), np.full(len(runs), 1 / len(runs)), size=resamples) / len(runs)
    for key in next(iter(runs.values())):
        outcomes = [run[key] for run in runs.values()]
        values = [_value(outcome) for outcome in outcomes]
        mean: dict[str, object] = {"value": np.mean(values)}
        if all(isinstance(outcome, PerRow) for outcome in outcomes):
            low, high = _bootstrap(outcomes, n, weights, seed_weights, confidence)  # type: ignore[arg-type]
            how = "bootstrap over seeds and items" if len(runs) > 1 else "bootstrap over items"
            mean |= {"low": low, "high": high, "interval": how}
            mean |= outcomes[0].told()  # type: ignore[union-attr]
        elif len(runs) > 1:
            low, high = t_interval(values, confidence)
            mean |= {"low": low, "high": high, "interval": "t over seeds"}
        counts = [len(of.values) if isinstance(of, PerRow) else n for of in outcomes]
        each = zip(runs, values, counts, strict=True)
        rows += [{**asdict(key), "n": m, "seeds": len(runs), "seed": s, "value": value} for s, value, m in each]
        rows.append({**asdict(key), "n": min(counts), "seeds": len(runs), **mean})
    return pd.DataFrame(rows)


def _value(outcome: Outcome) -> float:
    return float(np.mean(outcome.values)) if isinstance(outcome, PerRow) else float(outcome)


def _bootstrap(
    outcomes: Sequence[PerRow], n: int, item_weights: np.ndarray, seed_weights: np.ndarray, confidence: float
) -> tuple[float, float]:
    """Percentiles of the resampled mean: weights (resamples, n) and (resamples, seeds) say what each draw holds."""
    sums = np.stack([np.bincount(outcome.item, weights=outcome.values, minlength=n) for outcome in outcomes])
    counts = np.stack([np.bincount(outcome.item, minlength=n) for outcome in outcomes])
    if (counts == counts[0]).all():
        held = item_weights @ counts[0]
        means = ((seed_weights @ sums) * item_weights).sum(axis=1)[held > 0] / held[held > 0]
    else:  # each seed says another number of times: the mean of its own shares, without draws in which it says nothing
        told, held = item_weights @ sums.T, item_weights @ counts.T
        shares = np.divide(told, held, out=np.full(told.shape, np.nan), where=held > 0)
        means = np.where(seed_weights > 0, seed_weights * shares, 0).sum(axis=1)
    low, high = np.nanquantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
