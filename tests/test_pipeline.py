"""The whole graph on the mini preset, as a user runs it: repro, no-op, one change, a kill, twice the same bytes."""

import functools
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from checkout import REPRO, ROOT, command, environment, new_checkout, refused
from tiny_encoders import contents

from jam.caption.language import Language
from jam.params import load_params
from jam.results import OF_EXPERIMENT, select
from stages.results import all_results, compared


def locks(folder):
    return [(folder / name / "dvc.lock").read_text() for name in ("", "siblings")]


def results(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted((folder / "metrics").rglob("*.*"))}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    folder = new_checkout(tmp_path_factory.mktemp("pipeline") / "tree", "mini")
    command(folder, *REPRO)
    return folder


def test_a_second_repro_runs_nothing(checkout):
    assert "Running stage" not in command(checkout, *REPRO)
    assert "up to date" in command(checkout, "dvc", "status")


def test_every_table_and_figure_is_there_and_finite(checkout):
    table = all_results(checkout)
    assert set(table["experiment"]) == set(OF_EXPERIMENT) - {"compare", "stitch", "transfer"}
    assert table["value"].notna().all()  # no cell of a sweep failed
    for name, rows in compared("cave", checkout).items():
        assert rows.loc[rows["outcome"].fillna("") != "not measured yet", "value"].notna().all(), name
    params = load_params(checkout / "params.yaml")
    assert set(select(table, experiment="evaluate")["subject"]) == {*params.space_names, "blind"}
    figures = {path.stem: path.stat().st_size for path in (checkout / "plots").glob("*/*.png")}
    assert set(figures) == {
        "captions", "habitats", "spaces", "hard_negatives", "training_curves", "fine_detail", "reality", "when",
        "audit", "layers", "layers_trained", "matryoshka", "pairs", "scale", "pareto", "pareto_heatmap", "private",
        "retrieved", "downstream", "similarity", "reference", "verdicts", "image_text_curves", "image_text_variants",
        "image_text_latents", "cave_captions", "cave_pictures", "cave_compare_image", "cave_compare_text",
        "cave_compare_depth", "cave_compare_trajectories", "cave_compare_when", "cave_compare_factors",
        "cave_compare_claims", "cave_stitch_layers", "cave_stitch_anchors", "cave_stitch_towers",
    }  # fmt: skip
    assert min(figures.values()) > 10_000
    shown = command(checkout, "dvc", "metrics", "show")
    assert all(f"metrics/evaluate/{name}.json" in shown for name in params.space_names)
    assert max(map(len, shown.splitlines())) <= 100


# Loaded by a stage, and without influence on what it computes: how it starts, what it is told, how it writes (a table
# with a column that the schema of results does not know is refused where it is read).
LEAVES = (
    "jam/results.py",
    "jam/errors.py", "jam/progress.py", "jam/device.py", "jam/io.py", "jam/lazy.py", "jam/distributed.py",
    "jam/params/", "stages/common.py", "stages/warm.py",
)  # fmt: skip


def test_a_stage_depends_on_all_code_that_it_loads(checkout):
    """Measured: the project's files in each stage's process at its end, against the dependencies in the lock."""
    first, second = (yaml.safe_load(lock)["stages"] for lock in locks(checkout))
    for name, stage in [*first.items(), *second.items()]:
        words = stage["cmd"].split()
        log = checkout / "logs" / "-".join([words[2].removeprefix("stages."), *words[3:]])
        deps = tuple(dep["path"] for dep in stage["deps"])
        loaded = json.loads(log.with_suffix(".json").read_text())["files"]
        loose = [
            file for file in loaded
            if not any(file == dep or file.startswith(f"{dep}/") for dep in deps)
            and not file.startswith(LEAVES) and not file.endswith("__init__.py")
        ]  # fmt: skip
        assert not loose, f"{name} loads {loose}, and would not run again if they changed"
        assert f"stages/{words[2].removeprefix('stages.')}.py" in deps


OF_SPACES = (
    "listing evaluate kernels reality audit downstream reference hypotheses pairs scale retrieve plots "
    "compare@cave extracts@cave"
)


@pytest.mark.parametrize(
    ("where", "value", "least", "more"),
    [
        ("spaces.negcon.learning_rate", 0.002, "space@negcon", OF_SPACES),
        ("sweeps.layers.y", [0, 1], "sweep@layers", "plots"),
        ("spaces.matryoshka.dims", [16, 32], "space@matryoshka", f"matryoshka@matryoshka {OF_SPACES}"),
        ("spaces_of_three.three.z.layer", 1, "space_of_three@three", OF_SPACES),
        ("captions.cave.recipe.k", 3, "captions@cave", "plots"),
    ],
)
def test_a_change_reruns_what_hangs_on_it_and_nothing_else(checkout, where, value, least, more):
    path = checkout / "params.yaml"
    before = path.read_text()
    changed = yaml.safe_load(before)
    *sections, last = where.split(".")
    functools.reduce(dict.__getitem__, sections, changed)[last] = value
    ran = rerun(checkout, path, yaml.safe_dump(changed, sort_keys=False))
    assert least in ran
    assert ran <= {least, *more.split()}


def rerun(checkout, path, text, *options):
    """The stages that would run if a file had another text; it is put back."""
    before = path.read_text()
    path.write_text(text)
    status = command(checkout, *REPRO, "--dry", *options)
    path.write_text(before)
    return set(re.findall(r"Running stage '(?:siblings/dvc.yaml:)?([^']+)'", status))


AFTER = {
    "evaluate", "kernels", "reality", "audit", "retrieve", "downstream", "reference", "hypotheses", "pairs", "scale",
    "sweep@layers", "sweep@pareto", "matryoshka@matryoshka", "resampler@image_text", "captions@cave", "compare@cave",
    "extracts@cave", "plots",
}  # fmt: skip


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("jam/report/style.py", {"plots"}),  # of both graphs
        ("jam/losses/spread.py", {"space@spread", *AFTER}),
        (
            "jam/losses/cca.py",
            {"space@cca", "space_of_two@two_texts", *AFTER},
        ),
    ],
)  # fmt: skip
def test_a_line_of_code_reruns_what_hangs_on_it(checkout, file, expected):
    path = checkout / file
    ran = rerun(checkout, path, path.read_text() + "# one more line\n", "--force-downstream")
    assert ran == expected


STAGES = (
    "dataset", "encoder@vision_s", "features@minilm", "space@spread", "space_of_three@three", "evaluate", "kernels",
    "reality", "when", "audit", "siblings/dvc.yaml:downstream", "pairs", "scale", "sweep@layers",
    "siblings/dvc.yaml:matryoshka@matryoshka", "siblings/dvc.yaml:captions@cave",
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
    expected, lock = results(checkout), locks(checkout)
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
    command(checkout, *REPRO)
    assert results(checkout) == expected
    assert locks(checkout) == lock


def test_captions_change_neither_the_space_nor_the_language_model(checkout):
    kept = checkout / "data" / "captions" / "cave"
    assert contents(kept / "z" / "0" / "adapter") == contents(checkout / "data" / "spaces" / "con" / "0" / "image")
    latents = checkout / "data" / "token_spaces" / "image_text" / "shared" / "0" / "image"
    assert contents(kept / "latents" / "0" / "adapter") == contents(latents)
    language = Language.load(checkout / "data" / "encoders" / "text_s").fingerprint()
    told = [json.loads(path.read_text())["fingerprint"] for path in kept.rglob("captioner.json")]
    assert set(told) == {language}
    assert len(told) == 8  # all variants but the oracle, one of them with two seeds


def test_a_bad_parameter_stops_a_stage_with_one_line(tmp_path):
    text = (ROOT / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(text.replace("epochs: 8", "epochs: none"))
    assert "training.epochs" in refused(tmp_path, "stages.space", "con")


@pytest.mark.parametrize("words", ["space short", "encoder con", "sweep kernels"])
def test_a_stage_does_not_write_what_is_another_ones(tmp_path, words):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    stage, name, *args = words.split()
    assert f"got '{name}', expected one of [" in refused(tmp_path, f"stages.{stage}", name, *args)
    assert not (tmp_path / "data").exists()


def test_the_committed_tree_has_no_orphans():
    """Every committed metric belongs to a name that params.yaml lists."""
    params = load_params(ROOT / "params.yaml")
    for folder in ("evaluate", "curves"):
        assert {path.stem for path in (ROOT / "metrics" / folder).iterdir()} == set(params.space_names), folder
    assert {path.stem for path in (ROOT / "metrics" / "tables" / "encoders").iterdir()} == set(params.encoders)
