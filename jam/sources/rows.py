"""What the sources of found data share: checking rows, telling what is wrong, cutting photos into splits."""

import hashlib
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jam.data.images import ImageTooLargeError, compact_image
from jam.data.schema import SPLITS, write_world
from jam.errors import InputError

Row = dict[str, Any]
Member = tuple[Row, str]
"""A row of one image, and the digest of its photo."""

_UNSEEN = {"Cc", "Cf", "Zl", "Zp", "Zs"}  # controls such as NUL, zero-width characters, spaces
_BLANK = set("\u115f\u1160\u2800\u3164\uffa0")  # fillers of Hangul, and Braille without a dot


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
class Loaded:
    """Items by split with what is seen and said of them, rows of the source left out, and how many it has in all."""

    splits: dict[str, list[Row]]
    problems: list[Problem]
    rows: int

    def stored(self, split: str) -> Iterable[Row]:
        """The rows of a split as they are to be written."""
        return self.splits[split]

    def write(self, folder: str | Path) -> dict[str, Any]:
        """Write items and views into a folder, see `jam.data.schema`; return the summary."""
        write_world(folder, {split: self.stored(split) for split in self.splits})
        return self.summary()

    def summary(self) -> dict[str, Any]:
        """Count rows kept and dropped, and what each split holds."""
        kept = sum(len(rows) for rows in self.splits.values())
        return {
            "rows": self.rows,
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
    """The value without white space around it; a string in which something can be seen, and written as UTF-8.

    Raises:
        RowError: it is no such string.
    """
    if not isinstance(value, str):
        raise RowError("wrong type", f"{what}: got {type(value).__name__}, expected a string")
    value = value.strip()
    if all(character in _BLANK or unicodedata.category(character) in _UNSEEN for character in value):
        got = f"nothing but invisible characters ({value[:20]!a})" if value else "an empty string"
        raise RowError(f"empty {what}", f"{what}: got {got}")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise RowError("malformed row", f"{what}: got half a surrogate pair, expected text")
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


def merged(known: Row | None, more: Row) -> Row:
    """Captions, negatives, context and labels of two rows of one image, each sentence once.

    Raises:
        RowError: another context, other labels, or a negative of one that is a caption of the other.
    """
    first = known or {"captions": [], "negatives": [], "context": None, "labels": more["labels"]}
    if first["labels"] != more["labels"]:
        got = " and ".join("/".join(label["value"] for label in row["labels"]) or "none" for row in (first, more))
        raise RowError("two labels", f"got {got} for one image, expected the same labels in all its rows")
    captions = list(first["captions"])
    places = {normal(caption): place for place, caption in enumerate(captions)}
    for caption in more["captions"]:
        if places.setdefault(normal(caption), len(captions)) == len(captions):
            captions.append(caption)
    negatives = {normal(negative["text"]): negative for negative in first["negatives"]}
    for negative in more["negatives"]:
        of = places[normal(more["captions"][negative["of"]])]
        negatives.setdefault(normal(negative["text"]), negative | {"of": of})
    check_false(negatives.values(), captions)
    contexts = [row["context"] for row in (first, more) if row["context"] is not None]
    if len(set(contexts)) > 1:
        got = " and ".join(map(quote, contexts))
        raise RowError("two contexts", f"got the contexts {got} for one image, expected one")
    context = contexts[0] if contexts else None
    return {"captions": captions, "negatives": list(negatives.values()), "context": context, "labels": first["labels"]}


# --- rows → splits ----------------------------------------------------------------------------------------------------


LEAST = 5  # photos to validate on, and to test on: neighbours are sought among them


def cut_photos(photos: Iterable[str], shares: Mapping[str, float], *, seed: int) -> dict[str, str]:
    """Assign each distinct photo to one of the splits of ``shares``, or else to ``train``.

    The photos are ordered by a hash of seed and digest, then cut. So neither the order of the input nor a renamed
    file matters, and one more photo moves few of the others.

    Args:
        photos: a digest per photo, repeats allowed; at least one distinct photo for each share and for ``train``.
        shares: split → share of the distinct photos; counts are rounded; none is below 1, nor below `LEAST` if
            there are four times as many photos.
        seed: another seed gives another cut.
    """
    ordered = sorted(set(photos), key=lambda photo: hashlib.sha256(f"{seed}:{photo}".encode()).digest())
    names: list[str] = []
    for name, count in split_sizes(len(ordered), shares).items():
        names = [name] * count + names
    return dict(zip(ordered, names + ["train"] * (len(ordered) - len(names)), strict=True))


def split_sizes(photos: int, shares: Mapping[str, float]) -> dict[str, int]:
    """How many of some distinct photos `cut_photos` gives to each share."""
    sizes: dict[str, int] = {}
    for i, (name, share) in enumerate(shares.items()):
        least = LEAST if photos >= 4 * LEAST else 1
        sizes[name] = min(max(least, round(photos * share)), photos - sum(sizes.values()) - (len(shares) - i))
    return sizes


def split_up(
    members: Mapping[str, Sequence[Member]],
    shares: Mapping[str, float],
    *,
    seed: int,
    where: str,
    problems: Sequence[Problem],
) -> dict[str, list[Row]]:
    """Cut the splits of ``shares`` out of the training split, see `cut_photos`, and give every row an easy negative.

    Raises:
        InputError: too few photos for it, or a split without rows; ends with the first of the ``problems``.
    """
    dropped = f"; {first_problem(problems)}" if problems else ""
    cut, photos = ("train", *shares), {photo for _, photo in members["train"]}
    if len(photos) < len(cut):
        got = f"got {len(photos)} usable photos for {', '.join(cut)}, expected at least {len(cut)}"
        raise InputError(f"{where}: {got}{dropped}")
    split_of, rng = cut_photos(photos, shares, seed=seed), np.random.default_rng(seed)
    splits = {}
    for split in SPLITS:
        own = [m for m in members["train"] if split_of[m[1]] == split] if split in cut else members[split]
        if not own:
            raise InputError(f"{where}: got no usable image of split {split}, expected at least one{dropped}")
        splits[split] = with_easy_negatives(own, rng)
    return splits


def with_easy_negatives(members: Sequence[Member], rng: np.random.Generator) -> list[Row]:
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
