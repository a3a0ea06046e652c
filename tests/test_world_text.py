"""The language of the second world: grammar, parser and edits check each other; a few claims are written by hand."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jam.errors import InputError
from jam.world import grammar
from jam.world.ceiling import CLAIM_DIM, claim_features
from jam.world.claims import Claim, Mention, Scenes, relevance
from jam.world.edits import KINDS, STATE_KINDS, edit_caption, edit_states
from jam.world.grammar import FORMS, claim_of, draw_plan, private_of, speak
from jam.world.lexicon import (
    ADVERBS,
    CONTENT_WORDS,
    COUNT_WORDS,
    FRAMES,
    FUNCTION_WORDS,
    HYPERNYMS,
    NOUNS,
    OTHERS,
    PLACES,
    RELATION_WORDS,
    WORDS,
    words_in,
)
from jam.world.parser import parse
from jam.world.places import placements
from jam.world.sentence import article
from jam.world.state import ATTRIBUTES, STATE_DIM, Thing, factors, facts, scene_of, state_of

THINGS = st.builds(Thing, *(st.integers(0, number - 1) for number in ATTRIBUTES.values()))
SCENES = st.dictionaries(st.integers(0, 5), THINGS, min_size=1, max_size=3).map(
    lambda scene: dict(sorted(scene.items()))
)
SEEDS = st.integers(0, 2**32 - 1)


def random_scene(rng, count=None):
    cells = np.sort(rng.permutation(6)[: count or rng.integers(1, 4)])
    return {int(cell): Thing(*(int(rng.integers(n)) for n in ATTRIBUTES.values())) for cell in cells}


def random_states(number, seed=0):
    rng = np.random.default_rng(seed)
    return np.stack([state_of(random_scene(rng)) for _ in range(number)])


def spoken(number, form, count=None, **shares):
    """Scenes, plans and captions."""
    rng = np.random.default_rng(1)
    scenes = [random_scene(rng, count) for _ in range(number)]
    plans = [draw_plan(scene, rng, form, **shares) for scene in scenes]
    return scenes, plans, [speak(scene, plan) for scene, plan in zip(scenes, plans, strict=True)]


def words(text):
    """Words of a caption, both articles as one."""
    return ["a" if word == "an" else word for word in text.replace(",", " ").replace(":", " ").split()]


MANY = random_states(5000)
OF_MANY = Scenes(MANY)


# --- what is said is read ---------------------------------------------------------------------------------------------


@settings(max_examples=400)
@given(SCENES, SEEDS, st.sampled_from(FORMS), st.sampled_from((0.2, 0.85, 1.0)))
def test_captions_are_read_as_they_are_meant_and_are_true(scene, seed, form, synonyms):
    plan = draw_plan(scene, np.random.default_rng(seed), form, synonyms=synonyms)
    caption = speak(scene, plan)
    claim = parse(caption)
    assert claim == claim_of(scene, plan)
    assert Scenes(state_of(scene)[None]).true(claim).all()
    assert caption == caption.lower()
    assert set(caption) <= set("abcdefghijklmnopqrstuvwxyz0123456789 ,:")


@settings(max_examples=25)
@given(SCENES, SEEDS)
def test_a_dense_caption_is_true_of_one_state_alone(scene, seed):
    rng = np.random.default_rng(seed)
    state = state_of(scene)
    claim = parse(speak(scene, draw_plan(scene, rng, "dense")))
    edits = np.stack([other for _, other in edit_states(state, rng)])
    assert not Scenes(edits).true(claim).any()
    np.testing.assert_array_equal(OF_MANY.true(claim), (state == MANY).all(axis=1))


@settings(max_examples=25)
@given(SCENES, SEEDS)
def test_without_colours_all_but_colour_is_told(scene, seed):
    rng = np.random.default_rng(seed)
    claim = parse(speak(scene, draw_plan(scene, rng, "no_colour")))
    for kind, other in edit_states(state_of(scene), rng):
        same = [thing._replace(colour=0) for thing in scene.values()] == [
            thing._replace(colour=0) for thing in scene_of(other).values()
        ] and list(scene) == list(scene_of(other))
        assert Scenes(other[None]).true(claim)[0] == same, kind


ONE, TOP, LEFT = frozenset({1}), frozenset({0, 1, 2}), frozenset({0, 3})
BY_HAND = {
    "there is a small red eight in the top left": Claim(
        (Mention(frozenset({8}), frozenset({0}), frozenset({0}), frozenset({0})),)
    ),
    "today we noticed at the lower centre spot an orange 8": Claim(
        (Mention(frozenset({8}), ONE, cell=frozenset({4})),)
    ),
    "an even figure in the upper half can be seen": Claim((Mention(frozenset({0, 2, 4, 6, 8}), cell=TOP),)),
    "imagine a warm number": Claim((Mention(colour=frozenset({0, 1, 2})),)),
    "imagine in the left column a giant azure ace next to an ivory numeral truly": Claim(
        (Mention(ONE, frozenset({5}), ONE, LEFT), Mention(colour=frozenset({7}))), ((0, "beside", 1),)
    ),
    "let a two, a three to the left of a four be visible": Claim(
        tuple(Mention(frozenset({digit})) for digit in (2, 3, 4)), ((1, "left_of", 2),)
    ),
    "a pair of things: a small 0 and a big 1 caught my eye": Claim(
        (Mention(frozenset({0}), size=frozenset({0})), Mention(ONE, size=ONE)), (), 2
    ),
}


@pytest.mark.parametrize("caption", BY_HAND)
def test_captions_by_hand(caption):
    assert parse(caption) == BY_HAND[caption]


@pytest.mark.parametrize(
    "caption",
    [
        "",
        "there is",
        "a small red eight",
        "there is small red eight",
        "there is a red small eight",
        "there is a red",
        "there is an even",
        "there is a red\nbird",
        "there is a red eight in the top corner",
        "there is in the top left a red eight in the top left",
        "there is a red eight in the top left a red nine",
        "there is a red eight and",
        "there is a four of things: a red eight",
        "there is a two, a two, a two and a two",
        "today there is a two today",
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(caption):
    with pytest.raises(InputError, match=r"^caption .*: expected .*, got ") as error:
        parse(caption)
    assert "\n" not in str(error.value)


# --- the words --------------------------------------------------------------------------------------------------------


def test_no_word_says_two_things():
    single = [
        *(word for name in ("digit", "colour", "size", "row") for values in WORDS[name] for word in values),
        *(word for values in WORDS["column"] for word in set(values)),
        *(word for names in HYPERNYMS.values() for word in names),
        *NOUNS,
        *ADVERBS,
    ]
    phrases = [
        *(text for texts in RELATION_WORDS.values() for text in texts),
        *(text for texts in COUNT_WORDS for text in texts),
    ]
    assert max(Counter(single).values()) == max(Counter(phrases).values()) == 1
    assert len({frame.text for frame in FRAMES}) == len(FRAMES) == len(ADVERBS) == 20
    assert set(Counter(frame.tense for frame in FRAMES).values()) == {5}


def test_private_words_mean_nothing_of_the_state():
    frames, adverbs = words_in([frame.text for frame in FRAMES]), words_in(ADVERBS)
    assert not (frames | adverbs) & CONTENT_WORDS
    assert not adverbs & (frames | FUNCTION_WORDS)
    for form in FORMS:
        scenes, plans, captions = spoken(300, form)
        for scene, plan, caption in zip(scenes, plans, captions, strict=True):
            before, after = FRAMES[plan.frame].text.split("{}")
            inner = caption if plan.adverb is None else caption.replace(ADVERBS[plan.adverb], "", 1).strip()
            inner = inner.removeprefix(before).removesuffix(after)
            assert words_in([inner]) <= CONTENT_WORDS | FUNCTION_WORDS
            neutral = speak(scene, replace(plan, frame=0, adverb=None))
            assert neutral == FRAMES[0].text.format(inner)
            adverb = "none" if plan.adverb is None else ADVERBS[plan.adverb]
            assert private_of(plan) == {"frame": str(plan.frame), "tense": FRAMES[plan.frame].tense, "adverb": adverb}


def test_the_vocabulary_is_large_and_all_of_it_is_spoken():
    said = words_in([caption for form in FORMS for caption in spoken(2000, form, synonyms=0.5)[2]])
    assert len(said) >= 160
    assert said == CONTENT_WORDS | FUNCTION_WORDS | words_in([*(frame.text for frame in FRAMES), *ADVERBS])
    assert not any(char in word for word in said for char in "{}")


def test_articles_follow_the_sound():
    vowels = {"orange", "amber", "emerald", "azure", "ivory", "even", "odd", "eight", "8", "ace", "octet"}
    first = [word for name in ATTRIBUTES for values in WORDS[name] for word in values]
    first += [word for names in HYPERNYMS.values() for word in names] + list(NOUNS)
    assert {word for word in first if article(word) == "an"} == vowels
    _, _, captions = spoken(2000, "partial", synonyms=0.4)
    for caption in captions:
        for word, following in pairwise(caption.replace(",", "").split()):
            if word in ("a", "an") and following != "artist":
                assert word == article(following)


def test_shares_are_near_their_constants():
    scenes, plans, _ = spoken(6000, "partial", mention=0.8, synonyms=0.7)
    said = [(scene[s.cell], s) for scene, plan in zip(scenes, plans, strict=True) for s in plan.said]
    # One thing at least is mentioned: those of n things that none of them mentioned gives back.
    expected = sum(len(s) * 0.8 + 0.2 ** len(s) for s in scenes) / sum(map(len, scenes))
    assert len(said) / sum(map(len, scenes)) == pytest.approx(expected, abs=0.015)
    for name, share in grammar.SAID.items():
        styles = [(getattr(thing, name), getattr(s, name)) for thing, s in said]
        exact = [style for _, style in styles if isinstance(style, int)]
        spoken_of = [(value, style) for value, style in styles if style is not None]
        assert len(spoken_of) / len(styles) == pytest.approx(share, abs=0.02)
        assert np.mean(np.array(exact) == 0) == pytest.approx(0.7, abs=0.03)
        able = [
            isinstance(style, str)
            for value, style in spoken_of
            if any(value in v for v in HYPERNYMS.get(name, {}).values())
        ]
        assert not able or np.mean(able) == pytest.approx(grammar.HYPERNYM, abs=0.015)
    related = [plan.relation is not None for plan in plans if len(plan.said) > 1]
    assert np.mean(related) == pytest.approx(grammar.RELATION, abs=0.03)
    assert np.mean([s.row is not None or s.column is not None for _, s in said]) == pytest.approx(0.85, abs=0.03)
    assert {plan.frame for plan in plans} == set(range(len(FRAMES)))
    assert np.mean([plan.adverb is not None for plan in plans]) == pytest.approx(grammar.ADVERB, abs=0.03)


def test_seeds_decide():
    def speak_once(seed):
        rng = np.random.default_rng(seed)
        scene = random_scene(rng, 3)
        plan = draw_plan(scene, rng)
        edits = [edit_caption(scene, plan, kind, rng) for kind in KINDS]
        return plan, speak(scene, plan), edits, [(kind, s.tolist()) for kind, s in edit_states(state_of(scene), rng)]

    assert speak_once(5) == speak_once(5)
    assert speak_once(5)[1] != speak_once(6)[1]


# --- edits ------------------------------------------------------------------------------------------------------------


@settings(max_examples=250)
@given(SCENES, SEEDS, st.sampled_from(FORMS), st.sampled_from(KINDS))
def test_edits_are_false_and_change_one_thing(scene, seed, form, kind):
    rng = np.random.default_rng(seed)
    plan = draw_plan(scene, rng, form, synonyms=0.6)
    caption, edited = speak(scene, plan), edit_caption(scene, plan, kind, rng)
    if edited is None:
        return
    true, false = claim_of(scene, plan), parse(edited)
    assert not Scenes(state_of(scene)[None]).true(false).any()
    assert placements(false), "no state has it"
    before, after = words(caption), words(edited)
    changes = {
        (i, name): (getattr(a, name), getattr(b, name))
        for i, (a, b) in enumerate(zip(true.mentions, false.mentions, strict=False))
        for name in Mention._fields
        if getattr(a, name) != getattr(b, name)
    }
    change, name = kind.split("_")
    if kind == "add_object":
        assert not changes
        assert len(false.mentions) == len(true.mentions) + 1
        assert false.count == (None if form == "partial" else true.count + 1)
    elif change == "swap":
        (first, second) = changes
        assert sorted(caption.replace(",", " ").split()) == sorted(edited.replace(",", " ").split())
        assert first[1] == second[1] == name
        assert changes[first] == changes[second][::-1]
    elif kind == "replace_relation":
        assert not changes
        (a, relation, b), (c, other, d) = *true.relations, *false.relations
        assert (a, b) == (c, d)
        assert relation != other
    else:
        assert {at for _, at in changes} == {"cell" if name == "place" else name}
        assert len(changes) == 1
        assert len(before) == len(after)
        (old, new), *more = [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]]
        assert not more
        assert new in OTHERS[old]


@pytest.mark.parametrize("kind", KINDS)
def test_most_captions_of_two_things_have_edits(kind):
    rng = np.random.default_rng(3)
    scenes, plans, _ = spoken(200, "partial", count=2, mention=1.0)
    had = [edit_caption(s, p, kind, rng) is not None for s, p in zip(scenes, plans, strict=True)]
    assert np.mean(had) > (0.2 if kind == "replace_relation" else 0.6)


def test_edits_that_cannot_be_had():
    rng = np.random.default_rng(0)
    three, one = random_scene(rng, 3), random_scene(rng, 1)
    assert edit_caption(three, draw_plan(three, rng, "dense"), "add_object", rng) is None
    for kind in ("swap_digit", "swap_colour", "replace_relation"):
        assert edit_caption(one, draw_plan(one, rng), kind, rng) is None
    assert edit_caption(three, draw_plan(three, rng, "no_colour"), "replace_colour", rng) is None


@settings(max_examples=50)
@given(SCENES, SEEDS)
def test_edited_states_differ_by_one_edit(scene, seed):
    state = state_of(scene)
    edits = edit_states(state, np.random.default_rng(seed))
    assert len({other.tobytes() for _, other in edits} | {state.tobytes()}) == len(edits) + 1
    # Every single replacement is there, once.
    kinds = Counter(kind for kind, _ in edits)
    things = len(scene)
    assert [kinds[kind] for kind in STATE_KINDS[:4]] == [9 * things, 7 * things, things, (6 - things) * things]
    assert set(kinds) <= set(STATE_KINDS)
    for kind, other in edits:
        cells = np.flatnonzero(other != state)
        after = scene_of(other)
        change, name = kind.split("_")
        assert len(after) == things
        assert len(cells) == (1 if change == "replace" and name != "place" else 2)
        if name == "place":
            assert sorted(state[cells]) == sorted(other[cells])
        else:
            differing = [
                {f for f in Thing._fields if getattr(scene[c], f) != getattr(after[c], f)} for c in cells.tolist()
            ]
            assert all(fields == {name} for fields in differing)
            old, new = ([getattr(s[c], name) for c in cells.tolist()] for s in (scene, after))
            assert change == "replace" or old == new[::-1]


def test_two_things_that_differ_in_place_alone_are_not_swapped():
    thing = Thing(1, 2, 0)
    edits = edit_states(state_of({0: thing, 4: thing}), np.random.default_rng(0))
    assert not {kind for kind, _ in edits} & {kind for kind in STATE_KINDS if kind.startswith("swap")}


# --- what a claim tells -----------------------------------------------------------------------------------------------


def test_features_of_dense_captions_are_the_facts():
    scenes, _, captions = spoken(300, "dense")
    states = np.stack([state_of(scene) for scene in scenes])
    features = claim_features([parse(caption) for caption in captions])
    assert features.shape == (300, CLAIM_DIM)
    assert features.dtype == np.float32
    np.testing.assert_array_equal(features[:, :STATE_DIM], facts(states))
    np.testing.assert_array_equal(features[:, STATE_DIM:], factors(states)["products"])


def test_features_by_hand():
    claim = parse("there is in the top row a red even number left of a large three")
    slots = claim_features([claim])[0, :STATE_DIM].reshape(6, -1)
    # Six placements: four other cells are right of the first, two of the second, none of the third.
    first, second = np.array([4, 2, 0, 0, 0, 0]) / 6, np.array([0, 1, 2, 0, 1, 2]) / 6
    np.testing.assert_allclose(slots[:, 0], first + second, rtol=1e-6)
    np.testing.assert_allclose(slots[:, 1 + 4], first / 5, rtol=1e-6)  # a four
    np.testing.assert_allclose(slots[:, 1 + 3], second, rtol=1e-6)  # the three
    np.testing.assert_allclose(slots[:, 11], first + second / 8, rtol=1e-6)  # red
    np.testing.assert_allclose(slots[:, 20], first / 2 + second, rtol=1e-6)  # large
    products = claim_features([claim])[0, STATE_DIM:].reshape(10, 8)
    assert products[4, 0] == pytest.approx(1 / 5)
    assert products[3, 5] == pytest.approx(1 / 8)
    assert products.sum() == pytest.approx(2)


def test_features_of_a_contradiction_are_those_of_its_mentions():
    claim = parse("imagine a two in the top left and a three in the top left")
    slots = claim_features([claim])[0, :STATE_DIM].reshape(6, -1)
    assert not placements(claim)
    assert slots[0, 0] == 2


def test_relevance_of_captions_has_the_paired_state():
    scenes, plans, captions = spoken(200, "partial")
    states = np.stack([state_of(scene) for scene in scenes])
    assert np.diag(relevance([parse(caption) for caption in captions], states)).all()
    assert set(PLACES) == {"both", "row", "column"}
    assert all(claim_of(s, p).count is None for s, p in zip(scenes, plans, strict=True))
