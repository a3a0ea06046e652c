"""Models compared: measures with known answers, MRQAP, grounding, trajectories, clusters, claims, extracts."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.metrics import adjusted_mutual_info_score, average_precision_score
from sklearn.model_selection import PredefinedSplit

from jam.compare.analysis import (
    CLAIMS,
    Measured,
    agreement,
    classical_mds,
    distances,
    graded,
    judge,
    kmeans_labels,
    layer_order,
    mrqap,
    pooled,
    same,
    separation,
)
from jam.compare.similarity import (
    Prepared,
    kernel_similarities,
    linear_similarities,
    predictability,
    printed_cka,
    printed_similarities,
    rotated_cosines,
    rsa_table,
    with_ceilings,
)
from jam.errors import InputError
from jam.metrics.kernels import cka, kernel_table
from jam.metrics.kernels.nulls import draw_orders
from jam.metrics.readout import PENALTIES, Readout

SIZES = {"train": 400, "val": 120, "test": 150}
KERNELS = ("unbiased_cka", "rsa", "mutual_knn")


def rotation(d, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((d, d)))[0]


def signal(sizes=SIZES, d=6, seed=0):
    rng = np.random.default_rng(seed)
    return {split: rng.standard_normal((n, d)) * np.arange(1, d + 1) for split, n in sizes.items()}


def seen(z, d, noise=0.5, seed=1):
    """What a model of width d makes of the signal: a linear map of it, and noise of its own."""
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((z["train"].shape[1], d))
    return {split: rows @ weights + noise * rng.standard_normal((len(rows), d)) + 3 for split, rows in z.items()}


def moved(rows, d_more=0, seed=5):
    """Rotated, scaled and shifted, in more dimensions."""
    d = rows["train"].shape[1]
    turn = rotation(d + d_more, seed)[:d]
    return {split: 2.5 * of @ turn - 1 for split, of in rows.items()}


# --- measures ---------------------------------------------------------------------------------------------------------


def test_kernel_similarities_of_known_pairs():
    z = signal({"train": 4, "val": 4, "test": 400})
    x, rng = seen(z, 12)["test"], np.random.default_rng(3)
    turned = 2 * x @ rotation(16)[:12]  # in more dimensions
    reps = {"x": x, "turned": turned, "noise": rng.standard_normal((400, 20))}
    table = kernel_similarities(reps, metrics=KERNELS, permutations=60, folds=5)
    assert len(table) == 3 * 3  # every two, and none with itself
    told = table.set_index(["metric", "x", "y"])
    for metric in ("unbiased_cka", "mutual_knn"):
        assert told.loc[(metric, "x", "turned"), "value"] == pytest.approx(1, abs=1e-5)
    # RSA by correlation distances is that of rows whose mean over dimensions is left out: not quite rotation-invariant
    assert told.loc[("rsa", "x", "turned"), "value"] > 0.8
    for other in ("x", "turned"):
        assert abs(told.loc[("unbiased_cka", other, "noise"), "value"]) < 0.01
        assert told.loc[("unbiased_cka", other, "noise"), "p"] > 0.05
    assert (told.loc[("unbiased_cka", "x", "turned"), ["p"]] == 1 / 61).all()
    assert (table["low"] <= table["value"]).all()
    assert (table["value"] <= table["high"]).all()
    back = kernel_similarities({name: reps[name] for name in reversed(reps)}, metrics=KERNELS, permutations=2, folds=5)
    both = back.set_index(["metric", "y", "x"])["value"].reindex(told.index)
    np.testing.assert_allclose(both, told["value"], atol=1e-9)  # symmetric


def test_kernel_similarities_across_are_those_of_the_engine():
    z = signal({"train": 4, "val": 4, "test": 90})
    x, y = seen(z, 8)["test"], seen(z, 5, seed=2)["test"]
    groups = np.arange(90) // 2
    how = {"k": 5, "groups": groups, "permutations": 40, "folds": 6, "seed": 3}
    table = kernel_similarities({"x": x}, {"y": y}, KERNELS, **how)
    twin = kernel_table({"x": x}, {"y": y}, KERNELS, **how).set_index("metric").loc[table["metric"]].reset_index()
    for ours, theirs in (("value", "value"), ("null", "null"), ("null_mean", "null_mean"), ("p", "p_value")):
        np.testing.assert_allclose(table[ours], twin[theirs], atol=1e-7)
    np.testing.assert_allclose(table[["low", "high"]], twin[["low", "high"]], atol=1e-9)
    assert kernel_similarities({"x": x}).empty
    with pytest.raises(ValueError, match="rows, expected as many"):
        rsa_table({"x": x}, {"y": y[:50]}, folds=5)


def test_printed_cka_is_not_cka():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1000, 50)) * np.r_[np.full(10, 2.0), np.full(40, 1.0)]
    shuffled = x[rng.permutation(1000)]
    assert printed_cka(x, shuffled) == pytest.approx(1, abs=1e-12)
    assert abs(cka(x, shuffled)) < 0.01
    noise, more = rng.standard_normal((2, 1000, 50))
    assert printed_cka(noise, more) == pytest.approx(0.95, abs=0.01)  # 1 / (1 + d/n)
    assert abs(cka(noise, more)) < 0.01
    turned = x @ rotation(50)
    assert printed_cka(x, turned) == pytest.approx(0.6, abs=0.1)
    assert cka(x, turned) == pytest.approx(1, abs=1e-9)
    with pytest.raises(ValueError, match="as many rows and dimensions"):
        printed_cka(x, noise[:, :49])
    # as it was printed, with matrices of n × n
    a, b = noise[:60] - noise[:60].mean(0), more[:60] - more[:60].mean(0)
    literal = np.linalg.norm(a @ b.T) ** 2 / np.linalg.norm(a @ a.T) / np.linalg.norm(b @ b.T)
    assert printed_cka(noise[:60], more[:60]) == pytest.approx(literal, abs=1e-12)
    table = printed_similarities({"x": x, "noise": noise, "narrow": noise[:, :3]}, folds=5)
    assert len(table) == 1
    assert table["value"][0] == table["null"][0] == pytest.approx(printed_cka(x, noise))
    assert printed_similarities({}).empty


def test_predictability_is_that_of_scikit_learn():
    z = signal()
    x, y = seen(z, 15), seen(z, 9, noise=2, seed=2)
    found = predictability(Prepared.of(x), Prepared.of(y))
    a, b = ({split: rows - of["train"].mean(0) for split, rows in of.items()} for of in (x, y))
    unit = np.square(a["train"]).sum() / 15
    fold = np.r_[np.full(400, -1), np.zeros(120, int)]
    both = [np.concatenate([of["train"], of["val"]]) for of in (a, b)]
    how = {"fit_intercept": False, "cv": PredefinedSplit(fold), "scoring": "neg_mean_squared_error"}
    chosen = RidgeCV(unit * np.array(PENALTIES), **how).fit(*both).alpha_
    assert chosen == pytest.approx(unit * found.penalties[0])
    left = b["test"] - Ridge(chosen, fit_intercept=False).fit(a["train"], b["train"]).predict(a["test"])
    np.testing.assert_allclose(found.errors[:, 0], np.square(left).sum(1), rtol=1e-7)
    r2 = 1 - np.square(left).sum() / np.square(b["test"]).sum()
    assert found.pooled_rows().mean() == pytest.approx(r2, abs=1e-10)
    assert Readout(x).read(y, pooled=True).pooled_rows().mean() == pytest.approx(r2, abs=1e-10)


@settings(max_examples=10, deadline=None)
@given(d=st.integers(1, 60), seed=st.integers(0, 99))
def test_predictability_is_that_of_the_readout(d, seed):
    """In fewer rows than dimensions too, where the readout decomposes another matrix."""
    sizes = {"train": 40, "val": 12, "test": 15}
    z = signal(sizes, seed=seed)
    x, y = seen(z, d, seed=seed + 1), seen(z, 4, seed=seed + 2)
    ours, theirs = predictability(Prepared.of(x), Prepared.of(y)), Readout(x).read(y, pooled=True)
    np.testing.assert_allclose(ours.errors.sum(1), theirs.errors.sum(1), rtol=1e-5, atol=1e-8)


def test_linear_similarities_of_known_pairs():
    z, rng = signal(), np.random.default_rng(9)
    x = seen(z, 12)
    reps = {"x": x, "turned": moved(x), "wider": moved(x, 5), "far": seen(z, 12, noise=4, seed=7)}
    reps["shuffled"] = {split: rows[rng.permutation(len(rows))] for split, rows in moved(x).items()}
    names = list(reps)
    pairs = [("x", other) for other in names[1:]]
    table = linear_similarities(reps, pairs, permutations=60, resamples=200)
    told = table.set_index(["metric", "y", "direction"])
    for other in ("turned", "wider"):
        for way in ("x_to_y", "y_to_x"):
            assert told.loc[("predictability", other, way), "value"] == pytest.approx(1, abs=1e-6)
    cosines = table[table["metric"] == "procrustes_cosine"].set_index("y")
    np.testing.assert_allclose(cosines.loc[["turned", "wider"], "value"], 1, atol=1e-9)
    assert abs(cosines.loc["shuffled", "value"]) < 0.1
    assert cosines.loc["shuffled", "p"] > 0.05
    assert 0.2 < cosines.loc["far", "value"] < 0.95
    assert cosines.loc["far", "p"] < 0.05
    shuffled = told.loc["predictability"].loc["shuffled"]
    assert (shuffled["value"].abs() < 0.05).all()
    assert (table["low"] <= table["value"] + 1e-9).all()
    assert (table["value"] <= table["high"] + 1e-9).all()
    other_way = linear_similarities(reps, [(b, a) for a, b in pairs], permutations=60, resamples=200)
    back = other_way[other_way["metric"] == "procrustes_cosine"].set_index("x")["value"]
    np.testing.assert_allclose(back, cosines["value"], atol=1e-9)  # symmetric
    told_back = other_way.set_index(["metric", "x", "direction"])
    assert told_back.loc[("predictability", "far", "y_to_x"), "value"] == pytest.approx(
        told.loc[("predictability", "far", "x_to_y"), "value"]
    )
    pd.testing.assert_frame_equal(table, linear_similarities(reps, pairs, permutations=60, resamples=200))
    assert linear_similarities(reps, []).empty


def test_padding_with_zeros_is_what_the_rotation_does():
    from scipy.linalg import orthogonal_procrustes

    z = signal()
    x, y = seen(z, 7), seen(z, 11, seed=2)
    a, b = ({split: rows - of["train"].mean(0) for split, rows in of.items()} for of in (x, y))
    a = {split: np.pad(rows, [(0, 0), (0, 4)]) for split, rows in a.items()}
    turn, _ = orthogonal_procrustes(a["train"], b["train"])
    u, v = a["test"] @ turn, b["test"]
    expected = (u * v).sum(1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1)
    orders = draw_orders(SIZES["test"], 30, 0)
    cosines, null = rotated_cosines(Prepared.of(x), Prepared.of(y), orders)
    np.testing.assert_allclose(cosines, expected, atol=1e-9)
    u, v = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (u, v))
    np.testing.assert_allclose(null, [(u * v[order]).sum(1).mean() for order in orders.matrix()], atol=1e-9)


def test_prepared_refuses_rows_without_direction():
    z = signal()
    with pytest.raises(InputError, match="all train rows are the same"):
        Prepared.of({split: np.ones_like(rows) for split, rows in z.items()})
    z["test"][3] = z["train"].mean(0)
    with pytest.raises(InputError, match="test row 3"):
        Prepared.of(z)


def test_ceilings_are_those_of_reruns():
    values = {("a", "a1"): 0.9, ("a", "b"): 0.5, ("a1", "b"): 0.6, ("b", "b1"): 0.4, ("a", "c"): 0.3, ("c", "d"): 0.2}
    table = pd.DataFrame([{"x": x, "y": y, "metric": "rsa", "value": value} for (x, y), value in values.items()])
    found = with_ceilings(table, {"a": "A", "a1": "A", "b": "B", "b1": "B", "c": "C"}).set_index(["x", "y"])["ceiling"]
    assert math.isnan(found["a", "a1"])  # it is one
    assert found["a", "b"] == pytest.approx(math.sqrt(0.9 * 0.4))
    assert found["a", "c"] == pytest.approx(0.9)  # c has no rerun
    assert math.isnan(found["c", "d"])


# --- why: MRQAP -------------------------------------------------------------------------------------------------------


def symmetric(rng, n):
    noise = rng.standard_normal((n, n))
    return (noise + noise.T) / 2


def test_mrqap_finds_a_planted_factor():
    rng = np.random.default_rng(0)
    objective, data = np.arange(12) % 3, np.arange(12) // 4
    y = 0.5 + 0.2 * same(objective) + 0.05 * symmetric(rng, 12)
    found = {one.name: one for one in mrqap(y, {"objective": same(objective), "data": same(data)}, 999)}
    one = found["objective"]
    assert one.value == pytest.approx(0.2, abs=0.05)
    assert one.low < 0.2 < one.high
    assert one.p == pytest.approx(0.001)
    assert one.standardised > 0.8
    assert one.explained > 0.7
    assert one.null < one.value
    assert one.n == 12
    assert found["data"].p > 0.05
    assert found["data"].low < 0 < found["data"].high
    # least squares over the pairs
    above = np.triu_indices(12, 1)
    design = np.stack([np.ones(66), same(objective)[above], same(data)[above]], axis=1)
    np.testing.assert_allclose(
        [one.value, found["data"].value], np.linalg.lstsq(design, y[above], rcond=None)[0][1:], atol=1e-12
    )


def test_mrqap_takes_all_orders_of_few_models():
    """Two and three of a kind among five: of 120 orders the 12 that keep them leave the factor as it is."""
    kinds = [0, 0, 1, 1, 1]
    y = same(kinds) + 0.01 * symmetric(np.random.default_rng(1), 5)
    [one] = mrqap(y, {"kind": same(kinds)}, 120)
    assert one.p == pytest.approx(0.1) == one.smallest_p


def test_mrqap_keeps_its_level():
    """Pairs share models, whose own levels differ: what ordinary least squares would take for effects."""
    rng, refused, trials, n = np.random.default_rng(2), 0, 200, 10
    other = same(np.arange(n) % 2)
    for _ in range(trials):
        level = rng.standard_normal(n)
        y = level[:, None] + level + 0.5 * symmetric(rng, n) + 0.3 * other
        labels = rng.permutation(np.arange(n) // 4)
        kinds = same(labels) + 0.3 * other  # collinear with what matters
        refused += mrqap(y, {"kind": kinds, "other": other}, 99, seed=int(rng.integers(999)))[0].p <= 0.05
    assert 0.01 <= refused / trials <= 0.1


@pytest.mark.parametrize(
    ("factors", "said"),
    [
        ({"flat": np.ones((6, 6))}, "factor flat: it does not vary"),
        ({"a": same([0, 0, 0, 1, 1, 1]), "b": 2 * same([0, 0, 0, 1, 1, 1])}, "factor a: it is told in full"),
    ],
)
def test_mrqap_refuses_factors_that_tell_nothing(factors, said):
    with pytest.raises(InputError, match=said):
        mrqap(symmetric(np.random.default_rng(0), 6), factors)


def test_mrqap_refuses_what_is_no_such_matrix():
    y, lone = symmetric(np.random.default_rng(0), 6), same([0, 1, 1, 1, 1, 1])
    with pytest.raises(ValueError, match="not symmetric"):
        mrqap(np.arange(36).reshape(6, 6), {"a": lone})
    with pytest.raises(ValueError, match="at least 4"):
        mrqap(y[:3, :3], {"a": lone[:3, :3]})
    with pytest.raises(InputError, match="not finite"):
        mrqap(np.where(lone > 0, y, np.nan), {"a": lone})
    with pytest.raises(InputError, match="equally alike"):
        mrqap(np.ones((6, 6)), {"a": lone})


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 999))
def test_the_interval_of_mrqap_is_what_its_test_does_not_refuse(seed):
    rng = np.random.default_rng(seed)
    y, kinds, other = symmetric(rng, 7), same(rng.permutation(7) // 3), same(rng.permutation(7) // 2)
    [one, _] = mrqap(y, {"kind": kinds, "other": other}, 99)
    assert (one.p <= 0.05) == (not one.low <= 0 <= one.high)
    for end, outwards in ((one.low, -1), (one.high, 1)):
        if np.isfinite(end):  # the effect taken off, the test refuses beyond the end alone
            left, beyond = (
                mrqap(y - (end + outwards * step) * kinds, {"kind": kinds, "other": other}, 99)[0].p
                for step in (-1e-6, 1e-6)
            )
            assert left > 0.05 >= beyond


# --- measures held against what is known ------------------------------------------------------------------------------


def test_separation_of_groups():
    groups = [0, 0, 1, 1, 2, 2]
    rng = np.random.default_rng(0)
    perfect = {one.name: one for one in separation(same(groups) + 0.1 * symmetric(rng, 6), groups)}
    assert perfect["auprc"].value == perfect["conformity"].value == 1
    assert perfect["auprc"].p == pytest.approx(48 / 720)  # all orders: those that keep the pairs are 2³·3!
    mixed = separation(symmetric(rng, 6), groups)
    assert [one.smallest_p for one in mixed] == pytest.approx([48 / 720] * 2)
    assert mixed[0].p > mixed[0].smallest_p
    assert graded(symmetric(rng, 6), groups)[0].smallest_p == pytest.approx(16 / 720)  # 2³, and back to front
    assert perfect["conformity"].null_mean == pytest.approx(0.5, abs=0.02)
    y, eight = symmetric(rng, 8), [0, 0, 0, 1, 1, 1, 2, 2]
    found = {one.name: one for one in separation(y, eight, 300)}
    above = np.triu_indices(8, 1)
    assert found["auprc"].value == pytest.approx(average_precision_score(same(eight)[above], y[above]))
    assert found["auprc"].p > 0.05
    assert found["auprc"].models == 8
    assert found["auprc"].n == 28
    with pytest.raises(ValueError, match="a pair of models within one"):
        separation(y, range(8))


def test_graded_levels_and_order_of_layers():
    places = np.array([0, 0.3, 0.6, 1.0])
    near = 1 - np.abs(places[:, None] - places)
    [one] = graded(near, places)
    assert one.value == pytest.approx(1)
    assert one.p == pytest.approx(1 / 24)
    assert one.n == 6
    depth = np.arange(6)
    ordered = {one.name: one for one in layer_order(1 - np.abs(depth[:, None] - depth) / 6)}
    assert ordered["conformity"].value == 1 == pytest.approx(ordered["rank_correlation"].value)
    assert ordered["conformity"].p <= 0.05
    assert ordered["conformity"].n == 40
    mixed = {one.name: one for one in layer_order(symmetric(np.random.default_rng(3), 6))}
    assert mixed["conformity"].p > 0.05
    assert mixed["conformity"].null_mean == pytest.approx(0.5, abs=0.03)
    with pytest.raises(ValueError, match="at least 3"):
        layer_order(np.eye(2))
    with pytest.raises(ValueError, match="equally far apart"):
        graded(near[:2, :2], [0, 1])


# --- when: trajectories -----------------------------------------------------------------------------------------------


def test_mds_recovers_a_plane():
    points = np.random.default_rng(0).standard_normal((15, 2)) * [3, 1]
    apart = np.linalg.norm(points[:, None] - points, axis=2)
    plane = classical_mds(apart, 2)
    np.testing.assert_allclose(np.linalg.norm(plane.points[:, None] - plane.points, axis=2), apart, atol=1e-9)
    assert plane.explained.sum() == pytest.approx(1)
    assert plane.negative == pytest.approx(0, abs=1e-9)
    assert (plane.points[np.abs(plane.points).argmax(0), [0, 1]] > 0).all()
    again = classical_mds(np.linalg.norm((-points)[:, None] + points, axis=2), 2)
    np.testing.assert_allclose(again.points, plane.points)
    three = classical_mds(apart, 3)
    assert three.explained[2] == pytest.approx(0, abs=1e-9)
    with pytest.raises(InputError, match="all points are the same"):
        classical_mds(np.zeros((4, 4)))
    with pytest.raises(ValueError, match="expected \\(n, n\\)"):
        classical_mds(apart[:2, :2], 2)


def test_distances_of_kernels_are_euclidean():
    rng = np.random.default_rng(1)
    reps = [rng.standard_normal((40, 5)) for _ in range(6)]
    alike = np.array([[cka(x, y, unbiased=False) for y in reps] for x in reps])
    plane = classical_mds(distances(alike), 5)
    assert plane.negative == pytest.approx(0, abs=1e-9)
    kernels = [of @ of.T / np.linalg.norm(of @ of.T) for of in (rows - rows.mean(0) for rows in reps)]
    assert distances(alike)[0, 1] == pytest.approx(np.linalg.norm(kernels[0] - kernels[1]))


# --- concepts ---------------------------------------------------------------------------------------------------------


def test_agreement_of_clusters():
    rng = np.random.default_rng(0)
    habitat = rng.integers(4, size=300)
    centres = rng.standard_normal((2, 4, 6)) * 4
    models = {f"m{i}": centres[i][habitat] + rng.standard_normal((300, 6)) for i in range(2)}
    labelled = {name: kmeans_labels(rows, 4) for name, rows in models.items()}
    labelled |= {"habitat": np.array([f"h{one}" for one in habitat]), "other": rng.integers(5, size=300)}
    pairs = [("m0", "m1"), ("m0", "habitat"), ("m0", "other")]
    table = agreement(labelled, pairs, permutations=60, folds=5).set_index("y")
    for name, other in pairs:
        twin = adjusted_mutual_info_score(labelled[name], labelled[other])
        assert table.loc[other, "value"] == pytest.approx(twin, abs=1e-9)
    assert table.loc["m1", "value"] > 0.9
    assert table.loc["habitat", "p"] == pytest.approx(1 / 61)
    assert abs(table.loc["other", "value"]) < 0.03
    assert table.loc["other", "p"] > 0.05
    assert table["null_mean"].abs().max() < 0.01  # adjusted for chance
    assert (table["low"] <= table["value"]).all()
    assert agreement(labelled, []).empty
    assert (kmeans_labels(models["m0"], 4) == labelled["m0"]).all()
    with pytest.raises(InputError, match="one label for all items"):
        agreement({"a": np.zeros(9), "b": np.arange(9)}, [("a", "b")], folds=3)
    with pytest.raises(InputError, match="rows that differ"):
        kmeans_labels(np.ones((5, 2)), 2)


# --- claims -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "low", "high", "outcome"),
    [
        ("cnn_vit", 0.77, 0.76, 0.79, "holds"),
        ("cnn_vit", 0.77, 0.70, 0.79, "undecided"),
        ("cnn_vit", 0.60, 0.55, 0.65, "does not hold"),
        ("cnn_vit", 0.90, 0.85, 0.95, "does not hold"),
        ("cnn_cnn", 0.99, 0.97, 1.01, "holds"),
        ("cnn_cnn", 0.90, 0.88, 0.92, "undecided"),
        ("stitching_less", -0.01, -0.03, 0.01, "holds"),
        ("clip_align", 0.86, 0.83, 0.89, "holds"),
        ("early_layers", 0.3, 0.2, 0.4, "undecided"),
    ],
)
def test_claims_are_judged_by_the_rule(name, value, low, high, outcome):
    assert judge(CLAIMS[name], Measured(value, low, high, 100)) == outcome


def test_claims_without_a_measurement():
    assert all(judge(claim, None) == "not measured yet" for claim in CLAIMS.values())
    assert pooled([]) is None
    assert pooled([Measured(0.5, 0.4, 0.6, 10), Measured(0.7, 0.7, 0.9, 8)]) == Measured(
        pytest.approx(0.6), pytest.approx(0.55), pytest.approx(0.75), 8
    )
    with pytest.raises(ValueError, match="two numbers in order"):
        judge(CLAIMS["cnn_cnn"], Measured(0.5, 0.6, 0.4, 10))


def test_matrices_and_levels_that_tell_nothing_are_refused():
    whole, groups = symmetric(np.random.default_rng(0), 6), [0, 0, 1, 1, 2, 2]
    for one in (separation, graded):
        with pytest.raises(ValueError, match="not symmetric"):
            one(np.tril(whole), groups)
        with pytest.raises(ValueError, match="permutations: got 0"):
            one(whole, groups, 0)
    with pytest.raises(ValueError, match=r"levels: got .*nan.*, expected finite numbers"):
        graded(whole, [np.nan, *groups[1:]])


def test_items_that_are_clusters_of_their_own_in_both_agree():
    alone = {"a": np.arange(60), "b": np.arange(60)[::-1].copy(), "c": np.arange(60) // 20}
    table = agreement(alone, [("a", "b"), ("a", "c")], permutations=19, folds=5)
    assert list(table["value"]) == [1, pytest.approx(0, abs=1e-9)]
