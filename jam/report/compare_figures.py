"""Figures of models compared: matrices of all measures side by side, what factors add, claims beside measurements."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from jam.report.compare_tables import FACTORS, MEASURES, PRINTED, finals, models_of
from jam.report.labels import label, metric
from jam.report.style import BLACK, GREEN, GREY, LUMINANCE, ORANGE, STYLE, VERMILION, looks, note
from jam.report.tables import number
from jam.results import select

CELL = 0.34  # inches
OUTCOMES = {
    "holds": (GREEN, "o"), "does not hold": (VERMILION, "X"), "undecided": (ORANGE, "s"),
    "not measured yet": (GREY, ""),
}  # fmt: skip


def matrices(similar: pd.DataFrame, modality: str, models: Sequence[str] | None = None) -> Figure:
    """How alike every two models are: a panel a measure, all in one order and on one scale of colours.

    Predictability is not symmetric: a row tells, a column is told.

    Args:
        similar: as the stage `compare` writes similarities.
        modality: whose towers.
        models: which, and their order; all of the table if None.
    """
    rows = finals(similar, modality)
    names = list(models or models_of(rows))
    shown = [name for name in MEASURES if len(select(rows, metric=name))]
    size, names_wide = CELL * len(names), 0.075 * max(len(label(name)) for name in names)
    with plt.rc_context(STYLE):
        wide, high = 3 * (size + 0.35) + names_wide + 0.4, 2 * (size + 0.35) + names_wide + 0.8
        figure, axes = plt.subplots(2, 3, figsize=(wide, high), sharex=True, sharey=True)
        spots = [*axes.flat[:2], *axes.flat[3:]]  # the place at the upper right is that of the colours
        for axis, name in zip(spots, shown, strict=False):
            image = _matrix(axis, square(rows, names, name), metric(name))
            axis.set_yticks(range(len(names)), [label(one) for one in names], fontsize=8)
            axis.set_xticks(range(len(names)), [label(one) for one in names], rotation=90, fontsize=8)
        for axis in [axes[0, 2], *spots[len(shown) :]]:
            axis.axis("off")
        inside = axes[0, 2].inset_axes((0.06, 0.1, 0.07, 0.8))
        figure.colorbar(image, cax=inside, label="similarity")
        note(figure, f"{modality} towers at their last layers; predictability: the row's model tells the column's")
    return figure


def square(rows: pd.DataFrame, names: Sequence[str], name: str) -> np.ndarray:
    """A measure of every two models, (N, N), NaN where not measured; of directed ones the row's tells the column's."""
    place = {one: i for i, one in enumerate(names)}
    found = np.full((len(names), len(names)), np.nan)
    np.fill_diagonal(found, 1)
    mine = select(rows, metric=name, x=tuple(names), y=tuple(names))
    for row in mine.to_dict("records"):
        i, j = place[row["x"]], place[row["y"]]
        way = row["direction"] if pd.notna(row["direction"]) else None
        if way != "y_to_x":
            found[i, j] = row["value"]
        if way != "x_to_y":
            found[j, i] = row["value"]
    return found


def _matrix(axis: Axes, values: np.ndarray, title: str) -> Any:
    image = axis.imshow(values, cmap="cividis", vmin=0, vmax=1, aspect="equal")
    for i, j in np.ndindex(values.shape):
        if i == j:
            continue
        told = values[i, j]
        light = np.dot(image.cmap(image.norm(np.nan_to_num(told)))[:3], LUMINANCE)
        text = "–" if np.isnan(told) else number(float(told), 2)
        axis.text(j, i, text, ha="center", va="center", fontsize=6.5, color="black" if light > 0.45 else "white")
    axis.set_title(title)
    axis.grid(visible=False)
    axis.tick_params(length=0)
    for edge in axis.spines.values():
        edge.set_visible(False)
    return image


def factors(table: pd.DataFrame) -> Figure:
    """What sharing a factor adds to similarity, all others held constant: a panel a modality and set of models.

    Args:
        table: as the stage `compare` writes factors.
    """
    table = table.assign(label=table["label"].fillna("all") if "label" in table else "all")
    sides, casts = (list(dict.fromkeys(table[of])) for of in ("modality", "label"))
    names = list(dict.fromkeys(table["factor"]))
    marks = looks([name for name in MEASURES if name in set(table["metric"])])
    with plt.rc_context(STYLE):
        high = (0.15 * len(names) * len(marks) + 0.5) * len(casts) + 0.9
        shape = len(casts), len(sides)
        size = 4.7 * len(sides) + 0.6, high
        figure, axes = plt.subplots(*shape, figsize=size, sharey=True, sharex=True, squeeze=False)
        for axis, (cast, modality) in zip(axes.flat, product(casts, sides), strict=True):
            mine = select(table, modality=modality, label=cast)
            axis.axvline(0, color=BLACK, linewidth=0.8)
            for line, name in enumerate(names):
                if select(mine, factor=name).empty:
                    axis.text(
                        0.02,
                        line,
                        "the same of all or of none",
                        fontsize=7.5,
                        color=GREY,
                        va="center",
                        backgroundcolor="white",
                    )
                for place, (measure, (colour, marker)) in enumerate(marks.items()):
                    rows = select(mine, factor=name, metric=measure)
                    if rows.empty:
                        continue
                    row = rows.iloc[0]
                    at = line + 0.15 * (place - (len(marks) - 1) / 2)
                    face = colour if row["p"] <= 0.05 else "white"
                    ends = float(row["low"]), float(row["high"])
                    if np.isfinite(ends).all():
                        axis.plot(ends, [at, at], color=colour, linewidth=1.4, alpha=0.7)
                    axis.plot(float(row["value"]), at, marker, color=colour, markerfacecolor=face, markersize=5.5)
            who = "models" if cast == "all" else f"{cast} models alone"
            axis.set_title(f"{modality} towers, {int(mine['models'].max()) if len(mine) else 0} {who}")
        for axis in axes[-1]:
            axis.set_xlabel("added similarity of two models that share it")
        axes[0][0].set_yticks(range(len(names)), [FACTORS.get(name, label(name)) for name in names])
        axes[0][0].set_ylim(len(names) - 0.5, -0.5)
        handles = [
            Line2D([], [], color=colour, marker=marker, linewidth=1.4, markersize=5.5, label=metric(name))
            for name, (colour, marker) in marks.items()
        ]
        figure.legend(handles=handles, ncols=5, loc="outside lower center", fontsize=8.5)
        note(figure, "filled: p ≤ .05 by permuting models (MRQAP); bars: 95 %")
    return figure


def claims(table: pd.DataFrame) -> Figure:
    """What is claimed, a bar, and what was measured: a mark with its interval, a line from lowest to highest pair.

    Args:
        table: as the stage `compare` writes claims.
    """
    printed = select(table, metric=PRINTED).set_index(["claim", "modality"])["value"]
    rows = table[table["metric"].isna() | (table["metric"] != PRINTED)].to_dict("records")
    named = [row["text"] + (f", {row['modality']}s" if pd.notna(row.get("modality")) else "") for row in rows]
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(9.6, 0.36 * len(rows) + 1.2))
        for place, row in enumerate(rows):
            low, high = (float(row[end]) if pd.notna(row[end]) else np.nan for end in ("claimed_low", "claimed_high"))
            left, right = low if np.isfinite(low) else -0.02, min(high, 1.0) if np.isfinite(high) else 1.0
            axis.barh(
                place, right - left, left=left, height=0.62, color="#dddddd", edgecolor=GREY, linewidth=0.6, zorder=1
            )
            colour, marker = OUTCOMES[row["outcome"]]
            if pd.isna(row.get("value")):
                axis.text(1.04, place, "not measured yet", va="center", fontsize=8.5, color=GREY)
                continue
            if pd.notna(row.get("least")) and row["most"] > row["least"]:
                axis.plot([row["least"], row["most"]], [place, place], color=colour, linewidth=0.9, zorder=2)
            axis.plot(
                [row["low"], row["high"]], [place, place], color=colour, linewidth=3, zorder=3, solid_capstyle="butt"
            )
            if (row["claim"], row["modality"]) in printed.index:
                at = float(printed[row["claim"], row["modality"]])
                axis.plot(at, place, "|", color=BLACK, markersize=11, markeredgewidth=1.4, zorder=3)
            axis.plot(row["value"], place, marker, color=colour, markersize=7, markeredgecolor="white", zorder=4)
            axis.text(
                1.04, place, f"{number(row['value'], 2)}  {row['outcome']}", va="center", fontsize=8.5, color=colour
            )
        axis.set_yticks(range(len(rows)), named, fontsize=8.5)
        axis.set_ylim(len(rows) - 0.4, -0.6)
        lowest = pd.to_numeric(table["least"], errors="coerce").min()
        axis.set_xlim(min(-0.03, lowest - 0.02) if np.isfinite(lowest) else -0.03, 1.02)
        axis.set_xlabel("CKA; of stitching and merging a share of the score")
        axis.grid(axis="y", visible=False)
        note(
            figure,
            "grey: claimed; mark, thick bar: measured, 95 % over items; thin: lowest to highest pair; "
            "|: by the printed formula",
        )
    return figure
