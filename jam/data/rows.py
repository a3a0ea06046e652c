"""What the sources of found data share: checking rows, telling what is wrong, cutting photos into splits."""

import hashlib
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from jam.data.images import ImageTooLargeError, compact_image
from jam.errors import InputError

Row = dict[str, Any]


class RowError(Exception):
    """One row cannot be used: a reason to count by, and the detail in words."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True)
class Problem:
    """A row that cannot be used; ``str()`` gives its line."""

    where: str  # file and line, or file and row
    reason: str  # one of a few, for counting
    detail: str

    def __str__(self) -> str:
        return f"{self.where}: {self.detail}"


def first_problem(problems: Sequence[Problem]) -> str:
    """The first problem in words, and how many others there are."""
    others = len(problems) - 1
    return f"{problems[0]}" + (f" (and {others} more bad row{'s' if others > 1 else ''})" if others else "")


@dataclass(frozen=True)
class LoadedPairs:
    """Rows of the pairs table by split, and the rows of the source that were left out."""

    splits: dict[str, list[Row]]
    problems: list[Problem]

    def stored(self, split: str) -> Iterable[Row]:
        """The rows of a split as they are to be written."""
        return self.splits[split]

    def summary(self) -> dict[str, Any]:
        """Count rows kept and dropped, and what each split holds."""
        kept = sum(len(rows) for rows in self.splits.values())
        return {
            "rows": kept + len(self.problems),
            "kept": kept,
            "dropped": len(self.problems),
            "dropped_by_reason": dict(sorted(Counter(problem.reason for problem in self.problems).items())),
            "splits": {split: _count(rows) for split, rows in self.splits.items()},
        }


def _count(rows: Sequence[Row]) -> dict[str, Any]:
    negatives = [negative for row in rows for negative in row["negatives"]]
    kinds = Counter(negative["kind"] for negative in negatives if negative["tier"] == "hard")
    return {
        "rows": len(rows),
        "photos": len({row["image"]["bytes"] for row in rows}),
        "captions": sum(len(row["captions"]) for row in rows),
        "easy_negatives": sum(negative["tier"] == "easy" for negative in negatives),
        "hard_negatives": kinds.total(),
        "hard_negatives_by_kind": dict(sorted(kinds.items())),
    }


# --- cells ------------------------------------------------------------------------------------------------------------


def clean_string(value: Any, what: str) -> str:
    """The value without white space around it; a string that is not empty and can be written as UTF-8.

    Raises:
        RowError: it is no such string.
    """
    if not isinstance(value, str):
        raise RowError("wrong type", f"{what}: got {type(value).__name__}, expected a string")
    value = value.strip()
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise RowError("malformed row", f"{what}: got half a surrogate pair, expected text")
    if not any(character.isprintable() for character in value):  # NUL, zero-width space and their like show nothing
        got = f"nothing but invisible characters ({value[:20]!a})" if value else "an empty string"
        raise RowError(f"empty {what}", f"{what}: got {got}")
    return value


def check_false(negatives: Iterable[Row], captions: Iterable[str]) -> None:
    """Refuse a negative that is, but for case and spaces, one of the true captions.

    Raises:
        RowError: there is one.
    """
    own = {normal(caption) for caption in captions}
    for negative in negatives:
        if normal(negative["text"]) in own:
            raise RowError("negative is a caption", f"{quote(negative['text'])} is both a negative and a caption")


def read_inside(root: Path, name: str, links: Sequence[str] = ()) -> bytes:
    """Content of an image of a folder; a path or link that leaves the folder is an error.

    Args:
        root: the folder.
        name: relative to it.
        links: further folders that a soft link may lead into, such as the cache of a hub or of DVC.

    Raises:
        RowError: no such file, no file that can be read, or one outside ``root`` and ``links``.
    """
    path = Path(name)
    try:
        file = (root / path).resolve()
        inside = any(file.is_relative_to(place.resolve()) for place in (root, *map(Path, links)))
        if path.is_absolute() or ".." in path.parts or not inside:
            detail = f"{quote(name)} leads out of {root}, expected a path inside"
            if (root / path).is_symlink() and file.is_file():
                detail += f", or {file.parent} or a folder above it among dataset.folder.links"
            raise RowError("path outside the folder", detail)
        if file.is_dir():
            raise RowError("missing file", f"{quote(name)} is a folder, expected an image file")
        if not file.is_file():
            raise RowError("missing file", f"{quote(name)}: no such file in {root}{_meant(root, name)}")
        return file.read_bytes()
    except (OSError, RuntimeError, ValueError) as error:  # no permission, name too long; loop of links; NUL in a name
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise RowError("missing file", f"{quote(name)}: {reason}, expected a readable file") from error


def _meant(root: Path, name: str) -> str:
    """A file of the folder whose name differs in case, Unicode form or the kind of slash alone, as a question."""
    found = _by_form(root, root.stat().st_mtime_ns).get(_form(name), [])
    return f"; did you mean {quote(found[0])}?" if len(found) == 1 else ""


def _form(name: str) -> str:
    return unicodedata.normalize("NFC", name.replace("\\", "/")).casefold()


@lru_cache(maxsize=1)
def _by_form(root: Path, changed: int) -> dict[str, list[str]]:
    """The files of a folder by `_form`; listed once for all rows that name none, as long as it has not ``changed``."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for path in root.rglob("*"):
        found[_form(path.relative_to(root).as_posix())].append(path.relative_to(root).as_posix())
    return found


def checked_image(data: bytes, name: str, *, image_size: int, max_pixels: int) -> bytes:
    """The image as it is stored, see `jam.data.images.compact_image`.

    Raises:
        RowError: it does not decode in full, or has too many pixels.
    """
    try:
        return compact_image(data, image_size=image_size, max_pixels=max_pixels)
    except InputError as error:
        reason = "image too large" if isinstance(error, ImageTooLargeError) else "unreadable image"
        raise RowError(reason, f"{quote(name)}: {error}") from error


def quote(text: str) -> str:
    """The text in quotes, on one line and of at most 100 characters."""
    quoted = repr(text)  # keeps line breaks out of the message
    return quoted if len(quoted) <= 100 else f"{quoted[:97]}…'"


def normal(caption: str) -> str:
    """What two captions share that differ in case and spaces only."""
    return " ".join(caption.casefold().split())


# --- rows → splits ----------------------------------------------------------------------------------------------------


def cut_photos(photos: Iterable[str], shares: Mapping[str, float], *, seed: int) -> dict[str, str]:
    """Assign each distinct photo to one of the splits of ``shares``, or else to ``train``.

    The photos are ordered by a hash of seed and digest, then cut. So neither the order of the input nor a renamed
    file matters, and one more photo moves few of the others.

    Args:
        photos: a digest per photo, repeats allowed; at least one distinct photo for each share and for ``train``.
        shares: split → share of the distinct photos; counts are rounded, none is below 1.
        seed: another seed gives another cut.
    """
    ordered = sorted(set(photos), key=lambda photo: hashlib.sha256(f"{seed}:{photo}".encode()).digest())
    left = len(ordered)
    if left < len(shares) + 1:
        raise ValueError(f"photos: got {left} distinct ones, expected at least {len(shares) + 1}")
    names: list[str] = []
    for i, (name, share) in enumerate(shares.items()):
        count = min(max(1, round(len(ordered) * share)), left - (len(shares) - i))  # leaves one for each that follows
        names = [name] * count + names
        left -= count
    return dict(zip(ordered, names + ["train"] * left, strict=True))


def with_easy_negatives(members: Sequence[tuple[Row, str]], rng: np.random.Generator) -> list[Row]:
    """Rows of one split, each with one caption of another photo among its negatives, if there is a different one.

    Args:
        members: each row and the digest of its photo.
    """
    captions: dict[str, str] = {}  # the distinct captions of the split
    own: defaultdict[str, set[str]] = defaultdict(set)  # those of each photo, over all its rows
    for row, photo in members:
        for caption in row["captions"]:
            captions.setdefault(normal(caption), caption)
            own[photo].add(normal(caption))
    keys = list(captions)
    rows = []
    for row, photo in members:
        # of one more caption than the photo has, one at least is not its own
        drawn = rng.choice(len(keys), size=min(len(keys), len(own[photo]) + 1), replace=False)
        other = [captions[keys[i]] for i in drawn if keys[i] not in own[photo]]
        easy = [{"kind": "scene", "tier": "easy", "text": text, "of": 0} for text in other[:1]]
        rows.append(row | {"negatives": row["negatives"] + easy})
    return rows
