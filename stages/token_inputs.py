"""What stages read of token sequences."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jam.align.items import Items
from jam.align.rows import FeatureTable, join_sides
from jam.data.schema import VIEWS, read_table
from jam.features.store import of_form
from jam.features.tokens import TokenStore
from jam.params.resampler import TokenSide
from jam.widths.curve import Questions
from stages.common import TOKENS, WORLD
from stages.questions import asked


def token_tables(sides: Sequence[TokenSide]) -> dict[str, FeatureTable]:
    """By side all sequences, whose rows are items of a table, and what each is; of one form, as pooled features are."""
    stores = {side.side: TokenStore.load(TOKENS / side.encoder) for side in sides}
    tables: dict[str, Any] = {name: store.sequences for name, store in stores.items()}
    return {name: (tables[name], of_form(store.index)) for name, store in stores.items()}


def load_token_items(sides: Sequence[TokenSide], split: str) -> Items:
    """The items of a split as the sides see them, whose tables are `Ragged`."""
    return join_sides(token_tables(sides), split)


def token_questions(sides: Sequence[TokenSide]) -> Questions:
    """What is asked on test items."""
    tables = token_tables(sides)
    return asked(tables, {side.side: side.encoder for side in sides}, join_sides(tables, "test"))


def texts_of(side: TokenSide, rows: np.ndarray) -> list[str]:
    """The texts whose tokens some rows of a side's store are; of training items not all views are kept."""
    keys = ["id", "split", "role", "form", "k"]
    views = read_table(WORLD / VIEWS / "text.parquet", [*keys, "content"]).to_pandas()
    lines = TokenStore.load(TOKENS / side.encoder).index.iloc[rows][keys]
    return lines.merge(views, on=keys, how="left", validate="one_to_one")["content"].astype(str).tolist()
