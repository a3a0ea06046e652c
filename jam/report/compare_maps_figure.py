"""The figure of maps: every model's space beside the others, turned onto the first, the same scenes coloured alike."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from jam.report.labels import label
from jam.report.style import GREY, SERIES, STYLE, note
from jam.report.tables import number

GROUPS, ACROSS = 5, 5


def maps(points: pd.DataFrame, groups: Mapping[str, str], told: str, models: Sequence[str] | None = None) -> Figure:
    """The first two axes of each space, a line a modality, a panel a model.

    Args:
        points: as `jam.compare.extracts.maps.maps` gives them, columns model, modality, id, a, b, share_a, share_b,
            agreement.
        groups: id of an item → its group; the five largest have a colour each, the others are grey.
        told: what a group is.
        models: which; of each modality the first five if None.
    """
    wanted = points if models is None else points[points["model"].isin(list(models))]
    lines = {side: list(dict.fromkeys(mine["model"])) for side, mine in wanted.groupby("modality", sort=False)}
    lines = {side: names if models else names[:ACROSS] for side, names in lines.items()}
    across = max(len(names) for names in lines.values())
    group = points["id"].map(dict(groups))
    counts = group.value_counts()
    looks = dict(zip(sorted(counts.index, key=lambda name: (-counts[name], str(name)))[:GROUPS], SERIES, strict=False))
    with plt.rc_context(STYLE):
        size = (2.55 * across + 0.3, 2.75 * len(lines) + 0.75)
        figure, axes = plt.subplots(len(lines), across, figsize=size, squeeze=False, sharex=True, sharey=True)
        for line, (modality, names) in zip(axes, lines.items(), strict=True):
            for axis, name in zip(line, names, strict=False):
                here = (points["model"] == name) & (points["modality"] == modality)
                _map(axis, points[here], group[here], looks)
                axis.set_title(f"{label(name)}: {number(points.loc[here, 'agreement'].iloc[0], 2)}", fontsize=9.5)
            for axis in line[len(names) :]:
                axis.axis("off")
            line[0].set_ylabel(f"{modality}s")
        handles = [
            Line2D([], [], linestyle="none", color=colour, marker=marker, markersize=6, label=f"{told} {name}")
            for name, (colour, marker) in looks.items()
        ]
        handles.append(Line2D([], [], linestyle="none", color=GREY, marker=".", markersize=6, label="others"))
        figure.legend(handles=handles, ncols=6, loc="outside lower center", fontsize=8.5)
        note(
            figure, "principal axes of each space, turned onto those of the first; number: R² of the two maps (3 axes)"
        )
    return figure


def _map(axis: Axes, points: pd.DataFrame, group: pd.Series, looks: Mapping[str, tuple[str, str]]) -> None:
    others = ~group.isin(list(looks))
    axis.plot(points.loc[others, "a"], points.loc[others, "b"], ".", color=GREY, markersize=3, alpha=0.5)
    for name, (colour, marker) in looks.items():
        some = points[group == name]
        axis.plot(some["a"], some["b"], marker, color=colour, markersize=4, alpha=0.85, markeredgecolor="white",
                  markeredgewidth=0.4)  # fmt: skip
    first = points.iloc[0]
    axis.set_xlabel(f"{100 * (float(first['share_a']) + float(first['share_b'])):.0f} % of variance", fontsize=8)
    axis.set_xticks([])
    axis.set_yticks([])
    axis.grid(visible=False)
