"""Encoders of the Hugging Face hub: downloaded once, pinned to a commit, then read from the local cache."""

from pathlib import Path
from typing import Any

from jam.encoders import folder as local
from jam.encoders.manifest import Manifest, Modality, Pooling
from jam.hub import snapshot

# What the Auto classes read; no copies in other formats, which lie in folders.
PATTERNS = ["*.safetensors", *local.PATTERNS]
IGNORED = ["*/*"]


def hub_manifest(
    model_id: str,
    revision: str = "main",
    modality: Modality | None = None,
    pooling: Pooling | None = None,
    max_tokens: int | None = None,
    projected: bool = False,
) -> Manifest:
    """Manifest of a hub model ``owner/name``, its revision (branch, tag or commit) resolved to a commit.

    The other arguments are those of `jam.encoders.folder.folder_manifest`.

    Raises:
        InputError: not in the cache and not to be had, no safetensors weights, an architecture that is unknown or does
            not have that pooling, or the modality is not to be told.
    """
    folder = snapshot(model_id, revision, "model", PATTERNS, IGNORED)
    told: dict[str, Any] = {"id": model_id, "source": "hub", "revision": folder.name, "asked": revision}
    return local.manifest_of(folder, f"hub encoder {model_id}", modality, pooling, max_tokens, projected, **told)


def hub_folder(manifest: Manifest) -> Path:
    """Folder of the local cache with the weights that ``manifest`` names, downloaded if need be, or an InputError."""
    return snapshot(manifest.id, manifest.revision or "main", "model", PATTERNS, IGNORED)
