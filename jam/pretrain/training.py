"""Encoders pretrained here, on one modality alone: what their trainings share, and the folder they are kept in."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from jam.encoders.families import quiet
from jam.encoders.manifest import CHECKPOINTS, KEYS, MANIFEST, Manifest, Modality, Pooling, weights_sha256
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
        checkpoints: percentages of the steps after which the model is kept as it is; 0 is before the first.
        device: where to train.
        progress: wraps the steps, see `jam.progress`.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    seed: int = 0
    checkpoints: Sequence[int] = ()
    device: torch.device | str = "cpu"
    progress: Progress = silent


@dataclass(frozen=True)
class Pretrained:
    """What a training gives.

    Attributes:
        model: as it ends.
        processor: its tokenizer or image processor.
        loss: mean of the last epoch, in nats.
        checkpoints: percentage of the training → weights of the model as it was then.
    """

    model: Any
    processor: Any
    loss: float
    checkpoints: Mapping[int, Mapping[str, Tensor]] = field(default_factory=dict)


def save_cave(
    folder: str | Path,
    model: "PreTrainedModel",
    processor: Any,
    *,
    name: str,
    modality: Modality,
    recipe: Mapping[str, Any],
    pooling: Pooling = "mean",
    checkpoints: Mapping[int, Mapping[str, Tensor]] | None = None,
) -> Manifest:
    """Write a pretrained encoder in one step: Hugging Face layout plus ``encoder.json``, see `Manifest`.

    Equal weights give equal bytes, whatever the folder and the machine. Another encoder in ``folder`` is replaced.
    ``recipe``, JSON-ready, says how this one was trained. Each checkpoint, weights by the percentage of the training,
    is an encoder folder of its own, ``checkpoints/PERCENTAGE``.

    Raises:
        InputError: ``folder`` is a file, holds other things, or is the working folder or one above it.
    """
    told: dict[str, Any] = {"name": name, "modality": modality, "recipe": recipe, "pooling": pooling}
    with atomic_folder(replaceable(folder, MANIFEST, KEYS)) as part:
        return write_cave(part, model, processor, **told, checkpoints=checkpoints)


def write_cave(
    folder: Path,
    model: "PreTrainedModel",
    processor: Any,
    *,
    name: str,
    modality: Modality,
    recipe: Mapping[str, Any],
    pooling: Pooling = "mean",
    checkpoints: Mapping[int, Mapping[str, Tensor]] | None = None,
) -> Manifest:
    """What `save_cave` does, into a folder that is there and that nobody reads yet."""

    def write(where: Path, name: str, recipe: Mapping[str, Any]) -> Manifest:
        with quiet():
            model.save_pretrained(where)
            processor.save_pretrained(where)
        digest = weights_sha256(where)
        manifest = Manifest(name, modality, "cave", pooling=pooling, sha256=digest, recipe=dict(recipe))
        manifest.write(where)
        return manifest

    manifest = write(folder, name, recipe)
    if checkpoints:
        last = {key: value.clone() for key, value in model.state_dict().items()}
        for percentage, weights in checkpoints.items():
            model.load_state_dict(weights)
            write(
                folder / CHECKPOINTS / str(percentage), f"{name} at {percentage} %", {**recipe, "trained": percentage}
            )
        model.load_state_dict(last)
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
    model: nn.Module,
) -> tuple[float, dict[int, dict[str, Tensor]]]:
    """`jam.fit.fit` all of ``module`` by AdamW, see `warm_up_then_cosine`.

    Args:
        module: in training mode, on its device.
        plan: the rows of each step of all epochs.
        loss_of: from these the sum of the losses, and of how many.
        training: epochs, learning rate, weight decay and progress.
        label: of the progress.
        warm_up: share of the steps in which the learning rate rises.
        betas: of AdamW.
        clip_norm: longest gradient.
        model: the part of the module that is kept at the checkpoints.

    Returns:
        The mean loss of the last epoch, and the checkpoints: percentage → weights, on the CPU.
    """
    kept: dict[int, dict[str, Tensor]] = {}
    ends = {round(part * len(plan) / 100): part for part in training.checkpoints}

    def keep(done: int) -> None:
        if done in ends:
            weights = model.state_dict().items()
            kept[ends[done]] = {name: weight.detach().to("cpu", copy=True).contiguous() for name, weight in weights}

    if not training.epochs:
        return math.nan, kept
    parameters = list(module.parameters())
    optimizer = torch.optim.AdamW(
        parameters, lr=training.learning_rate, weight_decay=training.weight_decay, betas=betas, fused=True
    )
    steps = iter(training.progress(plan, len(plan), label))
    last = len(plan) // training.epochs
    losses: list[Tensor] = []
    counts: list[int] = []

    def step(rows: Rows, epoch: int) -> Parts:
        keep(len(counts))
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
    return torch.stack(losses[-last:]).sum().item() / max(sum(counts[-last:]), 1), kept
