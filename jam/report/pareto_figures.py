"""Figures of what alignment costs: the way of each loss as its reconstruction grows, and bars by private factor."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jam.report.labels import label, metric
from jam.report.style import BLUE, GREY, SERIES, STYLE, VERMILION
from jam.report.tables import variant
from jam.results import select

VARIANT, SETTING = ["loss", "alpha_first", "alpha_last"], ["lambda_first", "lambda_last", "cross"]
MEAN = "mean"  # of all factors
KEPT = {"private": "private factors read from the latents (R², mean of factors)",
        "preservation": "neighbours kept (mutual kNN of features and latents)"}  # fmt: skip

BARS = {
    "frozen": ("frozen layer", GREY),
    "projected": ("as many random directions", "#b5b5b5"),
    "untrained": ("adapter before training", "#dcdcdc"),
    "destroyed": ("alignment alone (λ = 0)", VERMILION),
    "left": ("with the λ that aligns best", BLUE),
}


def pareto(results: pd.DataFrame) -> Figure:
    """Alignment against what is kept of each side, test rows; each loss a line from λ = 0 up, its cross ones hollow.

    Args:
        results: of experiment ``pareto``.
    """
    cells = select(results, condition=None, error=None, split="test")
    goal = "true_recall" if len(select(cells, metric="true_recall")) else "recall"
    kept = "private" if len(select(cells, metric="private")) else "preservation"
    sides = {side: _of(cells, side) for side in ("x", "y")}
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(10.5, 4.7), sharey=True)
        for axis, (side, name) in zip(axes, sides.items(), strict=True):
            told_of = {"metric": kept, "direction": side, **({"label": MEAN} if kept == "private" else {})}
            _ways(axis, cells, {"metric": goal, "direction": "both"}, told_of)
            for condition, style in (("frozen", "-"), ("projected", "--"), ("untrained", ":")):
                for value in select(results, condition=condition, metric=kept, label=MEAN, direction=side)["value"]:
                    axis.axvline(value, color=GREY, linewidth=1.2, linestyle=style, label=BARS[condition][0])
            axis.set_title(name)
            axis.set_xlabel(KEPT[kept])
            axis.set_xlim(0, axis.get_xlim()[1] * 1.06)
        axes[0].set_ylabel(f"{metric(goal)}, both ways")
        axes[0].set_ylim(bottom=0)
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=len(names), fontsize=8.5)
        seeds = cells["seed"].nunique()
        told = "the weight λ of reconstruction grows along each line (hollow: cross-reconstruction)"
        figure.suptitle(
            f"{told}; bars: standard deviation over {seeds} seeds; both panels have the same R@1", fontsize=9
        )
    return figure


def _of(cells: pd.DataFrame, side: str) -> str:
    """The encoder of a side, and its layer."""
    return f"{label(cells[side].dropna().iloc[0])}, layer {cells[f'{side}_layer'].dropna().iloc[0]}"


def _ways(axis: Axes, cells: pd.DataFrame, up: dict[str, Any], across: dict[str, Any]) -> None:
    """A line for each loss through its settings in the order of λ."""
    seeds = tuple(cells["seed"].dropna().unique())
    for number, (_, mine) in enumerate(cells.groupby(VARIANT, sort=False, dropna=False)):
        colour, marker = SERIES[number]
        x, y = (
            select(mine, seed=seeds, **where).groupby(SETTING)["value"].agg(["mean", "std"]).astype(float).fillna(0)
            for where in (across, up)
        )
        points = pd.DataFrame({"x": x["mean"], "y": y["mean"], "dx": x["std"], "dy": y["std"]}).reset_index()
        first = points["cross"].min()
        axis.errorbar(points["x"], points["y"], xerr=points["dx"], yerr=points["dy"], fmt="none", ecolor=colour,
                      elinewidth=0.8, alpha=0.5)  # fmt: skip
        line, other = (points[points["cross"] == first], points[points["cross"] != first])
        axis.plot(line["x"], line["y"], color=colour, marker=marker, markersize=5.5, linewidth=1.3,
                  markeredgecolor="white", label=variant(mine.iloc[0].to_dict()))  # fmt: skip
        axis.plot(other["x"], other["y"], color=colour, marker=marker, markersize=5.5, linestyle="none",
                  markerfacecolor="white")  # fmt: skip
        if number == 0:
            for row in line.to_dict("records"):
                axis.annotate(f"λ {row['lambda_first']:g}", (row["x"], row["y"]), fontsize=8, xytext=(-6, -9),
                              textcoords="offset points", color=colour, ha="right")  # fmt: skip


def private(results: pd.DataFrame) -> Figure:
    """What is read of each private factor: frozen, untrained, aligned without and with reconstruction; first loss.

    Bars of spaces are the frozen share plus the paired difference, whose interval over seeds and items they carry.

    Args:
        results: of experiment ``pareto``.
    """
    mine = select(results, metric="private", split="test", seed=None)
    losses = select(mine, condition="left")
    first = losses.iloc[0]
    chosen = {name: None if pd.isna(first[name]) else first[name] for name in VARIANT}
    cells = select(results, condition=None, error=None)
    with plt.rc_context(STYLE):
        sides = [*dict.fromkeys(losses["direction"])]
        figure, axes = plt.subplots(
            1, len(sides), figsize=(11, 3.9), sharey=True, squeeze=False,
            width_ratios=[select(losses, direction=side)["label"].nunique() for side in sides],
        )  # fmt: skip
        for axis, side in zip(axes[0], sides, strict=True):
            own = select(mine, direction=side)
            labels = [*dict.fromkeys(select(own, condition="frozen")["label"])]
            frozen = select(own, condition="frozen").set_index("label")["value"].reindex(labels).astype(float)
            for place, (condition, (name, colour)) in enumerate(BARS.items()):
                where = chosen if condition in ("destroyed", "left") else {}
                found = select(own, condition=condition, **where).set_index("label").reindex(labels)
                value, low, high = (found[column].to_numpy(dtype=float) for column in ("value", "low", "high"))
                base = frozen.to_numpy() if where else 0.0
                at = np.arange(len(labels)) + (place - (len(BARS) - 1) / 2) * 0.16
                axis.bar(at, value + base, 0.15, color=colour, label=name)
                axis.vlines(at, low + base, high + base, color="black", linewidth=0.9)
            axis.axhline(0, color="black", linewidth=0.6)
            axis.set_xticks(range(len(labels)), labels)
            axis.set_title(_of(cells, side))
        axes[0, 0].set_ylabel("R² of the factor, test rows")
        handles, names = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=len(names), fontsize=8.5)
        weights = f"λ {first['lambda_first']:g}{', cross' if first['cross'] else ''}"
        figure.suptitle(
            f"{variant(first.to_dict())}, which aligns best with {weights}; bars: 95 % intervals", fontsize=9.5
        )
    return figure
