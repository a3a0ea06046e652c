"""Sweeps: cells resume, fail alone, die alone, and give the same numbers in any company."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from test_train import OBJECTIVES, training, world

from jam.sweep import cells as sweep
from jam.sweep.cells import Cell, run_sweep

ROOT = Path(__file__).parent.parent


def features(folder, name, seed=0):
    """Feature folders of images and of texts with three splits, as the features stage leaves them."""
    tables, lines = {"image": [], "text": []}, {"image": [], "text": []}
    for number, (split, n) in enumerate((("train", 120), ("val", 40), ("test", 40))):
        seen, told = world(n, 100 * seed + number, captions=2, negatives=1).sides.values()
        tables["image"].append(seen.table)
        for i in range(n):
            lines["image"].append((f"{split}-{i}", split, "true", 0, "", "", -1))
            for k, row in enumerate((*told.true[i], told.false[i, 0])):
                tables["text"].append(told.table[row : row + 1])
                tags = ("true", k, "", "", -1) if k < 2 else ("false", 0, "swap_attribute", "hard", 0)
                lines["text"].append((f"{split}-{i}", split, *tags))
    paths = []
    for side in ("image", "text"):
        (folder / name / side).mkdir(parents=True)
        paths.append(folder / name / side / "layer_0.npy")
        np.save(paths[-1], np.concatenate(tables[side]))
        index = pd.DataFrame(lines[side], columns=["id", "split", "role", "k", "kind", "tier", "of"])
        index.assign(form="").to_parquet(paths[-1].with_name("index.parquet"))
    return paths


def cell(paths, seed=0, **changes):
    sides = dict(zip(("image", "text"), paths, strict=True))
    objective = OBJECTIVES["spread"].model_copy(update=changes)
    return Cell(sides, [("image", "text")], objective, training(epochs=2), seed, 5)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return features(tmp_path_factory.mktemp("features"), "a")


@pytest.fixture(scope="module")
def together(paths, tmp_path_factory):
    """Seeds 0 and 1 over two processes."""
    return run_sweep([cell(paths, seed) for seed in range(2)], tmp_path_factory.mktemp("together"), workers=2)


@pytest.fixture
def one_thread():
    """As in the processes of a sweep: the number of threads moves the last bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_every_cell_tells_its_scores_the_same_alone_and_in_company(paths, together, one_thread):
    assert together[1] == sweep.run_cell(cell(paths, 1))
    assert together[0] != together[1]
    rows = pd.DataFrame(together[0]["rows"])
    assert rows.groupby("split")["metric"].value_counts().tolist() == [2, 2, 2, 1] * 2
    assert np.isfinite(rows["value"]).all()
    val = rows[rows["split"] == "val"].groupby("metric")["value"].mean()
    assert (val["recall"] + val["hard_negatives"]) / 2 == pytest.approx(together[0]["validation_score"])


def test_a_finished_cell_is_kept_and_one_that_changed_is_not(paths, tmp_path, monkeypatch):
    first = run_sweep([cell(paths)], tmp_path / "kept", workers=1)
    told = []
    assert run_sweep([cell(paths), cell(paths)], tmp_path / "kept", workers=1, report=told.append) == first * 2
    assert told == ["1 of 1 cells were finished before and are kept"]
    key = cell(paths).key(sweep._versions([cell(paths)]))
    for other in (cell(paths, seed=1), cell(paths, learning_rate=0.02), cell(features(tmp_path, "b", seed=1))):
        assert other.key(sweep._versions([other])) != key
    monkeypatch.setattr(sweep, "file_sha256", lambda path: str(path))  # the library's code changes
    assert cell(paths).key(sweep._versions([cell(paths)])) != key


def test_a_failing_cell_is_reported_and_not_kept_while_the_others_are(paths, tmp_path):
    too_wide, missing = cell(paths, latent=(99,)), cell([paths[0], tmp_path / "layer_7.npy"])
    told = []
    found = run_sweep([too_wide, cell(paths), missing], tmp_path / "kept", workers=2, report=told.append)
    assert "expected fewer than its d_in" in found[0]["error"]
    assert "layer_7.npy" in found[2]["error"]
    assert "\n" not in found[0]["error"] + found[2]["error"]
    assert found[1]["validation_score"] > 0
    assert len(list((tmp_path / "kept").glob("*.json"))) == 1
    assert sum("failed" in line for line in told) == 2


def die_or_run(key, one, device, attempt=sweep._attempt):
    """One cell takes its process down, as the kernel does when memory runs out."""
    if one.seed == 13:
        os.kill(os.getpid(), signal.SIGKILL)
    return attempt(key, one, device)


def test_a_dying_process_costs_its_own_cell_alone(paths, together, tmp_path, monkeypatch):
    cells = [cell(paths, seed) for seed in (0, 13, 1)]
    monkeypatch.setattr(sweep, "_attempt", die_or_run)
    found = run_sweep(cells, tmp_path / "two", workers=2)
    assert found[1] == {"error": "its process died (out of memory?)"}
    assert [found[0], found[2]] == together


def test_a_killed_sweep_leaves_no_process_and_takes_up_where_it_was(paths, tmp_path):
    script = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from pathlib import Path\nfrom test_sweep import cell\nfrom jam.sweep.cells import run_sweep\n"
        "if __name__ == '__main__':\n"
        f"    cells = [cell([Path(p) for p in {[str(p) for p in paths]}], seed) for seed in range(200)]\n"
        f"    run_sweep(cells, {str(tmp_path / 'kept')!r}, workers=2, report=lambda line: print(line, flush=True))\n"
    )
    path = tmp_path / "script.py"
    path.write_text(script)
    process = subprocess.Popen(
        [sys.executable, path], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for _ in range(3):
        assert process.stdout.readline().startswith("cell ")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    workers = [int(pid) for pid in children.read_text().split()] if children.exists() else []
    process.kill()
    process.communicate()
    kept = list((tmp_path / "kept").glob("*.json"))
    assert len(kept) >= 3
    assert all("validation_score" in json.loads(file.read_text()) for file in kept)
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(Path(f"/proc/{pid}/exe").exists() for pid in workers)
    told = []
    run_sweep([cell(paths, seed) for seed in range(3)], tmp_path / "kept", workers=1, report=told.append)
    assert "cells were finished before" in told[0]
