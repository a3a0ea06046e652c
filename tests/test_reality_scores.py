"""Representations against a drawn world: the oracle and the parser reach their ceilings, noise and bags do not."""

import re
from itertools import permutations, product

import numpy as np
import pandas as pd
import pytest
import states as drawn

from jam.metrics import cka, expected_products
from jam.metrics.kernels.given import gram_of
from jam.metrics.kernels.nulls import deal
from jam.reality.kernels import Known, kernel_rows, without_each
from jam.reality.raw import raw_rows
from jam.reality.representations import Representation, whitened
from jam.reality.shares import BOUND, GAINED, PRECISION, RECALL, common_share, net, score_shares, share_rows
from jam.reality.truth import Truth
from jam.world.build import build_world
from jam.world.ceiling import claim_features
from jam.world.habitats import Habitats, habitats_of
from jam.world.parser import parse
from jam.world.state import bound, factors, facts, kind_of, scene_of
from jam.world.texts import describe

SIZES = {"train": 1500, "val": 400, "test": 400}
WORLD = {"seed": 3, "habitats": 20, "objects": 3, "one_object": 0.08}


@pytest.fixture(scope="module")
def truth():
    habitats, rng = habitats_of(**WORLD), np.random.default_rng(0)
    states = {split: habitats.draw(n, rng)[0] for split, n in SIZES.items()}
    ids = {split: np.array([f"{split}-{i}" for i in range(n)], object) for split, n in SIZES.items()}
    return Truth.of(ids, states, habitats, {})


@pytest.fixture(scope="module")
def told(truth):
    """By split two captions of each item."""
    rng = np.random.default_rng(1)
    speech = {"mention": 0.85, "synonyms": 0.85}
    return {
        split: [[text for text, _ in describe(scene_of(state), 2, rng, **speech)] for state in states]
        for split, states in truth.states.items()
    }


def representation(name, features, modality="image", second=None, **more):
    what = {"x": name, "x_layer": 0, "family": "control", "checkpoint": None, "condition": ["best"], **more}
    return Representation({**what, "modality": modality}, modality, features, second)


def oracle(truth):
    return {split: np.concatenate([facts(s), bound(s)], axis=1) for split, s in truth.states.items()}


def noise(d, seed=0):
    rng = np.random.default_rng(seed)
    return {split: rng.standard_normal((n, d)) for split, n in SIZES.items()}


def scored(truth, name, features, **more):
    return score_shares(representation(name, features, **more), truth, 200, 0)


def value(of, metric, name=None):
    return of.shares[metric, name].value


# --- the world's own expectation


def test_the_stage_and_the_world_draw_the_same_habitats():
    sizes = dict.fromkeys(("pretrain_images", "pretrain_text", "train", "val", "test"), 4)
    rest = {"captions": 2, "fine": 0, "edits": 1, "synonyms": 0.9, "mention": 0.9, "nuisance": 1.0}
    built, again = build_world(**sizes, **rest, **WORLD).habitats, habitats_of(**WORLD)
    for name in ("weight", "count", "cell", "kind"):
        assert np.array_equal(getattr(built, name), getattr(again, name))


def test_expected_products_are_means_over_all_states_of_the_same_bag(truth):
    habitats = truth.habitats
    for state in truth.states["test"][:12]:
        things = list(scene_of(state).values())
        cells = np.flatnonzero(state)
        parts = [sorted(set(permutations([thing[i] for thing in things]))) for i in range(3)]
        same = set()
        for values in product(*parts):
            kinds = kind_of(*(np.array(value) for value in values))
            for order in permutations(kinds.tolist()):
                other = np.zeros(6, np.uint8)
                other[cells] = 1 + np.array(order)
                same.add(tuple(other.tolist()))
        same = np.array(sorted(same), np.uint8)
        p = np.exp(habitats.log_likelihood(same)) @ habitats.weight
        expected = p @ factors(same)["products"] / p.sum()
        assert habitats.expected_products(state[None])[0] == pytest.approx(expected, abs=1e-12)


def test_without_statistics_nothing_but_the_bag_is_expected():
    habitats = Habitats.drawn(0, 3, 0.08, np.random.default_rng(0))
    states = habitats.draw(300, np.random.default_rng(1))[0]
    known = factors(states)
    assert habitats.expected_products(states) == pytest.approx(expected_products(known["digits"], known["colours"]))


# --- known answers


def test_the_oracle_reaches_its_ceilings_and_noise_none(truth):
    best, nothing = scored(truth, "oracle", oracle(truth)), scored(truth, "noise", noise(64), family="labels")
    for name in ("presence", "digit", "colour", "size", "digits", "colours"):
        assert value(best, RECALL, name) > 0.97
    assert 0.3 < value(best, RECALL, "count") < 0.7  # no linear function of what stands where
    assert value(best, PRECISION) > 0.97
    assert value(best, BOUND, "strict") > 0.5  # many products, few rows
    for name, share in nothing.shares.items():
        assert abs(share.value) < 0.02, name
        assert nothing.chance[name] < 0.05
    table = pd.DataFrame(share_rows([best, nothing], {"image": best}, {}, 100, 0))
    top = table[(table["x"] == "oracle") & (table["metric"] != PRECISION)]
    assert (top["value"] == top["ceiling"]).all()
    assert (table["n"] == SIZES["test"]).all()
    assert (table["low"] <= table["value"]).all()


def test_a_blind_oracle_is_caught_by_factor(truth):
    blind = scored(truth, "blind", {split: drawn.blind(facts(s)) for split, s in truth.states.items()})
    assert value(blind, RECALL, "digit") < 0.25
    assert value(blind, RECALL, "colour") > 0.97


def test_a_bag_binds_nothing_however_it_is_mixed(truth):
    rng = np.random.default_rng(0)
    mix = rng.standard_normal((18, 200))
    bags = {split: drawn.bag(found) for split, found in truth.factors.items()}
    plain = scored(truth, "bag", bags)
    mixed = scored(truth, "mixed", {split: np.maximum(rows @ mix, 0) for split, rows in bags.items()})
    knowing = {split: np.hstack([rows, truth.factors[split]["expected"]]) for split, rows in bags.items()}
    assert value(plain, BOUND, "linear") == value(plain, BOUND, "strict") == 0
    assert value(mixed, BOUND, "linear") > 0.1
    assert abs(value(mixed, BOUND, "strict")) < 0.02
    known = scored(truth, "knowing", knowing)
    assert value(known, BOUND, "linear") > 0.2
    assert value(known, BOUND, "strict") == 0


def test_the_parser_bounds_the_bag_of_words_and_binds(truth, told):
    first = {split: [texts[0] for texts in some] for split, some in told.items()}
    words = sorted({word for text in first["train"] for word in re.findall(r"\w+", text)})
    place = {word: i for i, word in enumerate(words)}

    def counted(texts):
        found = np.zeros((len(texts), len(words)))
        for row, text in enumerate(texts):
            for word in re.findall(r"\w+", text):
                if word in place:
                    found[row, place[word]] += 1
        return found

    bag = scored(truth, "bag_of_words", {split: counted(texts) for split, texts in first.items()}, modality="text")
    claims = {split: claim_features([parse(text) for text in texts]) for split, texts in first.items()}
    parser = scored(truth, "parser", claims, modality="text")
    for name in ("presence", "digit", "colour", "size", "mean"):
        assert value(parser, RECALL, name) > value(bag, RECALL, name) + 0.02
    assert abs(value(bag, BOUND, "strict")) < 0.02
    assert parser.shares[BOUND, "strict"].low > 0.03


def test_gains_are_paired_with_the_same_net_and_layer(truth):
    state = {split: facts(s) for split, s in truth.states.items()}
    less = {split: rows[:, :40] for split, rows in state.items()}
    after = scored(truth, "a", state, checkpoint=100)
    before = scored(truth, "a", less, checkpoint=0)
    other, seed = scored(truth, "b", state), scored(truth, "a", state, seed=1)
    rows = pd.DataFrame(share_rows([after, before, other, seed], {}, {net(before): before}, 100, 0))
    gains = rows[rows["against"] == "init"]
    assert len(gains) == len(GAINED)
    assert set(gains["checkpoint"]) == {100}
    found = gains.set_index(["metric", "label"]).loc[(RECALL, "mean")]
    assert found["value"] == pytest.approx(value(after, RECALL, "mean") - value(before, RECALL, "mean"))
    assert 0 < found["low"] < found["high"]


def test_views_that_share_half_of_their_variance_say_so():
    rng = np.random.default_rng(0)
    shared = rng.standard_normal((4000, 8))
    views = [3 + shared + rng.standard_normal(shared.shape) for _ in range(2)]
    assert common_share(*views) == pytest.approx(0.5, abs=0.03)
    assert common_share(shared, shared) == pytest.approx(1)


def test_whitened_directions_have_unit_variance_and_hold_nearly_all(truth):
    x = {split: rows * np.logspace(0, -4, 12) for split, rows in noise(12).items()}
    found = whitened(representation("a", x), {"condition": ["whitened"]})
    assert found.features["train"].shape[1] < 6
    assert np.cov(found.features["train"].T, bias=True) == pytest.approx(np.eye(found.features["train"].shape[1]))
    assert found.told["condition"] == ["whitened"]


# --- kernels


def test_the_oracles_kernel_is_that_of_reality_and_the_worlds_own_is_its_own(truth):
    counts = {split: truth.factors[split]["count"] for split in SIZES}
    test = oracle(truth)
    rows = pd.DataFrame(kernel_rows(representation("oracle", test, second=test["test"]), Known(truth), 19, 5, 0))
    rows = rows.set_index(rows["metric"] + rows["label"].fillna("") + rows["held"].fillna(""))
    for name in ("reality_kernel", "reality_kernelcount"):
        assert rows.loc[name, "value"] > 0.98
        assert rows.loc[name, "ceiling"] == pytest.approx(1)
    assert rows.loc["pmi_kernel", "low"] > rows.loc["pmi_kernel", "null"] > 0
    own = truth.habitats.pmi()
    values, vectors = np.linalg.eigh(own)
    root = vectors[:, values > 0] * np.sqrt(values[values > 0])
    made = {}
    for split, states in truth.states.items():
        kinds = np.zeros((len(states), 161))
        np.add.at(kinds, (np.arange(len(states))[:, None], states), 1)
        made[split] = kinds[:, 1:] @ root / np.count_nonzero(states, axis=1)[:, None]
    known = pd.DataFrame(kernel_rows(representation("pmi", made), Known(truth), 19, 5, 0))
    assert known.loc[(known["metric"] == "pmi_kernel"), "value"].min() > 0.9
    trivial = pd.DataFrame(kernel_rows(representation("count", _noisy(counts)), Known(truth), 19, 5, 0))
    plain, held = (trivial.loc[(trivial["metric"] == "reality_kernel") & here, "value"].item()
                   for here in (trivial["held"].isna(), trivial["held"] == "count"))  # fmt: skip
    assert plain > 0.3
    assert abs(held) < 0.1


def _noisy(features):
    rng = np.random.default_rng(0)
    return {split: rows + 0.1 * rng.standard_normal(rows.shape) for split, rows in features.items()}


def test_leaving_out_folds_by_sums_is_leaving_out_rows():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((60, 5)), rng.standard_normal((60, 4))
    y[:, :3] += x[:, :3]
    fold = deal(60, 7, 0)
    zero = 0 * gram_of(y, "y")
    found = without_each(gram_of(x, "x"), {("a", None): gram_of(y, "y"), ("b", None): zero}, fold)
    expected = [cka(x[fold != one], y[fold != one]) for one in range(7)]
    assert found["a", None] == pytest.approx(expected, abs=1e-10)
    assert (found["b", None] == 0).all()


def test_what_is_trivial_is_held_constant_in_raw_alignment(truth):
    counts = {split: truth.factors[split]["count"] for split in SIZES}
    images = representation("image", _noisy(counts), checkpoint=0)
    texts = representation("text", {split: rows + 0.1 * noise(3, 5)[split] for split, rows in counts.items()}, "text")
    options = {"k": 5, "permutations": 19, "folds": 5, "seed": 0}
    rows = pd.DataFrame(raw_rows([images], [texts], truth, options))
    by = rows.set_index(["metric", rows["held"].fillna("")])["value"]
    assert by["unbiased_cka", ""] > 0.8
    assert abs(by["unbiased_cka", "count"]) < 0.05
    assert set(rows["checkpoint"]) == {0}
    assert set(rows["y"]) == {"text"}


def test_a_world_without_statistics_has_no_kernel_of_its_own(truth):
    uniform = Truth.of(truth.ids, truth.states, Habitats.drawn(0, 3, 0.08, np.random.default_rng(0)), {})
    assert uniform.pmi is None
    assert truth.pmi is not None
    rows = kernel_rows(representation("oracle", oracle(uniform)), Known(uniform), permutations=20, folds=5, seed=0)
    assert {row["metric"] for row in rows} == {"reality_kernel", "factor_cka"}
