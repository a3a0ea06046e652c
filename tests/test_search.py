"""Search a folder of images by text: what is found, what is passed over, what is refused before the work."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image, features
from tiny_encoders import picture, text_folder, vision_folder

import jam
from jam.errors import InputError
from jam.io import read_json, write_json
from jam.search import best_space, embed_folder, fingerprint, main, nearest

NAMES = ["a.png", "b.png", "more/c.jpg"]


@pytest.fixture
def root(tmp_path):
    """Random encoders, random adapters between them, and three photos."""
    vision_folder(tmp_path / "encoders" / "v")
    text_folder(tmp_path / "encoders" / "t")
    save_pair(tmp_path / "adapters", seed=0)
    (tmp_path / "photos" / "more").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in reversed(NAMES):
        picture(rng).save(tmp_path / "photos" / name)
    return tmp_path


def save_pair(folder, seed, layer=2, looks=None, **chosen):
    torch.manual_seed(seed)
    for side, d_in in (("image", 4), ("text", 8)):
        jam.Adapter("linear", d_in=d_in, d_latent=3).save(folder / side)
    sides = {"image": {"encoder": "v", "layer": layer}, "text": {"encoder": "t", "layer": 1}}
    told = {"sides": sides, "pairs": [["image", "text"]], "chosen": chosen, "looks": looks}
    write_json(folder / "space.json", told)


def load(root):
    return jam.Space.load(root / "adapters", root / "encoders", "cpu")


def search(root, images, *arguments, adapters="adapters"):
    main([str(root / adapters), str(images), *arguments, "--encoders", str(root / "encoders"), "--device", "cpu"])


@pytest.mark.parametrize("name", ["photos.npz", "saved", "saved.old"])  # read back under exactly the name given
def test_a_query_finds_the_nearest_images(root, name, capsys):
    search(root, root / "photos", "red seven", "-k", "2")
    lines = capsys.readouterr().out.splitlines()
    images = load(root)["image"].encode([Image.open(root / "photos" / name) for name in NAMES])
    cosines = (images @ load(root)["text"].encode(["red seven"]).T)[:, 0]
    order = np.argsort(-cosines)[:2]
    expected = [f"{rank:>3}  {cosines[row]:.3f}  {NAMES[row]}" for rank, row in enumerate(order, start=1)]
    assert lines == ["red seven:", *expected]

    saved = root / "new" / name  # the folder is made
    search(root, root / "photos", "--save", str(saved))
    search(root, root / "photos", "--save", str(saved))  # one's own is overwritten
    assert [path.name for path in saved.parent.iterdir()] == [name]
    capsys.readouterr()
    search(root, saved, "red seven", "-k", "2")
    assert capsys.readouterr().out.splitlines() == lines


def test_a_search_by_fewer_dimensions_takes_the_first_and_saves_all(root, capsys):
    search(root, root / "photos", "red seven", "--save", str(root / "all.npz"), "-d", "2")
    images = load(root)["image"].encode([Image.open(root / "photos" / name) for name in NAMES], dims=2)
    cosines = (images @ load(root)["text"].encode(["red seven"], dims=2).T)[:, 0]
    expected = [
        f"{rank:>3}  {cosines[row]:.3f}  {NAMES[row]}" for rank, row in enumerate(np.argsort(-cosines), start=1)
    ]
    assert capsys.readouterr().out.splitlines()[1:] == ["red seven:", *expected]
    with np.load(root / "all.npz") as saved:
        assert saved["vectors"].shape == (3, 3)
    search(root, root / "all.npz", "red seven", "-d", "2")
    assert capsys.readouterr().out.splitlines() == ["red seven:", *expected]
    for dims in ("0", "4"):
        with pytest.raises(InputError, match=f"dims: got {dims} of a space of 3 dimensions, expected 1 to 3"):
            search(root, root / "all.npz", "red seven", "-d", dims)


def test_of_several_spaces_the_best_on_validation_rows_is_taken_and_a_doubtful_one_is_told(root, capsys):
    for seed, (name, score) in enumerate((("a", 0.2), ("b", 0.4), ("c", 0.3))):
        chance = {"validation_recall": score, "validation_null": 0.5, "validation_p": 0.4}
        save_pair(root / "spaces" / name / "0", seed, validation_score=score, **chance)
    texts = {"x": {"encoder": "t", "layer": 0}, "y": {"encoder": "t", "layer": 1}}
    write_json(root / "spaces" / "two" / "0" / "space.json",
               {"sides": texts, "pairs": [["x", "y"]], "chosen": {"validation_score": 1.0}})  # fmt: skip
    search(root, root / "photos", "red", adapters="spaces")
    told = capsys.readouterr()
    best = root / "spaces" / "b" / "0"
    assert f"space {best}, the best of 3 on validation rows\nwarning: space: got a recall of 0.400" in told.err
    search(root, root / "photos", "red", adapters="spaces/b/0")
    assert capsys.readouterr().out == told.out


def test_spaces_of_another_run_are_named_and_none_is_chosen(root):
    """DVC leaves the folder of a space that params.yaml lists no more; by its own name each is searched."""
    for seed, (name, items) in enumerate((("mine", "now"), ("theirs", "before"))):
        save_pair(root / "spaces" / name / "0", seed, looks=looks(items), validation_recall=0.5)
    with pytest.raises(
        InputError, match=r"spaces: got spaces of 2 runs, .*: \{mine\} and \{theirs\}; expected those of"
    ):
        search(root, root / "photos", "red", adapters="spaces")
    for name in ("mine", "theirs/0"):
        search(root, root / "photos", "red", adapters=f"spaces/{name}")


def test_a_space_of_three_sides_is_not_compared_with_those_of_two(root, capsys):
    """It is scored on more pairs, which may be easier."""
    save_pair(root / "spaces" / "pair" / "0", 0, validation_score=0.1)
    save_pair(root / "spaces" / "three" / "0", 1, validation_score=0.9)
    told = read_json(root / "spaces" / "three" / "0" / "space.json")
    told["sides"]["words"] = {"encoder": "t", "layer": 0}
    write_json(root / "spaces" / "three" / "0" / "space.json", told)
    assert best_space(root / "spaces", root / "encoders").folder == root / "spaces" / "pair" / "0"


def looks(items, best=(0.1, 0.2), recall=0.5):
    return {"items": items, "sides": {}, "recall": recall, "best": list(best)}


def test_ties_rank_by_row_and_k_may_exceed_the_images():
    rows, cosines = nearest(np.array([1.0, 0.0]), np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]]), 9)
    assert rows.tolist() == [1, 2, 0]
    assert cosines.tolist() == [1.0, 1.0, 0.0]


def test_embeddings_of_another_pair_of_equal_width_are_refused(root):
    search(root, root / "photos", "--save", str(root / "saved"))
    save_pair(root / "trained", seed=1)
    save_pair(root / "layer", seed=0, layer=1)
    save_pair(root / "same", seed=0)
    with np.load(root / "saved") as saved:
        np.savez(root / "old.npz", paths=saved["paths"], vectors=saved["vectors"])
    load(root).save(root / "moved")
    assert fingerprint(jam.Space.load(root / "moved", device="cpu")["image"]) == fingerprint(load(root)["image"])
    for images, adapters in (("saved", "trained"), ("saved", "layer"), ("old.npz", "adapters")):
        with pytest.raises(InputError, match="not embedded by this space, encoder and layer; embed the images again"):
            search(root, root / images, "red", adapters=adapters)
    search(root, root / "saved", "red", adapters="same")
    search(root, root / "photos", "--save", str(root / "old.npz"))  # as the message says
    search(root, root / "old.npz", "red")
    vision_folder(root / "encoders" / "v", seed=1)
    with pytest.raises(InputError, match="not embedded by this space"):
        search(root, root / "saved", "red")


def test_what_is_no_image_is_passed_over_by_name(root, capsys):
    photos = root / "photos"
    (photos / "._a.jpg").write_bytes(b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        " + bytes(60))
    (photos / "empty.png").touch()
    (photos / "cut.png").write_bytes((photos / "a.png").read_bytes()[:60])
    picture(np.random.default_rng(1)).save(root / "outside.png")
    (photos / "link.png").symlink_to(root / "outside.png")
    (photos / "broken.png").symlink_to(root / "nowhere.png")
    (photos / "loop.png").symlink_to("loop.png")
    (photos / "album").symlink_to(root)
    (photos / "inside.png").symlink_to("b.png")
    os.mkfifo(photos / "pipe.png")
    for name in ("x.heic", "y.heic", "paper.pdf", "film.mpg", "metadata.jsonl"):  # the last is of a dataset, not odd
        (photos / name).write_bytes(b"?")
    search(root, photos, "red", "-k", "9")
    out, err = capsys.readouterr()
    assert {line.split()[-1] for line in out.splitlines()[1:]} == {*NAMES, "inside.png"}
    told = [line.removeprefix(f"passed over {photos}") for line in err.splitlines()]
    assert {line.split(":")[0] for line in told if line.startswith("/")} == {
        "/._a.jpg", "/empty.png", "/cut.png", "/link.png", "/broken.png", "/loop.png", "/album", "/pipe.png"
    }  # fmt: skip
    assert [line for line in told if line.startswith(":")] == [
        f": {count} × {kind!r}, which Pillow does not read" for kind, count in ((".heic", 2), (".mpg", 1), (".pdf", 1))
    ]


def test_every_suffix_of_an_image_that_pillow_reads_is_read(root):
    names = ["a.TIF", "b.tiff", "c.ico", "d.jfif", "e.jpe", "f.tga", "g.ppm", "h.qoi", "i.webp"]
    names += [name for name, codec in (("j.avif", "avif"), ("k.jp2", "jpg_2000")) if features.check(codec)]
    (root / "many").mkdir()
    for name in names:
        picture(np.random.default_rng(0)).save(root / "many" / name)
    paths, vectors, passed_over = embed_folder(load(root)["image"], root / "many", batch_size=2)
    assert (paths, vectors.shape, passed_over) == (sorted(names), (len(names), 3), [])


def test_a_batch_without_an_image_leaves_the_others_in_step(root):
    for name in ("a0.png", "a1.png"):
        (root / "photos" / name).write_bytes(b"no image")
    side = load(root)["image"]
    paths, vectors, passed_over = embed_folder(side, root / "photos", batch_size=1)
    assert paths == NAMES
    assert len(passed_over) == 2
    for name, vector in zip(paths, vectors, strict=True):
        np.testing.assert_allclose(side.encode([root / "photos" / name])[0], vector, atol=1e-6)


def test_what_cannot_be_searched_is_named(root):
    with pytest.raises(InputError, match="nothing: expected a folder of images"):
        search(root, root / "nothing", "red")
    (root / "empty").mkdir()
    with pytest.raises(InputError, match="empty: got no image that Pillow reads"):
        search(root, root / "empty", "red")
    (root / "empty" / "a.png").touch()
    with pytest.raises(InputError, match=r"got no image that Pillow reads, passed over: .*a\.png: got 0 bytes"):
        search(root, root / "empty", "red")
    with pytest.raises(InputError, match=r"empty: got no space of images and texts in it"):
        search(root, root / "photos", "red", adapters="empty")
    np.save(root / "array.npy", np.ones(3))
    np.savez(root / "odd.npz", paths=np.array(["a"]), weights=np.ones((1, 3)))
    search(root, root / "photos", "--save", str(root / "cut.npz"))
    (root / "cut.npz").write_bytes((root / "cut.npz").read_bytes()[:-40])
    for name in ("array.npy", "odd.npz", "cut.npz", "photos/a.png", "empty/a.png"):
        with pytest.raises(InputError, match=r"^[^\n]*: expected a file that --save wrote, got something else[^\n]+$"):
            search(root, root / name, "red")


@pytest.fixture
def no_work(monkeypatch):
    monkeypatch.setattr(jam.Space, "load", lambda *_: pytest.fail("began the work"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["red", " \t"], "item 1: got a text without a visible character"),
        (["red \udcff"], "lone surrogate"),
        (["red", "-k", "0"], "got k = 0"),
        ([], "0 queries, expected k ≥ 1 and a query or --save"),
    ],
)
def test_a_bad_query_is_refused_before_the_work(root, no_work, arguments, message):
    with pytest.raises(InputError, match=message):
        search(root, root / "photos", *arguments)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("notes", "notes: expected a file that --save wrote, got something else"),
        ("photos", "photos: expected a file"),
        ("other.npz", "other.npz: expected a file"),
        ("link", "link: expected a file"),
        ("notes/below/saved", r"notes/below/saved: cannot be written: .*Not a directory: '.*/notes"),
        ("a" * 250, r"cannot be written: .*File name too long"),
    ],
)
def test_a_save_that_cannot_be_is_refused_before_the_work(root, no_work, name, message):
    (root / "notes").write_text("mine")
    np.savez(root / "other.npz", paths=np.array(["a"]), weights=np.ones((1, 3)))
    (root / "link").symlink_to(root / "nowhere")
    before = {path: path.is_file() and path.read_bytes() for path in root.rglob("*")}
    with pytest.raises(InputError, match=message):
        search(root, root / "photos", "red", "--save", str(root / name))
    assert {path: path.is_file() and path.read_bytes() for path in root.rglob("*")} == before


def test_the_command_ends_in_one_line_and_status_1(tmp_path):
    command = [sys.executable, "-m", "jam.search", "no-space", str(tmp_path), "red"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("search: no-space: expected space.json")
    assert done.stderr.count("\n") == 1
