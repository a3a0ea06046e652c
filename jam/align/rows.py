"""From the indexes of feature tables to items: rows are joined on the id of what they show."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from jam.align.items import Items, SideRows
from jam.errors import InputError

FeatureTable = tuple[np.ndarray, pd.DataFrame]
"""One layer (rows, d), and what each row is: columns id, split, role, k and, of false views, kind, tier, of."""


def join_sides(tables: Mapping[str, FeatureTable], split: str) -> Items:
    """The items of a split as the named sides see them, in the order of the first side.

    Raises:
        InputError: an id that one side has and another has not.
    """
    lines = {name: _numbered(index, split) for name, (_, index) in tables.items()}
    true = {name: rows[rows["role"] == "true"] for name, rows in lines.items()}
    ids = next(iter(true.values()))["id"].unique()
    for name, rows in true.items():
        if odd := sorted(set(ids) ^ set(rows["id"])):
            first = next(iter(tables))
            raise InputError(
                f"{split}: {len(odd)} ids have a row of {first} or of {name} but not both (first: {odd[0]}); expected "
                "features of one and the same items (run the features stage of both encoders)"
            )
    sides = {}
    for name, (table, _) in tables.items():
        hard = lines[name][(lines[name]["role"] == "false") & (lines[name]["tier"] == "hard")]
        origin = None
        if len(hard):
            made = true[name][["id", "k", "row"]].rename(columns={"k": "of", "row": "origin"})
            hard = hard.merge(made, on=["id", "of"], how="left", validate="many_to_one")
            origin = _grouped(hard.fillna({"origin": -1}).astype({"origin": int}), ids, "origin")
        sides[name] = SideRows(table, _grouped(true[name], ids), _grouped(hard, ids), origin)
    return Items(sides, ids=ids)


def _numbered(index: pd.DataFrame, split: str) -> pd.DataFrame:
    return index.assign(row=index.index.to_numpy())[index["split"] == split]


def _grouped(lines: pd.DataFrame, ids: np.ndarray, what: str = "row") -> np.ndarray:
    """Rows of each id in the order of ``ids``, (n, most) int64, filled with −1 at the end."""
    position = pd.Series(np.arange(len(ids)), index=ids)
    group = position.loc[lines["id"]].to_numpy()
    place = lines.groupby("id", sort=False).cumcount().to_numpy()
    rows = np.full((len(ids), int(place.max(initial=-1)) + 1), -1, dtype=np.int64)
    rows[group, place] = lines[what].to_numpy()
    return rows


def one_row_each(index: pd.DataFrame, split: str) -> np.ndarray:
    """Rows of the first true view of every item of a split, in their order."""
    here = (index["split"] == split) & (index["role"] == "true") & (index["k"] == 0)
    return index.index[here].to_numpy()


def varies(features: np.ndarray) -> bool:
    """Whether any two rows (n, d) differ. The state of a CLS token before the first block does not, for one."""
    return bool((features != features[0]).any())


def negative_rows(index: pd.DataFrame, order: pd.DataFrame, split: str) -> pd.DataFrame:
    """Every false view of a split beside the true one that it is to be compared with.

    Args:
        index: of the side that has them; columns id, split, role, k, kind, tier, of.
        order: index of the side that gives the order of the items.
        split: ``train``, ``val`` or ``test``.

    Returns:
        Columns item (0 … n−1, as in `join_sides`), row, true_row (of the view it was made from), kind, tier.
    """
    first = order[(order["split"] == split) & (order["role"] == "true")]
    ids = first["id"].unique()
    lines = _numbered(index, split)
    true = lines.loc[lines["role"] == "true", ["id", "k", "row"]]
    false = lines.loc[lines["role"] == "false", ["id", "of", "kind", "tier", "row"]]
    joined = false.merge(true.rename(columns={"k": "of", "row": "true_row"}), on=["id", "of"], validate="many_to_one")
    joined["item"] = pd.Series(np.arange(len(ids)), index=ids).loc[joined["id"]].to_numpy()
    return joined[["item", "row", "true_row", "kind", "tier"]]


def mismatched_rows(order: pd.DataFrame, index: pd.DataFrame, split: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Rows of one side, and for each of them a true view of another, one with one thing changed, and another item's.

    Only items with a hard and an easy negative take part. Which of an item's hard negatives is taken rotates, so that
    all kinds occur; the true view is the one that it was made from.

    Returns:
        Rows (m,) of the first side, and of the other (m,) by condition ``matched``, ``hard``, ``easy``; no conditions
        if m = 0.
    """
    rows = one_row_each(order, split)
    negatives = negative_rows(index, order, split)
    hard, easy = (dict(list(negatives[negatives["tier"] == tier].groupby("item"))) for tier in ("hard", "easy"))
    items = sorted(set(hard) & set(easy))
    if not items:
        return rows[:0], {}
    taken = [hard[item].iloc[item % len(hard[item])] for item in items]
    return rows[items], {
        "matched": np.array([negative["true_row"] for negative in taken]),
        "hard": np.array([negative["row"] for negative in taken]),
        "easy": np.array([easy[item].iloc[0]["row"] for item in items]),
    }
