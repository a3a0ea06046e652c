"""Towers of two-tower models: their last layer is the vector that the whole model itself compares."""

import json

import numpy as np
import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file
from tiny_encoders import picture, random_rows, sentence, vision_folder, write_rows
from tiny_hub import tokenizer
from tiny_towers import PROJECTED, SAVED, save_whole

from jam.encoders import Encoder
from jam.encoders.folder import folder_manifest
from jam.encoders.manifest import Manifest, weights_sha256
from jam.errors import InputError
from jam.features import FeatureStore, extract_features
from jam.io import file_sha256


def direct(folder, family, images, texts):
    """What the whole model compares: vectors of images and of texts, of length 1."""
    whole = "FlavaModel" if family == "flava" else SAVED[family]  # without the heads of its pretraining
    model = getattr(hf, whole).from_pretrained(folder).eval()
    processor = hf.AutoImageProcessor.from_pretrained(folder, backend="pil")
    pixels = processor(images, return_tensors="pt")["pixel_values"]
    words = hf.AutoTokenizer.from_pretrained(folder)
    padding = "max_length" if family == "siglip" else True
    inputs = words(texts, padding=padding, max_length=24, truncation=True, return_tensors="pt")
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    with torch.no_grad():
        if family == "blip":
            output = model(input_ids=ids, attention_mask=mask, pixel_values=pixels, use_itm_head=False)
            return None, None, output.itm_score
        if family == "flava":
            seen = model.image_projection(model.image_model(pixels).last_hidden_state[:, 0])
            told = model.text_projection(model.text_model(ids, attention_mask=mask).last_hidden_state[:, 0])
        else:
            told_of = {} if family == "siglip" else {"attention_mask": mask}
            output = model(input_ids=ids, pixel_values=pixels, **told_of)
            seen, told = output.image_embeds, output.text_embeds
    return *(torch.nn.functional.normalize(each, dim=-1).numpy() for each in (seen, told)), None


def units(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def shown():
    rng = np.random.default_rng(0)
    return [picture(rng) for _ in range(3)], [sentence(rng) for _ in range(3)]


@pytest.mark.parametrize("family", SAVED)
def test_the_last_layer_is_what_the_whole_model_compares(family, tmp_path, shown):
    images, texts = shown
    folder = save_whole(tmp_path / family, family)
    towers = [Encoder.load(folder, "cpu", modality=each, projected=True) for each in ("image", "text")]
    seen, told = (tower.encode(some) for tower, some in zip(towers, shown, strict=True))
    assert seen.ndim == told.ndim == 2
    assert seen.shape[1] == told.shape[1] == towers[0].dims[-1]
    expected_seen, expected_told, cosines = direct(folder, family, images, texts)
    if cosines is not None:
        np.testing.assert_allclose(units(seen) @ units(told).T, cosines, atol=1e-5)
        return
    np.testing.assert_allclose(units(seen), expected_seen, atol=1e-5)
    np.testing.assert_allclose(units(told), expected_told, atol=1e-5)


@pytest.mark.parametrize("modality", ["image", "text"])
@pytest.mark.parametrize("family", SAVED)
def test_without_it_the_layers_are_those_before(family, modality, tmp_path, shown):
    folder, some = save_whole(tmp_path / family, family), shown[modality == "text"]
    plain = Encoder.load(folder, "cpu", modality=modality)
    tower = Encoder.load(folder, "cpu", modality=modality, projected=True)
    assert tower.dims[:-1] == plain.dims
    assert tower.describe()["projected"]
    for layer in range(len(plain.dims)):
        np.testing.assert_array_equal(tower.encode(some, layer=layer), plain.encode(some, layer=layer))
    with pytest.raises(InputError, match="one vector an item, expected one with tokens"):
        tower.token_states(tower.prepare(some), len(tower.dims) - 1)
    with pytest.raises(InputError, match="one vector an item"):
        tower.token_states(tower.prepare(some), -1)
    inputs = tower.prepare(some)
    for layer in range(1, len(tower.dims)):
        assert torch.equal(
            tower.token_states(inputs, -layer - 1)[0], tower.token_states(inputs, len(plain.dims) - layer)[0]
        )


@pytest.mark.parametrize("modality", ["image", "text"])
@pytest.mark.parametrize("family", SAVED)
def test_a_random_twin_has_a_space_of_its_own(family, modality, tmp_path, shown):
    folder, some = save_whole(tmp_path / family, family), shown[modality == "text"]
    how = {"device": "cpu", "modality": modality, "projected": True}
    trained = Encoder.load(folder, **how).encode(some)
    one, same, other = (Encoder.load(folder, **how, random_seed=seed).encode(some) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert one.shape == trained.shape
    assert np.isfinite(one).all()
    for wrong in (trained, other):
        assert not np.allclose(units(one), units(wrong), atol=1e-3)


def test_other_batches_and_lengths_change_nothing(tmp_path, shown):
    for family in SAVED:
        tower = Encoder.load(save_whole(tmp_path / family, family), "cpu", modality="text", projected=True)
        together = tower.encode(shown[1])
        alone = np.concatenate([tower.encode([text]) for text in shown[1]])
        np.testing.assert_allclose(together, alone, atol=1e-5)


def refused(message, *args, **options):
    with pytest.raises(InputError, match=message) as error:
        Encoder.load(*args, **options)
    assert "\n" not in str(error.value)


def test_what_is_refused(tmp_path):
    folder = save_whole(tmp_path / "clip", "clip")
    refused("expected modality: image or text to be given", folder, "cpu", projected=True)
    image = vision_folder(tmp_path / "x")
    refused("got modality 'text', expected 'image'", image, "cpu", modality="text")
    refused("got projected, expected a tower", image, "cpu", projected=True)
    (tmp_path / "bert").mkdir()
    words = tokenizer("[CLS]", "[SEP]", "[PAD]", "right")
    words.save_pretrained(tmp_path / "bert")
    hf.BertModel(
        hf.BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=len(words))
    ).save_pretrained(tmp_path / "bert")
    refused("projected: got bert, expected a tower of CLIP", tmp_path / "bert", "cpu", projected=True)


def test_a_whole_model_in_several_files_is_read(tmp_path, shown):
    folder = save_whole(tmp_path / "clip", "clip")
    one = Encoder.load(folder, "cpu", modality="text", projected=True).encode(shown[1])
    model = hf.CLIPModel.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="8KB")
    assert (folder / "model.safetensors.index.json").is_file()
    several = Encoder.load(folder, "cpu", modality="text", projected=True).encode(shown[1])
    np.testing.assert_array_equal(several, one)


def own_tower(folder):
    """A tower trained here: an encoder folder with a projection beside its weights."""
    vision_folder(folder)
    encoder = Encoder.load(folder, "cpu")
    weight = torch.from_numpy(np.random.default_rng(0).normal(size=(5, encoder.dims[-1])).astype(np.float32))
    save_file({"weight": weight}, folder / "projection.safetensors")
    content = json.loads((folder / "encoder.json").read_text())
    recipe = {"projected": True, "projection_sha256": file_sha256(folder / "projection.safetensors")}
    (folder / "encoder.json").write_text(json.dumps(content | {"recipe": content["recipe"] | recipe}))
    return folder


def test_a_tower_trained_here_projects_its_pooled_state(tmp_path, shown):
    folder = own_tower(tmp_path / "x")
    tower = Encoder.load(folder, "cpu")
    weight = load_file(folder / "projection.safetensors")["weight"].numpy()
    np.testing.assert_allclose(tower.encode(shown[0]), tower.encode(shown[0], layer=-2) @ weight.T, atol=1e-5)
    tower.save(tmp_path / "copy")
    np.testing.assert_array_equal(Encoder.load(tmp_path / "copy", "cpu").encode(shown[0]), tower.encode(shown[0]))
    refused("expected its checkpoint 0", folder, "cpu", random_seed=1)
    told = tower.describe()
    assert told["projection_sha256"] == file_sha256(folder / "projection.safetensors")
    assert told["parameters"] == sum(each.numel() for each in tower.model.parameters()) + weight.size
    save_file({"weight": torch.zeros(5, weight.shape[1])}, folder / "projection.safetensors")
    refused("projection.safetensors: got sha256", folder, "cpu")
    (folder / "projection.safetensors").unlink()
    refused("projection.safetensors: got sha256 none", folder, "cpu")


@pytest.mark.parametrize("recipe", [{"projected": "yes"}, {"projected": True}])
def test_a_manifest_without_the_hash_of_its_projection_is_refused(tmp_path, recipe):
    folder = own_tower(tmp_path / "x")
    content = json.loads((folder / "encoder.json").read_text())
    (folder / "encoder.json").write_text(json.dumps(content | {"recipe": recipe}))
    refused("recipe: got projected .*, expected true, and the hash of projection.safetensors", folder, "cpu")


def test_a_projection_without_a_weight_is_refused(tmp_path):
    folder = own_tower(tmp_path / "x")
    save_file({"other": torch.zeros(2)}, folder / "projection.safetensors")
    content = json.loads((folder / "encoder.json").read_text())
    recipe = content["recipe"] | {"projection_sha256": file_sha256(folder / "projection.safetensors")}
    (folder / "encoder.json").write_text(json.dumps(content | {"recipe": recipe}))
    refused("projection.safetensors: expected a tensor weight", folder, "cpu")


def test_extraction_has_one_layer_more(tmp_path):
    folder = save_whole(tmp_path / "flava", "flava")
    rows = write_rows(tmp_path / "data", train=random_rows("train", 4))
    manifest = folder_manifest(folder, "image", projected=True)
    (tmp_path / "encoder").mkdir()
    manifest.write(tmp_path / "encoder")
    assert Manifest.read(tmp_path / "encoder") == manifest
    assert manifest.sha256 == weights_sha256(folder)
    tower = Encoder.load(tmp_path / "encoder", "cpu")
    views = rows / "views" / "image.parquet"
    extract_features(tower, views, tmp_path / "features", scratch=tmp_path / "scratch")
    store = FeatureStore.load(tmp_path / "features")
    assert store.dims == tower.dims
    assert store.layer(-1).shape[1] == PROJECTED
