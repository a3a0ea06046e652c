"""The table of kernel scores equals the metrics one by one, with intervals and nulls that mean something."""

import numpy as np
import pytest

from jam.metrics import cka, cknna, mutual_knn, rsa, svcca
from jam.metrics.kernels import kernel_table

METRICS = {"mutual_knn": mutual_knn, "unbiased_cka": cka, "cknna": cknna, "svcca": svcca, "rsa": rsa}


@pytest.fixture(scope="module")
def table_and_arrays():
    rng = np.random.default_rng(0)
    state = rng.normal(size=(150, 6))
    xs = {"a": state @ rng.normal(size=(6, 9)), "b": rng.normal(size=(150, 7))}
    ys = {"c": np.tanh(state @ rng.normal(size=(6, 8))), "d": state}
    return kernel_table(xs, ys, tuple(METRICS), k=5, permutations=39, folds=10, seed=1), xs, ys


def test_values_are_those_of_the_single_functions(table_and_arrays):
    table, xs, ys = table_and_arrays
    assert len(table) == len(METRICS) * 4
    for row in table.itertuples():
        extra = {"k": 5} if row.metric in ("mutual_knn", "cknna") else {}
        assert row.value == pytest.approx(METRICS[row.metric](xs[row.x], ys[row.y], **extra), abs=1e-6)
        assert row.low < row.value < row.high
        assert row.n == 150
        assert row.k == extra.get("k", 0)


def test_shared_states_beat_the_null_and_independent_ones_do_not(table_and_arrays):
    table, *_ = table_and_arrays
    for row in table.itertuples():
        if row.x == "a":
            assert row.value > row.null
            assert row.p_value == 1 / 40
        else:
            assert row.value < row.null + 0.1
            assert row.p_value > 1 / 40
