"""Training on two arrays: what is searched, what is the same, what is refused."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_train import OBJECTIVES, training, world

import jam
from jam.align import arrays
from jam.align.objective import Joint
from jam.align.setting import first, listed
from jam.align.train import batches, train
from jam.align.truth import Truth, equal_rows
from jam.errors import InputError

SMALL = {
    "latent": 8, "hidden": (16,), "whitening": None, "dropout": 0.1, "weight_decay": 1e-4, "batch_size": 32,
    "learning_rate": 0.01, "validation": 0.1,
}  # fmt: skip
rng = np.random.default_rng(0)


def single(n, seed, **options):
    """Images and one caption each, of `world`."""
    seen, told = world(n, seed, captions=1, **options).sides.values()
    return seen.table, told.table[:n]


def train_two(images, texts, negatives=None, **options):
    """`train_space` on images and texts, row for row."""
    return jam.train_space(
        {"images": images, "texts": texts}, negatives=None if negatives is None else {"texts": negatives}, **options
    )


def encode(space, images, texts):
    return space["images"].encode(images), space["texts"].encode(texts)


def test_hard_negatives_of_an_array_are_told_apart():
    (seen, told), unseen = world(400, 1).sides.values(), single(60, 2)
    trained = train_two(seen.table, told.table[:400], told.table[800:], **SMALL)
    scores = jam.retrieval_metrics(*encode(trained, *unseen), np.arange(60))
    assert scores["i2t_r1"] > 0.6
    assert trained.chosen["epoch"] == trained.history["validation_score"].idxmax()


@pytest.mark.parametrize("model", ["linear", "mlp", "autoencoder"])
def test_arrays_are_split_by_the_seed_and_every_adapter_can_be_had(model):
    runs = [train_two(*single(60, 1), model=model, epochs=1, seed=seed, **SMALL) for seed in (0, 0, 1)]
    assert runs[0].chosen == runs[1].chosen
    assert not runs[0].history.equals(runs[2].history)


def directions(n, seed, shared, noise):
    """Two views whose first 10 directions of 512 say the same, of the first deviation; the rest says nothing."""
    mine = np.random.default_rng(seed)
    state, views = mine.normal(size=(n, 10)), []
    for turn in (1, 2):
        axes = np.linalg.qr(np.random.default_rng(turn).normal(size=(512, 512)))[0]
        views.append(np.hstack([shared * state, noise * mine.normal(size=(n, 502))]) @ axes)
    return views


@pytest.mark.parametrize(
    ("shared", "noise", "found"), [(5.0, 0.3, None), (0.7, np.r_[np.full(20, 10.0), np.full(482, 0.01)], 0.1)]
)
def test_the_whitening_that_retrieves_is_found_on_validation_rows(shared, noise, found):
    """Noise in many small directions wants none; what is told in small directions beside a few large ones wants it."""
    rows, unseen = directions(600, 1, shared, noise), directions(200, 2, shared, noise)

    def recall(**options):
        trained = train_two(*rows, model="linear", latent=16, weight_decay=1e-4, epochs=10, validation=0.1, **options)
        return trained, jam.retrieval_metrics(*encode(trained, *unseen), np.arange(200))["i2t_r1"]

    (searched, score), (right, best), (_, worst) = (
        recall(**options) for options in ({}, {"whitening": found}, {"whitening": 0.1 if found is None else None})
    )
    assert searched.chosen["whitening"] == found
    assert score == best > worst + 0.6
    by_whitening = searched.history.groupby("whitening", dropna=False)["validation_score"].max()
    assert len(by_whitening) == 4
    assert searched.chosen["validation_score"] == by_whitening.max()
    assert "whitening" not in right.history


@pytest.fixture
def split(monkeypatch):
    """What `train_adapters` makes of its arrays: the rows to train on, and those held out."""

    def of(*given, **options):
        got = []

        def keep(items, validation, *_, **__):
            got.extend((items, validation.items))
            raise KeyError("nothing is trained")

        monkeypatch.setattr(arrays, "train", keep)
        with pytest.raises(KeyError):
            train_two(*given, **{**SMALL, **options})
        return got

    return of


def test_rows_of_one_image_are_never_split(split):
    """Five captions of a photo, its row repeated, or encoded anew with another rounding; or told by labels."""
    images, texts = np.repeat(single(40, 1)[0], 5, axis=0), single(200, 2)[1]
    anew = images * (1 + 1e-7 * rng.normal(size=images.shape).astype(np.float32))
    for rows, groups in ((images, None), (anew, None), (rng.normal(size=(200, 9)), np.arange(200) // 5 * 7.5)):
        rest, held_out = split(rows, texts, groups=groups)
        numbers = [set(items.sides["images"].true[:, 0] // 5) for items in (rest, held_out)]
        assert not numbers[0] & numbers[1]
        assert [len(each) for each in numbers] == [36, 4]
        assert rest.truth.true(np.arange(10), "texts", rest.sides["texts"].true[:10, 0]).tolist() == np.kron(
            np.eye(2), np.ones((5, 5))
        ).astype(bool).tolist()  # fmt: skip
    assert all(items.truth is None for items in split(*single(200, 1)))


def test_a_missing_group_is_its_own_and_groups_must_fit(split):
    images, texts = single(12, 1)
    rest, held_out = split(images, texts, groups=["a", "a", np.nan, np.nan, *"bbbb", "c", "c", "d", np.nan])
    assert len(set(rest.truth.things) | set(held_out.truth.things)) == 7
    with pytest.raises(ValueError, match=r"groups: got shape \(5,\), expected \(40,\)"):
        split(*single(40, 1), groups=range(5))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999))
def test_a_text_is_true_of_an_image_if_its_thing_is_told_so(seed):
    """Against sets; and R@1 against a loop, with ties among the latents."""
    mine = np.random.default_rng(seed)
    n, m = 9, 14
    things, wordings = mine.integers(0, 5, n), mine.integers(0, 6, m)
    captions = mine.integers(0, m, (n, 2))
    captions[mine.random(n) < 0.5, 1] = -1
    truth = Truth.of(things, {"text": wordings}, {"text": captions})
    told = {(things[i], wordings[row]) for i in range(n) for row in captions[i] if row >= 0}
    images, texts = mine.integers(0, n, 4), mine.integers(0, m, 7)
    assert truth.true(images, "text", texts).tolist() == [
        [(things[i], wordings[j]) in told for j in texts] for i in images
    ]

    texts = captions[captions >= 0]
    a, p = (mine.integers(-1, 2, (size, 3)) + 0.25 for size in (n, len(texts)))
    cosines = (a / np.linalg.norm(a, axis=1)[:, None]) @ (p / np.linalg.norm(p, axis=1)[:, None]).T
    right = truth.true(np.arange(n), "text", texts)

    def best(values):
        return max(values, default=-2)

    i2t = [best(cosines[i][right[i]]) > best(cosines[i][~right[i]]) + 1e-12 for i in range(n)]
    t2i = [best(cosines[:, j][right[:, j]]) > best(cosines[:, j][~right[:, j]]) + 1e-12 for j in range(len(texts))]
    assert truth.recall_at_1(a, np.arange(n), p, "text", texts) == (np.mean(i2t), np.mean(t2i))


def test_without_repetition_recall_is_that_of_the_metrics_and_collapse_scores_nothing():
    a, p = rng.normal(size=(2, 50, 4))
    every = np.arange(50)
    truth = Truth.of(every, {"text": every}, {"text": every[:, None]})
    scores = jam.retrieval_metrics(a, p, np.arange(50), ks=(1,))
    assert truth.recall_at_1(a, every, p, "text", every) == (scores["i2t_r1"], scores["t2i_r1"])
    assert truth.recall_at_1(np.ones((50, 4)), every, np.ones((50, 4)), "text", every) == (0, 0)


def test_equal_rows_are_found_among_others_and_close_ones_are_not_equal():
    number = rng.integers(0, 30, 500)
    distinct = 1e6 + rng.normal(size=(30, 20))
    rows = distinct[number] + 1e-6 * rng.normal(size=(500, 20))
    found = equal_rows({"texts": rows[:300], "negatives": rows[300:]})
    assert found.tolist() == pd.factorize(number)[0].tolist()
    close = distinct[:1] + 1e-2 * rng.normal(size=(500, 20))
    assert len(set(equal_rows({"texts": close}))) == 500
    assert len(set(equal_rows({"texts": rng.normal(size=(20000, 3))}))) == 20000


def test_ten_captions_of_many_images_are_chosen_by_as_zero_shot_accuracy():
    """Captions made of labels: an image's own is no negative of it, whoever else has it, and all such are right."""
    kinds, see = rng.normal(size=(10, 12)), rng.normal(size=(12, 14))
    label = rng.integers(0, 10, 400)
    images = (kinds[label] + 0.8 * rng.normal(size=(400, 12))) @ see
    texts = rng.normal(size=(10, 16))[label] + 1e-7 * rng.normal(size=(400, 16))  # batches of another make-up
    trained = train_two(images, texts, **SMALL, epochs=5)
    held_out = np.sort(np.random.default_rng(0).permutation(400)[:40])
    a, p = encode(trained, images[held_out], texts[held_out])
    accuracy = np.mean(label[held_out][(a @ p.T).argmax(axis=1)] == label[held_out])
    assert trained.chosen["validation_images_to_texts"] == accuracy > 0.6
    assert trained.chosen["validation_texts_to_images"] > 0.8


@pytest.mark.parametrize("name", ["con", "negcon", "spread"])
@pytest.mark.parametrize("captions", ["sample", "mean"])
def test_a_batch_says_which_texts_are_true_of_other_images(name, captions):
    items = world(100, 1)
    rows = items.sides["text"].true
    wordings = rng.integers(0, 20, len(items.sides["text"].table))
    truth = Truth.of(np.arange(100) // 2, {"text": wordings}, {"text": rows})
    told, schedule = dataclasses.replace(items, truth=truth), training(captions=captions, epochs=2)
    true = {(i // 2, wordings[row]) for i in range(100) for row in rows[i]}
    joint = Joint(OBJECTIVES[name], schedule, first(listed(OBJECTIVES[name], schedule)), told, [("image", "text")], 0)
    for batch in batches(told, joint, OBJECTIVES[name], schedule, np.random.default_rng(0), torch.device("cpu")):
        texts = batch.true["text"] if captions == "sample" else batch.true["text"][:, 0]
        texts = torch.cat([texts, *batch.false.values()])
        assert batch.same["image", "text"].tolist() == [
            [(int(i) // 2, wordings[int(j)]) in true for j in texts] for i in batch.true["image"]
        ]  # fmt: skip
    assert np.isfinite(train(told, world(40, 2), OBJECTIVES[name], schedule, seed=0).history["loss_align"]).all()
    for batch in batches(items, joint, OBJECTIVES[name], schedule, np.random.default_rng(0), torch.device("cpu")):
        assert batch.same == {}


def test_truth_of_what_is_told_once_leaves_a_training_to_the_bit():
    plain = world(100, 1), world(40, 2)
    told = [
        dataclasses.replace(
            items,
            truth=Truth.of(np.arange(len(items)), {"text": np.arange(len(text.table))}, {"text": text.true}),
        )
        for items in plain
        for text in [items.sides["text"]]
    ]
    runs = [train(*both, OBJECTIVES["negcon"], training(epochs=2), seed=0) for both in (plain, told)]
    assert runs[0].history.equals(runs[1].history)
    one, two = (run["image"].adapter.state_dict() for run in runs)
    assert all(torch.equal(value, two[key]) for key, value in one.items())


def test_captions_joined_by_ids_train_as_rows_repeated_do_and_better_than_one():
    """Five captions a photo in any order: no row of the photo need be repeated."""
    seen, told = world(200, 1, captions=5, negatives=0).sides.values()
    order = rng.permutation(1000)
    ids = {"photo": [f"p{i}" for i in range(200)], "caption": np.array([f"p{i % 200}" for i in range(1000)])[order]}
    space = jam.train_space({"photo": seen.table, "caption": told.table[order]}, ids=ids, **SMALL)
    unseen = single(60, 2)
    a, p = space["photo"].encode(unseen[0]), space["caption"].encode(unseen[1])
    assert jam.retrieval_metrics(a, p, np.arange(60))["i2t_r1"] > 0.6
    turned = jam.train_space(
        {"photo": seen.table[::-1], "caption": told.table[order]}, ids={**ids, "photo": ids["photo"][::-1]}, **SMALL
    )
    assert set(turned.history) == set(space.history)


def test_three_arrays_are_three_sides_and_pairs_may_be_chosen():
    images, texts = single(300, 1)
    sounds = images @ rng.normal(size=(14, 11))
    space = jam.train_space(
        {"image": images, "text": texts, "sound": sounds}, pairs=[("image", "text"), ("image", "sound")], **SMALL
    )
    assert list(space.sides) == ["image", "text", "sound"]
    unseen = single(60, 2)
    a, p = space["image"].encode(unseen[0]), space["text"].encode(unseen[1])
    assert jam.retrieval_metrics(a, p, np.arange(60))["i2t_r1"] > 0.6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pairs": [("a", "c")]}, r"pairs: got \[\('a', 'c'\)\], expected different pairs of \['a', 'b'\]"),
        ({"pairs": [("a", "b"), ("b", "a")]}, "pairs: got"),
        ({"negatives": {"a": np.ones((20, 4))}}, r"negatives: got them of \['a'\], expected them of the second sides"),
        ({"ids": {"a": range(20)}}, r"ids: got \{'a': 20\}, expected one for each row of every side"),
        ({"ids": {"a": range(20), "b": range(1, 21)}}, r"ids of b: 2 items \(first: 0\) are on one"),
        ({"ids": {"a": [None, *range(19)], "b": range(20)}}, "ids of a: got none for row 0"),
    ],
)
def test_names_and_ids_that_do_not_fit_are_one_line(options, message):
    sides = {"a": rng.normal(size=(20, 4)), "b": rng.normal(size=(20, 4))}
    with pytest.raises(ValueError, match=message):
        jam.train_space(sides, latent=2, **options)
    with pytest.raises(ValueError, match="sides: got dict of 1, expected two or more"):
        jam.train_space({"a": sides["a"]}, latent=2)


def test_every_kind_of_array_trains_as_numpy_does(tmp_path):
    images, texts = (np.round(8 * each) / 8 for each in single(60, 1))  # the same numbers in half precision
    np.save(tmp_path / "images.npy", images.astype(np.float16))
    expected = train_two(images, texts, **SMALL, epochs=1).history
    for image, text in (
        (images.tolist(), pd.DataFrame(texts)),
        (images[::-1][::-1], np.asfortranarray(texts)),
        (np.load(tmp_path / "images.npy", mmap_mode="r"), torch.tensor(texts).bfloat16()),
        (torch.tensor(images, requires_grad=True), torch.tensor(texts).half()),
    ):
        pd.testing.assert_frame_equal(train_two(image, text, **SMALL, epochs=1).history, expected)


def test_double_precision_far_from_zero_trains_as_near_it():
    images, texts = (np.round(each.astype(np.float64), 3) for each in single(200, 1))
    near, far = (train_two(images + mean, texts + mean, **SMALL, epochs=8) for mean in (0, 1e8))
    np.testing.assert_allclose(far.history["loss_align"], near.history["loss_align"], rtol=1e-3)
    assert far.chosen["validation_recall"] > 0.5


@pytest.mark.parametrize(("groups", "least"), [(None, 4), ([0, 0, 1, 1, 2, 2, 3, 3], 8)])
def test_four_images_or_groups_are_enough_and_three_are_not(groups, least):
    images, texts = single(least, 1)
    train_two(images, texts, groups=groups, **{**SMALL, "epochs": 1})
    with pytest.raises(ValueError, match="validation: got 2 of 3 groups or different items, expected at least 2"):
        train_two(images[: least * 3 // 4], texts[: least * 3 // 4], groups=groups and groups[:6], **SMALL)


@pytest.mark.parametrize(
    ("shapes", "options", "message"),
    [
        (((10, 4), (9, 4)), {}, r"sides: got shapes \{'images': \(10, 4\), 'texts': \(9, 4\)\}, expected as many rows"),
        (((10, 4), (10, 4), (10, 5)), {}, r"texts negatives: got shape \(10, 5\), expected \(10, 4\)"),
        (((10,), (10, 4)), {}, r"images: got shape \(10,\)"),
        ((np.ones((9, 4), complex), (9, 4)), {}, "images: got complex numbers"),
        (((9, 4), np.ma.masked_less(np.eye(9, 4), 0.5)), {}, "texts: got a masked array"),
        ((np.full((40, 4), 0.1), (40, 4)), {}, "got 2 of 1 groups or different items, expected at least 2"),
        (((40, 4), np.full((40, 4), 0.1)), {}, "expected finite features that vary"),
        (((40, 4), (40, 4)), {"latent": 4}, "expected fewer than its d_in"),
        (((40, 4), (40, 4)), {"model": "x"}, "model: .* 'linear' or 'mlp'.*got 'x'"),
        (((40, 4), (40, 4)), {"latent": 0}, "latent.0: .*got 0"),
        (((40, 4), (40, 4)), {"hidden": 16}, "hidden: .*tuple.*got 16"),
        (((40, 4), (40, 4)), {"learning_rate": -1}, "learning_rate: .*greater than 0.*got -1"),
        (((40, 4), (40, 4)), {"epochs": 0}, "epochs: .*got 0"),
        (((40, 4), (40, 4)), {"batch_size": 1}, "batch_size: .*got 1"),
        (((40, 4), (40, 4)), {"whitening": (1.0, 1.0)}, r"whitening: got \[1.0, 1.0\], expected each once"),
        (((40, 4), (40, 4)), {"whitening": -1}, "whitening.0: .*greater than 0.*got -1"),
        (((40, 4), (40, 4)), {"whitening": math.inf}, "whitening.0: .*finite.*got inf"),
        (((40, 4), (40, 4)), {"whitening": ()}, "whitening: .*at least 1 item"),
        (((40, 4), (40, 4)), {"validation": 2}, "validation, seed: got 2"),
        (((40, 4), (40, 4)), {"validation": 0.99}, "validation: got 40 of 40"),
        (((40, 4), (40, 4)), {"seed": -1}, "got 0.2, -1"),
        (((40, 4), (40, 4)), {"seed": 2**64}, "seed: got 18446744073709551616, expected at least 0"),
        (((40, 4), (40, 4)), {"device": "cuda:99"}, "device: got 'cuda:99'"),
    ],
)
def test_what_does_not_fit_is_one_line(shapes, options, message):
    sides = [rng.normal(size=shape) if isinstance(shape, tuple) else shape for shape in shapes]
    with pytest.raises(ValueError, match=message) as caught:
        train_two(*sides, **{"latent": 2, **options})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e200])
@pytest.mark.parametrize("side", ["images", "texts", "negatives"])
def test_a_row_that_is_not_finite_is_named_with_its_side(side, bad):
    given = {name: rng.normal(size=(40, 6)) for name in ("images", "texts", "negatives")}
    given[side][31, 2] = bad
    name = "texts negatives" if side == "negatives" else side
    with pytest.raises(InputError, match=f"{name}: row 31 holds NaN, infinity or a number near it"):
        train_two(**given, latent=2)


@pytest.mark.parametrize("scale", [1e-200, 1e-40, 1e40, 1e200])
@pytest.mark.parametrize("side", ["images", "texts", "negatives"])
def test_a_side_that_single_precision_does_not_hold_is_named(side, scale):
    given = {name: rng.normal(size=(40, 6)) for name in ("images", "texts", "negatives")}
    given[side] *= scale
    name = "texts negatives" if side == "negatives" else side
    with pytest.raises(InputError, match=f"^{name}: got rows whose largest numbers are .*expected 1e-37 to 1e\\+37"):
        train_two(**given, latent=2)


@pytest.mark.parametrize(
    ("side", "message"),
    [("images", "got 2 of 1 groups"), ("texts", "^texts: .*features that vary")],
)
def test_features_that_do_not_vary_are_refused(side, message):
    given = {name: rng.normal(size=(40, 6)) for name in ("images", "texts")}
    given[side][:] = 0.1
    with pytest.raises(ValueError, match=message):
        train_two(**given, latent=2)


@pytest.mark.parametrize("odd", ["a sentinel", "a long row", "a column of ids", "a heavy binary column"])
def test_one_odd_row_or_column_makes_no_others_equal(odd):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(1000, 64))
    rows[500:] = rows[:500] * (1 + 1e-7)  # each twice, but for rounding
    if odd == "a sentinel":
        rows[3] = -1e9
    elif odd == "a long row":
        rows[3] *= 1e7
    elif odd == "a column of ids":
        rows[:, 0] = np.tile(rng.permutation(600_000)[:500], 2)
    else:
        rows[:, 0] = np.tile(rng.integers(0, 2, 500) * 1e6, 2)
    found = equal_rows({"texts": rows})
    assert len(set(found)) == (501 if odd in ("a sentinel", "a long row") else 500)
    assert (np.delete(found[:500], 3) == np.delete(found[500:], 3)).all()
