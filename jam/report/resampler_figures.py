"""Figures of adapters that read all tokens: training, variants, and what each latent reads."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure, SubFigure

from jam.report.labels import label
from jam.report.resampler_tables import ASKED
from jam.report.style import BLUE, GREY, ORANGE, STYLE, looks, note
from jam.results import select

CURVES = {
    "loss": "loss", "loss_mrl": "of it Matryoshka", "loss_clip": "of it at full width",
    "gradient_norm": "norm of the gradient", "alignment": "alignment E‖x − y‖²", "uniformity": "uniformity",
    "validation_recall": "R@1 on validation rows", "validation_hard_negatives": "hard negatives, validation",
}  # fmt: skip
WAYS = {"x_to_y": "{x} → {y}", "y_to_x": "{y} → {x}"}


def curves(history: pd.DataFrame) -> Figure:
    """Epoch by epoch, a line a variant (the mean over its seeds): losses, gradient, alignment, uniformity, scores.

    Args:
        history: as the stage `resampler` writes it.
    """
    shown = {name: title for name, title in CURVES.items() if name in history}
    variants = list(dict.fromkeys(history["variant"]))
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(2, 4, figsize=(13, 6), sharex=True)
        for axis, (name, title) in zip(axes.flat, shown.items(), strict=False):
            for variant, (colour, marker) in looks(variants).items():
                mean = history[history["variant"] == variant].groupby("epoch")[name].mean()
                axis.plot(
                    mean.index + 1,
                    mean,
                    marker=marker,
                    color=colour,
                    markersize=3.5,
                    linewidth=1.2,
                    label=label(variant),
                )
            axis.set_title(title)
        for axis in axes.flat[len(shown) :]:
            axis.set_visible(False)
        for axis in axes[-1]:
            axis.set_xlabel("epoch")
            axis.xaxis.get_major_locator().set_params(integer=True)
        figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
        note(figure, "Losses and gradient norms: means over an epoch's steps (the gradient before it is clipped).\n"
             "Alignment (mean squared distance of pairs) and uniformity: of first validation views; neither need fall "
             "where R@1 rises.")  # fmt: skip
    return figure


def variants(results: pd.DataFrame) -> Figure:
    """R@1 and swaps of each variant against what reading an item costs.

    Args:
        results: of experiment ``resampler``.
    """
    means = select(results, seed=None, against=None)
    names = list(dict.fromkeys(means["subject"]))
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 3, figsize=(12, 0.9 + 0.36 * len(names)), sharey=True)
        for axis, (title, where) in zip(axes, list(ASKED.items())[:3], strict=True):
            for place, name in enumerate(names):
                rows = select(means, subject=name, **where).to_dict("records")
                for row, (colour, marker) in zip(rows, ((BLUE, "o"), (ORANGE, "s")), strict=False):
                    way = WAYS.get(row["direction"], "").format(**row)
                    at = place + (0.12 if marker == "o" else -0.12) * (len(rows) - 1)
                    axis.plot([float(row["low"]), float(row["high"])], [at, at], color=colour, linewidth=1.4)
                    how = {"color": colour, "markersize": 5, "label": way if place == 0 else None}
                    axis.plot(float(row["value"]), at, marker, **how)
            axis.set_title("R@1, each way" if axis is axes[0] else title)
        axes[2].axvline(0.5, color=GREY, linewidth=0.9, linestyle=":")
        axes[1].axvline(0.5, color=GREY, linewidth=0.9, linestyle=":")
        axes[0].set_yticks(range(len(names)), [label(name) for name in names])
        axes[0].invert_yaxis()
        axes[0].legend(loc="best", fontsize=8)
        note(figure, "Bars: 95 % over scenes, and over seeds where there are several. Dotted: a guess.")
    return figure


def latents(attention: pd.DataFrame, grids: dict[str, tuple[int, int]]) -> Figure:
    """What each latent reads: of a map where, of a text which sorts of words more or less than if it read all alike.

    Args:
        attention: as the stage `resampler` writes it.
        grids: by side the rows and columns of its map.
    """
    sides = list(dict.fromkeys(attention["side"]))
    maps, texts = [side for side in sides if side in grids], [side for side in sides if side not in grids]
    count = int(attention["latent"].max()) + 1
    columns = min(8, count)
    lines = -(-count // columns)
    with plt.rc_context(STYLE):
        heights = [1.15 * lines] * len(maps) + [0.28 * count + 1.6] * len(texts)
        figure = plt.figure(figsize=(10, sum(heights) + 0.8))
        parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
        for part, side in zip(parts, maps, strict=False):
            _maps(part, attention[attention["side"] == side], side, grids[side], (lines, columns))
        for part, side in zip(parts[len(maps) :], texts, strict=True):
            _sorts(part, attention[attention["side"] == side], side)
    return figure


def _maps(figure: SubFigure, rows: pd.DataFrame, side: str, grid: tuple[int, int], shape: tuple[int, int]) -> None:
    axes = figure.subplots(*shape, squeeze=False)
    most = float((rows["value"] / rows["uniform"]).max())
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, (latent, mine) in zip(axes.flat, rows.groupby("latent"), strict=False):
        lift = (mine["value"] / mine["uniform"]).to_numpy()
        image = axis.imshow(lift[-grid[0] * grid[1] :].reshape(grid), cmap="cividis", vmin=0, vmax=most)
        axis.set_title(str(latent), fontsize=8)
    figure.colorbar(image, ax=axes, shrink=0.8, label="times uniform")
    note(figure, f"{side}: where each latent looks, mean over test items, in units of looking everywhere alike")


def _sorts(figure: SubFigure, rows: pd.DataFrame, side: str) -> None:
    axis = figure.subplots()
    rows = rows.assign(lift=rows["value"] / rows["uniform"])
    table = rows.pivot_table(index="latent", columns="key", values="lift", sort=False).sort_index()
    image = axis.imshow(np.log2(table.clip(lower=1e-3)), cmap="PuOr_r", vmin=-3, vmax=3, aspect="auto")
    for i, j in np.ndindex(table.shape):
        axis.text(j, i, f"{table.iloc[i, j]:.1f}", ha="center", va="center", fontsize=8)
    axis.set_xticks(range(table.shape[1]), table.columns, rotation=25, ha="right")
    axis.set_yticks(range(len(table)), [str(latent) for latent in table.index])
    axis.set_ylabel("latent")
    axis.grid(visible=False)
    figure.colorbar(image, ax=axis, label="log₂ times uniform")
    note(figure, f"{side}: what sorts of words each latent reads, times the share that such tokens have")
