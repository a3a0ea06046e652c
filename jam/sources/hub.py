"""Published sets of images and captions: parquet files of the hub, or of a folder, whose columns the parameters name.

Any set of images and captions comes in by a few lines of parameters (`jam.params.HubData`): which files, which columns,
how the splits are told apart. No script of a set is run and nothing is fetched but the files that the patterns name.

- **One row an image.** Rows of one id (or, without an id column, of the same bytes) are one image: their captions and
  negatives are put together, as sets with a row a caption (SugarCrepe, some versions of COCO) need.
- **Splits** are those of the set (by file, or by a column as in Karpathy's), or cut by seed out of the training photos.
  A photo that a set has in two splits stays in the one that is held out further, test before val before train.
- **Hard negatives** are those of the set, or made by rule (`jam.sources.negatives`). Easy ones as for a folder.
- **Limits** count images, in the order of the files. Reading stops at the first new image beyond them, so that the rows
  of one image are together where they follow each other.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from jam.data.schema import SPLITS
from jam.errors import InputError
from jam.hub import snapshot
from jam.io import file_sha256
from jam.params import HubData
from jam.params.fields import SplitName
from jam.progress import Progress, silent
from jam.sources.files import Blob, ImageFolder, Spill
from jam.sources.mapping import read_id, read_image, read_sentences
from jam.sources.negatives import hard_negatives
from jam.sources.rows import (
    Loaded,
    Member,
    Problem,
    Row,
    RowError,
    checked_image,
    first_problem,
    merged,
    quote,
    split_up,
)
from jam.sources.tables import Table, look_up


@dataclass(frozen=True)
class LoadedHub(Loaded):
    """Rows by split, whose images wait in a temporary file, and where they come from.

    Attributes:
        origin: ``sets`` (repository and commit, or path), ``files`` (name, SHA-256), ``fingerprint`` (SHA-256 of the
            rows) and further counts; becomes a part of the summary.
        images: holds the bytes of the images; ``row["image"]["bytes"]`` says where.
    """

    origin: dict[str, Any]
    images: Spill

    def stored(self, split: str) -> Iterator[Row]:
        """The rows of a split with the bytes of their images, one in memory at a time."""
        for row in self.splits[split]:
            yield row | {"image": row["image"] | {"bytes": self.images.read(row["image"]["bytes"])}}

    def summary(self) -> dict[str, Any]:
        """Counts as for a folder, and the origin."""
        return super().summary() | self.origin


def load_hub(options: HubData, *, seed: int, scratch: str | Path, progress: Progress = silent) -> LoadedHub:
    """Read, check, merge and split a published set.

    Every image is decoded in full, see `jam.data.images.compact_image`. Captions are held in memory, images are not.

    Args:
        options: what to read and how.
        seed: of the cut into splits and of the negatives made here.
        scratch: an existing folder for the temporary file of the images.
        progress: wraps the files, see `jam.progress`.

    Raises:
        InputError: no such repository, folder, file or column; images that are not embedded; a bad row under
            ``errors: raise``; a split without images.
    """
    if options.images is not None and not Path(options.images).is_dir():
        raise InputError(f"{options.images}: no such folder, expected the images that columns.file names")
    sources = _sources(options)
    files = _files(options, sources)
    reader = _Reader(options, Spill(scratch))
    for split, table in progress(files, len(files), "dataset"):
        reader.read(table, split)

    problems = reader.problems
    if problems and options.errors == "raise":
        raise InputError(first_problem(problems))
    members = _once(reader.images)
    left_out = len(reader.images) - sum(map(len, members.values()))
    photos = {row["id"]: photo for row, photo in reader.images.values()}
    without = 0
    if options.negatives.source == "rules":
        for row, _ in (image for split in SPLITS for image in members[split]):
            row["negatives"] = hard_negatives(row["captions"], per_caption=options.negatives.per_caption, seed=seed)
            without += len(row["captions"]) - len({negative["of"] for negative in row["negatives"]})
    shares = {str(split): share for split, share in options.cut.items()}
    splits = split_up(members, shares, seed=seed, where=", ".join(sources), problems=problems)
    origin = {
        "passed_over": reader.passed_over,
        "in_two_splits": left_out,
        "captions_without_negative": without,
        "negatives": options.negatives.source,
        "sets": [{"id": name, "revision": root.name if options.repo else None} for name, root in sources.items()],
        "files": [{"name": table.name, "sha256": file_sha256(table.path)} for table in reader.tables],
        "fingerprint": _fingerprint(splits, photos),
    }
    return LoadedHub(splits, problems, reader.rows, origin, reader.spill)


# --- parameters → files -----------------------------------------------------------------------------------------------


def _sources(options: HubData) -> dict[str, Path]:
    """Where the files of each repository, at its commit, or of the folder lie."""
    if options.path is not None:
        root = Path(options.path)
        if not root.is_dir():
            raise InputError(f"{root}: no such folder, expected one with files like {_patterns(options)[0]}")
        return {root.as_posix(): root}
    return {repo: snapshot(repo, options.revision, "dataset", _patterns(options)) for repo in options.repo}


def _patterns(options: HubData) -> list[str]:
    return [pattern for patterns in options.files.values() for pattern in patterns]


def _files(options: HubData, sources: Mapping[str, Path]) -> list[tuple[SplitName, Table]]:
    """The files of each split, in the order of their names; ``*`` in a pattern matches ``/`` too, as on the hub."""
    present = [(name, Table(f"{source}/{name}", root / name)) for source, root in sources.items() for name in _in(root)]
    found: dict[Path, tuple[SplitName, Table]] = {}
    for split, patterns in options.files.items():
        for pattern in patterns:
            matched = [table for name, table in present if fnmatchcase(name, pattern)]
            if not matched:
                there = (", ".join(name for name, _ in present[:5]) or "no file") + (" …" if len(present) > 5 else "")
                where = ", ".join(sources)
                raise InputError(f"{where}: no file matches {quote(pattern)} (files.{split}); there is {there}")
            for table in matched:
                other, _ = found.setdefault(table.path, (split, table))
                if other != split:
                    raise InputError(f"{table.name}: is in files.{other} and files.{split}, expected it in one")
    return list(found.values())


def _in(root: Path) -> list[str]:
    """Names of the files below a folder, in order, without the hidden ones at its top."""
    names = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    return sorted(name for name in names if not name.startswith("."))


# --- files → images with their captions -------------------------------------------------------------------------------


class _Reader:
    """Reads tables into one row an image."""

    def __init__(self, options: HubData, spill: Spill) -> None:
        self.options, self.spill = options, spill
        self.images: dict[tuple[SplitName, str], Member] = {}  # by split and id
        self.problems: list[Problem] = []
        self.tables: list[Table] = []  # those read, if only in part
        self.rows = self.passed_over = 0
        folder = options.images
        self._folder = None if folder is None else ImageFolder(Path(folder), options.links, "dataset.hub.links")
        self._photo_of: dict[str, str] = {}  # by id, over all splits
        self._blobs: dict[str, Blob] = {}  # by photo
        self._counts: Counter[str] = Counter()  # images of each split
        self._closed: set[SplitName] = set()  # splits that reading is done with
        several = ((name, (paths,) if isinstance(paths, str) else paths or ()) for name, paths in options.columns)
        self._wanted = {path: f"columns.{name}" for name, paths in several for path in paths}
        if options.split is not None:
            self._wanted[options.split.column] = "split.column"

    def read(self, table: Table, split: SplitName) -> None:
        """Take up the rows of a table, which is one split's or (with ``options.split``) holds several."""
        possible = self.options.given if self.options.split else (split,)
        if self._closed.issuperset(possible):
            return
        before = self.rows
        for number, record in enumerate(table.rows(self._wanted), 1):
            try:
                own = self._split_of(record) if self.options.split else split
                if own is None:
                    self.passed_over += 1
                    continue
                if not self._take(record, own, table.name):
                    if all(map(self._is_full, possible)):
                        self._closed.update(possible)
                        break
                    continue
            except RowError as error:
                self.problems.append(Problem(f"{table.name}:{number}", error.reason, str(error)))
            self.rows += 1
        if self.rows > before:
            self.tables.append(table)

    def _is_full(self, split: SplitName) -> bool:
        limit = self.options.limit_of(split)
        return limit is not None and self._counts[split] >= limit

    def _split_of(self, record: Row) -> SplitName | None:
        assert self.options.split is not None
        value = str(look_up(record, self.options.split.column))
        return next((split for split in self.options.given if value in getattr(self.options.split, split)), None)

    def _take(self, record: Row, split: SplitName, table: str) -> bool:
        """Add a row to its image; False if that is a new one beyond the limit."""
        options = self.options
        try:
            data, name = read_image(record, options, self._folder, table)
            photo = hashlib.sha256(data).hexdigest()
            row_id = read_id(record, options) or photo[:16]
        except RowError:
            if self._is_full(split):
                return False  # of no image that is known, so beyond the limit
            raise
        known = self.images.get((split, row_id), (None,))[0]
        if known is None and self._is_full(split):
            return False
        if self._photo_of.get(row_id, photo) != photo:
            raise RowError("duplicate id", f"{quote(row_id)} has another image already, expected one image for an id")
        row = merged(known, read_sentences(record, options, table))
        if known is None:
            if photo not in self._blobs:
                stored = checked_image(data, name, image_size=options.max_side, max_pixels=options.max_pixels)
                self._blobs[photo] = self.spill.add(stored)
            known = {"id": row_id, "image": {"bytes": self._blobs[photo], "path": name}, "reality": None}
            self.images[split, row_id] = known, photo
            self._photo_of[row_id] = photo
            self._counts[split] += 1
        known |= row
        return True


# --- images → splits --------------------------------------------------------------------------------------------------


def _once(images: Mapping[tuple[SplitName, str], Member]) -> dict[str, list[Member]]:
    """The images by split, each photo in one split only: the one that is held out further."""
    keeps: dict[str, int] = {}  # number of the split by photo
    for (split, _), (_, photo) in images.items():
        keeps[photo] = max(keeps.get(photo, 0), SPLITS.index(split))
    members: dict[str, list[Member]] = {split: [] for split in SPLITS}
    for (split, _), image in images.items():
        if SPLITS[keeps[image[1]]] == split:
            members[split].append(image)
    return members


def _fingerprint(splits: dict[str, list[Row]], photos: dict[str, str]) -> str:
    """SHA-256 of all that the tables say; an image counts by its SHA-256 as published."""
    digest = hashlib.sha256()
    for split, rows in splits.items():
        for row in rows:
            told = {name: value for name, value in row.items() if name != "image"}
            digest.update(json.dumps([split, photos[row["id"]], told], sort_keys=True).encode() + b"\n")
    return digest.hexdigest()
