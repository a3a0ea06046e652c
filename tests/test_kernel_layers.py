"""All layer pairs at once, and what a score is worth: nulls, calibration, intervals."""

from collections.abc import Callable

import kernel_twins as twins
import numpy as np
import pytest
import torch
from scipy import stats

from jam.errors import InputError
from jam.metrics import cca, cka, cknna, kernel_table, layer_alignment, mutual_knn, permutation_null, rsa, svcca
from jam.metrics.kernels import KERNEL_METRICS, calibrate, gram, p_value, permuted
from jam.metrics.kernels.nulls import Interval, deal, draw_orders, jackknife_interval

SINGLE = {
    "mutual_knn": mutual_knn,
    "cka": lambda x, y: cka(x, y, unbiased=False),
    "unbiased_cka": cka,
    "cknna": cknna,
    "svcca": svcca,
    "cca": cca,
    "rsa": rsa,
}


def encoders(seed: int = 0, n: int = 70) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Three layers and two, of different widths, with something in common and a mean far from 0."""
    rng = np.random.default_rng(seed)
    shared = rng.standard_normal((n, 5))

    def layer(d: int, noise: float) -> np.ndarray:
        rows = shared @ rng.standard_normal((5, d)) + noise * rng.standard_normal((n, d))
        return (rows + 5 * rng.standard_normal(d)).astype(np.float32)

    return [layer(8, 3), layer(16, 1), layer(12, 2)], [layer(10, 2), layer(6, 1)]


def unrelated(rng: np.random.Generator, n: int, layers: int, d: int = 6) -> list[np.ndarray]:
    return [rng.standard_normal((n, d)) for _ in range(layers)]


# --- scores


@pytest.mark.parametrize("normalize", [True, False])
def test_all_pairs_are_as_one_by_one(normalize):
    xs, ys = encoders()
    found = layer_alignment(xs, ys, KERNEL_METRICS, normalize=normalize)
    for metric, single in SINGLE.items():
        for i, x in enumerate(xs):
            for j, y in enumerate(ys):
                a, b = (twins.unit(z).astype(float) if normalize else z for z in (x, y))
                assert found.scores[metric][i, j] == pytest.approx(single(a, b), abs=1e-6), (metric, i, j)
        best = found.best[metric]
        assert best.score == found.scores[metric].max() == found.scores[metric][best.layers]
        assert best.p_value is best.calibrated is None
    assert (found.n, found.k) == (70, 10)


@pytest.mark.parametrize("case", sorted(set(twins.hard_cases()) - {"one-hot", "one dimension", "small integers"}))
def test_the_engine_is_exact_to_a_millionth(case):
    x, y = twins.hard_cases()[case]
    found = layer_alignment([x], [y], ("mutual_knn", "cka", "unbiased_cka", "cknna"), k=5)
    a, b = twins.unit(x), twins.unit(y)
    assert found.scores["mutual_knn"][0, 0] == pytest.approx(twins.mutual_knn(x, y, 5), abs=1e-12)
    assert found.scores["cknna"][0, 0] == pytest.approx(twins.cknna(a, b, 5), abs=1e-6)
    assert found.scores["cka"][0, 0] == pytest.approx(twins.cka(a, b, unbiased=False), abs=1e-6)
    # Of the outlier's kernel, unbiased HSIC sees a billionth, the rest being equal for all pairs.
    tolerance = 1e-5 if case == "one outlier" else 1e-6
    assert found.scores["unbiased_cka"][0, 0] == pytest.approx(twins.cka(a, b), abs=tolerance)


def test_blocks_change_nothing(monkeypatch):
    xs, ys = encoders()
    whole = layer_alignment(xs, ys, KERNEL_METRICS, permutations=5)
    monkeypatch.setattr(gram, "_TILE", 16)
    for metric, scores in layer_alignment(xs, ys).scores.items():  # one block, its half mirrored tile by tile
        np.testing.assert_allclose(scores, whole.scores[metric], atol=1e-7)
    monkeypatch.setattr(gram, "_BUDGET", 5 * 70 * 9)  # 9 rows at a time, which does not divide 70
    monkeypatch.setattr(gram, "_TILE", 4)
    monkeypatch.setattr(permuted, "_TABLE", 70 * 3 * 11)
    monkeypatch.setattr(permuted, "_BANDS", 5 * 70 * 4)
    parts = layer_alignment(xs, ys, KERNEL_METRICS, permutations=5)
    for metric in KERNEL_METRICS:
        np.testing.assert_allclose(parts.scores[metric], whole.scores[metric], atol=1e-7)
        np.testing.assert_allclose(parts.null[metric], whole.null[metric], atol=1e-7)
    np.testing.assert_array_equal(parts.scores["mutual_knn"], whole.scores["mutual_knn"])


def test_groups_reach_every_metric_that_has_neighbours():
    xs, ys = encoders()
    groups = np.repeat(np.arange(14), 5)
    found = layer_alignment(xs, ys, ("mutual_knn", "cknna"), k=4, groups=groups, normalize=False)
    assert found.scores["mutual_knn"][1, 0] == pytest.approx(mutual_knn(xs[1], ys[0], 4, groups), abs=1e-12)
    assert found.scores["cknna"][1, 0] == pytest.approx(twins.cknna(xs[1], ys[0], 4, groups), abs=1e-6)


def test_tensors_numpy_of_any_type_and_read_only_maps_give_the_same(tmp_path):
    xs, ys = encoders()
    expected = layer_alignment(xs, ys, permutations=10).best
    np.save(tmp_path / "layer.npy", xs[0])
    mapped = np.load(tmp_path / "layer.npy", mmap_mode="r")
    tensors = [torch.from_numpy(x).requires_grad_() for x in xs[1:]]
    assert layer_alignment([mapped, *tensors], [y.astype(float) for y in ys], permutations=10).best == expected


# --- permutations


def test_orders_are_permutations_without_fixed_rows():
    orders = draw_orders(11, 25, seed=3)
    matrix = orders.matrix()
    assert matrix.shape == (25, 11)
    assert (np.sort(matrix, axis=1) == np.arange(11)).all()
    assert (matrix != np.arange(11)).all()
    assert len({tuple(row) for row in matrix[:10].tolist()}) == 10  # the ten shifts of the first layout
    np.testing.assert_array_equal(draw_orders(11, 25, seed=3).matrix(), matrix)
    assert (draw_orders(11, 25, seed=4).matrix() != matrix).any()


def test_any_row_may_be_paired_with_any_other():
    matrix = draw_orders(5, 4000, seed=0).matrix()
    counts = np.array([np.bincount(matrix[:, i], minlength=5) for i in range(5)])
    assert (np.diag(counts) == 0).all()
    assert stats.chisquare(counts[~np.eye(5, dtype=bool)]).pvalue > 1e-4


def test_groups_of_one_size_are_exchanged_whole():
    groups = np.random.default_rng(0).permutation(np.repeat(np.arange(6), 3))
    for order in draw_orders(18, 20, seed=0, groups=groups).matrix():
        taken = groups[order]
        assert all(len(set(taken[groups == g])) == 1 for g in range(6))
        assert (taken != groups).all()
    with pytest.raises(ValueError, match="at least 2"):
        draw_orders(5, 3, seed=0, groups=["a"] * 5)


@pytest.mark.parametrize(("n", "permutations"), [(40, 12), (41, 12), (10, 25)])
def test_null_is_the_maximum_within_each_permutation(n, permutations):
    xs, ys = encoders(n=n)
    found = layer_alignment(xs, ys, KERNEL_METRICS, k=4, permutations=permutations, seed=5, normalize=False)
    orders = draw_orders(n, permutations, seed=5).matrix()
    singles = SINGLE | {"mutual_knn": lambda x, y: mutual_knn(x, y, 4), "cknna": lambda x, y: cknna(x, y, 4)}
    for metric, single in singles.items():
        expected = [max(single(x, y[order]) for x in xs for y in ys) for order in orders]
        np.testing.assert_allclose(found.null[metric], expected, atol=1e-6, err_msg=metric)
        best = found.best[metric]
        assert best.p_value == p_value(best.score, found.null[metric])
        assert (best.calibrated, best.threshold) == calibrate(best.score, found.null[metric])


@pytest.mark.parametrize("case", ["mean cosine .9999", "duplicates", "far more dimensions than rows"])
def test_the_null_is_exact_to_a_millionth(case):
    x, y = twins.hard_cases()[case]
    found = layer_alignment([x], [y], ("cka", "unbiased_cka"), permutations=3, seed=1)
    a, b = twins.gram(twins.unit(x)), twins.gram(twins.unit(y))
    for p, order in enumerate(draw_orders(len(x), 3, seed=1).matrix()):
        permuted = b[order][:, order]
        assert found.null["cka"][p] == pytest.approx(twins.cka_of(a, permuted, unbiased=False), abs=1e-6)
        assert found.null["unbiased_cka"][p] == pytest.approx(twins.cka_of(a, permuted, unbiased=True), abs=1e-6)


def test_one_pair_null_for_any_score():
    x, y = (side[0] for side in encoders())
    null = permutation_null(lambda order: rsa(x, y[order]), len(x), permutations=8, seed=2)
    found = layer_alignment([x], [y], ("rsa",), normalize=False, permutations=8, seed=2)
    np.testing.assert_allclose(null, found.null["rsa"], atol=1e-12)


def test_p_values_of_unrelated_encoders_are_uniform_although_the_best_of_many_pairs_is_reported():
    rng = np.random.default_rng(0)
    metrics = ("mutual_knn", "unbiased_cka", "rsa")
    found: dict[str, list[float]] = {metric: [] for metric in metrics}
    for trial in range(60):
        xs, ys = unrelated(rng, 41, 4), unrelated(rng, 41, 3)
        best = layer_alignment(xs, ys, metrics, k=5, permutations=39, seed=trial).best
        for metric in metrics:
            found[metric].append(best[metric].p_value)
    for metric in metrics:
        assert stats.kstest(found[metric], "uniform").pvalue > 0.01, metric


def test_the_null_holds_among_ties():
    """Labels of two kinds that know nothing of each other: every score has ties, and p must still be uniform."""
    rng = np.random.default_rng(0)
    for metric in ("mutual_knn", "cknna"):
        low = 0
        for trial in range(40):
            xs, ys = ([np.eye(5)[rng.integers(0, 5, 200)]] for _ in range(2))
            low += layer_alignment(xs, ys, (metric,), permutations=99, seed=trial).best[metric].p_value <= 0.05
        assert low <= 5, metric
    a = np.eye(5)[rng.integers(0, 5, 200)]
    assert layer_alignment([a], [a], ("mutual_knn",), permutations=99).best["mutual_knn"].p_value == 0.01


def test_calibration_takes_away_what_chance_gives():
    rng = np.random.default_rng(0)
    xs, ys = unrelated(rng, 60, 5, d=200), unrelated(rng, 60, 5, d=200)
    best = layer_alignment(xs, ys, ("cka",), permutations=99).best["cka"]
    assert best.score > 0.7  # biased CKA with d > n
    assert best.calibrated < 0.05
    assert best.p_value > 0.05
    assert best.threshold == pytest.approx(best.null_mean, abs=0.02)
    same = layer_alignment(xs, [xs[2]], ("cka",), permutations=99).best["cka"]
    assert same.calibrated == pytest.approx(1, abs=1e-6)
    assert (same.layers, same.p_value) == ((2, 0), 0.01)


def test_calibration_and_p_value_by_hand():
    null = np.arange(19) / 100  # with the observed score 20 in all; at level .05 the threshold is number 19 of them
    assert calibrate(0.59, null) == (pytest.approx((0.59 - 0.18) / (1 - 0.18)), 0.18)
    assert p_value(0.59, null) == 1 / 20
    assert calibrate(0.18, null) == (0, 0.18)
    assert p_value(0.18, null) == 2 / 20  # a tie counts against the observed score
    assert calibrate(0.05, null)[0] == 0
    assert p_value(-1, null) == 1
    assert calibrate(1.0, np.full(19, 1.0)) == (0, 1)
    for observed, bad in ((0.5, np.array([])), (np.nan, null), (0.5, np.full(19, np.nan))):
        with pytest.raises(ValueError, match="p-value: got"):
            p_value(observed, bad)
    assert calibrate(0.5, np.zeros(199))[1] == 0  # 0.95 · 200 is 190 and not 191, whatever the rounding


# --- intervals


def jackknife(score: Callable[[np.ndarray], float], n: int, folds: int) -> Interval:
    fold = deal(n, folds, seed=0)
    parts = [score(np.flatnonzero(fold != f)) for f in range(folds)]
    return jackknife_interval(score(np.arange(n)), np.array(parts))


def test_jackknife_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(0).standard_normal(40)
    found = jackknife(lambda rows: float(values[rows].mean()), 40, folds=40)
    error = values.std(ddof=1) / np.sqrt(40)
    assert found.error == pytest.approx(error)
    assert found.high == pytest.approx(values.mean() + stats.t.ppf(0.975, 39) * error)
    assert found.low == pytest.approx(values.mean() - stats.t.ppf(0.975, 39) * error)


def test_groups_are_dealt_whole_and_evenly():
    groups = np.repeat([f"image {i}" for i in range(10)], 4)
    fold = deal(40, 5, seed=0, groups=groups)
    assert (fold.reshape(10, 4) == fold[::4, None]).all()
    assert np.bincount(fold).tolist() == [8] * 5
    for folds in (1, 11):
        with pytest.raises(ValueError, match="folds"):
            deal(40, folds, seed=0, groups=groups)


@pytest.mark.parametrize("metric", ["mutual_knn", "unbiased_cka"])
def test_jackknife_error_is_that_of_fresh_samples(metric):
    maps = [np.random.default_rng(i).standard_normal((4, 8)) for i in range(2)]

    def draw(seed: int) -> list[np.ndarray]:
        rng = np.random.default_rng(seed)
        shared = rng.standard_normal((120, 4))
        return [shared @ m + 1.5 * rng.standard_normal((120, 8)) for m in maps]

    single = SINGLE[metric]
    spread = np.std([single(*draw(seed)) for seed in range(60)], ddof=1)
    errors = []
    for seed in range(10):
        x, y = draw(seed)
        errors.append(jackknife(lambda rows, x=x, y=y: single(x[rows], y[rows]), 120, folds=15).error)
    assert 0.7 * spread < np.mean(errors) < 2 * spread


# --- bad input


def test_bad_layers_are_named():
    xs, ys = encoders()
    infinite = np.where(np.arange(70)[:, None] == 4, np.inf, xs[2])
    for metric in KERNEL_METRICS:
        with pytest.raises(InputError, match=r"ys\[1\]"):
            layer_alignment(xs, [ys[0], np.ones((70, 3))], (metric,))
        with pytest.raises(InputError, match=r"xs\[2\]: row 4 .*NaN or infinity"):
            layer_alignment([*xs[:2], infinite], ys, (metric,))
    with pytest.raises(ValueError, match=r"ys\[1\]: got 69 rows"):
        layer_alignment(xs, [ys[0], ys[1][:69]])
    with pytest.raises(ValueError, match="list of layers"):
        layer_alignment(xs[0], ys)
    with pytest.raises(ValueError, match="no layer"):
        layer_alignment([], ys)
    with pytest.raises(ValueError, match="at least 4"):
        layer_alignment([x[:3] for x in xs], [y[:3] for y in ys], k=1)


def test_bad_parameters_are_named():
    xs, ys = encoders()
    with pytest.raises(ValueError, match="metrics"):
        layer_alignment(xs, ys, ("cosine",))
    with pytest.raises(ValueError, match="metrics"):
        layer_alignment(xs, ys, ())
    with pytest.raises(ValueError, match="k: got 70"):
        layer_alignment(xs, ys, k=70)
    assert layer_alignment(xs, ys, ("cka",), k=70).scores["cka"].shape == (3, 2)  # no neighbours, no matter
    with pytest.raises(ValueError, match="permutations"):
        layer_alignment(xs, ys, permutations=-1)
    with pytest.raises(ValueError, match="permutations"):
        kernel_table({"x": xs[0]}, {"y": ys[0]}, permutations=0)
    with pytest.raises(ValueError, match="groups"):
        layer_alignment(xs, ys, groups=np.arange(3))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same():
    xs, ys = encoders()
    expected = layer_alignment(xs, ys, KERNEL_METRICS, permutations=10)
    torch.set_float32_matmul_precision("medium")
    try:
        found = layer_alignment(
            [torch.from_numpy(x).cuda() for x in xs],
            [torch.from_numpy(y).cuda() for y in ys],
            KERNEL_METRICS,
            permutations=10,
        )
    finally:
        torch.set_float32_matmul_precision("highest")
    for metric in KERNEL_METRICS:
        np.testing.assert_allclose(found.scores[metric], expected.scores[metric], atol=1e-6)
        np.testing.assert_allclose(found.null[metric], expected.null[metric], atol=1e-6)
