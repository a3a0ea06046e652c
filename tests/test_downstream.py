"""Probes, neighbours, few examples, prompts and d′ on arrays whose answers are known."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from jam.downstream.probing import _differences, _per_row, _weights
from jam.downstream.scores import class_vectors, few_shot_correct, knn_correct, probe_correct, unit, zero_shot_correct
from jam.downstream.similar import cosines_before
from jam.downstream.similarity import Cosines, d_prime, histogram, mapped, ridge_map
from jam.downstream.tasks import Part, Task, validation_rows
from jam.errors import InputError
from jam.evaluation.scores import Key
from jam.metrics import wilson_interval

CLASSES = np.array(["ant", "bee", "cow", "dog"])


def part(n, spread, seed, d=12, shuffled=False):
    """Clusters about four far points; shuffled, the labels say nothing."""
    rng = np.random.default_rng(seed)
    number = np.arange(n) % len(CLASSES)
    features = 5 * np.eye(d)[number] + spread * rng.normal(size=(n, d))
    labels = CLASSES[rng.permutation(number) if shuffled else number]
    return Part(features.astype(np.float32), labels, np.arange(n))


def scores(train, test, shots=5):
    return {
        "probe": probe_correct(train, test, (0.01, 1.0), 0.2, 0),
        "knn": knn_correct(train, test, 20),
        "few": few_shot_correct(train, test, shots, 20, 0),
    }


def test_clusters_far_apart_are_told_by_all():
    for name, right in scores(part(400, 0.1, 0), part(200, 0.1, 1)).items():
        assert right.mean() == 1, name


def test_shuffled_labels_are_told_at_chance():
    train, test = part(800, 1.0, 0, shuffled=True), part(800, 1.0, 1, shuffled=True)
    for name, right in scores(train, test).items():
        low, high = wilson_interval(round(right.sum()), len(right), 0.999)
        assert low < 1 / len(CLASSES) < high, name


def test_more_examples_tell_more_on_average():
    train, test = part(400, 3.0, 0), part(400, 3.0, 1)
    means = [few_shot_correct(train, test, shots, 50, 0).mean() for shots in (1, 5, 20, 80)]
    assert means == sorted(means)
    assert means[-1] > means[0] + 0.1


def test_two_representations_are_given_the_same_examples():
    """A rotation changes no cosine: were the draws others, the shares would be too."""
    train, test = part(200, 3.0, 0), part(200, 3.0, 1)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(12, 12)))[0]
    turned = [Part(one.features @ turn, one.labels, one.units) for one in (train, test)]
    np.testing.assert_allclose(few_shot_correct(*turned, 1, 20, 3), few_shot_correct(train, test, 1, 20, 3), atol=0.11)
    assert few_shot_correct(train, test, 1, 20, 3).mean() != few_shot_correct(train, test, 1, 20, 4).mean()


def test_neighbours_vote_as_a_plain_loop_does():
    train, test = part(120, 3.0, 0), part(90, 3.0, 1)
    right = []
    for row, label in zip(test.features, test.labels, strict=True):
        cosines = np.array([row @ other / np.linalg.norm(row) / np.linalg.norm(other) for other in train.features])
        near = np.argsort(-cosines)[:7]
        votes = {name: ((train.labels[near] == name).sum(), cosines[near][train.labels[near] == name].sum())
                 for name in CLASSES}  # fmt: skip
        right.append(max(votes, key=lambda name: votes[name]) == label)
    np.testing.assert_array_equal(knn_correct(train, test, 7), np.array(right, dtype=float))


def test_a_class_that_was_never_seen_counts_as_wrong():
    test = part(40, 0.1, 1)
    strange = Part(test.features, np.array(["elk"] * 40), test.units)
    for name, right in scores(part(200, 0.1, 0), strange).items():
        assert right.sum() == 0, name


def test_planted_directions_of_classes_are_found_by_prompts():
    rng = np.random.default_rng(0)
    way = unit(rng.normal(size=(4, 16)))
    words = {name: f"word of {name}" for name in CLASSES}
    prompts = ["a photo of a {}", "one {} more"]

    def encode(texts):
        """Each class its direction, at lengths that must not matter."""
        number = [next(i for i, name in enumerate(CLASSES) if name in text) for text in texts]
        return way[number] * (1 + 50 * np.array([text.startswith("one") for text in texts]))[:, None]

    vectors = class_vectors(encode, words, prompts)
    np.testing.assert_allclose(vectors, way, atol=1e-12)
    labels = CLASSES[rng.integers(4, size=100)]
    images = 3 * way[np.searchsorted(CLASSES, labels)] + 0.05 * rng.normal(size=(100, 16))
    assert zero_shot_correct(images, labels, vectors, list(words)).mean() == 1
    assert zero_shot_correct(images, labels[::-1].copy(), vectors, list(words)).mean() < 0.5


def test_prompts_are_averaged_at_length_one():
    """w = norm(mean(norm t)): of (3, 0) and (0, 1) the bisector, whatever their lengths."""
    found = class_vectors(lambda texts: [[3, 0], [0, 1]], {"x": "x"}, ["a {}", "the {}"])
    np.testing.assert_allclose(found, [[math.sqrt(0.5)] * 2])


def test_d_prime_of_two_normals_is_their_distance_in_deviations():
    grid = norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    assert d_prime(0.3 + 0.1 * grid, 0.1 + 0.1 * grid) == pytest.approx(2, abs=0.01)
    assert d_prime(1 + 3 * grid, 0 + 1 * grid) == pytest.approx(1 / math.sqrt(5), abs=0.01)
    assert d_prime([0.5, 0.5], [0.5, 0.5]) == 0
    assert d_prime(grid, grid + 1) == pytest.approx(-d_prime(grid + 1, grid))


def pairs(n=150, d=8, noise=0.5, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    return x, x + noise * rng.normal(size=(n, d))


def test_resamples_are_those_that_are_written_out():
    x, y = pairs(30)
    true = np.zeros((30, 30), dtype=bool)
    true[2, 5] = True
    cosines = Cosines.of(x, y, true)
    counts = np.random.default_rng(1).multinomial(30, np.full(30, 1 / 30), size=4)
    for found, times in zip(cosines.resampled(counts), counts, strict=True):
        rows = np.repeat(np.arange(30), times)
        matched = cosines.matched[rows]
        block = np.ix_(rows, rows)
        assert found == pytest.approx(d_prime(matched, cosines.all[block][cosines.mismatched[block]]))
    assert cosines.resampled(np.ones((1, 30), dtype=np.int64))[0] == pytest.approx(cosines.value)
    assert cosines.others.size == 30 * 29 - 1  # a text that is true of another image is no mismatch


def test_shuffled_pairs_have_no_d_prime():
    cosines = Cosines.of(*pairs(), np.eye(150, dtype=bool))
    null = cosines.null(200, 0)
    assert abs(null.mean()) < 0.05
    assert cosines.value > 2 > 10 * np.quantile(null, 0.95)
    drawn = histogram([cosines, cosines], 20, 0)
    assert drawn.groupby("pairs")["share"].sum().to_numpy() == pytest.approx([1, 1, 1])
    assert drawn["left"].min() == -1
    assert drawn["right"].max() == 1


def test_a_ridge_map_finds_a_linear_one_and_stands_for_before_where_widths_differ():
    rng = np.random.default_rng(0)
    way = rng.normal(size=(5, 9))
    x = {split: rng.normal(size=(n, 5)) for split, n in (("train", 300), ("val", 60), ("test", 80))}
    parts = {split: (some, some @ way + 3 + 0.001 * rng.normal(size=(len(some), 9))) for split, some in x.items()}
    to, of = mapped(*parts["test"], ridge_map(*parts["train"], 1e-9))
    np.testing.assert_allclose(to, of, atol=0.05)
    true = np.eye(80, dtype=bool)
    how, cosines = cosines_before(parts, true, [1e-6])
    assert how == "ridge map"
    assert cosines.matched.min() > 0.99
    values = {one: Cosines.of(*mapped(*parts["val"], ridge_map(*parts["train"], one)), true[:60, :60]).value
              for one in (1e-6, 1.0, 1e3)}  # fmt: skip
    best = max(values, key=lambda penalty: values[penalty])
    assert cosines_before(parts, true, list(values))[1].value == cosines_before(parts, true, [best])[1].value
    how, cosines = cosines_before({"test": (x["test"], x["test"])}, true, [1.0])
    assert how == "as they are"
    assert cosines.matched == pytest.approx(np.ones(80))


def test_units_stay_together_on_one_side_of_the_cut():
    units = np.repeat(np.arange(25), 4)
    chosen = validation_rows(units, 0.2, 0)
    assert chosen.sum() == 20
    assert not set(units[chosen]) & set(units[~chosen])
    assert validation_rows(np.array([0, 0, 1]), 0.01, 0).sum() in (1, 2)


def test_a_task_knows_its_chance_and_says_what_is_too_few():
    task = Task("digits", "digit", part(40, 1.0, 0), part(20, 1.0, 1))
    assert (task.name, task.chance, task.majority) == ("digits: digit", 0.25, 0.25)
    task.check([1, 10], 20)
    for shots, neighbours, message in (
        ([11], 20, "got 10 training images of class 'ant', expected at least 11, the most of downstream.shots"),
        ([1], 41, "got 40 training images, expected at least 41, downstream.neighbours"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            task.check(shots, neighbours)
        assert "\n" not in str(caught.value)
    one = part(40, 1.0, 0).rows(np.arange(0, 40, 4))
    with pytest.raises(InputError, match="expected at least two classes"):
        Task("folder", "label", one, one).check([1], 1)


def test_differences_are_of_the_same_images_and_methods():
    task = Task("digits", "digit", part(40, 1.0, 0), part(4, 1.0, 1))
    before = {Key("probe", "image", label=task.name, condition="before"): _per_row(task, np.array([0.0, 0, 1, 1]))}
    after = {
        Key("probe", "image", label=task.name, condition="after"): _per_row(task, np.array([1.0, 0, 1, 0])),
        Key("zero_shot", "image", "text", label=task.name, condition="after"): _per_row(task, np.ones(4)),
    }
    [(key, outcome)] = _differences(after, before, "before").items()
    assert (key.metric, key.against, key.condition) == ("probe_difference", "before", None)
    np.testing.assert_array_equal(outcome.values, [1, 0, 0, -1])


def test_weights_make_the_mean_that_of_the_classes():
    labels, right = np.array(list("aaab")), np.array([1.0, 1, 0, 1])
    assert (right * _weights(labels)).mean() == pytest.approx((2 / 3 + 1) / 2)
