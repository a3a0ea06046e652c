"""The stages pairs and scale on a tiny world: known answers, one cell alone, the same bytes on any number of cores."""

import pytest
import yaml
from checkout import ROOT, command
from test_reality_stages import ENCODERS, prepare

from jam.report.pair_figures import pairs, scale
from jam.report.pair_tables import curves_table, effects_table, law_table, pairs_table, stands_table
from jam.results import read_results, results_table, select

SIDES = {"side": "image", "encoder": "seen", "layer": 1}, {"side": "text", "encoder": "told", "layer": 1}
LINEAR = {"model": "linear", "loss": "con", "latent": 4, "learning_rate": 0.01}


def run(folder, *stages, workers="1"):
    for stage in stages:
        command(folder, "python", "-m", f"stages.{stage}", PYTHONPATH=str(ROOT), JAM_WORKERS=workers)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    prepare(folder, ENCODERS, SIDES)
    path = folder / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params["sweeps"]["objective"] = {**LINEAR}
    params["sweeps"]["epochs"] = 1
    params["sweeps"]["scale"]["seeds"] = [0]
    params["sweeps"]["pairs"] = {
        "n": [20, 60, 150, 9000], "curves": [{"x": "seen", "y": "told"}], "curves_n": [20, 150],
        "trained": {"linear": LINEAR},
    }  # fmt: skip
    path.write_text(yaml.safe_dump(params, sort_keys=False))
    run(folder, "reality", "pairs", "scale")
    return folder


@pytest.fixture(scope="module")
def results(folder):
    tables = folder / "metrics" / "tables"
    return read_results(
        [tables / "pairs.csv", *(tables / "scale" / f"{name}.csv" for name in ("cells", "effects", "trends"))]
    )


def test_known_answers_hold(results):
    mine = select(results, experiment="pairs", metric="true_recall", method="cca")
    assert set(mine["pairs"]) == {20, 60, 150}  # there are no 9,000
    most = select(mine, condition="control", x="state", y="parser", pairs=150)["value"].item()
    broken = select(mine, condition="control", subject="shuffled", pairs=150)["value"].item()
    untrained = select(mine, condition="control", subject="init", pairs=150)["value"].item()
    trained = select(mine, condition="mean", pairs=150)["value"].item()
    assert most > 0.5
    assert broken < 0.15
    assert untrained < 0.15 < trained
    curve = select(results, experiment="pairs", condition="curve", metric="recall", pairs=150)
    assert set(curve["method"]) == {"cca", "ridge", "procrustes", "linear"}
    assert (select(results, experiment="pairs", condition="couple")["value"] <= 150).all()


def test_effects_come_with_tests_that_agree(results):
    mine = select(results, experiment="scale", interval="inverted permutation test")
    assert {"stage", "seed"} <= set(mine["effect"])
    assert (mine["p"] >= mine["smallest_p"]).all()
    refused = (mine["low"] > 0) | (mine["high"] < 0)
    assert (refused.fillna(False) == (mine["p"] <= 0.05)).all()


def test_a_grid_of_one_cell_is_no_error(results):
    assert len(select(results, experiment="scale", metric="recall", split="test", direction="both", seed=None)) == 1
    assert select(results, experiment="trends").empty


def test_figures_and_tables_are_made_of_whatever_there_is(results):
    assert len(pairs(select(results, experiment="pairs")).axes) == 2
    assert len(scale(select(results, experiment="scale")).axes) == 5
    assert "*CCA, pairs shuffled: chance*" in pairs_table(results)
    assert "second seed − first" in effects_table(results)
    none = results_table("evaluate", [])
    for table in (pairs_table, curves_table, law_table, effects_table, stands_table):
        assert table(none).startswith("| ")


def test_two_processes_write_the_same_bytes(folder):
    paths = [folder / "metrics" / "tables" / "pairs.csv", *sorted((folder / "metrics" / "tables" / "scale").iterdir())]
    before = [path.read_bytes() for path in paths]
    run(folder, "pairs", "scale", workers="2")
    assert [path.read_bytes() for path in paths] == before


def test_texts_alone_have_no_pairs(tmp_path):
    sides = {"side": "a", "encoder": "told", "layer": 1}, {"side": "b", "encoder": "again", "layer": 1}
    prepare(tmp_path, {name: spec for name, spec in ENCODERS.items() if spec["modality"] == "text"}, sides)
    run(tmp_path, "pairs")
    assert read_results([tmp_path / "metrics" / "tables" / "pairs.csv"]).empty
