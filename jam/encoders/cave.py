"""Encoders pretrained here, on one modality alone: what their trainings share, and the folder they are kept in."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from jam.encoders.families import quiet
from jam.encoders.manifest import KEYS, MANIFEST, Manifest, Modality, weights_sha256
from jam.encoders.pooling import Pooling
from jam.io import atomic_folder, replaceable

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def save_cave(
    folder: str | Path,
    model: "PreTrainedModel",
    processor: Any,
    *,
    name: str,
    modality: Modality,
    recipe: Mapping[str, Any],
    pooling: Pooling = "mean",
) -> Manifest:
    """Write a pretrained encoder in one step: Hugging Face layout plus ``encoder.json``.

    Equal weights give equal bytes, whatever the folder and the machine.

    Args:
        folder: new, empty, or that of another encoder, which is replaced.
        model: backbone or causal language model.
        processor: tokenizer or image processor.
        name: id of the encoder.
        modality: ``vision`` or ``text``.
        recipe: how it was trained, JSON-ready.
        pooling: see `jam.encoders.pooling.pool`.

    Raises:
        InputError: ``folder`` is a file, holds other things, or is the working folder or one above it.
    """
    with atomic_folder(replaceable(folder, MANIFEST, KEYS)) as part, quiet():
        model.save_pretrained(part)
        processor.save_pretrained(part)
        manifest = Manifest(
            id=name,
            modality=modality,
            source="cave",
            pooling=pooling,
            sha256=weights_sha256(part),
            recipe=dict(recipe),
        )
        manifest.write(part)
    return manifest


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Run a block with torch's global generators at ``seed``, and put them back afterwards.

    transformers draws initial weights, and modules draw dropout masks, from the global generators.
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def warm_up_then_cosine(
    optimizer: torch.optim.Optimizer, steps: int, warm_up: float
) -> torch.optim.lr_scheduler.LambdaLR:
    """Learning rate of each step: a linear rise over the share ``warm_up`` of the steps, then half a cosine to zero."""
    rise = max(1, round(warm_up * steps))

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * (step + 1 - rise) / (steps + 1 - rise)))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
