"""Training a space on arrays, for those who bring features of their own."""

import math
import warnings
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from numbers import Integral, Real
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from pydantic import ValidationError
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from jam.align.closed_form import fit_closed_form
from jam.align.items import Items, SideRows
from jam.align.objective import Pair
from jam.align.space import Space, check_names
from jam.align.train import Report, all_pairs, quiet, train
from jam.align.truth import Truth, equal_rows
from jam.align.validation import Validation
from jam.device import pick_device
from jam.errors import InputError
from jam.metrics._rows import Array, Groups, as_rows, numbered
from jam.params import Criterion, Objective, Training, one_line

Labels = Sequence[Hashable] | npt.NDArray[Any]

LATENTS = (64, 256)
STEPS = 500
FEW = 1000
CLOSED = {
    "ridge": {"penalty": (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)},
    "cca": {"components": (8, 16, 32, 64, 128), "shrinkage": (0.001, 0.01, 0.1, 1.0)},
}
"""Closed forms and the values that are tried of each argument; of ridge at each of four whitenings."""


def train_space(
    sides: Mapping[str, Array],
    pairs: Sequence[Pair] | None = None,
    negatives: Mapping[str, Array] | None = None,
    *,
    ids: Mapping[str, Labels] | None = None,
    groups: Groups = None,
    model: str = "autoencoder",
    latent: int | Sequence[int] | None = None,
    hidden: tuple[int, ...] = (512,),
    learning_rate: float = 3e-3,
    epochs: int | None = None,
    batch_size: int = 128,
    whitening: float | Sequence[float | None] | None = (None, 10.0, 1.0, 0.1),
    dropout: float | Sequence[float] = (0.1, 0.5),
    weight_decay: float | Sequence[float] = (1e-4, 1e-2),
    closed_forms: bool | None = None,
    validation: float = 0.2,
    criterion: Criterion = "mean",
    seed: int = 0,
    device: torch.device | str = "cpu",
    report: Report = quiet,
) -> Space:
    """Align frozen features of two or more sides; Con, or NegCon where there are hard negatives.

    Items of one group are never split between training and validation. No view is a negative of an item that it is
    true of, and all such are right answers in validation: views of the item's group, and views equal to one of these.
    Views are equal if their rows are, to within rounding.

    Args:
        sides: name → (n, d) features of any kind that the metrics take: numpy (memory maps too), torch, a table, lists.
        pairs: of sides to align; all of them by default.
        negatives: side → features of as many rows as the side has: a view false of the item of each. The side must be
            the second one of its pairs.
        ids: side → (n,) what item each row shows, where the sides are not row for row the same items, such as five
            captions of one photo. Each item needs a row on every side.
        groups: (n,) labels of the rows of the first side; items of one label are one thing. A missing label (NaN, None)
            is its own. Without, items whose rows on the first side are equal to within rounding are a group.
        model: ``autoencoder``, ``linear`` or ``mlp``.
        latent: width of the shared space; of an autoencoder less than every d. None for what of 64 and 256 is.
        hidden: of the autoencoder.
        learning_rate: of Adam.
        epochs: at most, of which the best is kept; None for as many as make `STEPS` steps, and at least ten.
        batch_size: items a step.
        whitening: how far the directions of the inputs are evened out: shrinkage in units of the mean variance, None
            for not at all. A small one finds what is told in directions of little variance, but learns few rows by
            heart.
        dropout: of the autoencoder and of the MLP.
        weight_decay: of Adam.
        closed_forms: whether ridge and CCA are tried as well; None for where there are two sides of fewer than `FEW`
            items, and ``latent`` is None.
        validation: share of the groups kept out of training, two at least. They choose all that is chosen: the epoch
            of each training; of whitening, latent, dropout and weight decay, where several are given, one after the
            other (by default 7 trainings); and whether a closed form is better (`CLOSED`, 52 of them).
        criterion: what is chosen by: ``recall`` (R@1 of all directions), ``hard_negatives`` (accuracy on them) or
            their ``mean``; without hard negatives the recall.
        seed: of the split, the weights, the batches and dropout.
        device: where to train.
        report: called with a line after each epoch.

    Returns:
        The best space, with the curve and what was chosen: ``chosen["loss"]`` names the loss or the closed form.

    Warns:
        UserWarning: it recalls validation rows no better than shuffled pairs can be by as many trials (p > 0.05).

    Raises:
        ValueError: shapes or names that do not match; fewer than four groups, or a share of them that leaves fewer than
            two to train on; features that do not vary; a latent that is no bottleneck.
        InputError: a row that is not finite, named with its side; an option out of range; a device that is not there.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> seen = rng.normal(size=(60, 12))
        >>> space = train_space({"image": seen, "text": seen @ rng.normal(size=(12, 9))}, latent=4, epochs=1)
        >>> space["text"].encode(np.ones((2, 9))).shape
        (2, 4)
    """
    options: dict[str, Any] = {} if model == "linear" else {"dropout": dropout}
    if model == "autoencoder":
        options |= {"hidden": hidden, "reconstruction": (1.0, 0.1)}
    try:
        objective = Objective.model_validate(
            {"model": model, "loss": "con" if negatives is None else "negcon", "learning_rate": learning_rate,
             "latent": LATENTS if latent is None else latent, **options}
        )  # fmt: skip
        schedule = Training.model_validate(
            {"criterion": criterion, "batch_size": batch_size, "epochs": 1 if epochs is None else epochs, "patience": 1,
             "weight_decay": weight_decay, "clip_norm": 1.0, "temperature": 0.07, "learn_temperature": False,
             "whitening": whitening, "captions": "sample"}
        )  # fmt: skip
    except ValidationError as error:
        raise InputError(one_line(error)) from None
    if not isinstance(validation, Real) or not 0 < validation < 1 or not isinstance(seed, Integral) or seed < 0:
        raise ValueError(
            f"validation, seed: got {validation!r}, {seed!r}, expected a share and an integer of at least 0"
        )
    pairs = _checked_pairs(sides, pairs, negatives or {})
    device = pick_device(str(device))

    tables = {name: _table(values, name) for name, values in sides.items()}
    false = {name: _table(values, f"{name} negatives") for name, values in (negatives or {}).items()}
    for name, table in false.items():
        if table.shape != tables[name].shape:
            raise ValueError(f"{name} negatives: got shape {table.shape}, expected {tables[name].shape} as of {name}")
    views = _views(tables, ids)
    first = next(iter(tables))
    same_row = equal_rows({first: tables[first]})
    things = _things(views[first], same_row if groups is None else numbered(groups, len(same_row)))
    seconds = dict.fromkeys(y for _, y in pairs)
    wordings = {y: equal_rows({y: tables[y]} | ({f"{y} negatives": false[y]} if y in false else {})) for y in seconds}
    count = int(things.max()) + 1
    kept = max(2, round(validation * count))
    if count - kept < 2:
        raise ValueError(
            f"validation: got {kept} of {count} groups or different items, expected at least 2 and at least 2 left to "
            "train on"
        )
    held_out = np.isin(things, np.random.default_rng(seed).permutation(count)[:kept])
    repeated = count < len(things) or any(len(set(words)) < len(words) for words in wordings.values())
    whole = {name: np.concatenate([tables[name], false[name]]) if name in false else tables[name] for name in tables}

    def part(here: np.ndarray) -> Items:
        rows = {name: shown[here] for name, shown in views.items()}
        wrong = {name: np.where(shown < 0, -1, shown + len(tables[name])) for name, shown in rows.items()}
        truth = Truth.of(things[here], wordings, {y: rows[y] for y in wordings}) if repeated else None
        none = np.empty((len(here), 0), np.int64)
        sides = {
            name: SideRows(whole[name], rows[name], wrong[name], rows[name])
            if name in false
            else SideRows(whole[name], rows[name], none)
            for name in tables
        }
        return Items(sides, truth)

    items, unseen = part(np.flatnonzero(~held_out)), part(np.flatnonzero(held_out))
    if epochs is None:
        epochs = max(10, math.ceil(STEPS / math.ceil(len(items) / batch_size)))
    schedule = schedule.model_copy(update={"epochs": epochs, "patience": max(10, epochs // 5)})
    narrowest = min(table.shape[1] for table in tables.values())
    if latent is None:
        objective = objective.model_copy(update={"latent": _up_to(narrowest - 1, LATENTS)})
    rows = Validation(unseen, pairs, criterion)
    best = train(items, rows, objective, schedule, pairs=pairs, seed=seed, device=device, report=report)
    if closed_forms is None:
        closed_forms = len(sides) == 2 and len(things) < FEW and latent is None
    if closed_forms:
        for loss, grid in CLOSED.items():
            grid = {name: _up_to(narrowest, some) if name == "components" else some for name, some in grid.items()}
            form = fit_closed_form(loss, items, rows, grid, (None, 1.0, 0.1, 0.01) if loss == "ridge" else (None,))
            report(f"{loss}: validation score {form.chosen['validation_score']:.3f}")
            best = max(best, form, key=lambda space: float(space.chosen["validation_score"]))
    looks = rows.looks({name: side.adapter for name, side in best.sides.items()})
    best = replace(best, chosen=best.chosen | looks.chance(), looks=looks)
    if doubt := best.doubt:
        warnings.warn(doubt, stacklevel=2)
    return best


def _up_to(most: int, widths: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(width for width in widths if width <= most) or (max(1, most),)


def _checked_pairs(
    sides: Mapping[str, Array], pairs: Sequence[Pair] | None, negatives: Mapping[str, Array]
) -> tuple[Pair, ...]:
    if not isinstance(sides, Mapping) or len(sides) < 2:
        raise ValueError(f"sides: got {type(sides).__name__} of {len(sides)}, expected two or more by name")
    check_names(sides)
    found = all_pairs(tuple(sides)) if pairs is None else tuple((x, y) for x, y in pairs)
    named = {name for pair in found for name in pair}
    if named != set(sides) or any(x == y for x, y in found) or len({frozenset(pair) for pair in found}) < len(found):
        raise ValueError(f"pairs: got {list(found)}, expected different pairs of {list(sides)}, each side in one")
    seconds = {y for _, y in found}
    if negatives and set(negatives) != seconds:
        raise ValueError(
            f"negatives: got them of {sorted(negatives)}, expected them of the second sides of all pairs, "
            f"{sorted(seconds)}"
        )
    return found


def _views(tables: Mapping[str, np.ndarray], ids: Mapping[str, Labels] | None) -> dict[str, np.ndarray]:
    """Of each side the rows (n, K) that show each of n items, −1 where there are fewer than K."""
    shapes = {name: table.shape for name, table in tables.items()}
    if ids is None:
        if len({rows for rows, _ in shapes.values()}) != 1:
            raise ValueError(f"sides: got shapes {shapes}, expected as many rows on every side, or ids")
        return {name: np.arange(len(table))[:, None] for name, table in tables.items()}
    if set(ids) != set(tables) or any(len(ids[name]) != len(table) for name, table in tables.items()):
        got = {name: len(of) for name, of in ids.items()}
        raise ValueError(f"ids: got {got}, expected one for each row of every side, {shapes}")
    columns = {name: pd.Series(np.asarray(of), name="id") for name, of in ids.items()}
    for name, column in columns.items():
        if column.isna().any():
            raise ValueError(f"ids of {name}: got none for row {int(column.isna().argmax())}, expected one for each")
    order = next(iter(columns.values())).unique()
    position = pd.Series(np.arange(len(order)), index=order)
    found = {}
    for name, column in columns.items():
        if odd := set(order) ^ set(column):
            raise ValueError(
                f"ids of {name}: {len(odd)} items (first: {min(map(str, odd))}) are on one of this and the first side "
                "alone, expected the same items on every side"
            )
        item, place = position.loc[column].to_numpy(), column.groupby(column).cumcount().to_numpy()
        found[name] = np.full((len(order), int(place.max()) + 1), -1, dtype=np.int64)
        found[name][item, place] = np.arange(len(column))
    return found


def _things(views: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Numbers from 0 of n items (n, K), one for those that rows with an equal label link; ``labels`` (rows,)."""
    item, _ = present = np.nonzero(views >= 0)
    n = len(views)
    ends = item, n + labels[views[present]]
    graph = coo_array((np.ones(len(item)), ends), shape=(n + labels.max() + 1,) * 2)
    return pd.factorize(connected_components(graph, directed=False)[1][:n])[0]


def _table(values: Array, name: str) -> np.ndarray:
    """Rows as the metrics take them, in numpy; a memory map stays one."""
    rows = as_rows(values, name)
    if isinstance(values, np.memmap) and values.dtype.kind == "f":
        return values
    table: np.ndarray = (rows.float() if rows.dtype == torch.bfloat16 else rows).cpu().numpy()
    return table
