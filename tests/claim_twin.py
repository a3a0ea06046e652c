"""Which claims are true of which scenes, in plain Python: the twin of `jam.world.claims`."""

from itertools import permutations

from jam.world.state import ATTRIBUTES


def holds(relation, a, b):
    """Whether a thing in cell a stands in a relation to one in cell b."""
    row, column, other_row, other_column = a // 3, a % 3, b // 3, b % 3
    if relation == "beside":
        return row == other_row and column - other_column in (-1, 1)
    return {
        "left_of": column < other_column,
        "right_of": column > other_column,
        "above": row < other_row,
        "below": row > other_row,
    }[relation]


def plainly_true(claim, scene):
    """Whether some different things of a scene fit all mentions and relations, and no other is there if counted."""
    if claim.count is not None and claim.count != len(scene):
        return False
    for cells in permutations(scene, len(claim.mentions)):
        fits = all(
            cell in mention.cell and all(getattr(scene[cell], name) in getattr(mention, name) for name in ATTRIBUTES)
            for cell, mention in zip(cells, claim.mentions, strict=True)
        )
        if fits and all(holds(relation, cells[a], cells[b]) for a, relation, b in claim.relations):
            return True
    return False
