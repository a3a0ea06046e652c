"""Random twins of encoders: the same architecture and processor, weights drawn from a seed, features that vary."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as hf
import yaml
from convnet_twins import random_lite, random_mobilenet
from PIL import Image
from safetensors.torch import save_file
from test_conversions_images import torch_file
from tiny_encoders import contents, picture, pretraining_table, random_rows, sentence, text_folder, vision_folder
from tiny_hub import save_tiny
from tokenizers import Tokenizer, models, pre_tokenizers
from wheel_maker import package

from jam.encoders import Encoder
from jam.encoders.manifest import MANIFEST, Manifest
from jam.encoders.registry import PACKAGES
from jam.encoders.twin import random_twin
from jam.errors import InputError
from jam.features.perplexity import perplexity
from jam.io import read_json, write_json
from stages import encoder as stage

SPREAD = 0.01  # deviation over images, as a share of the mean size of a state: of each layer, at least


def photos(n=8):
    """Blurred colours, as photos have them: means over positions differ, unlike those of noise."""
    rows = [np.random.default_rng(i).integers(0, 256, (4, 4, 3), dtype=np.uint8) for i in range(n)]
    return [Image.fromarray(row).resize((64, 64), Image.Resampling.BICUBIC) for row in rows]


def state(encoder):
    return {name: value.numpy().tobytes() for name, value in encoder.model.state_dict().items()}


def spreads(encoder, items):
    states = [layer.numpy() for layer in encoder.hidden_states(items)]
    assert all(np.isfinite(layer).all() for layer in states)
    return [layer.std(axis=0).mean() / np.abs(layer).mean() for layer in states]


def refused(match, call, *arguments, **options):
    with pytest.raises(InputError, match=match) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)


def check(name, items, tmp_path):
    """What holds of a twin of an encoder, whatever its source; gives both."""
    trained = Encoder.load(name, device="cpu")
    twin = Encoder.load(name, device="cpu", random_seed=3)
    assert type(twin.model) is type(trained.model)
    assert twin.dims == trained.dims
    assert twin.describe()["random_seed"] == 3
    assert "random_seed" not in trained.describe()
    for key, value in trained.prepare(items).items():
        assert torch.equal(twin.prepare(items)[key], value)
    assert state(Encoder.load(name, device="cpu", random_seed=3)) == state(twin)
    varying = [spread > 1e-5 for spread in spreads(trained, items)]  # the CLS of a first layer has seen nothing
    assert min(np.array(spreads(twin, items))[varying]) > SPREAD
    for other in (trained, Encoder.load(name, device="cpu", random_seed=4)):
        for one, two in zip(twin.hidden_states(items), other.hidden_states(items), strict=True):
            assert (one - two).abs().mean() > 0.05 * one.abs().mean()
    twin.save(tmp_path / "saved")
    assert [path.name for path in (tmp_path / "saved").iterdir()] == [MANIFEST]
    again = Encoder.load(tmp_path / "saved", device="cpu")
    assert again.manifest == twin.manifest
    assert state(again) == state(twin)
    return trained, twin


TEXTS = [sentence(np.random.default_rng(i)) for i in range(8)]


@pytest.mark.parametrize("kind", ["efficientnet_lite", "mobilenet_v2"])
def test_of_a_packaged_convnet(index, tmp_path, monkeypatch, kind):
    lite = kind == "efficientnet_lite"
    weights = random_lite((1, 1, 1, 1, 1, 1, 1)) if lite else random_mobilenet()
    files = {"efficientnet-lite0-tiny.pth" if lite else "mobilenet_v2-tiny.pth": torch_file(weights)}
    monkeypatch.setitem(PACKAGES, "tiny", package(index, files, kind, "image"))
    _, twin = check("tiny", photos(), tmp_path)
    gates = [value for name, value in twin.model.named_parameters() if name.endswith("squeeze_excite.expand.bias")]
    assert len(gates) == 7 * lite
    assert all((gate == 40).all() for gate in gates)  # there is no squeeze-and-excitation in Lite, nor in its twin
    twin.model = type(twin.model)(twin.model.config).eval()  # as transformers initialises it
    assert np.abs(twin.encode(photos())).max() < 1e-6


def test_drawing_leaves_the_model_and_the_generator_as_they_are():
    torch.manual_seed(0)
    model = hf.RegNetModel(hf.RegNetConfig(embedding_size=8, hidden_sizes=[8, 8, 8, 8], depths=[1] * 4, groups_width=4))
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean += 1
            layer.weight.data += torch.rand(layer.num_features)
    before, weights = torch.random.get_rng_state(), {name: value.clone() for name, value in model.state_dict().items()}
    twin = random_twin(model, 7)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    for layer in twin.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            for value, expected in (
                (layer.weight, 1),
                (layer.bias, 0),
                (layer.running_mean, 0),
                (layer.running_var, 1),
            ):
                assert (value == expected).all()
        elif isinstance(layer, torch.nn.Conv2d) and layer.weight.numel() > 500:
            assert layer.weight.std() == pytest.approx((2 / layer.weight[0].numel()) ** 0.5, rel=0.1)  # of He et al.


@pytest.mark.parametrize(("family", "items"), [("resnet18", photos()), ("convnext", photos()), ("dinov2", photos())])
def test_of_a_folder(tmp_path, family, items):
    check(save_tiny(tmp_path / "model", family), items, tmp_path)


@pytest.mark.parametrize("family", ["bert", "llama", "mpnet", "bloom"])
def test_of_a_folder_of_a_language_model(tmp_path, family):
    check(save_tiny(tmp_path / "model", family), TEXTS, tmp_path)


def test_of_a_hub_model(loopback, tmp_path):
    loopback.add("tiny/bert", contents(save_tiny(tmp_path / "model", "bert")))
    trained, twin = check("tiny/bert", TEXTS, tmp_path)
    assert twin.manifest == trained.manifest.twin(3)


def test_of_a_bag_of_words_it_stays_one(index, tmp_path, monkeypatch):
    words = ["<unk>", "<s>", "</s>", *sorted(set(" ".join(TEXTS).split()))]
    save_file({"embedding.weight": torch.randn(len(words), 16)}, tmp_path / "table.safetensors")
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    files = {"table.safetensors": (tmp_path / "table.safetensors").read_bytes(), "tokenizer.json": tokenizer.to_str()}
    files = {name: text.encode() if isinstance(text, str) else text for name, text in files.items()}
    monkeypatch.setitem(PACKAGES, "tiny", package(index, files, "word_table"))
    _, twin = check("tiny", TEXTS, tmp_path)
    np.testing.assert_allclose(twin.encode(["red seven"]), twin.encode(["seven red"]), atol=1e-7)


def test_of_a_cave_encoder_names_its_folder_and_leaves_it(tmp_path):
    folder = vision_folder(tmp_path / "e")
    before = contents(folder)
    _, twin = check(folder, photos(), tmp_path)
    assert (twin.manifest.source, twin.manifest.id) == ("folder", str(folder))
    assert contents(folder) == before


def test_of_a_package_whose_manifest_has_no_recipe(index, tmp_path, monkeypatch):
    files = contents(text_folder(tmp_path / "source"))
    del files[MANIFEST]
    monkeypatch.setitem(PACKAGES, "tiny", package(index, files))
    sha256 = Encoder.load("tiny", device="cpu").manifest.sha256
    Manifest("owner/tiny", "text", "package", "mean", sha256).write(tmp_path / "old")
    Encoder.load(tmp_path / "old", device="cpu", random_seed=3).save(tmp_path / "saved")
    assert state(Encoder.load(tmp_path / "saved", device="cpu")) == state(Encoder.load("tiny", "cpu", random_seed=3))


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, True, "3"])
def test_a_seed_that_is_none_is_named(tmp_path, seed):
    folder = text_folder(tmp_path / "e")
    refused("random_seed: got", Encoder.load, folder, device="cpu", random_seed=seed)
    if seed != 1.5:
        write_json(folder / MANIFEST, read_json(folder / MANIFEST) | {"recipe": {"random_seed": seed}})
        refused("random_seed: got", Encoder.load, folder)


def test_a_recipe_that_is_none_is_named(tmp_path):
    folder = text_folder(tmp_path / "e")
    write_json(folder / MANIFEST, read_json(folder / MANIFEST) | {"recipe": [1]})
    refused(r"recipe: got \[1\], expected a JSON object", Encoder.load, folder)


# --- the stage --------------------------------------------------------------------------------------------------------


@pytest.fixture
def stages(tmp_path, monkeypatch):
    """A folder to work in, with tables to pretrain on; a function that puts an encoder into its params.yaml."""
    params = yaml.safe_load((Path(__file__).parents[1] / "presets" / "cave.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    rows = random_rows("p", 70)
    for i, row in enumerate(rows):  # every scene once
        row["labels"] = [{"name": "left_color", "value": str(i)}, {"name": "left_size", "value": str(i % 7)}]
    for name in ("images", "views", "text"):
        pretraining_table(Path(f"data/pretrain/{name}.parquet"), rows)

    def put(name, **spec):
        params["encoders"][name] = spec
        Path("params.yaml").write_text(json.dumps(params))
        return stage.main(name)

    return put


SCHEDULE = {"epochs": 2, "batch_size": 16, "learning_rate": 0.003, "weight_decay": 0.05}
IMAGE = {"widths": [16, 16, 32, 32], "depths": [1, 1, 1, 1], **SCHEDULE}
TEXT = {"width": 16, "layers": 2, "heads": 2, **SCHEDULE}


@pytest.mark.parametrize(
    ("modality", "pretraining"),
    [
        ("image", {"objective": "labels", **IMAGE}),
        ("image", {"objective": "contrastive", **IMAGE}),
        ("text", {"objective": "causal", **TEXT}),
        ("text", {"objective": "masked", **TEXT}),
    ],
)
def test_of_the_cave_is_not_trained(stages, modality, pretraining):
    spec = {"modality": modality, "source": "cave", "reads": "data/pretrain", modality: pretraining, "seed": 5}
    assert stages("trained", **spec).startswith("pretrained, mean loss")
    for name, seed in (("twin", 5), ("same", 5), ("other", 6)):
        said = stages(name, **spec | {"random": True, "seed": seed})
        assert said == f"drawn from seed {seed}; encoder in data/encoders/{name}"
    weights = {name: Path(f"data/encoders/{name}/model.safetensors").read_bytes() for name in ("twin", "same", "other")}
    assert weights["twin"] == weights["same"] != weights["other"]
    manifest = Manifest.read(Path("data/encoders/twin"))
    assert (manifest.source, manifest.random_seed, manifest.recipe["epochs"]) == ("cave", 5, 0)
    items = [picture(np.random.default_rng(i)) for i in range(4)] + photos(4) if modality == "image" else TEXTS
    trained, twin = (Encoder.load(f"data/encoders/{name}", device="cpu") for name in ("trained", "twin"))
    assert twin.dims == trained.dims
    assert min(spreads(twin, items)) > SPREAD
    assert np.abs(twin.encode(items) - trained.encode(items)).mean() > 0.05 * np.abs(trained.encode(items)).mean()
    assert twin.describe()["random_seed"] == 5
    if modality == "text":
        words = len(twin.processor)
        assert perplexity("data/encoders/twin", TEXTS)["perplexity"] > words / 3  # it knows nothing


def test_of_a_folder_by_parameters(stages, tmp_path):
    save_tiny(tmp_path / "mine", "resnet18")
    spec = {"modality": "image", "source": "folder", "reads": "mine"}
    said = stages("plain", **spec)
    sha256 = Manifest.read(Path("data/encoders/plain")).sha256
    assert said == f"found mine, {sha256[:12]}; encoder in data/encoders/plain"
    said = stages("twin", **spec, random=True, seed=3)
    assert said.startswith(f"found mine, {sha256[:12]}, whose weights are drawn from seed 3;")
    assert [path.name for path in Path("data/encoders/twin").iterdir()] == [MANIFEST]
    plain, twin = (Encoder.load(f"data/encoders/{name}", device="cpu") for name in ("plain", "twin"))
    assert state(plain) == state(Encoder.load("mine", device="cpu"))
    assert state(twin) == state(Encoder.load("mine", device="cpu", random_seed=3))
