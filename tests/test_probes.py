"""Linear probes: separable and random labels, choice of C, labels, chance, and bad input."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.dummy import DummyClassifier

from jam.errors import InputError
from jam.metrics import fit_probe, probes


def blobs(n, classes=3, d=8, seed=0, spread=0.2):
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((classes, d))
    labels = rng.integers(classes, size=n)
    return centres[labels] + spread * rng.standard_normal((n, d)), np.array(["red", "green", "blue"])[labels]


def test_separable_classes_are_read_off():
    probe = fit_probe(*blobs(200, seed=1), *blobs(100, seed=2), *blobs(150, seed=3))
    assert probe.accuracy == 1
    assert probe.n == 150
    assert probe.correct.shape == (150,)
    assert probe.converged


def test_labels_unrelated_to_features_score_at_chance():
    rng = np.random.default_rng(0)
    parts = [(rng.standard_normal((n, 5)), rng.choice(["a", "b"], p=[0.8, 0.2], size=n)) for n in (400, 400, 2000)]
    probe = fit_probe(*parts[0], *parts[1], *parts[2])
    assert probe.chance == pytest.approx(0.8, abs=0.03)
    assert probe.accuracy == pytest.approx(probe.chance, abs=0.03)
    assert probe.accuracy == probe.correct.mean()


def test_chance_is_the_majority_of_the_train_rows():
    x = np.arange(6.0)[:, None]
    train_y, test_y = ["b", "b", "b", "a", "a", "a"], ["a", "b", "b", "c", "b", "b"]
    dummy = DummyClassifier(strategy="most_frequent").fit(x, train_y)
    assert fit_probe(x, train_y, x, train_y, x, test_y).chance == dummy.score(x, test_y)


def test_c_is_chosen_on_validation_rows_alone():
    # Take the rows on which a loose and a tight fit disagree, and let the validation labels side with one of the two:
    # that one must be chosen, whether the test labels side with it or not.
    rng = np.random.default_rng(4)
    train_x = rng.standard_normal((40, 30))
    train_y = rng.integers(2, size=40)
    cs = (1e-4, 100.0)
    candidates = rng.standard_normal((4000, 30))
    loose, tight = (
        fit_probe(train_x, train_y, train_x, train_y, candidates, np.ones(4000, int), cs=[c]).correct for c in cs
    )
    differ = loose != tight
    rows, tight_says = candidates[differ], tight[differ].astype(int)
    assert len(rows) > 20
    for val_y, chosen in ((tight_says, 100.0), (1 - tight_says, 1e-4)):
        for test_y in (tight_says, 1 - tight_says):
            probe = fit_probe(train_x, train_y, rows, val_y, rows, test_y, cs=cs)
            assert probe.c == chosen
            assert probe.accuracy == float(np.array_equal(val_y, test_y))


def test_equal_validation_scores_choose_the_smallest_c():
    assert fit_probe(*blobs(200, seed=1), *blobs(100, seed=2), *blobs(50, seed=3), cs=(10.0, 0.1, 1.0)).c == 0.1


def test_standardised_with_train_rows_so_that_scales_and_offsets_do_not_matter():
    parts = [blobs(150, seed=seed, spread=2.0) for seed in (1, 2, 3)]
    scales, offset = np.logspace(-3, 3, 8), 1e3
    scaled = [(x * scales + offset, y) for x, y in parts]
    plain = fit_probe(*parts[0], *parts[1], *parts[2])
    moved = fit_probe(*scaled[0], *scaled[1], *scaled[2])
    assert moved.c == plain.c
    assert moved.accuracy == pytest.approx(plain.accuracy, abs=0.01)


def test_labels_of_any_kind_and_constant_columns():
    x, names = blobs(120, seed=5)
    x[:, 0] = 7.0
    codes = np.unique(names, return_inverse=True)[1]
    by_name = fit_probe(x, names, x, names, x, names)
    by_code = fit_probe(torch.from_numpy(x).float(), codes, x, codes.tolist(), x, codes.astype(np.int8))
    as_objects = fit_probe(x, names.astype(object), x, names, x, names)
    assert by_name.accuracy == by_code.accuracy == as_objects.accuracy == 1


def test_a_label_never_trained_on_is_an_error_of_the_probe():
    x, y = blobs(100, seed=6)
    assert fit_probe(x, y, x, y, x[:4], ["grey"] * 4).accuracy == 0


def test_a_fit_that_does_not_converge_says_so_without_a_warning(monkeypatch):
    monkeypatch.setattr(probes, "_ITERATIONS", 1)
    x, y = blobs(100, seed=7, spread=3.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not fit_probe(x, y, x, y, x, y).converged


def test_bad_input_is_named():
    x, y = blobs(20)
    with pytest.raises(InputError, match="train_y: every row has the label red, expected at least two"):
        fit_probe(x, ["red"] * 20, x, y, x, y)
    broken = x.copy()
    broken[3, 0] = np.nan
    with pytest.raises(InputError, match="val_x: row 3 holds NaN"):
        fit_probe(x, y, broken, y, x, y)
    with pytest.raises(ValueError, match=r"test_y: got shape \(19,\), expected \(20,\)"):
        fit_probe(x, y, x, y, x, y[:-1])
    with pytest.raises(ValueError, match=r"got \(8, 8, 7\) dimensions"):
        fit_probe(x, y, x, y, x[:, :-1], y)
    with pytest.raises(ValueError, match=r"cs: got \(\)"):
        fit_probe(x, y, x, y, x, y, cs=())
