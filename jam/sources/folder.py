"""A user's own photos and captions: a folder of images described by ``metadata.jsonl`` or ``metadata.csv``.

The layout is that of the Hugging Face imagefolder. Images, in subfolders or not, are named by the metadata, one row
(a line of JSON, or a record of CSV with a header) per image, or several: then their captions and negatives are put
together, each sentence once, as exports with a caption a row need:

=============  ======================================================================================================
column         meaning
=============  ======================================================================================================
``file_name``  path of the image relative to the folder, with ``/`` between its parts; becomes the pair's id
``text``       one caption
``captions``   or several: a list; in CSV a JSON list, or one plain sentence. Exactly one of the two columns is given
``negatives``  optional: sentences that are false of the image, as a list of strings or of {"kind", "text"} (the
               default kind is "given"); in CSV a JSON list, or one plain sentence. They are of tier ``hard``
``context``    optional: coarse group, a string; null in the pairs table where it is not given
=============  ======================================================================================================

Easy negatives are made here: each pair gets a caption of another photo of its split (kind ``scene``), so that every
split can be evaluated by tier. It is drawn uniformly from the split's captions that are not the photo's own; that
such a caption is false of the photo is likely, not certain. Hard negatives are only those that the user gives.

Splits are made over photos, told apart by the SHA-256 of the file: copies of one file under several names stay
together. The split follows from the seed and the files alone, not from names or the order of rows.
"""

import csv
import hashlib
import io
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from jam.errors import InputError
from jam.params import FolderData
from jam.sources.files import ImageFolder
from jam.sources.rows import (
    Loaded,
    Problem,
    Row,
    RowError,
    check_false,
    checked_image,
    clean_string,
    first_problem,
    merged,
    quote,
    split_up,
)

COLUMNS = ("file_name", "text", "captions", "negatives", "context")


def load_folder(path: str | Path, options: FolderData, *, seed: int) -> Loaded:
    """Read, check and split a folder of captioned images.

    Every image is decoded in full. Small PNG and JPEG files are stored as they are, others are encoded anew (see
    `jam.data.images.compact_image`). All rows are held in memory.

    Args:
        path: the folder.
        options: shares of the splits (see `cut_photos` for the rounding), limits of images,
            folders that links may lead to, and whether bad rows raise or are skipped.
        seed: of the split and of the easy negatives.

    Raises:
        InputError: no folder, no metadata or two; metadata that is empty, not UTF-8 or has a wrong header; a bad
            row under ``errors: raise``, named once all rows were checked; fewer than three photos.
    """
    metadata = _find_metadata(Path(path))
    images = ImageFolder(Path(path), options.links, "dataset.folder.links")
    rows: dict[str, Row] = {}  # by file name
    photos: dict[str, str] = {}  # SHA-256 of the file of each
    problems: list[Problem] = []
    count = 0
    for number, parse in _records(metadata):
        count += 1
        try:
            row = _check(parse())
            name = row["id"]
            if name in rows:
                rows[name] |= merged(rows[name], row)
                continue
            data = images.read(name)
            stored = checked_image(data, name, image_size=options.max_side, max_pixels=options.max_pixels)
        except RowError as error:
            problems.append(Problem(f"{metadata}:{number}", error.reason, str(error)))
            continue
        rows[name] = row | {"image": {"bytes": stored, "path": name}, "reality": None}
        photos[name] = hashlib.sha256(data).hexdigest()

    told: defaultdict[str, list[str]] = defaultdict(list)  # of each photo, under whatever names it lies there
    for name, photo in photos.items():
        told[photo] += rows[name]["captions"]
    for name in list(rows):
        try:
            check_false(rows[name]["negatives"], told[photos[name]])
        except RowError as error:
            problems.append(Problem(f"{metadata}: {quote(name)}", error.reason, f"{error} of the same photo"))
            del rows[name], photos[name]

    if not count:
        raise InputError(f"{metadata}: got no rows, expected one per image")
    if problems and options.errors == "raise":
        raise InputError(first_problem(problems))
    members = {"train": [(rows[name], photo) for name, photo in photos.items()]}
    shares = {"val": options.val, "test": 1 - options.train - options.val}
    splits = split_up(members, shares, seed=seed, where=str(metadata), problems=problems)
    return Loaded(splits, problems, count)


# --- metadata: file → records -----------------------------------------------------------------------------------------


def _find_metadata(root: Path) -> Path:
    if not root.is_dir():
        raise InputError(f"{root}: no such folder, expected one of images with metadata.jsonl or metadata.csv")
    found = [root / name for name in ("metadata.jsonl", "metadata.csv") if (root / name).is_file()]
    if len(found) != 1:
        got = "both" if found else "neither"
        raise InputError(f"{root}: got {got} of metadata.jsonl and metadata.csv, expected exactly one")
    return found[0]


def _records(metadata: Path) -> Iterator[tuple[int, Callable[[], Row]]]:
    """Yield for each row its line number (from 1) and a function that parses it or raises ``RowError``."""
    try:
        data = metadata.read_bytes()
    except OSError as error:
        raise InputError(f"{metadata}: {error.strerror}, expected a readable file") from error
    try:
        text = data.decode("utf-8-sig")  # spreadsheets put a byte-order mark in front
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{metadata}:{line}: got the byte {data[error.start]:#04x}, expected UTF-8 text") from error
    return _csv_records(metadata, text) if metadata.suffix == ".csv" else _jsonl_records(text)


def _jsonl_records(text: str) -> Iterator[tuple[int, Callable[[], Row]]]:
    for number, line in enumerate(text.split("\n"), 1):  # splitlines() would also cut at U+2028 inside a caption
        if line.strip():
            yield number, partial(_parse_json_line, line)


def _parse_json_line(line: str) -> Row:
    record = _parse_json(line)
    if not isinstance(record, dict):
        raise RowError("malformed row", f"got a JSON {type(record).__name__}, expected an object")
    return record


def _parse_json(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_each_key_once)
    except json.JSONDecodeError as error:
        raise RowError("malformed row", f"malformed JSON, {error.msg.lower()} at column {error.colno}") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of brackets
        raise RowError("malformed row", "malformed JSON, a number too long or brackets too deep") from error


def _each_key_once(pairs: list[tuple[str, Any]]) -> Row:
    row = dict(pairs)
    if len(row) < len(pairs):
        twice = next(name for i, (name, _) in enumerate(pairs) if name in [other for other, _ in pairs[:i]])
        raise RowError("malformed row", f"{quote(twice)} is there twice, expected each name once")
    return row


def _csv_records(metadata: Path, text: str) -> Iterator[tuple[int, Callable[[], Row]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] = []
    start = 1  # a quoted cell may span lines; a record is named by its first
    try:
        for cells in reader:
            if not header and any(cells):
                header = cells
                _check_header(f"{metadata}:{start}", header)
            elif any(cells):
                yield start, partial(_parse_cells, header, cells)
            start = reader.line_num + 1
    except csv.Error as error:  # what follows cannot be told apart any more
        raise InputError(f"{metadata}:{start}: malformed CSV, {error}") from error


def _check_header(where: str, header: list[str]) -> None:
    if unknown := [name for name in header if name not in COLUMNS]:
        raise InputError(f"{where}: unknown column {quote(unknown[0])}, expected some of {', '.join(COLUMNS)}")
    if len(set(header)) < len(header):
        raise InputError(f"{where}: a column is there twice, got {', '.join(header)}")
    if "file_name" not in header or ("text" in header) == ("captions" in header):
        got = ", ".join(header)
        raise InputError(f"{where}: got the columns {got}, expected file_name and either text or captions")


def _parse_cells(header: list[str], cells: list[str]) -> Row:
    if len(cells) != len(header):
        raise RowError("malformed row", f"got {len(cells)} cells, expected {len(header)} as in the header")
    record: Row = {name: cell for name, cell in zip(header, cells, strict=True) if cell}
    for name in ("captions", "negatives"):
        if name in record:
            cell = record[name].strip()
            record[name] = _parse_json(cell) if cell.startswith("[") else [cell]
    return record


# --- record → checked row ---------------------------------------------------------------------------------------------


def _check(record: Row) -> Row:
    """Id, captions, negatives, context and (no) labels of a record."""
    record = {name: value for name, value in record.items() if value is not None}
    if unknown := sorted(set(record) - set(COLUMNS)):
        columns = ", ".join(COLUMNS)
        raise RowError("unknown column", f"unknown column {quote(unknown[0])}, expected some of {columns}")
    if "file_name" not in record:
        raise RowError("no file name", "got no file_name, expected the path of an image")
    name = Path(clean_string(record["file_name"], "file_name")).as_posix()  # "./a//b.png" is "a/b.png"
    try:
        captions = _captions(record)
        negatives = [_negative(item) for item in _list(record.get("negatives", []), "negatives")]
        check_false(negatives, captions)
        context = clean_string(record["context"], "context") if "context" in record else None
    except RowError as error:
        raise RowError(error.reason, f"{quote(name)}: {error}") from error
    return {"id": name, "captions": captions, "negatives": negatives, "context": context, "labels": []}


def _captions(record: Row) -> list[str]:
    if "text" in record and "captions" in record:
        raise RowError("two caption columns", "got text and captions, expected one of them")
    captions = [record["text"]] if "text" in record else _list(record.get("captions", []), "captions")
    if not captions:
        raise RowError("no caption", "got no caption, expected text or captions")
    return [clean_string(caption, "caption") for caption in captions]


def _negative(item: Any) -> Row:
    if isinstance(item, str):
        item = {"text": item}
    if not isinstance(item, dict) or "text" not in item or not set(item) <= {"kind", "text"}:
        got = f"an object of {quote(', '.join(item))}" if isinstance(item, dict) else type(item).__name__
        raise RowError("wrong type", f'negative: got {got}, expected a string or {{"kind", "text"}}')
    kind = clean_string(item.get("kind", "given"), "kind of a negative")
    return {"kind": kind, "tier": "hard", "text": clean_string(item["text"], "negative"), "of": 0}


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise RowError("wrong type", f"{what}: got {type(value).__name__}, expected a list")
    return value
