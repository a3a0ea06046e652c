"""params.yaml: every preset fits the schema, and every bad value is named by its path in one line."""

from pathlib import Path

import pytest
import yaml

from jam.errors import InputError
from jam.params import load_params
from stages.sweeps import processes

ROOT = Path(__file__).parent.parent
PRESETS = sorted((ROOT / "presets").glob("*.yaml"))


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_every_preset_is_valid(path):
    assert load_params(path).align.methods


def test_the_default_is_the_cave_preset():
    assert (ROOT / "params.yaml").read_text() == (ROOT / "presets" / "cave.yaml").read_text()


def changed(tmp_path, where, value):
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    *parents, last = where.split(".")
    section = content
    for part in parents:
        section = section[part]
    section[last] = value
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        ("training.batch_size", 1, r"training\.batch_size: .*greater than or equal to 2 \(got 1\)"),
        ("training.batch_sise", 32, r"training\.batch_sise: extra inputs are not permitted"),
        ("training.epochs", "many", r"training\.epochs: .*valid integer.*\(got 'many'\)"),
        ("align.text.encoder", "bert", r"align\.text\.encoder: got \['bert'\], expected names among"),
        ("align.text.encoder", "vision_l", r"align\.text\.encoder: got vision_l, a vision encoder"),
        ("align.image.layer", 4, r"align\.image\.layer: .*string.*\(got 4\)"),
        ("align.methods", ["con"], r"align: methods: got \['con'\], expected objectives and then baselines"),
        ("align.seeds", [0, 0], r"align\.seeds: got \[0, 0\], expected each once"),
        ("align.seeds", [], r"align\.seeds: .*at least 1 item"),
        ("align.objectives", [], r"align\.objectives: .*at least 1 item"),
        ("align.baselines", ["mlp", "mlp"], r"align\.baselines: got \['mlp', 'mlp'\], expected each once"),
        ("encoder_names", [], r"encoder_names: .*at least 1 item"),
        ("kernels.metrics", [], r"kernels\.metrics: .*at least 1 item"),
        ("kernels.metrics", ["cka", "cka"], r"kernels\.metrics: got \['cka', 'cka'\], expected each once"),
        ("kernels.k", 1000, r"kernels\.k: got 1000 with 1000 images in the val split, expected at least 1001"),
        ("kernels.folds", 1001, r"kernels\.folds: got 1001 with 1000 images in the val split"),
        ("evaluate.k", 1000, r"evaluate\.k: got 1000 with 1000 images in the val split, expected at least 1001"),
        ("objectives.spread.neighbours", 128, r"objectives\.spread\.neighbours: got 128, expected fewer than the 128"),
        ("objectives.spread.alphas", [0.5, 0.5], r"objectives\.spread\.alphas: got .*expected each once"),
        ("objectives.ridge.penalty", [1, 1], r"objectives\.ridge\.penalty: got .*expected each once"),
        ("layers.image", [0, 0], r"layers\.image: got \[0, 0\], expected each once"),
        ("layers.seeds", [1, 1], r"layers\.seeds: got \[1, 1\], expected each once"),
        ("scale.seeds", [0, 0], r"scale\.seeds: got \[0, 0\], expected each once"),
        ("scale.text", [{"encoder": "minilm", "layer": n} for n in ("01", "02")], r"scale: got .*minilm.*each once"),
        ("pareto.seeds", [0, 0], r"pareto\.seeds: got \[0, 0\], expected each once"),
        ("pareto.reconstruction", [[1, 0.1], [1, 0.1]], r"pareto\.reconstruction: got .*expected each once"),
        ("dataset.reads", "data/photos", r"dataset: reads: got 'data/photos' with source cave, expected jam/data/cave"),
        ("dataset.source", "folder", r"dataset: reads: got 'jam/data/cave' with source folder, expected your folder"),
        ("pareto.cross", [], r"pareto\.cross: .*at least 1 item"),
        ("align.objectives", ["ridge", "negcon", "spread"], r"align: methods: got"),
        ("objectives.con.alphas", [0.2], r"objectives\.con.*alphas: got .* with loss con"),
        ("objectives.spread.alphas", [1.2], r"objectives\.spread.*alphas.*\(got 1\.2\)"),
        ("objectives.ridge.components", [8], r"objectives\.ridge.*got \['components', 'penalty'\] for ridge"),
        ("sweeps.objective", "ridge", r"sweeps\.objective: got ridge, expected a trained objective"),
        ("sweeps.objective", "spread", r"sweeps\.objective: got spread, .* at most one alpha"),
        ("layers.text", [], r"layers\.text: .*at least 1 item"),
        ("layers.text", [-1], r"layers\.text\.0: .*greater than or equal to 0 \(got -1\)"),
        ("scale.image", [{"encoder": "minilm", "layer": "02"}], r"scale\.image: got minilm, expected a vision encoder"),
        ("scale.text", [{"encoder": "bert", "layer": "02"}], r"scale\.text: got \['bert'\], expected names among"),
        ("pareto.alphas", [], r"pareto: alphas: got \[\] with losses"),
        ("kernels.metrics", ["cka2"], r"kernels\.metrics\.0: .*\(got 'cka2'\)"),
        ("encoders.minilm.package", None, r"encoders\.minilm: got no 'package'"),
        ("encoder_names", ["a.b"], r"encoder_names\.0: .*pattern.*\(got 'a\.b'\)"),
    ],
)
def test_a_bad_value_is_named_by_its_path(tmp_path, where, value, message):
    with pytest.raises(InputError, match=message) as caught:
        load_params(changed(tmp_path, where, value))
    assert "\n" not in str(caught.value)


def test_no_file_and_no_yaml_are_one_line(tmp_path):
    with pytest.raises(InputError, match=r"no such file; expected the pipeline's parameters"):
        load_params(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("a: [1\nb: 2")
    with pytest.raises(InputError, match="expected YAML") as caught:
        load_params(tmp_path / "params.yaml")
    assert "\n" not in str(caught.value)
    (tmp_path / "params.yaml").write_text("")
    with pytest.raises(InputError, match=r"params\.yaml: input should be"):
        load_params(tmp_path / "params.yaml")


def test_a_constant_alpha_and_a_curriculum_read_alike(tmp_path):
    params = load_params(changed(tmp_path, "objectives.spread.alphas", [0.2, [0.8, 0.2]]))
    assert params.objectives["spread"].alphas == ((0.2, 0.2), (0.8, 0.2))


@pytest.mark.parametrize("value", ["abc", "0", "-1", "1.5", ""])
def test_a_number_of_processes_that_is_none_is_said(monkeypatch, value):
    monkeypatch.setenv("JAM_WORKERS", value)
    with pytest.raises(InputError, match=f"JAM_WORKERS: got '{value}' in the environment, expected a whole number"):
        processes()


def test_a_key_that_is_there_twice_is_named(tmp_path):
    text = (ROOT / "params.yaml").read_text().replace("  patience: 3", "  epochs: 9\n  patience: 3")
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(InputError, match="expected YAML, got 'epochs' is there twice"):
        load_params(tmp_path / "params.yaml")
