"""The kernel of reality: weights, ceilings and nulls with known answers; given kernels; covariates partialled out."""

import kernel_twins as twins
import numpy as np
import pytest
import states as drawn
import torch

from jam.errors import InputError
from jam.metrics import (
    cka,
    cka_of_grams,
    fit_kernel,
    kernel_ceiling,
    mutual_knn,
    partial_out,
    pmi_kernel_score,
    score_kernel,
)
from jam.metrics.kernels.given import u_centred
from jam.metrics.kernels.nulls import draw_orders
from jam.world import state

N = 400
VAL, TEST = (state.factors(drawn.draw(N, seed)) for seed in (11, 12))
WEIGHTS = {"presence": 0.5, "digit": 2.0, "colour": 1.0, "size": 0.0, "count": 3.0, "digits": 0.3, "colours": 0.0}
WEIGHTS["products"] = 1.0


def known(factors, weights):
    return np.concatenate([np.sqrt(weights[name]) * factors[name] for name in weights], axis=1)


def private(d, seed, n=N):
    return np.random.default_rng(seed).standard_normal((n, d))


# --- the fit


def test_a_kernel_made_of_factors_gives_its_weights_back():
    weights = fit_kernel(5 + known(VAL, WEIGHTS) @ drawn.rotation(sum(VAL[name].shape[1] for name in WEIGHTS)), VAL)
    assert weights == pytest.approx(WEIGHTS, abs=1e-8)
    found = score_kernel(known(TEST, WEIGHTS), TEST, weights)
    assert found.value == pytest.approx(1, abs=1e-10)
    assert found.p_value == 1 / 201
    assert found.calibrated == pytest.approx(1, abs=1e-10)
    assert max(found.by_factor.values()) < 0.95
    for name, value in found.by_factor.items():
        assert value == pytest.approx(cka(known(TEST, WEIGHTS), TEST[name]), abs=1e-10)


def test_private_noise_leaves_the_weights_where_they_were():
    x = np.concatenate([2 * known(VAL, WEIGHTS), private(30, 0)], axis=1)
    weights = fit_kernel(x, VAL)
    for name, weight in WEIGHTS.items():
        assert weights[name] == pytest.approx(4 * weight, abs=1.2)
    assert fit_kernel(10 * x, VAL) == pytest.approx({name: 100 * w for name, w in weights.items()}, rel=1e-8)


def test_a_blind_oracle_is_caught():
    val, test = (drawn.blind(state.facts(drawn.draw(N, seed))) for seed in (11, 12))
    weights = fit_kernel(val, VAL)
    assert weights == pytest.approx({name: float(name in ("presence", "colour", "size")) for name in VAL}, abs=1e-8)
    # CKA by factor does not tell: where things are is in the kernel of the digits too.
    assert score_kernel(test, TEST, weights).by_factor["digit"] > 0.15


@pytest.mark.parametrize("seed", range(3))
def test_no_other_weights_come_nearer(seed):
    rng = np.random.default_rng(seed)
    facts = state.facts(drawn.draw(N, 11))
    x = np.maximum(facts @ rng.standard_normal((126, 40)), 0) + 0.5 * rng.standard_normal((N, 40))
    weights = fit_kernel(x, VAL)
    best = score_kernel(x, VAL, weights, permutations=1).value
    assert best == pytest.approx(cka(x, known(VAL, weights)), abs=1e-10)
    for _ in range(30):
        other = {
            name: weight * rng.choice([0.5, 0.9, 1.1, 2]) + rng.exponential(0.05) for name, weight in weights.items()
        }
        assert cka(x, known(VAL, other)) <= best + 1e-12


def test_noise_is_told_from_a_state():
    x = private(500, 1)  # as many dimensions as rows: biased products would find every factor in it
    weights = fit_kernel(x, VAL)
    found = score_kernel(private(500, 2), TEST, weights)
    assert abs(found.value) < 0.02
    nothing = score_kernel(x, TEST, dict.fromkeys(TEST, 0.0))
    assert (nothing.value, nothing.p_value, nothing.calibrated) == (0, 1, 0)


def test_p_is_uniform_for_an_unrelated_state():
    weights = dict.fromkeys(("digit", "count"), 1.0)
    found = []
    for seed in range(120):
        factors = {name: TEST[name][seed : seed + 60] for name in weights}
        found.append(score_kernel(private(5, seed, 60), factors, weights, permutations=19, seed=seed).p_value)
    assert np.mean(found) == pytest.approx(0.525, abs=0.08)
    assert np.mean(np.array(found) <= 0.05) < 0.11
    assert 0.35 < np.mean(np.array(found) <= 0.5) < 0.65


def test_the_null_is_the_score_with_the_rows_permuted():
    x = np.concatenate([known(TEST, WEIGHTS), private(200, 0)], axis=1)[:90]
    factors = {name: values[:90] for name, values in TEST.items()}
    found = score_kernel(x, factors, WEIGHTS, permutations=30, seed=4)
    y = known(factors, WEIGHTS)
    null = [cka(x, y[order]) for order in draw_orders(90, 30, 4).matrix()]
    assert found.null_mean == pytest.approx(np.mean(null), abs=1e-10)


# --- the ceiling


@pytest.mark.parametrize("loud", [0.3, 0.6, 1.0])
def test_the_ceiling_is_what_the_true_kernel_reaches(loud):
    """Private parts beside the state, added to it, or both: S is known, and so is its share of the kernel."""
    truth = known(TEST, WEIGHTS)
    mixed = truth @ np.random.default_rng(0).standard_normal((truth.shape[1], 60)) / 6
    for s, d in ((truth, 25), (mixed, 60)):
        added = s is mixed
        views = [s + loud * private(d, seed) if added else np.hstack([s, loud * private(d, seed)]) for seed in (1, 2)]
        reliability, ceiling = kernel_ceiling(*views)
        assert reliability == pytest.approx(cka(*views), abs=1e-10)
        assert ceiling == pytest.approx(np.sqrt(reliability), abs=1e-12)
        assert ceiling == pytest.approx(cka(views[0], s), abs=0.04)
        assert reliability < 0.97
    own = np.linalg.norm(u_centred(torch.from_numpy(twins.gram(truth).astype(float)), "truth")) ** 2
    own *= np.abs(truth).max() ** 4  # the twin divides by the largest number
    share = own / (own + N**2 * 25 * loud**4)  # 25 private dimensions of variance loud²
    views = [np.hstack([truth, loud * private(25, seed)]) for seed in (1, 2)]
    assert kernel_ceiling(*views)[1] == pytest.approx(np.sqrt(share), abs=0.03)


def test_a_score_has_a_ceiling_where_there_is_a_second_view():
    views = [np.hstack([known(TEST, WEIGHTS), private(25, seed)]) for seed in (1, 2)]
    alone, both = (score_kernel(views[0], TEST, WEIGHTS, second) for second in (None, views[1]))
    assert alone.ceiling is None
    assert alone.reliability is None
    assert both.value == alone.value == pytest.approx(both.ceiling, abs=0.03)
    assert both.reliability == pytest.approx(both.ceiling**2)
    assert kernel_ceiling(private(9, 1), private(9, 20))[1] < 0.15  # nothing shared


# --- given kernels


@pytest.mark.parametrize("unbiased", [True, False])
def test_cka_of_grams_is_cka_of_features(unbiased):
    x = 3 + private(20, 1)
    y = 100 * np.tanh(x[:, :7]) + private(7, 2)
    expected = cka(x, y, unbiased=unbiased)
    assert cka_of_grams(x @ x.T, y @ y.T, unbiased) == pytest.approx(expected, abs=1e-12)
    assert cka_of_grams(x @ x.T, -y @ y.T, unbiased) == pytest.approx(-expected, abs=1e-12)
    assert cka_of_grams(x @ x.T, 5 * x @ x.T + 2, unbiased) == pytest.approx(1, abs=1e-12)


def test_unbiased_cka_of_grams_ignores_the_diagonal():
    k, noise = private(20, 1) @ private(20, 1).T, private(20, 2) @ private(20, 2).T
    assert cka_of_grams(k + 50 * np.eye(N), noise) == pytest.approx(cka_of_grams(k, noise), abs=1e-12)
    centred = u_centred(torch.from_numpy(k), "k")
    assert float(centred.diagonal().abs().max()) == 0
    assert float(centred.sum(0).abs().max()) < 1e-10


def test_a_given_kernel_may_have_negative_eigenvalues():
    rng = np.random.default_rng(0)
    values = rng.integers(5, size=N)
    pmi = rng.standard_normal((5, 5))
    pmi = pmi + pmi.T
    assert np.linalg.eigvalsh(pmi)[0] < 0
    gram = pmi[values][:, values]
    x = np.eye(5)[values] + 0.1 * private(5, 3)
    found = pmi_kernel_score(x, gram)
    assert found.value == pytest.approx(cka_of_grams(x @ x.T, gram), abs=1e-12)
    assert found.n == N
    unrelated = [pmi_kernel_score(private(4, seed), gram, permutations=19, seed=seed).p_value for seed in range(40)]
    assert 0.4 < np.mean(unrelated) < 0.65


@pytest.mark.parametrize(
    ("gram", "error", "match"),
    [
        (np.ones((4, 5)), ValueError, "expected"),
        (np.eye(5), ValueError, r"expected \(6, 6\)"),
        (np.triu(np.ones((6, 6))), ValueError, "not symmetric"),
        (np.ones((6, 6)), InputError, "all entries are equal"),
        (np.eye(6), InputError, "equally far apart"),
        (np.full((6, 6), np.inf), InputError, "NaN or infinity"),
    ],
)
def test_bad_grams_are_named(gram, error, match):
    with pytest.raises(error, match=match):
        pmi_kernel_score(private(3, 0, 6), gram)
    with pytest.raises(error, match=match):
        cka_of_grams(private(3, 0, 6) @ private(3, 0, 6).T, gram)


def test_bad_input_is_named():
    x = private(5, 0)
    for call, match in (
        (lambda: fit_kernel(x, {}), "factors: got none"),
        (lambda: fit_kernel(x[:9], VAL), "9 and 400 rows"),
        (lambda: fit_kernel(x[:3], {"a": x[:3]}), "at least 4"),
        (lambda: score_kernel(x, VAL, {"digit": 1.0}), "weights: got"),
        (lambda: score_kernel(x, VAL, dict.fromkeys(VAL, -1.0)), "from 0 on"),
        (lambda: kernel_ceiling(x, x[:9]), "as many in both"),
        (lambda: partial_out(x, x[:9]), "as many in both"),
    ):
        with pytest.raises(ValueError, match=match):
            call()
    for factor in (np.full((N, 2), 0.1), np.where(np.arange(N)[:, None] == 3, np.nan, x)):
        with pytest.raises(InputError, match="shape"):
            fit_kernel(x, {"shape": factor})


# --- covariates


def test_what_is_partialled_out_is_gone_and_the_rest_is_not():
    rng = np.random.default_rng(0)
    count = np.eye(3)[rng.integers(3, size=N)]
    length = rng.normal(size=(N, 1)) + count @ np.array([[0], [2], [4]])
    z = np.hstack([count, length, length])  # collinear, among themselves and with the intercept
    x, y = (z @ rng.standard_normal((5, 12)) * 2 + private(12, seed) + 7 for seed in (1, 2))
    assert cka(x, y) > 0.5
    rest = [partial_out(values, z) for values in (x, y)]
    assert abs(cka(*rest)) < 0.03
    assert mutual_knn(*rest) < 0.06 < mutual_knn(x, y)
    design = np.hstack([np.ones((N, 1)), z])
    assert np.abs(design.T @ rest[0]).max() < 1e-9
    shared = private(6, 5)
    both = [np.hstack([values, 4 * shared]) for values in (x, y)]
    assert cka(*(partial_out(values, z) for values in both)) > 0.9
