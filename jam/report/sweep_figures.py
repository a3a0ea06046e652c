"""Figures of the sweeps: maps over a grid, trends over size."""

import textwrap
from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from jam.report.labels import label, metric
from jam.report.style import STYLE, VERMILION, paint
from jam.report.tables import number, setting, variant
from jam.results import select

TRAINED: dict[str, dict[str, Any]] = {
    "R@1, own captions alone": {"metric": "recall", "direction": "both", "condition": None, "split": "test"},
    "hard negatives": {
        "metric": "hard_negatives",
        "tier": "hard",
        "condition": None,
        "split": "test",
    },
}
PRESERVATION = {"metric": "preservation", "direction": "both", "condition": None, "split": "test"}
TRUE = {**TRAINED["R@1, own captions alone"], "metric": "true_recall"}
PRIVATE = {**PRESERVATION, "metric": "private", "label": "mean"}
FROZEN = ("mutual_knn", "unbiased_cka")
WIDEST = 8.5  # inches of cells side by side: text stays legible where the page scales the figure


def layers(results: pd.DataFrame) -> Figure:
    """What training makes of every pair of layers, and how alike they were before it; of experiment ``layers``."""
    panels = {
        f"trained: {title}, test": _map(results, ("x_layer", "y_layer"), where) for title, where in TRAINED.items()
    }
    panels |= {
        f"frozen: {metric(name)}, validation": _map(
            results, ("x_layer", "y_layer"), {"metric": name, "condition": "frozen", "split": "val"}
        )
        for name in FROZEN
    }
    best = select(results, condition="best of all").iloc[0]
    names = (f"{label(best['x'])}, layer", f"{label(best['y'])}, layer")
    told = "framed: the pair of layers with the highest recall on validation rows after training"
    return heatmaps(panels, names, (best["x_layer"], best["y_layer"]), told)


def pareto_maps(results: pd.DataFrame) -> Figure:
    """Scores of every loss with every setting of its reconstruction; of experiment ``pareto``."""
    found = select(results, error=None, condition=None)
    rows = found.to_dict("records")
    found = found.assign(loss_name=[variant(row) for row in rows], setting=[setting(row) for row in rows])
    panels = {**TRAINED, "neighbours kept, mean of both sides": PRESERVATION}
    panels |= {"true R@1": TRUE, "private factors, mean of both sides": PRIVATE}
    panels["R² of the reconstruction of x"] = {"metric": "reconstruction_r2", "direction": "x", "split": "test"}
    return heatmaps(
        {title: _map(found, ("loss_name", "setting"), where) for title, where in panels.items()},
        ("loss", "weight of reconstruction"),
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
            lines * (height + 0.16 * deep + 0.6) + 0.2 + 0.2 * bool(told),
        )
        figure, axes = plt.subplots(lines, across, figsize=size, squeeze=False, sharey=True)
        for axis, (title, table) in zip(axes.flat, panels.items(), strict=False):
            values = table.reindex(index=first.index, columns=first.columns).to_numpy()
            paint(axis, values, lambda value: number(value, 2))
            if best is not None:
                corner = (first.columns.get_loc(best[1]) - 0.5, first.index.get_loc(best[0]) - 0.5)
                axis.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=VERMILION, linewidth=2.2))
            axis.set_title(title)
            axis.set_xticks(range(len(columns)), columns, fontsize=8.5)
            axis.set_yticks(range(len(rows)), rows, fontsize=8.5)
            axis.set_xlabel(names[1])
        for line in axes:
            line[0].set_ylabel(names[0])
        for axis in list(axes.flat)[len(panels) :]:
            axis.axis("off")
        figure.supxlabel(
            f"{told}\n" * bool(told) + "colours: from each map's lowest to its highest value", fontsize=8.5
        )
    return figure


def _wrapped(name: str) -> str:
    return "\n".join(textwrap.wrap(name, 9, break_long_words=False))
