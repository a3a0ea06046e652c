"""Recall and precision of reality: known answers on drawn states, a twin by scikit-learn, intervals, bad input."""

import numpy as np
import pytest
import states as drawn
from sklearn.linear_model import Ridge

from jam.errors import InputError
from jam.metrics import (
    StateReadout,
    beyond,
    bootstrap_mean,
    expected_products,
    linear_r2,
    paired_difference,
    recall_of_reality,
)
from jam.metrics.readout import PENALTIES, Readout
from jam.world import state

STATES = {split: drawn.draw(n, seed) for seed, (split, n) in enumerate(drawn.SIZES.items())}
FACTS, FACTORS = drawn.by_split(state.facts, STATES), drawn.by_split(drawn.factors, STATES)
BOUND = drawn.by_split(state.bound, STATES)
ALL = {split: np.concatenate([FACTS[split], BOUND[split]], axis=1) for split in STATES}


def recall(x, added=drawn.ADDED, **options):
    return recall_of_reality(x, FACTORS, drawn.CELLS, added, **options)


def noise(d, seed=0):
    rng = np.random.default_rng(seed)
    return {split: rng.standard_normal((n, d)) for split, n in drawn.SIZES.items()}


# --- the engine


@pytest.mark.parametrize("d", [12, 90])  # fewer and more columns than train rows
def test_values_are_those_of_a_loop_over_ridge_regressions(d):
    rng, sizes = np.random.default_rng(d), {"train": 60, "val": 40, "test": 50}
    x = {split: rng.standard_normal((n, d)) * np.logspace(0, -2, d) + 3 for split, n in sizes.items()}
    maps = rng.standard_normal((d, 7))
    y = {split: x[split] @ maps * np.logspace(-2, 2, 7) + rng.standard_normal((n, 7)) - 5 for split, n in sizes.items()}
    groups = np.array(["a", "a", "b", "b", "b", "c", "c"])
    read = linear_r2(x, y, groups)

    mean = x["train"].mean(axis=0)
    unit = np.square(x["train"] - mean).sum() / min(d, 60)
    for group in "abc":
        here = groups == group
        models = [Ridge(alpha=unit * p, solver="svd").fit(x["train"] - mean, y["train"][:, here]) for p in PENALTIES]
        scales = y["train"][:, here].std(axis=0)
        losses = [np.square((y["val"][:, here] - m.predict(x["val"] - mean)) / scales).sum() for m in models]
        best = int(np.argmin(losses))
        assert (read.penalties[here] == PENALTIES[best]).all()
        errors = np.square(y["test"][:, here] - models[best].predict(x["test"] - mean)).sum(axis=0)
        totals = np.square(y["test"][:, here] - y["train"][:, here].mean(axis=0)).sum(axis=0)
        assert read.r2()[here] == pytest.approx(1 - errors / totals, abs=1e-8)
    assert read.rows().mean() == pytest.approx(read.r2().mean(), abs=1e-12)


def test_one_decomposition_serves_all_targets():
    x, (y, z) = noise(6), (noise(3, 1), noise(2, 2))
    readout = Readout(x)
    for target in (y, z):
        assert np.array_equal(readout.read(target).r2(), linear_r2(x, target).r2())


def test_columns_that_do_not_vary_are_left_out():
    y = noise(4, 1)
    for split, column in (("train", 0), ("test", 2), ("val", 3)):
        y[split][:, column] = 0.1
    read = linear_r2(noise(5), y)
    assert read.kept.tolist() == [False, True, False, True]
    assert np.isnan(read.r2()).tolist() == [True, False, True, False]
    assert read.rows().mean() == pytest.approx(read.r2()[[1, 3]].mean(), abs=1e-12)
    with pytest.raises(InputError, match="no column varies"):
        read.rows(np.array([True, False, True, False]))


def test_contributions_bootstrap_like_the_ratio_itself():
    x = noise(4)
    rng = np.random.default_rng(5)
    y = {split: rows[:, :3] + rng.standard_normal((len(rows), 3)) for split, rows in x.items()}
    read = linear_r2(x, y)
    picks = np.random.default_rng(0).integers(800, size=(1000, 800))
    ratios = (1 - read.errors[picks].sum(axis=1) / read.totals[picks].sum(axis=1)).mean(axis=1)
    _, low, high = bootstrap_mean(read.rows())
    assert (low, high) == pytest.approx(np.quantile(ratios, [0.025, 0.975]), abs=0.003)


def test_a_worse_readout_than_the_mean_is_negative_and_not_clipped():
    y = noise(1, 1)
    y["test"] = y["test"] * 0.1
    assert linear_r2(noise(200), y, penalties=[1e-9]).r2()[0] < -1


def test_the_penalty_is_chosen_on_validation_rows():
    x, y = noise(200), noise(1, 1)
    fit = np.linalg.lstsq(x["train"] - x["train"].mean(axis=0), y["train"], rcond=None)[0]
    for val, chosen in ((x["val"] @ fit, 1e-6), (-(x["val"] @ fit), 1e4)):
        assert linear_r2(x, y | {"val": val}, penalties=(1e-6, 1e4)).penalties[0] == chosen


@pytest.mark.parametrize(
    ("x", "y", "error", "match"),
    [
        ({"train": np.eye(3)}, noise(1), ValueError, "expected val, test too"),
        (noise(3) | {"test": np.ones((800, 4))}, noise(1), ValueError, "as many in all splits"),
        (noise(3), noise(1) | {"val": np.ones((5, 1))}, ValueError, "expected .* as in the features"),
        (drawn.by_split(lambda rows: 0 * rows + 0.1, noise(3)), noise(1), InputError, "all train rows are the same"),
        (noise(3) | {"val": np.full((500, 3), np.nan)}, noise(1), InputError, "NaN"),
    ],
)
def test_bad_input_is_named(x, y, error, match):
    with pytest.raises(error, match=match):
        linear_r2(x, y)
    with pytest.raises(ValueError, match="penalties"):
        linear_r2(noise(3), noise(1), penalties=(0.0,))


# --- recall: known answers


def test_facts_tell_every_cell_and_no_binding_and_the_bound_state_tells_all():
    facts, everything = recall(FACTS), recall(ALL)
    for name in ("presence", "digit", "colour", "size", "digits", "colours", "mean", "digit beyond presence"):
        assert (facts[name].value, everything[name].value) == pytest.approx((1, 1), abs=1e-6)
    # One thing's digit and colour are no linear function of its product. What facts say of products is in the bag.
    for name in ("binding", "strict"):
        assert abs(facts[name].value) < 0.005
        assert everything[name].value == pytest.approx(1, abs=1e-3)
    assert 0.15 < facts["products"].value < 0.23
    assert everything["products"].value == pytest.approx(1, abs=1e-3)
    assert facts["count"].value < 0.6  # one-hot counts are no linear function either: the oracle's row is the ceiling


def test_a_bag_of_words_binds_nothing():
    found = recall(drawn.by_split(drawn.bag, FACTORS))
    assert found["binding"].value == found["strict"].value == 0
    assert found["digits"].value == pytest.approx(1, abs=1e-6)
    assert found["digit"].high < 0.25
    assert found["mean"].high < 0.2
    rng = np.random.default_rng(0)
    mix = rng.standard_normal((18, 40))
    noisy = recall({split: drawn.bag(part) @ mix + 0.1 * noise(40)[split] for split, part in FACTORS.items()})
    assert noisy["binding"].low <= 0 <= noisy["binding"].high + 1e-4


def test_a_bag_that_is_mixed_nonlinearly_seems_to_bind_until_what_it_expects_is_given():
    x = {split: np.concatenate([drawn.bag(part), part["expected"]], axis=1) for split, part in FACTORS.items()}
    found = recall(x)
    assert 0.4 < found["binding"].value < 0.55
    assert found["strict"].value == 0
    rng = np.random.default_rng(0)
    hidden = rng.standard_normal((18, 300))
    random_net = recall({split: np.maximum(drawn.bag(part) @ hidden, 0) for split, part in FACTORS.items()})
    assert random_net["binding"].value > 0.1
    assert abs(random_net["strict"].value) < 0.01


def test_a_blind_oracle_is_caught():
    found = recall(drawn.by_split(drawn.blind, FACTS))
    assert found["digit"].value == pytest.approx(1 / 16, abs=0.01)  # a third of the cells is filled: r² of 1/10 there
    assert abs(found["digit beyond presence"].value) < 0.001
    for name in ("presence", "colour", "size"):
        assert found[name].value == pytest.approx(1, abs=1e-6)
    assert found["mean"].value == pytest.approx((2 + found["digit"].value) / 3, abs=1e-6)


def test_random_features_tell_nothing():
    for share in recall(noise(64)).values():
        assert -0.01 < share.value < 0.005
        assert share.low <= share.value <= share.high


def test_scale_rotation_and_offset_do_not_matter():
    rng = np.random.default_rng(0)
    mix = rng.standard_normal((126, 30))
    x = {split: part @ mix + noise(30)[split] for split, part in FACTS.items()}
    moved = {split: 1e-3 * part @ drawn.rotation(30) + 7 for split, part in x.items()}
    plain, other = recall(x), recall(moved)
    assert 0.05 < plain["mean"].value < 0.95
    for name, share in plain.items():
        assert other[name].value == pytest.approx(share.value, abs=1e-8)
        assert other[name].penalty == share.penalty
    state_readout = StateReadout(FACTS)
    for whitened in (False, True):
        values = [state_readout.precision(part, whitened).value for part in (x, moved)]
        assert values[0] == pytest.approx(values[1], abs=1e-8)


def test_columns_are_counted_and_a_factor_without_any_is_named():
    factors = {split: {"a": part["digit"].copy(), "b": part["size"]} for split, part in FACTORS.items()}
    factors["test"]["a"][:, :7] = 0
    found = recall_of_reality(FACTS, factors, ["a"])
    assert (found["a"].columns, found["a"].left_out) == (53, 7)
    factors["test"]["a"][:] = 0
    with pytest.raises(InputError, match="no column of 'a'"):
        recall_of_reality(FACTS, factors, ["b"])


@pytest.mark.parametrize(
    ("mean_of", "added", "match"),
    [
        (["shape"], None, "mean_of: got"),
        ([], None, "at least one"),
        (["digit"], {"mean": ("products", ("count",))}, "no name twice"),
        (["digit"], {"digit": ("products", ("count",))}, "no name twice"),
        (["digit"], {"binding": ("products", ("shape",))}, "'shape'"),
    ],
)
def test_bad_names_are_named(mean_of, added, match):
    with pytest.raises(ValueError, match=match):
        recall_of_reality(FACTS, FACTORS, mean_of, added)
    with pytest.raises(ValueError, match="same in all"):
        recall_of_reality(FACTS, FACTORS | {"val": {}}, ["digit"])


def test_beyond_leaves_nothing_that_is_given():
    products = drawn.by_split(lambda part: part["products"], FACTORS)
    given = drawn.by_split(drawn.bag, FACTORS)
    left = beyond(products, [given])
    design = np.concatenate([np.ones((2000, 1)), given["train"]], axis=1)
    assert np.abs(design.T @ left["train"]).max() < 1e-8
    assert not any(part.any() for part in beyond(given, [products, given]).values())


def test_expected_products_are_means_over_matchings():
    found = expected_products([[1, 1, 0], [2, 0, 0], [0, 0, 0]], [[1, 1], [0, 2], [0, 0]])
    assert found.tolist() == [[0.5, 0.5, 0.5, 0.5, 0, 0], [0, 2, 0, 0, 0, 0], [0] * 6]
    with pytest.raises(ValueError, match="counts of the same things"):
        expected_products([[1, 1]], [[1, 2]])


# --- precision


def test_precision_of_the_state_is_one_and_of_noise_zero():
    known = StateReadout(FACTS, BOUND)
    assert known.precision(FACTS).value == pytest.approx(1, abs=1e-6)
    assert known.precision(ALL, whitened=True).value > 0.99
    for whitened in (False, True):
        assert abs(known.precision(noise(50), whitened).value) < 0.005


def test_precision_is_the_share_that_the_state_explains():
    readout, mix = StateReadout(FACTS), np.random.default_rng(3).standard_normal((126, 40)) / 6
    told = {split: part @ mix for split, part in FACTS.items()}
    signal = told["test"].var(axis=0).sum() / 40
    for variance in (0.2, 2.0):
        x = {split: part + np.sqrt(variance) * noise(40, 9)[split] for split, part in told.items()}
        found = readout.precision(x)
        assert found.value == pytest.approx(signal / (signal + variance), abs=0.03)
        assert found.low < found.value < found.high
        assert found.high - found.low < 0.05
        # A loud fact makes the rest inaudible, unless every direction counts the same.
        loud = {split: np.concatenate([100 * FACTS[split][:, :1], part], axis=1) for split, part in x.items()}
        assert readout.precision(loud).value > 0.95
        assert readout.precision(loud, whitened=True).value == pytest.approx(found.value, abs=0.1)


def test_products_are_needed_where_a_representation_holds_them():
    products = drawn.by_split(lambda part: part["products"], FACTORS)
    assert StateReadout(FACTS, BOUND).precision(products).value == pytest.approx(1, abs=1e-3)
    assert StateReadout(FACTS).precision(products).value < 0.3


def test_bad_states_are_named():
    with pytest.raises(ValueError, match="at least one"):
        StateReadout()
    with pytest.raises(ValueError, match="as many in all"):
        StateReadout(FACTS, FACTS | {"val": FACTS["val"][:5]})
    with pytest.raises(InputError, match="all train or all test rows"):
        StateReadout(FACTS).precision(drawn.by_split(np.ones_like, FACTS))


# --- intervals over rows


def test_paired_differences_are_tighter_than_two_intervals():
    x, better = ({split: part @ np.eye(126)[:, :d] for split, part in FACTS.items()} for d in (40, 60))
    a, b = (recall(part, None)["mean"] for part in (better, x))
    found = paired_difference(a.rows, b.rows)
    assert found.value == pytest.approx(a.value - b.value, abs=1e-12)
    assert 0 < found.low < found.high
    assert paired_difference(a.rows, a.rows) == (0, 0, 0)
    with pytest.raises(ValueError, match="same rows in both"):
        paired_difference(a.rows, b.rows[1:])


def test_bootstrap_intervals_cover_the_mean():
    rng = np.random.default_rng(0)
    found = [bootstrap_mean(rng.exponential(size=100), 400, seed) for seed in range(200)]
    assert 0.88 < np.mean([low <= 1 <= high for _, low, high in found]) < 0.99
    assert bootstrap_mean([1.0, 2.0, 4.0], seed=3) == bootstrap_mean([1.0, 2.0, 4.0], seed=3)
    for rows, error in (([1.0], ValueError), ([1.0, np.nan], InputError)):
        with pytest.raises(error, match="rows"):
            bootstrap_mean(rows)
