"""A user's own folder as a dependency of the pipeline, and splits that are too small, told before any work."""

import json

import numpy as np
import pytest
import yaml
from checkout import command, new_checkout, refused
from tiny_encoders import picture


def draw(folder, n):
    """A folder of n photos with a caption each."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(n):
        picture(rng, 20).save(folder / f"{i}.png")
    rows = [json.dumps({"file_name": f"{i}.png", "text": f"picture number {i}"}) for i in range(n)]
    (folder / "metadata.jsonl").write_text("\n".join(rows))


@pytest.fixture
def tree(tmp_path):
    return new_checkout(tmp_path / "tree", "photos")


def test_whatever_changes_in_the_folder_runs_the_stage_again(tree):
    photos = tree / "data" / "photos"
    draw(photos, 41)
    assert "Running stage 'dataset'" in command(tree, "dvc", "repro", "dataset")
    assert "Running stage" not in command(tree, "dvc", "repro", "dataset")
    metadata = photos / "metadata.jsonl"

    def reword():
        metadata.write_text(metadata.read_text().replace("picture number 3", "another caption"))

    def delete():
        metadata.write_text("\n".join(metadata.read_text().splitlines()[1:]))

    def replace():
        picture(np.random.default_rng(9), 20).save(photos / "5.png")

    def hide():
        (photos / ".notes").write_text("not an image")

    for change in (reword, delete, replace, hide):
        change()
        assert "changed" in command(tree, "dvc", "status", "dataset"), change.__name__
        assert "Running stage 'dataset'" in command(tree, "dvc", "repro", "dataset"), change.__name__


@pytest.mark.parametrize(("n", "changes", "message"), [
    (19, {}, "dataset: got 4 images in the val split, 19 in all, expected at least 5 there (20 in all), or smaller "
             "numbers than kernels.folds 5"),
    (12, {}, "dataset: got 2 images in the val split, 12 in all, expected at least 5 there (20 in all), or smaller "
             "numbers than evaluate.k 3, kernels.k 3, kernels.folds 5"),
    (100, {"evaluate": {"k": 30}}, "dataset: got 20 images in the val split, 100 in all, expected at least 31 there "
                                   "(153 in all), or smaller numbers than evaluate.k 30"),
])  # fmt: skip
def test_splits_that_are_too_small_are_told_by_the_first_stage(tree, n, changes, message):
    draw(tree / "data" / "photos", n)
    params = yaml.safe_load((tree / "params.yaml").read_text())
    for section, values in changes.items():
        params[section].update(values)
    (tree / "params.yaml").write_text(yaml.safe_dump(params))
    assert message in refused(tree, "stages.dataset")
    assert not (tree / "data" / "pairs").exists()
