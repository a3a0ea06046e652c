"""Random states of the second world and what oracles make of them, for the tests of rulers."""

import numpy as np

from jam.metrics import expected_products
from jam.world import state

SIZES = {"train": 2000, "val": 500, "test": 800}
CELLS = ("digit", "colour", "size")
ADDED = {
    "binding": ("products", ("digits", "colours", "count")),
    "strict": ("products", ("digits", "colours", "count", "expected")),
    "digit beyond presence": ("digit", ("presence",)),
}


def draw(n, seed):
    """One to three things of any kind in any cells, all equally likely; (n, 6)."""
    rng = np.random.default_rng(seed)
    ranks = rng.random((n, state.CELLS)).argsort(axis=1)
    kinds = 1 + rng.integers(state.KINDS, size=ranks.shape)
    return np.where(ranks < rng.integers(1, state.MOST + 1, size=(n, 1)), kinds, 0).astype(np.uint8)


def factors(states):
    found = state.factors(states)
    return found | {"expected": expected_products(found["digits"], found["colours"]).astype(np.float32)}


def by_split(make, given):
    return {split: make(values) for split, values in given.items()}


def bag(found):
    return np.concatenate([found["digits"], found["colours"]], axis=1)


def blind(facts):
    """Facts without the columns of digits."""
    slots = facts.reshape(len(facts), state.CELLS, -1)
    return np.delete(slots, np.s_[1:11], axis=2).reshape(len(facts), -1)


def rotation(d, seed=1):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((d, d)))[0]
