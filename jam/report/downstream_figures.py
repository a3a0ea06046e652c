"""Figures of what labels are told before and after alignment, and of cosines of images and texts."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jam.report.downstream_tables import conditions, methods
from jam.report.labels import label
from jam.report.style import BLACK, BLUE, GREY, ORANGE, SERIES, STYLE, note
from jam.report.tables import Where
from jam.results import select

HISTOGRAM = {"matched": (BLUE, "with their own texts"), "mismatched": (ORANGE, "with texts that are not true of them"),
             "shuffled": (GREY, "with texts dealt out by chance")}  # fmt: skip


def downstream(results: pd.DataFrame) -> Figure:
    """Accuracy on every task by every method, with intervals: frozen, whitened, and in each space; chance and the best.

    Args:
        results: of experiment ``downstream``.
    """
    means = select(results, seed=None, split="test")
    panels, rows = methods(means), conditions(means)
    tasks = list(dict.fromkeys(select(means, metric="probe")["label"]))
    across = min(3, len(panels))
    down = -(-len(panels) // across)
    with plt.rc_context(STYLE):
        size = (1.4 + 3.1 * across, 0.9 + down * (0.5 + 0.13 * len(tasks) * (1 + len(rows))))
        figure, axes = plt.subplots(down, across, figsize=size, squeeze=False, sharey=True)
        for axis, (name, where) in zip(axes.flat, panels.items(), strict=False):
            _panel(axis, select(means, **where), tasks, rows)
            axis.set_title(name)
        for axis in axes.flat[len(panels) :]:
            axis.axis("off")
        handles, names = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=min(len(names), 6), fontsize=8.5)
        note(figure, "Bars: 95 % over seeds and scans or scenes. By prompts nothing can be sought before alignment.")
    return figure


def _panel(axis: Axes, found: pd.DataFrame, tasks: Sequence[str], rows: Mapping[str, Where]) -> None:
    looks = [(BLACK, "o"), (GREY, "X"), *SERIES]
    step = 0.8 / len(rows)
    for number, (name, where) in enumerate(rows.items()):
        colour, marker = looks[number]
        mine = select(found, **where).set_index("label").reindex(tasks)
        value, low, high = (mine[column].to_numpy(dtype=float) for column in ("value", "low", "high"))
        at = np.arange(len(tasks)) - 0.4 + step * (number + 0.5)
        axis.hlines(at, low, high, color=colour, linewidth=1.6)
        axis.plot(value, at, marker, color=colour, markersize=5, markeredgecolor="white", linestyle="none", label=name)
    chance = found.groupby("label")["null_mean"].first().reindex(tasks).to_numpy(dtype=float)
    places = np.arange(len(tasks))
    axis.vlines(
        chance, places - 0.45, places + 0.45, color=GREY, linestyle=":", linewidth=1.4, zorder=0, label="chance"
    )
    best = found.groupby("label")["ceiling"].first().reindex(tasks).to_numpy(dtype=float)
    axis.vlines(
        best, places - 0.45, places + 0.45, color=GREY, linewidth=1, zorder=0, label="best possible, where known"
    )
    axis.set_yticks(places, tasks)
    axis.set_ylim(len(tasks) - 0.5, -0.5)
    axis.set_xlim(0, 1.03)
    axis.set_xlabel("accuracy, test images")


def similarity(histograms: pd.DataFrame, results: pd.DataFrame) -> Figure:
    """Histograms of cosines of the test items' images with their own and with other texts, before and after.

    Args:
        histograms: columns subject, condition, pairs, left, right, share.
        results: of experiment ``downstream``, for d′.
    """
    means = select(results, metric="d_prime", seed=None)
    drawn = [None if pd.isna(subject) else subject for subject in histograms["subject"].unique()]
    with plt.rc_context(STYLE):
        size = (1 + 2.7 * len(drawn), 3.4)
        figure, axes = plt.subplots(1, len(drawn), figsize=size, squeeze=False, sharey=True, sharex=True)
        for axis, subject in zip(axes[0], drawn, strict=True):
            mine = select(histograms, subject=subject)
            for pairs, (colour, told) in HISTOGRAM.items():
                one = select(mine, pairs=pairs)
                edges = [*one["left"], one["right"].iloc[-1]]
                dashed = "--" if pairs == "shuffled" else "-"
                axis.stairs(one["share"], edges, color=colour, linestyle=dashed, label=told, linewidth=1.4)
            row = select(means, subject=subject).iloc[0]
            title = f"before ({row['label']})" if subject is None else f"after, {label(subject)}"
            interval = f"[{row['low']:.2f}, {row['high']:.2f}]"
            axis.set_title(f"{title}\nd′ {row['value']:.2f} {interval}")
            axis.set_xlabel("cosine")
        axes[0, 0].set_ylabel("share of pairs, test items")
        handles, names = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=3, fontsize=8.5)
        note(figure, "d′: how far the means of own texts and of those not true of an image lie apart, in standard "
             "deviations [95 % over scenes]; the ridge map is fitted on training pairs.")  # fmt: skip
    return figure
