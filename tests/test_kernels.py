"""Kernel metrics of one pair, against twins written from the definitions, and their invariances."""

import kernel_twins as twins
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import orthogonal_procrustes
from sklearn.cross_decomposition import CCA

from jam.errors import InputError
from jam.metrics import (
    cca,
    cka,
    cknna,
    cknna_platonic,
    clip_outliers,
    cosine,
    layer_alignment,
    mutual_knn,
    procrustes,
    rsa,
    svcca,
    svcca_platonic,
)
from jam.metrics.kernels import gram, neighbours

ALL = {
    "mutual_knn": mutual_knn,
    "cka": cka,
    "cknna": cknna,
    "svcca": svcca,
    "cca": cca,
    "rsa": rsa,
    "procrustes": procrustes,
}
CENTRED = {name: ALL[name] for name in ("cka", "svcca", "cca", "procrustes")}


def pair(seed: int = 0, n: int = 60, dx: int = 12, dy: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Two noisy views of something shared."""
    rng = np.random.default_rng(seed)
    shared = rng.standard_normal((n, 4))
    x, y = (shared @ rng.standard_normal((4, d)) + 0.7 * rng.standard_normal((n, d)) for d in (dx, dy))
    return x + rng.standard_normal(dx), y


def rotation(d: int, seed: int = 1) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((d, d)))[0]


# --- against the definitions


@pytest.mark.parametrize("seed", range(3))
def test_values_are_those_of_the_definitions(seed):
    x, y = pair(seed)
    assert mutual_knn(x, y, k=5) == pytest.approx(twins.mutual_knn(x, y, k=5), abs=1e-12)
    assert cknna(x, y, k=5) == pytest.approx(twins.cknna(x, y, k=5), abs=1e-6)
    for unbiased in (False, True):
        assert cka(x, y, unbiased=unbiased) == pytest.approx(twins.cka(x, y, unbiased), abs=1e-12)
        expected = twins.cka_of(twins.rbf(x), twins.rbf(y), unbiased)
        assert cka(x, y, kernel="rbf", unbiased=unbiased) == pytest.approx(expected, abs=1e-12)
    for keep in (0.9, 3):
        expected = twins.canonical_correlations(twins.principal(x, keep), twins.principal(y, keep)).mean()
        assert svcca(x, y, keep) == pytest.approx(expected, abs=1e-9)
    expected = twins.canonical_correlations(twins.principal(x, 5), twins.principal(y, 5)).mean()
    assert cca(x, y, components=5) == pytest.approx(expected, abs=1e-9)
    for method in ("spearman", "pearson"):
        assert rsa(x, y, method) == pytest.approx(twins.rsa(x, y, method), abs=1e-12)


def test_cka_is_the_same_whichever_product_is_smaller():
    x, y = pair(n=20, dx=50, dy=40)  # d > n: Gram matrices; the pairs above have d < n: features
    assert cka(x, y) == pytest.approx(twins.cka(x, y), abs=1e-12)
    assert cka(x, y, unbiased=False) == pytest.approx(twins.cka(x, y, unbiased=False), abs=1e-12)


def test_procrustes_is_one_less_half_the_distance_after_the_best_rotation():
    x, y = pair(dy=12)
    x, y = ((z - z.mean(axis=0)) / np.linalg.norm(z - z.mean(axis=0)) for z in (x, y))
    best, _ = orthogonal_procrustes(x, y)
    assert procrustes(x, y) == pytest.approx(1 - np.linalg.norm(x @ best - y) ** 2 / 2, abs=1e-12)
    wide = np.hstack((y, np.zeros((len(y), 5))))
    assert procrustes(x, wide) == pytest.approx(procrustes(x, y), abs=1e-12)


# --- invariances


@pytest.mark.parametrize("name", ALL)
def test_a_representation_is_fully_like_itself(name):
    x, _ = pair(n=40)
    assert ALL[name](x, x) == pytest.approx(1, abs=1e-9)
    assert ALL[name](x, x) <= 1


@pytest.mark.parametrize("name", ALL)
def test_all_are_symmetric(name):
    x, y = pair()
    assert ALL[name](x, y) == pytest.approx(ALL[name](y, x), abs=1e-9)


@pytest.mark.parametrize("name", sorted(set(ALL) - {"rsa"}))  # correlation distance looks at coordinates
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), power=st.integers(-30, 30))
def test_rotation_and_scale_change_nothing(name, seed, power):
    x, y = pair(seed)
    assert ALL[name](x @ rotation(12, seed) * 10.0**power, y) == pytest.approx(ALL[name](x, y), abs=1e-7)


@pytest.mark.parametrize("name", CENTRED)
def test_a_shift_changes_nothing_once_columns_are_centred(name):
    x, y = pair()
    assert mutual_knn(x + 3, y) != mutual_knn(x, y)  # whose rows are not centred
    assert CENTRED[name](x + 100, y) == pytest.approx(CENTRED[name](x, y), abs=1e-9)


def test_cca_is_blind_to_any_affine_map_and_cka_is_not():
    x, y = pair()
    squeezed = x @ (rotation(12) * np.logspace(0, 2, 12)) - 5
    assert cca(squeezed, y) == pytest.approx(cca(x, y), abs=1e-9)
    assert svcca(squeezed, y, 1.0) == pytest.approx(svcca(x, y, 1.0), abs=1e-9)
    assert abs(cka(squeezed, y) - cka(x, y)) > 0.01


def test_permuting_the_rows_of_both_sides_changes_nothing():
    x, y = pair()
    order = np.random.default_rng(0).permutation(len(x))
    for name, metric in ALL.items():
        assert metric(x[order], y[order]) == pytest.approx(metric(x, y), abs=1e-6), name


def test_biased_cka_of_noise_is_far_from_zero_and_unbiased_is_not():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((256, 512)), rng.standard_normal((256, 512))
    assert cka(x, y, unbiased=False) == pytest.approx(0.68, abs=0.02)
    assert abs(cka(x, y)) < 0.02
    assert mutual_knn(x, y) == pytest.approx(10 / 255, abs=0.015)


# --- neighbours: ties, duplicates, groups, precision


@pytest.mark.parametrize("case", twins.hard_cases())
def test_neighbours_are_exact(case):
    x, y = twins.hard_cases()[case]
    assert mutual_knn(x, y, k=7) == pytest.approx(twins.mutual_knn(x, y, k=7), abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(4, 40), d=st.integers(1, 4), levels=st.integers(2, 4), data=st.data())
def test_neighbours_are_exact_among_many_ties(seed, n, d, levels, data):
    rng = np.random.default_rng(seed)
    x, y = (rng.integers(0, levels, (n, d)) + np.eye(1, d) for _ in range(2))
    x[0], y[0] = -x[0], -y[0]  # else all rows may point the same way
    groups = np.r_[0, 1, rng.integers(0, n, n - 2)]  # two groups at least
    k = data.draw(st.integers(1, n - np.bincount(groups).max()))
    assert mutual_knn(x, y, k, groups) == pytest.approx(twins.mutual_knn(x, y, k, groups), abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_upcast_first(dtype):
    x, y = (torch.from_numpy(z).to(dtype) for z in pair(n=80, dx=3, dy=3))  # coarse values: many ties in bf16
    for name, metric in ALL.items():
        assert metric(x, y) == pytest.approx(metric(x.double(), y.double()), abs=1e-6), name
    assert mutual_knn(x, y) == pytest.approx(twins.mutual_knn(x.double().numpy(), y.double().numpy()), abs=1e-12)


def test_neighbours_that_tie_share_the_places_that_are_left():
    # Rows 1 … 4 are one point: of row 0 they tie for two places, and count ½ each; y knows two of them alone.
    x = np.array([[1.0, 0.2], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [-1.0, 0.3]])
    y = np.array([[1.0, 0.0], [1.0, 0.1], [1.0, -0.2], [0.0, 1.0], [-0.2, 1.0], [-1.0, -1.0]])
    assert twins.shares(x, 2)[0].tolist() == [0, 0.5, 0.5, 0.5, 0.5, 0]
    assert twins.shares(y, 2)[0].tolist() == [0, 1, 1, 0, 0, 0]
    assert mutual_knn(x, y, k=2) == pytest.approx(twins.mutual_knn(x, y, k=2), abs=1e-12)
    labels = np.eye(5)[np.repeat(np.arange(5), 40)]
    assert mutual_knn(labels, labels) == pytest.approx(10 / 39)  # a label cannot say which ten of its 39
    assert cknna(labels, labels) == pytest.approx(1)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(6, 40), levels=st.integers(2, 4))
def test_scores_do_not_depend_on_the_order_of_rows_even_among_ties(seed, n, levels):
    rng = np.random.default_rng(seed)
    x, y = (rng.integers(0, levels, (n, 3)) + np.eye(1, 3) for _ in range(2))
    x[0], y[0] = -x[0], -y[0]
    order = rng.permutation(n)
    for metric in (mutual_knn, cknna, cknna_platonic, cka):
        extra = {} if metric is cka else {"k": 3}
        try:
            value = metric(x, y, **extra)
        except InputError:
            continue  # what is not defined is so in any order
        assert metric(x[order], y[order], **extra) == pytest.approx(value, abs=1e-9)


def test_ties_of_a_few_rows_cost_no_memory_for_the_others():
    # 60 copies of one row, 540 rows of their own: only the copies have more than k entries.
    rows = np.random.default_rng(0).standard_normal((541, 8))
    x = torch.from_numpy(rows[np.r_[np.zeros(59, int), np.arange(541)]])
    found = neighbours.nearest(gram.centre(x, "x", unit=True), 10, None)
    counts = torch.bincount(found.rows, minlength=600)
    assert (counts[:60] == 59).all()
    assert counts[60:].sum() < 540 * 10 + 60 * 50  # the few that have the copies on their border
    sums = torch.zeros(600, dtype=torch.float64).index_add_(0, found.rows, found.shares.double())
    np.testing.assert_allclose(sums, 10)


def test_self_is_excluded_by_index_and_not_by_rank():
    # With duplicates, oneself need not come first: dropping the first column would drop a neighbour instead.
    x = np.repeat(np.random.default_rng(0).standard_normal((10, 3)), 3, axis=0)
    assert mutual_knn(x, x, k=2) == 1
    assert not twins.shares(x, 2).diagonal().any()
    assert mutual_knn(x, x[::-1].copy(), k=2) == pytest.approx(twins.mutual_knn(x, x[::-1], k=2), abs=1e-12)


def test_rows_of_one_group_are_not_neighbours():
    rng = np.random.default_rng(0)
    images = rng.standard_normal((12, 5))
    groups = np.repeat(np.arange(12), 5)
    x, y = images[groups], images[groups] + 0.01 * rng.standard_normal((60, 5))
    assert mutual_knn(x, y, k=4) > 0.9  # each row finds its four siblings
    assert mutual_knn(x, y, 4, groups) == pytest.approx(twins.mutual_knn(x, y, 4, groups), abs=1e-12)
    assert mutual_knn(x, y, 4, [f"image {g}" for g in groups]) == mutual_knn(x, y, 4, groups)
    assert cknna(x, y, 4, groups) == pytest.approx(twins.cknna(x, y, 4, groups), abs=1e-6)


def test_cknna_centres_the_kernel_and_not_the_neighbours():
    x, y = pair()
    assert cknna(x, y, k=len(x) - 1) == pytest.approx(off_diagonal_alignment(x, y), abs=1e-6)


def off_diagonal_alignment(x: np.ndarray, y: np.ndarray) -> float:
    a, b = (twins.gram(z) - np.diag(np.diag(twins.gram(z))) for z in (x, y))
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


# --- ranks, cosines


def test_rsa_gives_equal_distances_equal_ranks():
    # In two dimensions the correlation of two rows is 1 or -1, but for rounding: the ranks know two values only.
    x, y = pair(n=30, dx=2, dy=2)
    above = np.triu_indices(30, 1)
    signs = [np.sign(z @ [1, -1]) for z in (x, y)]
    far = [(sign[:, None] != sign)[above] for sign in signs]
    assert rsa(x, y) == pytest.approx(np.corrcoef(*far)[0, 1], abs=1e-12)


def test_cosine_of_rows_as_they_are():
    x, y = pair(dx=6, dy=6)
    u, v = twins.unit(x).astype(float), twins.unit(y).astype(float)
    found = cosine(x, y)
    assert found.matched == pytest.approx(np.mean([u[i] @ v[i] for i in range(60)]))
    assert found.unmatched == pytest.approx(np.mean([u[i] @ v[j] for i in range(60) for j in range(60) if i != j]))
    assert found.gap == found.matched - found.unmatched


def test_cosine_through_a_map_that_never_saw_the_row():
    x, y = pair(n=200)
    assert cosine(x, y).matched > 0.8
    rng = np.random.default_rng(0)
    noise = cosine(rng.standard_normal((60, 100)), rng.standard_normal((60, 7)), ridge=1e-6)
    assert abs(noise.gap) < 0.15  # fitted and scored on the same rows it would be near 1
    with pytest.raises(ValueError, match="dimensions"):
        cosine(x, y, mapped=False)
    with pytest.raises(ValueError, match="folds"):
        cosine(x, y, folds=1)


# --- the field's own code


def test_the_variants_of_the_platonic_code_are_those_of_its_definitions():
    x, y = pair(n=40)
    assert cknna_platonic(x, y, k=5) == pytest.approx(twins.cknna_platonic(x, y, k=5), abs=1e-9)
    assert cknna_platonic(y, x, k=5) == pytest.approx(twins.cknna_platonic(y, x, k=5), abs=1e-9)
    assert abs(cknna_platonic(x + 1, y, k=5) - cknna(x + 1, y, k=5)) > 0.01  # ours centres the kernel
    wide = np.random.default_rng(5).standard_normal((80, 30)) * np.logspace(0, 1, 30)
    shared = np.tanh(wide @ np.random.default_rng(6).standard_normal((30, 25)) / 9)
    scaled = [(z - z.mean(0)) / z.std(0, ddof=1) for z in (twins.unit(z).astype(float) for z in (wide, shared))]
    bases = [twins.principal(z, 10) for z in scaled]
    assert svcca_platonic(wide, shared) == pytest.approx(twins.canonical_correlations(*bases).mean(), abs=1e-9)
    turned = CCA(n_components=10, max_iter=5000, tol=1e-10).fit_transform(*bases)  # what that code calls
    assert svcca_platonic(wide, shared) == pytest.approx(
        np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(turned[0].T, turned[1].T, strict=True)]), abs=1e-3
    )
    clipped = clip_outliers(np.arange(-10.0, 10.0).reshape(4, 5), q=0.9)
    assert clipped.min() == -9
    assert clipped.max() == 9
    with pytest.raises(ValueError, match="q: got 0"):
        clip_outliers(x, 0)


# Made by rsatoolbox 0.3.2: compare of RDMs of method "correlation" of the two arrays of `pair(3, n=12)`.
RSATOOLBOX = {"spearman": 0.4729151445569356, "pearson": 0.46311939096660615}


@pytest.mark.parametrize("method", RSATOOLBOX)
def test_rsa_is_that_of_rsatoolbox(method):
    assert rsa(*pair(3, n=12), method) == pytest.approx(RSATOOLBOX[method], abs=1e-10)
    found = layer_alignment([pair(3, n=12)[0]], [pair(3, n=12)[1]], ("rsa",)).scores["rsa"]
    assert found[0, 0] == pytest.approx(RSATOOLBOX["spearman"], abs=1e-10)


@pytest.mark.parametrize("method", RSATOOLBOX)
def test_rsa_is_that_of_rsatoolbox_where_it_is_installed(method):
    rsatoolbox = pytest.importorskip("rsatoolbox")
    for seed in range(3):
        sides = pair(seed, n=40)
        rdms = [rsatoolbox.rdm.calc_rdm(rsatoolbox.data.Dataset(z), method="correlation") for z in sides]
        expected = rsatoolbox.rdm.compare(*rdms, method="corr" if method == "pearson" else method)
        assert rsa(*sides, method) == pytest.approx(float(expected.squeeze()), abs=1e-10)


# --- a mean far away


@pytest.mark.parametrize("name", ALL)
def test_a_mean_of_a_hundred_million_leaves_double_precision_its_signal(name):
    x, y = pair()
    far = 1e8 * np.random.default_rng(4).standard_normal(12) + x
    exact = {"mutual_knn": lambda: twins.mutual_knn(far, y), "cknna": lambda: twins.cknna(far, y)}
    exact["rsa"] = lambda: twins.rsa_exact(far, y)
    expected = exact[name]() if name in exact else ALL[name](x, y)
    assert ALL[name](far, y) == pytest.approx(expected, abs=0.01 if name in exact else 1e-6)


# --- bad input


@pytest.mark.parametrize("name", ALL)
def test_bad_rows_are_errors_and_never_nan(name):
    x, y = pair()
    metric = ALL[name]
    constant = np.full((60, 5), 0.1, dtype=np.float32)
    for bad, message in ((constant, "same"), (np.where(np.arange(60)[:, None] == 7, np.nan, x), "row 7 .*NaN")):
        with pytest.raises(InputError, match=message):
            metric(bad, y)
        with pytest.raises(InputError, match=message):
            metric(y, bad)
    with pytest.raises(ValueError, match="60 and 59"):
        metric(x, y[:-1])
    with pytest.raises(ValueError, match="shape"):
        metric(x, y[:, 0])


def test_cosines_need_rows_with_a_direction_and_cka_does_not():
    x, y = pair()
    x[3] = 0
    with pytest.raises(InputError, match="row 3 is all zeros"):
        mutual_knn(x, y)
    assert cka(x, y) == pytest.approx(twins.cka(x, y), abs=1e-12)
    with pytest.raises(InputError, match="same way"):
        mutual_knn(np.outer(np.arange(1, 61), np.ones(4)), y)


def test_parameters_out_of_range():
    x, y = pair(n=20)
    for k in (0, 20, 2.5, True):
        with pytest.raises(ValueError, match="k: got"):
            mutual_knn(x, y, k=k)
    assert 0 <= mutual_knn(x, y, k=19) <= 1
    with pytest.raises(ValueError, match="largest group"):
        mutual_knn(x, y, 10, np.repeat([0, 1], [15, 5]))
    with pytest.raises(ValueError, match="groups"):
        mutual_knn(x, y, 5, np.arange(19))
    for variance in (0, 0.0, 1.5, -1, True):
        with pytest.raises(ValueError, match="components"):
            svcca(x, y, variance)
    with pytest.raises(ValueError, match="components"):
        cca(x, y, 0.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="kernel"):
        cka(x, y, kernel="poly")
    with pytest.raises(ValueError, match="method"):
        rsa(x, y, method="kendall")
    with pytest.raises(ValueError, match="at least 4"):
        cka(x[:3], y[:3])


def test_what_cannot_be_defined_is_said():
    rng = np.random.default_rng(0)
    y = rng.standard_normal((30, 5))
    with pytest.raises(InputError, match="equally far apart"):
        cka(np.eye(30), y)
    assert 0 < cka(np.eye(30), y, unbiased=False) < 1
    with pytest.raises(InputError, match="median distance is 0"):
        cka(np.eye(2)[np.r_[np.zeros(28, int), 1, 1]], y, kernel="rbf")
    with pytest.raises(InputError, match="equally dissimilar"):
        rsa(np.eye(30), y)
    with pytest.raises(ValueError, match="dimension"):
        rsa(y[:, :1], y)


def test_inputs_stay_as_they_were():
    x, y = pair()
    before = x.copy(), y.copy()
    for metric in ALL.values():
        metric(x, y)
        metric(torch.from_numpy(x), torch.from_numpy(y))
    cosine(x, y)
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(y, before[1])


def test_what_the_caller_has_set_does_not_leak_in_nor_out():
    x, y = (torch.from_numpy(z).float() for z in pair(n=100))
    expected = {name: metric(x, y) for name, metric in ALL.items()}
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = {name: metric(x.requires_grad_(), y) for name, metric in ALL.items()}
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert found == expected
