"""Labelled images of a user's folder, or of a published set: rows to train a probe on, and rows to test it on.

A folder has one subfolder a class; or a ``metadata.jsonl`` or ``metadata.csv`` whose rows have ``file_name`` and
``label`` (other columns are passed over). Copies of one file stay on one side of the cut, which follows from the seed
and the files alone.
"""

import csv
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from jam.data.images import decode_image
from jam.errors import InputError
from jam.params import HubData
from jam.params.downstream import LabelledFolder
from jam.sources.files import ImageFolder
from jam.sources.hub import load_hub
from jam.sources.rows import Row, RowError, checked_image, clean_string, cut_photos, quote

METADATA = ("metadata.jsonl", "metadata.csv")


class LabelledImage(NamedTuple):
    """An image, its label, and the SHA-256 of its file, or the id that a published set gives it."""

    image: Image.Image
    label: str
    photo: str


Parts = dict[str, list[LabelledImage]]
"""Images by ``train`` and ``test``."""


def labelled_folder(options: LabelledFolder, seed: int) -> Parts:
    """Read, check and split a folder of labelled images.

    Raises:
        InputError: no folder, no metadata and no subfolders, a bad row or image (named), one photo with two labels, or
            too few photos for two parts.
    """
    root = Path(options.path)
    if not root.is_dir():
        raise InputError(f"{root}: no such folder, expected labelled images (downstream.folder.path)")
    metadata = [root / name for name in METADATA if (root / name).is_file()]
    if len(metadata) > 1:
        raise InputError(f"{root}: got {' and '.join(METADATA)}, expected at most one")
    named = list(_of_metadata(metadata[0]) if metadata else _of_subfolders(root))
    folder = ImageFolder(root, options.links, "downstream.folder.links")
    found: dict[str, LabelledImage] = {}
    for where, name, label in named:
        try:
            data = folder.read(name)
            stored = checked_image(data, name, image_size=options.max_side, max_pixels=options.max_pixels)
        except RowError as error:
            raise InputError(f"{where}: {error}") from error
        photo = hashlib.sha256(data).hexdigest()
        known = found.setdefault(photo, LabelledImage(decode_image(stored), label, photo))
        if known.label != label:
            got = f"the labels {quote(known.label)} and {quote(label)}"
            raise InputError(f"{where}: {quote(name)}: got {got} for one photo, expected one")
    if len(found) < 2:
        raise InputError(f"{root}: got {len(found)} photos with a label, expected at least two, to train and to test")
    part_of = cut_photos(found, {"test": options.test}, seed=seed)
    return {part: [one for photo, one in found.items() if part_of[photo] == part] for part in ("train", "test")}


def labelled_hub(options: HubData, seed: int, scratch: str | Path) -> Parts:
    """A published set, whose first label column is the label; its training and validation images train.

    Raises:
        InputError: as `jam.sources.hub.load_hub`; or an image without a label.
    """
    loaded = load_hub(options, seed=seed, scratch=scratch)
    return {
        "train": [*_of_set(loaded.stored("train")), *_of_set(loaded.stored("val"))],
        "test": list(_of_set(loaded.stored("test"))),
    }


def _of_set(rows: Iterable[Row]) -> Iterator[LabelledImage]:
    for row in rows:
        if not row["labels"]:
            raise InputError(f"downstream.hub: image {row['id']!r} has no label, expected one of each")
        yield LabelledImage(decode_image(row["image"]["bytes"]), row["labels"][0]["value"], row["id"])


Named = tuple[str, str, str]
"""Where a row stands, the path of its image in the folder, its label."""


def _of_subfolders(root: Path) -> Iterator[Named]:
    """Every file of every subfolder but hidden ones, under the subfolder's name."""
    classes = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not classes:
        raise InputError(
            f"{root}: got no subfolder and none of {' or '.join(METADATA)}, expected one subfolder a class"
        )
    for folder in classes:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.name.startswith("."):
                yield str(root), path.relative_to(root).as_posix(), folder.name


def _of_metadata(path: Path) -> Iterator[Named]:
    """The rows of a file of metadata."""
    read: Callable[[str], Iterator[tuple[int, Row]]] = _csv_rows if path.suffix == ".csv" else _json_rows
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {' '.join(str(error).split())}, expected a readable file in UTF-8") from error
    try:
        for number, row in read(text):
            where = f"{path}:{number}"
            if missing := [name for name in ("file_name", "label") if row.get(name) in (None, "")]:
                raise InputError(
                    f"{where}: got no {' and no '.join(missing)}, expected file_name and label in each row"
                )
            value = row["label"]
            label = str(value) if isinstance(value, int) else value
            try:
                yield where, clean_string(row["file_name"], "file_name"), clean_string(label, "label")
            except RowError as error:
                raise InputError(f"{where}: {error}") from error
    except (csv.Error, json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{path}: got {' '.join(str(error).split())}, expected rows of metadata") from error


def _csv_rows(text: str) -> Iterator[tuple[int, Row]]:
    reader = csv.DictReader(text.splitlines(keepends=True), strict=True)
    for row in reader:
        yield reader.line_num, row


def _json_rows(text: str) -> Iterator[tuple[int, Row]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            row = json.loads(line)
            yield number, row if isinstance(row, dict) else {}
