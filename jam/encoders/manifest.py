"""`encoder.json`: what a frozen encoder is, where its weights lie, and how to know them again."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from jam.data.readers import READERS
from jam.errors import InputError
from jam.io import file_sha256, read_json, write_json

Modality = str  # one of `jam.data.readers`, or any name where features are given
Source = Literal["cave", "package", "hub", "folder", "arrays", "control"]
SOURCES: tuple[Source, ...] = ("cave", "package", "hub", "folder", "arrays", "control")
Pooling = Literal["mean", "cls", "last"]
POOLINGS: tuple[Pooling, ...] = ("mean", "cls", "last")
GIVEN = ("arrays", "control")  # features without a model: nothing new can be encoded
MANIFEST = "encoder.json"
PROJECTION = "projection.safetensors"  # of a tower trained here, beside its weights
PROJECTED = ("projected", "projection_sha256")  # of a recipe: the last layer is a shared space, and its hash
CHECKPOINTS, SEEDS = "checkpoints", "seeds"  # folders beside the weights: PERCENTAGE of the training, further SEED
KEYS = ("id", "modality", "source", "pooling", "sha256")  # that tell a manifest from other files of its name


@dataclass(frozen=True)
class Manifest:
    """A frozen encoder on paper.

    Attributes:
        id: model name; of a cave encoder, the name in params.
        modality: one of `jam.data.readers.READERS`; of given features, any.
        source: ``cave`` (weights beside the manifest), ``package`` (of the Python package index), ``hub``,
            ``folder``: the one that ``id`` names; ``arrays``: features given in the file that ``id`` names; or
            ``control``: features computed by the rule that ``id`` names. Of the last two nothing new can be encoded.
        pooling: how token or position states become one vector; see `jam.encoders.pooling.pool`.
        sha256: of the weights, see `weights_sha256`, or of the file of features; an encoder with another is refused.
            Empty of a control.
        revision: the hub's commit, or the package and its version; None for cave.
        asked: the revision (branch, tag or commit) that was resolved to the hub's commit; None otherwise.
        max_tokens: texts are cut to this many tokens; None for the model's own limit.
        recipe: how a cave encoder was trained, how a packaged one is fetched, or what else of a folder is pinned; of a
            random twin its ``random_seed``, see `jam.encoders.twin`; of one cut short its ``depth``; of a tower whose
            last layer is the space that its model shares, ``projected`` (trained here: and the ``projection_sha256``).
            Empty otherwise.
    """

    id: str
    modality: Modality
    source: Source
    pooling: Pooling
    sha256: str
    revision: str | None = None
    max_tokens: int | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)
    asked: str | None = None

    @property
    def random_seed(self) -> int | None:
        """Of a random twin the seed of its weights, which ``sha256`` pins for cave alone; None of all others."""
        seed: int | None = self.recipe.get("random_seed")
        return seed

    @property
    def depth(self) -> int | None:
        """How many blocks of a transformer are run; None for all."""
        blocks: int | None = self.recipe.get("depth")
        return blocks

    @property
    def projected(self) -> bool:
        """Whether its last layer is the vector by which a two-tower model compares, see `jam.encoders.joint`."""
        return bool(self.recipe.get("projected"))

    def cut(self, depth: int) -> "Manifest":
        """Manifest of the same encoder without the blocks behind the first ``depth``."""
        return replace(self, recipe={**self.recipe, "depth": depth})

    def twin(self, seed: int) -> "Manifest":
        """Manifest of the random twin: the same encoder, its weights drawn from ``seed``."""
        return replace(self, recipe={**self.recipe, "random_seed": seed})

    def write(self, folder: Path) -> None:
        """Write ``encoder.json`` into ``folder``."""
        content = asdict(self)
        if self.asked is None:
            del content["asked"]
        write_json(folder / MANIFEST, content)

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Read ``encoder.json`` of ``folder``.

        Raises:
            InputError: it is missing, not JSON, or a field is missing, unknown or has a bad value.
        """
        path = folder / MANIFEST
        if not path.is_file():
            raise InputError(
                f"{folder}: expected an encoder folder with {MANIFEST} or config.json, found neither "
                "(run the encoder stage)"
            )
        try:
            content = read_json(path)
            manifest = cls(**content)
        except (json.JSONDecodeError, UnicodeDecodeError, TypeError) as error:
            known = [item.name for item in fields(cls)]
            raise InputError(f"{path}: expected a JSON object with the keys {known}, got: {error}") from error
        choices: dict[str, tuple[str, ...]] = {"source": SOURCES, "pooling": POOLINGS}
        if manifest.source not in GIVEN:
            choices["modality"] = tuple(READERS)
        for key, allowed in choices.items():
            if (value := getattr(manifest, key)) not in allowed:
                raise InputError(f"{path}: {key}: got {value!r}, expected one of {list(allowed)}")
        limit = manifest.max_tokens
        if limit is not None and (not isinstance(limit, int) or limit < 1):
            raise InputError(f"{path}: max_tokens: got {limit!r}, expected null or a number from 1")
        if not isinstance(manifest.recipe, dict):
            raise InputError(f"{path}: recipe: got {manifest.recipe!r}, expected a JSON object")
        seed = manifest.random_seed
        if seed is not None and (type(seed) is not int or not 0 <= seed < 2**64):
            raise InputError(f"{path}: recipe: random_seed: got {seed!r}, expected a whole number of 0 … 2^64 - 1")
        projected, digest = (manifest.recipe.get(key) for key in PROJECTED)
        if projected is not None and (projected is not True or (manifest.source == "cave") != isinstance(digest, str)):
            raise InputError(
                f"{path}: recipe: got projected {projected!r} and projection_sha256 {digest!r} with source "
                f"{manifest.source}, expected true, and the hash of {PROJECTION} with source cave alone"
            )
        blocks = manifest.depth
        if blocks is not None and (type(blocks) is not int or blocks < 1):
            raise InputError(f"{path}: recipe: depth: got {blocks!r}, expected a number from 1")
        return manifest


def weights_sha256(folder: Path) -> str:
    """SHA-256 of the safetensors weights in ``folder``.

    One file: its own SHA-256. Several shards: that of the lines "sha256  name" sorted by name, as sha256sum prints.

    Raises:
        InputError: there are no safetensors weights (pickled ones are never read), or not all shards of them.
    """
    single, sharded = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        return file_sha256(single)
    if sharded.is_file():
        try:
            shards = sorted(set(read_json(sharded)["weight_map"].values()))
            lines = "".join(f"{file_sha256(folder / shard)}  {shard}\n" for shard in shards)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{sharded}: expected a list of the shards beside it, got: {error}") from error
        return hashlib.sha256(lines.encode()).hexdigest()
    raise InputError(
        f"{folder}: expected model.safetensors, found none (pickled weights are never loaded; many models of the hub "
        "have a converted copy in a pull request: revision refs/pr/NUMBER)"
    )


def check_weights(folder: Path, manifest: Manifest) -> None:
    """InputError unless the weights in ``folder`` are those that ``manifest`` names."""
    again = ""
    if manifest.source in ("hub", "package"):
        cached = folder.parents[1] if manifest.source == "hub" else folder
        again = f"; delete {cached} to have it fetched again"
    try:
        sha256 = weights_sha256(folder)
    except InputError as error:
        raise InputError(f"{error}{again}") from error
    expected = manifest.recipe.get("projection_sha256")
    if expected is not None:
        path = folder / PROJECTION
        got = file_sha256(path) if path.is_file() else "none"
        if got != expected:
            raise InputError(f"{path}: got sha256 {got}, expected {expected} ({manifest.id})")
    if sha256 != manifest.sha256:
        raise InputError(f"{folder}: got weights of sha256 {sha256}, expected {manifest.sha256} ({manifest.id}{again})")
