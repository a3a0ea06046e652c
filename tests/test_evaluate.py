"""Scoring adapters: outcomes against plain loops, intervals that hold what they should."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import torch

from jam.align import Adapter
from jam.align.items import Items, SideRows
from jam.align.towers import Linear
from jam.evaluation.scores import RELATION, Key, PerRow, chance_of_recall, evaluate, fine_recall, summarise

PAIR = [("image", "text")]


def identity_adapter(dim):
    adapter = Adapter("linear", dim, dim)
    adapter.tower = Linear.from_matrix(torch.eye(dim))
    return adapter


@pytest.fixture
def case():
    """Three images on the axes; captions near their own image, and negatives at known places."""
    images = np.eye(3, dtype=np.float32)
    texts = np.array(
        [[1, 0.1, 0], [0.1, 1, 0], [0.2, 0, 1], [0, 1, 0.1], [1, 0, 0], [0, 0.1, 1], [0, 0, 1]], dtype=np.float32
    )
    captions = np.array([[0, -1], [1, 3], [2, -1]])
    none = np.empty((3, 0), dtype=np.int64)
    items = Items({"image": SideRows(images, np.arange(3)[:, None], none), "text": SideRows(texts, captions, none)})
    negatives = pd.DataFrame(
        [(0, 4, 0, "replace_object", "hard"), (1, 5, 1, "swap_attribute", "hard"), (2, 4, 2, "scene", "easy")],
        columns=["item", "row", "true_row", "kind", "tier"],
    )
    return items, {"text": negatives}


def test_the_chance_of_a_recall_is_that_of_all_draws():
    """Counted over every choice of k out of n."""
    for n, right, k in ((6, 1, 1), (6, 2, 3), (6, 5, 2), (6, 3, 6), (4, 1, 10)):
        drawn = list(combinations(range(n), min(k, n)))
        expected = np.mean([min(choice) < right for choice in drawn])
        assert chance_of_recall(np.array([right]), n, k)[0] == pytest.approx(expected)


def test_outcomes_are_those_of_a_plain_reading(case):
    items, negatives = case
    outcomes = evaluate({"image": identity_adapter(3), "text": identity_adapter(3)}, items, PAIR, negatives, k=1)

    def of(metric, **columns):
        return outcomes[Key(metric, "image", "text", **columns)]

    assert of("recall", direction="x_to_y", k=1).values.tolist() == [True, True, True]
    assert of("recall", direction="y_to_x", k=1).values.tolist() == [True] * 4
    assert of("recall", direction="y_to_x", k=1).item.tolist() == [0, 1, 1, 2]
    assert of("recall", direction="x_to_y", k=1).chance == pytest.approx((1 + 2 + 1) / 4 / 3)  # of four captions
    assert of("recall", direction="y_to_x", k=1).chance == pytest.approx(1 / 3)
    table = summarise({0: outcomes}, 3, 10)
    assert table[table["null_mean"].notna()]["metric"].unique().tolist() == ["recall"]
    assert table[table["null_mean"].notna()]["seed"].isna().all()
    # image 0 prefers the false sentence (1, 0, 0) to its caption (1, .1, 0)
    assert of("hard_negatives", tier="hard").values.tolist() == [False, True]
    assert of("hard_negatives", kind="replace_object").values.tolist() == [False]
    assert of("hard_negatives", tier="easy").values.tolist() == [True]
    unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)  # noqa: E731
    first = unit(items.sides["text"].table[[0, 1, 2]])
    assert of("alignment") == pytest.approx(np.mean(np.sum((np.eye(3) - first) ** 2, axis=1)))
    assert Key("reconstruction_r2", "image") not in outcomes  # a linear adapter has no decoder
    # of three orthogonal images the two others tie for the one place: each counts half, before and after
    assert outcomes[Key("preservation", "image", k=1)].values.tolist() == [0.5] * 3


def test_two_sides_of_several_views_each_count_every_view_of_the_item_as_right(case):
    """The same captions on both sides: any of an item's is a right answer, and finds itself first."""
    items, negatives = case
    both = Items({"one": items.sides["text"], "two": items.sides["text"]})
    adapters = {name: identity_adapter(3) for name in both.sides}
    outcomes = evaluate(adapters, both, [("one", "two")], {"two": negatives["text"]}, k=1)
    for direction in ("x_to_y", "y_to_x"):
        found = outcomes[Key("recall", "one", "two", direction, 1)]
        assert found.values.tolist() == [True] * 4
        assert found.item.tolist() == [0, 1, 1, 2]
    assert outcomes[Key("alignment", "one", "two")] == 0
    assert outcomes[Key("hard_negatives", "one", "two", tier="hard")].values.all()


def test_a_mean_weighs_observations_and_its_interval_resamples_images():
    outcome = PerRow(np.array([1.0, 0.0, 0.0, 0.0]), np.array([0, 1, 1, 1]))
    table = summarise({0: {Key("m", "x"): outcome}}, n=2, resamples=4000)
    mean = table[table["seed"].isna()].iloc[0]
    assert mean["value"] == 0.25
    # Draws of two images: (0,0) → 1, (0,1) → 1/4, (1,1) → 0; quantiles at 2.5 and 97.5 % are the extremes.
    assert (mean["low"], mean["high"]) == (0.0, 1.0)
    assert mean["interval"] == "bootstrap over items"


def test_intervals_of_shares_are_of_each_seeds_own_number_of_observations():
    """Two seeds with the same share of another number of observations: the interval is about it, with either first."""
    rng, items = np.random.default_rng(0), np.arange(200)
    one, other = (PerRow((rng.random(200 * m) < 0.5).astype(float), np.repeat(items, m)) for m in (1, 5))
    middle = (one.values.mean() + other.values.mean()) / 2
    key = Key("misplaced", "image")
    for both in ([one, other], [other, one]):
        table = summarise({seed: {key: outcome} for seed, outcome in enumerate(both)}, 200, 400)
        assert table["n"].tolist() == [*(len(outcome.values) for outcome in both), 200]
        mean = table.iloc[-1]
        assert mean["value"] == pytest.approx(middle)
        assert mean["low"] < middle < mean["high"] < mean["low"] + 0.2
    silent = PerRow(one.values[:1], items[:1])  # says a thing of one item alone: draws without it tell nothing of it
    assert np.isfinite(summarise({0: {key: one}, 1: {key: silent}}, 200, 400).iloc[-1][["low", "high"]].tolist()).all()


def test_the_interval_covers_seeds_and_images_and_shrinks_with_their_number():
    rng = np.random.default_rng(0)

    def width(seeds, n):
        runs = {s: {Key("m", "x"): PerRow(rng.random(n) < 0.5, np.arange(n))} for s in range(seeds)}
        mean = summarise(runs, n=n, resamples=500).query("seed.isna()").iloc[0]
        assert mean["low"] < mean["value"] < mean["high"]
        return mean["high"] - mean["low"]

    assert width(3, 4000) < 0.5 * width(3, 400)


def test_metrics_without_rows_have_a_t_interval_over_seeds():
    table = summarise({s: {Key("gap", "x"): value} for s, value in enumerate([1.0, 2.0, 3.0])}, n=5, resamples=10)
    mean = table[table["seed"].isna()].iloc[0]
    assert mean["value"] == 2
    assert mean["high"] - 2 == pytest.approx(4.302653 / np.sqrt(3), rel=1e-5)  # t(.975, 2) · s / √n
    assert table[table["seed"].notna()]["value"].tolist() == [1, 2, 3]


def test_true_answers_count_where_they_are_known(case):
    items, negatives = case
    adapters = {"image": identity_adapter(3), "text": identity_adapter(3)}
    true = np.array([[1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1]], bool)  # images × captions in the order of `flat`
    told = {PAIR[0]: true}
    own = evaluate(adapters, items, PAIR, negatives, k=1, relevant=told)
    assert own[Key("true_recall", "image", "text", "x_to_y", 1)].values.tolist() == [True] * 3
    swapped = evaluate(adapters, items, PAIR, negatives, k=1, relevant={PAIR[0]: true[[1, 0, 2]]})
    hits = swapped[Key("true_recall", "image", "text", "y_to_x", 1)]
    assert hits.values.tolist() == [False, False, False, True]
    assert hits.item.tolist() == [0, 1, 1, 2]
    assert swapped[Key("average_precision", "image", "text", "y_to_x")].values.tolist()[3] == 1
    assert not [key for key in evaluate(adapters, items, PAIR, negatives, k=1) if key.metric == "true_recall"]


def test_each_of_the_fine_gallery_is_sought_within_its_group():
    rng = np.random.default_rng(0)
    states = rng.standard_normal((12, 6)).astype(np.float32)
    rows, none = np.arange(12)[:, None], np.empty((12, 0), np.int64)
    group, scene = np.repeat([0, 1, 2], 4), np.array([5, 0, 7])
    adapters = {"image": identity_adapter(6), "text": identity_adapter(6)}

    def found(texts):
        items = Items({"image": SideRows(states, rows, none), "text": SideRows(texts, rows, none)})
        return fine_recall(adapters, items, group, scene, PAIR)[Key("fine_recall", "image", "text", "x_to_y", 1)]

    oracle = found(states)
    assert oracle.values.all()
    assert oracle.item.tolist() == [5] * 4 + [0] * 4 + [7] * 4
    assert oracle.chance == 0.25
    blind = states.copy()
    blind[[0, 1]] = states[[1, 0]]  # two of group 0 are taken for each other
    assert found(blind).values.tolist() == [False, False] + [True] * 10
    assert not found(np.ones_like(states)).values.any()


def test_a_tier_is_the_mean_of_its_kinds_and_relations_stand_apart(case):
    items, _ = case
    lines = [(0, 4, 0, "a", "hard"), (1, 5, 1, "b", "hard"), (1, 6, 1, "b", "hard"), (2, 4, 2, RELATION, "hard")]
    negatives = {"text": pd.DataFrame(lines, columns=["item", "row", "true_row", "kind", "tier"])}
    outcomes = evaluate({"image": identity_adapter(3), "text": identity_adapter(3)}, items, PAIR, negatives, k=1)
    by_kind = {kind: outcomes[Key("hard_negatives", "image", "text", kind=kind)].values.mean() for kind in "ab"}
    assert outcomes[Key("hard_negatives", "image", "text", tier="hard")].values.mean() == sum(by_kind.values()) / 2
    assert by_kind == {"a": 0, "b": 1}


def test_items_of_one_unit_are_one_draw():
    rng = np.random.default_rng(0)
    values = np.repeat(rng.random(50) < 0.5, 20).astype(float)
    runs = {0: {Key("recall", "a", "b"): PerRow(values, np.arange(1000))}}
    width = {
        name: summarise(runs, 1000, 2000, units=units).iloc[-1][["low", "high"]].diff().iloc[-1]
        for name, units in (("items", None), ("units", np.repeat(np.arange(50), 20)))
    }
    assert width["units"] / width["items"] == pytest.approx(20**0.5, rel=0.1)
