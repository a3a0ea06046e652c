"""The library without the pipeline: train on two arrays, load a space, search a folder by text."""

import ast
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_encoders import text_folder, vision_folder
from tiny_hub import save_tiny

import jam
from jam.errors import InputError
from jam.io import write_json
from jam.train import main

ROOT = Path(__file__).parent.parent


def photos_and_captions(n):
    """Pictures of one colour out of two, and what may be said of them."""
    rng = np.random.default_rng(0)
    images, captions = [], []
    for i in range(n):
        pixels = rng.integers(0, 60, (20, 20, 3), dtype=np.uint8)
        pixels[:, :, i % 2] += 150
        images.append(Image.fromarray(pixels))
        captions.append(f"a {['red', 'green'][i % 2]} thing, number {i}")
    return images, captions


def test_the_lines_of_the_readme_run(loopback, tmp_path, monkeypatch, capsys):
    """On a random DINOv2 from a hub on the loopback, in the place of the packaged encoder."""
    lines = re.search(r"## As a library.*?```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    lines = lines.replace('"efficientnet_lite2"', '"facebook/dinov2-small"')
    assert len([line for line in lines.splitlines() if line.strip()]) <= 10
    save_tiny(tmp_path / "dinov2", "dinov2", hidden_size=384, num_hidden_layers=2)
    images, captions = photos_and_captions(240)
    told = {"photos": images, "captions": captions}
    monkeypatch.chdir(tmp_path)
    files = {path.name: path.read_bytes() for path in (tmp_path / "dinov2").iterdir()}
    loopback.add("facebook/dinov2-small", files)
    exec(lines, told)
    scores = ast.literal_eval(capsys.readouterr().out)
    assert scores == jam.retrieval_metrics(told["a"], told["p"], np.arange(100))
    again = told["space"]  # loaded: encodes as the one that was saved
    np.testing.assert_allclose(again["image"].encode(images[:100]), told["a"], atol=1e-5)
    np.testing.assert_allclose(again["text"].encode(captions[:100]), told["p"], atol=1e-5)
    assert again["image"].encoder.manifest == told["vision"].manifest


@pytest.mark.parametrize("name", ["", "..", "a/b", "/absolute", "space.json", 1])
def test_a_side_whose_name_is_no_folder_is_refused_before_training(name):
    rng = np.random.default_rng(0)
    sides = {name: rng.normal(size=(40, 4)), "b": rng.normal(size=(40, 8))}
    with pytest.raises(InputError, match=r"side: got the name .*, expected letters"):
        jam.train_space(sides, latent=3, epochs=10**6)


def test_a_saved_pair_needs_nothing_beside_itself(pair, tmp_path):
    """The encoders were pretrained here: their weights go with it, wherever it is moved to."""
    first = jam.Space.load(pair / "adapters", pair / "encoders", "cpu")
    first.save(tmp_path / "one")
    (tmp_path / "one").rename(tmp_path / "two")
    shutil.rmtree(pair / "encoders")
    second = jam.Space.load(tmp_path / "two", device="cpu")
    assert np.array_equal(second["text"].encode(["red seven"]), first["text"].encode(["red seven"]))
    assert second["image"].layer == first["image"].layer == 2


@pytest.fixture
def pair(tmp_path):
    """Random encoders and random adapters between them, as the stages leave them."""
    vision_folder(tmp_path / "encoders" / "v")
    text_folder(tmp_path / "encoders" / "t")
    for side, d_in in (("image", 4), ("text", 8)):
        jam.Adapter("linear", d_in=d_in, d_latent=3).save(tmp_path / "adapters" / side)
    write_space(tmp_path, 2)
    return tmp_path


def write_space(folder, layer):
    sides = {"image": {"encoder": "v", "layer": layer}, "text": {"encoder": "t", "layer": 1}}
    write_json(folder / "adapters" / "space.json", {"sides": sides, "pairs": [["image", "text"]]})


def test_adapters_of_another_width_are_refused(pair):
    write_space(pair, 4)
    with pytest.raises(InputError, match=r"got layer 4 and an adapter of width 4, expected one of the layers 0"):
        jam.Space.load(pair / "adapters", pair / "encoders", "cpu")
    write_space(pair, 2)
    jam.Adapter("linear", d_in=8, d_latent=7).save(pair / "adapters" / "text")
    with pytest.raises(InputError, match=r"got adapters into different dimensions, .*'image': 3, 'text': 7"):
        jam.Space.load(pair / "adapters", pair / "encoders", "cpu")


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", '{"sides": {}, "pairs": []}', '{"sides": 1, "pairs": []}', '{"sides": {"a": 1}, "pairs": []}',
     '{"sides": {"image": {"encoder": "v", "layer": "x"}}, "pairs": []}',
     '{"sides": {"../image": {}}, "pairs": []}', '{"sides": {"image": {"encoder": "../v", "layer": 1}}, "pairs": []}'],
)  # fmt: skip
def test_a_damaged_space_file_is_one_clear_line(pair, content):
    (pair / "adapters" / "space.json").write_text(content)
    with pytest.raises(InputError, match=r"space\.json: got .*, expected the sides and the pairs of a space"):
        jam.Space.load(pair / "adapters", pair / "encoders", "cpu")


def test_a_space_of_arrays_is_saved_and_loaded_without_encoders_and_takes_them_later(pair, tmp_path):
    rng = np.random.default_rng(0)
    space = jam.train_space({"a": rng.normal(size=(40, 4)), "b": rng.normal(size=(40, 8))}, latent=3, epochs=1)
    space.save(tmp_path / "mine")
    again, rows = jam.Space.load(tmp_path / "mine", device="cpu"), rng.normal(size=(5, 8))
    np.testing.assert_array_equal(again["b"].encode(rows), space["b"].encode(rows))
    assert again.pairs == [("a", "b")]
    text = jam.Encoder.load(pair / "encoders" / "t", "cpu")
    attached = again.attach(b=(text, 1))
    expected = space["b"].encode(text.encode(["red seven"], layer=1))
    np.testing.assert_allclose(attached["b"].encode(["red seven"]), expected, atol=1e-6)
    with pytest.raises(InputError, match=r"side: got 'text', expected one of \['a', 'b'\]"):
        again["text"]
    with pytest.raises(InputError, match="got layer 7"):
        again.attach(b=(text, 7))
    with pytest.raises(InputError, match="no side of modality image"):
        attached.of_modality("image")
    with pytest.raises(InputError, match=r"got pairs of \['c'\]"):
        jam.Space(space.sides, [("a", "c")])


def test_saving_a_pair_loses_nothing_of_others(pair, tmp_path):
    space = jam.Space.load(pair / "adapters", pair / "encoders", "cpu")
    for _ in range(2):
        space.save(tmp_path / "one")
    (tmp_path / "one" / "image" / "notes.txt").write_text("mine")
    for folder in (tmp_path / "one", tmp_path, tmp_path / "one" / "image"):
        with pytest.raises(InputError, match="expected"):
            space.save(folder)
    assert (tmp_path / "one" / "image" / "notes.txt").read_text() == "mine"
    assert (pair / "encoders").is_dir()


def test_no_views_are_no_rows(pair):
    space = jam.Space.load(pair / "adapters", pair / "encoders", "cpu")
    assert space["image"].encode([]).shape == (0, 3)


@pytest.mark.parametrize("place", ["file/below", "x" * 250, None, "loop"])
def test_a_place_that_cannot_be_a_folder_is_one_line(pair, place):
    space = jam.Space.load(pair / "adapters", pair / "encoders", "cpu")
    (pair / "file").write_text("mine")
    (pair / "loop").symlink_to(pair / "loop")
    with pytest.raises(InputError, match="expected") as caught:
        space.save(place if place is None else pair / place)
    assert "\n" not in str(caught.value)


def test_a_space_is_trained_from_files_by_one_command(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    state = rng.normal(size=(80, 6))
    arrays = {"v": state @ rng.normal(size=(6, 12)), "t": np.repeat(state, 2, axis=0) @ rng.normal(size=(6, 9))}
    arrays |= {"p": np.arange(80), "q": np.repeat(np.arange(80), 2)}
    for name, array in arrays.items():
        np.save(f"{name}.npy", array)
    words = ["photo=v.npy", "t.npy", "--ids", "photo=p.npy", "t=q.npy", "--latent", "4", "--epochs", "1"]
    main([*words, "-o", "mine"])
    assert capsys.readouterr().out.endswith("space of photo, t in mine\n")
    space = jam.Space.load("mine")
    assert space["t"].encode(arrays["t"][:3]).shape == (3, 4)
    for change, message in (
        (["-o", "."], "train: got the folder '.', which holds the working folder"),
        (["-o", "other", "--latent", "99"], "expected fewer than its d_in"),
        (["-o", "other", "--groups", "nowhere.npy"], "train: nowhere.npy: no such file"),
        (["-o", "other", "--negatives", "photo=v.npy"], "negatives: got them of"),
    ):
        with pytest.raises(SystemExit, match=message):
            main([*words, *change])
        assert not Path("other").exists()
    with pytest.raises(SystemExit, match=r"v\.npy: got the name 'v' more than once"):
        main(["v.npy", "v.npy", "-o", "other"])
