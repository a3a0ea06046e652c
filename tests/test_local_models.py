"""Encoders in local folders of the Hugging Face layout: found, pinned by all their files, and refused in one line."""

import shutil

import numpy as np
import pytest
import torch
from tiny_encoders import picture, sentence, text_folder
from tiny_hub import direct_model, save_tiny

from jam.encoders import Encoder
from jam.encoders.folder import folder_manifest
from jam.encoders.manifest import MANIFEST, Manifest, weights_sha256
from jam.errors import InputError
from jam.io import file_sha256, read_json, write_json

TEXTS = [sentence(np.random.default_rng(i)) for i in range(4)]


def refused(match, call, *arguments, **options):
    with pytest.raises(InputError, match=match) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)


def test_a_folder_is_the_model_in_it(tmp_path):
    folder = save_tiny(tmp_path / "model", "bert")
    encoder = Encoder.load(folder, device="cpu")
    assert encoder.manifest == Manifest(
        str(folder), "text", "folder", "mean", weights_sha256(folder), recipe=encoder.manifest.recipe
    )
    described = {path.name for path in folder.iterdir()} - {"model.safetensors"}
    assert encoder.manifest.recipe == {"files": {name: file_sha256(folder / name) for name in sorted(described)}}
    inputs = encoder.prepare([TEXTS[0]])
    with torch.inference_mode():
        expected = direct_model(folder, "bert")(**inputs).last_hidden_state.mean(dim=1)
    np.testing.assert_allclose(encoder.encode([TEXTS[0]]), expected, atol=1e-6)
    image = Encoder.load(str(save_tiny(tmp_path / "other", "dinov2")), device="cpu")
    assert (image.modality, image.manifest.pooling) == ("image", "cls")
    assert image.encode([picture(np.random.default_rng(0))]).shape == (1, 8)


def test_the_manifest_alone_finds_the_folder_and_pins_every_file(tmp_path):
    folder = save_tiny(tmp_path / "model", "bert")
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 9}')
    encoder = Encoder.load(folder, device="cpu")
    assert encoder.max_tokens == 9
    encoder.save(tmp_path / "saved")
    assert [path.name for path in (tmp_path / "saved").iterdir()] == [MANIFEST]
    again = Encoder.load(tmp_path / "saved", device="cpu")
    assert again.manifest == encoder.manifest
    np.testing.assert_array_equal(again.encode(TEXTS), encoder.encode(TEXTS))

    kept = tmp_path / "kept"
    shutil.copytree(folder, kept)
    for change, message in (
        (lambda: (folder / "model.safetensors").write_bytes(b"others"), f"{folder}: got weights of sha256"),
        (
            lambda: (folder / "config.json").write_text("{}"),
            "config.json: got sha256 44136fa.*expected [0-9a-f]{64}: the",
        ),
        (
            lambda: (folder / "tokenizer.json").unlink(),
            "tokenizer.json: got sha256 none, expected [0-9a-f]{64}: the folder is",
        ),
        (
            lambda: (folder / "vocab.txt").write_text("a"),
            "vocab.txt: got sha256 ca978.*, expected none: the folder is another",
        ),
        (lambda: shutil.rmtree(folder), f"folder encoder {folder}: found no config.json, expected a folder"),
    ):
        change()
        refused(message, Encoder.load, tmp_path / "saved")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(kept, folder)
    Encoder.load(tmp_path / "saved", device="cpu")
    write_json(tmp_path / "saved" / MANIFEST, read_json(tmp_path / "saved" / MANIFEST) | {"recipe": {"files": 7}})
    refused("recipe: files: got 7, expected the hash of each", Encoder.load, tmp_path / "saved")


def test_of_a_cave_folder_the_manifest_is_what_counts(tmp_path):
    assert Encoder.load(text_folder(tmp_path / "e"), device="cpu").manifest.source == "cave"
    assert folder_manifest(tmp_path / "e").recipe["files"].keys().isdisjoint({MANIFEST})


def test_what_cannot_be_told_or_had_is_one_line(tmp_path):
    folder = save_tiny(tmp_path / "model", "bert")
    (folder / "preprocessor_config.json").write_text("{}")
    refused(
        f"folder encoder {folder}: found an image processor and a tokenizer; expected modality", Encoder.load, folder
    )
    assert folder_manifest(folder, "text", "cls", 5).max_tokens == 5
    refused("found no config.json", folder_manifest, tmp_path)
    refused("expected an encoder folder with encoder.json or config.json, found neither", Encoder.load, tmp_path)
    refused(
        "got pooling 'cls' for feature maps", folder_manifest, save_tiny(tmp_path / "maps", "resnet18"), "image", "cls"
    )
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    refused(r"expected model\.safetensors, found none", folder_manifest, folder, "text")
    (folder / "config.json").write_text('{"model_type": "nosuch"}')
    refused("transformers does not know it", folder_manifest, folder, "text")
