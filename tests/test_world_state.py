"""States as scenes, numbers, vectors and factors; and claims about them against a twin in plain Python."""

import numpy as np
import pytest
from claim_twin import holds, plainly_true
from hypothesis import given, settings
from hypothesis import strategies as st

from jam.world.claims import CONVERSE, RELATIONS, Claim, Mention, Scenes, relevance
from jam.world.places import placements, relations_of
from jam.world.state import (
    ATTRIBUTES,
    CELLS,
    KINDS,
    STATE_DIM,
    Thing,
    bound,
    codes_of,
    counts_of,
    factors,
    facts,
    kind_of,
    scene_of,
    state_of,
    states_of_facts,
    values_of_kind,
)

THINGS = st.builds(Thing, *(st.integers(0, number - 1) for number in ATTRIBUTES.values()))
SCENES = st.dictionaries(st.integers(0, CELLS - 1), THINGS, min_size=1, max_size=3).map(
    lambda scene: dict(sorted(scene.items()))
)


def random_states(number, seed=0):
    rng = np.random.default_rng(seed)
    states = np.zeros((number, CELLS), np.uint8)
    for state in states:
        cells = rng.permutation(CELLS)[: rng.integers(1, 4)]
        state[cells] = 1 + rng.integers(KINDS, size=len(cells))
    return states


# --- scenes, numbers, vectors -----------------------------------------------------------------------------------------


def test_kinds_are_numbered_one_by_one():
    number = [ATTRIBUTES[name] for name in ("digit", "colour", "size")]
    kinds = [int(kind_of(d, c, s)) for d in range(number[0]) for c in range(number[1]) for s in range(number[2])]
    assert kinds == list(range(KINDS)) == list(range(160))
    np.testing.assert_array_equal(kind_of(*values_of_kind(np.arange(KINDS)).values()), np.arange(KINDS))


@given(SCENES)
def test_scenes_are_states_are_facts(scene):
    state = state_of(scene)
    assert scene_of(state) == scene
    assert list(scene_of(state)) == sorted(scene)
    assert counts_of(state[None]).tolist() == [len(scene)]
    np.testing.assert_array_equal(states_of_facts(facts(state[None])), state[None])


def test_a_fact_by_hand():
    vector = facts(state_of({4: Thing(digit=7, colour=2, size=1)})[None])
    assert vector.shape == (1, STATE_DIM) == (1, 126)
    assert vector.dtype == np.float32
    assert np.flatnonzero(vector[0]).tolist() == [4 * 21, 4 * 21 + 1 + 7, 4 * 21 + 11 + 2, 4 * 21 + 19 + 1]


@given(SCENES, SCENES)
def test_different_states_have_different_codes_and_facts(one, other):
    a, b = state_of(one)[None], state_of(other)[None]
    same = one == other
    assert (codes_of(a) == codes_of(b)).all() == same
    assert np.array_equal(facts(a), facts(b)) == same


def test_codes_are_the_digits_of_a_number():
    """Injective as every cell is one digit, 0 … 160, to the base 161; and the largest fits."""
    for state, code in zip(random_states(200), codes_of(random_states(200)).tolist(), strict=True):
        digits = []
        for _ in range(CELLS):
            code, digit = divmod(code, KINDS + 1)
            digits.append(digit)
        assert digits == state.tolist()
        assert code == 0
    assert (KINDS + 1) ** CELLS < 2**63


def plain_factors(scene):
    """What `factors` and `bound` say of a scene, thing by thing."""
    number = ATTRIBUTES
    one_hot = {name: np.zeros((CELLS, size)) for name, size in number.items()}
    presence, count = np.zeros(CELLS), np.zeros(3)
    counts = {"digits": np.zeros(10), "colours": np.zeros(8), "products": np.zeros((10, 8))}
    pairs = [("digit", "colour"), ("digit", "size"), ("colour", "size")]
    together = {pair: np.zeros((CELLS, number[pair[0]], number[pair[1]])) for pair in pairs}
    count[len(scene) - 1] = 1
    for cell, thing in scene.items():
        presence[cell] = 1
        for name in number:
            one_hot[name][cell, getattr(thing, name)] = 1
        counts["digits"][thing.digit] += 1
        counts["colours"][thing.colour] += 1
        counts["products"][thing.digit, thing.colour] += 1
        for a, b in pairs:
            together[a, b][cell, getattr(thing, a), getattr(thing, b)] = 1
    return (
        {"presence": presence, "count": count, **one_hot, **counts},
        np.concatenate([together[pair].ravel() for pair in pairs]),
    )


def test_factors_and_what_is_bound_equal_plain_loops():
    states = random_states(100)
    found, together = factors(states), bound(states)
    assert together.shape == (100, CELLS * 116)
    for i, state in enumerate(states):
        expected, taken_together = plain_factors(scene_of(state))
        assert set(found) == set(expected)
        for name, values in expected.items():
            np.testing.assert_array_equal(found[name][i], values.ravel(), err_msg=name)
        np.testing.assert_array_equal(together[i], taken_together)


# --- claims -----------------------------------------------------------------------------------------------------------


def some_of(number, least):
    return st.frozensets(st.integers(0, number - 1), min_size=least, max_size=number)


MENTIONS = st.builds(Mention, some_of(10, 4), some_of(8, 4), some_of(2, 1), some_of(6, 2))


@st.composite
def claims(draw):
    """Claims that are loose, so that many are true; relations between any two mentions, in chains and in circles."""
    mentions = tuple(draw(st.lists(MENTIONS, min_size=1, max_size=3)))
    among = [(a, b) for a in range(len(mentions)) for b in range(len(mentions)) if a != b]
    relation = st.tuples(st.sampled_from(among), st.sampled_from(RELATIONS)) if among else st.nothing()
    related = draw(st.lists(relation, max_size=2)) if among else []
    count = draw(st.sampled_from((None, None, 1, 2, 3)))
    return Claim(mentions, tuple((a, name, b) for (a, b), name in related), count)


MANY = random_states(300)
OF_MANY, IN_MANY = Scenes(MANY), [scene_of(state) for state in MANY]


@settings(max_examples=200, deadline=None)
@given(claims())
def test_claims_are_true_where_plain_python_says_so(claim):
    assert OF_MANY.true(claim).tolist() == [plainly_true(claim, scene) for scene in IN_MANY]


def test_the_claims_of_that_test_are_neither_always_true_nor_always_false():
    """So the twins agree about something: with a relation or a count, and both ways."""
    told = [
        Claim((Mention(),) * 2, ((0, "above", 1),)),
        Claim((Mention(),) * 3, ((0, "left_of", 1), (1, "beside", 2))),
        Claim((Mention(size=frozenset({0})),), (), 2),
    ]
    for claim, share in zip(told, relevance(told, MANY).mean(axis=1), strict=True):
        assert 0.02 < share < 0.98, claim


@settings(max_examples=100, deadline=None)
@given(claims())
def test_a_relation_turned_round_says_the_same(claim):
    turned = claim._replace(relations=tuple((b, CONVERSE[name], a) for a, name, b in claim.relations))
    np.testing.assert_array_equal(OF_MANY.true(claim), OF_MANY.true(turned))
    assert sorted(placements(claim)) == sorted(placements(turned))


@settings(max_examples=100, deadline=None)
@given(claims())
def test_the_order_of_mentions_says_nothing(claim):
    last = len(claim.mentions) - 1
    mirrored = claim._replace(
        mentions=claim.mentions[::-1], relations=tuple((last - a, name, last - b) for a, name, b in claim.relations)
    )
    np.testing.assert_array_equal(OF_MANY.true(claim), OF_MANY.true(mirrored))


@settings(max_examples=100, deadline=None)
@given(claims())
def test_saying_more_is_never_true_of_more(claim):
    looser = claim._replace(relations=claim.relations[:-1], count=None)
    assert (OF_MANY.true(claim) <= OF_MANY.true(looser)).all()


@pytest.mark.parametrize("relation", RELATIONS)
def test_relations_of_cells_and_of_things_are_the_same(relation):
    for a in range(CELLS):
        for b in set(range(CELLS)) - {a}:
            scenes = Scenes(state_of({a: Thing(0, 0, 0), b: Thing(1, 0, 0)})[None])
            zero, one = Mention(digit=frozenset({0})), Mention(digit=frozenset({1}))
            told = scenes.true(Claim((zero, one), ((0, relation, 1),)))[0]
            assert told == holds(relation, a, b) == (relation in relations_of(a, b))


def test_one_thing_is_not_two():
    """A scene of one small red eight: "a red thing and an eight" is false of it, each alone is true."""
    scenes = Scenes(state_of({0: Thing(8, 0, 0)})[None])
    red, eight = Mention(colour=frozenset({0})), Mention(digit=frozenset({8}))
    assert [bool(scenes.true(Claim(told))[0]) for told in ((red,), (eight,), (red, eight))] == [True, True, False]
    assert relevance([], MANY).shape == (0, len(MANY))
