"""The figure of the audit: how well each score of alignment ranks representations by recall and by precision."""

from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from jam.report.audit_table import ORDER, REFERENCES, whole_of
from jam.report.labels import metric
from jam.report.style import BLACK, BLUE, GREY, ORANGE, STYLE, note
from jam.results import select

OUTCOMES = {"reality_recall": "tracks recall", "precision": "tracks precision"}
SIDES = {"image": (BLUE, "<"), "text": (ORANGE, ">")}
BASE = "effective_rank"
BAND = "#e8e8e8"


def audit(results: pd.DataFrame) -> Figure:
    """Spearman's ρ of each metric, a row, with recall (above) and precision (below), by what was compared with.

    Of what is made of trained encoders, with intervals over these; images and texts apart and their mean, hollow where
    scores are calibrated. The band is what effective rank alone comes to, which compares with nothing.

    Args:
        results: of experiment ``audit``.
    """
    mine = select(results, among="trained", against=None)
    kinds = [kind for kind in REFERENCES if len(select(mine, reference=kind))]
    names = [name for name in ORDER if name in set(mine["metric"])]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            len(OUTCOMES), max(1, len(kinds)), figsize=(9, 6.4), sharex=True, sharey=True, squeeze=False
        )
        for line, (outcome, title) in zip(axes, OUTCOMES.items(), strict=True):
            for axis, kind in zip(line, kinds, strict=False):
                here = select(mine, outcome=outcome)
                _panel(axis, select(here, reference=kind), select(here, metric=BASE), names)
            line[0].set_ylabel(title, fontsize=11, fontweight="bold")
        for axis, kind in zip(axes[0], kinds, strict=False):
            axis.set_title("compared with encoders of\n" + REFERENCES[kind])
        axes[0][0].set_yticks(range(len(names)), [metric(name) for name in names])
        axes[0][0].set_ylim(len(names) - 0.4, -0.6)
        axes[0][0].set_xlim(-1.03, 1.03)
        for axis in axes[-1]:
            axis.set_xlabel("Spearman's ρ")
        figure.legend(handles=_handles(), ncols=5, loc="outside lower center", fontsize=9)
        note(
            figure,
            "bars and band: 95 % intervals over encoders; the band compares with nothing, so it is the same in a row",
        )
    return figure


def _panel(axis: Axes, rows: pd.DataFrame, base: pd.DataFrame, names: list[str]) -> None:
    """One kind of reference and one outcome."""
    axis.axvline(0, color=GREY, linewidth=0.8)
    for row in _whole(base):
        axis.axvspan(row["low"], row["high"], color=BAND, zorder=0)
        axis.axvline(row["value"], color=GREY, linestyle="--", linewidth=1)
    for place, name in enumerate(names):
        for side, (colour, marker) in SIDES.items():
            for value in select(rows, metric=name, form="raw", modality=side)["value"]:
                axis.plot(float(value), place - 0.25, marker, color=colour, markersize=4.5)
        for row in _whole(select(rows, metric=name, form="raw")):
            axis.plot([row["low"], row["high"]], [place] * 2, color=BLACK, linewidth=1.6)
            axis.plot(row["value"], place, "o", color=BLACK, markersize=6, markeredgecolor="white")
        for row in _whole(select(rows, metric=name, form="calibrated")):
            axis.plot(row["value"], place + 0.28, "o", color=BLACK, markerfacecolor="none", markersize=4)


def _whole(rows: pd.DataFrame) -> list[dict[str, float]]:
    """The one row that is over all modalities; none where there is none."""
    found = select(rows, modality=whole_of(rows)) if len(rows) else rows
    return [{name: float(row[name]) for name in ("value", "low", "high")} for row in found.to_dict("records")]


def _handles() -> list[Any]:
    none: Any = {"linestyle": "none"}
    return [
        Line2D([], [], color=BLACK, marker="o", markeredgecolor="white", label="mean of images and texts"),
        Line2D([], [], color=BLACK, marker="o", markerfacecolor="none", markersize=4, label="calibrated", **none),
        *(Line2D([], [], color=c, marker=marker, markersize=5, label=f"{side}s", **none)
          for side, (c, marker) in SIDES.items()),
        Patch(facecolor=BAND, edgecolor=GREY, linestyle="--", label="effective rank alone"),
    ]  # fmt: skip
