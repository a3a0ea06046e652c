"""From the name or the path of an encoder to its weights and its manifest."""

from pathlib import Path
from typing import Any

from jam.encoders.folder import folder_manifest, folder_of
from jam.encoders.hub import hub_folder, hub_manifest
from jam.encoders.manifest import GIVEN, MANIFEST, Manifest, Modality, check_weights
from jam.encoders.package import package_folder, package_manifest
from jam.encoders.registry import PACKAGES
from jam.errors import InputError


def find_encoder(
    name_or_path: str | Path, modality: Modality | None = None, projected: bool = False
) -> tuple[Path, Manifest]:
    """Folder of the weights, which are verified, and manifest; `Encoder.load` says what may be asked for."""
    path, name = Path(name_or_path), str(name_or_path)
    if path.is_dir():
        hugging_face = (path / "config.json").is_file() and not (path / MANIFEST).is_file()
        asked: dict[str, Any] = {"modality": modality, "projected": projected}
        manifest = folder_manifest(path, **asked) if hugging_face else Manifest.read(path)
    elif name in PACKAGES:
        manifest = package_manifest(name)
    elif name.count("/") == 1 and not name.startswith((".", "/")):
        manifest = hub_manifest(name, modality=modality, projected=projected)
    else:
        raise InputError(
            f"encoder: got {name!r}; expected a folder with {MANIFEST} or config.json, one of {sorted(PACKAGES)}, or "
            "a hub model owner/name"
        )
    if modality not in (None, manifest.modality):
        raise InputError(f"encoder {name}: got modality {modality!r}, expected {manifest.modality!r}, that it has")
    if projected and not manifest.projected:
        raise InputError(f"encoder {name}: got projected, expected a tower with a space that its model shares")
    if manifest.source in GIVEN:
        raise InputError(f"{path}: holds features that were given ({manifest.id}), expected a model that encodes")
    find = {"cave": lambda _: path, "package": package_folder, "hub": hub_folder, "folder": folder_of}
    folder = find[manifest.source](manifest)
    if (path / MANIFEST).is_file():  # else the manifest was made just now, of the weights that are there
        check_weights(folder, manifest)
    return folder, manifest
