"""The whole graph on the mini preset, as a user runs it: repro, no-op, one change, a kill, twice the same bytes."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml
from checkout import ROOT, copy_tree


def environment():
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "1", "HF_HUB_OFFLINE": "1"}


def command(folder, *words, check=True):
    done = subprocess.run(words, cwd=folder, env=environment(), capture_output=True, text=True, timeout=600)
    assert not check or done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done


def results(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted((folder / "metrics").rglob("*.*"))}


def new_checkout(folder):
    """The tree without git, on the mini preset."""
    copy_tree(folder)
    shutil.copy(ROOT / "presets" / "mini.yaml", folder / "params.yaml")
    command(folder, "dvc", "init", "--no-scm", "--quiet")
    return folder


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    folder = new_checkout(tmp_path_factory.mktemp("pipeline") / "tree")
    command(folder, "dvc", "repro")
    return folder


def test_a_second_repro_runs_nothing(checkout):
    assert "Running stage" not in command(checkout, "dvc", "repro").stdout
    assert "up to date" in command(checkout, "dvc", "status").stdout


def test_every_table_and_figure_is_there_and_finite(checkout):
    table = pd.read_csv(checkout / "metrics" / "results.csv")
    sweeps = {"layers", "scale", "pareto", "layers trends", "scale trends", "scale kernels", "pareto fronts"}
    assert set(table["table"]) == {"encoders", "evaluate", "kernels"} | sweeps
    assert table["value"].notna().all()
    params = yaml.safe_load((checkout / "params.yaml").read_text())
    assert set(table.loc[table["table"] == "evaluate", "subject"]) == set(params["align"]["methods"])
    figures = {path.stem for path in (checkout / "plots" / "figures").glob("*.png")}
    assert figures == {"world", "objectives", "hard_negatives", "training_curves", "fine_detail", "reality"}
    for name in ("layers", "scale", "pareto"):
        assert (checkout / "plots" / f"{name}.png").stat().st_size > 10_000
        cells = pd.read_csv(checkout / "metrics" / "tables" / f"{name}.csv")
        assert cells["error"].isna().all()
        assert cells.filter(like="test_").notna().all(axis=None)
    shown = command(checkout, "dvc", "metrics", "show").stdout
    assert all(f"metrics/evaluate/{name}.json" in shown for name in params["align"]["methods"])
    assert max(map(len, shown.splitlines())) <= 100


def test_changing_one_loss_reruns_that_loss_and_what_follows(checkout):
    path = checkout / "params.yaml"
    before = path.read_text()
    changed = yaml.safe_load(before)
    changed["objectives"]["negcon"]["learning_rate"] = 0.002
    path.write_text(yaml.safe_dump(changed, sort_keys=False))
    status = command(checkout, "dvc", "repro", "--dry").stdout
    path.write_text(before)
    ran = set(re.findall(r"Running stage '([^']+)'", status))
    assert "align@negcon-0" in ran
    assert not ran & {"dataset", "features@minilm", "align@con-0", "align@spread-0", "baseline@linear", "evaluate@con"}


STAGES = (
    "dataset", "encoder@vision_s", "features@minilm", "align@spread-0", "baseline@cca", "evaluate@con", "kernels",
    "layers",
)  # fmt: skip


def computed(group):
    """Seconds of processor time that the living processes of a group have used: how far they are on a busy machine."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_killed_half_way_is_finished_by_the_next_repro_with_the_same_metrics(checkout, stage):
    expected, lock = results(checkout), (checkout / "dvc.lock").read_text()
    process = subprocess.Popen(
        ["dvc", "repro", "--single-item", "--force", stage], cwd=checkout, env=environment(),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    while "> " not in process.stdout.readline():  # DVC has removed the outputs and starts the stage
        assert process.poll() is None
    before = computed(process.pid)
    while computed(process.pid) < before + 1.5 and process.poll() is None:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    command(checkout, "dvc", "repro", "--single-item", "--force", stage)  # computes, does not take it from the cache
    command(checkout, "dvc", "repro")
    assert results(checkout) == expected
    assert (checkout / "dvc.lock").read_text() == lock


def test_a_list_of_a_sweep_reruns_that_sweep_and_what_follows(checkout):
    path = checkout / "params.yaml"
    before = path.read_text()
    changed = yaml.safe_load(before)
    changed["layers"]["text"] = [0, 2, 6]
    path.write_text(yaml.safe_dump(changed, sort_keys=False))
    status = command(checkout, "dvc", "repro", "--dry").stdout
    path.write_text(before)
    ran = set(re.findall(r"Running stage '([^']+)'", status))
    assert "layers" in ran
    assert ran <= {"layers", "collect", "plots"}


def test_a_bad_parameter_stops_a_stage_with_one_line(checkout, tmp_path):
    shutil.copytree(checkout / "presets", tmp_path / "presets")
    (tmp_path / "params.yaml").write_text((checkout / "params.yaml").read_text().replace("epochs: 2", "epochs: none"))
    done = subprocess.run(
        [sys.executable, "-m", "stages.align", "con", "0"], cwd=tmp_path, capture_output=True, text=True,
        env={**environment(), "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert "training.epochs" in done.stderr


@pytest.mark.parametrize(
    ("stage", "name", "args"), [("baseline", "con", ()), ("align", "short", ("0",)), ("align", "ridge", ("0",))]
)
def test_a_stage_does_not_write_what_is_another_ones(tmp_path, stage, name, args):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", f"stages.{stage}", name, *args], cwd=tmp_path, capture_output=True, text=True,
        env={**environment(), "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 1
    assert f"got '{name}', expected one of [" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "data").exists()


def test_the_committed_tree_has_no_orphans():
    """Every committed metric belongs to a name that params.yaml lists."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    methods, encoders = set(params["align"]["methods"]), set(params["encoder_names"])
    assert {path.stem for path in (ROOT / "metrics" / "evaluate").glob("*.json")} == methods
    assert {path.stem for path in (ROOT / "metrics" / "tables" / "evaluate").glob("*.csv")} == methods
    assert {path.stem for path in (ROOT / "metrics" / "encoders").glob("*.json")} == encoders
    curves = {f"{name}-{seed}" for name in params["align"]["objectives"] for seed in params["align"]["seeds"]}
    found = {path.stem for path in (ROOT / "metrics" / "curves").glob("*.csv")}
    assert curves <= found <= curves | set(params["align"]["baselines"])
