"""Figures of models stitched, and of heads handed over."""

from collections.abc import Iterator
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from jam.report.labels import label
from jam.report.stitch_tables import K, most, whole
from jam.report.style import GREY, STYLE, looks, note, paint
from jam.report.tables import number
from jam.results import select

LATE = "last layer, trained map"


def by_layer(results: pd.DataFrame, method: str) -> Figure:
    """A column a pair of towers: what is kept of the top's own recall by layers l and m; below, l = m with controls.

    Args:
        results: of experiment ``stitch``.
        method: of the maps in the upper row.
    """
    rows = shares(select(results, metric="recall", k=K, against="own"))
    rows = rows[rows["x_layer"].notna() & rows["y_layer"].notna()]
    pairs = list(dict.fromkeys(zip(rows["x"], rows["y"], strict=True)))
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(2, len(pairs), figsize=(1 + 3.4 * len(pairs), 7), squeeze=False)
        for (below, above), (high, low) in zip(pairs, axes.T, strict=True):
            mine = select(rows, x=below, y=above)
            fitted = select(mine, condition="stitched", method=method)
            table = fitted.pivot_table(index="y_layer", columns="x_layer", values="kept").astype(float)
            paint(high, table.to_numpy(), lambda value: number(value, 2), limits=(0, 1))
            for end in table.columns:  # the same layer of both
                high.add_patch(Rectangle((end - 0.47, end - 0.47), 0.94, 0.94, fill=False, edgecolor="white", lw=1.4))
            high.set_xticks(range(len(table.columns)), [str(each) for each in table.columns])
            high.set_yticks(range(len(table.index)), [str(each) for each in table.index])
            high.set(title=f"{label(below)} under {label(above)}", xlabel="layer of the bottom")
            _diagonal(low, mine)
        top = max(axis.get_ylim()[1] for axis in axes[1])
        for axis in axes[1]:
            axis.set_ylim(-0.03, top)
        axes[0, 0].set_ylabel("layer of the top")
        axes[1, 0].set_ylabel(f"share of the own R@{K} that is left")
        handles, names = axes[1, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=4)
        note(figure, f"Share of the top's own R@{K} that is left. Above: each token through the map {label(method)};\n"
             "right of the framed cells late layers feed early tops. Below: the same layer of both,\n"
             "and the last of the bottom under each of the top. Dotted: controls.")  # fmt: skip
    return figure


def shares(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows whose share of an own score is NaN, and not NA, where that is not above its floor: nothing is drawn."""
    return rows.assign(kept=rows["kept"].astype(float))


def _diagonal(axis: Axes, rows: pd.DataFrame) -> None:
    same = rows[rows["x_layer"] == rows["y_layer"]]
    late = select(rows, condition="stitched", method="trained", x_layer=int(rows["x_layer"].max()))
    for (condition, method), name, colour, marker in _series(same):
        mine = select(same, condition=condition, method=method).groupby("y_layer")["kept"].mean()
        line = "-" if condition == "stitched" else ":"
        axis.plot(mine.index.astype(int), mine.to_numpy(float), line, color=colour, marker=marker, markersize=4.5,
                  linewidth=1.3, label=name)  # fmt: skip
    if len(late):
        mine, (colour, marker) = late.groupby("y_layer")["kept"].mean(), known()[LATE]
        axis.plot(mine.index.astype(int), mine.to_numpy(float), "--", color=colour, marker=marker, markersize=4.5,
                  linewidth=1.3, label=LATE)  # fmt: skip
    axis.axhline(1, color=GREY, linewidth=0.8)
    axis.set_xticks(sorted(rows["y_layer"].astype(int).unique()))
    axis.set_xlabel("layer of the top")


def towers(results: pd.DataFrame, method: str) -> Figure:
    """Images of each model with texts of each: recall, and the share of the own recall of either model that is left.

    Args:
        results: of experiment ``stitch``.
        method: of the maps.
    """
    rows = most(whole(results))
    own = select(rows, condition="own", against=None)
    made = select(rows, condition="stitched", method=method)
    names = list(dict.fromkeys(own["x"]))
    panels = {
        f"R@{K}, framed: a model's own": (pd.concat([own, select(made, against=None)]), "value", None),
        "share of the own recall of the texts' model": (select(made, against="own"), "kept", (0.4, 1.1)),
        "share of the own recall of the images' model": (select(made, against="own_x"), "kept", (0.4, 1.1)),
    }
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 3, figsize=(13.5, 1.6 + 0.55 * len(names)), sharey=True)
        for axis, (title, (of, what, limits)) in zip(axes, panels.items(), strict=True):
            table = of.pivot_table(index="x", columns="y", values=what).reindex(index=names, columns=names)
            paint(axis, table.to_numpy(dtype=float, na_value=np.nan), lambda value: number(value, 2), limits)
            axis.set_xticks(range(len(names)), [label(name) for name in names], rotation=30, ha="right")
            axis.set(title=title, xlabel="texts of")
        for at in range(len(names)):
            axes[0].add_patch(Rectangle((at - 0.47, at - 0.47), 0.94, 0.94, fill=False, edgecolor="white", lw=1.4))
        axes[0].set_yticks(range(len(names)), [label(name) for name in names])
        axes[0].set_ylabel("images of")
        axes[0].invert_yaxis()
        note(figure, f"Through the map {label(method)}; means over both directions.")
    return figure


def anchors(stitch: pd.DataFrame, transfer: pd.DataFrame) -> Figure:
    """What is kept by the number of anchors: of towers' recall on the left, of heads by attribute on the right.

    Args:
        stitch: of experiment ``stitch``.
        transfer: of experiment ``transfer``.
    """
    heads = select(transfer, metric="balanced_accuracy", against="own")
    names = list(dict.fromkeys(heads["label"]))
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 1 + len(names), figsize=(1 + 3 * (1 + len(names)), 3.8), sharey=True)
        _curves(axes[0], shares(select(whole(stitch), against="own")))
        axes[0].set(title=f"image with text tower, R@{K}", ylabel="share of the own score that is left")
        for axis, name in zip(axes[1:], names, strict=True):
            _curves(axis, shares(select(heads, label=name)))
            axis.set_title(f"head of {label(name)}, above chance")
        shown: dict[str, Any] = {}
        for axis in axes:
            handles, told_of = axis.get_legend_handles_labels()
            shown |= dict(zip(told_of, handles, strict=True))
        figure.legend(list(shown.values()), list(shown), loc="outside lower center", ncols=4)
        note(figure, "Means over all ordered pairs of models, bars: the middle half of the pairs. Dotted: controls, "
             "and an own head that has so many labels.")  # fmt: skip
    return figure


def _curves(axis: Axes, rows: pd.DataFrame) -> None:
    counts = sorted(rows["anchors"].dropna().astype(int).unique())
    for place, ((condition, method), name, colour, marker) in enumerate(_series(rows)):
        mine = select(rows, condition=condition, method=method)
        if mine["anchors"].isna().all():
            axis.axhline(float(mine["kept"].mean()), color=colour, linestyle=":", linewidth=1.2, label=name)
            continue
        of = mine.groupby("anchors")["kept"]
        middle, low, high = of.mean(), of.quantile(0.25), of.quantile(0.75)
        at = middle.index.astype(int).to_numpy() * 1.06 ** (place - 1)  # side by side, so that bars are told apart
        ends = [np.maximum(middle - low, 0), np.maximum(high - middle, 0)]
        line = "-" if condition in ("stitched", "mapped") else ":"
        axis.errorbar(at, middle.to_numpy(float), ends, fmt=line, color=colour, marker=marker, markersize=4.5,
                      linewidth=1.3, elinewidth=0.8, label=name)  # fmt: skip
    for end in (0, 1):
        axis.axhline(end, color=GREY, linewidth=0.8)
    axis.set_xscale("log")
    axis.set_xticks(counts, [f"{count:,}" for count in counts], rotation=45)
    axis.minorticks_off()
    axis.set_xlabel("anchors")


CONTROLS = {
    "shuffled": "anchors shuffled",
    "untrained": "untrained bottom",
    "unmapped": "no map",
    "labels": "own head, so many labels",
}
BARE = "untrained bottom, trained map"


def known() -> dict[str, tuple[str, str]]:
    """Colour and marker of all that is told apart, the same in all panels."""
    return looks(["orthogonal", "ridge", "relative", "trained", *CONTROLS.values(), BARE, LATE])


def _series(rows: pd.DataFrame) -> Iterator[tuple[tuple[str, str | None], str, str, str]]:
    """What is told apart: condition and method, and its name, colour and marker."""
    for condition, method in rows.drop_duplicates(["condition", "method"])[["condition", "method"]].to_numpy():
        of = None if pd.isna(method) else str(method)
        name = BARE if (condition, of) == ("untrained", "trained") else CONTROLS.get(condition, of or condition)
        yield (condition, of), name, *known()[name]
