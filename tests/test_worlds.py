"""A second world: its own parameters, results and lock, the root's code."""

import pytest
import yaml
from checkout import ROOT, command, copy_tree, refused

from stages.world import GRAPHS, graph

SEED = "dataset.seed=5"


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A git repository with the mini preset at the root and in one world."""
    folder = copy_tree(tmp_path_factory.mktemp("worlds") / "tree")
    for words in (
        ["git", "init", "--quiet"],
        ["git", "config", "user.email", "a@b.c"],
        ["git", "config", "user.name", "a"],
        ["dvc", "init", "--quiet"],
        ["python", "-m", "stages.preset", "mini"],
        ["python", "-m", "stages.world", "second", "mini"],
    ):
        command(folder, *words)
    for place in (folder, folder / "worlds" / "second"):
        command(place, "dvc", "repro", "dataset")
    command(folder, "git", "add", "--all")
    command(folder, "git", "commit", "--quiet", "--message", "two worlds")
    return folder


def test_a_world_runs_beside_the_root_and_neither_touches_the_other(repository):
    world = repository / "worlds" / "second"
    for place in (repository, world):
        assert (place / "data" / "world" / "items.parquet").is_file()
        assert (place / "dvc.lock").is_file()
        assert "up to date" in command(place, "dvc", "status", "dataset")
    first, second = ((place / "data/world/items.parquet").read_bytes() for place in (repository, world))
    assert first == second
    deps = [dep["path"] for dep in yaml.safe_load((world / "dvc.lock").read_text())["stages"]["dataset"]["deps"]]
    assert "../../jam/data" in deps


def test_experiments_and_diffs_work_in_the_world_and_at_the_root(repository):
    world = repository / "worlds" / "second"
    for place, other in ((world, repository), (repository, world)):
        before = (other / "dvc.lock").read_text()
        command(place, "dvc", "exp", "run", "--quiet", "-S", SEED, "dataset")
        assert yaml.safe_load((place / "params.yaml").read_text())["dataset"]["seed"] == 5
        assert (other / "dvc.lock").read_text() == before
        command(place, "dvc", "metrics", "diff", "HEAD")
        assert "dataset.seed" in command(place, "dvc", "params", "diff", "HEAD")
        command(repository, "git", "checkout", "--quiet", ".")


def test_the_copies_are_those_of_the_root_and_nothing_is_overwritten(repository):
    for file in GRAPHS:
        assert all(path.read_text() == graph(file) for path in ROOT.glob(f"worlds/*/{file}"))
        assert (repository / "worlds" / "second" / file).is_file()
    assert "has a params.yaml, expected - for its preset" in refused(repository, "stages.world", "second", "mini")
    assert "expected a name of letters" in refused(repository, "stages.world", "../x", "mini")
    command(repository, "python", "-m", "stages.world", "second", "-")
