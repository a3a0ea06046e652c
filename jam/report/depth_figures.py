"""The figure of depth: a map over layers for every pair of encoders."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from jam.report.labels import label, metric
from jam.report.style import STYLE, VERMILION, paint
from jam.report.sweep_tables import BEST, CLOSED
from jam.report.tables import number
from jam.results import select

CELL, HIGH = 0.52, 0.3  # inches


def depth(results: pd.DataFrame) -> Figure:
    """What CCA reaches from every pair of layers on test rows, encoders of x down and of y across.

    Args:
        results: of experiment ``layers``.

    Each map has colours of its own, from its lowest to its highest value: what matters is where it is light.
    """
    mine = select(results, condition=CLOSED, split="test", seed=None)
    best = select(results, condition=BEST, against=None)
    xs, ys = ([*dict.fromkeys(mine[side])] for side in ("x", "y"))
    layers = {name: sorted(select(mine, **{side: name})[f"{side}_layer"].unique())
              for side, names in (("x", xs), ("y", ys)) for name in names}  # fmt: skip
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            len(xs), len(ys), squeeze=False,
            figsize=(1.1 + sum(CELL * len(layers[y]) + 0.35 for y in ys),
                     0.9 + sum(HIGH * len(layers[x]) + 0.3 for x in xs)),
            width_ratios=[len(layers[y]) for y in ys], height_ratios=[len(layers[x]) for x in xs],
        )  # fmt: skip
        for (i, x), (j, y) in ((a, b) for a in enumerate(xs) for b in enumerate(ys)):
            axis, own = axes[i, j], select(mine, x=x, y=y)
            table = own.pivot(index="x_layer", columns="y_layer", values="value").astype(float)
            values = table.reindex(index=layers[x], columns=layers[y]).to_numpy()
            paint(axis, values, lambda value: number(value, 2))
            for row in select(best, x=x, y=y).to_dict("records"):
                corner = layers[y].index(row["y_layer"]) - 0.5, layers[x].index(row["x_layer"]) - 0.5
                axis.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=VERMILION, linewidth=2.2, clip_on=False))
            axis.set_xticks(range(len(layers[y])), layers[y], fontsize=8)
            axis.set_yticks(range(len(layers[x])), layers[x], fontsize=8)
            axis.tick_params(length=0)
            if i == 0:
                axis.set_title(label(y), loc="center")
            if j == 0:
                axis.set_ylabel(f"{label(x)}\nlayer", fontsize=9)
            if i == len(xs) - 1:
                axis.set_xlabel("layer", fontsize=9)
        figure.suptitle(f"{metric(mine['metric'].iloc[0])} of CCA by layers, both ways, test rows", fontsize=10.5)
        figure.supxlabel("framed: the best layers on validation rows; colours from each map's lowest to its highest",
                         fontsize=8.5, color=VERMILION)  # fmt: skip
    return figure
