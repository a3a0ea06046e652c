"""Figures from tidy tables, in one style: colour-blind safe, told apart in grey print by markers and hatches."""

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from jam.io import atomic_path

# Okabe & Ito 2008: distinguishable under the common colour-vision deficiencies.
BLUE, ORANGE, GREEN, PINK, SKY, VERMILION, YELLOW, BLACK = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000",
)  # fmt: skip
GREY = "#8a8a8a"
COLOURS = {
    "con": BLUE, "negcon": ORANGE, "spread": GREEN, "linear": SKY, "mlp": PINK,
    "ridge": VERMILION, "procrustes": GREY, "cca": BLACK,
}  # fmt: skip
MARKERS = {
    "con": "o", "negcon": "s", "spread": "D", "linear": "^", "mlp": "v", "ridge": "P", "procrustes": "X", "cca": "*",
}  # fmt: skip
LABELS = {
    "con": "Con", "negcon": "NegCon", "spread": "Spread", "linear": "linear adapter", "mlp": "MLP adapter",
    "ridge": "ridge", "procrustes": "Procrustes", "cca": "CCA",
    "i2t_r1": "image → text, R@1", "t2i_r1": "text → image, R@1",
    "mutual_knn": "mutual kNN", "unbiased_cka": "CKA (unbiased)", "cknna": "CKNNA", "svcca": "SVCCA",
    "rsa": "RSA",
    "replace_object": "replace\nobject", "replace_attribute": "replace\nattribute", "swap_attribute": "swap\nattribute",
    "replace_relation": "replace\nrelation", "swap_object": "swap\nobject", "add_object": "add\nobject",
    "add_attribute": "add\nattribute", "word_order": "word\norder", "given": "given",
    "matched": "matched", "easy": "another scene's caption", "hard": "one thing changed",
}  # fmt: skip
# Of hard negatives, in SugarCrepe's order; a data set has some of them
NEGATIVE_KINDS = (
    "replace_object", "replace_attribute", "replace_relation", "swap_object", "swap_attribute", "add_object",
    "add_attribute", "word_order", "given",
)  # fmt: skip
STYLE: Any = {
    "figure.dpi": 150, "savefig.dpi": 150, "figure.constrained_layout.use": True, "font.size": 10,
    "font.family": "DejaVu Sans", "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6, "axes.axisbelow": True, "axes.titlesize": 10.5, "axes.titlelocation": "left",
    "legend.frameon": False,
}  # fmt: skip


def save(figure: Figure, path: str | Path) -> None:
    """Write a PNG whose bytes depend on the figure alone."""
    with atomic_path(path) as part:
        figure.savefig(part, format="png", metadata={"Software": None})
    plt.close(figure)


def label(name: str) -> str:
    """What a reader sees for a name."""
    return LABELS.get(name, name.replace("_", " "))


def objectives(results: pd.DataFrame, methods: Sequence[str]) -> Figure:
    """Retrieval and hard-negative accuracy of each method, means over seeds with intervals.

    Args:
        results: rows of `jam.evaluation.summarise` with a column ``method``.
        methods: which to show, top to bottom.
    """
    panels = [
        ("i2t_r1", "", "image → text, R@1"),
        ("t2i_r1", "", "text → image, R@1"),
        ("negatives_by_tier", "hard", "hard negatives, accuracy"),
    ]
    means = results[results["seed"] == "mean"]
    # Data without hard negatives has no such panel.
    panels = [panel for panel in panels if ((means["metric"] == panel[0]) & (means["group"] == panel[1])).any()]
    with plt.rc_context(STYLE):
        size = (3.3 * len(panels), 0.42 * len(methods) + 1.1)
        figure, axes = plt.subplots(1, len(panels), figsize=size, sharey=True)
        for axis, (metric, group, title) in zip(axes, panels, strict=True):
            rows = means[(means["metric"] == metric) & (means["group"] == group)].set_index("method")
            for y, method in enumerate(methods):
                _point(axis, rows.loc[method], y, method)
            axis.set_title(title)
            axis.set_xlim(0 if metric != "negatives_by_tier" else 0.45, 1.02)
            if metric == "negatives_by_tier":
                axis.axvline(0.5, color=GREY, linewidth=1, linestyle=":")
                place = (0.5, len(methods) - 0.55)
                axis.annotate("chance", place, color=GREY, fontsize=8, xytext=(3, 0), textcoords="offset points")
        axes[0].set_yticks(range(len(methods)), [label(method) for method in methods])
        axes[0].set_ylim(len(methods) - 0.4, -0.6)
    return figure


def _point(axis: Axes, row: pd.Series, y: float, method: str) -> None:
    axis.plot([row["low"], row["high"]], [y, y], color=COLOURS[method], linewidth=2, solid_capstyle="round")
    axis.plot(row["value"], y, MARKERS[method], color=COLOURS[method], markersize=7, markeredgecolor="white")


def hard_negatives(results: pd.DataFrame, methods: Sequence[str], kinds: Sequence[str]) -> Figure:
    """Accuracy of cos(image, caption) > cos(image, false caption) by what was changed."""
    means = results[(results["seed"] == "mean") & (results["metric"] == "negatives_by_kind")].set_index(
        ["method", "group"]
    )
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(8, 3.6))
        offsets = np.linspace(-0.32, 0.32, len(methods))
        for offset, method in zip(offsets, methods, strict=True):
            for x, kind in enumerate(kinds):
                row = means.loc[(method, kind)]
                axis.plot([x + offset] * 2, [row["low"], row["high"]], color=COLOURS[method], linewidth=2)
                axis.plot(
                    x + offset, row["value"], MARKERS[method], color=COLOURS[method], markersize=6,
                    markeredgecolor="white", label=label(method) if x == 0 else None,
                )  # fmt: skip
        axis.axhline(0.5, color=GREY, linewidth=1, linestyle=":")
        axis.annotate("chance", (-0.48, 0.5), color=GREY, fontsize=8, xytext=(0, 3), textcoords="offset points")
        axis.set_xticks(range(len(kinds)), [label(kind) for kind in kinds])
        axis.set_xlim(-0.5, len(kinds) - 0.5)
        axis.grid(axis="x", visible=False)
        axis.set_title("Hard negatives: is the true caption nearer to its image than one with one thing changed?")
        axis.set_ylabel("accuracy")
        axis.legend(ncols=1, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def training_curves(curves: pd.DataFrame) -> Figure:
    """Validation recall and losses by epoch; a thin line a seed, a thick one their mean."""
    panels = [
        ("validation_recall", "validation recall, mean R@1 of both ways"),
        ("loss_align", "alignment loss"),
        ("loss_reconstruction", "reconstruction loss (1 = predicting the mean)"),
    ]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 3, figsize=(11, 3.2))
        for method in [name for name in COLOURS if name in set(curves["method"])]:
            mine = curves[curves["method"] == method]
            for axis, (column, _) in zip(axes, panels, strict=True):
                what = [column for column in ("seed", "alpha", "whitening") if column in mine]
                for _, run in mine.groupby(what, dropna=False):
                    axis.plot(run["epoch"] + 1, run[column], color=COLOURS[method], linewidth=0.6, alpha=0.5)
                mean = mine.groupby("epoch")[column].mean()
                axis.plot(
                    mean.index + 1, mean, color=COLOURS[method], linewidth=1.8, marker=MARKERS[method],
                    markevery=max(1, len(mean) // 6), markersize=4.5, label=label(method),
                )  # fmt: skip
        for axis, (_, title) in zip(axes, panels, strict=True):
            axis.set_title(title)
            axis.set_xlabel("epoch")
        axes[2].set_ylim(bottom=0)
        axes[0].legend()
    return figure


def conditions(kernels: pd.DataFrame, metrics: Sequence[str], rows: Sequence[tuple[str, str]]) -> Figure:
    """Kernel metrics on matched, easy-mismatched and hard-mismatched pairs, after JAM's first figure.

    Args:
        kernels: columns left, condition, metric, value, low, high, null.
        metrics: one panel a metric.
        rows: (subject, title) from top to bottom: before alignment, after.
    """
    looks = {"matched": (BLUE, ""), "hard": (ORANGE, "///"), "easy": (GREY, "...")}
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(
            len(rows),
            len(metrics),
            figsize=(1.75 * len(metrics) + 0.6, 2.1 * len(rows) + 0.5),
            sharey="row",
            squeeze=False,
        )
        for axes, (subject, title) in zip(grid, rows, strict=True):
            here = kernels[kernels["left"] == subject].set_index(["metric", "condition"])
            for axis, metric in zip(axes, metrics, strict=True):
                for x, (condition, (colour, hatch)) in enumerate(looks.items()):
                    row = here.loc[(metric, condition)]
                    axis.bar(
                        x,
                        row["value"],
                        color=colour,
                        hatch=hatch,
                        edgecolor="white",
                        width=0.75,
                        label=label(condition),
                    )
                    axis.plot([x, x], [row["low"], row["high"]], color=BLACK, linewidth=1.2)
                    axis.plot([x - 0.38, x + 0.38], [row["null"]] * 2, color=VERMILION, linewidth=1.2, linestyle="--")
                axis.set_xticks([])
                axis.grid(axis="x", visible=False)
                axis.axhline(0, color=BLACK, linewidth=0.8)
            axes[0].set_ylabel(title)
        for axis, metric in zip(grid[0], metrics, strict=True):
            axis.set_title(label(metric))
        handles, labels = grid[0][0].get_legend_handles_labels()
        handles.append(plt.Line2D([], [], color=VERMILION, linestyle="--", linewidth=1.2))
        figure.legend(handles, [*labels, "95 % of the null"], ncols=4, loc="outside lower center")
    return figure


def reality(kernels: pd.DataFrame, metrics: Sequence[str], subjects: Sequence[tuple[str, str, str]]) -> Figure:
    """Kernel alignment of every representation with the true state of the world.

    Args:
        kernels: columns left, metric, value, low, high, null.
        metrics: one panel a metric.
        subjects: (subject, label, colour) from top to bottom.
    """
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            1, len(metrics), figsize=(2.3 * len(metrics) + 1.6, 0.3 * len(subjects) + 1.2), sharey=True
        )
        for axis, metric in zip(np.atleast_1d(axes), metrics, strict=True):
            here = kernels[kernels["metric"] == metric].set_index("left")
            for y, (subject, _, colour) in enumerate(subjects):
                row = here.loc[subject]
                axis.plot([0, row["value"]], [y, y], color=colour, linewidth=1, alpha=0.6)
                axis.plot([row["low"], row["high"]], [y, y], color=colour, linewidth=3.5, alpha=0.45)
                axis.plot(row["value"], y, "o", color=colour, markersize=5.5)
                axis.plot([row["null"]] * 2, [y - 0.35, y + 0.35], color=VERMILION, linewidth=1.2)
            axis.set_title(label(metric))
            axis.set_xlim(left=min(0.0, axis.get_xlim()[0]))
        np.atleast_1d(axes)[0].set_yticks(range(len(subjects)), [text for _, text, _ in subjects])
        np.atleast_1d(axes)[0].set_ylim(len(subjects) - 0.4, -0.6)
    return figure


def samples(rows: Sequence[dict[str, Any]], columns: int = 4) -> Figure:
    """Images with a caption each and, struck out, one hard negative."""
    lines = -(-len(rows) // columns)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(lines, columns, figsize=(2.6 * columns, 3.5 * lines), squeeze=False)
        for axis in axes.flat:
            axis.axis("off")
        for place, (axis, row) in enumerate(zip(axes.flat, rows, strict=False)):
            axis.imshow(Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB"), interpolation="nearest")
            hard = [negative for negative in row["negatives"] if negative["tier"] == "hard"]
            wrong = hard[place % len(hard)] if hard else None
            text = _wrap(row["captions"][wrong["of"] if wrong else 0])
            axis.text(0, 1, "✓ " + text, transform=axis.transAxes, fontsize=7.5, va="bottom", color=BLACK)
            if wrong:
                axis.text(
                    0,
                    -0.02,
                    "✗ " + _wrap(wrong["text"]),
                    transform=axis.transAxes,
                    fontsize=7.5,
                    va="top",
                    color=VERMILION,
                )
    return figure


def _wrap(text: str, width: int = 40) -> str:
    return "\n".join(textwrap.wrap(text, width))
