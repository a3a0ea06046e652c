"""Figures of gains with the reference and the true state beyond controls, and of the verdicts on hypotheses."""

from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from jam.report.labels import label, metric
from jam.report.reference_tables import CONTROLS, REFERENCES, small
from jam.report.style import BLACK, GREEN, GREY, STYLE, VERMILION, looks, note
from jam.results import select

MARKS = dict(zip(CONTROLS, "ovsDP^", strict=True))
VERDICTS = {"supported": GREEN, "refuted": VERMILION, "undecided": GREY}


def reference(results: pd.DataFrame) -> Figure:
    """Gains beyond the best control by metric: sides of spaces above one another, references side by side.

    Zero is the control that is best on validation rows; all controls are light marks, of the first space.

    Args:
        results: of experiment ``reference``.
    """
    best = select(results, condition="beyond_best")
    sides, names, spaces = (list(dict.fromkeys(best[column])) for column in ("x", "metric", "subject"))
    references = [name for name in REFERENCES if name in set(best["reference"])]
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            len(sides), len(references), figsize=(9, 1.2 + 3.1 * len(sides)), sharey=True, squeeze=False
        )
        for line, side in zip(axes, sides, strict=True):
            for axis, of in zip(line, references, strict=True):
                _panel(axis, select(results, x=side, reference=of, seed=None), names, spaces)
                axis.set_title(f"{side}, held against {REFERENCES[of]}")
        for axis in axes[-1]:
            axis.set_xlabel("gain in alignment beyond the best control")
        for axis in axes.flat:
            axis.locator_params(axis="x", nbins=6)
        axes[0][0].set_yticks(range(len(names)), [metric(name) for name in names])
        axes[0][0].set_ylim(len(names) - 0.4, -0.6)
        figure.legend(handles=_handles(spaces), ncols=5, loc="outside lower center", fontsize=8.5)
        note(figure, "0: the control that is best on validation rows; hollow: all controls of the first space.\n"
             "Bars: 95 %, jackknife over scenes and the variance over seeds.")  # fmt: skip
    return figure


def _panel(axis: Axes, rows: pd.DataFrame, names: list[str], spaces: list[str]) -> None:
    axis.axvline(0, color=GREY, linewidth=0.8)
    for place, name in enumerate(names):
        mine = select(rows, metric=name)
        for i, (space, (colour, marker)) in enumerate(looks(spaces).items()):
            at = place + 0.17 * (i - (len(spaces) - 1) / 2)
            for row in select(mine, subject=space, condition="beyond_best").to_dict("records"):
                axis.plot([float(row["low"]), float(row["high"])], [at, at], color=colour, linewidth=1.6)
                axis.plot(float(row["value"]), at, marker, color=colour, markersize=5, markeredgecolor="white")
        for control, value in _controls(select(mine, subject=spaces[0])).items():
            axis.plot(value, place, MARKS[control], color=GREY, markersize=5, markerfacecolor="none")


def _controls(rows: pd.DataFrame) -> dict[str, float]:
    """Gains of all controls, as far as they are beyond that of the best."""
    gains = {"frozen": 0.0}
    for row in select(rows, condition="control").to_dict("records"):
        gains[row["against"]] = float(row["value"])
    best = select(rows, condition="beyond_best")["against"]
    return {name: gain - gains[best.iloc[0]] for name, gain in gains.items()} if len(best) else {}


def _handles(spaces: list[str]) -> list[Any]:
    none: Any = {"linestyle": "none"}
    return [
        *(Line2D([], [], color=colour, marker=marker, markeredgecolor="white", label=label(space))
          for space, (colour, marker) in looks(spaces).items()),
        *(Line2D([], [], color=GREY, marker=mark, markersize=5, markerfacecolor="none", label=CONTROLS[name], **none)
          for name, mark in MARKS.items()),
    ]  # fmt: skip


def verdicts(table: pd.DataFrame) -> Figure:
    """A forest plot: each effect with its interval and the bound that it has to be above, by hypothesis.

    Args:
        table: as `jam.hypotheses.verdict_table`.
    """
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(9, 1.2 + 0.42 * len(table)))
        for place, row in enumerate(table.to_dict("records")):
            colour = GREEN if row["low"] > row["above"] else VERMILION if row["high"] < row["above"] else GREY
            axis.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=2)
            axis.plot(row["value"], place, "o", color=colour, markeredgecolor="white")
            axis.plot([row["above"]] * 2, [place - 0.3, place + 0.3], color=BLACK, linewidth=1.2)
        for place, mine in ((rows.index[0], rows) for _, rows in table.groupby("id", sort=False)):
            row = mine.iloc[0]
            p = small(row["p_holm"])
            axis.annotate(
                f"{row['verdict']}\np {p if p.startswith('<') else f'= {p}'}", (1.01, mine.index.to_numpy().mean()),
                xycoords=("axes fraction", "data"), va="center", color=VERDICTS[row["verdict"]], fontweight="bold",
                fontsize=9,
            )  # fmt: skip
            if place:
                axis.axhline(place - 0.5, color=GREY, linewidth=0.6)
        names = [f"{row['id']}  {row['effect'].replace('_', ' ')}" for row in table.to_dict("records")]
        axis.set_yticks(range(len(names)), names)
        axis.set_ylim(len(names) - 0.4, -0.6)
        axis.set_xlabel("effect with its interval of 95 %; the black line is the bound that it has to be above")
        note(figure, "Supported: all effects are above their bounds (p: of the weakest, one-sided, Holm); "
             "refuted: an interval lies below its bound.")  # fmt: skip
    return figure
