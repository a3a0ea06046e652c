"""The figure of a space at fewer dimensions."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jam.report.labels import label
from jam.report.matryoshka_tables import ASKED, curve
from jam.report.style import STYLE, looks
from jam.results import select

STEP = 1.05  # how far markers of one width stand apart, a factor


def dims_curve(results: pd.DataFrame, space: str) -> Figure:
    """R@1 both ways on the left, hard negatives on the right, those that ask for binding and others, by dimensions.

    Args:
        results: of experiment ``matryoshka``.
        space: of which.
    """
    mine = select(curve(results, space), against=None)
    methods = list(dict.fromkeys(mine["method"]))
    recall = select(mine, **ASKED["R@1"])
    hard = {name: select(mine, **ASKED[what]) for name, what in (("binding", "swaps"), ("other", "other edits"))}
    x, y = recall["x"].iloc[0], recall["y"].iloc[0]
    what = "true R@1" if recall["metric"].iloc[0] == "true_recall" else "R@1"
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 3, figsize=(11, 4), sharex=True)
        for axis, way, title in zip(axes, ("x_to_y", "y_to_x"), (f"{x} → {y}", f"{y} → {x}"), strict=False):
            _curves(axis, select(recall, direction=way), methods)
            axis.set(title=f"{what}, {title}")
            axis.set_ylim(bottom=0)
        for (name, rows), line in zip(hard.items(), (":", "-"), strict=True):
            if len(rows):
                _curves(axes[2], rows, methods, line)
                end = rows[rows["dims"] == rows["dims"].max()]["value"]
                axes[2].annotate(label(name), (0.98, float(end.mean()) - 0.02), xycoords=("axes fraction", "data"),
                                 ha="right", va="top", fontsize=9)  # fmt: skip
        axes[2].axhline(0.5, color="black", linewidth=0.8, linestyle=(0, (1, 3)))
        axes[2].set(title="hard negatives (dotted: swaps, chance .5)")
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=len(methods))
        figure.suptitle(
            f"{label(space)} at fewer dimensions, and other ways to few; test rows, 95 % intervals", fontsize=10.5
        )
    return figure


def _curves(axis: Axes, rows: pd.DataFrame, methods: list[str], line: str = "-") -> None:
    """A line a method over dimensions, markers a little apart so that intervals can be told."""
    dims = sorted(int(d) for d in rows["dims"].unique())
    for place, (name, (colour, marker)) in enumerate(looks(methods).items()):
        own = select(rows, method=name).sort_values("dims")
        at = own["dims"].astype(float) * STEP ** (place - (len(methods) - 1) / 2)
        value, low, high = (own[end].astype(float) for end in ("value", "low", "high"))
        axis.errorbar(at, value, [value - low, high - value], color=colour, marker=marker, markersize=4.5,
                      linewidth=1.3, elinewidth=0.8, linestyle=line, label=label(name))  # fmt: skip
    axis.set_xscale("log", base=2)
    axis.set_xticks(dims, [str(d) for d in dims])
    axis.minorticks_off()
    axis.set_xlabel("dimensions")
