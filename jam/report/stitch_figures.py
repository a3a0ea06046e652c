"""Figures of models stitched, and of heads handed over."""

from collections.abc import Iterator
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jam.report.labels import label
from jam.report.stitch_tables import K, whole
from jam.report.style import GREY, STYLE, looks, note, paint
from jam.report.tables import number
from jam.results import select


def by_layer(results: pd.DataFrame, method: str) -> Figure:
    """A column a pair of towers: what is kept of the top's own recall by layers l and m; below, l = m with controls.

    Args:
        results: of experiment ``stitch``.
        method: of the maps in the upper row.
    """
    rows = select(results, metric="recall", k=K, against="own")
    rows = rows[rows["x_layer"].notna() & rows["y_layer"].notna()]
    pairs = list(dict.fromkeys(zip(rows["x"], rows["y"], strict=True)))
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(2, len(pairs), figsize=(1 + 3.4 * len(pairs), 7), squeeze=False)
        for (below, above), (high, low) in zip(pairs, axes.T, strict=True):
            mine = select(rows, x=below, y=above)
            fitted = select(mine, condition="stitched", method=method)
            table = fitted.pivot_table(index="y_layer", columns="x_layer", values="kept").astype(float)
            paint(high, table.to_numpy(), lambda value: number(value, 2))
            high.set_xticks(range(len(table.columns)), [str(each) for each in table.columns])
            high.set_yticks(range(len(table.index)), [str(each) for each in table.index])
            high.set(title=f"{label(below)} under {label(above)}", xlabel="layer of the bottom")
            _diagonal(low, mine[mine["x_layer"] == mine["y_layer"]])
        axes[0, 0].set_ylabel("layer of the top")
        axes[1, 0].set_ylabel(f"share of the own R@{K} that is left")
        handles, names = axes[1, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=3)
        note(figure, f"Above: share of the top's own R@{K} that is left, map of each token: {label(method)};\n"
             "below the diagonal late layers feed early tops.")  # fmt: skip
    return figure


def _diagonal(axis: Axes, rows: pd.DataFrame) -> None:
    for (condition, method), name, colour, marker in _series(rows):
        mine = select(rows, condition=condition, method=method).groupby("x_layer")["kept"].mean()
        at, line = mine.index.astype(int).to_numpy(), "-" if condition == "stitched" else ":"
        axis.plot(at, mine.to_numpy(float), line, color=colour, marker=marker, markersize=4.5, label=name)
    axis.axhline(1, color=GREY, linewidth=0.8)
    axis.set_ylim(bottom=min(0, axis.get_ylim()[0]))
    axis.set_xticks(sorted(rows["x_layer"].astype(int).unique()))
    axis.set_xlabel("layer of both")


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
        _curves(axes[0], select(whole(stitch), against="own"))
        axes[0].set(title=f"image with text tower, R@{K}", ylabel="share of the own score that is left")
        for axis, name in zip(axes[1:], names, strict=True):
            _curves(axis, select(heads, label=name))
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
    for (condition, method), name, colour, marker in _series(rows):
        mine = select(rows, condition=condition, method=method)
        if mine["anchors"].isna().all():
            axis.axhline(float(mine["kept"].mean()), color=colour, linestyle=":", linewidth=1.2, label=name)
            continue
        of = mine.groupby("anchors")["kept"]
        middle, low, high = of.mean(), of.quantile(0.25), of.quantile(0.75)
        at = middle.index.astype(int).to_numpy()
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


def _series(rows: pd.DataFrame) -> Iterator[tuple[tuple[str, str | None], str, str, str]]:
    """What is told apart: condition and method, and its name, colour and marker, the same in all panels."""
    names = {
        "shuffled": "anchors shuffled",
        "untrained": "untrained bottom",
        "unmapped": "no map",
        "labels": "own head, so many labels",
    }
    bare = "untrained bottom, trained map"
    known = looks(["orthogonal", "ridge", "relative", "trained", *names.values(), bare])
    for condition, method in rows.drop_duplicates(["condition", "method"])[["condition", "method"]].to_numpy():
        of = None if pd.isna(method) else str(method)
        name = bare if (condition, of) == ("untrained", "trained") else names.get(condition, of or condition)
        yield (condition, of), name, *known[name]
