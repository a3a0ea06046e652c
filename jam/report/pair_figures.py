"""Figures of how many pairs it takes, of the law, and of what size, objective, stage and seed of encoders do."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jam.report.labels import label, metric
from jam.report.pair_tables import MODALITIES, OBJECTIVES, effect, predictor
from jam.report.style import BLACK, GREY, SERIES, STYLE, looks, note
from jam.results import select

TRUE = {"metric": "true_recall"}
INVERTED = "inverted permutation test"
CONTROLS = {"init": "nets at init", "shuffled": "pairs shuffled"}


def pairs(results: pd.DataFrame) -> Figure:
    """True R@1 over numbers of pairs: of all trained couples and of some, and what was foretold of left-out ones.

    Args:
        results: of experiment ``pairs``.
    """
    mean, curve = (select(results, condition=name, **TRUE) for name in ("mean", "curve"))
    couples = list(dict.fromkeys(zip(curve["x"], curve["y"], strict=True)))
    law = len(select(results, condition="foretold")) > 0
    panels = int(len(mean) > 0) + len(couples) + int(law)
    colours = looks(list(dict.fromkeys([*mean["method"], *curve["method"]])))
    with plt.rc_context(STYLE):
        across = 2 if panels > 1 else 1
        down = max(1, -(-panels // across))
        figure, axes = plt.subplots(down, across, figsize=(4.6 * across, 3.7 * down), squeeze=False)
        free = iter(axes.flat)
        if len(mean):
            axis = next(free)
            _curves(axis, mean, colours, "mean over all pairs of encoders")
            _controls(axis, select(results, condition="control", method="cca", **TRUE))
            axis.set_ylim(1e-3, 1)
            axis.set_yscale("log")
            axis.legend(fontsize=7.5, ncols=2)
        for x, y in couples:
            axis = next(free)
            _curves(axis, select(curve, x=x, y=y), colours, f"{label(x)} × {label(y)}")
            axis.legend(fontsize=7.5)
        if law:
            _law(next(free), results)
        for axis in free:
            axis.axis("off")
        note(figure, "bands: 95 % intervals, over encoders (mean of all pairs) or items")
    return figure


def _curves(axis: Axes, rows: pd.DataFrame, colours: dict[str, tuple[str, str]], title: str) -> None:
    rows = rows.astype({"value": float, "low": float, "high": float, "pairs": float})
    for name, mine in rows.groupby("method", sort=False):
        colour, marker = colours[str(name)]
        mine = mine.sort_values("pairs")
        axis.plot(mine["pairs"], mine["value"], color=colour, marker=marker, markersize=5, markeredgecolor="white",
                  label=label(str(name)))  # fmt: skip
        axis.fill_between(mine["pairs"], mine["low"], mine["high"], color=colour, alpha=0.15, linewidth=0)
    ns = sorted(rows["pairs"].unique())
    axis.set_xscale("log")
    axis.set_xticks(ns, [f"{n:,.0f}" for n in ns], fontsize=8)
    axis.minorticks_off()
    axis.set_xlabel("training pairs")
    axis.set_ylabel("true R@1, mean of both ways")
    axis.set_ylim(bottom=0)
    axis.set_title(title)


def _controls(axis: Axes, rows: pd.DataFrame) -> None:
    both = rows[rows["subject"].isna()]
    if len(both):  # the highest is what all there is to know of images and of texts reaches
        best = both.loc[both["value"].astype(float).idxmax()]
        mine = select(both, x=best["x"], y=best["y"]).sort_values("pairs")
        axis.plot(mine["pairs"].astype(float), mine["value"].astype(float), color=BLACK, linestyle="--", linewidth=1.2,
                  label=f"CCA, {label(best['x'])} × {label(best['y'])}")  # fmt: skip
    for (name, told), dashes in zip(CONTROLS.items(), (":", "-."), strict=True):
        mine = select(rows, subject=name).sort_values("pairs")
        if len(mine):
            x, y = mine["pairs"].astype(float), mine["value"].astype(float)
            marker = "x" if len(mine) == 1 else None
            axis.plot(x, y, color=GREY, linestyle=dashes, linewidth=1.2, marker=marker, label=f"CCA, {told}")


def _law(axis: Axes, results: pd.DataFrame) -> None:
    key = ["x", "x_seed", "y", "y_seed"]
    foretold, observed = (
        select(results, condition=name).set_index(key)["value"].astype(float) for name in ("foretold", "observed")
    )
    told = select(results, condition="foretold").iloc[0]
    both = pd.DataFrame({"foretold": foretold, "observed": observed}).dropna()
    names = list(dict.fromkeys(both.index.get_level_values("x")))
    for name, (colour, marker) in looks(names).items():
        mine = both[both.index.get_level_values("x") == name]
        axis.plot(mine["foretold"], mine["observed"], marker, color=colour, markersize=5, markeredgecolor="white",
                  linestyle="none", label=label(name))  # fmt: skip
    ends = [0, float(both.max(axis=None)) * 1.05]
    axis.plot(ends, ends, color=GREY, linewidth=1, linestyle="--")
    where = {"predictor": told["predictor"], "foretold": told["foretold"], "pairs": told["pairs"]}
    r2 = select(results, condition="law", metric="r2", **where).iloc[0]
    ends_of = f"[{r2['low']:.2f}, {r2['high']:.2f}]"
    axis.set_title(f"foretold by {predictor(told['predictor'])}: R² {r2['value']:.2f} {ends_of}")
    axis.set_xlabel("foretold from pairs that share no encoder with it")
    axis.set_ylabel(f"true R@1, CCA on {told['pairs']:,} pairs")
    axis.legend(fontsize=7.5, title="images; each with all texts", title_fontsize=7.5)


def scale(results: pd.DataFrame) -> Figure:
    """What size, objective, stage of training and seed of an encoder do: the encoders themselves, then the effects.

    Args:
        results: of experiment ``scale``.
    """
    units, effects = select(results, effect="none", **TRUE), select(results, interval=INVERTED)
    outcomes = list(dict.fromkeys(effects["metric"]))
    modalities = list(dict.fromkeys(units["modality"]))
    rows = effects[["modality", "effect", "level", "reference"]].drop_duplicates()
    with plt.rc_context(STYLE):
        figure = plt.figure(figsize=(9.6, 3.4 + 0.24 * len(rows) + 0.8))
        parts: Any = figure.subfigures(2, 1, height_ratios=[3.4, 0.24 * len(rows) + 0.8])
        above, below = parts
        shown = above.subplots(1, len(modalities), squeeze=False)[0]
        for axis, modality in zip(shown, modalities, strict=True):
            _units(axis, select(units, modality=modality), modality)
        axes = below.subplots(1, len(outcomes), squeeze=False, sharey=True)[0]
        for axis, name in zip(axes, outcomes, strict=True):
            _effects(axis, effects[effects["metric"] == name], rows)
            axis.set_title(f"effect on {'raw ' * (name != 'true_recall')}{metric(name)}")
            axis.xaxis.set_major_locator(MaxNLocator(4))
        note(below, "filled: p ≤ .05; bars: 95 % intervals of permutation tests, where there are permutations enough")
    return figure


def _units(axis: Axes, units: pd.DataFrame, modality: str) -> None:
    """Every encoder over its width, lines through means of seeds; hollow, the same nets before training."""
    widths = sorted(units["k"].astype(int).unique())
    for (name, mine), (colour, marker) in zip(units.groupby("family", sort=False), SERIES, strict=False):
        mine = mine.assign(value=mine["value"].astype(float), at=[widths.index(int(k)) for k in mine["k"]])
        trained, first = select(mine, level="100"), select(mine, level="0")
        means = trained.groupby("at")["value"].mean()
        axis.plot(means.index, means, color=colour, linewidth=1.2)
        axis.plot(trained["at"], trained["value"], marker, color=colour, markersize=6, markeredgecolor="white",
                  linestyle="none", label=OBJECTIVES.get(str(name), str(name)))  # fmt: skip
        axis.plot(first["at"], first["value"], marker, color=colour, markersize=5, markerfacecolor="none",
                  linestyle="none")  # fmt: skip
    axis.set_xticks(range(len(widths)), [str(width) for width in widths])
    axis.set_xlabel("width of the encoder")
    axis.set_ylabel("true R@1 by CCA, mean over partners")
    axis.set_ylim(bottom=0)
    axis.set_title(f"encoders of {MODALITIES.get(modality, modality)} (hollow: untrained)")
    axis.legend(fontsize=8)


def _effects(axis: Axes, effects: pd.DataFrame, rows: pd.DataFrame) -> None:
    """Point and interval of each effect; filled where p ≤ .05, without an interval where none can be had."""
    names = []
    for place, row in enumerate(rows.to_dict("records")):
        where = {key: None if pd.isna(value) else value for key, value in row.items()}
        names.append(f"{MODALITIES.get(row['modality'], row['modality'])}: {effect(row)}")
        found = select(effects, **where)
        if not len(found):
            continue
        one = found.iloc[0]
        refused = float(one["p"]) <= 0.05
        colour = BLACK if refused else GREY
        if pd.notna(one["low"]):
            axis.plot([float(one["low"]), float(one["high"])], [place, place], color=colour, linewidth=1.6)
        axis.plot(float(one["value"]), place, "o", color=colour, markersize=5,
                  markerfacecolor=colour if refused else "white")  # fmt: skip
    axis.axvline(0, color=GREY, linewidth=1, linestyle="--")
    axis.set_yticks(np.arange(len(names)), names, fontsize=8)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.tick_params(axis="x", labelsize=8)
