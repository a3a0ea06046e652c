"""params.yaml: every preset fits the schema, and every bad value is named by its path in one line."""

import functools
import shutil
from pathlib import Path

import pytest
import yaml

from jam.errors import InputError
from jam.parallel import processes
from jam.params import load_params
from stages.preset import built, names
from stages.preset import main as preset

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", names())
def test_every_preset_is_valid_and_keeps_its_comments(name, tmp_path):
    text = built(name)
    (tmp_path / "params.yaml").write_text(text)
    assert load_params(tmp_path / "params.yaml").spaces
    first = (ROOT / "presets" / f"{name}.yaml").read_text().splitlines()[0]
    assert text.startswith(first)
    assert "# of the gradient of each adapter" in text


def test_the_default_is_the_cave_preset():
    assert (ROOT / "params.yaml").read_text() == (ROOT / "presets" / "cave.yaml").read_text()


def test_a_preset_states_what_differs_and_can_be_gone_back_from(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "presets", tmp_path / "presets")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    preset("mini")
    mini = yaml.safe_load(Path("params.yaml").read_text())
    assert list(mini["spaces"]) == ["con", "negcon", "spread", "matryoshka", "cca"]  # emptied first
    assert mini["align"]["x"] == {"side": "image", "encoder": "vision_s", "layer": 4}  # what is not stated stays
    preset("cave")
    assert Path("params.yaml").read_text() == (ROOT / "params.yaml").read_text()
    assert not Path("params.before.yaml").exists()
    mine = Path("params.yaml").read_text().replace("batch_size: 128", "batch_size: 32")
    Path("params.yaml").write_text(mine)
    preset("photos")
    assert Path("params.before.yaml").read_text() == mine  # nothing of one's own is lost
    Path("params.yaml").write_text(mine + "# once more\n")
    preset("mini")
    assert Path("params.before.yaml").read_text() == mine
    assert Path("params.before.2.yaml").read_text() == mine + "# once more\n"
    before = Path("params.yaml").read_text()
    for content, message in (
        ("training: {epoch: 3}\n", r"^presets/odd\.yaml: training\.epoch: extra inputs are not permitted \(got 3\)$"),
        ("", r"presets/odd\.yaml: got NoneType, expected sections that differ from cave's"),
        ("a: [\n", r"presets/odd\.yaml: expected YAML, got [^\n]*$"),
    ):
        Path("presets/odd.yaml").write_text(content)
        with pytest.raises(InputError, match=message):
            preset("odd")
        assert Path("params.yaml").read_text() == before
        preset("mini")  # a half-written one does not stand in the way of others
    Path("presets/odd.yaml").unlink()
    Path("presets/mine.yaml").write_text("kernels: {seed: null}\n")
    assert "seed" not in yaml.safe_load(built("mine"))["kernels"]
    with pytest.raises(InputError, match=r"preset: got 'x', expected one of \['adapters', 'caption', 'cave', 'mine'"):
        preset("x")


def changed(tmp_path, where, value):
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    *parents, last = where.split(".")
    section = functools.reduce(dict.__getitem__, parents, content)
    section[last] = value(section[last]) if callable(value) else value
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        ("training.batch_size", 1, r"training\.batch_size: .*greater than or equal to 2 \(got 1\)"),
        ("training.batch_sise", 32, r"training\.batch_sise: extra inputs are not permitted"),
        ("training.epochs", "many", r"training\.epochs: .*valid integer.*\(got 'many'\)"),
        ("align.y.encoder", "bert", r"align\.y: got \['bert'\], expected names among"),
        ("align.x.layer", "04", r"align\.x\.layer: .*valid integer.*\(got '04'\)"),
        ("align.x.layer", -1, r"align\.x\.layer: .*greater than or equal to 0 \(got -1\)"),
        ("align.x.side", "text", r"align: got two sides text, expected names of their own"),
        ("align.x.side", "a/b", r"align\.x\.side: .*pattern.*\(got 'a/b'\)"),
        ("align.seeds", [2**64], r"align\.seeds\.0: .*less than 18446744073709551616 \(got 18446744073709551616\)"),
        ("dataset.seed", 2**64, r"dataset\.seed: .*less than 18446744073709551616"),
        ("kernels.k", 1000, r"kernels\.k: got 1000 with 1000 images in the val split, expected at least 1001"),
        ("kernels.folds", 1001, r"kernels\.folds: got 1001 with 1000 images in the val split"),
        ("kernels.spaces", ["cons"], r"kernels\.spaces: got \['cons'\], expected names among"),
        ("evaluate.k", 1000, r"evaluate\.k: got 1000 with 1000 images in the val split, expected at least 1001"),
        ("spaces.spread.neighbours", 128, r"spaces\.spread\.neighbours: got 128, expected fewer than the 128"),
        ("dataset.reads", "data/photos", r"dataset: reads: got 'data/photos' with source cave, expected jam/world"),
        ("dataset.source", "folder", r"dataset: reads: got 'jam/world' with source folder, expected your folder"),
        (
            "captions.cave.language",
            "text_mlm",
            r"captions\.cave\.language: got text_mlm, masked; expected a causal model",
        ),
        ("captions.cave.language", "vision_l", r"captions\.cave\.language: got vision_l, image; expected a causal"),
        ("multimodal.wrong.pretraining.wrong", 0.00025, r"wrong: got 0\.00025 of 4000 pairs, which is one"),
        ("compare.cave.scales.pairs.levels.clip_few", float("nan"), r"levels.*finite number"),
        ("compare.cave.claims.early_layers", [["clip_a", "clip_few"]], r"got \['clip_few'\], expected models of every"),
        (
            "compare.cave.claims.stitching",
            [["clip_a", "clip_few"]],
            r"got \['clip_few'\], expected models that are stitch",
        ),
        ("features.train_captions", None, r"features\.train_captions.*valid integer"),
        ("spaces.con.alphas", [0.2], r"spaces\.con: alphas: got .* with loss con"),
        ("spaces.con.loss", "condor", r"spaces\.con: .*'condor'"),
        ("spaces.spread.alphas", [1.2], r"spaces\.spread\.alphas.*\(got 1\.2\)"),
        ("spaces.ridge.components", [8], r"spaces\.ridge: got \['components', 'penalty'\] for ridge"),
        ("spaces", {}, r"spaces: .*at least 1 item"),
        ("spaces.three", {"loss": "ridge", "penalty": [1]}, r"spaces_of_three: got \['three'\] more than once"),
        ("spaces_of_two.two_texts.x.encoder", "bert", r"spaces_of_two\.two_texts: got \['bert'\], expected names"),
        ("spaces_of_two.two_texts.x.side", "minilm", r"got sides \['minilm', 'minilm'\], expected names of their own"),
        ("spaces_of_two.two_texts.fit.latent", 0, r"spaces_of_two\.two_texts\.fit\.latent\.0: .*\(got 0\)"),
        ("spaces_of_three.three.fit", {"loss": "ridge", "penalty": [1]}, r"three: fit: got ridge, .* two sides"),
        ("spaces_of_three.three.pairs", [["image_m", "text"]], r"three: pairs: got .*, each side in one"),
        ("sweeps.objective.alphas", [0.1, 0.5], r"sweeps: objective\.alphas: got .*, expected at most one"),
        ("sweeps.objective.loss", "ridge", r"sweeps\.objective\.loss: .*'con', 'negcon' or 'spread'.*\(got 'ridge'\)"),
        ("sweeps.layers.y", [-1], r"sweeps\.layers\.y\.0: .*greater than or equal to 0 \(got -1\)"),
        (
            "sweeps.scale.y",
            [{"encoder": "bert", "layer": 2}],
            r"sweeps\.scale\.y: got \['bert'\], expected names among",
        ),
        ("sweeps.scale.y", [{"encoder": "minilm", "layer": n} for n in (1, 2)], r"scale: got .*minilm.*each once"),
        ("sweeps.pareto.alphas", [], r"pareto: alphas: got \[\] with losses"),
        ("spaces.matryoshka.dims", [512], r"spaces\.matryoshka: dims: got 512 with a latent of 256, expected at most"),
        ("spaces.linear.dims", [8], r"spaces\.linear: dims, mrl_weight, clip_weight: got some of them"),
        ("matryoshka.matryoshka.plain", "cca", r"matryoshka\.matryoshka\.plain: got 'cca', expected a trained one"),
        ("matryoshka.matryoshka.dims", [300], r"matryoshka\.matryoshka: got 300 dimensions with a latent of 256"),
        (
            "matryoshka.con",
            {"plain": "linear", "dims": [8], "draws": 1, "shortlists": [], "by": []},
            r"matryoshka\.con: expected the name of one of spaces that has dims",
        ),
        ("spaces.matryoshka.latent", [256, 300], r"spaces\.matryoshka\.latent: got several, expected one"),
        ("kernels.metrics", ["cka2"], r"kernels\.metrics\.0: .*\(got 'cka2'\)"),
        ("encoders.minilm.package", None, r"encoders\.minilm: got no 'package'"),
        ("encoders", {"a.b": {"modality": "text", "source": "package", "package": "x"}}, r"encoders\.a\.b.*pattern"),
    ],
)
def test_a_bad_value_is_named_by_its_path(tmp_path, where, value, message):
    with pytest.raises(InputError, match=message) as caught:
        load_params(changed(tmp_path, where, value))
    assert "\n" not in str(caught.value)


MAY_BE_EMPTY = ("spaces.spread.alphas", "spaces.ridge.penalty")
NOT_EMPTY = (
    "align.seeds", "kernels.metrics", "kernels.spaces", "sweeps.layers.x", "sweeps.layers.y", "sweeps.layers.seeds",
    "sweeps.scale.seeds", "sweeps.pareto.seeds", "sweeps.pareto.cross", "sweeps.pareto.reconstruction",
)  # fmt: skip


@pytest.mark.parametrize("where", MAY_BE_EMPTY + NOT_EMPTY)
def test_a_list_has_each_once_and_mostly_something(tmp_path, where):
    with pytest.raises(InputError, match=rf"{where}: got .*, expected each once"):
        load_params(changed(tmp_path, where, lambda values: values * 2))
    if where in NOT_EMPTY:
        with pytest.raises(InputError, match=rf"{where}: .*at least 1 item"):
            load_params(changed(tmp_path, where, []))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such file; expected the pipeline's parameters"),
        ("a: [1\nb: 2", "expected YAML"),
        ("", r"params\.yaml: input should be"),
        ("a: 1\nb: {c: 1, c: 2}", "expected YAML, got 'c' is there twice"),
    ],
)
def test_what_is_no_file_of_parameters_is_one_line(tmp_path, text, message):
    if text is not None:
        (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        load_params(tmp_path / "params.yaml")
    assert "\n" not in str(caught.value)


def test_a_constant_alpha_and_a_curriculum_read_alike(tmp_path):
    params = load_params(changed(tmp_path, "spaces.spread.alphas", [0.2, [0.8, 0.2]]))
    assert params.spaces["spread"].alphas == ((0.2, 0.2), (0.8, 0.2))


def test_a_preset_names_what_stays_of_other_spaces_and_what_is_to_be_done_first(tmp_path, monkeypatch, capsys):
    (tmp_path / "presets").symlink_to(ROOT / "presets")
    monkeypatch.chdir(tmp_path)
    told = preset("photos")
    assert told.endswith("; put images and metadata.jsonl into data/photos, then run dvc repro")
    assert capsys.readouterr().out == ""
    for stale in ("metrics/evaluate/negcon.json", "metrics/evaluate/con.json", "data/spaces/old/0/space.json"):
        (tmp_path / stale).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / stale).write_text("{}")
    (tmp_path / "data" / "photos").mkdir()
    assert preset("photos").endswith("photos.yaml; run dvc repro")
    said = capsys.readouterr().out
    assert "spaces that photos does not have (negcon, old)" in said
    assert said.count("\n") == 1
    assert (tmp_path / "metrics/evaluate/negcon.json").is_file()


@pytest.mark.parametrize("value", ["abc", "0", "-1", "1.5", ""])
def test_a_number_of_processes_that_is_none_is_said(monkeypatch, value):
    monkeypatch.setenv("JAM_WORKERS", value)
    with pytest.raises(InputError, match=f"JAM_WORKERS: got '{value}' in the environment, expected a whole number"):
        processes()
