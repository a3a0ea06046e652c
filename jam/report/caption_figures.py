"""Figures of captions: pictures with what was said of them, and scores of all variants."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jam.caption.marks import Marked, marked
from jam.report.caption_tables import means_of
from jam.report.labels import label
from jam.report.style import BLACK, GREEN, GREY, STYLE, VERMILION, looks, note
from jam.results import select
from jam.world.state import States

COLOURS = {True: GREEN, False: VERMILION, None: BLACK}
WIDE = 36  # characters of a line below a picture
MEASURED = {
    "exact_scene": "share of test images whose whole scene is said, and nothing else",
    "cider_d": "CIDEr-D, against the sentences of the data",  # where no scene is known
}
CONDITIONS = {"real": "its own prefix", "shuffled": "another image's", "nearest": "nearest sentence",
              "template": "probes, template"}  # fmt: skip


def pictures(images: Sequence[np.ndarray], captions: Sequence[str], states: States, columns: int = 4) -> Figure:
    """Pictures, and below each its sentence: what is right of the scene, what is wrong, and what says nothing of it.

    Args:
        images: (n,) of height × width × 3.
        captions: (n,) sentences.
        states: (n, 6) the scenes.
        columns: pictures side by side.
    """
    lines = -(-len(images) // columns)
    ratios = [2.0, 1.3] * lines  # a picture, and its words
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            2 * lines, columns, figsize=(3.1 * columns, 3.5 * lines), squeeze=False, height_ratios=ratios
        )
        for axis in axes.flat:
            axis.set_axis_off()
        shown = zip(axes[::2].flat, axes[1::2].flat, images, captions, states, strict=False)
        for above, below, image, caption, state in shown:
            above.imshow(image)
            _write(below, marked(caption, state))
        note(figure, "Green and underlined: right; red in brackets: wrong; black: says nothing of the scene. The first "
             "test images, none chosen.")  # fmt: skip
    return figure


def _write(axis: Axes, words: Sequence[Marked]) -> None:
    """Words, a line after the other."""
    line, at = 0, 0
    for word, right in words:
        shown = f"[{word}]" if right is False else word
        if at and at + len(shown) > WIDE:
            line, at = line + 1, 0
        x, y = at / WIDE, 1 - 0.19 * line
        axis.text(x, y, shown, color=COLOURS[right], fontsize=8.5, family="DejaVu Sans Mono", va="top")
        if right:
            axis.plot([x, x + len(shown) / WIDE], [y - 0.14] * 2, color=GREEN, linewidth=0.8)
        at += len(shown) + 1
    axis.set(xlim=(0, 1), ylim=(0, 1))


def variants(results: pd.DataFrame) -> Figure:
    """Exact scenes of each variant, with its own prefix and with another image's; of inputs the bounds beside them.

    Where no scene is known, CIDEr-D.

    Args:
        results: of experiment ``captions``.
    """
    means = means_of(results)
    metric = next(name for name in MEASURED if len(select(means, metric=name)))
    means = select(means, metric=metric)
    names = list(dict.fromkeys(select(means, condition="real")["subject"]))
    shown = {name: look for name, look in looks(list(CONDITIONS)).items() if len(select(means, condition=name))}
    with plt.rc_context(STYLE):
        figure, axis = plt.subplots(figsize=(8, 1.4 + 0.36 * len(names)))
        for place, name in enumerate(names):
            for i, (condition, (colour, marker)) in enumerate(shown.items()):
                for row in select(means, subject=name, condition=condition).to_dict("records"):
                    at = place + 0.16 * (i - (len(shown) - 1) / 2)
                    axis.plot([float(row["low"]), float(row["high"])], [at, at], color=colour, linewidth=1.5)
                    axis.plot(float(row["value"]), at, marker, color=colour, markersize=5)
        for condition, (colour, marker) in shown.items():
            axis.plot([], [], marker, color=colour, label=CONDITIONS[condition])
        axis.axvline(0, color=GREY, linewidth=0.8)
        axis.set_yticks(range(len(names)), [label(name) for name in names])
        axis.set_ylim(len(names) - 0.5, -0.5)
        axis.set_xlabel(MEASURED[metric])
        figure.legend(loc="outside lower center", ncols=len(shown))
        note(figure, "Prefix made of … Bars: 95 % over scenes, and over seeds where there are several.")
    return figure
