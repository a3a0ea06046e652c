"""`encoder.json`: what a frozen encoder is, where its weights lie, and how to know them again."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from jam.data.readers import READERS
from jam.encoders.pooling import POOLINGS, Pooling
from jam.errors import InputError
from jam.io import file_sha256, read_json, write_json

Modality = str  # one of `jam.data.readers`, or any name where features are given
Source = Literal["cave", "package", "hub", "arrays"]
SOURCES: tuple[Source, ...] = ("cave", "package", "hub", "arrays")
MANIFEST = "encoder.json"
KEYS = ("id", "modality", "source", "pooling", "sha256")  # that tell a manifest from other files of its name


@dataclass(frozen=True)
class Manifest:
    """A frozen encoder on paper.

    Attributes:
        id: model name; of a cave encoder, the name in params.
        modality: one of `jam.data.readers.READERS`; of given features, any.
        source: ``cave`` (weights beside the manifest), ``package`` (of the Python package index), ``hub``, or
            ``arrays``: features that are given, in the file that ``id`` names; nothing new can be encoded.
        pooling: how token or position states become one vector; see `jam.encoders.pooling.pool`.
        sha256: of the weights, see `weights_sha256`, or of the file of features; an encoder with another is refused.
        revision: the hub's commit, or the package and its version; None for cave.
        asked: the revision (branch, tag or commit) that was resolved to the hub's commit; None otherwise.
        max_tokens: texts are cut to this many tokens; None for the model's own limit.
        recipe: how a cave encoder was trained, or how a packaged one is fetched; empty otherwise.
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
                f"{folder}: expected an encoder folder with {MANIFEST}, found none (run the encoder stage)"
            )
        try:
            content = read_json(path)
            manifest = cls(**content)
        except (json.JSONDecodeError, UnicodeDecodeError, TypeError) as error:
            known = [item.name for item in fields(cls)]
            raise InputError(f"{path}: expected a JSON object with the keys {known}, got: {error}") from error
        choices: dict[str, tuple[str, ...]] = {"source": SOURCES, "pooling": POOLINGS}
        if manifest.source != "arrays":
            choices["modality"] = tuple(READERS)
        for key, allowed in choices.items():
            if (value := getattr(manifest, key)) not in allowed:
                raise InputError(f"{path}: {key}: got {value!r}, expected one of {list(allowed)}")
        limit = manifest.max_tokens
        if limit is not None and (not isinstance(limit, int) or limit < 1):
            raise InputError(f"{path}: max_tokens: got {limit!r}, expected null or a number from 1")
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
    cached = {"hub": folder.parents[1], "package": folder}.get(manifest.source)
    again = f"; delete {cached} to have it fetched again" if cached else ""
    try:
        sha256 = weights_sha256(folder)
    except InputError as error:
        raise InputError(f"{error}{again}") from error
    if sha256 != manifest.sha256:
        raise InputError(f"{folder}: got weights of sha256 {sha256}, expected {manifest.sha256} ({manifest.id}{again})")
