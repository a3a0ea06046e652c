"""The statistics of the world: which things occur where, and with which others.

A scene belongs to a *habitat*, which no image or caption names. A habitat has its own digits, colours, cells, sizes and
number of things, so what occurs in a scene tells what else does. Given its habitat, a scene's things are drawn
independently; all that co-occurs therefore follows in closed form, and the kernel that learners of co-occurrence should
converge to (Huh et al. 2024, §4.2: pointwise mutual information) is known exactly.
"""

from dataclasses import dataclass
from itertools import combinations, permutations

import numpy as np
import numpy.typing as npt

from jam.world.state import CELLS, COLOURS, DIGITS, KINDS, MOST, States, values_of_kind

ODD = 0.07  # chance that an attribute is drawn uniformly, whatever the habitat: nothing is impossible
PEAKED, SPREAD = 0.15, 0.3  # concentration of the Dirichlet draws of digits and colours, and of cells

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Habitats:
    """The distributions of each of h habitats.

    Attributes:
        weight: (h,) how often each occurs.
        count: (h, 3) of one, two and three things.
        cell: (h, 6) weights with which cells are taken, one after the other and none twice.
        kind: (h, 160) of the kind of a thing.
    """

    weight: Floats
    count: Floats
    cell: Floats
    kind: Floats

    @classmethod
    def drawn(cls, habitats: int, most: int, one_object: float, rng: np.random.Generator) -> "Habitats":
        """Draw a world.

        Args:
            habitats: how many; 0 for a world without statistics, where all attributes are uniform and independent.
            most: things in a scene at most, 2 or 3.
            one_object: share of scenes with a single thing, over all habitats.
            rng: source of all draws.
        """
        many = most - 1
        if habitats == 0:
            count = np.array([[one_object] + [(1 - one_object) / many] * many + [0.0] * (MOST - most)])
            return cls(np.ones(1), count, np.full((1, CELLS), 1 / CELLS), np.full((1, KINDS), 1 / KINDS))
        weight = 1 / np.arange(1, habitats + 1)
        weight /= weight.sum()
        alone = rng.uniform(size=habitats)
        alone *= one_object / (weight @ alone)
        others = rng.dirichlet(np.ones(many), habitats) * (1 - alone[:, None])
        count = np.concatenate([alone[:, None], others, np.zeros((habitats, MOST - most))], axis=1)
        digit = _mixed(rng.dirichlet(np.full(len(DIGITS), PEAKED), habitats))
        colours = np.full(len(COLOURS), PEAKED)
        of_habitat = rng.dirichlet(colours, habitats)[:, None]
        of_digit = rng.dirichlet(colours, (habitats, len(DIGITS)))  # what belongs to what: colours of each digit
        colour = _mixed((of_habitat + of_digit) / 2)
        large = rng.beta(0.5, 0.5, habitats)
        size = _mixed(np.stack([1 - large, large], axis=1))
        cell = _mixed(rng.dirichlet(np.full(CELLS, SPREAD), habitats))
        kind = np.einsum("hd,hdc,hs->hdcs", digit, colour, size).reshape(habitats, KINDS)
        return cls(weight, count, cell, kind)

    def draw(self, n: int, rng: np.random.Generator) -> tuple[States, npt.NDArray[np.int64]]:
        """Draw n states (n, 6), and the habitat of each (n,)."""
        habitat = rng.choice(len(self.weight), n, p=self.weight)
        count = 1 + _choose(self.count[habitat], rng)
        # The largest of weights in the logarithm plus Gumbel noise are draws without replacement (Efraimidis 2006).
        order = np.argsort(-(np.log(self.cell[habitat]) + rng.gumbel(size=(n, CELLS))), axis=1)
        states = np.zeros((n, CELLS), np.uint8)
        for turn in range(MOST):
            kinds = _choose(self.kind[habitat], rng)
            here = np.flatnonzero(turn < count)
            states[here, order[here, turn]] = 1 + kinds[here]
        return states, habitat

    def log_likelihood(self, states: States) -> Floats:
        """log P(state | habitat), (n, h)."""
        present = states > 0
        count = present.sum(axis=1)
        with np.errstate(divide="ignore"):
            logs = np.log(self.count)[:, count - 1].T
        logs += np.log(self._cells())[:, present @ 2 ** np.arange(CELLS)].T
        padded = np.concatenate([np.zeros((len(self.weight), 1)), np.log(self.kind)], axis=1)
        found: Floats = logs + padded.T[states].sum(axis=1)
        return found

    def _cells(self) -> Floats:
        """P(these cells are taken | habitat, as many things) by the number Σ 2^cell, (h, 64); 1 for none."""
        found = np.ones((len(self.weight), 2**CELLS))
        for many in range(1, MOST + 1):
            for cells in combinations(range(CELLS), many):
                orders = []
                for order in permutations(cells):
                    left = 1 - np.cumsum(self.cell[:, order], axis=1) + self.cell[:, order]
                    orders.append((self.cell[:, order] / left).prod(axis=1))
                found[:, sum(2**cell for cell in cells)] = np.sum(orders, axis=0)
        return found

    def pairs(self) -> Floats:
        """P(a, b) over ordered pairs of different things of one scene, (160, 160); its sums are P(a)."""
        count = np.arange(1, MOST + 1)
        weight = self.weight * (self.count @ (count * (count - 1)))
        found: Floats = np.einsum("h,ha,hb->ab", weight / weight.sum(), self.kind, self.kind)
        return found

    def attribute_pairs(self, a: str, b: str) -> Floats:
        """P(value of a of one thing, value of b of another) in one scene: `pairs`, summed over all else."""
        return _by_value(self.pairs(), a, b)

    def bound_pairs(self, a: str, b: str) -> Floats:
        """P(value of a, value of b) of one and the same thing."""
        count = np.arange(1, MOST + 1)
        weight = self.weight * (self.count @ count)
        return _by_value(np.diag(weight / weight.sum() @ self.kind), a, b)

    def pmi(self) -> Floats:
        """Pointwise mutual information of two kinds of thing in one scene, log P(a, b) / (P(a) P(b)), (160, 160)."""
        joint = self.pairs()
        alone = joint.sum(axis=0)
        found: Floats = np.log(joint / np.outer(alone, alone))
        return found

    def pmi_kernel(self, states: States) -> Floats:
        """The world's kernel of n states, (n, n): the mean PMI of a thing of one with a thing of the other."""
        shares = kind_counts(states) / np.count_nonzero(states, axis=1)[:, None]
        found: Floats = shares @ self.pmi() @ shares.T
        return found

    def expected_products(self, states: States) -> Floats:
        """How often each digit in each colour is to be expected of states (n, 6), had nobody told what belongs to what.

        Exact: the mean over this world given how often each digit, each colour and each size occurs in a scene and
        which cells are taken. A habitat whose digits have colours of their own tells more than the bag alone: what is
        left of the products beyond this mean is uncorrelated with every function of all that.

        Returns:
            (n, 80), as the factor ``products``; in a world without statistics n_d · n_c / k.
        """
        joint = self.kind.reshape(len(self.weight), len(DIGITS), len(COLOURS), -1)
        pair, size = joint.sum(axis=3), joint.sum(axis=(1, 2))  # a thing's size is drawn by itself
        cells, found = self._cells(), np.zeros((len(states), len(DIGITS), len(COLOURS)))
        counts = np.count_nonzero(states, axis=1)
        for k in np.unique(counts[counts > 0]):
            rows = np.flatnonzero(counts == k)
            taken = states[rows] > 0
            things = values_of_kind(states[rows][taken].reshape(-1, k).astype(np.int64) - 1)
            with np.errstate(divide="ignore"):
                prior = np.log(self.weight * self.count[:, k - 1] * cells[:, taken @ 2 ** np.arange(CELLS)].T)
            prior += np.log(size)[:, things["size"]].sum(axis=2).T  # (rows, habitats)
            orders = list(permutations(range(k)))
            logs = [np.log(pair)[:, things["digit"], things["colour"][:, order]].sum(axis=2).T for order in orders]
            together = np.stack(logs, axis=2) + prior[:, :, None]  # (rows, habitats, orders)
            shares = np.exp(together - together.max(axis=(1, 2), keepdims=True)).sum(axis=1)
            shares /= shares.sum(axis=1, keepdims=True)
            for order, share in zip(orders, shares.T, strict=True):
                np.add.at(found, (rows[:, None], things["digit"], things["colour"][:, order]), share[:, None])
        return found.reshape(len(states), -1)


def habitats_of(seed: int, habitats: int, objects: int, one_object: float) -> Habitats:
    """The statistics of the world that `jam.world.build.build_world` draws from a seed, of its first stream."""
    [stream] = np.random.SeedSequence(seed).spawn(1)
    return Habitats.drawn(habitats, objects, one_object, np.random.default_rng(stream))


def kind_counts(states: States) -> Floats:
    """How many things of each kind, (n, 160)."""
    found = np.zeros((len(states), 1 + KINDS))
    np.add.at(found, (np.arange(len(states))[:, None], states), 1)
    return found[:, 1:]


def _mixed(p: Floats) -> Floats:
    found: Floats = (1 - ODD) * p + ODD / p.shape[-1]
    return found


def _choose(p: Floats, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """A column for each row of probabilities (n, c)."""
    ends = p.cumsum(axis=1)
    found: npt.NDArray[np.int64] = (rng.uniform(size=(len(p), 1)) * ends[:, -1:] >= ends).sum(axis=1)
    return np.minimum(found, p.shape[1] - 1)


def _by_value(table: Floats, a: str, b: str) -> Floats:
    """Sums of a table over kinds (160, 160) for each value of an attribute of either, (values of a, values of b)."""
    values = values_of_kind(np.arange(KINDS))
    one_hot = {name: (values[name][:, None] == np.arange(values[name].max() + 1)).astype(np.float64) for name in (a, b)}
    found: Floats = one_hot[a].T @ table @ one_hot[b]
    return found
