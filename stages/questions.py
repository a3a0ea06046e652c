"""What is asked of spaces on test items: finding what is true, and telling it from what is false."""

from collections.abc import Mapping, Sequence

from jam.align.items import Items
from jam.align.rows import FeatureTable, negative_rows
from jam.evaluation.known import read_relevance
from jam.params import Side, load_params
from jam.widths.curve import Questions
from stages.common import WORLD
from stages.inputs import load_items, load_sides


def questions(sides: Sequence[Side]) -> Questions:
    """Those of the test items of two sides."""
    return asked(load_sides(sides), {side.side: side.encoder for side in sides}, load_items(sides, "test"))


def asked(tables: Mapping[str, FeatureTable], encoders: Mapping[str, str], items: Items) -> Questions:
    """Those of the test items that two tables show, whose encoders are named."""
    x, y = tables
    texts = [side for side, encoder in encoders.items() if load_params().encoders[encoder].modality == "text"]
    right = read_relevance(WORLD, tables, texts, "test", [(x, y)]).get((x, y))
    return Questions.of((x, y), items, right, negative_rows(tables[y][1], tables[x][1], "test"))
