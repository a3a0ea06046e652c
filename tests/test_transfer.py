"""Heads of one model on another's vectors, few labels, distillation."""

import numpy as np
import pytest
import torch
from sklearn.metrics import cohen_kappa_score
from torch.nn import functional

from jam.compare.resamples import Resamples
from jam.compare.transfer import anchors, distil, heads


def world(n=600, d=10, seed=0):
    """Two models of one truth, B's space A's turned; labels are read off the truth."""
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.normal(size=(d, d)))
    seen, labels = ({}, {}), {}
    for split in ("train", "val", "test"):
        truth = rng.normal(size=(n, d))
        seen[0][split] = truth + 0.1 * rng.normal(size=truth.shape)
        seen[1][split] = (truth + 0.1 * rng.normal(size=truth.shape)) @ rotation
        there = (truth[:, :2] > 0.8).astype(int)
        labels[split] = {"there": there, "kind": truth[:, 2:5].argmax(axis=1)[:, None]}
    return [anchors.Seen(name, rows) for name, rows in zip("ab", seen, strict=True)], labels


def test_a_head_is_handed_over_through_a_map_and_through_nothing_else():
    models, labels = world()
    curve, drawn = anchors.Curve([30, 300], draws=2, relative=[100]), Resamples(np.arange(600), 50)
    rows = list(anchors.transfer_rows(models, labels, ["orthogonal", "ridge"], curve, drawn=drawn, seed=0))
    for label, by_chance in (("there", 0.5), ("kind", 1 / 3)):
        told = {
            (row["condition"], row.get("method"), row.get("anchors")): row
            for row in rows
            if row["label"] == label
            and row["y"] == "b"
            and row["x"] == ("b" if row["condition"] == "own" else "a")
            and "against" not in row
        }
        own = told["own", None, None]["value"]
        assert own > by_chance + 0.3
        for method, count in (("orthogonal", 300), ("ridge", 300), ("relative", 100)):
            assert told["mapped", method, count]["value"] > own - 0.1
        assert told["mapped", "ridge", 300]["value"] >= told["mapped", "ridge", 30]["value"] - 0.02
        for control in (("shuffled", "orthogonal", 300), ("unmapped", "identity", None)):
            assert abs(told[control]["value"] - by_chance) < 0.12
        assert told["own", None, None]["null_mean"] == pytest.approx(by_chance)
        assert by_chance < told["own", None, None]["null"] < by_chance + 0.1
        assert told["shuffled", "orthogonal", 300]["value"] < told["own", None, None]["null"] + 0.1
    shares = [row for row in rows if row.get("against") and row["condition"] == "mapped"]
    assert {row["against"] for row in shares} == {"own", "own_x"}
    assert all(row["kept_low"] <= row["kept"] <= row["kept_high"] for row in shares)
    few = [row for row in rows if row["condition"] == "labels" and row["x"] == "a" and row["label"] == "there"]
    assert {row["anchors"] for row in few} == {30, 300}


def test_balanced_accuracy_is_that_of_scikit_learn_and_chance_of_a_constant():
    from sklearn.metrics import balanced_accuracy_score

    rng = np.random.default_rng(0)
    y = np.stack([rng.integers(0, 2, 90) * rng.integers(0, 2, 90), rng.integers(0, 4, 90)], axis=1)
    told = np.where(rng.random(y.shape) < 0.6, y, 0)
    expected = np.mean([balanced_accuracy_score(y[:, i], told[:, i]) for i in range(2)])
    assert heads.balanced(told, y).mean() == pytest.approx(expected)
    assert heads.balanced(np.zeros_like(y), y).mean() == pytest.approx(heads.chance(y))


def test_both_solvers_find_the_same_head():
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 6))
    y = (x[:, :1] + 0.5 * rng.normal(size=(400, 1)) > 0).astype(int)
    twin = LogisticRegression(C=0.1, class_weight="balanced", tol=1e-8, max_iter=1000)
    told = twin.fit(StandardScaler().fit_transform(x), y[:, 0]).coef_
    np.testing.assert_allclose(heads.fit_head(x, y, 0.1).models[0][-1].coef_, told, atol=1e-4)


def test_few_labels_choose_a_strength_of_their_own():
    rng = np.random.default_rng(0)
    x = {"train": rng.normal(size=(4000, 60)), "val": rng.normal(size=(2000, 60))}
    y = {split: (rows[:, :30].sum(axis=1) > 0).astype(int)[:, None] for split, rows in x.items()}
    few = anchors._choose_few(x, y["train"], np.arange(40), y["val"])
    assert few < heads.choose_head(x["train"], y["train"], x["val"], y["val"])[1]


def test_a_label_of_one_class_is_refused_and_with_few_labels_answered_by_it():
    with pytest.raises(ValueError, match="got 5 rows of one class"):
        heads.fit_head(np.ones((5, 2)), np.zeros((5, 1), int), 1.0)
    mine = {"train": np.random.default_rng(0).normal(size=(20, 3)), "test": np.zeros((4, 3))}
    told = anchors._labelled(mine, np.full((20, 1), 7), np.arange(20), 1.0, "test")
    assert told.tolist() == [[7]] * 4


def test_without_a_teacher_distillation_is_plain_cross_entropy():
    logits, teacher, labels = torch.randn(9, 4), torch.randn(9, 4), torch.randint(0, 4, (9,))
    found = distil.distillation_loss(logits, teacher, labels, 0.0, 3.0)
    torch.testing.assert_close(found, functional.cross_entropy(logits, labels))


def test_the_soft_part_is_the_divergence_written_out():
    torch.manual_seed(0)
    logits, teacher, labels = torch.randn(9, 4).double(), torch.randn(9, 4).double(), torch.randint(0, 4, (9,))
    p, q = (teacher / 2).softmax(1), (logits / 2).softmax(1)
    expected = 4 * (p * (p.log() - q.log())).sum(1).mean()
    torch.testing.assert_close(distil.distillation_loss(logits, teacher, labels, 1.0, 2.0), expected)
    assert float(distil.distillation_loss(teacher, teacher, labels, 1.0, 2.0)) == pytest.approx(0, abs=1e-12)


def test_gradients_of_the_soft_part_keep_their_size_whatever_the_temperature():
    torch.manual_seed(0)
    teacher, labels = 0.1 * torch.randn(50, 6), torch.zeros(50, dtype=torch.long)
    sizes = []
    for temperature in (4.0, 40.0):
        logits = (0.1 * torch.randn(50, 6, generator=torch.Generator().manual_seed(1))).requires_grad_()
        distil.distillation_loss(logits, teacher, labels, 1.0, temperature).backward()
        sizes.append(float(logits.grad.norm()))
    assert sizes[0] == pytest.approx(sizes[1], rel=0.05)


def test_a_student_of_a_knowing_teacher_is_better_than_one_of_few_labels():
    rng = np.random.default_rng(0)
    x = {
        split: rng.normal(size=(n, 8)).astype(np.float32) for split, n in (("train", 400), ("val", 200), ("test", 400))
    }
    true = {split: rows[:, :4].argmax(axis=1) for split, rows in x.items()}
    wrong = np.random.default_rng(1).random(400) < 0.6
    y = {**true, "train": np.where(wrong, np.random.default_rng(2).integers(0, 4, 400), true["train"])}
    task = distil.Task(x, y, {split: 8 * rows[:, :4] for split, rows in x.items()})
    schedule = distil.Schedule(hidden=32, epochs=15, learning_rate=0.01, batch_size=64)
    plain = distil.train_student(task, 0.0, 1.0, schedule, 0)
    student, alpha, _ = distil.choose_student(task, [0.0, 0.9], [1.0, 2.0], schedule, 0)
    right = [float(np.mean(distil.predicted(each, x["test"]) == true["test"])) for each in (plain, student)]
    assert alpha == 0.9
    assert right[1] > right[0] + 0.05
    again = distil.train_student(task, 0.0, 1.0, schedule, 0)
    assert np.array_equal(distil.predicted(plain, x["test"]), distil.predicted(again, x["test"]))


def test_kappa_is_that_of_scikit_learn_on_the_same_resamples():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 3, (2, 400)), rng.integers(0, 3, 400)
    a[0, :200] = b[:200]
    drawn = Resamples(np.arange(400), 50)
    found = drawn.kappa(a, b)
    assert found.value == pytest.approx(np.mean([cohen_kappa_score(each, b) for each in a]))
    rows = [np.repeat(np.arange(400), weights.astype(int)) for weights in drawn.weights]
    twin = [np.mean([cohen_kappa_score(each[some], b[some]) for each in a]) for some in rows]
    assert found[1:] == pytest.approx(np.quantile(twin, [0.025, 0.975]))
    assert drawn.kappa([b], b) == (1, 1, 1)
    assert abs(drawn.kappa([a[1]], b).value) < 0.1
    assert drawn.kappa([np.zeros(400)], np.zeros(400)).value == 0  # nothing above chance
