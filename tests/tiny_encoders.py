"""Encoders small enough to build in a test, and items of random pictures and sentences."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from transformers import BertConfig, BertModel, GPT2Config, GPT2LMHeadModel, RegNetConfig, RegNetModel
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from jam.data.readers import IMAGE
from jam.data.schema import LABELS, described, write_table, write_world
from jam.pretrain.text import word_tokenizer
from jam.pretrain.training import save_cave

WORDS = ["red", "blue", "seven", "nine", "left", "right", "above", "small", "large", "is"]


def sentence(rng: np.random.Generator, longest: int = 12) -> str:
    return " ".join(rng.choice(WORDS, rng.integers(1, longest + 1)))


def picture(rng: np.random.Generator, side: int = 16) -> Image.Image:
    return Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8))


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def contents(folder: Path) -> dict[str, bytes]:
    """What the files below a folder hold."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def vision_folder(folder: Path, name: str = "tiny-vision", seed: int = 0) -> Path:
    """A random RegNet with five layers of widths 4, 4, 4, 8, 8 for images of 16 × 16."""
    torch.manual_seed(seed)
    config = RegNetConfig(
        embedding_size=4, hidden_sizes=[4, 4, 8, 8], depths=[1] * 4, groups_width=4, downsample_in_first_stage=False
    )
    processor = ViTImageProcessorPil(
        size={"height": 16, "width": 16}, image_mean=[0.5] * 3, image_std=[0.5] * 3, do_convert_rgb=True
    )
    save_cave(folder, RegNetModel(config), processor, name=name, modality="image", recipe={"seed": seed})
    return folder


def text_folder(folder: Path, architecture: str = "gpt2", pooling: Any = "mean", padding_side: str = "right") -> Path:
    """A random GPT-2 or BERT of width 8, with an embedding layer and two blocks."""
    torch.manual_seed(0)
    tokenizer = word_tokenizer(WORDS)
    tokenizer.padding_side = padding_side
    vocabulary = len(tokenizer)
    model: Any
    if architecture == "gpt2":
        model = GPT2LMHeadModel(GPT2Config(vocab_size=vocabulary, n_positions=64, n_embd=8, n_layer=2, n_head=2))
    else:
        sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
        model = BertModel(BertConfig(vocab_size=vocabulary, max_position_embeddings=64, **sizes))
    for parameter in model.parameters():  # far from zero, so that positions and neighbours matter
        parameter.data += 0.3 * torch.randn_like(parameter)
    save_cave(folder, model, tokenizer, name="tiny-text", modality="text", recipe={}, pooling=pooling)
    return folder


def random_rows(name: str, n: int, seed: int = 0, **columns: Any) -> list[dict[str, Any]]:
    """Random items; some texts occur more than once. ``columns`` replace those of every row."""
    rng = np.random.default_rng(seed)
    kinds = ("replace_object", "replace_attribute", "swap_attribute", "replace_relation")
    rows = []
    for i in range(n):
        negatives = [{"kind": kind, "tier": "hard", "text": sentence(rng), "of": 0} for kind in kinds]
        negatives.append({"kind": "scene", "tier": "easy", "text": sentence(rng, 1), "of": 0})
        color = str(rng.choice(["red", "blue"]))
        rows.append(
            {
                "id": f"{name}-{i:03d}",
                "image": {"bytes": png(picture(rng)), "path": f"{i}.png"},
                "captions": [sentence(rng) for _ in range(rng.integers(1, 4))],
                "negatives": negatives,
                "context": "",
                "labels": [{"name": "left_color", "value": color}, {"name": "right_color", "value": color}],
                "reality": [0.0],
                **columns,
            }
        )
    return rows


def write_rows(folder: Path, **splits: list[dict[str, Any]]) -> Path:
    """Write items and views of the splits into a folder."""
    write_world(folder, splits)
    return folder


PRETRAINING = described({"id": pa.string(), "image": IMAGE, "captions": pa.list_(pa.string()), "labels": LABELS})


def pretraining_table(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write what an encoder may be pretrained on."""
    write_table(path, PRETRAINING, ({name: row[name] for name in PRETRAINING.names} for row in rows))
    return path
