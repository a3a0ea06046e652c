"""Encoders pretrained here, on one modality alone: what their trainings share, and the folder they are kept in."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from jam.encoders.families import quiet
from jam.encoders.manifest import KEYS, MANIFEST, Manifest, Modality, weights_sha256
from jam.encoders.pooling import Pooling
from jam.fit import Parts, fit, warm_up_then_cosine
from jam.io import atomic_folder, replaceable
from jam.progress import Progress, silent

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Rows = TypeVar("Rows")


@dataclass(frozen=True)
class Training:
    """What the trainings of both modalities are told.

    Attributes:
        epochs: passes over the table.
        batch_size: rows a step.
        learning_rate: of AdamW at its peak.
        weight_decay: of AdamW.
        seed: of all that is drawn. Same seed and thread count, same weights on a CPU.
        device: where to train.
        progress: wraps the steps, see `jam.progress`.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    seed: int = 0
    device: torch.device | str = "cpu"
    progress: Progress = silent


@dataclass(frozen=True)
class Pretrained:
    """What a training gives: the model, its tokenizer or image processor, and the last epoch's mean loss (nats)."""

    model: Any
    processor: Any
    loss: float


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
    """Write a pretrained encoder in one step: Hugging Face layout plus ``encoder.json``, see `Manifest`.

    Equal weights give equal bytes, whatever the folder and the machine. Another encoder in ``folder`` is replaced.
    ``recipe``, JSON-ready, says how this one was trained.

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


def train(
    module: nn.Module,
    plan: Sequence[Rows],
    loss_of: Callable[[Rows], tuple[Tensor, int]],
    training: Training,
    *,
    label: str,
    warm_up: float,
    betas: tuple[float, float] = (0.9, 0.999),
    clip_norm: float = math.inf,
) -> float:
    """`jam.fit.fit` all of ``module`` by AdamW, see `warm_up_then_cosine`; return the mean loss of the last epoch.

    Args:
        module: in training mode, on its device.
        plan: the rows of each step of all epochs.
        loss_of: from these the sum of the losses, and of how many.
        training: epochs, learning rate, weight decay and progress.
        label: of the progress.
        warm_up: share of the steps in which the learning rate rises.
        betas: of AdamW.
        clip_norm: longest gradient.
    """
    parameters = list(module.parameters())
    optimizer = torch.optim.AdamW(
        parameters, lr=training.learning_rate, weight_decay=training.weight_decay, betas=betas
    )
    steps = iter(training.progress(plan, len(plan), label))
    last = len(plan) // training.epochs
    losses, counts = [], []

    def step(rows: Rows, epoch: int) -> Parts:
        loss, count = loss_of(rows)
        losses.append(loss.detach())
        counts.append(count)
        return {"loss": loss / max(count, 1)}  # a small batch may have no word masked

    fit(
        module,
        lambda epoch: islice(steps, last),
        step,
        epochs=training.epochs,
        optimizer=optimizer,
        schedule=warm_up_then_cosine(optimizer, len(plan), warm_up),
        clip=[(parameters, clip_norm)] if clip_norm < math.inf else [],
    )
    next(steps, None)  # the progress ends
    return torch.stack(losses[-last:]).sum().item() / max(sum(counts[-last:]), 1)
