"""Gains with a reference: planted and none, their intervals, their controls, and what ablated words teach."""

import numpy as np
import pytest
import torch
from test_train import OBJECTIVES, training
from test_world_text import spoken

from jam.align.adapter import Adapter
from jam.align.items import Items, SideRows
from jam.align.train import train
from jam.errors import InputError
from jam.metrics.intervals import t_interval
from jam.metrics.kernels import mutual_knn
from jam.metrics.kernels.nulls import deal, jackknife_interval
from jam.params import Tower, load_params
from jam.reference.ablation import WITH, WITHOUT, ablation_rows, first_views, over_seeds_and_items, told, without
from jam.reference.controls import (
    CONTROLS,
    FROZEN,
    SHUFFLED,
    autoencoder,
    principal,
    random_map,
    shuffled,
    whitened,
)
from jam.reference.gains import Aligned, alignments, gain_rows, over_seeds_and_folds
from jam.reference.scoring import Distinct, scored
from jam.report.reference_figures import reference
from jam.report.reference_tables import ablation_table, control_table, gain_table
from jam.results import results_table, select
from jam.world.parser import parse
from jam.world.sentence import article
from jam.world.state import COLOURS

METRICS, SEEDS, NOISE = ("mutual_knn", "unbiased_cka"), (0, 1, 2), 3.0


def views(state, seed):
    """Images that are mostly about something of their own, and texts that are about the state."""
    maps, rng = np.random.default_rng(0), np.random.default_rng(seed)
    own = rng.normal(size=(len(state), 10)) * NOISE
    images = np.concatenate([state, own], axis=1) @ maps.normal(size=(state.shape[1] + 10, 24))
    texts = state @ maps.normal(size=(state.shape[1], 12)) + 0.1 * rng.normal(size=(len(state), 12))
    return images.astype(np.float32), texts.astype(np.float32)


def paired(images, texts):
    none, rows = np.empty((len(images), 0), int), np.arange(len(images))[:, None]
    return Items({"image": SideRows(images, rows, none), "text": SideRows(texts, rows, none)})


def drawn(n, seed, d=6):
    state = np.random.default_rng(seed).normal(size=(n, d))
    return state, paired(*views(state, seed))


@pytest.fixture(scope="module")
def rows():
    """Gains of a space that learns to leave out what images have of their own, and of one on shuffled pairs."""
    (_, items), (val_state, val), (state, test) = drawn(600, 1), drawn(200, 2), drawn(200, 3)
    tower = Tower(hidden=(16,), dropout=0.0, learning_rate=0.01)
    schedule = training(whitening=[0.1])

    def fitted(some, seed):
        return train(some, val, OBJECTIVES["linear"], schedule, seed=seed)["image"].adapter

    own = [fitted(items, seed) for seed in SEEDS]
    images = items.sides["image"].table
    maps = {
        "": own,
        "whitened": [whitened(own[0])],
        "pca": [principal(images, 8)],
        "random": [random_map(own[0], seed) for seed in SEEDS],
        "autoencoder": [autoencoder(images, val.sides["image"].table, 8, tower, schedule, s) for s in SEEDS],
        SHUFFLED: [fitted(shuffled(items, "text", seed), seed) for seed in SEEDS],
    }
    before = val.sides["image"].table, test.sides["image"].table
    distinct = Distinct()
    numbers = {FROZEN: [distinct.add(before)]}
    numbers |= {name: [distinct.add(tuple(map(one.encode, before))) for one in some] for name, some in maps.items()}
    # What the reference sees is the state, turned, with noise of its own.
    turn = np.linalg.qr(np.random.default_rng(4).normal(size=(6, 6)))[0]
    references = [(val_state @ turn, state @ turn)]
    parts = [scored(some, references, METRICS, 10, deal(200, 5, 0)) for some in distinct.chunks()]
    of_val, of_test = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    of = [{name: table[some] for name, some in numbers.items()} for table in (of_test, of_val)]

    def told(space, moved):
        return list(gain_rows(Aligned({"subject": space, "x": "image"}, *moved), METRICS, ["encoder"], 10, SEEDS, 200))

    none = [{**one, "": one[SHUFFLED]} for one in of]  # as if the space itself had been trained on shuffled pairs
    return results_table("reference", told("linear", of) + told("none", none))


def test_a_planted_gain_is_found_beyond_all_controls(rows):
    found = select(rows, subject="linear", condition="beyond")
    assert set(found["against"]) == set(CONTROLS) - {FROZEN}
    assert (found["low"] > 0).all()
    best = select(rows, subject="linear", condition="beyond_best")
    assert len(best) == len(METRICS)
    assert (best["low"] > 0.02).all()


def test_shuffled_pairs_gain_nothing(rows):
    best = select(rows, subject="none", condition="beyond_best")
    assert (best["low"] <= 0).all()
    assert (select(rows, subject="none", condition="beyond", against=SHUFFLED)["value"] == 0).all()


def test_gains_add_up_and_the_best_control_is_named(rows):
    mine = select(rows, subject="linear", metric="mutual_knn")

    def value(**where):
        return select(mine, seed=None, **where)["value"].item()

    gain = value(condition="gain")
    assert gain == pytest.approx(value(condition="aligned") - value(condition="frozen"))
    assert select(mine, condition="gain", seed=SEEDS)["value"].mean() == pytest.approx(gain)
    best = select(mine, condition="beyond_best").iloc[0]
    by_best = 0.0 if best["against"] == FROZEN else value(condition="control", against=best["against"])
    assert best["value"] == pytest.approx(gain - by_best)
    assert select(mine, condition="beyond", against="pca")["k"].item() == 10


def test_figure_and_tables_hold_what_the_rows_say(rows):
    table = gain_table(rows, "encoder")
    assert table.startswith("| gain with the reference encoder beyond the best control | linear, Con | none |")
    assert "gain by shuffled pairs" in control_table(rows)
    assert gain_table(rows, "state").count("\n") == 1  # nothing is known of it
    axis = reference(rows).axes[0]
    lines = [tuple(line.get_xdata()) for line in axis.lines]
    best = select(rows, subject="linear", condition="beyond_best").iloc[0]
    assert (best["low"], best["high"]) in lines
    assert (best["value"],) in lines


def test_an_interval_is_that_of_either_level_where_the_other_does_not_vary():
    parts = np.array([[0.5, 0.4, 0.6, 0.5, 0.7]])
    one = jackknife_interval(0.5, parts[0, 1:])
    assert over_seeds_and_folds(parts) == pytest.approx((0.5, one.low, one.high))
    seeds = np.array([0.1, 0.3, 0.2])
    found = over_seeds_and_folds(np.repeat(seeds[:, None], 5, axis=1))
    assert found[1:] == pytest.approx(t_interval(seeds))
    assert over_seeds_and_folds(np.full((2, 4), 0.3)) == pytest.approx((0.3, 0.3, 0.3))


@pytest.mark.parametrize("of_seeds", [0.0, 0.05, 0.3])
def test_an_interval_over_both_levels_holds_the_truth_as_often_as_it_says(of_seeds):
    """Of a mean, in 600 draws of five seeds and 100 items, ten folds of which are left out in turn."""
    rng = np.random.default_rng(0)
    held = []
    for _ in range(600):
        rows = of_seeds * rng.normal(size=(5, 1)) + rng.normal(size=100) + 0.3 * rng.normal(size=(5, 100))
        left = (rows.sum(axis=1, keepdims=True) - rows.reshape(5, 10, 10).sum(axis=2)) / 90
        found = over_seeds_and_folds(np.concatenate([rows.mean(axis=1, keepdims=True), left], axis=1))
        held.append(found.low < 0 < found.high)
    assert 0.92 <= np.mean(held) <= 0.98


def test_alignments_are_those_of_the_metric_with_and_without_each_fold():
    rng = np.random.default_rng(0)
    xs, reference = [rng.normal(size=(60, 5)), rng.normal(size=(60, 3))], rng.normal(size=(60, 4))
    fold = deal(60, 3, 0)
    found = alignments(xs, [reference], ("mutual_knn",), 5, fold)
    assert found.shape == (2, 1, 1, 4)
    assert found[1, 0, 0, 0] == pytest.approx(mutual_knn(xs[1], reference, 5))
    kept = fold != 1
    assert found[0, 0, 0, 2] == pytest.approx(mutual_knn(xs[0][kept], reference[kept], 5))


def test_equal_representations_are_scored_once():
    distinct, one = Distinct(), (np.eye(3), np.eye(4))
    assert [distinct.add(one), distinct.add((np.eye(3), np.ones((4, 4)))), distinct.add(one)] == [0, 1, 0]
    assert len(distinct.rows) == 2


# --- controls ---------------------------------------------------------------------------------------------------------


def test_shuffling_moves_one_side_alone_with_its_false_views():
    rows = np.arange(8)[:, None]
    own = SideRows(np.eye(16), rows, rows + 8, rows)
    items = Items({"image": SideRows(np.eye(8), rows, rows[:, :0]), "text": own})
    moved = shuffled(items, "text", 0)
    assert moved.sides["image"] is items.sides["image"]
    text = moved.sides["text"]
    assert sorted(text.true[:, 0]) == list(range(8))
    assert (text.true != rows).any()
    assert (text.false == text.true + 8).all()
    assert (text.origin == text.true).all()


def test_fixed_maps_are_what_they_say():
    rng = np.random.default_rng(0)
    features = (rng.normal(size=(200, 6)) * [9, 5, 3, 1, 1, 1] + 4).astype(np.float32)
    trained = Adapter("linear", d_in=6, d_latent=3)
    trained.standardise.fit(features, shrinkage=0.1)
    inputs = trained.standardise(torch.from_numpy(features)).numpy()
    assert whitened(trained).encode(features) == pytest.approx(
        inputs / np.linalg.norm(inputs, axis=1, keepdims=True), abs=1e-5
    )
    centred = features - features.mean(axis=0)
    directions = np.linalg.svd(centred, full_matrices=False)[2][:3]
    twin = centred @ directions.T
    twin /= np.linalg.norm(twin, axis=1, keepdims=True)
    found = principal(features, 3).encode(features)
    assert found @ found.T == pytest.approx(twin @ twin.T, abs=1e-4)  # but for signs of directions
    assert random_map(trained, 0).encode(features).shape == (200, 3)
    assert (random_map(trained, 0).encode(features) != random_map(trained, 1).encode(features)).any()


def test_an_autoencoder_of_one_side_reconstructs_and_repeats():
    rng = np.random.default_rng(0)
    features = (rng.normal(size=(400, 3)) @ rng.normal(size=(3, 10))).astype(np.float32)
    tower = Tower(hidden=(16,), dropout=0.0, learning_rate=0.02)

    def fitted(seed):
        return autoencoder(features[:300], features[300:], 4, tower, training(epochs=30, patience=30), seed)

    first, again, other = fitted(0), fitted(0), fitted(1)
    rebuilt = first.autoencode(features[300:])
    assert ((rebuilt - features[300:]) ** 2).mean() < 0.3 * features.var()
    assert (first.encode(features) == again.encode(features)).all()
    assert (first.encode(features) != other.encode(features)).any()


# --- ablated words ----------------------------------------------------------------------------------------------------

WORDS = load_params("presets/cave.yaml").reference.ablated.words


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("there is an orange seven and a red eight", "there is a seven and an eight"),
        ("a pair of things: a small teal 8, an even digit", "a pair of things: a small 8, an even digit"),
        ("an artist had painted a warm digit", "an artist had painted a digit"),
    ],
)
def test_words_go_and_articles_follow(text, left):
    assert without(text, WORDS, article) == left
    with pytest.raises(InputError, match="nothing is left of it"):
        without("red warm", WORDS, article)


@pytest.mark.parametrize("form", ["partial", "dense"])
def test_all_that_is_left_is_a_sentence_that_says_no_colour(form):
    _, _, captions = spoken(200, form, synonyms=0.3)
    for caption in captions:
        before, after = parse(caption), parse(without(caption, WORDS, article))
        assert all(len(mention.colour) == len(COLOURS) for mention in after.mentions)
        assert [mention._replace(colour=None) for mention in after.mentions] == [
            mention._replace(colour=None) for mention in before.mentions
        ]


def test_what_comes_from_words_alone_is_told_of_their_attribute_alone():
    """Images show two attributes; texts tell both, or the second alone. Only the first can suffer."""
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(6, 20)), rng.normal(size=(6, 12))
    sizes = {"train": 800, "val": 200, "test": 300}
    state = {split: rng.normal(size=(n, 6)) for split, n in sizes.items()}
    images = {
        split: (s @ maps[0] + 0.3 * rng.normal(size=(len(s), 20))).astype(np.float32) for split, s in state.items()
    }

    def recalled(kept, seed):
        texts = {split: ((s * kept) @ maps[1] + 0.1 * rng.normal(size=(len(s), 12))).astype(np.float32)
                 for split, s in state.items()}  # fmt: skip
        items = {split: first_views(paired(images[split], texts[split]), "text", texts[split]) for split in state}
        objective = OBJECTIVES["linear"].model_copy(update={"latent": (3,)})
        adapter = train(items["train"], items["val"], objective, training(whitening=[0.1]), seed=seed)["image"].adapter
        attributes = {"colour": slice(0, 3), "digit": slice(3, 6)}
        known = {name: {split: s[:, columns] for split, s in state.items()} for name, columns in attributes.items()}
        return told({split: adapter.encode(rows) for split, rows in images.items()}, known)

    whole, less = np.ones(6), np.array([0, 0, 0, 1, 1, 1])
    found = {how: [recalled(kept, seed) for seed in SEEDS] for how, kept in ((WITH, whole), (WITHOUT, less))}
    stacked = {how: {name: np.stack([one[name] for one in some]) for name in some[0]} for how, some in found.items()}
    rows = results_table("reference", ablation_rows(stacked, "colour", ("digit",), np.arange(300), 200))
    specific = select(rows, condition="specific")
    assert specific["low"].item() > 0.1
    assert specific["against"].item() == "digit"
    assert select(rows, condition="difference", label="colour")["low"].item() > 0.1
    assert select(rows, condition="difference", label="digit")["value"].item() <= 0.02  # it rather gains
    assert "| more than of the others |" in ablation_table(rows)
    same = dict.fromkeys((WITH, WITHOUT), stacked[WITH])
    nothing = results_table("reference", ablation_rows(same, "colour", ("digit",), np.arange(300), 200))
    assert (select(nothing, condition="specific")["value"] == 0).all()


def test_a_bootstrap_over_both_levels_is_as_wide_as_both():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(6, 1)) + rng.normal(size=(6, 400))
    found = over_seeds_and_items(rows, np.arange(400), 4000)
    assert found.value == pytest.approx(rows.mean())
    error = np.sqrt(rows.mean(axis=1).var() / 6 + rows.mean(axis=0).var() / 400)
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(error, rel=0.1)
    units = np.arange(400) // 4  # four items are one draw
    twins = np.repeat(rows[:, ::4], 4, axis=1)
    wide, narrow = (
        over_seeds_and_items(twins - twins.mean(axis=1, keepdims=True), of, 2000) for of in (units, np.arange(400))
    )
    assert wide.high - wide.low > 1.7 * (narrow.high - narrow.low)
