"""What an architecture needs to be told beyond its Auto class: one table, and nothing else knows a family by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jam.encoders.manifest import Modality, Pooling
from jam.errors import InputError
from jam.io import read_json

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedConfig, PreTrainedModel

# JSON files beside the weights that describe a model
DESCRIPTIONS = ("config", "preprocessor_config", "tokenizer_config", "tokenizer", "sentence_bert_config")


def in_patch_order(model: PreTrainedModel, images: int) -> dict[str, Tensor]:
    """MAE keeps the patches of the lowest noise, sorted by it: rising noise keeps their order and draws nothing."""
    import torch

    patches: int = model.embeddings.patch_embeddings.num_patches  # type: ignore[union-attr,assignment]
    return {"noise": torch.arange(patches, dtype=torch.float32, device=model.device).expand(images, -1)}


@dataclass(frozen=True)
class Joint:
    """How a tower of a two-tower model becomes the vector that is compared with the other's.

    Attributes:
        summary: what it starts from: the model's own pooled output, or its first token.
        projection: the linear layer, by its name in the whole model's weights, that comes after; None for none.
    """

    summary: Literal["pooler", "cls"]
    projection: str | None = None


@dataclass(frozen=True)
class Family:
    """An architecture.

    Attributes:
        pooling: what its training made the best summary of an item.
        marks: tokens before the patches (CLS), which a mean over patches leaves out. Registers come on top.
        maps: its states are feature maps, which have no token to pick: they are averaged over positions alone.
        head: its output comes after one more convolution than its last hidden state, which is a layer of its own.
        reserved: entries of the position table that no token takes.
        config: changes to its configuration that feature extraction needs.
        inputs: further inputs, from the model and the number of items.
        joint: of a tower, see there.
        tower: the class of a tower that AutoModel does not know, and where its weights lie in the whole model's.
        full: texts are padded to the longest possible, and padding is read as text is, as in its training.
    """

    pooling: Pooling = "mean"
    marks: int = 0
    maps: bool = False
    head: bool = False
    reserved: int = 0
    config: Mapping[str, Any] = field(default_factory=dict)
    inputs: Callable[[PreTrainedModel, int], dict[str, Tensor]] | None = None
    joint: Joint | None = None
    tower: tuple[str, str] | None = None
    full: bool = False


FAMILIES: dict[str, Family] = {
    # Vision transformers whose loss is put on CLS.
    "dinov2": Family("cls", marks=1),
    "dinov2_with_registers": Family("cls", marks=1),
    "vit": Family("cls", marks=1),
    "clip_vision_model": Family("cls", marks=1, joint=Joint("pooler", "visual_projection")),
    # MAE puts no loss on CLS. It drops three patches of four, and shuffles the rest, unless told otherwise.
    "vit_mae": Family(marks=1, config={"mask_ratio": 0.0}, inputs=in_patch_order),
    # SigLIP has no CLS: its summary is a head, which the hidden layers have not.
    "siglip_vision_model": Family(joint=Joint("pooler")),
    # BLIP's comparable vectors are the projections of the model that was trained for retrieval.
    "blip_vision_model": Family(
        "cls", marks=1, joint=Joint("cls", "vision_proj"), tower=("BlipVisionModel", "vision_model")
    ),
    "flava_image_model": Family(
        "cls", marks=1, joint=Joint("cls", "image_projection"), tower=("FlavaImageModel", "image_model")
    ),
    "align_vision_model": Family(maps=True, joint=Joint("pooler"), tower=("AlignVisionModel", "vision_model")),
    "convnext": Family(maps=True),
    "resnet": Family(maps=True),
    "regnet": Family(maps=True),
    **dict.fromkeys(("efficientnet", "mobilenet_v2"), Family(maps=True, head=True)),
    # Decoders: only the last token has seen all of the text. The end-of-text token is the last one of CLIP's texts.
    **dict.fromkeys(("llama", "gemma2", "olmo2", "qwen2", "bloom", "gpt_neox", "gpt2"), Family("last")),
    "clip_text_model": Family("last", joint=Joint("pooler", "text_projection")),
    # Encoders: each token has seen all of the text; means of them are what sentence encoders are trained with.
    **dict.fromkeys(("bert", "distilbert"), Family()),
    "mpnet": Family(reserved=2),  # positions begin at padding's number plus one
    "siglip_text_model": Family(joint=Joint("pooler"), tower=("SiglipTextModel", "text_model"), full=True),
    # BERTs within two-tower models; that of BLIP can decode, too.
    "blip_text_model": Family(
        "cls",
        config={"is_decoder": False},
        joint=Joint("cls", "text_proj"),
        tower=("BlipTextModel", "text_encoder"),
    ),
    "flava_text_model": Family("cls", joint=Joint("cls", "text_projection"), tower=("FlavaTextModel", "text_model")),
    "align_text_model": Family("cls", joint=Joint("cls", "text_projection"), tower=("AlignTextModel", "text_model")),
}


def family_of(config: PreTrainedConfig) -> Family:
    """The family of a model; one that is not in the table is pooled as decoders if it is one, else as encoders."""
    decodes = any(name.endswith("ForCausalLM") for name in config.architectures or ())
    return FAMILIES.get(config.model_type, Family("last" if decodes else "mean"))


def marks_of(config: PreTrainedConfig) -> int:
    """Number of tokens before the patches: CLS and registers."""
    return family_of(config).marks + (getattr(config, "num_register_tokens", None) or 0)


def read_config(folder: Path, modality: Modality) -> PreTrainedConfig:
    """Configuration of a local folder, ready for feature extraction; of a two-tower model, that of one tower.

    Given to ``AutoModel``, the configuration of a tower makes it load that tower alone.
    Its errors are those of transformers, see `in_one_line`.
    """
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    towers = {"image": ("vision_config", "image_config"), "text": ("text_config",)}[modality]
    config = next((found for name in towers if (found := getattr(config, name, None)) is not None), config)
    for name, value in family_of(config).config.items():
        setattr(config, name, value)
    return config


@contextmanager
def quiet() -> Iterator[None]:
    """Run a block without the progress bars and warnings of transformers."""
    from transformers.utils import logging

    bars_shown, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars_shown:
            logging.enable_progress_bar()


@contextmanager
def in_one_line(folder: Path, what: str) -> Iterator[None]:
    """Run a block that reads ``folder``; whatever transformers raises becomes one line that begins with ``what``.

    Raises:
        InputError: names the JSON file that is broken, if one is, else gives the reason of transformers.
    """
    try:
        yield
    except Exception as error:  # of every kind, as they come from wherever a broken file is first made use of
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"{what}: {_broken_json(folder) or reason}") from error


def _broken_json(folder: Path) -> str | None:
    """Which of the files that describe a model is no JSON object, and why; None if all are."""
    for path in (folder / f"{name}.json" for name in DESCRIPTIONS):
        try:
            if path.is_file() and not isinstance(content := read_json(path), dict):
                return f"{path}: got {type(content).__name__}, expected a JSON object"
        except (OSError, ValueError) as error:
            return f"{path}: expected a JSON object, got: {error}"
    return None
