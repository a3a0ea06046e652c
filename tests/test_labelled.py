"""Labelled images: of a folder, of a published set, of the world; what is wrong with them in one line."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pydantic import ValidationError

from jam.data.schema import write_world
from jam.downstream.digits import single_digits
from jam.downstream.sources import task_of_images, tasks_of_items, tasks_of_singles
from jam.encoders import Encoder
from jam.errors import InputError
from jam.features import extract_features
from jam.params import HubData
from jam.params.downstream import Downstream, LabelledFolder
from jam.sources.labelled import labelled_folder, labelled_hub
from jam.world.build import build_world, pools_of
from jam.world.habitats import habitats_of
from jam.world.image import scan_digits
from jam.world.state import COLOURS, codes_of, facts
from tests.test_folder import photo
from tests.tiny_encoders import png, vision_folder

OPTIONS = {"test": 0.3, "max_pixels": 10**6, "max_side": 64}
WORLD = {
    "pretrain_images": 20, "pretrain_text": 20, "train": 60, "val": 20, "test": 20, "captions": 1, "fine": 0,
    "edits": 1,
    "habitats": 5, "objects": 3, "one_object": 0.08, "synonyms": 0.85, "mention": 0.85, "nuisance": 1.0,
}  # fmt: skip


def read(folder, seed=0, **changes):
    return labelled_folder(LabelledFolder(path=str(folder), **{**OPTIONS, **changes}), seed)


def told(parts):
    return {part: sorted((one.label, one.photo) for one in some) for part, some in parts.items()}


def in_subfolders(root, n=20):
    for i in range(n):
        path = root / ("cat" if i % 2 else "dog") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photo(i))
    return root


def in_rows(root, n=20, name="metadata.jsonl"):
    root.mkdir()
    rows = [{"file_name": f"{i}.png", "label": "cat" if i % 2 else "dog", "text": "what is there"} for i in range(n)]
    for i in range(n):
        (root / f"{i}.png").write_bytes(photo(i))
    if name.endswith("jsonl"):
        (root / name).write_text("\n".join(map(json.dumps, rows)))
    else:
        (root / name).write_text("\n".join(["file_name,label,text", *(",".join(row.values()) for row in rows)]))
    return root


def test_subfolders_and_rows_tell_the_same(tmp_path):
    found = [
        told(read(in_subfolders(tmp_path / "a"))),
        told(read(in_rows(tmp_path / "b"))),
        told(read(in_rows(tmp_path / "c", name="metadata.csv"))),
    ]
    assert found[0] == found[1] == found[2]
    assert [len(found[0][part]) for part in ("train", "test")] == [14, 6]
    assert told(read(tmp_path / "a", seed=1)) != found[0]
    task = task_of_images("folder", lambda images: np.zeros((len(images), 3)), read(tmp_path / "a"))
    assert task.words == {"cat": "cat", "dog": "dog"}
    task.check([1], 3)


def test_copies_of_one_photo_are_one(tmp_path):
    root = in_subfolders(tmp_path / "a")
    (root / "cat" / "copy.png").write_bytes(photo(1))
    assert sum(map(len, read(root).values())) == 20
    (root / "dog" / "copy.png").write_bytes(photo(1))
    with pytest.raises(InputError, match=r"'dog/copy.png': got the labels 'cat' and 'dog' for one photo, expected one"):
        read(root)


def bad(root, line):
    in_rows(root)
    with (root / "metadata.jsonl").open("a") as file:
        file.write("\n" + line)
    return root


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: root, "no such folder, expected labelled images"),
        (lambda root: root.mkdir() or root, "expected one subfolder a class"),
        (lambda root: bad(root, '{"file_name": "3.png"}'), r"metadata.jsonl:21: got no label, expected file_name and"),
        (lambda root: bad(root, '{"file_name": "x.png", "label": "cat"}'), "metadata.jsonl:21: 'x.png': no such file"),
        (lambda root: bad(root, '{"file_name": "../x.png", "label": "cat"}'), "leads out of"),
        (lambda root: bad(root, "{"), "expected rows of metadata"),
        (lambda root: bad(root, '{"file_name": "3.png", "label": [1]}'), "label: got list, expected a string"),
        (lambda root: in_rows(root, n=1), "got 1 photos with a label, expected at least two"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(tmp_path, make, message):
    with pytest.raises(InputError, match=message) as caught:
        read(make(tmp_path / "a"))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_image_is_named(tmp_path):
    root = in_subfolders(tmp_path / "a")
    (root / "dog" / "notes.txt").write_text("no image")
    with pytest.raises(InputError, match=r"'dog/notes.txt': not an image"):
        read(root)


def encoded(number):
    buffer = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": f"{number}.png"}


CIFAR = {
    "files": {"train": "plain_text/train-*.parquet", "test": "plain_text/test-*.parquet"}, "cut": {"val": 0.2},
    "columns": {"image": "img", "labels": "label"}, "template": "a photo of a {label}", "negatives": {"source": "none"},
}  # fmt: skip


def published(classes=("airplane", "bird")):
    """Files with the columns of CIFAR-10: labels are numbers, whose names are in the metadata."""
    files = {}
    for split, numbers in (("train", range(20)), ("test", range(20, 28))):
        rows = [{"img": encoded(i), "label": i % 2} for i in numbers]
        features = {"label": {"names": list(classes), "_type": "ClassLabel"}}
        table = pa.Table.from_pylist(rows)
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        buffer = io.BytesIO()
        pq.write_table(table, buffer)
        files[f"plain_text/{split}-00000-of-00001.parquet"] = buffer.getvalue()
    return files


def test_a_set_of_the_hub_has_its_labels_and_its_split(loopback, tmp_path):
    loopback.add("uoft-cs/cifar10", published(), "datasets")
    options = HubData.model_validate({"repo": "uoft-cs/cifar10", **CIFAR})
    parts = labelled_hub(options, 0, tmp_path)
    assert {part: len(some) for part, some in parts.items()} == {"train": 20, "test": 8}
    assert {one.label for one in parts["test"]} == {"airplane", "bird"}
    first = parts["test"][0]
    assert first.image.size == (8, 8)


def test_a_set_that_the_hub_has_not_ends_with_one_line(loopback, tmp_path):
    with pytest.raises(InputError, match="no such repository") as caught:
        labelled_hub(HubData.model_validate({"repo": "uoft-cs/cifar10", **CIFAR}), 0, tmp_path)
    assert "\n" not in str(caught.value)


def test_pools_of_scans_are_those_of_the_world():
    world = build_world(seed=3, **WORLD)
    pools = pools_of(3)
    for split in ("train", "val", "test"):
        scans = {
            int(number)
            for row in world.rows[split]
            for view in row["image"]
            for number in view.content["path"].removesuffix(".png").split("-")[1:]
        }
        assert scans <= {scan for digit in pools[split] for scan in digit}, split
    assert not {s for d in pools["train"] for s in d} & {s for d in pools["test"] for s in d}


def test_single_digits_are_of_the_split_s_own_scans():
    drawn = {split: single_digits(split, 300, 3, 1.0) for split in ("train", "test")}
    pools = pools_of(3)
    for split, one in drawn.items():
        assert set(one.scans) <= {scan for digit in pools[split] for scan in digit}
        np.testing.assert_array_equal(scan_digits()[one.scans].astype(str), one.labels["digit"])
        assert {image.size for image in one.images} == {(48, 32)}
        assert set(one.labels["colour"]) == set(COLOURS)
    again = single_digits("test", 300, 3, 1.0)
    assert [image.tobytes() for image in again.images] == [image.tobytes() for image in drawn["test"].images]


def test_digits_are_resampled_by_scan_and_colours_by_scene():
    asked = {"digits": ["digit"], "cave": ["colour", "size"]}
    tasks = list(tasks_of_singles(lambda images: np.zeros((len(images), 2)), {"train": 90, "test": 60}, 3, 1.0, asked))
    assert [task.name for task in tasks] == ["digits: digit", "cave: colour", "cave: size"]
    assert tasks[0].words["3"] == "three"
    assert tasks[1].words["red"] == "red"
    assert set(tasks[0].test.labels) <= set(tasks[0].words)
    one = single_digits("test", 60, 3, 1.0)
    np.testing.assert_array_equal(tasks[0].test.units, one.scans)
    np.testing.assert_array_equal(tasks[2].test.units, one.scenes)


def test_the_habitat_has_an_exact_ceiling():
    known = habitats_of(0, 4, 3, 0.08)
    states, habitat = known.draw(3000, np.random.default_rng(0))
    halves = {"train": slice(0, 1500), "test": slice(1500, None)}
    given = [
        {part: some[of] for part, of in halves.items()}
        for some in (facts(states), states, habitat.astype(str), codes_of(states))
    ]
    count, of = tasks_of_items(*given, known)
    assert (count.ceiling, count.chance, len(of.classes)) == (1.0, pytest.approx(1 / 3), 4)
    assert of.majority < of.ceiling < 1
    assert not of.words


SECTION = {
    "sources": ["digits"], "reads": "jam/sources/labelled.py", "spaces": ["con"], "images": {"train": 9, "test": 9},
    "validation": 0.2, "c": [1.0], "neighbours": 3, "shots": [1], "draws": 2, "penalties": [1.0], "permutations": 9,
    "bins": 10, "seed": 0, "prompts": {"digit": ["a {}"]},
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sources": ["folder"]}, "folder: got none, expected this section"),
        ({"sources": ["hub"]}, "hub: got none, expected this section"),
        ({"sources": ["folder"], "folder": {"path": "mine", **OPTIONS}}, "reads: got .*, expected mine"),
        ({"prompts": {"digit": ["a digit"]}}, "prompts.digit: got 'a digit', expected {} in it once"),
        ({"hub": {"repo": "a/b", **CIFAR, "columns": {"image": "img", "captions": "c"}, "template": None}},
         "hub.columns.labels: got none"),
    ],
)  # fmt: skip
def test_bad_parameters_are_named(changes, message):
    Downstream.model_validate(SECTION)
    with pytest.raises(ValidationError, match=message):
        Downstream.model_validate(SECTION | changes)


def test_an_image_has_the_features_that_its_stage_gives_it(tmp_path):
    """What a probe sees is what the adapters were trained on."""
    folder = vision_folder(tmp_path / "tiny")
    drawn = single_digits("train", 5, 0, 1.0)
    rows = [
        {"id": str(i), "image": {"bytes": png(image), "path": f"{i}.png"}, "captions": [], "negatives": [],
         "context": None, "labels": [], "reality": None}
        for i, image in enumerate(drawn.images)
    ]  # fmt: skip
    write_world(tmp_path / "world", {"train": rows})
    views = tmp_path / "world" / "views" / "image.parquet"
    encoder = Encoder.load(folder)
    store = extract_features(encoder, views, tmp_path / "features", scratch=tmp_path / "scratch")
    [task, *_] = tasks_of_singles(
        lambda images: encoder.encode(images, layer=3), {"train": 5, "test": 2}, 0, 1.0, {"digits": ["digit"]}
    )
    np.testing.assert_allclose(task.train.features, store.layer(3), atol=1e-5)
