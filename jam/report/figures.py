"""Figures of spaces, kernels and the world."""

import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from jam.report import tables
from jam.report.labels import KINDS, MISMATCHES, label, metric
from jam.report.style import BLACK, BLUE, GREEN, GREY, ORANGE, STYLE, VERMILION, looks, note
from jam.results import select


def spaces(results: pd.DataFrame, names: Sequence[str], sides: tuple[str, str]) -> Figure:
    """Retrieval and hard-negative accuracy of each space on two sides, means over seeds with intervals.

    Args:
        results: of experiment ``evaluate``.
        names: the spaces, top to bottom.
        sides: x and y.
    """
    x, y = sides
    means = select(results, seed=None)
    known = len(select(means, metric="true_recall")) > 0  # what is true of what, and not only what belongs to what
    recall, name = ("true_recall", "true R@1") if known else ("recall", "R@1")
    panels: dict[str, dict[str, Any]] = {
        f"{x} → {y}, {name}": {"metric": recall, "k": 1, "direction": "x_to_y"},
        f"{y} → {x}, {name}": {"metric": recall, "k": 1, "direction": "y_to_x"},
        f"{x} → {y}, fine R@1": {"metric": "fine_recall", "direction": "x_to_y"},
        "hard negatives, accuracy": {"metric": "hard_negatives", "tier": "hard"},
    }
    panels = {title: where for title, where in panels.items() if len(select(means, **where))}
    with plt.rc_context(STYLE):
        size = (3.3 * len(panels), 0.42 * len(names) + 1.1)
        figure, axes = plt.subplots(1, len(panels), figsize=size, sharey=True)
        for axis, (title, where) in zip(axes, panels.items(), strict=True):
            rows = select(means, **where).set_index("subject")
            chance = tables.chance(rows)
            for place, (name, look) in enumerate(looks(names).items()):
                _point(axis, rows.loc[name], place, look)
            axis.set_title(title)
            axis.set_xlim(0 if chance is None or where["metric"] != "hard_negatives" else chance - 0.05, 1.02)
            if chance is not None:
                axis.axvline(chance, color=GREY, linewidth=1, linestyle=":")
                at = (chance, len(names) - 0.55)
                axis.annotate("chance", at, color=GREY, fontsize=8, xytext=(3, 0), textcoords="offset points")
        axes[0].set_yticks(range(len(names)), [label(name) for name in names])
        axes[0].set_ylim(len(names) - 0.4, -0.6)
        note(figure, "bars: 95 % intervals over seeds and scenes")
    return figure


def _point(axis: Axes, row: pd.Series, y: float, look: tuple[str, str]) -> None:
    colour, marker = look
    axis.plot([row["low"], row["high"]], [y, y], color=colour, linewidth=2, solid_capstyle="round")
    axis.plot(row["value"], y, marker, color=colour, markersize=7, markeredgecolor="white")


def hard_negatives(results: pd.DataFrame, names: Sequence[str]) -> Figure:
    """Accuracy of cos(x, true view) > cos(x, false view) by what was changed; of experiment ``evaluate``."""
    means = select(results, seed=None, metric="hard_negatives")
    kinds = [kind for kind in KINDS if len(select(means, kind=kind))]
    rows = means[means["kind"].notna()].set_index(["subject", "kind"])
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(10, 4))
        offsets = np.linspace(-0.32, 0.32, len(names))
        for offset, (name, (colour, marker)) in zip(offsets, looks(names).items(), strict=True):
            for x, kind in enumerate(kinds):
                row = rows.loc[(name, kind)]
                axis.plot([x + offset] * 2, [row["low"], row["high"]], color=colour, linewidth=2)
                axis.plot(
                    x + offset, row["value"], marker, color=colour, markersize=6, markeredgecolor="white",
                    label=label(name) if x == 0 else None,
                )  # fmt: skip
        axis.axhline(0.5, color=GREY, linewidth=1, linestyle=":")
        axis.annotate(
            "chance, one of two", (-0.48, 0.5), color=GREY, fontsize=8, xytext=(0, 3), textcoords="offset points"
        )
        axis.set_xticks(range(len(kinds)), [label(kind).replace(" ", "\n") for kind in kinds])
        axis.set_xlim(-0.5, len(kinds) - 0.5)
        axis.grid(axis="x", visible=False)
        axis.set_title("Is the true view nearer to its item than one with one thing changed?")
        note(figure, "bars: 95 % intervals over seeds and scenes")
        axis.set_ylabel("accuracy")
        axis.legend(ncols=1, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def training_curves(curves: pd.DataFrame, names: Sequence[str]) -> Figure:
    """Validation score and losses by epoch; a thin line a training, a thick one the mean while none has stopped."""
    panels = {
        "validation_score": "validation score,\nby which epochs are chosen",
        "loss_align": "alignment loss,\neach objective's own",
        "loss_reconstruction": "reconstruction loss, with a decoder\n(1: predicting the mean)",
    }
    panels = {column: title for column, title in panels.items() if column in curves}
    trained = [name for name in names if name in set(curves["space"])]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, len(panels), figsize=(11 / 3 * len(panels), 4.1), squeeze=False)
        axes = axes[0]
        for name, (colour, marker) in looks(names).items():
            mine = curves[curves["space"] == name]
            for axis, column in zip(axes, panels if name in trained else (), strict=False):
                what = [column for column in ("seed", "alpha", "trial") if column in mine]
                for _, run in mine.groupby(what, dropna=False):
                    axis.plot(run["epoch"] + 1, run[column], color=colour, linewidth=0.6, alpha=0.5)
                of_epoch = mine.groupby("epoch")[column]
                mean = of_epoch.mean()[of_epoch.count() == of_epoch.count().max()]  # of survivors it would jump
                axis.plot(
                    mean.index + 1, mean, color=colour, linewidth=1.8, marker=marker,
                    markevery=max(1, len(mean) // 6), markersize=4.5, label=label(name),
                )  # fmt: skip
        for axis, title in zip(axes, panels.values(), strict=True):
            axis.set_title(title)
            axis.set_xlabel("epoch")
        if "loss_reconstruction" in panels:
            axes[-1].set_ylim(bottom=0)
        handles, names_of = axes[0].get_legend_handles_labels()
        figure.legend(handles, names_of, ncols=4, loc="outside lower center", fontsize=9)
        note(figure, "thin: one training; thick: their mean, as long as none has stopped")
    return figure


def conditions(kernels: pd.DataFrame, metrics: Sequence[str], rows: Sequence[tuple[str | None, str]]) -> Figure:
    """Kernel metrics on matched, easy-mismatched and hard-mismatched pairs, after JAM's first figure.

    Args:
        kernels: of experiment ``kernels``.
        metrics: one panel a metric.
        rows: (space or None for frozen features, title) from top to bottom: before alignment, after.
    """
    fills = dict(zip(MISMATCHES, ((BLUE, ""), (ORANGE, "///"), (GREY, "...")), strict=True))
    with plt.rc_context(STYLE):
        size = (1.75 * len(metrics) + 0.6, 2.1 * len(rows) + 0.5)
        figure, axes = plt.subplots(len(rows), len(metrics), figsize=size, sharey="row", squeeze=False)
        for line, (subject, title) in zip(axes, rows, strict=True):
            here = select(kernels, subject=subject, condition=MISMATCHES).set_index(["metric", "condition"])
            for axis, name in zip(line, metrics, strict=True):
                for x, (condition, (colour, hatch)) in enumerate(fills.items()):
                    row = here.loc[(name, condition)]
                    axis.bar(
                        x, row["value"], color=colour, hatch=hatch, edgecolor="white", width=0.75,
                        label=label(condition),
                    )  # fmt: skip
                    axis.plot([x, x], [row["low"], row["high"]], color=BLACK, linewidth=1.2)
                    axis.plot([x - 0.38, x + 0.38], [row["null"]] * 2, color=VERMILION, linewidth=1.2, linestyle="--")
                axis.set_xticks([])
                axis.grid(axis="x", visible=False)
                axis.axhline(0, color=BLACK, linewidth=0.8)
            line[0].set_ylabel(title)
        for axis, name in zip(axes[0], metrics, strict=True):
            axis.set_title(metric(name))
        handles, labels = axes[0][0].get_legend_handles_labels()
        handles.append(plt.Line2D([], [], color=VERMILION, linestyle="--", linewidth=1.2))
        figure.legend(handles, [*labels, "95 % of rows permuted lie below"], ncols=4, loc="outside lower center")
        figure.supylabel("similarity of image and text views", fontsize=9)
        note(figure, "bars: 95 % jackknife intervals over items; scales differ between the lines")
    return figure


def samples(rows: Sequence[dict[str, Any]], columns: int = 4) -> Figure:
    """Images with a caption each and, struck out, one hard negative."""
    lines, told = -(-len(rows) // columns), []
    for place, row in enumerate(rows):
        hard = [negative for negative in row["negatives"] if negative["tier"] == "hard"]
        wrong = hard[place % len(hard)] if hard else None
        caption = row["captions"][wrong["of"] if wrong else 0]
        told.append((_wrap(f"✓ {caption}"), _wrap(f"✗ {wrong['text']}") if wrong else ""))
    above, below = (_room(texts) for texts in zip(*told, strict=True))
    side, gap = 2.4, 0.1
    width, height = columns * (side + gap) + gap, lines * (side + above + below)
    with plt.rc_context({**STYLE, "figure.constrained_layout.use": False}):
        figure = plt.figure(figsize=(width, height))
        for place, (row, (true, false)) in enumerate(zip(rows, told, strict=True)):
            line, column = divmod(place, columns)
            left, bottom = gap + column * (side + gap), height - (line + 1) * (side + above + below) + below
            axis = figure.add_axes((left / width, bottom / height, side / width, side / height))
            axis.axis("off")
            axis.set_anchor("SW")
            axis.imshow(Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB"), interpolation="nearest")
            for text, y, where, colour in ((true, 1.02, "bottom", BLACK), (false, -0.02, "top", VERMILION)):
                axis.text(0, y, text, transform=axis.transAxes, fontsize=7.5, va=where, color=colour)
    return figure


def _room(texts: Sequence[str]) -> float:
    """Inches for the longest of some wrapped texts of the size that `samples` has."""
    return 0.1 + 0.14 * max((text.count("\n") + 1 for text in texts if text), default=0)


def retrieved(found: pd.DataFrame, images: Mapping[str, Mapping[str, Any]]) -> Figure:
    """A contact sheet: for each caption the images that are nearest to it, best first; the right one is framed.

    Args:
        found: a row a caption, as the stage ``retrieve`` writes it.
        images: by id, encoded.
    """
    places = [name for name in found if name.startswith("place_")]
    with plt.rc_context({**STYLE, "figure.constrained_layout.use": False}):
        size = (1.5 * len(places) + 3.2, 1.55 * len(found) + 0.55)
        first = found.iloc[0]
        figure, axes = plt.subplots(len(found), len(places), figsize=size, squeeze=False)
        figure.subplots_adjust(
            left=3.2 / size[0], right=0.99, top=1 - 0.5 / size[1], bottom=0.01, hspace=0.08, wspace=0.05
        )
        for line, row in zip(axes, found.to_dict("records"), strict=True):
            told = f"{_wrap(row['caption'], 34)}\n(its own image is number {row['rank']} of {row['of']})"
            line[0].text(-0.08, 0.5, told, transform=line[0].transAxes, fontsize=8, ha="right", va="center")
            for axis, place in zip(line, places, strict=True):
                axis.imshow(Image.open(io.BytesIO(images[row[place]]["bytes"])).convert("RGB"))
                axis.set_xticks([])
                axis.set_yticks([])
                axis.grid(visible=False)
                right = row[place] == row["id"]
                for edge in axis.spines.values():
                    edge.set(visible=right, color=GREEN, linewidth=3)
        for place, axis in enumerate(axes[0], start=1):
            axis.set_title(str(place), fontsize=9)
        space = (
            f"test images nearest to a caption, its own framed\n{label(first['space'])}, the best on validation rows"
        )
        figure.text(0.01, 1 - 0.08 / size[1], space, fontsize=8.5, va="top")
    return figure


def _wrap(text: str, width: int = 40) -> str:
    return "\n".join(textwrap.wrap(text, width))
