"""Encoders of the Hugging Face hub: downloaded once, pinned to a commit, then read from the local cache."""

from pathlib import Path

from jam.encoders.families import family_of, in_one_line, read_config
from jam.encoders.items import whole_number
from jam.encoders.manifest import Manifest, Modality, weights_sha256
from jam.encoders.pooling import Pooling
from jam.errors import InputError
from jam.hub import snapshot
from jam.io import read_json

# What the Auto classes read; never pickles, never code, and no copies in other formats, which lie in folders.
PATTERNS = ["*.json", "*.safetensors", "*.txt", "*.model"]
IGNORED = ["*/*"]


def hub_manifest(
    model_id: str,
    revision: str = "main",
    modality: Modality | None = None,
    pooling: Pooling | None = None,
    max_tokens: int | None = None,
) -> Manifest:
    """Manifest of a hub model ``owner/name``, its revision (branch, tag or commit) resolved to a commit.

    Args:
        modality: None to tell it from the files: an image-processor config, or a tokenizer.
        pooling: see `jam.encoders.pooling.pool`; None for the default of the architecture.
        max_tokens: see `Manifest`; None for what the model says of itself.

    Raises:
        InputError: not in the cache and not to be had, no safetensors weights, an architecture that is unknown or does
            not have that pooling, or the modality is not to be told.
    """
    folder = snapshot(model_id, revision, "model", PATTERNS, IGNORED)
    if modality is None:
        sees, reads = (folder / "preprocessor_config.json").is_file(), (folder / "tokenizer_config.json").is_file()
        if sees == reads:
            kinds = "an image processor and a tokenizer" if sees else "neither an image processor nor a tokenizer"
            raise InputError(f"hub encoder {model_id}: found {kinds}; expected modality: image or text to be given")
        modality = "image" if sees else "text"
    with in_one_line(folder, f"hub encoder {model_id}: transformers does not know it"):
        family = family_of(read_config(folder, modality))
    if family.maps and pooling not in (None, "mean"):
        raise InputError(f"hub encoder {model_id}: got pooling {pooling!r} for feature maps, expected 'mean'")
    if modality == "text" and max_tokens is None and (limit := folder / "sentence_bert_config.json").is_file():
        with in_one_line(folder, f"hub encoder {model_id}"):
            max_tokens = read_json(limit).get("max_seq_length")  # sentence encoders are trained on shorter texts
            if max_tokens is not None:
                max_tokens = whole_number(max_tokens, f"{limit}: max_seq_length", 1)
    return Manifest(
        id=model_id,
        modality=modality,
        source="hub",
        pooling=pooling or family.pooling,
        sha256=weights_sha256(folder),
        revision=folder.name,
        asked=revision,
        max_tokens=max_tokens,
    )


def hub_folder(manifest: Manifest) -> Path:
    """Folder of the local cache with the weights that ``manifest`` names, downloaded if need be, or an InputError."""
    return snapshot(manifest.id, manifest.revision or "main", "model", PATTERNS, IGNORED)
