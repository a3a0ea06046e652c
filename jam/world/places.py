"""Cells in relation: which relations hold between two, and where the things of a claim may stand."""

from functools import lru_cache
from itertools import product

from jam.world.claims import RELATIONS, Claim, Values
from jam.world.state import CELLS, COLUMNS


def _related(relation: str, a: int, b: int) -> bool:
    (row_a, column_a), (row_b, column_b) = divmod(a, len(COLUMNS)), divmod(b, len(COLUMNS))
    return {
        "left_of": column_a < column_b,
        "right_of": column_a > column_b,
        "above": row_a < row_b,
        "below": row_a > row_b,
        "beside": row_a == row_b and abs(column_a - column_b) == 1,
    }[relation]


_RELATIONS_OF = [
    [tuple(relation for relation in RELATIONS if _related(relation, a, b)) for b in range(CELLS)] for a in range(CELLS)
]


def relations_of(a: int, b: int) -> tuple[str, ...]:
    """All relations of a thing in cell ``a`` to a thing in cell ``b``; one at least, if the cells differ."""
    return _RELATIONS_OF[a][b]


def placements(claim: Claim) -> tuple[tuple[int, ...], ...]:
    """Every choice of different cells for the mentions that keeps the claim; none if it contradicts itself."""
    return _placements(tuple(mention.cell for mention in claim.mentions), claim.relations)


@lru_cache(maxsize=1 << 16)
def _placements(
    allowed: tuple[Values, ...], relations: tuple[tuple[int, str, int], ...]
) -> tuple[tuple[int, ...], ...]:
    return tuple(
        cells
        for cells in product(*map(sorted, allowed))
        if len(set(cells)) == len(cells)
        and all(relation in relations_of(cells[a], cells[b]) for a, relation, b in relations)
    )
