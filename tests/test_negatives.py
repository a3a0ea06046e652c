"""Rule-made hard negatives: never a true caption, swaps keep the words, the same seed gives the same sentences."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jam.sources.lexicon import LEXICON, alternatives
from jam.sources.negatives import KINDS, hard_negatives, same_words

KNOWN = sorted(" ".join(words) for words in LEXICON)
PLAIN = [
    *("a", "an", "the", "and", "or", "in", "on", "at", "with", "of", "is", "are", "holding", "next", "to", "his"),
    *("A", "The", "An", "Two", "I", "running", "quietly"),
]
MARKS = st.sampled_from([" ", " ", " ", ", ", " . ", "-", "  "])
CAPTION = st.builds(
    lambda words, marks: "".join(word + mark for word, mark in zip(words, marks, strict=False)),
    st.lists(st.sampled_from(KNOWN + PLAIN * 8), min_size=1, max_size=14),
    st.lists(MARKS, min_size=14, max_size=14),
)
CAPTIONS = st.lists(CAPTION | st.text(max_size=30), min_size=1, max_size=4)
SWAPS = ("swap_attribute", "swap_object", "word_order")


def pieces(words):
    """Words cut at hyphens, where an article that changed with what follows it is one and the same."""
    return ["a" if piece == "an" else piece for word in words for piece in word.split("-")]


def made(caption, kind, seeds=range(40)):
    """Every sentence of one kind that some seed makes of a caption."""
    found = (negative for seed in seeds for negative in hard_negatives([caption], per_caption=5, seed=seed))
    return {negative["text"] for negative in found if negative["kind"] == kind}


@given(captions=CAPTIONS, per_caption=st.integers(1, 5), seed=st.integers(0, 1000))
def test_a_negative_is_never_a_true_caption_and_swaps_keep_the_words(captions, per_caption, seed):
    negatives = hard_negatives(captions, per_caption=per_caption, seed=seed)
    assert negatives == hard_negatives(captions, per_caption=per_caption, seed=seed)
    true = {same_words(caption) for caption in captions}
    texts = [same_words(negative["text"]) for negative in negatives]
    assert not true & set(texts)
    assert len(set(texts)) == len(texts)
    assert max(Counter(negative["of"] for negative in negatives).values(), default=0) <= per_caption
    assert len({(negative["of"], negative["kind"]) for negative in negatives}) == len(negatives)
    for negative in negatives:
        assert negative["kind"] in KINDS
        assert negative["tier"] == "hard"
        before, after = (same_words(text) for text in (captions[negative["of"]], negative["text"]))
        if negative["kind"] in SWAPS:
            assert Counter(pieces(after)) == Counter(pieces(before))
        else:
            assert sum((Counter(before) - Counter(after)).values()) <= 2  # the longest compound


@given(captions=CAPTIONS, seed=st.integers(0, 1000))
def test_only_a_caption_without_another_order_of_words_gives_none(captions, seed):
    given_one = {negative["of"] for negative in hard_negatives(captions, per_caption=1, seed=seed)}
    for of, caption in enumerate(captions):
        words = same_words(caption)
        if len(set(words)) < 2 and not any((word,) in LEXICON for word in words):
            assert of not in given_one
        if len(captions) == 1 and len(set(words)) > 1:
            assert of in given_one


@pytest.mark.parametrize(
    ("caption", "kind", "expected"),
    [
        ("A blue car and a red bus.", "swap_attribute", {"A red car and a blue bus."}),
        ("An orange ball hits a red car", "swap_attribute", {"A red ball hits an orange car"}),
        ("two men watch three dogs", "swap_attribute", {"three men watch two dogs"}),
        ("BLACK CAT CHASES WHITE DOG", "swap_attribute", {"WHITE CAT CHASES BLACK DOG"}),
        ("a black and white dog", "swap_attribute", set()),  # says the same
        ("TV of a dog", "swap_object", {"dog of a TV"}),
        ("The tractor faces a TV.", "swap_object", {"The TV faces a tractor."}),
        ("a small TV", "replace_attribute", {"a big TV", "a large TV", "a huge TV", "a giant TV"}),
        ("the red car and the blue car", "swap_attribute", set()),
        ("a red car hits a blue car", "swap_attribute", {"a blue car hits a red car"}),
        ("a small red ball", "swap_attribute", set()),  # of one thing
        ("two men near a red car", "swap_attribute", set()),  # a number is no colour
        ("a tall girl dressed in red", "swap_attribute", set()),
        ("A dog holds an apple", "swap_object", {"An apple holds a dog"}),
        ("a man and a woman", "swap_object", set()),
        ("a cat next to the dog", "swap_object", set()),
        ("two dogs chase a man", "swap_object", set()),  # would not agree in number
        ("a guy looks at a man", "swap_object", set()),  # near-synonyms
        ("the hot dog lies under the teddy bear", "swap_object", {"the teddy bear lies under the hot dog"}),
        ("a boy", "replace_object", {"a girl"}),
        ("Women", "replace_object", {"Men", "Guys", "Gentlemen"}),
        ("a woman and her bag of snow", "replace_attribute", set()),
        ("a long way", "replace_attribute", {"a short way"}),
        ("an old way", "replace_attribute", {"a young way"}),
        ("quietly", "word_order", set()),
        ("very very", "word_order", set()),
        ("Hello there", "word_order", {"There hello"}),
    ],
)
def test_what_each_rule_makes(caption, kind, expected):
    assert made(caption, kind) == expected


def test_word_order_exchanges_noun_phrases_where_there_are_two():
    for seed in range(10):
        *_, last = hard_negatives(["A dog with spots under the old bench"], per_caption=5, seed=seed)
        assert (last["kind"], last["text"]) == ("word_order", "The old bench with spots under a dog")


def test_a_word_that_agrees_with_any_caption_is_not_put_in():
    captions = ["a boy holds a red ball", "a girl", "a blue crimson green yellow violet pink tan black grey thing"]
    made_of = [hard_negatives(captions, per_caption=5, seed=seed) for seed in range(60)]
    words = {word for negatives in made_of for n in negatives if n["of"] == 0 for word in n["text"].split()}
    assert words >= {"white", "orange"}
    assert not words & {"girl", "blue", "purple", "brown", "gray"}


def test_a_pronoun_keeps_its_person():
    assert not any("woman" in text or "lady" in text for text in made("a man and his dog", "replace_object"))


def test_word_order_is_taken_only_when_no_other_rule_fires():
    for caption, per_caption, kind in (("a boy", 1, "replace_object"), ("it goes on", 3, "word_order")):
        for seed in range(30):
            assert [n["kind"] for n in hard_negatives([caption], per_caption=per_caption, seed=seed)] == [kind]


def test_seeds_differ_and_a_wrong_number_is_refused():
    assert len(made("A red car is on the street behind two dogs", "replace_attribute")) > 5
    with pytest.raises(ValueError, match="per_caption: got 0"):
        hard_negatives(["a"], per_caption=0, seed=0)


def test_the_lexicon_excludes_synonyms_and_keeps_the_form():
    for entry in LEXICON.values():
        for other in alternatives(entry):
            assert other.family == entry.family
            assert other.form == entry.form
            assert other.words != entry.words
    assert {" ".join(other.words) for other in alternatives(LEXICON[("kids",)])} == {"adults"}
    assert ("bicycle",) not in {other.words for other in alternatives(LEXICON[("bike",)])}
    assert alternatives(LEXICON[("people",)]) == []
