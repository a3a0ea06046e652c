"""The library without the pipeline: train on two arrays, load an aligned pair, search a folder by text."""

import ast
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_encoders import picture, text_folder, vision_folder
from tiny_hub import save_tiny

import jam
from jam.embed import main, nearest
from jam.errors import InputError
from jam.io import write_json

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


def test_the_lines_of_the_readme_run_as_they_stand(loopback, tmp_path, monkeypatch, capsys):
    """On a random DINOv2 of the width of the real one, from a hub on the loopback."""
    lines = re.search(r"\*\*As a library.*?```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
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
    again = told["pair"]  # loaded: encodes as the one that was saved
    np.testing.assert_allclose(again.image.encode(images[:100]), told["a"], atol=1e-5)
    np.testing.assert_allclose(again.text.encode(captions[:100]), told["p"], atol=1e-5)
    assert again.image.encoder.manifest == told["vision"].manifest


def test_a_saved_pair_needs_nothing_beside_itself(pair, tmp_path):
    """The encoders were pretrained here: their weights go with it, wherever it is moved to."""
    first = jam.Aligned.load(pair / "adapters", pair / "encoders", "cpu")
    first.save(tmp_path / "one")
    (tmp_path / "one").rename(tmp_path / "two")
    shutil.rmtree(pair / "encoders")
    second = jam.Aligned.load(tmp_path / "two", device="cpu")
    assert np.array_equal(second.text.encode(["red seven"]), first.text.encode(["red seven"]))
    assert second.image.layer == first.image.layer == 2


@pytest.fixture
def pair(tmp_path):
    """Random encoders and random adapters between them, as the stages leave them."""
    vision_folder(tmp_path / "encoders" / "v")
    text_folder(tmp_path / "encoders" / "t")
    for side, d_in in (("image", 4), ("text", 8)):
        jam.Adapter("linear", d_in=d_in, d_latent=3).save(tmp_path / "adapters" / side)
    layers = {"image": {"encoder": "v", "layer": "02"}, "text": {"encoder": "t", "layer": "01"}}
    write_json(tmp_path / "adapters" / "layers.json", layers)
    return tmp_path


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "photos" / "more").mkdir(parents=True)
    for name in ("b.png", "a.png", "more/c.jpg"):
        picture(rng).save(tmp_path / "photos" / name)
    (tmp_path / "photos" / "notes.txt").write_text("not an image")
    return tmp_path / "photos"


def test_a_query_finds_the_nearest_images(pair, photos, capsys):
    options = ["--encoders", str(pair / "encoders"), "--device", "cpu"]
    main([str(pair / "adapters"), str(photos), "red seven", "-k", "2", *options])
    lines = capsys.readouterr().out.splitlines()
    aligned = jam.Aligned.load(pair / "adapters", pair / "encoders", "cpu")
    names = ["a.png", "b.png", "more/c.jpg"]
    images = aligned.image.encode([Image.open(photos / name) for name in names])
    cosines = (images @ aligned.text.encode(["red seven"]).T)[:, 0]
    order = np.argsort(-cosines)[:2]
    expected = [f"{rank:>3}  {cosines[row]:.3f}  {names[row]}" for rank, row in enumerate(order, start=1)]
    assert lines == ["red seven:", *expected]

    main([str(pair / "adapters"), str(photos), "--save", str(pair / "photos.npz"), *options])
    capsys.readouterr()
    main([str(pair / "adapters"), str(pair / "photos.npz"), "red seven", "-k", "2", *options])
    assert capsys.readouterr().out.splitlines() == lines


def test_ties_rank_by_row_and_k_may_exceed_the_images():
    rows, cosines = nearest(np.array([1.0, 0.0]), np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]]), 9)
    assert rows.tolist() == [1, 2, 0]
    assert cosines.tolist() == [1.0, 1.0, 0.0]


def test_what_is_no_image_is_passed_over_and_named(pair, photos, capsys):
    whole = (photos / "a.png").read_bytes()
    Image.open(photos / "a.png").save(photos / "d.tiff")
    (photos / "cut.png").write_bytes(whole[:60])
    (photos / "empty.jpg").write_bytes(b"")
    (photos / "._a.png").write_bytes(b"Mac OS X")
    (pair / "away.png").write_bytes(whole)
    (photos / "link.png").symlink_to(pair / "away.png")
    options = ["--encoders", str(pair / "encoders"), "--device", "cpu"]
    main([str(pair / "adapters"), str(photos), "red seven", "-k", "9", *options])
    out, err = capsys.readouterr()
    assert sorted(line.split()[-1] for line in out.splitlines()[1:]) == ["a.png", "b.png", "d.tiff", "more/c.jpg"]
    passed = [line.split(": ")[1] for line in err.splitlines() if line.startswith("passed over: ")]
    assert passed == ["._a.png", "cut.png", "empty.jpg", "link.png", "notes.txt"]


def test_what_cannot_be_searched_is_named(pair, photos, tmp_path):
    options = ["--encoders", str(pair / "encoders"), "--device", "cpu"]
    with pytest.raises(InputError, match="nothing: expected a folder of images"):
        main([str(pair / "adapters"), str(tmp_path / "nothing"), "red", *options])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: got no image"):
        main([str(pair / "adapters"), str(tmp_path / "empty"), "red", *options])
    with pytest.raises(InputError, match=r"expected image/, text/ and layers\.json"):
        main([str(tmp_path / "empty"), str(photos), "red", *options])
    with pytest.raises(SystemExit):
        main([str(pair / "adapters"), str(photos), " ", *options])


def test_embeddings_of_another_pair_are_refused_and_any_name_is_read_back(pair, photos, capsys):
    options = ["--encoders", str(pair / "encoders"), "--device", "cpu"]
    adapters, kept = str(pair / "adapters"), pair / "kept"
    main([adapters, str(photos), "--save", str(kept), *options])
    main([adapters, str(kept), "red seven", "--save", str(kept), *options])  # its own file may be written again
    jam.Adapter("linear", d_in=4, d_latent=3).save(pair / "adapters" / "image")
    with pytest.raises(InputError, match="kept: got embeddings of another pair of adapters, expected this pair's"):
        main([adapters, str(kept), "red seven", *options])
    np.savez(pair / "old.npz", paths=np.array(["a"]), vectors=np.ones((1, 3), np.float32))
    with pytest.raises(InputError, match=r"old\.npz: got embeddings of another pair"):
        main([adapters, str(pair / "old.npz"), "red", *options])


def test_a_place_that_cannot_be_written_to_is_told_before_the_work(pair, photos):
    (pair / "file").write_text("mine")
    for place in (pair / "file", pair / "file" / "below", photos):
        with pytest.raises(InputError, match="expected"):
            main(["no/adapters/are/loaded", str(photos), "--save", str(place)])
    assert (pair / "file").read_text() == "mine"


def test_adapters_of_another_width_are_refused(pair):
    layers = {"image": {"encoder": "v", "layer": "04"}, "text": {"encoder": "t", "layer": "01"}}
    write_json(pair / "adapters" / "layers.json", layers)
    with pytest.raises(InputError, match=r"got layer 4 and an adapter of width 4, expected one of the layers 0"):
        jam.Aligned.load(pair / "adapters", pair / "encoders", "cpu")
    whole = {**layers, "image": {"encoder": "v", "layer": "02"}}
    write_json(pair / "adapters" / "layers.json", whole)
    jam.Adapter("linear", d_in=8, d_latent=7).save(pair / "adapters" / "text")
    with pytest.raises(InputError, match="got adapters into 3 and 7 dimensions, expected one space"):
        jam.Aligned.load(pair / "adapters", pair / "encoders", "cpu")


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", '{"image": {"encoder": "v", "layer": "02"}}', '{"image": 1, "text": 2}',
     '{"image": {"encoder": "v", "layer": "x"}, "text": {"encoder": "t", "layer": "01"}}'],
)  # fmt: skip
def test_a_damaged_layers_file_is_one_clear_line(pair, content):
    (pair / "adapters" / "layers.json").write_text(content)
    with pytest.raises(InputError, match=r"layers\.json: got .*, expected an encoder and a layer of image and text"):
        jam.Aligned.load(pair / "adapters", pair / "encoders", "cpu")


def test_saving_a_pair_loses_nothing_of_others(pair, tmp_path):
    aligned = jam.Aligned.load(pair / "adapters", pair / "encoders", "cpu")
    for _ in range(2):
        aligned.save(tmp_path / "one")
    (tmp_path / "one" / "image" / "notes.txt").write_text("mine")
    for folder in (tmp_path / "one", tmp_path, tmp_path / "one" / "image"):
        with pytest.raises(InputError, match="expected"):
            aligned.save(folder)
    assert (tmp_path / "one" / "image" / "notes.txt").read_text() == "mine"
    assert (pair / "encoders").is_dir()
