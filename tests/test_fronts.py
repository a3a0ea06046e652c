"""Fronts of settings, the one that aligns best, what alignment destroys and reconstruction saves: hand-made cells."""

import numpy as np
import pandas as pd
import pytest

from jam.evaluation.scores import Key, PerRow
from jam.params import load_params
from jam.report import pareto_figures
from jam.report.sweep_tables import losses_table, pareto_table, private_table
from jam.results import results_table, select
from jam.sweep.fronts import fronts, goals
from jam.sweep.grids import GRIDS, Entry
from jam.sweep.kept import DESTROYED, FROZEN, LEFT, PROJECTED, SAVED, UNTRAINED, kept_table
from jam.sweep.table import cells_table

LAMBDAS = {0: (0.5, 0.1), 1: (0.6, 0.3), 10: (0.4, 0.5), 100: (0.3, 0.4)}  # λ → recall, private: the last is dominated
N = 40


def outcome(recall, private, seed):
    def row(split, metric, value, x, y=None, **more):
        empty = dict.fromkeys(("direction", "k", "tier", "kind", "label"))
        return {**empty, "split": split, "metric": metric, "value": value + 0.0002 * seed, "x": x, "y": y, **more}

    rows = []
    for split in ("val", "test"):
        rows += [row(split, "true_recall", recall, "x", "y", direction=way, k=1) for way in ("x_to_y", "y_to_x")]
        for side in ("x", "y"):
            rows += [row(split, "private", private, side, label=label) for label in ("tint", "mean")]
            rows.append(row(split, "preservation", private, side, k=10))
    told = {label: (private + 0.01 * np.sin(np.arange(N))).tolist() for label in ("tint", "mean")}
    return {"epoch": 1, "validation_score": recall, "rows": rows, "private": {"x": told, "y": told}}


@pytest.fixture(scope="module")
def cells():
    entries, outcomes = [], []
    for weight, scores in LAMBDAS.items():
        for seed in range(2):
            columns = {"loss": "con", "lambda_first": weight, "lambda_last": weight, "cross": 0, "seed": seed,
                       "x": "v", "x_layer": 1, "y": "t", "y_layer": 2}  # fmt: skip
            entries.append(Entry(columns, None))
            outcomes.append(outcome(*scores, seed))
    return entries, outcomes, cells_table("pareto", entries, outcomes)


def references():
    shares = {FROZEN: 0.8, "whitened": 0.8, PROJECTED: 0.5, UNTRAINED: 0.05}
    return {
        seed: {
            Key("private", side, label=label, condition=name): PerRow(np.full(N, value), np.arange(N), null=0.01)
            for side in ("x", "y") for label in ("tint", "mean") for name, value in shares.items()
        }
        for seed in range(2)
    }  # fmt: skip


def test_the_front_has_what_nothing_dominates_and_the_best_is_chosen_on_validation_rows(cells):
    table = cells[2]
    assert list(goals(table)) == ["true_recall"]
    found = fronts(table)
    for kept in ("private", "preservation"):
        front = select(found, metric="on_front", kept=kept)
        assert front["lambda_first"].tolist() == [1, 10]
        [volume] = select(found, metric="hypervolume", kept=kept)["value"]
        assert volume == pytest.approx(0.6 * 0.3 + 0.4 * 0.2, abs=0.002)
    assert select(found, metric="best")["lambda_first"].tolist() == [1]


def test_both_sides_count_the_same_and_factors_are_told_of_each(cells):
    table = cells[2]
    both = select(table, metric="private", label="mean", direction="both", split="test", lambda_first=10, seed=1)
    assert both["value"].tolist() == pytest.approx([0.5002])
    assert set(select(table, metric="private", label="tint")["direction"]) == {"x", "y"}
    mean = select(table, metric="true_recall", direction="both", split="val", lambda_first=0, seed=None)
    assert mean["value"].tolist() == pytest.approx([0.5001])
    assert mean["seeds"].tolist() == [2]


def test_what_is_destroyed_saved_and_left_adds_up(cells):
    entries, outcomes, table = cells
    best = select(fronts(table), metric="best")
    found = kept_table(entries, outcomes, references(), best, 100)
    own = select(found, direction="x", label="tint").set_index("condition")["value"]
    assert own[FROZEN] == pytest.approx(0.8)
    assert own[DESTROYED] == pytest.approx(0.1 - 0.8, abs=0.01)
    assert own[SAVED] == pytest.approx(0.3 - 0.1)
    assert own[LEFT] == pytest.approx(own[DESTROYED] + own[SAVED])
    saved = select(found, condition=SAVED, direction="x", label="tint").iloc[0]
    assert saved["low"] == pytest.approx(saved["high"])  # paired: what items add to both cancels
    assert select(found, condition=FROZEN)["null"].tolist() == [0.01] * 4
    union = pd.concat([table, fronts(table), found])
    assert "| Con | λ 1 | .500 · .600 · .300 | .100 · .300 · .400 |" in pareto_table(union)
    assert "| x: tint | .80 [.80, .80] |" in private_table(union)
    assert "| Con, λ 1: x | −.700 " in losses_table(union)
    pareto = results_table("pareto", pd.concat([table, found]))
    assert len(pareto_figures.pareto(pareto).axes) == 2
    assert [axis.get_title(loc="left") for axis in pareto_figures.private(pareto).axes] == ["v, layer 1", "t, layer 2"]


def test_where_nothing_is_private_there_are_no_rows_and_the_figure_shows_neighbours(cells):
    entries, outcomes, table = cells
    best = select(fronts(table), metric="best")
    assert kept_table(entries, outcomes, {0: {}, 1: {}}, best, 10).empty
    without = table[table["metric"] != "private"]
    assert set(fronts(without)["kept"].dropna()) == {"preservation"}
    assert "neighbours kept" in pareto_figures.pareto(without).axes[0].get_xlabel()


def test_a_failed_cell_is_left_out_of_its_seed(cells):
    entries, outcomes, table = cells
    best = select(fronts(table), metric="best")
    broken = [
        {"error": "no"} if entry.columns["seed"] == 1 else one for entry, one in zip(entries, outcomes, strict=True)
    ]
    found = kept_table(entries, broken, references(), best, 10)
    assert select(found, condition=LEFT)["seeds"].tolist() == [1] * 4


def test_the_grid_crosses_only_where_it_is_asked_to():
    params = load_params("params.yaml")
    pareto = params.sweeps.pareto
    entries = GRIDS["pareto"](params, lambda layer: f"{layer.encoder}-{layer.layer}")
    crossed = {entry.columns["lambda_first"] for entry in entries if entry.columns["cross"]}
    assert crossed == {weights[0] for weights in pareto.crossed}
    losses = sum(len(pareto.alphas) if loss == "spread" else 1 for loss in pareto.losses)
    assert len(entries) == losses * len(pareto.seeds) * (len(pareto.reconstruction) + len(pareto.crossed))
    assert {entry.cell.sides["x"] for entry in entries} == {f"{pareto.x.encoder}-{pareto.x.layer}"}
    assert {entry.cell.training.epochs for entry in entries} == {pareto.epochs}
    assert {entry.cell.known.modalities for entry in entries} == {(("x", "image"), ("y", "text"))}
