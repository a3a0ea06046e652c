"""The stages reality and when on a tiny world, and what figures and tables make of their results."""

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from checkout import ROOT, command

from jam.align.adapter import Adapter
from jam.align.space import Side, Space
from jam.data.schema import VIEW, read_table
from jam.features.controls import control_features
from jam.features.store import INDEX, MANIFEST, layer_name
from jam.io import write_json
from jam.params import load_params
from jam.report.reality_figures import reality_map, when
from jam.report.reality_tables import reality_table
from jam.report.style import save
from jam.results import read_results, select
from jam.world.files import write_cave

SHARED = {"source": "cave", "reads": "data/pretrain", "checkpoints": [0, 30], "more_seeds": [1], "layer": 1}
PLAN = {"epochs": 1, "batch_size": 8, "learning_rate": 0.001, "weight_decay": 0.0}
IMAGE = {**PLAN, "objective": "labels", "widths": [8] * 4, "depths": [1] * 4}
TEXT = {**PLAN, "objective": "causal", "width": 8, "layers": 1, "heads": 2}
CONTROLS = {"bag_of_words": "text", "parser": "text", "state": "image"}
ENCODERS = {
    "seen": {"modality": "image", **SHARED, "image": IMAGE},
    "told": {"modality": "text", **SHARED, "text": TEXT},
    "again": {"modality": "text", **SHARED, "text": TEXT},
} | {
    name: {"modality": modality, "source": "control", "reads": "jam/features/controls.py", "control": name}
    for name, modality in CONTROLS.items()
}
WIDTH = 12


def place(folder, lines, layers):
    """A feature folder of layers (rows, d)."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, layer in enumerate(layers):
        np.save(folder / layer_name(i), layer.astype(np.float32))
    pq.write_table(lines.set_column(0, "row", [np.arange(len(lines))]), folder / INDEX)
    facts = {"encoder": {}, "rows": len(lines), "dims": [layer.shape[1] for layer in layers], "dtype": "float32"}
    write_json(folder / MANIFEST, facts)


def prepare(folder, encoders, sides):
    """A world of a few items, and features that know the more of the state the longer they were trained."""
    params = yaml.safe_load((ROOT / "presets" / "cave.yaml").read_text()) | {
        "encoders": encoders, "spaces_of_two": {}, "spaces_of_three": {},
        "align": {"x": sides[0], "y": sides[1], "seeds": [0]},
        "spaces": {"con": {"loss": "cca", "components": [4], "shrinkage": [0.1]}},
        "tokens": {}, "resampler": {}, "captions": {}, "matryoshka": {}, "reference": {}, "hypotheses": {},
        "multimodal": {}, "compare": {}, "stitch": {}, "transfer": {},
    }  # fmt: skip
    params["downstream"] |= {"sources": [], "spaces": ["con"]}
    params["dataset"]["cave"] |= {
        "pretrain_images": 5, "pretrain_text": 5, "train": 150, "val": 60, "test": 60, "fine": 0
    }  # fmt: skip
    params["kernels"] |= {"permutations": 19, "folds": 4, "spaces": ["con"], "k": 5}
    params["evaluate"] |= {"resamples": 50}
    params["sweeps"]["pairs"] |= {"curves": []}
    params["sweeps"]["pareto"] |= {"x": None, "y": None}
    params["sweeps"]["layers"] |= {"also_x": [], "also_y": []}
    params["sweeps"]["scale"] |= {way: [dict(list(side.items())[1:])] for way, side in zip("xy", sides, strict=True)}
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    checked = load_params(folder / "params.yaml")
    world, rng = folder / "data" / "world", np.random.default_rng(0)
    write_cave(world, folder / "data" / "pretrain", seed=checked.dataset.seed, **checked.dataset.cave.model_dump())
    items = read_table(world / "items.parquet", ["id", "state"]).to_pydict()
    state = dict(zip(items["id"], np.array(items["state"]), strict=True))
    mix = rng.standard_normal((126, WIDTH))
    for name, spec in checked.encoders.items():
        at = folder / "data" / "features" / name
        if spec.control:
            control_features(spec.control, world, spec.modality, at, {})
            continue
        lines = read_table(world / "views" / f"{spec.modality}.parquet", list(VIEW))
        vectors = np.stack([state[one] for one in lines.column("id").to_pylist()]) @ mix
        knowing = {part: vectors * share + rng.standard_normal(vectors.shape) for part, share in
                   (("checkpoints/0", 0.0), ("checkpoints/30", 0.5), ("seeds/1", 2.0), ("", 2.0))}  # fmt: skip
        for part, layer in knowing.items():
            place(at / part, lines, [layer] if part else [rng.standard_normal(vectors.shape), layer])
    adapters = {side["side"]: Side(Adapter("linear", WIDTH, 4)) for side in sides}
    Space(adapters, [tuple(adapters)]).save(folder / "data" / "spaces" / "con" / "0")


def ran(folder, *stages):
    for stage in stages:
        command(folder, "python", "-m", f"stages.{stage}", PYTHONPATH=str(ROOT), JAM_WORKERS="1")
    return read_results([folder / "metrics" / "tables" / f"{stage}.csv" for stage in stages])


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    sides = {"side": "image", "encoder": "seen", "layer": 1}, {"side": "text", "encoder": "told", "layer": 0}
    prepare(folder, ENCODERS, sides)
    return ran(folder, "reality", "when")


@pytest.fixture(scope="module")
def texts_alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    sides = {"side": "a", "encoder": "told", "layer": 1}, {"side": "b", "encoder": "again", "layer": 1}
    prepare(folder, {name: spec for name, spec in ENCODERS.items() if spec["modality"] == "text"}, sides)
    return ran(folder, "reality", "when")


MEAN = {"metric": "reality_recall", "label": "mean", "against": None}


def test_every_representation_has_a_row_under_each_of_its_conditions(results):
    mine = select(results, experiment="reality", **MEAN)
    found = mine.groupby("condition", sort=False)["x"].agg(list).to_dict()
    assert found["best"] == found["whitened"] == list(ENCODERS)
    assert found["aligned"] == ["seen", "told"]
    assert found["kept"] == found["seed"] == found["init"] == ["seen", "told", "again"]
    assert found["latent"] == ["image", "text"]
    assert (mine["n"] == 60).all()
    assert mine["ceiling"].notna().all()
    assert set(select(mine, condition="seed")["seed"]) == {1}
    kernels = select(results, experiment="reality", metric=("reality_kernel", "pmi_kernel"))
    assert len(kernels) == 4 * len(mine)
    assert set(kernels["held"].dropna()) == {"count", "count and length"}
    assert kernels[["low", "high", "null", "p", "calibrated"]].notna().all(axis=None)
    assert select(kernels, condition="best")["ceiling"].notna().all()  # two views of each test item


def test_training_shows(results):
    gains = select(results, experiment="reality", metric="reality_recall", label="mean", against="init")
    assert set(gains["condition"]) >= {"kept"}
    assert set(gains["x_layer"]) == {1}
    assert (gains["low"] > 0).all()
    mine = select(results, experiment="when", condition="training", x="seen", **MEAN)
    assert mine["checkpoint"].tolist() == [0, 30, 100]
    assert mine["value"].is_monotonic_increasing
    assert set(select(results, experiment="when", condition="still")["x"]) == {"bag_of_words", "parser", "state"}
    raw = select(results, experiment="when", metric="unbiased_cka", held=None)
    assert raw.groupby("checkpoint")["y"].agg(sorted).tolist() == [["again", "bag_of_words", "parser", "told"]] * 3
    assert select(raw, y="told")["value"].astype(float).diff().dropna().gt(0).all()


def test_a_world_of_texts_has_recall_alone(texts_alone):
    assert select(texts_alone, experiment="when", condition="raw").empty
    mine = select(texts_alone, experiment="when", condition="training", **MEAN)
    assert mine.groupby("x")["checkpoint"].agg(list).tolist() == [[0, 30, 100]] * 2
    assert len(select(texts_alone, experiment="reality", condition="best", **MEAN)) == 4


def test_the_table_and_the_figures_show_what_the_results_hold(results, texts_alone, tmp_path):
    mine = select(results, experiment="reality")
    lines = reality_table(mine).splitlines()
    names = [line.split("|")[1].strip() for line in lines[2:]]
    assert len(set(names)) == len(names)
    assert {"seen, layer 1", "told, layer 0", "bag of words", "parser", "state", "Con, image", "Con, text"} <= set(
        names
    )
    drawn = reality_map(mine)
    assert [axis.get_title(loc="left") for axis in drawn.axes] == ["images", "texts"]
    points = {tuple(np.round([line.get_xdata()[0], line.get_ydata()[0]], 6)) for line in drawn.axes[0].lines}
    [row], [other] = (
        select(mine, x="seen", condition="kept", against=None, **where).to_dict("records")
        for where in ({"metric": "reality_recall", "label": "mean"}, {"metric": "precision"})
    )
    assert tuple(np.round([row["value"], other["value"]], 6)) in points
    save(drawn, tmp_path / "map.png")
    through = select(results, experiment="when")
    assert [axis.get_title(loc="left") for axis in when(through, None).axes] == [
        "recall, habitats",
        "raw CKA with images",
    ]
    assert len(when(select(texts_alone, experiment="when"), None).axes) == 1
    drawn = when(through, None).axes[1]
    told = select(through, metric="unbiased_cka", condition="raw", held="count and length", y="told")
    assert any(
        np.allclose(line.get_ydata(), told["value"].astype(float)) for line in drawn.lines if len(line.get_ydata()) == 3
    )
    both = when(through, select(texts_alone, experiment="when"))
    assert both.axes[0].get_title(loc="left") == "recall, nothing co-occurs"
    save(both, tmp_path / "when.png")
