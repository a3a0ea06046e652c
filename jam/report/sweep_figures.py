"""Figures of the sweeps: maps over a grid, trends over size, Pareto fronts."""

import textwrap
from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from jam.report.labels import metric
from jam.report.style import SERIES, STYLE, VERMILION
from jam.report.tables import number, setting, variant
from jam.results import select

TRAINED: dict[str, dict[str, Any]] = {
    "trained: recall": {"metric": "recall", "direction": "both", "condition": None, "split": "test"},
    "trained: hard negatives": {
        "metric": "hard_negatives",
        "tier": "hard",
        "condition": None,
        "split": "test",
    },
}
PRESERVATION = {"metric": "preservation", "direction": "both", "condition": None, "split": "test"}
FROZEN = ("mutual_knn", "unbiased_cka")
WIDEST = 8.5  # inches of cells side by side: text stays legible where the page scales the figure
LUMINANCE = (0.2126, 0.7152, 0.0722)


def layers(results: pd.DataFrame) -> Figure:
    """What training makes of every pair of layers, and how alike they were before it; of experiment ``layers``."""
    panels = {f"{title}, test": _map(results, ("x_layer", "y_layer"), where) for title, where in TRAINED.items()}
    panels |= {
        f"frozen: {metric(name)}, validation": _map(
            results, ("x_layer", "y_layer"), {"metric": name, "condition": "frozen", "split": "val"}
        )
        for name in FROZEN
    }
    best = select(results, condition="best of all").iloc[0]
    names = (f"{best['x']}, layer", f"{best['y']}, layer")
    told = "framed: the two layers with the highest recall on validation rows after training"
    return heatmaps(panels, names, (best["x_layer"], best["y_layer"]), told)


def scale_maps(results: pd.DataFrame) -> Figure:
    """The same of every pair of encoders; of experiment ``scale``."""
    panels = {title: _map(results, ("x", "y"), where) for title, where in TRAINED.items()}
    panels |= {
        f"frozen: {metric(name)}": _map(results, ("x", "y"), {"metric": name, "condition": "frozen"}) for name in FROZEN
    }
    return heatmaps(panels, ("encoder of x", "encoder of y"))


def pareto_maps(results: pd.DataFrame) -> Figure:
    """Scores of every loss with every setting of its reconstruction; of experiment ``pareto``."""
    found = select(results, error=None)
    rows = found.to_dict("records")
    found = found.assign(loss_name=[variant(row) for row in rows], setting=[setting(row) for row in rows])
    panels = {**TRAINED, "preservation, mean of both": PRESERVATION}
    panels["R² of x"] = {"metric": "reconstruction_r2", "direction": "x", "split": "test"}
    return heatmaps(
        {title: _map(found, ("loss_name", "setting"), where) for title, where in panels.items()},
        ("loss", "reconstruction"),
    )


def _map(results: pd.DataFrame, axes: tuple[str, str], where: Mapping[str, Any]) -> pd.DataFrame:
    """The values of a grid, in the order in which its rows and columns come."""
    mine = select(results, seed=None, **where)
    means = mine.pivot(index=axes[0], columns=axes[1], values="value").astype(float)
    return means.reindex(index=mine[axes[0]].unique(), columns=mine[axes[1]].unique())


def heatmaps(
    panels: Mapping[str, pd.DataFrame], names: tuple[str, str], best: tuple[Any, Any] | None = None, told: str = ""
) -> Figure:
    """Maps over the cells of one grid, two in a line where they fit; those that hold nothing are left out.

    Args:
        panels: title → rows (bottom to top) × columns, NaN where a cell failed.
        names: what the rows and what the columns are.
        best: row and column of a cell to frame.
        told: what the frame is.
    """
    panels = {title: table for title, table in panels.items() if table.notna().any(axis=None)}
    first = next(iter(panels.values()))
    rows, columns = ([_wrapped(str(name)) for name in index] for index in (first.index, first.columns))
    words, marks = ([len(word) for label in labels for word in label.split("\n")] for labels in (rows, columns))
    deep = max(label.count("\n") + 1 for label in columns)
    high = max(0.36, 0.16 * max(label.count("\n") + 1 for label in rows) + 0.05)
    wide = max(0.55, 0.085 * max(marks) + 0.12)
    width = max(wide * len(columns), 0.09 * max(map(len, panels)))
    height = max(high * len(rows), 0.09 * len(names[0]))
    across = 2 if 2 * width <= WIDEST else 1
    lines = -(-len(panels) // across)
    with plt.rc_context(STYLE):
        size = (
            across * (width + 0.2) + 0.085 * max(words) + 0.6,
            lines * (height + 0.16 * deep + 0.6) + 0.2 * bool(told),
        )
        figure, axes = plt.subplots(lines, across, figsize=size, squeeze=False, sharey=True)
        for axis, (title, table) in zip(axes.flat, panels.items(), strict=False):
            values = table.reindex(index=first.index, columns=first.columns).to_numpy()
            image = axis.imshow(values, cmap="cividis", aspect="auto", origin="lower")
            for i, j in np.ndindex(values.shape):
                empty = np.isnan(values[i, j])
                light = np.dot(image.cmap(image.norm(values[i, j]))[:3], LUMINANCE)
                colour = "black" if empty or light > 0.45 else "white"
                text = "–" if empty else number(float(values[i, j]), 2)
                axis.text(j, i, text, ha="center", va="center", fontsize=8, color=colour)
            if best is not None:
                corner = (first.columns.get_loc(best[1]) - 0.5, first.index.get_loc(best[0]) - 0.5)
                axis.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=VERMILION, linewidth=2.2))
            axis.set_title(title)
            axis.set_xticks(range(len(columns)), columns, fontsize=8.5)
            axis.set_yticks(range(len(rows)), rows, fontsize=8.5)
            axis.set_xlabel(names[1])
            axis.grid(visible=False)
        for line in axes:
            line[0].set_ylabel(names[0])
        for axis in list(axes.flat)[len(panels) :]:
            axis.axis("off")
        if told:
            figure.supxlabel(told, fontsize=8.5, color=VERMILION)
    return figure


def _wrapped(name: str) -> str:
    return "\n".join(textwrap.wrap(name, 9, break_long_words=False))


def scale(results: pd.DataFrame, reality: pd.DataFrame) -> Figure:
    """What size and quality of the encoders do: to recall, to frozen alignment, to what they tell of reality.

    Lines show means and t-intervals over seeds, jackknife intervals, or bootstrap intervals over test rows.

    Args:
        results: of experiment ``scale``.
        reality: of experiment ``reality``; may be empty.
    """
    told = select(results, metric=("parameters", "quality"))
    facts = told.pivot(index="subject", columns="metric", values="value").astype(float)
    facts = facts.reindex(columns=["parameters", "quality"]).assign(family=told.groupby("subject")["family"].first())
    recall = select(results, seed=None, **TRAINED["trained: recall"])
    pairs = select(results, metric="mutual_knn", condition="frozen")
    told_of = {"metric": "reality_recall", "label": "mean", "condition": "best", "against": None}
    alike = select(reality, **told_of).set_index("x")
    known = [what for what in ("parameters", "quality") if facts[what].reindex(alike.index).notna().any()]
    wide = 3 if known else 2
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(2, wide, figsize=(13 / 3 * wide, 6.4))
        for axis in axes[len(known) :, 2:].flat:
            axis.axis("off")
        for row, (table, name) in enumerate(((recall, "test recall after training"), (pairs, "frozen mutual kNN"))):
            for column, (mine, other) in enumerate((("x", "y"), ("y", "x"))):
                _lines(axes[row, column], table, mine, other, facts)
                if row == 0 and axes[row, column].get_legend_handles_labels()[0]:
                    axes[row, column].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8, title="with")
                axes[row, column].set_xlabel(f"parameters of the encoder of {mine}")
                axes[row, column].set_ylabel(name)
        for row, what in enumerate(known):
            axis = axes[row, 2]
            if facts[what].isna().all() or alike.empty:
                axis.axis("off")
                continue
            for side, (colour, marker) in zip(("x", "y"), SERIES, strict=False):
                mine = alike[alike.index.isin(pairs[side])]
                x = facts[what].reindex(mine.index)
                axis.vlines(x, mine["low"].astype(float), mine["high"].astype(float), color=colour, linewidth=2)
                axis.plot(x, mine["value"].astype(float), marker, color=colour, markersize=7, markeredgecolor="white",
                          label=f"encoders of {side}")  # fmt: skip
                for name, value in mine["value"].items():
                    axis.annotate(str(name), (x[name], value), fontsize=7, xytext=(4, 4), textcoords="offset points")
            if what == "parameters":
                axis.set_xscale("log")
                axis.set_title("recall of reality")
            axis.set_xlabel({"parameters": "parameters", "quality": "quality: mean probe accuracy"}[what])
            axis.set_ylabel("mean R² over factors")
            axis.legend(loc="best", fontsize=8)
    return figure


def _lines(axis: Axes, table: pd.DataFrame, mine: str, other: str, facts: pd.DataFrame) -> None:
    """Over the parameters of this side's encoders, a colour for each encoder of the other side.

    A line joins encoders of one family; those of another pretraining stand by themselves, hollow. Nothing is drawn of
    encoders without parameters (controls, features that were given).
    """
    table = table.astype(dict.fromkeys(("value", "low", "high"), float))
    table = table[facts["parameters"].reindex(table[mine]).notna().to_numpy()]
    if table.empty:
        axis.axis("off")
        return
    families = facts["family"].reindex(table[mine])
    largest = families.groupby(families.index).first().value_counts().index[0]
    for (name, own), (colour, marker) in zip(table.groupby(other, sort=False), SERIES, strict=False):
        own = own.assign(parameters=facts["parameters"].reindex(own[mine]).to_numpy()).sort_values("parameters")
        axis.vlines(own["parameters"], own["low"], own["high"], color=colour, linewidth=1.6, alpha=0.6)
        joined = (facts["family"].reindex(own[mine]) == largest).to_numpy(dtype=bool)
        axis.plot(own["parameters"][joined], own["value"][joined], color=colour, marker=marker, markersize=5.5,
                  markeredgecolor="white", linewidth=1, label=name)  # fmt: skip
        axis.plot(own["parameters"][~joined], own["value"][~joined], color=colour, marker=marker, markersize=5.5,
                  markerfacecolor="white", linestyle="none")  # fmt: skip
    axis.set_xscale("log")


def pareto(results: pd.DataFrame, fronts: pd.DataFrame) -> Figure:
    """Alignment against preservation on test rows; a point a setting (mean over seeds), a line each loss's front.

    Args:
        results: of experiment ``pareto``.
        fronts: of experiment ``pareto_fronts``.
    """
    titles = {"recall": "test recall (mean R@1 of both ways)", "hard_negatives": "hard negatives, accuracy"}
    scores = dict(zip(titles, TRAINED.values(), strict=True))
    goals = [goal for goal in titles if goal in set(fronts["goal"])]
    seeds = tuple(results["seed"].dropna().unique())
    bars = f"; bars: standard deviation over {len(seeds)} seeds" if len(seeds) > 1 else ""
    settings, variants = (["lambda_first", "lambda_last", "cross"], ["loss", "alpha_first", "alpha_last"])
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, len(goals), figsize=(5.5 * len(goals), 4.8), squeeze=False)
        for axis, goal in zip(axes[0], goals, strict=True):
            every = select(results, error=None).groupby(variants, sort=False, dropna=False)
            fronts_of = dict(list(select(fronts, goal=goal).groupby(variants, sort=False, dropna=False)))
            for (key, mine), (colour, marker) in zip(every, SERIES, strict=False):
                x, y = (
                    select(mine, seed=seeds, **where).groupby(settings)["value"].agg(["mean", "std"]).astype(float)
                    for where in (PRESERVATION, scores[goal])
                )
                axis.errorbar(
                    x["mean"], y["mean"], xerr=x["std"].fillna(0), yerr=y["std"].fillna(0), fmt="none", ecolor=colour,
                    elinewidth=1, alpha=0.6,
                )  # fmt: skip
                own = fronts_of[key]
                volume = select(own, metric="hypervolume")["value"].iloc[0]
                axis.plot(x["mean"], y["mean"], marker, color=colour, markersize=6.5, markeredgecolor="white",
                          label=f"{variant(mine.iloc[0].to_dict())} ({volume:.3f})")  # fmt: skip
                chosen = pd.MultiIndex.from_frame(select(own, metric="on_front")[settings])
                line = pd.DataFrame({"x": x["mean"], "y": y["mean"]})
                line = line[line.index.isin(chosen)].sort_values("x")
                axis.plot(line["x"], line["y"], color=colour, linewidth=1)
            axis.set_xlabel("preservation: mutual kNN of features and latents, mean of both")
            axis.set_title(titles[goal])
            axis.legend(
                fontsize=8, title="(hypervolume of the front)" + bars, title_fontsize=8, loc="upper center",
                bbox_to_anchor=(0.5, -0.14), ncols=3,
            )  # fmt: skip
    return figure
