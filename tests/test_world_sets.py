"""Sets of scenes share no scene, and in each of them what co-occurs co-occurs as often as in the world.

How far a set may be off. A set is n draws from the world given that their state is one of the set's, and a hash has
dealt those: state s with share q, independently. So s comes n(s) ~ I(s) · Poisson(n P(s) / q) times, where I(s) is 1
with probability q: its variance is n P(s) + n² P(s)² (1 − q) / q, of sampling and of dealing. The second term is that
of the hash: a scene that makes up 2 % of the world is in a set ten times too often or, mostly, never. No error that is
estimated from the set alone (of independent rows, or of a bootstrap over its states) knows of the scenes that the hash
kept out; P(s) is known exactly, so the variance is computed instead. For a share p = Σ n(s) y(s) / Σ n(s) w(s), with
y(s) of the w(s) pairs of a scene of the kind in question, and e = y − p w:

    Var ≈ (E[e²] / n + (1 − q) / q · E[P(s) e²]) / E[w]²,  E over scenes of the world.
"""

import numpy as np
import pytest

from jam.world.habitats import Habitats
from jam.world.sets import SETS, SHARES, _hashed, draw_sets, set_of
from jam.world.state import CELLS, KINDS, codes_of, counts_of, factors

SIZES = {"images": 3000, "documents": 2500, "train": 2500, "val": 800, "test": 800}
SEEDS = range(5)
DIGIT_COLOUR = ("digit", "colour")


def world(seed, habitats=20):
    return Habitats.drawn(habitats, 3, 0.1, np.random.default_rng([seed, 0]))


def sets_of(known, seed, sizes=SIZES):
    return draw_sets(known, sizes, seed, np.random.default_rng([seed, 1]))


def exact(known):
    """Co-occurrence in the world, by name: of two things of a scene, and of the values of one thing."""
    return {
        "digits": known.attribute_pairs("digit", "digit").ravel(),
        "digit and colour of two": known.attribute_pairs(*DIGIT_COLOUR).ravel(),
        "digit and colour of one": known.bound_pairs(*DIGIT_COLOUR).ravel(),
    }


def observed(states):
    """For each scene how many pairs of each kind it has, y (n, kinds), and how many in all, w (n,)."""
    found, things = factors(states), counts_of(states).astype(float)
    digits, colours, one = found["digits"].astype(float), found["colours"].astype(float), found["products"]
    # Ordered pairs of things: all pairs less each thing with itself
    two_digits = np.einsum("na,nb->nab", digits, digits) - np.einsum("na,ab->nab", digits, np.eye(10))
    two = np.einsum("na,nb->nab", digits, colours).reshape(len(states), -1) - one
    pairs = things * (things - 1)
    return {
        "digits": (two_digits.reshape(len(states), -1), pairs),
        "digit and colour of two": (two, pairs),
        "digit and colour of one": (one.astype(float), things),
    }


def likelihood(known, states):
    """P(s) in the world."""
    return np.exp(known.log_likelihood(states)) @ known.weight


def errors_of(known, states, of_world, n, share):
    """For each kind of pair how many standard errors a set is off, where it is seen often enough to be normal."""
    p_state, found = likelihood(known, of_world), {}
    for name, p in exact(known).items():
        y, w = observed(states)[name]
        told, pairs = observed(of_world)[name]
        squares = (told - np.outer(pairs, p)) ** 2
        variance = squares.mean(axis=0) / n + (1 - share) / share * (p_state @ squares / len(of_world))
        z = (y.sum(axis=0) / w.sum() - p) / np.sqrt(variance) * pairs.mean()
        found[name] = z[p * w.sum() > 10]
    return found


@pytest.fixture(scope="module")
def drawn():
    """Worlds with their sets, and many scenes of each that the variances are computed of."""
    found = []
    for seed in SEEDS:
        known = world(seed)
        of_world, _ = known.draw(10_000, np.random.default_rng([seed, 2]))
        found.append((known, sets_of(known, seed), of_world))
    return found


# --- what co-occurs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SETS)
def test_what_co_occurs_in_a_set_is_what_co_occurs_in_the_world(drawn, name):
    found = [errors_of(known, sets[name].states, many, SIZES[name], SHARES[name]) for known, sets, many in drawn]
    for pair in found[0]:
        z = np.concatenate([one[pair] for one in found])
        assert len(z) > 100
        assert 0.7 < np.mean(z**2) < 1.4, f"{pair}: errors are off by {np.mean(z**2) ** 0.5:.2f} standard errors"
        assert abs(z).max() < 6, pair


def test_in_a_world_of_other_habitats_it_is_not(drawn):
    """The check has teeth: a set is told from other worlds, and from this one without its habitats."""
    known, sets, _ = drawn[0]
    for name in SETS:
        for other in (world(1), world(0, habitats=0)):
            others, _ = other.draw(10_000, np.random.default_rng(0))
            z = errors_of(other, sets[name].states, others, SIZES[name], SHARES[name])
            assert all(np.mean(one**2) > 5 for one in z.values()), name
        # Habitats of which the first is half as frequent: a small change, but seen.
        weight = known.weight * np.where(np.arange(20) == 0, 0.5, 1)
        near = Habitats(weight / weight.sum(), known.count, known.cell, known.kind)
        near_many, _ = near.draw(10_000, np.random.default_rng(0))
        z = errors_of(near, sets[name].states, near_many, SIZES[name], SHARES[name])
        assert np.mean(z["digits"] ** 2) > 2 or name in ("val", "test"), name


def test_rejecting_the_scenes_of_earlier_sets_would_be_seen(drawn):
    """The design that is not ours: a last set without any scene of those before it has lost the usual ones."""
    z2 = []
    for known, _, many in drawn:
        rng = np.random.default_rng(7)
        before, _ = known.draw(22_000, rng)
        later, _ = known.draw(20_000, rng)
        rest = later[~np.isin(codes_of(later), codes_of(before))][: SIZES["train"]]
        z2.append(np.mean(errors_of(known, rest, many, SIZES["train"], SHARES["train"])["digits"] ** 2))
    assert np.mean(z2) > 2, "ours are below 1.4"


# --- which state belongs where ----------------------------------------------------------------------------------------


def test_no_state_is_in_two_sets(drawn):
    for _, sets, _ in drawn:
        assert tuple(sets) == SETS
        codes = {name: set(codes_of(part.states).tolist()) for name, part in sets.items()}
        assert sum(map(len, codes.values())) == len(set().union(*codes.values()))
        assert {name: len(part.states) for name, part in sets.items()} == SIZES
        assert all(len(part.habitat) == len(part.states) for part in sets.values())
        assert len(codes["train"]) < SIZES["train"], "scenes come again, as they do in the world"


def test_the_set_of_a_state_depends_on_seed_and_state_alone(drawn):
    _, sets, many = drawn[2]
    for i, part in enumerate(sets.values()):
        assert (set_of(part.states, seed=2) == i).all()
    order = np.random.default_rng(0).permutation(len(many))
    np.testing.assert_array_equal(set_of(many, 2)[order], set_of(many[order], 2))
    same = np.mean(set_of(many, 2) == set_of(many, 3))
    assert same < 0.6  # by chance Σ share² = .235, of rows; scenes that come often weigh more


def test_states_are_dealt_in_their_shares_whatever_they_hold():
    rng = np.random.default_rng(0)
    states = np.unique(rng.integers(1, 1 + KINDS, (60_000, CELLS)) * (rng.uniform(size=(60_000, CELLS)) < 0.4), axis=0)
    states = states[(counts_of(states) > 0) & (counts_of(states) < 4)].astype(np.uint8)
    assert sum(SHARES.values()) == pytest.approx(1)
    for seed in (0, 1, 2**31):
        owner = set_of(states, seed)
        for i, share in enumerate(SHARES.values()):
            for part in (owner, owner[counts_of(states) == 2], owner[states[:, 3] > 80], owner[states[:, 0] % 2 == 1]):
                assert abs((part == i).mean() - share) < 5 * np.sqrt(share * (1 - share) / len(part))


def test_the_hash_is_splitmix64():
    """Known answers: a generator that starts at 1234567 gives these (Vigna's reference code)."""
    # The state of the generator is code + (seed + 1) · its step, so what it gives in turn are our seeds 0, 1, …
    known = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert [int(_hashed(np.array([1234567]), seed)[0]) for seed in range(4)] == known


def test_a_larger_set_begins_with_the_smaller_one_and_leaves_the_others_alone():
    known = world(0)
    small, large = (sets_of(known, 0, SIZES | {"train": size}) for size in (500, 2000))
    np.testing.assert_array_equal(large["train"].states[:500], small["train"].states)
    for name in set(SETS) - {"train"}:
        np.testing.assert_array_equal(large[name].states, small[name].states)


def test_small_worlds_can_be_drawn():
    sets = draw_sets(world(0), dict.fromkeys(SETS, 0) | {"val": 3}, 0, np.random.default_rng(0))
    assert {name: len(part.states) for name, part in sets.items()} == dict.fromkeys(SETS, 0) | {"val": 3}
