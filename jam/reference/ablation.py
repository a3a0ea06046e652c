"""What words cause: the same pairs with and without the words for one attribute, and what is told of it after."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from jam.align.items import Items, SideRows
from jam.errors import InputError
from jam.metrics.intervals import Estimate
from jam.metrics.readout import Readout, Splits

Floats = npt.NDArray[np.float64]
Row = dict[str, Any]
METRIC, WITH, WITHOUT = "reality_recall", "with_words", "without_words"


def without(text: str, words: Sequence[str], article: Callable[[str], str]) -> str:
    """A caption without some words, and with the articles that suit what is left.

    An article that stayed would tell with which sound the missing word began.

    Args:
        text: the caption.
        words: to delete, whole ones alone.
        article: the indefinite article before a word.

    Raises:
        InputError: nothing is left of it.
    """
    gone = set(words)
    left = [word for word in text.split() if word.strip(",:") not in gone]
    if not left:
        raise InputError(f"caption {text!r}: nothing is left of it without the words of reference.ablated.words")
    following = [*left[1:], ""]
    return " ".join(
        article(after) if word in ("a", "an") and after else word for word, after in zip(left, following, strict=True)
    )


def first_views(items: Items, side: str, table: np.ndarray) -> Items:
    """Items with one view of a side, row i of a table for item i, and no false ones of any side.

    False views are left out, as they would be of captions with all their words.
    """
    none = np.empty((len(items), 0), np.int64)
    others = {name: SideRows(of.table, of.true[:, :1], none) for name, of in items.sides.items()}
    return Items({**others, side: SideRows(table, np.arange(len(items))[:, None], none)}, ids=items.ids)


def told(x: Splits, attributes: Mapping[str, Splits]) -> dict[str, Floats]:
    """What each test row (m,) adds to the held-out R² of each attribute, read linearly from a representation."""
    readout = Readout(x)
    return {name: readout.read(columns).rows() for name, columns in attributes.items()}


def over_seeds_and_items(rows: Floats, units: npt.NDArray[np.int64], resamples: int, seed: int = 0) -> Estimate:
    """Mean of (seeds, n) contributions, with the percentiles of a bootstrap that draws seeds, and items by units.

    Args:
        rows: what each item adds, by seed.
        units: (n,) numbers from 0, one for items that are no independent draws.
        resamples: at least 1.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    seeds, count = len(rows), int(units.max()) + 1
    sums = np.stack([np.bincount(units, weights=one, minlength=count) for one in rows])
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=resamples)
    weights = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples) / seeds
    means = ((weights @ sums) * drawn).sum(axis=1) / (drawn @ np.bincount(units, minlength=count))
    low, high = np.quantile(means, [0.025, 0.975])
    return Estimate(float(rows.mean()), float(low), float(high))


def ablation_rows(
    found: Mapping[str, Mapping[Any, Floats]],
    attribute: str,
    against: Sequence[str],
    units: npt.NDArray[np.int64],
    resamples: int,
) -> Iterator[Row]:
    """Rows of results: R² of each attribute with and without the words, their difference, the difference of these.

    with_words, without_words    R² of each attribute (``label``)
    difference                   with − without
    specific                     the attribute's difference − the mean of those of the others, which ``against`` names

    Args:
        found: ``with_words`` and ``without_words`` → attribute → (seeds, n) as `told`.
        attribute: whose words were deleted.
        against: the others.
        units: as `over_seeds_and_items`.
        resamples: as `over_seeds_and_items`.
    """

    def row(condition: str, label: str, rows: Floats, against: str | None = None) -> Row:
        return {
            "split": "test", "metric": METRIC, "condition": condition, "label": label, "against": against,
            "seeds": len(rows), "n": len(np.unique(units)), "interval": "bootstrap over seeds and items",
            **over_seeds_and_items(rows, units, resamples)._asdict(),
        }  # fmt: skip

    differences = {name: found[WITH][name] - found[WITHOUT][name] for name in (attribute, *against)}
    for name, difference in differences.items():
        yield row(WITH, name, found[WITH][name])
        yield row(WITHOUT, name, found[WITHOUT][name])
        yield row("difference", name, difference, WITHOUT)
    others = np.mean([differences[name] for name in against], axis=0)
    yield row("specific", attribute, differences[attribute] - others, ", ".join(against))
