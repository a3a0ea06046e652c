"""Figures of when and how models come out alike: over depth, over training, over data, capacity and domain."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from jam.report.compare_tables import through_training
from jam.report.labels import label, metric
from jam.report.style import BLUE, GREY, SERIES, STYLE, VERMILION, looks, note
from jam.results import select

CKA = "unbiased_cka"
# Where the claims of layers lie: relative depth from … to …, and the id of the claim
ZONES = {"early_layers": (0.0, 1 / 3), "middle_layers": (1 / 3, 2 / 3), "final_layers": (0.9, 1.0)}


def depth(when: pd.DataFrame, claims: pd.DataFrame | None = None, name: str = CKA) -> Figure:
    """How alike two models are at the same relative depth: a thin line a pair, a thick one the mean.

    Args:
        when: as the stage `compare` writes what similarity hangs on.
        claims: as it writes claims; their ranges are drawn where they are about layers.
        name: the measure.
    """
    mine = select(when, condition="depth", metric=name)
    mine = mine[mine["modality"] == mine["y_modality"]]
    sides = list(dict.fromkeys(mine["modality"]))
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, len(sides), figsize=(4.8 * len(sides) + 0.4, 4.1), sharey=True, squeeze=False)
        for axis, modality in zip(axes[0], sides, strict=True):
            here = select(mine, modality=modality)
            if claims is not None:
                _zones(axis, claims)
            curves = []
            for pair, rows in here.groupby(["x", "y"], sort=False):
                curve = _by_depth(rows)
                curves.append(curve)
                axis.plot(curve.index, curve["value"], color=GREY, linewidth=0.8, alpha=0.7, zorder=2)
                axis.plot(curve.index, curve["null"], color=VERMILION, linewidth=0.5, linestyle=":", zorder=2)
                del pair
            at = np.unique(np.concatenate([curve.index for curve in curves]))
            mean = {end: np.mean([np.interp(at, curve.index, curve[end]) for curve in curves], axis=0)
                    for end in ("value", "low", "high")}  # fmt: skip
            axis.fill_between(at, mean["low"], mean["high"], color=BLUE, alpha=0.25, linewidth=0, zorder=3)
            axis.plot(at, mean["value"], color=BLUE, marker="o", markersize=4, linewidth=2, zorder=4)
            axis.set_title(f"{modality} towers, {len(curves)} {'pairs' if len(curves) > 1 else 'pair'} of models")
            axis.set_xlabel("relative depth (1: the model's own shared space)")
            axis.set_xlim(-0.03, 1.03)
        axes[0][0].set_ylabel(metric(name))
        axes[0][0].set_ylim(top=1.02)
        handles: list[Any] = [
            Line2D([], [], color=BLUE, marker="o", linewidth=2, markersize=4, label="mean, 95 % over items"),
            Line2D([], [], color=GREY, linewidth=0.9, label="one pair of models"),
            Line2D([], [], color=VERMILION, linewidth=1, linestyle=":", label="95 % of shuffled rows lie below"),
        ]
        if claims is not None:
            handles.append(Patch(facecolor="none", edgecolor=GREY, hatch="////", label="claimed"))
        figure.legend(handles=handles, ncols=4, loc="outside lower center", fontsize=8.5)
    return figure


def _by_depth(rows: pd.DataFrame) -> pd.DataFrame:
    """Of a pair, the layers of each depth of x with those of y that are nearest in depth."""
    near = rows.assign(apart=(rows["depth"] - rows["y_depth"]).abs().astype(float)).sort_values("apart", kind="stable")
    first = near.groupby("x_layer").head(1)
    columns = ["value", "low", "high", "null"]
    means = first.assign(at=first["depth"].astype(float)).groupby("at")[columns].mean()
    return means.astype(float)


def _zones(axis: Axes, claims: pd.DataFrame) -> None:
    for name, (left, right) in ZONES.items():
        rows = select(claims, claim=name)
        if rows.empty:
            continue
        low, high = float(rows["claimed_low"].iloc[0]), rows["claimed_high"].iloc[0]
        top = 1.0 if pd.isna(high) else min(1.0, float(high))
        axis.add_patch(
            Rectangle((left, low), right - left, top - low, facecolor="none", edgecolor=GREY, hatch="////", alpha=0.55,
                      linewidth=0.8, zorder=1)
        )  # fmt: skip


def trajectories(paths: pd.DataFrame, models: Sequence[str] | None = None) -> Figure:
    """Trainings as paths in the plane that keeps distances √(2 − 2·CKA) best: from an open circle to the model's mark.

    Args:
        paths: as the stage `compare` writes trajectories, a row a point and dimension.
        models: that are named, all if None; others are small and grey.
    """
    sides, told = list(dict.fromkeys(paths["modality"])), looks(list(models or dict.fromkeys(paths["subject"])))
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, len(sides), figsize=(4.9 * len(sides) + 0.2, 5.2), squeeze=False)
        for axis, modality in zip(axes[0], sides, strict=True):
            here = select(paths, modality=modality)
            points = here.pivot(index=["subject", "checkpoint"], columns="dimension", values="value").astype(float)
            names = list(dict.fromkeys(here["subject"]))
            for name in sorted(names, key=lambda one: one in told):  # those that are named above the others
                _path(axis, points.loc[name].sort_index(), *told.get(name, (GREY, ".")), name in told)
            shares = here.groupby("dimension")["explained"].first().astype(float)
            axis.set_title(f"{modality} towers")
            axis.set_xlabel(f"first axis, {100 * shares.iloc[0]:.0f} % of the spread")
            axis.set_ylabel(f"second axis, {100 * shares.iloc[1]:.0f} %")
            axis.set_aspect("equal", adjustable="datalim")
        handles = [
            Line2D([], [], color=colour, marker=marker, markersize=7, markeredgecolor="white", label=label(name))
            for name, (colour, marker) in told.items()
        ]
        if set(paths["subject"]) - set(told):
            handles.append(Line2D([], [], color=GREY, marker=".", linewidth=0.8, label="other models"))
        at_init: Any = {"color": GREY, "marker": "o", "markerfacecolor": "white", "linestyle": "none"}
        handles.append(Line2D([], [], label="at init", **at_init))
        figure.legend(handles=handles, ncols=5, loc="outside lower center", fontsize=8.5)
        note(figure, "near: alike by CKA at the last layer; dots: checkpoints on the way")
    return figure


def _path(axis: Axes, points: pd.DataFrame, colour: str, marker: str, named: bool) -> None:
    """The checkpoints (rows) of one model; arrows halfway between them."""
    at = points.to_numpy()
    axis.plot(at[:, 0], at[:, 1], color=colour, linewidth=1.3 if named else 0.7, alpha=0.75 if named else 0.5)
    for start, end in pairwise(at) if named else ():
        middle, step = (start + end) / 2, (end - start) * 0.02
        arrow = {"arrowstyle": "-|>", "color": colour, "mutation_scale": 9}
        axis.annotate("", xy=tuple(middle + step), xytext=tuple(middle - step), arrowprops=arrow)
    axis.plot(at[1:-1, 0], at[1:-1, 1], "o", color=colour, markersize=3 if named else 1.5)
    if len(at) > 1:
        axis.plot(*at[0], "o", color=colour, markerfacecolor="white", markersize=5.5 if named else 3.5)
    axis.plot(*at[-1], marker, color=colour, markersize=9 if named else 7, markeredgecolor="white" if named else colour)


def when(rows: pd.DataFrame, scales: Mapping[str, str], models: Sequence[str] | None = None, name: str = CKA) -> Figure:
    """When models come out alike: over training, at home and in a shifted domain, and over each scale.

    Args:
        rows: as the stage `compare` writes what similarity hangs on.
        scales: name of a scale → what its levels are.
        models: that trainings are shown of, all if None.
        name: the measure.
    """
    mine = select(rows, metric=name)
    mine = mine[mine["modality"] == mine["y_modality"]]
    sides = list(dict.fromkeys(mine["modality"]))
    colours = dict(zip(sides, SERIES, strict=False))
    kept = {scale: told for scale, told in scales.items() if len(select(mine, condition=scale))}
    domain = bool(len(select(mine, condition="shifted")))
    panels = 1 + domain + len(kept)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, panels, figsize=(3.15 * panels + 0.5, 3.9), sharey=True, squeeze=False)
        spots = iter(axes[0])
        _training(next(spots), through_training(rows, name, models), colours)
        if domain:
            _domains(next(spots), mine, colours)
        for scale, told in kept.items():
            _scale(next(spots), select(mine, condition=scale), told, colours)
        axes[0][0].set_ylabel(f"{metric(name)} of two models")
        handles = [
            Line2D([], [], color=colour, marker=marker, linewidth=1.8, markersize=5, label=f"{side} towers")
            for side, (colour, marker) in colours.items()
        ]
        figure.legend(handles=handles, ncols=len(sides), loc="outside lower center", fontsize=9)
        note(figure, "thick: mean over pairs of models; thin: one pair; bars: 95 % over items")
    return figure


def _training(axis: Axes, rows: pd.DataFrame, colours: Mapping[str, tuple[str, str]]) -> None:
    percents = sorted(int(one) for one in rows["checkpoint"].dropna().unique())
    for side, look in colours.items():
        here = select(rows, modality=side)
        table = here.pivot_table(index=["x", "y"], columns="checkpoint", values="value", sort=False).astype(float)
        _lines(axis, table.reindex(columns=percents), look)
    axis.set_xticks(range(len(percents)), [str(one) for one in percents])
    axis.set_xlabel("% of the training of both")
    axis.set_title("over training")


def _domains(axis: Axes, rows: pd.DataFrame, colours: Mapping[str, tuple[str, str]]) -> None:
    conditions = {"own domain": "at home", "shifted": "shifted"}
    here = select(rows, condition=tuple(conditions))
    for side, look in colours.items():
        table = select(here, modality=side).pivot_table(
            index=["x", "y"], columns="condition", values="value", sort=False
        )
        if set(conditions) <= set(table):
            _lines(axis, table[list(conditions)].astype(float).dropna(), look)
    axis.set_xticks(range(len(conditions)), list(conditions.values()))
    axis.set_xlim(-0.3, 1.3)
    axis.set_title("in another domain")


def _scale(axis: Axes, rows: pd.DataFrame, told: str, colours: Mapping[str, tuple[str, str]]) -> None:
    levels = sorted(float(one) for one in rows["level"].dropna().unique())
    for place, (side, (colour, marker)) in enumerate(colours.items()):
        here = select(rows, modality=side).astype(dict.fromkeys(("level", "value", "low", "high"), float))
        means = here.groupby("level")[["value", "low", "high"]].mean()
        at = np.array([levels.index(level) for level in means.index]) + 0.06 * (place - (len(colours) - 1) / 2)
        axis.vlines(at, means["low"], means["high"], color=colour, linewidth=1.6, alpha=0.6)
        axis.plot(
            at, means["value"], color=colour, marker=marker, linewidth=1.8, markersize=5.5, markeredgecolor="white"
        )
    axis.set_xticks(range(len(levels)), [f"{level:,g}" for level in levels])
    axis.set_xlim(-0.3, len(levels) - 0.7)
    axis.set_xlabel(told)
    axis.set_title(f"over {told}, with the same models")


def _lines(axis: Axes, table: pd.DataFrame, look: tuple[str, str]) -> None:
    """A thin line a row, a thick one their mean, columns equally far apart."""
    at = np.arange(table.shape[1])
    for values in table.to_numpy():
        axis.plot(at, values, color=look[0], linewidth=0.7, alpha=0.4)
    if len(table):
        axis.plot(at, table.mean(), color=look[0], marker=look[1], linewidth=2, markersize=6, markeredgecolor="white")
