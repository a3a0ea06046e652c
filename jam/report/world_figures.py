"""Figures of the embedded world: what occurs with what, and what is said of it."""

import io
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from jam.report.labels import label
from jam.report.style import BLACK, GREEN, GREY, STYLE, VERMILION
from jam.world.edits import KINDS
from jam.world.image import INK
from jam.world.parser import parse
from jam.world.state import COLOURS, DIGITS, factors, states_of_facts

SHOWN = 5  # habitats
IMAGES = 8  # of each
GAP = 3  # pixels between two images
_NAME, _LINE = 19, 82  # characters of the name of a caption, and of its lines
_FONT: Any = {"family": "DejaVu Sans Mono", "fontsize": 8, "va": "top"}  # all letters are of one width
_WIDTH, _HEIGHT = 0.0669, 0.158  # of a letter and of a line of that font, in inches

Floats = npt.NDArray[np.float64]


# --- habitats ---------------------------------------------------------------------------------------------------------


def habitats(items: pd.DataFrame, images: Mapping[str, bytes]) -> Figure:
    """The most frequent habitats, in images and in what occurs in them, and what co-occurs over all of them.

    Args:
        items: id, context (``habitat|number of things``) and state of scenes; the more, the surer the shares.
        images: encoded, by id, of some of these items. The first of each habitat are shown, whatever is on them.
    """
    of_habitat = items["context"].str.split("|").str[0]
    found = factors(states_of_facts(np.stack(items["state"].tolist())))
    within = {name: (of_habitat == name).to_numpy() for name in of_habitat.value_counts().index[:SHOWN]}
    shares = {
        name: [found[name][here].sum(axis=0) / found[name][here].sum() for here in within.values()]
        for name in ("digits", "colours")
    }
    highest = 1.05 * max(float(share.max()) for of_all in shares.values() for share in of_all)
    lines = len(within)
    with plt.rc_context(STYLE):
        figure = plt.figure(figsize=(9, 0.66 * lines + 2.9))
        grid = figure.add_gridspec(lines + 1, 3, width_ratios=(6.2, 1.5, 1.3), height_ratios=[1] * lines + [4])
        for line, here in enumerate(within.values()):
            shown, digits, colours = (figure.add_subplot(grid[line, column]) for column in range(3))
            _strip(shown, [images[name] for name in items["id"][here] if name in images][:IMAGES])
            shown.set_ylabel(f"{here.mean():.0%}", rotation=0, ha="right", va="center")
            _bars(digits, shares["digits"][line], DIGITS, [GREY] * len(DIGITS), highest)
            _bars(colours, shares["colours"][line], [name[0] for name in COLOURS], (INK / 255).tolist(), highest)
            if line == 0:
                shown.set_title(f"the {lines} most frequent habitats, with their share of scenes")
                digits.set_title("digits")
                colours.set_title("colours")
        below = grid[lines, :].subgridspec(1, 2)
        pairs = {
            "one thing's colour and another's digit": _co_occurring(found),
            "colour and digit of one and the same thing": found["products"].sum(axis=0).reshape(len(DIGITS), -1),
        }
        tables = [_pmi(counts) for counts in pairs.values()]
        most = max(float(np.abs(table[np.isfinite(table)]).max(initial=0.1)) for table in tables)
        axes = [figure.add_subplot(below[0, i]) for i in range(2)]
        for axis, title, table in zip(axes, pairs, tables, strict=True):
            drawn = axis.imshow(table.T, cmap="PuOr_r", vmin=-most, vmax=most, aspect="auto")
            axis.set_xticks(range(len(DIGITS)), DIGITS)
            axis.set_yticks(range(len(COLOURS)), COLOURS)
            axis.tick_params(length=0)
            axis.grid(visible=False)
            axis.set_title(title)
        figure.colorbar(drawn, ax=axes, label=f"PMI in nats, {len(items):,} scenes", shrink=0.9, pad=0.01)
    return figure


def _co_occurring(found: Mapping[str, npt.NDArray[np.float32]]) -> Floats:
    """How often a digit is there beside another thing's colour, (10, 8): all pairs less each thing with itself."""
    pairs: Floats = found["digits"].astype(np.float64).T @ found["colours"]
    return pairs - found["products"].sum(axis=0).reshape(pairs.shape)


def _pmi(counts: npt.NDArray[Any]) -> Floats:
    """log P(a, b) / (P(a) P(b)); not a number where something never occurs."""
    joint = counts / counts.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        table = np.log(joint / np.outer(joint.sum(axis=1), joint.sum(axis=0)))
    found: Floats = np.where(np.isfinite(table), table, np.nan)
    return found


def _strip(axis: Axes, encoded: Sequence[bytes]) -> None:
    """Images side by side."""
    pixels = [np.asarray(Image.open(io.BytesIO(one)).convert("RGB")) for one in encoded]
    height, width = pixels[0].shape[:2] if pixels else (32, 48)
    sheet = np.full((height, IMAGES * (width + GAP) - GAP, 3), 255, np.uint8)
    for i, image in enumerate(pixels):
        sheet[:, i * (width + GAP) : i * (width + GAP) + width] = image
    axis.imshow(sheet, interpolation="nearest")
    axis.set_anchor("NE")
    axis.set_xticks([])
    axis.set_yticks([])
    axis.grid(visible=False)
    axis.spines[:].set_visible(False)


def _bars(axis: Axes, shares: npt.NDArray[Any], names: Sequence[str], colours: Sequence[Any], highest: float) -> None:
    """Shares of all things."""
    axis.bar(range(len(names)), shares, color=colours, edgecolor=BLACK, linewidth=0.5)
    axis.set_xticks(range(len(names)), names, fontsize=8)
    axis.tick_params(length=0, pad=1)
    axis.set_yticks([])
    axis.set_ylim(0, highest)
    axis.grid(visible=False)
    axis.spines["left"].set_visible(False)


# --- captions ---------------------------------------------------------------------------------------------------------


def captions(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Items with all that is said of them: true captions, then false ones by kind with the changed words in bold.

    Args:
        rows: as `jam.data.schema.read_rows` gives them.
    """
    blocks = [list(_lines(row)) for row in rows]
    heights = [max(len(block) * _HEIGHT, 1.35) + 0.25 for block in blocks]
    size = (9.0, sum(heights))
    with plt.rc_context({**STYLE, "figure.constrained_layout.use": False}):
        figure = plt.figure(figsize=size)
        top = size[1]
        for row, block, height in zip(rows, blocks, heights, strict=True):
            axis = figure.add_axes((0.01, (top - 1.35) / size[1], 1.85 / size[0], 1.23 / size[1]))
            axis.imshow(Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB"), interpolation="nearest")
            axis.axis("off")
            for i, (name, plain, bold, colour) in enumerate(block):
                y = (top - 0.12 - i * _HEIGHT) / size[1]
                figure.text(2.05 / size[0], y, name, color=colour, **_FONT)
                at = (2.05 + _NAME * _WIDTH) / size[0]
                figure.text(at, y, plain, color=BLACK, **_FONT)
                figure.text(at, y, bold, color=VERMILION, fontweight="bold", **_FONT)
            top -= height
            if row is not rows[-1]:
                figure.add_artist(plt.Line2D([0.01, 0.99], [(top + 0.02) / size[1]] * 2, color=GREY, linewidth=0.6))
    return figure


def _lines(row: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """Lines of an item: name (of the first of a caption), plain words, bold words in their places, colour of the name.

    The letters of both have one width, so that either leaves room where the other stands.
    """
    for text in row["captions"]:
        for i, (plain, _) in enumerate(_wrapped(text, frozenset())):
            yield "" if i else f"✓ {_form(text)}", plain, "", GREEN
    for negative in sorted(row["negatives"], key=lambda one: [*KINDS, "scene"].index(one["kind"])):
        hard = negative["tier"] == "hard"
        changed = _changed(row["captions"][negative["of"]], negative["text"]) if hard else frozenset()
        for i, (plain, bold) in enumerate(_wrapped(negative["text"], changed)):
            yield "" if i else f"✗ {label(negative['kind']) if hard else 'another item'}", plain, bold, VERMILION


def _form(caption: str) -> str:
    """How a caption is told, as it says: only a dense one and one without colours state the number of things."""
    claim = parse(caption)
    if claim.count is None:
        return "partial"
    return "dense" if all(len(mention.colour) == 1 for mention in claim.mentions) else "no colour"


def _changed(true: str, false: str) -> frozenset[int]:
    """Places of the words of a false caption that the true one has not; an article that follows is none."""
    before, after = (["a" if word == "an" else word.strip(",:") for word in text.split()] for text in (true, false))
    if len(before) == len(after):  # so that of a swap both words are found
        return frozenset(i for i, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1])
    steps = SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    return frozenset(i for step, _, _, first, end in steps if step != "equal" for i in range(first, end))


def _wrapped(text: str, bold: frozenset[int]) -> Iterator[tuple[str, str]]:
    """Lines of a caption as plain and as bold words, each with blanks in the places of the other's."""
    place = 0
    for line in textwrap.wrap(text, _LINE, break_on_hyphens=False):
        words = line.split()
        marked = [place + i in bold for i in range(len(words))]
        place += len(words)
        yield tuple(  # type: ignore[misc]
            " ".join(word if mark == wanted else " " * len(word) for word, mark in zip(words, marked, strict=True))
            for wanted in (False, True)
        )
