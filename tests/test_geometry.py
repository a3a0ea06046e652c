"""Geometry: closed forms, plain-loop twins, invariances and bad input."""

import math

import kernel_twins as twins
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jam.errors import InputError
from jam.metrics import (
    alignment,
    effective_rank,
    geometry,
    modality_gap,
    preservation_rows,
    reconstruction_r2,
    retrieval_ranks,
    uniformity,
)
from jam.metrics._rows import numbered
from jam.metrics.kernels import mutual_knn


def noise(n, d, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d))


def test_alignment_closed_forms():
    x = noise(20, 8)
    assert alignment(x, 3 * x) == pytest.approx(0, abs=1e-12)
    assert alignment(x, -x) == pytest.approx(4)
    assert alignment(np.eye(4), np.roll(np.eye(4), 1, axis=0)) == pytest.approx(2)


def test_alignment_is_two_minus_twice_the_mean_cosine():
    x, y = noise(30, 5, 1), noise(30, 5, 2)
    cosines = [a @ b / math.sqrt((a @ a) * (b @ b)) for a, b in zip(x, y, strict=True)]
    assert alignment(x, y) == pytest.approx(2 - 2 * sum(cosines) / 30)


def test_uniformity_closed_forms():
    assert uniformity(np.ones((50, 7))) == pytest.approx(0, abs=1e-5)
    assert uniformity(np.eye(6)) == pytest.approx(-4, abs=1e-5)  # every pair at squared distance 2
    assert uniformity([[1.0, 0.0], [-1.0, 0.0]], t=3) == pytest.approx(-12, abs=1e-5)
    # exp(−t·4) underflows single and double precision; the log does not.
    assert uniformity([[1.0, 0.0], [-1.0, 0.0]], t=1000) == pytest.approx(-4000, rel=1e-6)


@pytest.mark.parametrize("tile", [1, 3, 7, 2048])
def test_uniformity_by_tiles_equals_a_loop_over_pairs(monkeypatch, tile):
    monkeypatch.setattr(geometry, "_TILE", tile)
    x = noise(22, 4, 3)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    pairs = [math.exp(-2 * float(((unit[i] - unit[j]) ** 2).sum())) for i in range(22) for j in range(i)]
    assert uniformity(x) == pytest.approx(math.log(sum(pairs) / len(pairs)), rel=1e-5)


def test_modality_gap_closed_forms():
    x = noise(15, 6, 4)
    assert modality_gap(x, 2 * x) == pytest.approx(0, abs=1e-12)
    assert modality_gap(np.tile([[2.0, 0.0]], (3, 1)), np.tile([[0.0, 5.0]], (4, 1))) == pytest.approx(math.sqrt(2))
    assert modality_gap([[1.0, 0.0]], [[-3.0, 0.0]]) == pytest.approx(2)


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_effective_rank_of_equal_singular_values_is_their_number(rank):
    # A cross-polytope: plus and minus each axis, centred, every direction with the same spread.
    axes = np.concatenate([np.eye(rank, 9), -np.eye(rank, 9)])
    assert effective_rank(axes + 100.0) == pytest.approx(rank)


def test_effective_rank_of_two_unequal_singular_values():
    x = np.array([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))  # singular values 3√2 and √2
    assert effective_rank(x) == pytest.approx(math.exp(entropy))


def test_effective_rank_ignores_rotation_shift_and_scale():
    x = noise(40, 6, 5) * np.arange(1, 7)
    rotation = np.linalg.qr(noise(6, 6, 6))[0]
    assert effective_rank(7 * x @ rotation + 3) == pytest.approx(effective_rank(x))
    assert 1 < effective_rank(x) < 6


def test_reconstruction_r2_closed_forms():
    x = noise(25, 4, 7)
    assert reconstruction_r2(x, x) == 1
    assert reconstruction_r2(x, np.tile(x.mean(axis=0), (25, 1))) == pytest.approx(0, abs=1e-12)
    assert reconstruction_r2(x, 2 * x.mean(axis=0) - x) == pytest.approx(-3)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 12), st.integers(1, 5))
def test_reconstruction_r2_is_that_of_its_definition(seed, n, d):
    x, x_hat = noise(n, d, seed) + 5, noise(n, d, seed + 1) + 5
    squared_error = sum((x[i, j] - x_hat[i, j]) ** 2 for i in range(n) for j in range(d))
    total = sum((x[i, j] - sum(x[:, j]) / n) ** 2 for i in range(n) for j in range(d))
    assert reconstruction_r2(x, x_hat) == pytest.approx(1 - squared_error / total, abs=1e-9)


@pytest.mark.parametrize("groups", [None, [0, 0, 1, 2, 2, 2, 3, 4, 5, 6, 7, 8, 9, 9, 10]])
def test_preservation_counts_shared_neighbours(groups):
    x = noise(15, 5, 8)
    y = (x + 0.5 * noise(15, 5, 9)) @ noise(5, 3, 10)
    rows = preservation_rows(x, y, k=4, groups=groups)
    np.testing.assert_allclose(rows, (twins.shares(x, 4, groups) * twins.shares(y, 4, groups)).sum(1) / 4)
    assert rows.mean() == pytest.approx(mutual_knn(x, y, k=4, groups=groups))
    assert 0 < rows.mean() < 1


def test_preservation_is_one_under_rotation_and_row_scale():
    x = noise(60, 8, 11)
    rotation = np.linalg.qr(noise(8, 8, 12))[0]
    scales = np.random.default_rng(13).uniform(0.5, 2, size=(60, 1))
    assert (preservation_rows(x, scales * (x @ rotation)) == 1).all()


CALLS = {
    "alignment": alignment,
    "effective_rank": lambda x, y: effective_rank(x),
    "mutual_knn": lambda x, y: mutual_knn(x, y, 3),
    "reconstruction_r2": reconstruction_r2,
    "retrieval": lambda x, y: retrieval_ranks(x, y, np.arange(20))[0].tolist(),
    "uniformity": lambda x, y: uniformity(x),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_rows_of_any_real_kind_are_taken(call):
    x, y = (noise(20, 6, seed).astype(np.float16).astype(float) for seed in (14, 15))
    expected = call(x, y)
    kinds = [
        lambda z: z.tolist(),
        lambda z: pd.DataFrame(z),
        lambda z: z[::-1, ::-1].copy()[::-1, ::-1],
        lambda z: z.astype(">f4"),
        lambda z: z.astype(np.longdouble),
        lambda z: torch.from_numpy(z).half().requires_grad_(),
        lambda z: [torch.from_numpy(row).float().requires_grad_() for row in z],
    ]
    for kind in kinds:
        assert call(kind(x), kind(y)) == expected
    halved = torch.from_numpy(x).bfloat16().requires_grad_(), torch.from_numpy(y).bfloat16()
    assert call(*halved) == call(*(z.detach().double() for z in halved))


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (lambda z: z + 1j, ": got complex numbers"),
        (lambda z: torch.from_numpy(z).cfloat(), ": got complex numbers"),
        (lambda z: torch.from_numpy(z).to_sparse(), ": got a sparse tensor"),
        (lambda z: np.ma.masked_less(z, 0), ": got a masked array"),
        (lambda z: [np.ma.masked_less(row, 0) for row in z], ": got a masked array"),
        (lambda z: z.astype(str), ": got <U"),
        (lambda z: z.astype(str).astype(object), ": got object"),
        (lambda z: [*z.tolist(), [1.0]], ": got list, expected an array of numbers"),
    ],
)
def test_rows_of_no_real_kind_are_refused_in_one_line(call, kind, message):
    with pytest.raises(ValueError, match=message) as caught:
        call(kind(noise(20, 6)), noise(20, 6))
    assert "\n" not in str(caught.value)


def test_missing_labels_are_groups_of_their_own():
    nan = float("nan")
    for labels, expected in (
        ([1, "1", None, None, nan, nan, 1], [0, 1, 2, 3, 4, 5, 0]),
        ([nan, "nan", "nan"], [1, 0, 0]),
        (np.array([nan, 2, nan, 2]), [1, 0, 2, 0]),
        (pd.Series(["a", None, "a"], index=[2, 1, 0]), [0, 1, 0]),
        (torch.tensor([nan, nan, 3]), [1, 2, 0]),
        ([("a", 1), ("a", 1)], [0, 0]),
    ):
        assert numbered(labels, len(labels)).tolist() == expected
    for labels in ([[1], [2]], np.ma.masked_equal([1, 2], 1), [1, 2, 3], np.eye(2)):
        with pytest.raises(ValueError, match="groups: got"):
            numbered(labels, 2)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_rows_without_direction_are_named(value):
    good, bad = np.eye(3), np.eye(3)
    bad[2] = value
    for call in (
        lambda: alignment(good, bad),
        lambda: modality_gap(good, bad),
        lambda: uniformity(bad),
    ):
        with pytest.raises(InputError, match=r"^[xy]: row 2 (is all zeros|holds NaN)"):
            call()


@pytest.mark.parametrize("rows", [np.zeros((5, 3)), np.full((5, 3), 0.1), np.full((1, 3), 2.0)])
def test_constant_rows_are_an_error_and_not_nan(rows):
    with pytest.raises(InputError, match="rows are equal"):
        effective_rank(rows)
    with pytest.raises(InputError, match="rows are equal"):
        reconstruction_r2(rows, rows)


def test_not_finite_values_are_named():
    bad = np.eye(3)
    bad[1, 1] = np.nan
    with pytest.raises(InputError, match="x: row 1 holds NaN"):
        effective_rank(bad)
    with pytest.raises(InputError, match="x_hat: row 1 holds NaN"):
        reconstruction_r2(np.eye(3), bad)


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match="x, y: got 3 and 2 rows"):
        alignment(np.eye(3), np.eye(3)[:2])
    with pytest.raises(ValueError, match="x, y: got 3 dimensions on cpu, 2 dimensions"):
        modality_gap(np.eye(3), np.eye(2))
    with pytest.raises(ValueError, match="x, x_hat: got"):
        reconstruction_r2(np.eye(3), np.ones((3, 2)))
    with pytest.raises(ValueError, match="x: got 1 row, expected at least 2"):
        uniformity(np.ones((1, 3)))
    with pytest.raises(ValueError, match="t: got 0"):
        uniformity(np.eye(3), t=0)
