"""Figures of the sweeps: layer heatmaps, scale trends, Pareto fronts; in the style of `jam.plots`."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from jam.metrics import t_interval
from jam.plots import BLACK, BLUE, GREEN, GREY, ORANGE, PINK, SKY, STYLE, VERMILION
from jam.report import number

SERIES = [
    (BLUE, "o"),
    (ORANGE, "s"),
    (GREEN, "D"),
    (PINK, "v"),
    (VERMILION, "P"),
    (SKY, "^"),
    (BLACK, "*"),
    (GREY, "X"),
]


def heatmaps(
    panels: Mapping[str, np.ndarray],
    rows: Sequence[str],
    columns: Sequence[str],
    names: tuple[str, str],
    best: tuple[int, int] | None = None,
) -> Figure:
    """Maps over the cells of one grid, two in a line.

    Args:
        panels: title → (rows, columns), NaN where a cell failed.
        rows: labels, bottom to top.
        columns: labels, left to right.
        names: what the rows and what the columns are.
        best: row and column of a cell to frame.
    """
    lines = -(-len(panels) // 2)
    wide = max(0.55, 0.1 * max(len(label) for label in columns) + 0.15)
    with plt.rc_context(STYLE):
        size = (
            2 * (wide * len(columns) + 0.1 * max(len(label) for label in rows) + 1.1),
            lines * (0.36 * len(rows) + 0.9),
        )
        figure, axes = plt.subplots(lines, 2, figsize=size, squeeze=False)
        for axis, (title, values) in zip(axes.flat, panels.items(), strict=False):
            axis.imshow(values, cmap="cividis", aspect="auto", origin="lower")
            middle = (np.nanmin(values) + np.nanmax(values)) / 2
            for i, j in np.ndindex(values.shape):
                empty = np.isnan(values[i, j])
                colour = "black" if empty or values[i, j] >= middle else "white"
                text = "–" if empty else number(float(values[i, j]), 2)
                axis.text(j, i, text, ha="center", va="center", fontsize=8, color=colour)
            if best is not None:
                corner = (best[1] - 0.5, best[0] - 0.5)
                axis.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=VERMILION, linewidth=2.2))
            axis.set_title(title)
            axis.set_xticks(range(len(columns)), columns)
            axis.set_yticks(range(len(rows)), rows)
            axis.set_ylabel(names[0])
            axis.set_xlabel(names[1])
            axis.grid(visible=False)
        for axis in list(axes.flat)[len(panels) :]:
            axis.axis("off")
    return figure


def scale(cells: pd.DataFrame, raw: pd.DataFrame, encoders: pd.DataFrame) -> Figure:
    """What size and quality of the encoders do: to JAM's recall, to raw alignment, to alignment with reality.

    Args:
        cells: columns image, text, seed, test_recall: JAM on each pair; lines show means and t-intervals over seeds.
        raw: columns x, y, metric, value, low, high: kernel alignment of pairs, and of encoders with ``reality``.
        encoders: index name; columns side, family (its way of pretraining), parameters, quality.
    """
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(2, 3, figsize=(13, 6.4))
        recall = _over_seeds(cells, "test_recall")
        pairs = raw[(raw["metric"] == "mutual_knn") & (raw["y"] != "reality")]
        for row, (table, name) in enumerate(((recall, "test recall after JAM"), (pairs, "raw mutual kNN"))):
            for column, (mine, other, side) in enumerate((("x", "y", "image"), ("y", "x", "text"))):
                _lines(axes[row, column], table, mine, other, encoders)
                if row == 0:
                    axes[row, column].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8, title="with")
                axes[row, column].set_xlabel(f"parameters of the {'vision' if side == 'image' else 'text'} encoder")
                axes[row, column].set_ylabel(name)
        reality = raw[(raw["metric"] == "mutual_knn") & (raw["y"] == "reality")]
        for row, (what, name) in enumerate((("parameters", "parameters"), ("quality", "quality: mean probe accuracy"))):
            axis = axes[row, 2]
            for side, (colour, marker) in (("image", SERIES[0]), ("text", SERIES[1])):
                names = [x for x in reality["x"] if encoders["side"][x] == side]
                mine = reality.set_index("x").loc[names]
                x = encoders.loc[names, what]
                axis.vlines(x, mine["low"], mine["high"], color=colour, linewidth=2)
                axis.plot(x, mine["value"], marker, color=colour, markersize=7, markeredgecolor="white",
                          label="vision" if side == "image" else "text")  # fmt: skip
                for name_, value in mine["value"].items():
                    axis.annotate(str(name_), (x[name_], value), fontsize=7, xytext=(4, 4), textcoords="offset points")
            if what == "parameters":
                axis.set_xscale("log")
                axis.set_title("alignment with reality")
            axis.set_xlabel(name)
            axis.set_ylabel("mutual kNN with reality")
            axis.legend(loc="best", fontsize=8)
    return figure


def _over_seeds(cells: pd.DataFrame, score: str) -> pd.DataFrame:
    """Mean and t-interval over seeds of a score of every pair: columns x, y, value, low, high."""
    rows = []
    for (x, y), values in cells.dropna(subset=score).groupby(["image", "text"], sort=False)[score]:
        low, high = t_interval(values) if len(values) > 1 else (np.nan, np.nan)
        rows.append({"x": x, "y": y, "value": values.mean(), "low": low, "high": high})
    return pd.DataFrame(rows)


def _lines(axis: Axes, table: pd.DataFrame, mine: str, other: str, encoders: pd.DataFrame) -> None:
    """Over the parameters of this side's encoders, a colour for each encoder of the other side.

    A line joins encoders of one family; those of another pretraining stand by themselves, hollow.
    """
    families = encoders["family"].reindex(table[mine])
    largest = families.groupby(families.index).first().value_counts().index[0]
    for (name, own), (colour, marker) in zip(table.groupby(other, sort=False), SERIES, strict=False):
        own = own.assign(parameters=encoders["parameters"].reindex(own[mine]).to_numpy()).sort_values("parameters")
        axis.vlines(own["parameters"], own["low"], own["high"], color=colour, linewidth=1.6, alpha=0.6)
        joined = (encoders["family"].reindex(own[mine]) == largest).to_numpy()
        axis.plot(own["parameters"][joined], own["value"][joined], color=colour, marker=marker, markersize=5.5,
                  markeredgecolor="white", linewidth=1, label=name)  # fmt: skip
        axis.plot(own["parameters"][~joined], own["value"][~joined], color=colour, marker=marker, markersize=5.5,
                  markerfacecolor="white", linestyle="none")  # fmt: skip
    axis.set_xscale("log")


def pareto(cells: pd.DataFrame, fronts: pd.DataFrame) -> Figure:
    """Alignment against preservation on test rows; a point a setting (mean over seeds), a line each loss's front.

    Args:
        cells: columns variant, lambda, cross, seed, test_recall, test_hard_negatives, test_preservation.
        fronts: columns variant, alignment, hypervolume, low, high, front.
    """
    every = {"recall": "test recall (mean R@1 of both ways)", "hard_negatives": "hard negatives, accuracy"}
    titles = {name: title for name, title in every.items() if name in set(fronts["alignment"])}
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, len(titles), figsize=(5.5 * len(titles), 4.8), squeeze=False)
        for axis, (alignment, title) in zip(axes[0], titles.items(), strict=True):
            for (variant, mine), (colour, marker) in zip(cells.groupby("variant", sort=False), SERIES, strict=False):
                means = mine.groupby(["lambda", "cross"])[[f"test_{alignment}", "test_preservation"]].agg(
                    ["mean", "std"]
                )
                x, y = means["test_preservation"], means[f"test_{alignment}"]
                axis.errorbar(
                    x["mean"], y["mean"], xerr=x["std"].fillna(0), yerr=y["std"].fillna(0), fmt="none", ecolor=colour,
                    elinewidth=1, alpha=0.6,
                )  # fmt: skip
                own = fronts[(fronts["variant"] == variant) & (fronts["alignment"] == alignment)].iloc[0]
                axis.plot(x["mean"], y["mean"], marker, color=colour, markersize=6.5, markeredgecolor="white",
                          label=f"{variant} ({own['hypervolume']:.3f})")  # fmt: skip
                chosen = own["front"].split("; ")
                on_front = [f"λ {w}{' cross' if c else ''}" in chosen for w, c in means.index]
                line = pd.DataFrame({"x": x["mean"], "y": y["mean"]})[on_front].sort_values("x")
                axis.plot(line["x"], line["y"], color=colour, linewidth=1)
            axis.set_xlabel("preservation: mutual kNN of features and latents, mean of both")
            axis.set_title(title)
            axis.legend(
                fontsize=8, title="(hypervolume of the front)", title_fontsize=8, loc="upper center",
                bbox_to_anchor=(0.5, -0.14), ncols=3,
            )  # fmt: skip
    return figure
