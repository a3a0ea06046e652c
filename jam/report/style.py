"""One style for all figures: colour-blind safe, told apart in grey print by markers and hatches."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from jam.io import atomic_path

# Okabe & Ito 2008: distinguishable under the common colour-vision deficiencies.
BLUE, ORANGE, GREEN, PINK, SKY, VERMILION, YELLOW, BLACK = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000",
)  # fmt: skip
GREY = "#8a8a8a"
LUMINANCE = (0.2126, 0.7152, 0.0722)
# By place in a list of things that are told apart
SERIES = (
    (BLUE, "o"), (ORANGE, "s"), (GREEN, "D"), (SKY, "^"), (PINK, "v"), (VERMILION, "P"), (GREY, "X"), (BLACK, "h"),
    ("#7a5195", "<"), ("#8c6d31", ">"), ("#a6d854", "d"), ("#9a031e", "p"), ("#00838f", "*"), ("#b39ddb", "H"),
)  # fmt: skip
STYLE: Any = {
    "figure.dpi": 150, "savefig.dpi": 150, "figure.constrained_layout.use": True, "font.size": 10,
    "font.family": "DejaVu Sans", "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
    "grid.color": "#dddddd", "grid.linewidth": 0.6, "axes.axisbelow": True, "axes.titlesize": 10.5,
    "axes.titlelocation": "left", "legend.frameon": False,
}  # fmt: skip


def looks(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """A colour and a marker for each name; beyond fourteen they come again."""
    return {name: SERIES[i % len(SERIES)] for i, name in enumerate(names)}


def note(figure: Figure | SubFigure, told: str) -> None:
    """What marks mean, in small print above a figure: below there may be a legend."""
    figure.suptitle(told, fontsize=9)


def paint(
    axis: Axes, values: np.ndarray, show: Callable[[float], str], limits: tuple[float, float] | None = None
) -> None:
    """A map of values (rows upwards, columns) with each in figures; NaN as a dash.

    Colours go from ``limits`` to limits, the same for maps that are compared, else from the lowest to the highest.
    """
    low, high = limits or (None, None)
    image = axis.imshow(values, cmap="cividis", aspect="auto", origin="lower", vmin=low, vmax=high)
    for i, j in np.ndindex(values.shape):
        empty = np.isnan(values[i, j])
        light = np.dot(image.cmap(image.norm(values[i, j]))[:3], LUMINANCE)
        text, colour = "–" if empty else show(float(values[i, j])), "black" if empty or light > 0.45 else "white"
        axis.text(j, i, text, ha="center", va="center", fontsize=8, color=colour)
    axis.grid(visible=False)


def save(figure: Figure, path: str | Path) -> None:
    """Write a PNG whose bytes depend on the figure alone."""
    with atomic_path(path) as part:
        figure.savefig(part, format="png", metadata={"Software": None})
    plt.close(figure)
