"""The figure of a space at fewer dimensions."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jam.report.labels import label
from jam.report.matryoshka_tables import ASKED, curve
from jam.report.style import GREY, STYLE, looks, note
from jam.results import select

STEP = 1.05  # how far markers of one width stand apart, a factor


def dims_curve(results: pd.DataFrame, space: str) -> Figure:
    """R@1 both ways on the left, hard negatives on the right, those that ask for binding apart, by dimensions.

    Args:
        results: of experiment ``matryoshka``.
        space: of which.
    """
    mine = select(curve(results, space), against=None)
    methods = list(dict.fromkeys(mine["method"]))
    recall = select(mine, **ASKED["R@1"])
    hard = {name: select(mine, **ASKED[what]) for name, what in (("other", "other edits"), ("binding", "swaps"))}
    x, y = recall["x"].iloc[0], recall["y"].iloc[0]
    what = "true R@1" if recall["metric"].iloc[0] == "true_recall" else "R@1"
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 4, figsize=(13, 4), sharex=True)
        axes[1].sharey(axes[0])
        for axis, way, title in zip(axes, ("x_to_y", "y_to_x"), (f"{x} → {y}", f"{y} → {x}"), strict=False):
            _curves(axis, select(recall, direction=way), methods)
            axis.set(title=f"{what}, {title}")
            axis.set_ylim(bottom=0)
        axes[0].set_ylabel("share found first")
        for axis, (name, rows) in zip(axes[2:], hard.items(), strict=True):
            if len(rows):
                _curves(axis, rows, methods)
            axis.set(title=f"hard negatives: {label(name)}")
        axes[2].set_ylabel("share told from the true caption")
        axes[3].axhline(0.5, color=GREY, linewidth=0.8, linestyle=":")
        axes[3].annotate("chance", (0.98, 0.5), xycoords=("axes fraction", "data"), ha="right", va="top", fontsize=9)
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=len(methods))
        note(figure, "Bars: 95 % over seeds and scenes; markers of one width stand a little apart. "
             "First and random dimensions and principal axes are those of a space with the plain loss.")  # fmt: skip
    return figure


def _curves(axis: Axes, rows: pd.DataFrame, methods: list[str]) -> None:
    """A line a method over dimensions, markers a little apart so that intervals can be told."""
    dims = sorted(int(d) for d in rows["dims"].unique())
    for place, (name, (colour, marker)) in enumerate(looks(methods).items()):
        own = select(rows, method=name).sort_values("dims")
        at = own["dims"].astype(float) * STEP ** (place - (len(methods) - 1) / 2)
        value, low, high = (own[end].astype(float) for end in ("value", "low", "high"))
        axis.errorbar(at, value, [value - low, high - value], color=colour, marker=marker, markersize=4.5,
                      linewidth=1.3, elinewidth=0.8, label=label(name))  # fmt: skip
    axis.set_xscale("log", base=2)
    axis.set_xticks(dims, [str(d) for d in dims])
    axis.minorticks_off()
    axis.set_xlabel("dimensions")
