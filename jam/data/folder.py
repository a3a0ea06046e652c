"""A user's own photos and captions: a folder of images described by ``metadata.jsonl`` or ``metadata.csv``.

The layout is that of the Hugging Face imagefolder. Images, in subfolders or not, are named by the metadata, a row (a
line of JSON, or a record of CSV with a header) per image, or several: those of one ``file_name`` are put together in
order, as exports with a caption a row need:

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
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jam.data.images import IMAGE_SIZE, MAX_PIXELS
from jam.data.rows import (
    LoadedPairs,
    Problem,
    Row,
    RowError,
    check_false,
    checked_image,
    clean_string,
    cut_photos,
    first_problem,
    quote,
    read_inside,
    with_easy_negatives,
)
from jam.data.schema import SPLITS, write_pairs
from jam.errors import InputError

COLUMNS = ("file_name", "text", "captions", "negatives", "context")


def load_folder(
    path: str | Path,
    *,
    seed: int,
    train: float = 0.7,
    val: float = 0.2,
    image_size: int = IMAGE_SIZE,
    max_pixels: int = MAX_PIXELS,
    errors: Literal["raise", "skip"] = "raise",
    links: Sequence[str] = (),
) -> LoadedPairs:
    """Read, check and split a folder of captioned images.

    Every image is decoded in full. Small PNG and JPEG files are stored as they are, others are encoded anew (see
    `jam.data.images.compact_image`). All rows are held in memory.

    Args:
        path: the folder.
        seed: of the split and of the easy negatives.
        train, val: shares of the photos, each above 0; the rest, above 0 too, is the test split. Counts are
            rounded, and every split gets at least one photo.
        image_size: longest side of a stored image, in pixels.
        max_pixels: images of more pixels (width times height) are bad rows.
        errors: what bad rows do. ``raise``: an error that names the first and counts the others, after all rows
            were checked. ``skip``: they are left out and listed in ``problems``.
        links: folders outside that images may be soft links into, such as a cache.

    Raises:
        InputError: no folder, no metadata or two; metadata that is empty, not UTF-8 or has a wrong header; a bad
            row under ``errors="raise"``; fewer than three photos.
    """
    if not (train > 0 and val > 0 and train + val < 1):
        raise ValueError(f"train and val: got {train} and {val}, expected shares above 0 that sum to less than 1")
    if errors not in ("raise", "skip"):
        raise ValueError(f"errors: got {errors!r}, expected 'raise' or 'skip'")
    root = Path(path)
    metadata = _find_metadata(root)

    rows: dict[str, Row] = {}  # by file name
    photos: list[str] = []  # SHA-256 of the file of each row
    problems: list[Problem] = []
    for number, parse in _records(metadata):
        try:
            row = _check(parse())
            if row["id"] in rows:
                _add(rows[row["id"]], row)
                continue
            data = read_inside(root, row["id"], links)
            stored = checked_image(data, row["id"], image_size=image_size, max_pixels=max_pixels)
        except RowError as error:
            problems.append(Problem(f"{metadata}:{number}", error.reason, str(error)))
            continue
        rows[row["id"]] = row | {"image": {"bytes": stored, "path": row["id"]}, "labels": [], "reality": None}
        photos.append(hashlib.sha256(data).hexdigest())

    if not rows and not problems:
        raise InputError(f"{metadata}: got no rows, expected one per image")
    if problems and errors == "raise":
        raise InputError(first_problem(problems))
    if (n := len(set(photos))) < len(SPLITS):
        dropped = f"; {first_problem(problems)}" if problems else ""
        raise InputError(f"{metadata}: got {n} usable photos, expected at least {len(SPLITS)}, one per split{dropped}")

    split_of = split_photos(photos, train=train, val=val, seed=seed)
    rng = np.random.default_rng(seed)
    splits: dict[str, list[Row]] = {}
    for split in SPLITS:
        members = [(row, photo) for row, photo in zip(rows.values(), photos, strict=True) if split_of[photo] == split]
        splits[split] = with_easy_negatives(members, rng)
    return LoadedPairs(splits, problems)


def write_folder(pairs: LoadedPairs, path: str | Path) -> dict[str, Any]:
    """Write ``train.parquet``, ``val.parquet`` and ``test.parquet`` into the folder ``path``; return the summary.

    The three are moved into place once all are written; other files in the folder are left alone.
    """
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".part", dir=path) as part:
        for split in pairs.splits:
            write_pairs(Path(part) / f"{split}.parquet", pairs.stored(split))
        for split in pairs.splits:
            (Path(part) / f"{split}.parquet").replace(path / f"{split}.parquet")
    return pairs.summary()


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
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise RowError("malformed row", f"malformed JSON, {error.msg.lower()} at column {error.colno}") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of brackets
        raise RowError("malformed row", "malformed JSON, a number too long or brackets too deep") from error


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


def _add(row: Row, more: Row) -> None:
    """Take into the row of an image what another row says of it; captions that are there already are not repeated."""
    if more["context"] is not None and row["context"] not in (None, more["context"]):
        got = f"{quote(row['context'])} and {quote(more['context'])}"
        raise RowError("two contexts", f"{quote(row['id'])}: got the contexts {got}, expected one")
    captions = [*row["captions"], *(each for each in more["captions"] if each not in row["captions"])]
    negatives = [each | {"of": captions.index(more["captions"][0])} for each in more["negatives"]]
    check_false([*row["negatives"], *negatives], captions)
    row |= {
        "captions": captions,
        "negatives": row["negatives"] + negatives,
        "context": row["context"] if more["context"] is None else more["context"],
    }


def _check(record: Row) -> Row:
    """Id, captions, negatives and context of a record."""
    record = {name: value for name, value in record.items() if value is not None}
    if unknown := sorted(set(record) - set(COLUMNS)):
        columns = ", ".join(COLUMNS)
        raise RowError("unknown column", f"unknown column {quote(unknown[0])}, expected some of {columns}")
    if "file_name" not in record:
        raise RowError("no file name", "got no file_name, expected the path of an image")
    name = Path(clean_string(record["file_name"], "file_name")).as_posix()  # "./a//b.png" is "a/b.png"
    captions = _captions(record, name)
    negatives = [_negative(item) for item in _list(record.get("negatives", []), "negatives")]
    check_false(negatives, captions)
    context = clean_string(record["context"], "context") if "context" in record else None
    return {"id": name, "captions": captions, "negatives": negatives, "context": context}


def _captions(record: Row, name: str) -> list[str]:
    if "text" in record and "captions" in record:
        raise RowError("two caption columns", f"{quote(name)}: got text and captions, expected one of them")
    captions = [record["text"]] if "text" in record else _list(record.get("captions", []), "captions")
    if not captions:
        raise RowError("no caption", f"{quote(name)}: got no caption, expected text or captions")
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


# --- rows → splits ----------------------------------------------------------------------------------------------------


def split_photos(photos: Sequence[str], *, train: float, val: float, seed: int) -> dict[str, str]:
    """Assign each distinct photo to ``train``, ``val`` or ``test``.

    Args:
        photos: a digest per photo, repeats allowed; at least three distinct ones.
        train, val: shares of the distinct photos, see `jam.data.rows.cut_photos`.
        seed: another seed gives another split.
    """
    return cut_photos(photos, {"val": val, "test": 1 - train - val}, seed=seed)
