"""Pooling, and the one interface to encoders of all sources."""

import re
import shutil
from collections import deque
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from tiny_encoders import picture, random_rows, sentence, text_folder, vision_folder, write_rows

from jam.data.images import compact_image
from jam.device import pick_device
from jam.encoders import Encoder
from jam.encoders.manifest import MANIFEST, POOLINGS, Manifest, weights_sha256
from jam.encoders.pooling import pool
from jam.errors import InputError
from jam.features import extract_features
from jam.io import file_sha256, read_json, write_json
from jam.params import EncoderSpec, one_line


def refused(match, call, *arguments):
    with pytest.raises(InputError, match=match) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A vision and a text encoder."""
    root = tmp_path_factory.mktemp("tiny")
    folders = {"image": vision_folder(root / "image"), "text": text_folder(root / "text")}
    return {modality: Encoder.load(folder, device="cpu") for modality, folder in folders.items()}


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


@pytest.mark.parametrize(
    ("shape", "mask", "pooling"),
    [
        ((2, 3), None, "mean"),
        ((2, 3, 4), torch.ones(2, 4), "mean"),
        ((2, 3, 4), torch.eye(3)[:2] * 0, "mean"),
        ((1, 2, 3, 4), None, "cls"),
    ],
)
def test_pool_refuses(shape, mask, pooling):
    with pytest.raises(ValueError, match="expected"):
        pool(torch.ones(shape), mask, pooling)


# --- texts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("padding_side", ["left", "right"])
@pytest.mark.parametrize("architecture", ["gpt2", "bert"])
def test_a_text_is_encoded_alike_alone_and_beside_longer_ones(tmp_path, architecture, padding_side):
    encoder = Encoder.load(text_folder(tmp_path / "e", architecture, "last", padding_side), device="cpu")
    rng = np.random.default_rng(0)
    texts = [sentence(rng) for _ in range(20)]
    together = encoder.encode(texts, batch_size=7)
    np.testing.assert_allclose(together, np.concatenate([encoder.encode([text]) for text in texts]), atol=1e-5)
    assert np.abs(together[0] - together[1]).max() > 1e-3


def test_pooled_states_of_every_layer_follow_from_the_model(tiny):
    encoder = tiny["text"]
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
    np.testing.assert_array_equal(encoder.encode([text], layer=1), encoder.encode([text], layer=-2))


def test_a_limit_without_room_beside_the_marks_of_begin_and_end_is_refused(tmp_path):
    folder = text_folder(tmp_path / "e")
    manifest = read_json(folder / MANIFEST)
    write_json(folder / MANIFEST, manifest | {"max_tokens": 3})
    assert Encoder.load(folder).prepare(["red blue seven"])["input_ids"].shape == (1, 3)
    write_json(folder / MANIFEST, manifest | {"max_tokens": 2})
    refused("max_tokens: got 2, expected at least 3", Encoder.load(folder).encode, ["red"])


def test_batches_cover_all_texts_by_falling_length(tiny):
    rng = np.random.default_rng(1)
    texts = [sentence(rng) for _ in range(23)]
    batches = tiny["text"].batches(texts, 5)
    order = np.concatenate(batches)
    assert [len(batch) for batch in batches] == [5, 5, 5, 5, 3]
    assert sorted(order) == list(range(23))
    assert (np.diff([len(texts[i].split()) for i in order]) <= 0).all()


# --- images -----------------------------------------------------------------------------------------------------------


def test_vision_layers_are_the_stem_and_the_stages(tiny):
    encoder = tiny["image"]
    images = [picture(np.random.default_rng(i)) for i in range(5)]
    assert encoder.dims == (4, 4, 4, 8, 8)
    pixels = torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) / 127.5 - 1 for image in images])
    expected = encoder.model(pixels).pooler_output.flatten(1)
    np.testing.assert_allclose(encoder.encode(images, batch_size=2), expected, atol=1e-5)
    stem = encoder.model.embedder(pixels).mean(dim=(2, 3))
    np.testing.assert_allclose(encoder.encode(images, layer=0), stem, atol=1e-5)


# --- what is encoded --------------------------------------------------------------------------------------------------


CONTAINERS = {
    "tuple": tuple,
    "generator": lambda items: (item for item in items),
    "deque": deque,
    "values of a dict": lambda items: dict(enumerate(items)).values(),
    "Series out of order": lambda items: pd.Series(items, index=range(len(items))[::-1], dtype=object),
    "Series of equal labels": lambda items: pd.Series(items, index=[0] * len(items), dtype=object),
    "array of objects": lambda items: np.array([*items, None], dtype=object)[:-1],
}
OF_TEXTS = {
    "array of str": np.array,
    "Index": pd.Index,
    "Series of strings": lambda items: pd.Series(items, dtype="string"),
    "Series of categories": lambda items: pd.Series(items, dtype="category"),
    "Arrow array": pa.array,
    "Arrow column": lambda items: pa.chunked_array([items[:1], items[1:]], pa.string()),
}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(CONTAINERS | OF_TEXTS)))
def test_any_container_of_the_same_items_gives_the_same_bytes_as_their_list(tiny, seed, name):
    rng = np.random.default_rng(seed)
    texts = [sentence(rng) for _ in range(rng.integers(1, 6))]
    encoder = tiny["text"]
    assert encoder.encode((CONTAINERS | OF_TEXTS)[name](texts)).tobytes() == encoder.encode(texts).tobytes()
    if name in CONTAINERS:
        images = [picture(rng) for _ in texts]
        assert tiny["image"].encode(CONTAINERS[name](images)).tobytes() == tiny["image"].encode(images).tobytes()


@pytest.mark.parametrize("modality", ["image", "text"])
@pytest.mark.parametrize(
    "items",
    [
        "a red seven", b"red", picture(np.random.default_rng(0)), Path("a.png"), {"red", "blue"}, {"red": 1}, 7, None,
        pd.DataFrame({"caption": ["red"]}), np.array("red"), np.zeros((2, 3)), pa.table({"caption": ["red"]}),
    ],
    ids=lambda items: type(items).__name__,
)  # fmt: skip
def test_what_is_no_list_of_items_is_refused(tiny, modality, items):
    refused(f"items: got {type(items).__name__}, expected a list of", tiny[modality].encode, items)


@pytest.mark.parametrize(
    ("modality", "item", "got"),
    [
        ("text", None, "NoneType, expected str"),
        ("text", float("nan"), "NaN"),
        ("text", pd.NA, "NAType"),
        ("text", 7, "int"),
        ("text", b"red", "bytes"),
        ("text", Path("red"), "PosixPath"),
        ("text", "", r"a text without a visible character \(''\)"),
        ("text", " \n\0\u200b", "a text without a visible character"),
        ("text", "red \ud800", r"a lone surrogate in 'red \\ud800'"),
        ("image", "a.png", r"str, expected PIL images or pathlib\.Path"),
        ("image", np.zeros((4, 4, 3), np.uint8), "ndarray"),
        ("image", None, "NoneType"),
    ],
)
def test_an_item_that_cannot_be_encoded_is_named_by_its_position(tiny, modality, item, got):
    good = picture(np.random.default_rng(0)) if modality == "image" else "red"
    refused(f"item 2: got {got}", tiny[modality].encode, [good, good, item])


def test_an_image_that_cannot_be_read_is_named_by_its_position(tiny, tmp_path):
    encode, good = tiny["image"].encode, picture(np.random.default_rng(0))
    good.save(tmp_path / "a.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:200])
    refused(f"item 1, {tmp_path}/none.png: No such file", encode, [good, tmp_path / "none.png"])
    refused(f"item 1, {tmp_path}/cut.png: broken image", encode, [good, tmp_path / "cut.png"])
    refused("item 1: broken image", encode, [good, Image.open(tmp_path / "cut.png")])
    refused("item 0: got float", encode, [Image.new("F", (9, 9), 999.0)])


@pytest.mark.parametrize(
    ("name", "value"),
    [("layer", value) for value in (5, -6, "06", None, 1.0, True)]
    + [("batch_size", value) for value in (0, -1, 1.5, "8", True)],
)
def test_a_number_that_is_none_is_named(tiny, name, value):
    expected = {"layer": "of -5 … 4", "batch_size": "from 1"}[name]
    message = f"^{name}: got {value!r}, expected a whole number {expected}$"
    refused(message, partial(tiny["image"].encode, [], **{name: value}))


def test_no_items_give_no_rows(tiny):
    assert [encoder.encode([]).shape for encoder in tiny.values()] == [(0, 8)] * 2


def test_a_nan_of_the_model_names_the_item(tmp_path):
    encoder = Encoder.load(text_folder(tmp_path / "e"), device="cpu")
    encoder.model.wte.weight[encoder.processor.convert_tokens_to_ids("nine")] = torch.nan
    assert np.isfinite(encoder.encode(["red", "blue seven"])).all()
    refused("item 1: tiny-text made a NaN or infinity of it", encoder.encode, ["red", "nine", "blue seven"], 2)


def turned(image):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return image, {"exif": exif}


KINDS = {
    "as it is": lambda image: (image, {}),
    "turned by EXIF": turned,
    "16-bit": lambda image: (Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257), {}),
    "RGBA": lambda image: (image.convert("RGB").copy(), {}),
    "LA": lambda image: (image.convert("LA"), {}),
    "palette": lambda image: (image.quantize(16), {"transparency": 3}),
    "RGB with a transparent colour": lambda image: (image, {"transparency": image.getpixel((3, 3))}),
    "grey": lambda image: (image.convert("L"), {}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_images_in_memory_and_in_files_are_seen_as_the_pipeline_sees_them(tiny, tmp_path, kind):
    rng = np.random.default_rng(0)
    image, options = KINDS[kind](Image.fromarray(rng.integers(0, 256, (16, 24, 3), dtype=np.uint8)))
    if kind in ("RGBA", "LA"):
        image.putalpha(Image.fromarray(rng.integers(0, 256, (16, 24), dtype=np.uint8)))
    path = tmp_path / "a.png"
    image.save(path, **options)
    row = random_rows("t", 1, image={"bytes": compact_image(path.read_bytes()), "path": "a.png"})
    views = write_rows(tmp_path / "data", train=row) / "views" / "image.parquet"
    stored = extract_features(tiny["image"], views, tmp_path / "out", scratch=tmp_path / "s").layer(-1)
    for item in (Image.open(path), path):
        np.testing.assert_array_equal(tiny["image"].encode([item]), stored)
    plain = tiny["image"].encode([Image.fromarray(np.asarray(Image.open(path).convert("RGB")))])
    assert np.array_equal(plain, stored) == (kind in ("as it is", "grey"))


# --- folders ----------------------------------------------------------------------------------------------------------


def test_description(tiny):
    weights = tiny["image"].folder / "model.safetensors"
    learned = {name: tensor for name, tensor in load_file(weights).items() if "running" not in name}
    assert tiny["image"].describe() == {
        "id": "tiny-vision",
        "modality": "image",
        "source": "cave",
        "revision": None,
        "sha256": file_sha256(weights),
        "architecture": "RegNetModel",
        "parameters": sum(tensor.numel() for name, tensor in learned.items() if "num_batches" not in name),
        "layers": 5,
        "dims": [4, 4, 4, 8, 8],
        "pooling": "mean",
        "max_tokens": None,
        "precision": "float32",
    }


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("others", "got weights of sha256 .*, expected .* \\(tiny-text\\)"),
        ("truncated", "transformers cannot load it"),
        ("lacking", r"1 weights are missing, h\.1\.mlp\.c_fc\.weight first"),
        ("no index", "expected a list of the shards"),
        ("no shard", "expected a list of the shards"),
    ],
)
def test_weights_that_are_not_whole_are_one_line_and_never_drawn_at_random(tmp_path, kind, message):
    folder = text_folder(tmp_path / "e")
    weights, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if kind in ("no index", "no shard"):
        weights.unlink()
        index.write_text("{" if kind == "no index" else '{"weight_map": {"a": "b.safetensors"}}')
    elif kind == "truncated":
        weights.write_bytes(weights.read_bytes()[:-9])
    else:
        tensors = load_file(weights)
        del tensors["transformer.h.1.mlp.c_fc.weight"]
        save_file(tensors, weights, metadata={"format": "pt"})
    if kind in ("truncated", "lacking"):  # as a manifest that was made of it would
        write_json(folder / MANIFEST, read_json(folder / MANIFEST) | {"sha256": weights_sha256(folder)})
    refused(f"{folder}.*{message}", Encoder.load, folder)


@pytest.mark.parametrize("content", [b"", b"{", b"7", b"[1]", b"\xff{"])
@pytest.mark.parametrize("name", ["config", "tokenizer_config", "tokenizer", "preprocessor_config", "encoder"])
def test_broken_json_beside_the_weights_is_named(tmp_path, name, content):
    folder = (vision_folder if name == "preprocessor_config" else text_folder)(tmp_path / "e")
    (folder / f"{name}.json").write_bytes(content)
    refused(rf"{folder}/{name}\.json: .*expected a JSON object", Encoder.load, folder)


def test_saving_loses_nothing(tmp_path, monkeypatch):
    encoder = Encoder.load(vision_folder(tmp_path / "e"), device="cpu")
    images = [picture(np.random.default_rng(0))]
    for folder in (tmp_path / "new", tmp_path / "new", tmp_path / "e"):  # onto itself, too
        encoder.save(folder)
        np.testing.assert_array_equal(Encoder.load(folder, device="cpu").encode(images), encoder.encode(images))
    (tmp_path / "new" / "notes.txt").write_text("mine")
    refused("notes.txt, which would be lost", encoder.save, tmp_path / "new")
    monkeypatch.chdir(tmp_path / "new")
    for folder in (".", "..", "", "notes.txt"):
        refused("expected", encoder.save, folder)
    assert (tmp_path / "new" / "notes.txt").read_text() == "mine"
    assert (tmp_path / "e" / MANIFEST).is_file()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("mine")
    refused("other things", vision_folder, tmp_path / "photos")  # save_cave
    refused("other things", lambda out: extract_features(encoder, {}, out, scratch="s"), tmp_path / "photos")


def test_code_that_comes_with_a_model_is_never_run(tmp_path):
    folder = vision_folder(tmp_path / "e")
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass M: ...\n")
    write_json(
        folder / "config.json", {"model_type": "evil", "auto_map": {"AutoConfig": "evil.M", "AutoModel": "evil.M"}}
    )
    refused("transformers cannot load it", Encoder.load, folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"modality": "smell"}, r"modality: got 'smell', expected one of \['image', 'text'\]"),
        ({"source": None}, "source: got None"),
        ({"pooling": "max"}, "pooling: got 'max'"),
        ({"colour": 1}, "colour"),
        ({"max_tokens": "many"}, "max_tokens: got 'many'"),
    ],
)
def test_bad_manifests_are_named(tmp_path, change, message):
    folder = vision_folder(tmp_path / "e")
    write_json(folder / MANIFEST, read_json(folder / MANIFEST) | change)
    refused(message, Encoder.load, folder)


def test_unknown_names_are_one_line(tmp_path):
    for name in ("nosuch", tmp_path / "no" / "folder", tmp_path):
        refused("expected", Encoder.load, name)
    refused("dtype: got 'int8'", Encoder.load, "minilm", None, "int8")


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
        refused("device", pick_device, name)


# --- parameters -------------------------------------------------------------------------------------------------------

CAVE = yaml.safe_load((Path(__file__).parents[1] / "presets" / "cave.yaml").read_text())["encoders"]
VARIANTS = ("checkpoints", "more_seeds", "layer")
VISION, TEXT = (
    {key: value for key, value in next(spec for spec in CAVE.values() if spec.get(kind)).items() if key not in VARIANTS}
    for kind in ("image", "text")
)
PACKAGE = {"modality": "text", "source": "package", "reads": "jam/encoders/package.py", "package": "minilm"}
HUB = {"modality": "text", "source": "hub", "reads": "jam/hub.py", "model": "owner/name"}
FOLDER = {"modality": "text", "source": "folder", "reads": "my/model"}
GIVEN = {"modality": "eeg", "source": "arrays", "reads": "mine/eeg.npy"}


@pytest.mark.parametrize(
    ("spec", "change", "got"),
    [
        (VISION, {"pooling": "cls"}, "got pooling cls for feature maps, expected mean"),
        (VISION, {"pooling": "last"}, "got pooling last"),
        (VISION, {"max_tokens": 9}, "got max_tokens, which modality image and source cave make no use of"),
        (VISION, {"text": TEXT["text"]}, "got text,"),
        (TEXT, {"package": "minilm", "revision": "main"}, "got package, revision,"),
        (PACKAGE, {"model": "a/b"}, "got model,"),
        (PACKAGE, {"seed": 1}, "got seed,"),
        (PACKAGE, {"revision": "main"}, "got revision,"),
        (HUB, {"package": "minilm"}, "got package,"),
        (HUB, {"modality": "image", "max_tokens": 9}, "got max_tokens,"),
        (HUB, {"model": None}, "got no 'model', expected it"),
        (HUB, {"reads": "data/pretrain"}, "reads: got 'data/pretrain' with source hub, expected jam/hub.py"),
        (HUB, {"modality": "eeg"}, "modality: got eeg with source hub, expected image or text"),
        (FOLDER, {"reads": "jam/hub.py"}, "got 'jam/hub.py' with source folder, expected your folder with config.json"),
        (FOLDER, {"seed": 1}, "got seed,"),
        (FOLDER, {"revision": "main"}, "got revision,"),
        (FOLDER | {"random": True, "seed": 1}, {"random": False}, "got seed,"),
        (VISION | {"random": True}, {"random": "perhaps"}, "random"),
        (GIVEN, {"random": True}, "got random,"),
        (GIVEN, {"pooling": "cls"}, "got pooling,"),
        (GIVEN, {"reads": "jam/hub.py"}, "reads: got 'jam/hub.py' with source arrays, expected your file of arrays"),
    ],
)
def test_parameters_that_a_source_would_ignore_are_refused(spec, change, got):
    EncoderSpec.model_validate(spec)
    with pytest.raises(ValueError, match=got):
        EncoderSpec.model_validate(spec | change)


@pytest.mark.parametrize("spec", [VISION, TEXT, PACKAGE, HUB, FOLDER])
def test_of_every_source_there_is_a_twin(spec):
    twin = EncoderSpec.model_validate(spec | {"random": True, "seed": 3})
    assert (twin.random, twin.seed, twin.family) == (True, 3, "random")
    assert EncoderSpec.model_validate(spec).family != "random"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"checkpoints": [0, 10]}, "layer: got None, expected one with checkpoints or more_seeds"),
        ({"layer": 1}, "layer: got 1, expected one with checkpoints or more_seeds, and else none"),
        ({"checkpoints": [0, 100], "layer": 1}, "checkpoints.1: input should be less than 100"),
        ({"more_seeds": [0], "layer": 1}, r"more_seeds: got \[0, 0\], expected different ones"),
        ({"checkpoints": [0], "layer": 1, "random": True}, "checkpoints: got some of a random twin"),
    ],
)
def test_checkpoints_and_seeds_that_make_no_sense_are_refused(change, message):
    with pytest.raises(ValidationError) as caught:
        EncoderSpec.model_validate(VISION | change)
    assert re.search(message, one_line(caught.value))


def test_a_transformer_is_cut_after_its_first_blocks(tmp_path):
    folder = text_folder(tmp_path / "bert", "bert")
    whole, short = Encoder.load(folder, device="cpu"), tmp_path / "short"
    shutil.copytree(folder, short)
    Manifest.read(folder).cut(1).write(short)
    cut = Encoder.load(short, device="cpu")
    assert (len(whole.dims), len(cut.dims)) == (3, 2)
    assert sum(p.numel() for p in cut.model.parameters()) < sum(p.numel() for p in whole.model.parameters())
    texts = ["red seven", "left is blue"]
    np.testing.assert_array_equal(cut.encode(texts, layer=1), whole.encode(texts, layer=1))
    Manifest.read(folder).cut(3).write(short)
    with pytest.raises(InputError, match="depth: got 3, expected at most the 2 blocks that it has"):
        Encoder.load(short, device="cpu")
