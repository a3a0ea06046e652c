"""The text ceiling: what a caption tells of the state, as a vector, if every word of it is understood."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from jam.world.claims import Claim
from jam.world.places import placements
from jam.world.state import ATTRIBUTES, CELLS, STATE_DIM

_SLOT = STATE_DIM // CELLS
_PRODUCTS = ATTRIBUTES["digit"] * ATTRIBUTES["colour"]
CLAIM_DIM = STATE_DIM + _PRODUCTS  # 206


def claim_features(claims: Sequence[Claim]) -> npt.NDArray[np.float32]:
    """The facts that claims lead one to expect, (m, 206): `state.facts`, then the counts of each digit in each colour.

    A mention shares one thing equally among the digits, colours and sizes that it may have, and among cells by how
    many placements of all mentions have it there: 1 / |cells| where neither a relation nor another thing's place says
    more. A claim of all that a state holds has that state's own facts and products.
    """
    features = np.zeros((len(claims), CLAIM_DIM), np.float32)
    slots = features[:, :STATE_DIM].reshape(-1, CELLS, _SLOT)
    products = features[:, STATE_DIM:].reshape(-1, ATTRIBUTES["digit"], ATTRIBUTES["colour"])
    for claim, slot, product in zip(claims, slots, products, strict=True):
        for mention, cells in zip(claim.mentions, _expected_cells(claim), strict=True):
            shares = [
                _shares(allowed, number) for allowed, number in zip(mention[:3], ATTRIBUTES.values(), strict=True)
            ]
            slot += np.outer(cells, np.concatenate([[1.0], *shares]))
            product += np.outer(shares[0], shares[1])
    return features


def _shares(allowed: frozenset[int], number: int) -> npt.NDArray[np.float64]:
    shares = np.zeros(number)
    shares[list(allowed)] = 1 / len(allowed)
    return shares


def _expected_cells(claim: Claim) -> npt.NDArray[np.float64]:
    """Of each mention the probability of each cell, (mentions, 6)."""
    possible = placements(claim)
    if not possible:  # it contradicts itself: each mention by itself
        return np.stack([_shares(mention.cell, CELLS) for mention in claim.mentions])
    cells: npt.NDArray[np.float64] = (np.array(possible)[:, :, None] == np.arange(CELLS)).mean(axis=0)
    return cells
