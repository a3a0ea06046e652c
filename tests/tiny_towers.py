"""Two-tower models, tiny and random, whole as the hub has them, with their processors."""

from pathlib import Path
from typing import Any

import torch
import transformers as hf
from tiny_hub import tokenizer

PROJECTED = 8  # width of the shared space, where it is not that of a tower
SAVED = {  # class that the hub's checkpoints have
    "clip": "CLIPModel",
    "siglip": "SiglipModel",
    "blip": "BlipForImageTextRetrieval",
    "align": "AlignModel",
    "flava": "FlavaForPreTraining",
}
PROCESSORS = {"clip": "CLIP", "siglip": "Siglip", "blip": "Blip", "align": "EfficientNet", "flava": "Flava"}


def config_of(family: str, words: Any, layers: int, scaled: float, width: int) -> Any:
    """Configuration of so many blocks a tower; of ALIGN's convnet depth is scaled, 3.1 being that of the real one."""
    blocks = {"hidden_size": width, "intermediate_size": 32, "num_hidden_layers": layers, "num_attention_heads": 2}
    patches = {**blocks, "image_size": 16, "patch_size": 8}
    numbers = {f"{name}_token_id": getattr(words, f"{name}_token_id") for name in ("pad", "bos", "eos", "sep")}
    texts = {**blocks, "max_position_embeddings": 24, "vocab_size": len(words), **numbers}
    both = {"text_config": texts, "vision_config": patches}
    if family == "clip":
        return hf.CLIPConfig(**both, projection_dim=PROJECTED)
    if family == "siglip":
        return hf.SiglipConfig(text_config={**texts, "projection_size": width}, vision_config=patches)
    if family == "blip":
        return hf.BlipConfig(**both, image_text_hidden_size=PROJECTED)
    if family == "align":
        convnet = {"image_size": 32, "width_coefficient": 0.2, "depth_coefficient": scaled, "hidden_dim": 64}
        return hf.AlignConfig(text_config=texts, vision_config=convnet, projection_dim=64)
    codes = {"hidden_size": 8, "num_groups": 1, "num_blocks_per_group": 1, "vocab_size": 8}
    how = {"text_config": texts, "image_config": patches, "multimodal_config": blocks, "image_codebook_config": codes}
    return hf.FlavaConfig(**how, hidden_size=width, projection_dim=PROJECTED, init_codebook=False)


def save_whole(folder: Path, family: str, layers: int = 2, scaled: float = 0.2, width: int = 16) -> Path:
    """Write a whole two-tower model of that very architecture, with its image processor and a tokenizer."""
    words = tokenizer("[CLS]", "[SEP]", "[PAD]", "right")
    words.model_max_length = 24
    words.save_pretrained(folder)
    side = 32 if family == "align" else 16
    square = {"height": side, "width": side}
    sizes = {"size": {"shortest_edge": side}, "crop_size": square} if family == "clip" else {"size": square}
    sizes |= {"crop_size": square} if family == "flava" else {}
    getattr(hf, f"{PROCESSORS[family]}ImageProcessorPil")(**sizes).save_pretrained(folder)
    torch.manual_seed(0)
    model = getattr(hf, SAVED[family])(config_of(family, words, layers, scaled, width))
    for name, weights in model.named_parameters():
        if weights.dim() > 1:
            weights.data += 0.2 * torch.randn_like(weights)
        elif "norm" not in name.lower():
            weights.data += 0.05 * torch.randn_like(weights)
    model.save_pretrained(folder)
    return folder
