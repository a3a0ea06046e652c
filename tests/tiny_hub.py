"""Every family of hub models, tiny and random, in Hugging Face layout with a tokenizer or image processor."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from tiny_encoders import WORDS
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import AutoImageProcessor, PreTrainedTokenizerFast

SIDE = 16  # of images, after the processor; twice that for convnets, which halve it four times
WIDTH = 8
_BLOCKS = {"hidden_size": WIDTH, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
_PATCHES = {"image_size": SIDE, "patch_size": 8}
_HEADS = {"num_key_value_heads": 1, "head_dim": 4}
_TOWERS = {"projection_dim": 4}


@dataclass(frozen=True)
class Tiny:
    """A family: what is saved, and what extraction should make of it."""

    saved: str  # class that the hub's checkpoints have
    direct: str  # the one that gives the hidden states
    config: dict[str, Any]  # sizes
    pooling: str  # default
    processor: Any  # class of the image processor (its beginning) or tokenizer; or marks for any: begin, end, padding
    marks: int = 0  # tokens before the patches

    @property
    def modality(self) -> str:
        own_tokenizer = not isinstance(self.processor, str) or self.processor.endswith("Tokenizer")
        return "text" if own_tokenizer else "image"


def _vit(direct: str, saved: str, pooling: str = "cls", processor: str = "ViT", marks: int = 1, **config: Any) -> Tiny:
    return Tiny(saved, direct, {**_BLOCKS, **_PATCHES, **config}, pooling, processor, marks)


def _resnet(layer_type: str) -> Tiny:
    config = {**_CONV, "embedding_size": 8, "layer_type": layer_type}
    return Tiny("ResNetForImageClassification", "ResNetModel", config, "mean", "ConvNext")


def _bert(direct: str, saved: str, marks: tuple[str, ...] = ("[CLS]", "[SEP]", "[PAD]"), **config: Any) -> Tiny:
    return Tiny(saved, direct, {"max_position_embeddings": 32, **config}, "mean", marks)


def _decoder(direct: str, saved: str, begin: str | None, pad: str | None, **config: Any) -> Tiny:
    return Tiny(saved, direct, config, "last", (begin, None, pad))


_TWO = {"vision_config": {**_BLOCKS, **_PATCHES}, "text_config": {**_BLOCKS, "max_position_embeddings": 24}}
_CONV = {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 8, 16, 16]}
_DISTIL = {"dim": WIDTH, "hidden_dim": 16, "n_layers": 2, "n_heads": 2}
_DECODER = {f"decoder_{name}": size for name, size in _BLOCKS.items()}  # of MAE, which extraction leaves out

FAMILIES: dict[str, Tiny] = {
    # DINOv2 small, base and large differ in size alone; giant has another feed-forward layer.
    "dinov2": _vit("Dinov2Model", "Dinov2Model", processor="Bit", mlp_ratio=2),
    "dinov2_giant": _vit("Dinov2Model", "Dinov2Model", processor="Bit", mlp_ratio=2, use_swiglu_ffn=True),
    "dinov2_registers": _vit(
        "Dinov2WithRegistersModel", "Dinov2WithRegistersModel", processor="Bit", marks=5, num_register_tokens=4
    ),
    "vit": _vit("ViTModel", "ViTForImageClassification"),
    "mae": _vit("ViTMAEModel", "ViTMAEForPreTraining", "mean", **_DECODER),
    "clip_vision": Tiny("CLIPModel", "CLIPVisionModel", _TWO | _TOWERS, "cls", "CLIP", 1),
    "siglip_vision": Tiny("SiglipModel", "SiglipVisionModel", _TWO, "mean", "Siglip"),
    "convnext": Tiny("ConvNextForImageClassification", "ConvNextModel", _CONV, "mean", "ConvNext"),
    "resnet18": _resnet("basic"),
    "resnet50": _resnet("bottleneck"),
    "llama": _decoder("LlamaModel", "LlamaForCausalLM", "<bos>", None, **_BLOCKS, **_HEADS),
    "gemma2": _decoder("Gemma2Model", "Gemma2ForCausalLM", "<bos>", "<pad>", **_BLOCKS, **_HEADS, sliding_window=4),
    "olmo2": _decoder("Olmo2Model", "Olmo2ForCausalLM", None, "<pad>", **_BLOCKS),
    "qwen2": Tiny("Qwen2ForCausalLM", "Qwen2Model", {**_BLOCKS, "num_key_value_heads": 1}, "last", "Qwen2Tokenizer"),
    "bloom": _decoder("BloomModel", "BloomForCausalLM", None, "<pad>", hidden_size=WIDTH, n_layer=2, n_head=2),
    "pythia": _decoder("GPTNeoXModel", "GPTNeoXForCausalLM", None, None, **_BLOCKS, max_position_embeddings=48),
    "distilbert": _bert("DistilBertModel", "DistilBertForMaskedLM", **_DISTIL),
    "bert": _bert("BertModel", "BertForMaskedLM", **_BLOCKS),
    "minilm": _bert("BertModel", "BertModel", **_BLOCKS),
    "mpnet": _bert("MPNetModel", "MPNetForMaskedLM", ("<s>", "</s>", "<pad>"), **_BLOCKS, max_position_embeddings=34),
    "clip_text": Tiny("CLIPModel", "CLIPTextModel", _TWO | _TOWERS, "last", "CLIPTokenizer"),
}


def tokenizer(begin: str | None, end: str | None, pad: str | None, side: str) -> PreTrainedTokenizerFast:
    """Words, with marks of begin and end where the family has them; without a limit of length, as many are saved."""
    special = [*dict.fromkeys(token for token in ("<s>", "<pad>", begin, end, pad) if token), "<eos>", "<unk>"]
    vocabulary = {token: i for i, token in enumerate([*special, *WORDS])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    frame = " ".join(token for token in (begin, "$A", end) if token)
    words.post_processor = processors.TemplateProcessing(
        single=frame, special_tokens=[(token, vocabulary[token]) for token in (begin, end) if token]
    )
    own = {"bos_token": begin, "pad_token": pad, "eos_token": end or "<eos>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=words, padding_side=side, **{name: token for name, token in own.items() if token}
    )


def pieces(name: str) -> Any:
    """A tokenizer of a class of its own, of word pieces over bytes: Qwen's marks nothing, CLIP's begin and end."""
    suffix = {"end_of_word_suffix": "</w>"} if name == "CLIPTokenizer" else {}
    words = Tokenizer(models.BPE(**suffix))
    words.pre_tokenizer = pre_tokenizers.Sequence(
        [*([pre_tokenizers.Whitespace()] if suffix else []), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(initial_alphabet=alphabet, vocab_size=600, show_progress=False, **suffix)
    words.train_from_iterator([f"{word} {word}" for word in WORDS], trainer)
    learnt = json.loads(words.to_str())["model"]
    vocabulary = [*learnt["vocab"], *(letter + "</w>" for letter in alphabet if suffix)]
    vocabulary += ["<|startoftext|>", "<|endoftext|>"] if suffix else ["<|endoftext|>"]
    numbers = {token: i for i, token in enumerate(dict.fromkeys(vocabulary))}
    return getattr(hf, name)(vocab=numbers, merges=[tuple(pair) for pair in learnt["merges"]])


def save_tiny(folder: Path, family: str, side: str = "right", **sizes_of_model: Any) -> Path:
    """Write a model of the family with weights far from zero, so that every token and layer matters."""
    tiny = FAMILIES[family]
    config = json.loads(json.dumps(tiny.config))
    tower = "vision_config" if tiny.modality == "image" else "text_config"
    config.get(tower, config).update(sizes_of_model)
    if tiny.modality == "text":
        words = pieces(tiny.processor) if isinstance(tiny.processor, str) else tokenizer(*tiny.processor, side)
        words.padding_side = side
        words.save_pretrained(folder)
        numbers = {f"{name}_token_id": getattr(words, f"{name}_token_id") for name in ("pad", "bos", "eos")}
        config.get("text_config", config).update(numbers, vocab_size=len(words))
    else:
        pixels = sizes_of_model.get("image_size", SIDE)
        square = {"height": pixels, "width": pixels}
        cropped = {"size": {"shortest_edge": pixels}, "crop_size": square}
        sizes = {"Bit": cropped, "CLIP": cropped, "ConvNext": {"size": {"shortest_edge": 2 * SIDE}}}
        processor = getattr(hf, f"{tiny.processor}ImageProcessorPil")
        processor(**sizes.get(tiny.processor, {"size": square})).save_pretrained(folder)
    torch.manual_seed(0)
    saved = getattr(hf, tiny.saved)
    model = saved(saved.config_class(**config))
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    return folder


def direct_model(folder: Path, family: str) -> Any:
    """The model itself, by its class."""
    tiny = FAMILIES[family]
    options = {"mask_ratio": 0.0} if family == "mae" else {}
    return getattr(hf, tiny.direct).from_pretrained(folder, **options).eval()


def image_processor(folder: Path) -> Any:
    return AutoImageProcessor.from_pretrained(folder, backend="pil")
