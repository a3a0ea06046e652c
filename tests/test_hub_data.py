"""Published sets: the real column layouts of the named ones, made tiny; limits, splits, duplicates, every bad row."""

import hashlib
import io
import json
import re
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image
from pydantic import ValidationError

from jam.data.schema import SPLITS, read_rows
from jam.errors import InputError
from jam.io import file_sha256
from jam.params import Dataset, HubData, Params
from jam.sources import hub
from jam.sources.hub import load_hub
from jam.sources.rows import LEAST
from stages import dataset as stage
from tests.checkout import ROOT
from tests.test_folder import hard, photo, rows_of, split_of
from tests.test_params import changed

COMMIT = "0123456789abcdef0123456789abcdef01234567"
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
COLUMNS = {"image": "image", "captions": "text"}
POOL = {"files": "data/*.parquet", "cut": {"val": 0.2, "test": 0.2}}
BY_FILE = {"files": {split: f"data/{split}-*.parquet" for split in SPLITS}}
KARPATHY = {"split": {"column": "split", "train": ["train", "restval"], "val": "val", "test": "test"}}


def embedded(number, **cell):
    return {"bytes": photo(number), "path": f"{number}.png"} | cell


def row(number, **changes):
    return {"image": embedded(number), "text": [f"a man number {number}", f"{number} is what it is"]} | changes


def save(root, name, rows, types=None, classes=None):
    """Write rows as ``datasets`` does: an image is a struct, a class label a number whose name is in the metadata."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows)
    for column, kind in ({"image": IMAGE} | (types or {})).items():
        if column in table.column_names:
            place = table.column_names.index(column)
            table = table.set_column(place, column, pa.array([row[column] for row in rows], kind))
    features = {column: {"names": names, "_type": "ClassLabel"} for column, names in (classes or {}).items()}
    features |= {name: {"_type": "Value"} for name in table.column_names if name not in features}
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path, row_group_size=3)


def options(root, **changes):
    """The parameters of the layout of `row`."""
    base = {"path": str(root), "columns": COLUMNS, "negatives": {"source": "none"}}
    return HubData.model_validate(base | ({} if "files" in changes else POOL) | changes)


def load(root, *, seed=0, **changes):
    return load_hub(options(root, **changes), seed=seed, scratch=root)


def sizes(pairs):
    return {split: len(rows) for split, rows in pairs.splits.items()}


def put_photos(folder, count):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        (folder / f"{i}.jpg").write_bytes(photo(i))


@pytest.fixture
def pool(tmp_path):
    """Ten images with two captions each in two files."""
    root = tmp_path / "set"
    for start in (0, 5):
        save(root, f"data/train-{start}.parquet", [row(number) for number in range(start, start + 5)])
    return root


# --- the named sets ---------------------------------------------------------------------------------------------------


def test_flickr30k_has_its_split_in_a_column(tmp_path):
    splits = ["train"] * 4 + ["val"] * 2 + ["test"] * 2 + ["unused"]
    rows = [
        row(i, text=[f"A man in a red hat {i} .", f"Someone is there {i} ."], split=split, filename=f"{i}.jpg")
        for i, split in enumerate(splits)
    ]
    save(tmp_path, "TEST/test/0000.parquet", rows)
    columns = COLUMNS | {"id": "filename"}
    pairs = load(tmp_path, files="TEST/test/*.parquet", **KARPATHY, columns=columns, negatives={"source": "rules"})
    assert sizes(pairs) == {"train": 4, "val": 2, "test": 2}
    assert split_of(pairs) == {f"{i}.jpg": split for i, split in enumerate(splits) if split != "unused"}
    first = rows_of(pairs)["0.jpg"]
    assert first["captions"] == ["A man in a red hat 0 .", "Someone is there 0 ."]
    assert [of for _, _, of in hard(first)] == [0, 1]
    summary = pairs.summary()
    assert (summary["rows"], summary["kept"], summary["passed_over"], summary["dropped"]) == (8, 8, 1, 0)
    for split, part in summary["splits"].items():
        kinds = Counter(kind for row in pairs.splits[split] for kind, _, _ in hard(row))
        assert part["hard_negatives_by_kind"] == kinds
        assert kinds["word_order"] == part["rows"]
    assert summary["captions_without_negative"] == 0


@pytest.mark.parametrize("layout", ["strings", "structs", "columns"])
def test_coco_karpathy_names_files_of_a_folder_and_restval_trains(tmp_path, layout):
    rows = []
    put_photos(tmp_path / "coco" / "train2014", 4)
    for i, split in enumerate(["train", "restval", "val", "test"]):
        sentences = [f"Red bus {i}.", f"Blue car {i}."]
        told = {
            "strings": {"sentences": sentences},
            "structs": {"sentences": [{"raw": text, "tokens": text.split(), "imgid": i} for text in sentences]},
            "columns": {"caption_0": sentences[0], "caption_1": sentences[1]},
        }[layout]
        rows.append({"filepath": "train2014", "filename": f"{i}.jpg", "split": split, "cocoid": 100 + i} | told)
    save(tmp_path, "set/data/all.parquet", rows)
    captions = {"strings": "sentences", "structs": "sentences.raw", "columns": ["caption_0", "caption_1"]}[layout]
    columns = {"file": ["filepath", "filename"], "captions": captions, "id": "cocoid"}
    pairs = load(tmp_path / "set", files="data/*.parquet", **KARPATHY, images=str(tmp_path / "coco"), columns=columns)
    assert split_of(pairs) == {"100": "train", "101": "train", "102": "val", "103": "test"}
    assert rows_of(pairs)["103"]["captions"] == ["Red bus 3.", "Blue car 3."]
    assert rows_of(pairs)["103"]["image"]["path"] == "train2014/3.jpg"


def test_images_by_name_may_be_links_into_a_named_cache(tmp_path):
    (tmp_path / "photos").mkdir()
    for i in range(3):
        (tmp_path / f"blob{i}").write_bytes(photo(i))
        (tmp_path / "photos" / f"{i}.png").symlink_to(tmp_path / f"blob{i}")
    save(tmp_path, "set/a.parquet", [{"file": f"{i}.png", "text": f"a cat {i}"} for i in range(3)])
    changes = {"images": str(tmp_path / "photos"), "columns": {"file": "file", "captions": "text"}, "files": "a.*"}
    changes |= {"cut": {"val": 0.3, "test": 0.3}}
    with pytest.raises(InputError, match=r"a.parquet:1: '0.png' leads out of .* \(and 2 more bad rows\)"):
        load(tmp_path / "set", **changes)
    assert sizes(load(tmp_path / "set", **changes, links=str(tmp_path))) == dict.fromkeys(SPLITS, 1)


def test_wit_1024_is_cut_by_seed_and_known_by_its_bytes(tmp_path):
    """Of its texts (caption, page, section or null) the parameters name the first."""
    rows = [row(i) | {"text": [f"caption {i}", "a page", None], "origin": "http://a.org"} for i in range(20)]
    save(tmp_path, "data/train-00000-of-00001.parquet", rows)
    columns = {"image": "image", "captions": "text.0"}
    one, again, other = (load(tmp_path, seed=seed, columns=columns) for seed in (3, 3, 4))
    assert {tuple(row["captions"]) for row in rows_of(one).values()} == {(f"caption {i}",) for i in range(20)}
    assert sizes(one) == {"train": 10, "val": LEAST, "test": LEAST}
    assert split_of(one) != split_of(other)
    assert set(split_of(one)) == {hashlib.sha256(photo(i)).hexdigest()[:16] for i in range(20)}
    assert one.splits == again.splits
    assert one.summary() == again.summary()


def test_conceptual_captions_with_addresses_alone_is_one_clear_line(tmp_path):
    rows = [{"image_url": f"http://a.org/{i}.jpg", "caption": "a cat"} for i in range(3)]
    save(tmp_path, "data/train.parquet", rows)
    message = r"image_url, holds text \('http://a.org/0.jpg'\), expected embedded[^\n]+cc3m[^\n]+$"
    for errors in ("raise", "skip"):
        with pytest.raises(InputError, match=message):
            load(tmp_path, columns={"image": "image_url", "captions": "caption"}, errors=errors)


def test_conceptual_captions_with_embedded_images(tmp_path):
    rows = [{"__key__": f"k{i}", "__url__": "x.tar", "jpg": embedded(i), "txt": f"a cat {i}"} for i in range(6)]
    save(tmp_path, "default/partial-train/0000.parquet", rows[:4], {"jpg": IMAGE})
    save(tmp_path, "default/partial-validation/0000.parquet", rows[4:], {"jpg": IMAGE})
    files = {"train": "default/partial-train/*", "test": "default/partial-validation/*"}
    columns = {"image": "jpg", "captions": "txt", "id": "__key__"}
    pairs = load(tmp_path, files=files, cut={"val": 0.25}, columns=columns)
    assert sizes(pairs) == {"train": 3, "val": 1, "test": 2}
    assert set(split_of(pairs)) == {f"k{i}" for i in range(6)}


def test_cifar_has_labels_by_name_and_captions_from_a_template(tmp_path):
    for split, start, labels in (
        ("train", 0, [0, 1] * 5),
        ("test", 10, [0, 1, 2, 0, 1, 2, -1, -1]),
    ):  # −1: not labelled
        rows = [{"img": embedded(start + i), "label": label} for i, label in enumerate(labels)]
        name = f"plain_text/{split}-00000-of-00001.parquet"
        save(tmp_path, name, rows, {"img": IMAGE}, {"label": ["airplane", "automobile", "bird"]})
    files = {split: f"plain_text/{split}-*" for split in ("train", "test")}
    columns, template = {"image": "img", "labels": "label"}, "a photo of a {label}"
    pairs = load(tmp_path, files=files, cut={"val": 0.2}, columns=columns, template=template, errors="skip")
    assert sizes(pairs) == {"train": 8, "val": 2, "test": 6}
    found = {row["image"]["path"]: row for row in rows_of(pairs).values()}
    assert found["15.png"]["labels"] == [{"name": "label", "value": "bird"}]
    assert found["15.png"]["captions"] == ["a photo of a bird"]
    assert pairs.summary()["dropped_by_reason"] == {"no label": 2}


def test_sugarcrepe_json_by_category_joins_images_by_name(tmp_path):
    put_photos(tmp_path / "val2017", 4)
    (tmp_path / "set").mkdir()
    for category in ("replace_obj", "swap_att", "add_rel"):
        told = ((i, f"A cat {i}", f"A {category} {i}") for i in range(4))
        rows = {i: {"filename": f"{i}.jpg", "caption": true, "negative_caption": false} for i, true, false in told}
        (tmp_path / "set" / f"{category}.json").write_text(json.dumps(rows))
    columns = {"file": "filename", "id": "filename", "captions": "caption", "negatives": "negative_caption"}
    given = {"negatives": {"source": "given"}, "images": str(tmp_path / "val2017"), "columns": columns}
    pairs = load(tmp_path / "set", files="*.json", cut={"val": 0.25, "test": 0.5}, **given)
    assert sizes(pairs) == {"train": 1, "val": 1, "test": 2}
    assert rows_of(pairs)["2.jpg"]["captions"] == ["A cat 2"]
    assert hard(rows_of(pairs)["2.jpg"]) == [
        ("add_relation", "A add_rel 2", 0),
        ("replace_object", "A replace_obj 2", 0),
        ("swap_attribute", "A swap_att 2", 0),
    ]
    assert pairs.summary()["rows"] == 12


def test_sugarcrepe_jsonl_with_a_category_column(tmp_path):
    put_photos(tmp_path, 3)
    told = [("replace_rel", i, "A  Dog", f"not {i}") for i in range(3)] + [("unheard_of", 0, "a dog", "nor this")]
    lines = [{"kind": kind, "file": f"{i}.jpg", "true": true, "false": false} for kind, i, true, false in told]
    (tmp_path / "all.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    columns = {"file": "file", "id": "file", "captions": "true", "negatives": "false", "kind": "kind"}
    given = {"negatives": {"source": "given"}, "images": str(tmp_path), "columns": columns}
    pairs = load(tmp_path, files="all.jsonl", cut={"val": 0.3, "test": 0.3}, **given)
    first = rows_of(pairs)["0.jpg"]
    assert first["captions"] == ["A  Dog"]
    assert hard(first) == [("replace_relation", "not 0", 0), ("unheard_of", "nor this", 0)]


# --- the hub ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def downloads(tmp_path, monkeypatch):
    """A hub whose repositories are folders of ``tmp_path``, and what was asked of it."""
    asked = []

    def snapshot(repo_id, revision, repo_type, patterns):
        asked.append((repo_id, revision, repo_type, tuple(patterns)))
        return tmp_path / repo_id / "snapshots" / COMMIT

    monkeypatch.setattr(hub, "snapshot", snapshot)
    return asked


def test_several_repositories_name_their_categories_and_are_recorded_at_their_commit(tmp_path, downloads):
    repos = ["HuggingFaceM4/SugarCrepe_swap_att", "HuggingFaceM4/SugarCrepe_add_obj"]
    for repo in repos:
        rows = [
            {"image": embedded(i), "tested_labels": [f"Cat {i}", f"{repo} {i}"], "true_label": 2 * i} for i in range(3)
        ]
        save(tmp_path / repo / "snapshots" / COMMIT, "data/test-0.parquet", rows)
    columns = {"image": "image", "captions": "tested_labels.0", "negatives": "tested_labels.1"}
    pairs = load(tmp_path, path=None, repo=repos, columns=columns, negatives={"source": "given"})
    assert downloads == [(repo, "main", "dataset", ("data/*.parquet",)) for repo in repos]
    assert len(rows_of(pairs)) == 3  # the same images in both
    kinds = {kind for row in rows_of(pairs).values() for kind, _, _ in hard(row)}
    assert kinds == {"swap_attribute", "add_object"}
    summary = pairs.summary()
    assert summary["sets"] == [{"id": repo, "revision": COMMIT} for repo in repos]
    for repo, file in zip(repos, summary["files"], strict=True):
        path = tmp_path / repo / "snapshots" / COMMIT / "data/test-0.parquet"
        assert file == {"name": f"{repo}/data/test-0.parquet", "sha256": file_sha256(path)}


def test_the_fingerprint_is_of_all_that_the_tables_say(pool):
    before = load(pool).summary()["fingerprint"]
    assert load(pool).summary()["fingerprint"] == before
    assert load(pool, seed=1).summary()["fingerprint"] != before
    save(pool, "data/train-5.parquet", [row(i) for i in range(5, 9)] + [row(9, text=["other"])])
    other = load(pool).summary()["fingerprint"]
    save(pool, "data/train-5.parquet", [row(i) for i in range(5, 9)] + [row(9, text=["other"], image=embedded(99))])
    assert len({before, other, load(pool).summary()["fingerprint"]}) == 3


def test_the_written_tables_hold_the_rows_with_their_images(pool, tmp_path):
    pairs = load(pool, negatives={"source": "rules", "per_caption": 2})
    summary = pairs.write(tmp_path)
    assert json.loads(json.dumps(summary)) == summary
    images = {photo(i) for i in range(10)}
    for split in SPLITS:
        rows = read_rows(tmp_path, split)
        for written, kept in zip(rows, pairs.splits[split], strict=True):
            assert written.pop("image")["bytes"] in images
            assert written == {name: value for name, value in kept.items() if name != "image"}
            assert [n["tier"] for n in written["negatives"]][-1] == "easy"
            assert Counter(n["of"] for n in written["negatives"][:-1])[0] == 2
        assert summary["splits"][split]["photos"] == len(rows)


# --- splits, limits, duplicates ---------------------------------------------------------------------------------------


def test_splits_by_file_and_limits(tmp_path):
    for split, numbers in (("train", range(6)), ("val", range(10, 14)), ("test", range(20, 24))):
        save(tmp_path, f"data/{split}-0.parquet", [row(i) for i in numbers])
    assert sizes(load(tmp_path, **BY_FILE)) == {"train": 6, "val": 4, "test": 4}
    assert sizes(load(tmp_path, **BY_FILE, limit=2)) == {"train": 2, "val": 2, "test": 2}
    few = load(tmp_path, **BY_FILE, limit={"train": 3, "test": 1})
    assert sizes(few) == {"train": 3, "val": 4, "test": 1}
    assert [row["image"]["path"] for row in few.splits["train"]] == ["0.png", "1.png", "2.png"]
    assert few.summary()["rows"] == 8


def test_a_limit_leaves_the_files_after_it_unread(pool):
    (pool / "data" / "train-9.parquet").write_bytes(b"no parquet")
    pairs = load(pool, limit=5)
    assert sum(sizes(pairs).values()) == 5
    assert [file["name"] for file in pairs.summary()["files"]] == [f"{pool}/data/train-0.parquet"]
    with pytest.raises(InputError, match=r"train-9.parquet: expected a parquet file, got: "):
        load(pool)


def test_a_bad_row_beyond_the_limit_is_not_looked_at(tmp_path):
    save(tmp_path, "data/a.parquet", [*(row(i) for i in range(4)), row(4, image=None), row(5)])
    assert sum(sizes(load(tmp_path, limit=4)).values()) == 4
    with pytest.raises(InputError, match=r"a.parquet:5: image: got no bytes"):
        load(tmp_path, limit=5)


def test_a_limit_counts_images_and_keeps_their_rows_together(tmp_path):
    rows = [row(i // 3, text=f"caption {i}", name=i // 3) for i in range(15)]
    save(tmp_path, "data/a.parquet", rows)
    pairs = load(tmp_path, limit=4, columns=COLUMNS | {"id": "name"})
    assert {name: len(row["captions"]) for name, row in rows_of(pairs).items()} == {str(i): 3 for i in range(4)}


def test_limits_of_splits_in_one_column(tmp_path):
    rows = [row(i, split=SPLITS[i % 3]) for i in range(12)]
    save(tmp_path, "data/a.parquet", rows)
    pairs = load(tmp_path, files="data/*", **KARPATHY, limit={"train": 1, "val": 3})
    assert sizes(pairs) == {"train": 1, "val": 3, "test": 4}
    assert sizes(load(tmp_path, files="data/*", **KARPATHY, limit=2)) == dict.fromkeys(SPLITS, 2)


def test_a_photo_of_two_splits_stays_in_the_one_held_out_further(tmp_path):
    for split, numbers in (("train", [0, 1, 2, 3]), ("val", [1, 2, 5]), ("test", [2, 6])):
        save(tmp_path, f"data/{split}-0.parquet", [row(i) for i in numbers])
    pairs = load(tmp_path, **BY_FILE)
    held = {split: {row["image"]["path"] for row in rows} for split, rows in pairs.splits.items()}
    assert held == {"train": {"0.png", "3.png"}, "val": {"1.png", "5.png"}, "test": {"2.png", "6.png"}}
    assert pairs.summary()["in_two_splits"] == 3


def test_copies_under_other_ids_stay_in_one_split(tmp_path):
    save(tmp_path, "data/a.parquet", [row(i // 2, name=str(i)) for i in range(20)])
    for seed in range(5):
        pairs = load(tmp_path, seed=seed, columns=COLUMNS | {"id": "name"})
        split = split_of(pairs)
        assert all(split[str(2 * i)] == split[str(2 * i + 1)] for i in range(10))
        assert sum(part["photos"] for part in pairs.summary()["splits"].values()) == 10


def test_a_file_that_is_damaged_inside_is_one_line(tmp_path):
    save(tmp_path, "data/a.parquet", [row(i) for i in range(9)])
    path = tmp_path / "data" / "a.parquet"
    data = bytearray(path.read_bytes())
    data[4:2000] = bytes(1996)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"a.parquet: expected a parquet file, got: ") as caught:
        load(tmp_path, errors="skip")
    assert "\n" not in str(caught.value)


def test_captions_of_one_word_are_counted_as_without_negative(tmp_path):
    save(tmp_path, "data/a.parquet", [row(i, text=["hello", f"the end {i}"]) for i in range(5)])
    summary = load(tmp_path, negatives={"source": "rules"}).summary()
    assert summary["captions_without_negative"] == 5
    assert summary["negatives"] == "rules"


def test_raw_bytes_are_images_and_large_ones_are_stored_small(tmp_path):
    save(tmp_path, "data/a.parquet", [{"picture": photo(i, size=(40, 20)), "text": "a"} for i in range(3)])
    pairs = load(tmp_path, columns={"image": "picture", "captions": "text"}, max_side=10)
    (stored,) = pairs.stored("test")
    assert Image.open(io.BytesIO(stored["image"]["bytes"])).size == (10, 5)


# --- bad input --------------------------------------------------------------------------------------------------------

BAD = {
    "empty caption": (row(1, text=["a", " "]), "empty caption", "caption: got an empty string"),
    "no caption": (row(1, text=[]), "no caption", "text: got no caption"),
    "null captions": (row(1, text=None), "no caption", "text: got no caption"),
    "null image": (row(1, image=None), "no image", "image: got no bytes"),
    "image not embedded": (row(1, image=embedded(1, bytes=None)), "no image", "expected one embedded"),
    "no image": (row(1, image=embedded(1, bytes=b"a cat")), "unreadable image", "'1.png': not an image"),
    "cut off": (row(1, image=embedded(1, bytes=photo(1)[:-30])), "unreadable image", "'1.png': broken image"),
    "too large": (row(1, image=embedded(1, bytes=photo(1, size=(80, 80)))), "image too large", "expected at most 5000"),
    "no id": (row(1, name=None), "wrong type", "id: got NoneType, expected a string"),
    "other image": (row(1, name="0"), "duplicate id", "'0' has another image already"),
    "true negative": (row(1, no=["A  b"], text=["a B"]), "negative is a caption", "'A  b' is both"),
    "empty negative": (row(1, no=[""]), "empty negative", "negative: got an empty string"),
    "other label": (row(0, name="0", label="z"), "two labels", "got x and z for one image"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_row_is_named_by_file_and_number_and_the_rest_is_kept(tmp_path, case):
    bad, reason, text = BAD[case]
    common = {"no": ["never"], "label": "x"}
    rows = [row(i, name=str(i)) | common for i in range(9)]
    rows[1] = common | {"name": "1"} | bad
    save(tmp_path, "data/a.parquet", rows)
    columns = COLUMNS | {"id": "name", "negatives": "no", "labels": "label"}
    changes = {"columns": columns, "negatives": {"source": "given"}, "max_pixels": 5000}
    pairs = load(tmp_path, **changes, errors="skip")
    (problem,) = pairs.problems
    with pytest.raises(InputError, match=f"^{re.escape(str(problem))}$"):
        load(tmp_path, **changes)
    assert "\n" not in str(problem)
    assert (problem.where, problem.reason) == (f"{tmp_path}/data/a.parquet:2", reason)
    assert text in problem.detail
    assert set(split_of(pairs)) == {"0", *(str(i) for i in range(2, 9))}
    assert pairs.summary()["dropped_by_reason"] == {reason: 1}


def test_a_missing_column_is_named_with_those_that_there_are(pool):
    message = r"train-0.parquet: no column 'caption', as columns.captions says; expected .* there are: image, text$"
    with pytest.raises(InputError, match=message):
        load(pool, columns={"image": "image", "captions": "caption"}, errors="skip")
    with pytest.raises(InputError, match=r"no column 'split', as split.column says"):
        load(pool, files="data/*", **KARPATHY)
    with pytest.raises(InputError, match=r"train-0.parquet:1: text.raw: got no 'raw' there.*\(and 9 more"):
        load(pool, columns={"image": "image", "captions": "text.raw"})


def test_files_that_are_not_there_or_not_tables(pool, tmp_path):
    cut = {"val": 0.1, "test": 0.1}
    with pytest.raises(InputError, match=r"no file matches 'x/\*' \(files.train\); there is data/train-0.parquet, d"):
        load(pool, files="x/*", cut=cut)
    with pytest.raises(InputError, match=r"nowhere: no such folder, expected one with files like data/"):
        load(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"nowhere: no such folder, expected the images"):
        load(pool, images=str(tmp_path / "nowhere"), columns={"file": "text", "captions": "text"})
    with pytest.raises(InputError, match=r"train-0.parquet: is in files.train and files.val, expected it in one"):
        load(pool, files={"train": "data/train-0*", "val": "data/*"}, cut={"test": 0.1})
    (pool / "data" / "a.csv").write_text("image,text\n")
    with pytest.raises(InputError, match=r"a.csv: got a .csv file, expected parquet, json or jsonl"):
        load(pool, files="data/*.csv", cut=cut)
    for content in ("{", "[1]", "3"):
        (pool / "data" / "a.json").write_text(content)
        with pytest.raises(InputError, match=r"a.json: (expected|got) JSON"):
            load(pool, files="data/*.json", cut=cut)


def test_too_few_images_and_an_empty_split(tmp_path):
    save(tmp_path, "data/train-0.parquet", [row(0), row(1), row(2, text=[])])
    with pytest.raises(
        InputError, match=r"got 2 usable photos for train, val, test, expected at least 3; .*train-0.parquet:3"
    ):
        load(tmp_path, errors="skip")
    save(tmp_path, "data/val-0.parquet", [row(3)])
    save(tmp_path, "data/test-0.parquet", [row(4, text=[])])
    with pytest.raises(InputError, match=r"got no usable image of split test, expected at least one; .*no caption"):
        load(tmp_path, **BY_FILE, errors="skip")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"repo": "a/b"}, "got repo ['a/b'] and path x, expected one of the two"),
        ({"path": None}, "got repo [] and path None"),
        ({"cut": {"val": 0.2}}, "got the splits ['train'] and cut {'val': 0.2}, expected train, val and test once"),
        ({"cut": {"val": 0.5, "test": 0.5}}, "shares that sum to less than 1"),
        ({"cut": {"train": 0.5, "test": 0.1}}, "cut.train"),
        ({"files": {"train": "a", "test": "b"}, **KARPATHY}, "expected one list of patterns beside split"),
        ({"columns": {"captions": "a"}}, "got image None and file [], expected one of the two"),
        ({"columns": {"image": "a", "captions": "b", "text": "c"}}, "columns.text"),
        ({"columns": {"image": "a"}}, "got both or neither of columns.captions and template"),
        ({"columns": {"file": "a", "captions": "b"}}, "got one of images and columns.file, expected both or neither"),
        ({"columns": {"image": "a", "labels": "b"}, "template": "a {c}"}, "template: got ['c'] in braces"),
        ({"negatives": {"source": "given"}}, "got negatives.source given and columns.negatives []"),
        ({"negatives": {"source": "rules", "per_caption": 0}}, "per_caption"),
        ({"limit": {"val": 3}}, "limit: got ['val'], expected some of the splits given, ['train']"),
    ],
)
def test_parameters_that_do_not_fit_together(change, message):
    with pytest.raises(ValidationError) as caught:
        options("x", **change) if "files" in change else options("x", **(POOL | change))
    assert message.replace("cut.train", "train") in str(caught.value)


# --- the stage --------------------------------------------------------------------------------------------------------


def test_the_stage_writes_tables_and_records_the_set(pool, tmp_path, monkeypatch, downloads):
    root = tmp_path / "a" / "b" / "snapshots"
    root.mkdir(parents=True)
    pool.rename(root / COMMIT)
    section = options("x", path="x").model_dump() | {"repo": "a/b", "path": None, "revision": "v1"}
    path = changed(tmp_path, "dataset.hub", json.loads(json.dumps(section)))
    content = yaml.safe_load(path.read_text())
    content["dataset"] |= {"source": "hub", "reads": "jam/sources/hub.py"}
    content["downstream"]["sources"] = []
    content |= {"multimodal": {}, "compare": {}, "stitch": {}, "transfer": {}}  # nothing is drawn to train them on
    path.write_text(yaml.safe_dump(content))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Params, "fewest", lambda params: {})  # two rows would do for nothing that follows
    assert stage.main() == "6 train, 2 val, 2 test rows in data/world and data/pretrain"
    recorded = json.loads((tmp_path / "metrics/tables/dataset.json").read_text())
    assert recorded["source"] == "hub"
    assert recorded["sets"] == [{"id": "a/b", "revision": COMMIT}]
    assert len(recorded["fingerprint"]) == len(recorded["files"][0]["sha256"]) == 64
    assert sorted(file.name for file in (tmp_path / "data/world").iterdir()) == ["items.parquet", "views"]

    save(root / COMMIT, "data/train-7.parquet", [row(70, text=[])])
    before = {file.name: file.read_bytes() for file in (tmp_path / "data/world").rglob("*.parquet")}
    with pytest.raises(InputError, match=r"^a/b/data/train-7.parquet:1: text: got no caption"):
        stage.main()
    assert {file.name: file.read_bytes() for file in (tmp_path / "data/world").rglob("*.parquet")} == before
    assert sorted(file.name for file in (tmp_path / "data").iterdir()) == ["pretrain", "world"]


@pytest.mark.parametrize(
    ("changes", "reads", "expected"),
    [
        ({"path": None, "repo": "a/b"}, "jam/world", "jam/sources/hub.py"),
        ({"path": "sets/a"}, "sets/a", None),
        ({"path": "sets/a"}, "jam/sources/hub.py", "sets/a"),
        ({"path": "sets/a", "images": "photos"}, "sets/a", "sets/a and photos"),
        ({"path": "sets/a", "images": "sets/photos"}, "sets", None),
    ],
)
def test_what_is_read_is_named(changes, reads, expected):
    columns = {"file": "file", "captions": "text"} if "images" in changes else COLUMNS
    hub = options("x", columns=columns, **({"images": None} | changes)).model_dump()
    section = yaml.safe_load((ROOT / "params.yaml").read_text())["dataset"] | {"source": "hub", "hub": hub}
    if expected is None:
        assert Dataset.model_validate(section | {"reads": reads}).reads == reads
    else:
        with pytest.raises(ValidationError, match=f"reads: got '{reads}' with source hub, expected {expected}"):
            Dataset.model_validate(section | {"reads": reads})


def test_source_hub_needs_its_section(tmp_path):
    with pytest.raises(InputError, match=r"dataset: hub: got none, expected this section with source hub"):
        stage.load_params(changed(tmp_path, "dataset.source", "hub"))
