"""Where pairs come from: the embedded world, a folder, a published set."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import BeforeValidator, Field

from jam.params.fields import Count, Fraction, Name, Section, Seed, Share, SplitName, Strings, of_root


class CaveData(Section):
    """The embedded world: how many rows of each set, and the knobs of what occurs, how it looks and how it is told."""

    pretrain_images: Count  # images alone
    pretrain_text: Count  # documents alone, each a scene told in several sentences
    train: Annotated[int, Field(ge=2)]
    val: Annotated[int, Field(ge=2)]
    test: Annotated[int, Field(ge=2)]
    captions: Annotated[int, Field(ge=1, le=6)]  # of each item, and sentences of each document
    fine: Annotated[int, Field(ge=0)]  # scenes of the fine gallery; 0 for none
    edits: Annotated[int, Field(ge=1, le=20)]  # of each of these
    habitats: Annotated[int, Field(ge=0, le=100)]  # with statistics of their own; 0: all uniform, nothing co-occurs
    objects: Annotated[int, Field(ge=2, le=3)]  # things in a scene at most
    one_object: Annotated[float, Field(ge=0, le=0.1)]  # share of scenes with a single thing, of which there are few
    synonyms: Annotated[float, Field(gt=0, le=1)]  # chance of the common word: lower, and sentences are harder to guess
    mention: Annotated[float, Field(gt=0, le=1)]  # chance that a caption names a thing: lower, and it fits more images
    nuisance: Fraction  # strength of what is private to an image: ground, tint, noise, bars


class FolderData(Section):
    """A user's folder of images with ``metadata.jsonl`` or ``metadata.csv``; the rest of the rows is the test split.

    ``links`` are folders that links among the images may lead to, such as the cache of a hub's snapshots or of DVC.
    """

    train: Share
    val: Share
    max_pixels: Count
    max_side: Count
    errors: Literal["raise", "skip"]
    links: Strings = ()

    def _problems(self) -> Iterator[str]:
        if self.train + self.val >= 1:
            yield f"got train {self.train} and val {self.val}, expected shares that sum to less than 1"


class HubColumns(Section):
    """Which columns hold what.

    A column is named by its path: names and list positions joined by dots, where a name after a list is taken of each
    member (``sentences.raw``, ``tested_labels.0``). ``image`` holds encoded images; or ``file`` gives the name of an
    image file, in one column or the parts of its path in several. Without ``id`` an image is known by its bytes. The
    captions are those of all ``captions`` columns together. ``kind`` says what was changed in the ``negatives``.
    """

    image: str | None = None
    file: Strings = ()
    captions: Strings = ()
    id: str | None = None
    negatives: Strings = ()
    kind: str | None = None
    context: str | None = None
    labels: Strings = ()

    def _problems(self) -> Iterator[str]:
        if (self.image is None) == (not self.file):
            yield f"got image {self.image} and file {list(self.file)}, expected one of the two"


class HubSplit(Section):
    """The column that says which split a row is of, and its values; rows of other values are passed over."""

    column: str
    train: Strings
    val: Strings = ()
    test: Strings = ()


class HubNegatives(Section):
    """Hard negatives: those of the set, made by rule (at most so many from each caption), or none."""

    source: Literal["given", "rules", "none"]
    per_caption: Annotated[int, Field(ge=1, le=5)] = 1


class HubData(Section):
    """A published set of images and captions in parquet files (or SugarCrepe's JSON), on the hub or in a folder.

    ``files`` are patterns, by split; or those of one pool, whose rows ``split`` tells apart, or which are all of
    ``train``. Of ``train``, ``cut`` sets the shares of photos apart that make the splits not given. ``limit`` is a
    number of images, for each split or one for all; what is downloaded follows from ``files`` alone. ``images`` is a
    folder in which ``columns.file`` is looked up, with ``links`` as of a
    `FolderData`. ``template`` makes a caption of labels, which it names in braces.
    """

    repo: Strings = ()
    path: str | None = None
    revision: str = "main"
    files: Annotated[
        dict[SplitName, Strings], BeforeValidator(lambda value: value if isinstance(value, dict) else {"train": value})
    ]
    split: HubSplit | None = None
    cut: dict[Literal["val", "test"], Share] = Field(default_factory=dict)
    limit: Count | dict[SplitName, Count] | None = None
    columns: HubColumns
    images: str | None = None
    links: Strings = ()
    template: str | None = None
    negatives: HubNegatives
    max_pixels: Count = 100_000_000
    max_side: Count = 512
    errors: Literal["raise", "skip"] = "raise"

    def _problems(self) -> Iterator[str]:
        if bool(self.repo) == (self.path is not None):
            yield f"got repo {list(self.repo)} and path {self.path}, expected one of the two"
        if self.split is not None and set(self.files) != {"train"}:
            yield "files: got them by split, expected one list of patterns beside split"
        if sorted([*self.given, *self.cut]) != ["test", "train", "val"] or sum(self.cut.values()) >= 1:
            yield (
                f"got the splits {list(self.given)} and cut {self.cut}, expected train, val and test once each, train "
                "not cut, and shares that sum to less than 1"
            )
        if bool(self.columns.file) != (self.images is not None):
            yield "got one of images and columns.file, expected both or neither"
        if bool(self.columns.captions) == (self.template is not None):
            yield "got both or neither of columns.captions and template, expected one of the two"
        if unknown := set(re.findall(r"{(.*?)}", self.template or "")) - set(self.columns.labels):
            yield f"template: got {sorted(unknown)} in braces, expected names among columns.labels"
        if isinstance(self.limit, dict) and not set(self.limit) <= set(self.given):
            yield f"limit: got {list(self.limit)}, expected some of the splits given, {list(self.given)}"
        if (self.negatives.source == "given") != bool(self.columns.negatives):
            yield (
                f"got negatives.source {self.negatives.source} and columns.negatives {list(self.columns.negatives)}, "
                "expected such columns for given alone"
            )

    @property
    def given(self) -> tuple[SplitName, ...]:
        """The splits that the set itself makes."""
        if self.split is None:
            return tuple(self.files)
        return tuple(split for split in get_args(SplitName) if getattr(self.split, split))

    def limit_of(self, split: SplitName) -> int | None:
        """How many images of a given split to read at most; None for all."""
        return self.limit.get(split) if isinstance(self.limit, dict) else self.limit


class ArraysData(Section):
    """A user's own embeddings: of each modality a file that tells what its rows show (`jam.sources.arrays.ids_of`)."""

    train: Share
    val: Share
    rows: Annotated[dict[Name, str], Field(min_length=1)]

    def _problems(self) -> Iterator[str]:
        if self.train + self.val >= 1:
            yield f"got train {self.train} and val {self.val}, expected shares that sum to less than 1"


CAVE, HUB = "jam/world", "jam/sources/hub.py"


class Dataset(Section):
    """Section ``dataset``: where pairs come from.

    ``reads`` is what the source reads, a dependency of the stage: the user's folder of source ``folder``, so that a
    changed caption or photo runs the pipeline again; what holds the local ``hub.path`` and ``hub.images`` where there
    are such; else the source's code.
    """

    source: Literal["cave", "folder", "hub", "arrays"]
    reads: str
    seed: Seed
    cave: CaveData
    folder: FolderData
    hub: HubData | None = None
    arrays: ArraysData | None = None

    def _problems(self) -> Iterator[str]:
        if self.source in ("hub", "arrays") and getattr(self, self.source) is None:
            yield f"{self.source}: got none, expected this section with source {self.source}"
        local = [path for path in (self.hub.path, self.hub.images) if path] if self.source == "hub" and self.hub else []
        if self.source == "arrays" and self.arrays:
            local = list(self.arrays.rows.values())
        if self.source == "folder":
            fits, expected = of_root(self.reads) not in (CAVE, HUB), "your folder of images with its metadata"
        elif local:
            reads = Path(self.reads).absolute()
            fits, expected = all(Path(path).absolute().is_relative_to(reads) for path in local), " and ".join(local)
        else:
            expected = CAVE if self.source == "cave" else HUB
            fits = of_root(self.reads) == expected
        if not fits:
            yield f"reads: got {self.reads!r} with source {self.source}, expected {expected}"
