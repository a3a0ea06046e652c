"""Encoders in a local folder of the Hugging Face layout: configuration, safetensors weights, processor or tokenizer."""

from pathlib import Path
from typing import Any

from jam.encoders.families import family_of, in_one_line, read_config
from jam.encoders.items import whole_number
from jam.encoders.manifest import MANIFEST, Manifest, Modality, Pooling, weights_sha256
from jam.errors import InputError
from jam.io import file_sha256, read_json

# What the Auto classes read beside the weights; never pickles, never code.
PATTERNS = ("*.json", "*.txt", "*.model")


def folder_manifest(
    folder: str | Path,
    modality: Modality | None = None,
    pooling: Pooling | None = None,
    max_tokens: int | None = None,
    projected: bool = False,
) -> Manifest:
    """Manifest of a local folder, its files pinned by their hashes; ``id`` is the path as it is given.

    Args:
        folder: with ``config.json``.
        modality: None to tell it from the files: an image-processor config, or a tokenizer.
        pooling: see `jam.encoders.pooling.pool`; None for the default of the architecture.
        max_tokens: see `Manifest`; None for what the model says of itself.
        projected: whether the last layer is to be the space that a two-tower model shares.

    Raises:
        InputError: no such folder, no safetensors weights, an architecture that is unknown, does not have that pooling
            or no shared space, or the modality is not to be told.
    """
    files = described_files(Path(folder))
    told: dict[str, Any] = {"id": str(folder), "source": "folder", "recipe": {"files": files}}
    return manifest_of(Path(folder), f"folder encoder {folder}", modality, pooling, max_tokens, projected, **told)


def folder_of(manifest: Manifest) -> Path:
    """The folder that ``manifest`` names; its weights are not verified here, see `jam.encoders.manifest.check_weights`.

    Raises:
        InputError: it is not there, or a file that describes the model is not the one that was pinned.
    """
    folder = Path(manifest.id)
    found, pinned = described_files(folder), manifest.recipe.get("files")
    if not isinstance(pinned, dict):
        raise InputError(f"encoder {folder}: recipe: files: got {pinned!r}, expected the hash of each")
    for name in sorted(found.keys() | pinned.keys()):
        if found.get(name) != pinned.get(name):
            got, expected = (files.get(name, "none") for files in (found, pinned))
            raise InputError(
                f"{folder / name}: got sha256 {got}, expected {expected}: the folder is another encoder now"
            )
    return folder


def described_files(folder: Path) -> dict[str, str]:
    """SHA-256 of the files that describe a model, by name; its weights have a hash of their own.

    Raises:
        InputError: the folder is none of the Hugging Face layout.
    """
    if not (folder / "config.json").is_file():
        raise InputError(f"folder encoder {folder}: found no config.json, expected a folder of the Hugging Face layout")
    paths = {path.name: path for pattern in PATTERNS for path in folder.glob(pattern) if path.name != MANIFEST}
    return {name: file_sha256(paths[name]) for name in sorted(paths)}


def manifest_of(
    folder: Path,
    where: str,
    modality: Modality | None,
    pooling: Pooling | None,
    max_tokens: int | None,
    projected: bool,
    **told: Any,
) -> Manifest:
    """Manifest of a folder from its files, see `folder_manifest`; ``where`` begins every error.

    ``told`` are the fields that do not follow from the files.
    """
    if modality is None:
        sees, reads = (folder / "preprocessor_config.json").is_file(), (folder / "tokenizer_config.json").is_file()
        if sees == reads:
            kinds = "an image processor and a tokenizer" if sees else "neither an image processor nor a tokenizer"
            raise InputError(f"{where}: found {kinds}; expected modality: image or text to be given")
        modality = "image" if sees else "text"
    with in_one_line(folder, f"{where}: transformers does not know it"):
        config = read_config(folder, modality)
    family = family_of(config)
    if projected:
        if family.joint is None:
            raise InputError(
                f"{where}: projected: got {config.model_type}, expected a tower of CLIP, ALIGN, BLIP, FLAVA or SigLIP, "
                "whose towers share a space"
            )
        told["recipe"] = {**told.get("recipe", {}), "projected": True}
    if family.maps and pooling not in (None, "mean"):
        raise InputError(f"{where}: got pooling {pooling!r} for feature maps, expected 'mean'")
    if modality == "text" and max_tokens is None and (limit := folder / "sentence_bert_config.json").is_file():
        with in_one_line(folder, where):
            max_tokens = read_json(limit).get("max_seq_length")  # sentence encoders are trained on shorter texts
            if max_tokens is not None:
                max_tokens = whole_number(max_tokens, f"{limit}: max_seq_length", 1)
    return Manifest(
        modality=modality,
        pooling=pooling or family.pooling,
        sha256=weights_sha256(folder),
        max_tokens=max_tokens,
        **told,
    )
