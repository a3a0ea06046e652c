"""Figures of what representations tell of the true state, and when they learn it."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from jam.report.labels import label
from jam.report.style import BLACK, BLUE, GREEN, GREY, ORANGE, PINK, SERIES, SKY, STYLE, VERMILION, looks, note
from jam.results import select

LINES: tuple[tuple[str, Any], ...] = ((BLACK, "--"), (GREY, ":"), (BLUE, "-."), (VERMILION, (0, (1, 3))))
CONTROLS = ("bag_of_words", "parser")  # in this order first among what is not trained here
MEAN: dict[str, Any] = {"metric": "reality_recall", "label": "mean", "against": None}
CKA: dict[str, Any] = {"metric": "unbiased_cka", "condition": "raw"}
FAMILIES: dict[str, tuple[str, str, str]] = {
    "labels": ("labels of what is there", BLUE, "o"),
    "contrastive": ("contrastive, without labels", ORANGE, "s"),
    "causal": ("the next word", GREEN, "D"),
    "masked": ("words left out", PINK, "v"),
    "package": ("MiniLM", SKY, "^"),
    "latent": ("aligned side of a space", VERMILION, "P"),
    "control": ("control", BLACK, "*"),
}
"""How it was made → what readers see, colour and marker."""


def when(results: pd.DataFrame, control: pd.DataFrame | None) -> Figure:
    """What training brings: recall of reality of texts, with and without statistics, and raw alignment with images.

    Args:
        results: of experiment ``when``.
        control: the same of the world in which nothing co-occurs; None where it wasn't run.
    """
    texts = select(results, modality="text", condition="training", **MEAN)
    names = list(dict.fromkeys(texts["x"]))
    percents = sorted(int(value) for value in results["checkpoint"].dropna().unique())
    still = set(select(results, modality="text", condition="still", **MEAN)["x"])
    fixed = [name for name in CONTROLS if name in still] + sorted(still - set(CONTROLS))
    lines = dict(zip(fixed, LINES, strict=False))
    raw = select(results, y=(*names, *lines), **CKA)
    raw = raw[raw["held"].notna()]
    panels = ([] if control is None else [(control, "recall, nothing co-occurs")]) + [(results, "recall, habitats")]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, len(panels) + (1 if len(raw) else 0), figsize=(9, 3.5), squeeze=False)
        colours = looks(names)
        for axis, (table, title) in zip(axes[0], panels, strict=False):
            mine = select(table, modality="text", **MEAN)
            for name, look in colours.items():
                _line(axis, select(mine, x=name, condition="training"), percents, look)
            for name, (colour, dashes) in lines.items():
                for height in select(mine, x=name, condition="still")["value"]:
                    axis.axhline(float(height), color=colour, linestyle=dashes, linewidth=1.3)
            axis.set_title(title)
            if axis is not axes[0][0]:
                axis.sharey(axes[0][0])
        axes[0][0].set_ylabel("mean R² over factors, texts")
        if len(raw):
            _raw(axes[0][-1], raw, percents, colours, lines)
        for axis in axes[0]:
            axis.set_xticks(range(len(percents)), [str(percent) for percent in percents])
            axis.set_xlabel("% of the training" + " of both sides" * (axis is axes[0][-1] and len(raw) > 0))
        handles = [
            Line2D([], [], color=colour, marker=marker, linewidth=1.6, markersize=5, label=label(name))
            for name, (colour, marker) in colours.items()
        ] + [Line2D([], [], color=c, linestyle=dashes, label=label(name)) for name, (c, dashes) in lines.items()]
        figure.legend(handles=handles, ncols=5, loc="outside lower center", fontsize=9)
        note(figure, "bars: 95 % intervals over scenes; of some encoders only the beginning and the end were kept")
    return figure


def _line(axis: Axes, rows: pd.DataFrame, percents: Sequence[int], look: tuple[str, str]) -> None:
    """Values by percentage with their intervals; places are equally far apart."""
    rows = rows.sort_values("checkpoint").astype(dict.fromkeys(("value", "low", "high"), float))
    places = [percents.index(int(percent)) for percent in rows["checkpoint"]]
    axis.vlines(places, rows["low"], rows["high"], color=look[0], linewidth=1.6, alpha=0.5)
    axis.plot(
        places, rows["value"], color=look[0], marker=look[1], markersize=5, markeredgecolor="white", linewidth=1.6
    )


def _raw(
    axis: Axes,
    raw: pd.DataFrame,
    percents: Sequence[int],
    colours: Mapping[str, tuple[str, str]],
    lines: Mapping[str, tuple[str, Any]],
) -> None:
    """Mean over the images' encoders that are known at most percentages, so that the same ones stand at each."""
    known = raw.groupby("x")["checkpoint"].nunique()
    same = raw[raw["x"].isin(known.index[known == known.max()])]
    means = same.groupby(["y", "checkpoint"], as_index=False)[["value", "low", "high"]].mean()
    for name, look in colours.items():
        rows = select(means, y=name)
        _line(axis, rows.assign(low=rows["value"], high=rows["value"]), percents, look)
    for name, (colour, dashes) in lines.items():
        rows = select(means, y=name).sort_values("checkpoint")
        places = [percents.index(int(percent)) for percent in rows["checkpoint"]]
        axis.plot(places, rows["value"].astype(float), color=colour, linestyle=dashes, linewidth=1.3)
    axis.axhline(0, color=GREY, linewidth=0.8)
    axis.set_title("raw CKA with images")
    axis.set_ylabel(f"CKA, {raw['held'].iloc[0]} held constant", fontsize=9)


def reality_map(results: pd.DataFrame) -> Figure:
    """Who is near to reality: recall × precision of every representation, images to the left, texts to the right.

    A vertical line is the recall of the control that tells all that can be told; a tick above a point is what two
    views of an item have in common, the most that the state could explain of it.

    Args:
        results: of experiment ``reality``.
    """
    mine = select(results, held=None, against=None)
    who = ["modality", "subject", "x", "x_layer", "seed", "checkpoint", "condition", "family"]
    recalls = select(mine, metric="reality_recall", label="mean").set_index(who)
    points = recalls[["value", "ceiling"]].rename(columns={"value": "recall", "ceiling": "most"})
    explained = select(mine, metric="precision").set_index(who)[["value", "ceiling"]]
    points = points.join(explained.rename(columns={"value": "precision"})).reset_index()
    points = points.astype(dict.fromkeys(("recall", "most", "precision", "ceiling"), float))
    points.loc[points["condition"] == "latent", "family"] = "latent"
    sides = list(dict.fromkeys(points["modality"]))
    looks_of = {
        name: FAMILIES.get(name, (label(name), *SERIES[-1])) for name in [*FAMILIES, *points["family"].unique()]
    }
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, len(sides), figsize=(9, 4.6), sharey=True, squeeze=False)
        for axis, modality in zip(axes[0], sides, strict=True):
            here = select(points, modality=modality)
            for row in here.drop_duplicates(["subject", "x", "x_layer", "seed", "checkpoint", "condition"]).to_dict(
                "records"
            ):
                _point(axis, row, looks_of[row["family"]])
            if here["most"].notna().any():
                axis.axvline(here["most"].max(), color=GREY, linewidth=1, linestyle=":")
            axis.set_title(f"{modality}s")
            axis.set_xlabel("recall: mean R² over factors")
            axis.axhline(0, color=GREY, linewidth=0.8)
        axes[0][0].set_ylabel("precision: variance that the state explains")
        figure.legend(handles=_handles(points, looks_of), ncols=4, loc="outside lower center", fontsize=9)
    return figure


def _point(axis: Axes, row: Mapping[str, Any], look: tuple[str, str, str]) -> None:
    _, colour, marker = look
    at = row["recall"], row["precision"]
    before, whitened = row["condition"] == "init", row["condition"] == "whitened"
    if before:
        colour, marker = GREY, "x"
    small = before or whitened or row["condition"] == "seed"
    face = "none" if whitened else colour
    size = (8 if row["family"] == "control" else 5) if small else 12 if row["family"] == "control" else 8  # stars
    edge = colour if whitened or before else "white"
    axis.plot(*at, marker, color=colour, markerfacecolor=face, markeredgecolor=edge, markersize=size)
    if not small and row["family"] != "control" and pd.notna(row["ceiling"]):
        axis.plot([at[0]] * 2, [at[1], row["ceiling"]], color=colour, linewidth=0.7, alpha=0.6)
        axis.plot(at[0], row["ceiling"], "_", color=colour, markersize=7)
    if row["family"] == "control" and not small:
        axis.annotate(label(row["x"]), at, fontsize=9, xytext=(-6, 5), ha="right", textcoords="offset points")


def _handles(points: pd.DataFrame, looks_of: Mapping[str, tuple[str, str, str]]) -> list[Line2D]:
    present = set(points["family"])
    found = [
        Line2D([], [], linestyle="none", color=colour, marker=marker, markeredgecolor="white", markersize=8, label=name)
        for family, (name, colour, marker) in looks_of.items()
        if family in present
    ]
    none: Any = {"linestyle": "none", "color": GREY}
    return [
        *found,
        Line2D([], [], marker="x", markersize=5, label="the same before training", **none),
        Line2D([], [], marker="o", markersize=4, label="another seed (small)", **none),
        Line2D([], [], marker="s", markerfacecolor="none", markersize=5, label="whitened (hollow)", **none),
        Line2D([], [], color=GREY, linestyle=":", label="ceiling of recall"),
        Line2D([], [], marker="_", markersize=7, label="ceiling of precision", **none),
    ]
