"""Encoders of the Hugging Face hub: downloaded once, pinned to a commit, then read from the local cache."""

from pathlib import Path

from jam.encoders.manifest import Manifest, Modality, weights_sha256
from jam.encoders.pooling import Pooling
from jam.errors import InputError

# What the Auto classes read; never pickles, never code.
PATTERNS = ["*.json", "*.safetensors", "*.txt", "*.model"]


def hub_manifest(
    model_id: str,
    revision: str = "main",
    modality: Modality | None = None,
    pooling: Pooling = "mean",
    max_tokens: int | None = None,
) -> Manifest:
    """Manifest of a hub model, its revision (branch, tag or commit) resolved to a commit.

    Args:
        model_id: ``owner/name``.
        revision: branch, tag or commit.
        modality: None to tell it from the files: an image-processor config, or a tokenizer.
        pooling: see `jam.encoders.pooling.pool`.
        max_tokens: see `Manifest`.

    Raises:
        InputError: not in the cache and not to be had, no safetensors weights, or the modality is not to be told.
    """
    folder = _snapshot(model_id, revision)
    if modality is None:
        sees, reads = (folder / "preprocessor_config.json").is_file(), (folder / "tokenizer_config.json").is_file()
        if sees == reads:
            kinds = "an image processor and a tokenizer" if sees else "neither an image processor nor a tokenizer"
            raise InputError(f"hub encoder {model_id}: found {kinds}; expected modality: vision or text to be given")
        modality = "vision" if sees else "text"
    return Manifest(
        id=model_id,
        modality=modality,
        source="hub",
        pooling=pooling,
        sha256=weights_sha256(folder),
        revision=folder.name,
        max_tokens=max_tokens,
    )


def hub_folder(manifest: Manifest) -> Path:
    """Folder of the local cache with the weights that ``manifest`` names, downloaded if need be.

    Raises:
        InputError: not in the cache and not to be had.
    """
    return _snapshot(manifest.id, manifest.revision or "main")


def _snapshot(model_id: str, revision: str) -> Path:
    """The cache's folder ``…/snapshots/COMMIT`` of a model, from the cache alone where it has it."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model_id, revision=revision, allow_patterns=PATTERNS, local_files_only=True))
    except HFValidationError as error:
        raise InputError(f"hub encoder: got {model_id!r}, expected owner/name") from error
    except LocalEntryNotFoundError:
        pass
    try:
        return Path(snapshot_download(model_id, revision=revision, allow_patterns=PATTERNS))
    except Exception as error:  # no such model, no right to it, no network: each library below has its own classes
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"hub encoder {model_id}@{revision}: not in the local cache and not to be downloaded ({reason}); "
            "expected a connection to huggingface.co once, or take an encoder of source cave or package"
        ) from error
