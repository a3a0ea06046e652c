"""Recall of private factors: known answers, a null that holds, what is read from disk, what a space keeps."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import states as drawn
import torch

from jam.align import Adapter
from jam.align.towers import Linear
from jam.data.schema import View, write_world
from jam.errors import InputError
from jam.evaluation.private import Private, Views
from jam.evaluation.private_factors import read_private
from jam.evaluation.scores import Key, summarise
from jam.metrics import linear_r2, private_recall
from jam.world import state

SIZES = {"train": 1500, "val": 400, "test": 500}
RNG = np.random.default_rng(0)
KINDS = {"texture": 5, "tint": 4, "bar": 3}
FACTORS = {split: {name: np.eye(k)[RNG.integers(k, size=n)] for name, k in KINDS.items()} for split, n in SIZES.items()}
for split, n in SIZES.items():
    FACTORS[split]["pitch"] = RNG.standard_normal((n, 1))  # a number
ALL = {split: np.concatenate(list(of.values()), axis=1) for split, of in FACTORS.items()}
STATES = {split: state.facts(drawn.draw(n, seed)) for seed, (split, n) in enumerate(SIZES.items())}


def test_the_private_factors_tell_all_of_themselves_and_the_state_nothing():
    told = private_recall(ALL, FACTORS)
    assert list(told) == [*KINDS, "pitch", "mean"]
    assert all(one.value > 0.999 for one in told.values())
    for name, one in private_recall(STATES, FACTORS).items():
        assert abs(one.value) < 0.02, name
        assert one.value < max(0.01, 2 * np.quantile(one.null, 0.95)), name


def test_a_null_is_what_other_rows_score_and_a_rotation_changes_nothing():
    half = {split: of[:, :6] + 0.1 * RNG.standard_normal((len(of), 6)) for split, of in ALL.items()}
    told, turned = (
        private_recall(half, FACTORS),
        private_recall({s: x @ drawn.rotation(6) for s, x in half.items()}, FACTORS),
    )
    for name, one in told.items():
        assert one.value == pytest.approx(turned[name].value, abs=1e-6)
        assert len(one.null) == 20
        assert np.abs(one.null).max() < 0.02
        assert one.rows.mean() == one.value
    assert told["texture"].value > 0.9 > 0.1 > abs(told["pitch"].value)
    shuffled = {split: half[split][np.random.default_rng(1).permutation(len(half[split]))] for split in SIZES}
    assert abs(private_recall(shuffled, FACTORS)["mean"].value) < 0.02


def test_values_are_those_of_one_readout_a_factor():
    x = {split: of @ RNG.standard_normal((ALL["train"].shape[1], 4)) for split, of in ALL.items()}
    told = private_recall(x, FACTORS, permutations=0)
    for name in KINDS:
        assert told[name].value == pytest.approx(linear_r2(x, {s: FACTORS[s][name] for s in SIZES}).r2().mean())
    assert told["mean"].value == pytest.approx(np.mean([told[name].value for name in FACTORS["train"]]))


def test_what_does_not_vary_is_left_out_and_what_does_not_fit_is_refused():
    flat = {split: {**FACTORS[split], "tense": np.ones((n, 1))} for split, n in SIZES.items()}
    assert "tense" not in private_recall(ALL, flat)
    assert private_recall(ALL, {split: {} for split in SIZES}) == {}
    assert private_recall(ALL, {split: {"tense": np.ones((n, 1))} for split, n in SIZES.items()}) == {}
    with pytest.raises(ValueError, match="expected val"):
        private_recall(ALL, {"train": {}, "test": {}})
    with pytest.raises(ValueError, match="none 'mean'"):
        private_recall(ALL, {split: {"mean": ALL[split][:, :1]} for split in SIZES})


# --- from disk


def rows(ids, private):
    shared = {"context": None, "labels": [], "reality": [0.0], "negatives": [], "image": None}
    return [
        {**shared, "id": i, "captions": [View("a", "", of), View("b", "", {"tense": "never"})]}
        for i, of in zip(ids, private, strict=True)
    ]


def test_private_factors_are_those_of_the_first_view_in_the_order_asked_for(tmp_path):
    told = [{"tense": "past", "rate": "0.5"}, {"tense": "future", "rate": "1.5"}, {"tense": "past", "rate": "-2.25"}]
    write_world(tmp_path, {"train": rows("abc", told), "test": rows("d", told[:1])})
    found = read_private(tmp_path, "text", {"train": ["c", "b"], "test": ["d"]})
    assert found["train"]["tense"].tolist() == [[0, 1], [1, 0]]  # future, past
    assert found["train"]["rate"].tolist() == [[-2.25], [1.5]]
    assert found["test"]["tense"].tolist() == [[0, 1]]
    assert read_private(tmp_path, "image", {"train": ["a"]}) == {}
    with pytest.raises(InputError, match="'x' has no view"):
        read_private(tmp_path, "text", {"train": ["a", "x"]})


def test_nothing_private_is_no_factor_and_half_a_factor_is_refused(tmp_path):
    write_world(tmp_path / "none", {"train": rows("ab", [{}, {}])})
    assert read_private(tmp_path / "none", "text", {"train": ["a", "b"]}) == {}
    write_world(tmp_path / "half", {"train": rows("ab", [{"tense": "past"}, {}])})
    bare = pq.read_table(tmp_path / "half/views/text.parquet").drop_columns(["private"])
    pq.write_table(bare, tmp_path / "none/views/text.parquet")
    assert read_private(tmp_path / "none", "text", {"train": ["a", "b"]}) == {}
    with pytest.raises(InputError, match="'tense' is told of 1 of 2"):
        read_private(tmp_path / "half", "text", {"train": ["a", "b"]})


# --- of a space


def linear(matrix):
    adapter = Adapter("linear", *matrix.shape)
    adapter.tower = Linear.from_matrix(torch.as_tensor(matrix, dtype=torch.float32))
    return adapter


def test_a_space_that_drops_a_factor_has_lost_what_the_frozen_layer_tells_of_it():
    both = {split: np.concatenate([ALL[split], STATES[split]], axis=1).astype(np.float32) for split in SIZES}
    side = Private("image", Views(both, FACTORS), k=5)
    d = both["train"].shape[1]
    blind = np.diag((np.arange(d) >= KINDS["texture"]).astype(np.float32))  # to the texture alone
    found = side.outcomes(linear(blind))

    def of(label, **more):
        return found[Key("private", "image", label=label, **more)]

    assert of("texture", condition="frozen").values.mean() > 0.99
    assert of("texture", condition="whitened").values.mean() > 0.99
    assert abs(of("texture").values.mean()) < 0.02
    assert of("tint").values.mean() > 0.8  # read from vectors of length 1
    assert of("texture", against="frozen").values.mean() < -0.97
    assert of("texture").ceiling == pytest.approx(of("texture", condition="frozen").values.mean())
    table = summarise({0: found}, SIZES["test"], 50)
    row = table[
        (table["metric"] == "private")
        & (table["label"] == "texture")
        & table["against"].isna()
        & table["condition"].isna()
        & table["seed"].isna()
    ].iloc[0]
    assert row["low"] < row["value"] < row["high"] < row["ceiling"]
    assert abs(row["null"]) < 0.02
    structure = table[(table["metric"] == "preservation_whitened") & pd.isna(table["seed"])].iloc[0]
    assert 0.2 < structure["value"] < 1
