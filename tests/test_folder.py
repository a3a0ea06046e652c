"""A user's folder of photos and captions: what is kept, how it is split, and one clear line for all that is wrong."""

import csv
import io
import json
import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from jam.data.schema import SPLITS, items_schema, read_rows, read_table, view_schema
from jam.errors import InputError
from jam.params import FolderData
from jam.sources.folder import load_folder
from jam.sources.rows import LEAST, cut_photos, with_easy_negatives


def load(root, *, seed=0, **changes):
    options = {"train": 0.7, "val": 0.2, "max_pixels": 10**8, "max_side": 512, "errors": "raise"}
    return load_folder(root, FolderData.model_validate(options | changes), seed=seed)


def photo(number, fmt="PNG", size=(9, 7)):
    """Bytes of a small image that differs from that of any other number."""
    pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, fmt)
    return buffer.getvalue()


def record(number, **changes):
    row = {"file_name": f"{number}.png", "captions": [f"photo {number}", f"the picture of {number}"]}
    return {name: value for name, value in (row | changes).items() if value is not ...}


def write_jsonl(root, records):
    lines = [line if isinstance(line, str) else json.dumps(line) for line in records]
    (root / "metadata.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def write_csv(root, header, rows):
    (root / "metadata.jsonl").unlink()
    with (root / "metadata.csv").open("w", encoding="utf-8", newline="") as handle:
        csv.writer(handle).writerows([header, *rows])


@pytest.fixture
def album(tmp_path):
    """Ten photos with two captions each."""
    root = tmp_path / "album"
    root.mkdir()
    for number in range(10):
        (root / f"{number}.png").write_bytes(photo(number))
    write_jsonl(root, [record(number) for number in range(10)])
    return root


def rows_of(pairs):
    return {row["id"]: row for rows in pairs.splits.values() for row in rows}


def split_of(pairs):
    return {row["id"]: split for split, rows in pairs.splits.items() for row in rows}


def hard(row):
    """Kind, text and caption of the hard negatives of a row."""
    return [(n["kind"], n["text"], n["of"]) for n in row["negatives"] if n["tier"] == "hard"]


def only_problem(root, **options):
    """The one problem of a folder, which must be the same line for both policies."""
    pairs = load(root, errors="skip", **options)
    with pytest.raises(InputError) as caught:
        load(root, **options)
    (problem,) = pairs.problems
    assert str(caught.value) == str(problem)
    assert "\n" not in str(problem)
    assert len(str(problem)) < 500
    return problem


# --- what is kept -----------------------------------------------------------------------------------------------------


def test_every_row_is_kept_once_in_a_split_of_70_20_10(album):
    pairs = load(album)
    assert {split: len(rows) for split, rows in pairs.splits.items()} == {"train": 7, "val": 2, "test": 1}
    rows = rows_of(pairs)
    assert set(rows) == {f"{number}.png" for number in range(10)}
    for number in range(10):
        row = rows[f"{number}.png"]
        assert row["image"] == {"bytes": photo(number), "path": f"{number}.png"}
        assert row["captions"] == [f"photo {number}", f"the picture of {number}"]
        assert (row["context"], row["labels"], row["reality"]) == (None, [], None)


def test_the_written_tables_hold_the_rows_and_the_summary_counts_them(album, tmp_path):
    write_jsonl(album, [record(0, negatives=["no", "never"]), *map(record, range(1, 9)), record(9, captions=[])])
    pairs = load(album, seed=3, errors="skip")
    summary, again = pairs.write(tmp_path), load(album, seed=3, errors="skip").write(album)
    assert json.loads(json.dumps(summary)) == summary == again
    assert (summary["rows"], summary["kept"]) == (10, 9)
    assert (summary["dropped"], summary["dropped_by_reason"]) == (1, {"no caption": 1})
    for split, counts in summary["splits"].items():
        rows = read_rows(tmp_path, split)
        assert rows == pairs.splits[split]
        assert counts["rows"] == len(rows) == counts["photos"] == counts["captions"] / 2
    schemas = {"items": items_schema(), "views/image": view_schema("image"), "views/text": view_schema("text")}
    for name, schema in schemas.items():
        assert (tmp_path / f"{name}.parquet").read_bytes() == (album / f"{name}.parquet").read_bytes()
        found = read_table(tmp_path / f"{name}.parquet").schema
        assert found.equals(schema)
        assert found.metadata == schema.metadata
    assert sum(counts["hard_negatives"] for counts in summary["splits"].values()) == 2


def test_large_images_are_stored_small_and_subfolders_are_followed(album):
    (album / "deep" / "er").mkdir(parents=True)
    (album / "deep" / "er" / "wide.webp").write_bytes(photo(99, "WEBP", size=(300, 150)))
    write_jsonl(album, [*map(record, range(10)), {"file_name": "./deep//er/wide.webp", "text": "  wide \n"}])
    row = rows_of(load(album, max_side=100))["deep/er/wide.webp"]
    assert row["captions"] == ["wide"]
    image = Image.open(io.BytesIO(row["image"]["bytes"]))
    assert (image.format, image.size) == ("JPEG", (100, 50))


def test_negatives_of_the_user_are_hard_and_keep_their_kind(album):
    given_negatives = ["not this", {"text": "a red cat", "kind": "replace_attribute"}, {"text": "nor that"}]
    write_jsonl(album, [record(0, negatives=given_negatives, context="home"), *map(record, range(1, 10))])
    row = rows_of(load(album))["0.png"]
    assert row["context"] == "home"
    assert hard(row) == [("given", "not this", 0), ("replace_attribute", "a red cat", 0), ("given", "nor that", 0)]


def test_rows_of_one_image_are_one_photo(album):
    """As exports of Flickr and COCO have them, one caption a row."""
    told = [("0.png", "one", ["x"]), ("1.png", "other", []), (".//0.png", "two", ["y"]), ("0.png", " ONE", ["X"])]
    rows = [{"file_name": name, "text": text, "negatives": negatives} for name, text, negatives in told]
    rows += [{"file_name": "0.png", "text": "two", "context": "home"}, *map(record, range(2, 10))]
    write_jsonl(album, rows)
    pairs = load(album)
    row = rows_of(pairs)["0.png"]
    assert (row["captions"], row["context"], row["image"]["bytes"]) == (["one", "two"], "home", photo(0))
    assert hard(row) == [("given", "x", 0), ("given", "y", 1)]
    assert (pairs.summary()["rows"], pairs.summary()["kept"]) == (13, 10)
    for bad, text in (
        (record(0, context="out"), "got the contexts 'home' and 'out' for one image, expected one"),
        (record(0, captions=["Y"]), "is both a negative and a caption"),
    ):
        write_jsonl(album, [*rows, bad])
        assert text in only_problem(album).detail


def test_csv_and_jsonl_say_the_same(album):
    expected = load(album)
    rows = [[json.dumps(row["captions"]), row["file_name"]] for row in map(record, range(10))]
    write_csv(album, ["captions", "file_name"], rows)
    assert load(album) == expected


def test_csv_cells_may_be_sentences_lists_or_empty(album):
    header = ["file_name", "captions", "negatives", "context"]
    first = ["0.png", 'A "cat", on\na mat', '[{"kind": "k", "text": "n"}, "m"]', "home"]
    rest = [[f"{number}.png", f"caption {number}", f"sentence {number}", ""] for number in range(1, 10)]
    write_csv(album, header, [first, *rest])
    rows = rows_of(load(album))
    assert rows["0.png"]["captions"] == ['A "cat", on\na mat']
    assert hard(rows["0.png"]) == [("k", "n", 0), ("given", "m", 0)]
    assert hard(rows["1.png"]) == [("given", "sentence 1", 0)]
    assert (rows["0.png"]["context"], rows["1.png"]["context"]) == ("home", None)


def test_byte_order_mark_blank_lines_line_ends_and_unicode_separators(album):
    records = [record(0, captions=["one\u2028line\x85only"]), *map(record, range(1, 10))]
    lines = [json.dumps(row, ensure_ascii=False) for row in records]
    (album / "metadata.jsonl").write_bytes(b"\xef\xbb\xbf" + "\r\n\r\n".join(lines).encode())
    assert rows_of(load(album))["0.png"]["captions"] == ["one\u2028line\x85only"]
    (album / "metadata.jsonl").unlink()
    cells = "".join(f"{number}.png,photo {number}\r\n,\r\n\r\n" for number in range(10))
    (album / "metadata.csv").write_bytes(b"\xef\xbb\xbffile_name,text\r\n" + cells.encode())
    assert len(rows_of(load(album))) == 10


# --- splits and easy negatives ----------------------------------------------------------------------------------------


@given(
    photos=st.sets(st.text("abcdef", min_size=1, max_size=3), min_size=3, max_size=60).map(sorted),
    copies=st.integers(1, 2),
    val=st.floats(0.01, 0.98),
    test=st.floats(0.01, 0.98),
    seed=st.integers(0, 2**32),
)
def test_splits_partition_the_photos_and_none_is_empty(photos, copies, val, test, seed):
    shares = {"val": val, "test": test}
    split = cut_photos(photos * copies, shares, seed=seed)
    assert set(split) == set(photos)
    counts = Counter(split.values())
    assert set(counts) == set(SPLITS)
    least = LEAST if len(split) >= 4 * LEAST else 1
    if len(split) * min(val, test) >= least and len(split) * (val + test) < len(split) - 2:
        for name, share in (shares | {"train": 1 - val - test}).items():
            assert abs(counts[name] - share * len(split)) <= 2
    elif len(split) >= 4 * LEAST and val + test < 0.5:
        assert min(counts.values()) >= LEAST
    assert cut_photos(photos[::-1], shares, seed=seed) == split


def test_one_more_photo_moves_few_others():
    photos, shares = [str(number) for number in range(1000)], {"val": 0.2, "test": 0.1}
    before, other = (cut_photos(photos, shares, seed=seed) for seed in (0, 1))
    after = cut_photos([*photos, "new"], shares, seed=0)
    assert sum(before[photo] != after[photo] for photo in photos) <= 4
    assert sum(before[photo] != other[photo] for photo in photos) > 300


@pytest.mark.parametrize("seed", range(5))
def test_copies_of_a_photo_share_a_split_and_are_no_negatives_of_each_other(album, seed):
    rows = [*map(record, range(10))]
    for number in range(30):
        rows.append(
            record(0, file_name=f"copy{number // 10} of {number % 10}.png", captions=[f"copy of {number % 10}"])
        )
        (album / rows[-1]["file_name"]).write_bytes(photo(number % 10))
    write_jsonl(album, rows)
    pairs = load(album, seed=seed, train=0.5, val=0.3)
    split = split_of(pairs)
    for name, row in rows_of(pairs).items():
        number = name.removesuffix(".png").split()[-1]
        assert split[name] == split[f"{number}.png"]
        assert all(negative["text"].split()[-1] != number for negative in row["negatives"])
    assert {split: len(rows) for split, rows in pairs.splits.items()} == {"train": 20, "val": 12, "test": 8}
    assert pairs.summary()["splits"]["train"]["photos"] == 5


def test_the_split_follows_from_the_seed_and_the_files_alone(album):
    before = split_of(load(album))
    (album / "3.png").rename(album / "renamed.png")
    write_jsonl(album, [*map(record, [9, 8, 7, 6, 5, 4, 2, 1, 0]), record(3, file_name="renamed.png")])
    after = split_of(load(album))
    assert after.pop("renamed.png") == before.pop("3.png")
    assert after == before
    assert len({tuple(sorted(split_of(load(album, seed=seed)).items())) for seed in range(5)}) > 1


def test_an_easy_negative_is_a_caption_of_another_photo_of_the_split(album):
    pairs = load(album, train=0.4, val=0.3)
    for rows in pairs.splits.values():
        for row in rows:
            (easy,) = row["negatives"]
            assert (easy["kind"], easy["tier"], easy["of"]) == ("scene", "easy", 0)
            assert easy["text"] in {caption for other in rows if other is not row for caption in other["captions"]}


def test_easy_negatives_are_drawn_uniformly():
    members = [({"captions": [str(i), f"{i} too"], "negatives": []}, str(i)) for i in range(4)]
    rng = np.random.default_rng(0)
    drawn = Counter(with_easy_negatives(members, rng)[0]["negatives"][0]["text"] for _ in range(3000))
    assert set(drawn) == {"1", "1 too", "2", "2 too", "3", "3 too"}
    assert max(abs(count - 500) for count in drawn.values()) < 5 * np.sqrt(500)


def test_a_caption_shared_by_all_photos_is_no_negative(album):
    same = ["A Cat.", "a  cat."]
    write_jsonl(album, [record(number, captions=[same[number % 2]]) for number in range(10)])
    assert all(counts["easy_negatives"] == 0 for counts in load(album).summary()["splits"].values())
    write_jsonl(album, [record(number, captions=["a cat." if number else "a dog."]) for number in range(10)])
    for row in rows_of(load(album, train=0.1, val=0.1)).values():
        assert all(negative["text"] not in row["captions"] for negative in row["negatives"])


# --- bad rows ---------------------------------------------------------------------------------------------------------

BAD_ROWS = {
    "not JSON": ('{"file_name": "1.png", ', "malformed row", "at column 24"),
    "no object": ('["1.png", "a"]', "malformed row", "list, expected an object"),
    "too deep": ("[" * 100_000, "malformed row", "malformed JSON"),
    "too long a number": ('{"file_name": ' + "1" * 5000 + "}", "malformed row", "malformed JSON"),
    "a name twice": ('{"file_name": "1.png", "text": "a", "text": "b"}', "malformed row", "'text' is there twice"),
    "unknown column": (record(1, cation="a"), "unknown column", "'cation'"),
    "no file name": (record(1, file_name=...), "no file name", "file_name"),
    "null file name": (record(1, file_name=None), "no file name", "file_name"),
    "file name of wrong type": (record(1, file_name=1), "wrong type", "got int, expected a string"),
    "empty file name": (record(1, file_name=" "), "empty file_name", "empty string"),
    "no caption": (record(1, captions=...), "no caption", "expected text or captions"),
    "no captions": (record(1, captions=[]), "no caption", "expected text or captions"),
    "null caption": (record(1, captions=None), "no caption", "expected text or captions"),
    "empty caption": (record(1, captions=["a", " \n"]), "empty caption", "'1.png': caption: got an empty string"),
    "caption of NUL alone": (record(1, captions=["\0"]), "empty caption", r"invisible characters ('\x00')"),
    "zero-width caption": (record(1, captions=["\u200b \ufeff"]), "empty caption", "invisible characters"),
    "blank letters": (record(1, captions=["\u3164 \u2800"]), "empty caption", "invisible characters ('\\u3164 "),
    "negative of another row": (record(0, captions=["c"], negatives=["Photo 0"]), "negative is a caption", "both"),
    "empty text": (record(1, captions=..., text=""), "empty caption", "empty string"),
    "caption of wrong type": (record(1, captions=["a", 2]), "wrong type", "caption: got int"),
    "captions of wrong type": (record(1, captions="a"), "wrong type", "captions: got str, expected a list"),
    "both caption columns": (record(1, text="a"), "two caption columns", "one of them"),
    "negatives of wrong type": (record(1, negatives="a"), "wrong type", "negatives: got str, expected a list"),
    "negative of wrong type": (record(1, negatives=[["a"]]), "wrong type", "negative: got list"),
    "negative without text": (record(1, negatives=[{"kind": "a"}]), "wrong type", "negative: got an object of 'kind'"),
    "negative of unknown key": (record(1, negatives=[{"text": "a", "tier": "easy"}]), "wrong type", "'text, tier'"),
    "empty negative": (record(1, negatives=[""]), "empty negative", "empty string"),
    "true negative": (record(1, negatives=["Photo  1"]), "negative is a caption", "both"),
    "context of wrong type": (record(1, context=3), "wrong type", "context: got int"),
    "half a surrogate pair": (record(1, captions=["\ud83d"]), "malformed row", "surrogate"),
    "parent folder": (record(1, file_name="../album/1.png"), "path outside the folder", "'../album/1.png'"),
    "absolute path": (record(1, file_name="/etc/hostname"), "path outside the folder", "'/etc/hostname'"),
    "missing file": (record(1, file_name="x\ny.png"), "missing file", r"'x\ny.png': no such file"),
    "file as a folder": (record(1, file_name="0.png/1.png"), "missing file", "no such file"),
    "name with NUL": (record(1, file_name="a\0.png"), "missing file", "null"),
    "name too long": (record(1, file_name="a" * 5000), "missing file", "too long"),
    "the folder itself": (record(1, file_name="."), "missing file", "is a folder"),
    "metadata as an image": (record(1, file_name="metadata.jsonl"), "unreadable image", "not an image"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_a_bad_row_is_named_by_its_line_and_the_rest_is_kept(album, case):
    bad, reason, text = BAD_ROWS[case]
    write_jsonl(album, [record(0), "", bad, *map(record, range(2, 10))])
    problem = only_problem(album)
    assert problem.where == f"{album}/metadata.jsonl:3"
    assert problem.reason == reason
    assert text in problem.detail
    assert set(rows_of(load(album, errors="skip"))) == {f"{number}.png" for number in range(10) if number != 1}


BAD_FILES = {
    "missing": (lambda path: None, "missing file"),
    "dangling link": (lambda path: path.symlink_to("nowhere.png"), "missing file"),
    "loop of links": (lambda path: path.symlink_to(path.name), "missing file"),
    "folder": (lambda path: path.mkdir(), "missing file"),
    "pipe": (os.mkfifo, "missing file"),
    "zero bytes": (lambda path: path.write_bytes(b""), "unreadable image"),
    "truncated": (lambda path: path.write_bytes(photo(1, "JPEG", size=(60, 60))[:-300]), "unreadable image"),
    "too many pixels": (lambda path: path.write_bytes(photo(1, size=(200, 200))), "image too large"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_named_by_its_line(album, case):
    make, reason = BAD_FILES[case]
    (album / "1.png").unlink()
    make(album / "1.png")
    problem = only_problem(album, max_pixels=30_000)
    assert (problem.where, problem.reason) == (f"{album}/metadata.jsonl:2", reason)
    assert "'1.png'" in problem.detail


def test_links_into_a_named_cache_are_followed(album, tmp_path):
    """As in a snapshot of the hub, whose files link to blobs, or with DVC's cache.type symlink."""
    blobs = tmp_path / "cache" / "blobs"
    blobs.mkdir(parents=True)
    expected = load(album)
    for number in range(10):
        (album / f"{number}.png").rename(blobs / str(number))
        (album / f"{number}.png").symlink_to(blobs / str(number))
    with pytest.raises(
        InputError, match=rf"'0.png' leads out .*, or {blobs} or a folder above .* dataset.folder.links"
    ):
        load(album)
    assert load(album, links=str(tmp_path / "cache")) == load(album, links=["nowhere", str(blobs)]) == expected
    with pytest.raises(InputError, match=r"'0\.png' leads out"):
        load(album, links=str(tmp_path / "cac"))


@pytest.mark.parametrize(
    ("wrong", "right", "more"),
    [
        ("Deep/A.PNG", "deep/a.png", ""),
        ("deep\\a.png", "deep/a.png", ""),
        ("caf\u00e9.png", "cafe\u0301.png", ", whose accents are in the other Unicode form"),
        ("cafe\u0301.png", "caf\u00e9.png", ", whose accents are in the other Unicode form"),
    ],
)
def test_a_name_that_is_nearly_right_gets_a_hint(album, wrong, right, more):
    (album / "deep").mkdir()
    (album / "1.png").rename(album / right)
    write_jsonl(album, [record(0), record(1, file_name=wrong), *map(record, range(2, 10))])
    problem = only_problem(album)
    assert problem.reason == "missing file"
    assert problem.detail.endswith(f"no such file in {album}; did you mean {right!r}{more}?")


def test_links_that_stay_inside_and_one_to_the_folder_are_followed(album, tmp_path):
    (album / "1.png").unlink()
    (album / "1.png").symlink_to(album / "0.png")
    (tmp_path / "link").symlink_to(album)
    split = split_of(load(album))
    assert split["0.png"] == split["1.png"]
    assert split_of(load(tmp_path / "link")) == split


def test_the_error_names_the_first_bad_row_and_counts_the_others(album):
    write_jsonl(album, [*map(record, range(7)), record(7, captions=[]), record(8, text="a"), record(9, context=1)])
    with pytest.raises(InputError) as caught:
        load(album)
    first = f"{album}/metadata.jsonl:8: '7.png': got no caption, expected text or captions"
    assert str(caught.value) == f"{first} (and 2 more bad rows)"
    pairs = load(album, errors="skip")
    assert [problem.where.rsplit(":")[-1] for problem in pairs.problems] == ["8", "9", "10"]
    assert pairs.summary()["dropped_by_reason"] == {"no caption": 1, "two caption columns": 1, "wrong type": 1}


def test_csv_rows_are_named_by_the_line_where_they_begin(album):
    (album / "metadata.jsonl").unlink()
    rows = ["file_name,captions", '0.png,"two\nlines"', "1.png", '2.png,"[""a"", "', '3.png,"{"n"}"', "4.png,"]
    text = "\n".join(rows + [f"{number}.png,a" for number in range(5, 8)])
    (album / "metadata.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"metadata.csv:6: malformed CSV"):
        load(album, errors="skip")
    (album / "metadata.csv").write_text(text.replace('"{"n"}"', "[n]"), encoding="utf-8")
    problems = [(problem.where.rsplit(":")[-1], problem.reason) for problem in load(album, errors="skip").problems]
    assert problems == [*((line, "malformed row") for line in "456"), ("7", "no caption")]


# --- bad metadata -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("errors", ["raise", "skip"])
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("metadata.jsonl", b"", "no rows"),
        ("metadata.jsonl", b"\n \r\n", "no rows"),
        ("metadata.csv", b"", "no rows"),
        ("metadata.csv", b"file_name,text\n", "no rows"),
        ("metadata.jsonl", b'{"file_name": "0.png"}\n{"text": "caf\xe9"}', r"metadata.jsonl:2: got the byte 0xe9"),
        ("metadata.jsonl", '{"file_name": "0.png"}'.encode("utf-16"), r"metadata.jsonl:1: got the byte 0xff"),
        ("metadata.csv", b"file_name,text\n0.png,a\n1.png,\xff\n", r"metadata.csv:3: got the byte 0xff"),
        ("metadata.csv", b"file_name;text\n0.png;a\n", r"metadata.csv:1: unknown column 'file_name;text'"),
        ("metadata.csv", b"\nfile_name,text,label\n", r"metadata.csv:2: unknown column 'label'"),
        ("metadata.csv", b"file_name,context\n", r"metadata.csv:1: .* expected file_name and either text or captions"),
        ("metadata.csv", b"text,context\n", r"metadata.csv:1: .* expected file_name and either text or captions"),
        ("metadata.csv", b"file_name,text,captions\n", r"metadata.csv:1: .* either text or captions"),
        ("metadata.csv", b"file_name,text,text\n", r"metadata.csv:1: .* twice"),
        ("metadata.csv", b'file_name,text\n0.png,"a\n1.png,b\n', r"metadata.csv:2: malformed CSV"),
    ],
)
def test_metadata_that_cannot_be_read_as_rows(album, errors, name, content, message):
    (album / "metadata.jsonl").unlink()
    (album / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        load(album, errors=errors)
    assert "\n" not in str(caught.value)


def test_exactly_one_metadata_file_is_expected(album, tmp_path):
    for path in (tmp_path / "nowhere", album / "1.png"):
        with pytest.raises(InputError, match=f"{path}: no such folder"):
            load(path)
    (album / "metadata.csv").write_text("file_name,text\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"got both of metadata.jsonl and metadata.csv"):
        load(album)
    for name in ("metadata.csv", "metadata.jsonl"):
        (album / name).unlink()
    (album / "metadata.csv").mkdir()
    with pytest.raises(InputError, match=r"got neither of metadata.jsonl and metadata.csv"):
        load(album)


def test_three_different_photos_are_enough_and_two_are_not(album):
    write_jsonl(album, map(record, range(3)))
    assert {len(rows) for rows in load(album, train=0.01, val=0.01).splits.values()} == {1}
    (album / "2.png").write_bytes(photo(0))
    with pytest.raises(
        InputError, match=r"metadata.jsonl: got 2 usable photos for train, val, test, expected at least 3"
    ):
        load(album)
    write_jsonl(album, [record(number, captions=[]) for number in range(10)])
    with pytest.raises(InputError, match=r"got 0 usable photos.*metadata.jsonl:1: .* \(and 9 more bad rows\)"):
        load(album, errors="skip")
    with pytest.raises(ValueError, match=r"got train 0.8 and val 0.2, expected shares that sum to less than 1"):
        load(album, train=0.8, val=0.2)


# --- files ------------------------------------------------------------------------------------------------------------


def test_items_and_views_load_with_datasets(album, tmp_path):
    """In a process of its own, as the library fixes its cache folder when it is imported."""
    (album / "0.png").write_bytes(photo(0, "TIFF", size=(30, 10)))
    pairs = load(album, max_side=15)
    pairs.write(tmp_path)
    script = """
import json, sys
from datasets import Image, load_dataset
def table(name):
    return load_dataset("parquet", data_files=f"{sys.argv[1]}/{name}.parquet", split="train")
images, texts, items = table("views/image"), table("views/text"), table("items")
assert isinstance(images.features["content"], Image)
print(json.dumps([[row["id"], row["content"].size] for row in images]))
print(json.dumps([[row["id"], row["role"], row["content"]] for row in texts]))
print(json.dumps([[row["id"], row["split"]] for row in items]))
"""
    environment = os.environ | {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", script, tmp_path], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    images, texts, items = map(json.loads, done.stdout.splitlines()[-3:])
    rows = rows_of(pairs)
    assert images == [[name, [15, 5] if name == "0.png" else [9, 7]] for name in rows]
    assert items == [[row["id"], split] for split in SPLITS for row in pairs.splits[split]]
    assert [line for line in texts if line[0] == "0.png"] == [
        *(["0.png", "true", text] for text in rows["0.png"]["captions"]),
        *(["0.png", "false", negative["text"]] for negative in rows["0.png"]["negatives"]),
    ]


def test_a_negative_that_is_told_of_the_same_photo_under_another_name_is_refused(album):
    (album / "1.png").write_bytes((album / "0.png").read_bytes())
    write_jsonl(album, [record(0), record(1, negatives=[record(0)["captions"][0].upper()]), *map(record, range(2, 10))])
    problem = only_problem(album)
    assert problem.where.endswith("metadata.jsonl: '1.png'")
    assert "is both a negative and a caption of the same photo" in problem.detail
    assert "1.png" not in rows_of(load(album, errors="skip"))
