"""A user's own embeddings as encoders: spaces, sweeps and kernels of them by parameters alone."""

import numpy as np
import pandas as pd
import pytest
import yaml
from checkout import REPRO, command, new_checkout, refused

from jam.data.arrays import layers_of, read_arrays
from jam.data.schema import read_items, read_table
from jam.errors import InputError
from jam.features.given import place_features
from jam.results import select
from jam.sources.arrays import ids_of, write_arrays
from stages.results import all_results


def draw(folder, n=240, told=3):
    """Two arrays of one small latent world: an image each, and several sentences, in no order."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    state = rng.normal(size=(n, 6))
    shows = rng.permutation(np.repeat(np.arange(n), told))
    np.save(folder / "seen.npy", (state @ rng.normal(size=(6, 20))).astype(np.float32))
    np.save(folder / "seen_ids.npy", np.array([f"item {i}" for i in range(n)]))
    said = state[shows] @ rng.normal(size=(6, 16)) + 0.01 * rng.normal(size=(n * told, 16))
    layers = {"a": rng.normal(size=said.shape), "b": said, "id": np.array([f"item {i}" for i in shows])}
    np.savez(folder / "said.npz", **layers)
    return folder


PARAMS = """
dataset:
  source: arrays
  reads: mine
  seed: 0
  arrays: {train: 0.6, val: 0.2, rows: {seeing: mine/seen_ids.npy, saying: mine/said.npz}}
replace:
  [encoders, tokens, resampler, captions, multimodal, compare, stitch, transfer, spaces, spaces_of_two, spaces_of_three,
   matryoshka, reference, hypotheses]
encoders:
  seen: {modality: seeing, source: arrays, reads: mine/seen.npy}
  said: {modality: saying, source: arrays, reads: mine/said.npz}
align:
  x: {side: seen, encoder: seen, layer: 0}
  y: {side: said, encoder: said, layer: 1}
  seeds: [0]
training: {epochs: 60, batch_size: 32}
spaces:
  con: {model: linear, loss: con, latent: 8, learning_rate: 0.01}
  cca: {loss: cca, components: [6], shrinkage: [0.01]}
kernels: {spaces: [con], permutations: 20, folds: 4}
downstream: {sources: [], spaces: [con], permutations: 20}
evaluate: {resamples: 50}
sweeps:
  epochs: 60
  objective: {alphas: [], loss: con, latent: 8, hidden: [16]}
  layers: {x: [0], y: [0, 1], also_x: [], also_y: []}
  pairs: {n: [50, 100], curves: []}
  scale: {x: [{encoder: seen, layer: 0}], y: [{encoder: said, layer: 1}], seeds: [0]}
  pareto: {x: null, latent: 8, epochs: 60, losses: [con], alphas: [], reconstruction: [[1, 1]], cross: [0], seeds: [0]}
"""


def test_two_arrays_go_through_the_whole_graph(tmp_path):
    folder = new_checkout(tmp_path / "tree", "cave")
    draw(folder / "mine")
    (folder / "presets" / "mine.yaml").write_text(PARAMS)
    command(folder, "python", "-m", "stages.preset", "mine")
    command(folder, *REPRO)
    results = all_results(folder)
    for space in ("con", "cca"):
        found = select(results, experiment="evaluate", subject=space, metric="recall", k=1, seed=None)
        assert (found["value"] > 0.5).all(), space
        assert set(zip(found["x"], found["y"], strict=True)) == {("seen", "said")}
    sweep = select(results, experiment="layers", metric="recall", k=1, direction="both", split="test", subject=None)
    recall = sweep.groupby("y_layer")["value"].max()
    assert recall[1] > recall[0] + 0.3
    frozen = select(results, experiment="kernels", condition="encoders", metric="unbiased_cka")
    assert frozen["value"].item() > 0.3
    np.save(folder / "mine" / "seen.npy", np.load(folder / "mine" / "seen.npy")[:-1])  # a row is lost
    assert "seen.npy: got 239 rows for 240 views" in refused(folder, "stages.features", "seen")
    assert "changed" in command(folder, "dvc", "status", "encoder@seen")


def test_rows_go_where_their_ids_say_and_splits_are_of_items(tmp_path):
    folder = draw(tmp_path / "mine", n=30)
    rows = {"seeing": str(folder / "seen_ids.npy"), "saying": str(folder / "said.npz")}
    told = write_arrays(tmp_path / "world", rows, {"val": 0.2, "test": 0.2}, seed=1)
    assert told["rows"] == {"seeing": 30, "saying": 90}
    assert told["splits"]["val"] == {"rows": 6}
    views = tmp_path / "world" / "views" / "saying.parquet"
    store = place_features(layers_of(folder / "said.npz"), views, tmp_path / "x", {"id": "said"})
    ids = np.load(folder / "said.npz")["id"]
    numbers = read_table(views).column("content").to_numpy()
    assert store.index["id"].tolist() == ids[numbers].tolist()
    np.testing.assert_array_equal(store.layer(1), np.load(folder / "said.npz")["b"][numbers].astype(np.float32))
    assert store.index.groupby("id")["split"].nunique().max() == 1
    assert len(read_items(tmp_path / "world", "train")) == 18


def test_files_of_arrays_are_read_or_told(tmp_path):
    table = pd.DataFrame({"id": ["a", "b"], "embedding": [[1.0, 2.0], [3.0, 4.0]]})
    table.to_parquet(tmp_path / "t.parquet")
    assert ids_of(tmp_path / "t.parquet") == ["a", "b"]
    np.testing.assert_array_equal(layers_of(tmp_path / "t.parquet")[0], [[1, 2], [3, 4]])
    np.save(tmp_path / "plain.npy", np.ones((3, 2)))
    assert ids_of(tmp_path / "plain.npy") == ["0", "1", "2"]
    np.savez(tmp_path / "odd.npz", a=np.ones((3, 2)), b=np.ones((4, 2)))
    np.save(tmp_path / "pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.save(tmp_path / "hole.npy", np.array([1.0, np.nan]))
    pd.DataFrame({"e": [[1.0], [1.0, 2.0]]}).to_parquet(tmp_path / "ragged.parquet")
    np.savez(tmp_path / "many.npz", **{f"layer_{i}": np.full((2, 1), i) for i in range(12)})
    assert [layer[0, 0] for layer in layers_of(tmp_path / "many.npz")] == list(range(12))  # not 0, 1, 10, 11, 2, …
    pd.DataFrame({"label": ["x", "x"], "image_id": [1, 2], "e": [[1.0], [2.0]]}).to_parquet(tmp_path / "no_id.parquet")
    np.savez(tmp_path / "column.npz", id=np.array([["a"], ["b"]]), e=np.ones((2, 3)))
    np.savez(tmp_path / "empty.npz", id=np.array(["a", ""]), e=np.ones((2, 3)))
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 and no more")
    for name, read, message in (
        ("no_id.parquet", ids_of, r"got \['label', 'image_id'\] of one value a row, expected .* to be called id"),
        ("column.npz", ids_of, r"got ids of shape \(2, 1\), expected one a row"),
        ("empty.npz", ids_of, "row 1 has no id"),
        ("broken.npz", read_arrays, "cannot be read as arrays"),
        ("odd.npz", layers_of, r"got features \{'a': \(3, 2\), 'b': \(4, 2\)\}"),
        ("pickled.npy", read_arrays, "cannot be read as arrays"),
        ("hole.npy", ids_of, "row 1 has no id"),
        ("ragged.parquet", read_arrays, "lists of"),
        ("none.npy", read_arrays, "expected a file of arrays"),
        ("t.csv", read_arrays, "expected a file of arrays"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            read(tmp_path / name)
        assert "\n" not in str(caught.value)
    np.save(tmp_path / "other.npy", np.arange(2))
    with pytest.raises(InputError, match="1 items \\(first: 2\\) are in one of it and"):
        write_arrays(
            tmp_path / "w", {"a": str(tmp_path / "plain.npy"), "b": str(tmp_path / "other.npy")}, {"val": 0.3}, 0
        )


def test_features_that_single_precision_does_not_hold_are_refused(tmp_path):
    folder = draw(tmp_path / "mine", n=30, told=1)
    rows = {"seeing": str(folder / "seen_ids.npy")}
    write_arrays(tmp_path / "world", rows, {"val": 0.2, "test": 0.2}, seed=1)
    views, far = tmp_path / "world" / "views" / "seeing.parquet", np.load(folder / "seen.npy").astype(float) + 1e8
    with pytest.raises(InputError, match=r"seen: layer 0: column \d+ has a mean of 1e\+08 .* does not hold; expected"):
        place_features([far], views, tmp_path / "x", {"id": "seen"})
    assert not (tmp_path / "x").exists()
    place_features([far - 1e8], views, tmp_path / "x", {"id": "seen"})


def test_the_section_is_needed_and_its_files_lie_where_the_stage_looks(tmp_path):
    folder = new_checkout(tmp_path / "tree", "cave")
    draw(folder / "mine")
    (folder / "presets" / "mine.yaml").write_text(PARAMS.replace("saying: mine/said.npz", "saying: other/said.npz"))
    (folder / "params.yaml").write_text(yaml.safe_dump(yaml.safe_load((folder / "params.yaml").read_text())))
    assert "expected mine/seen_ids.npy and other/said.npz" in refused(folder, "stages.preset", "mine")
