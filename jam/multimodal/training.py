"""Pretraining of two towers on pairs, and the folders they are kept in."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from jam.encoders.manifest import CHECKPOINTS, MANIFEST, PROJECTION, Manifest
from jam.errors import InputError
from jam.fit import seeded
from jam.io import file_sha256
from jam.multimodal.objective import PARTS, Objective
from jam.multimodal.pairs import Batch, Pairs
from jam.multimodal.towers import ImageTower, TextTower, image_model, image_processor, text_model
from jam.pretrain.distortions import shift
from jam.pretrain.training import Training, train, write_cave
from jam.pretrain.vision import MAX_SHIFT

WARM_UP = 0.1  # share of the steps in which the learning rate rises
CLIP_NORM = 1.0
BETAS = (0.9, 0.98)  # AdamW, as of CLIP's ViTs
MINIATURE = "a miniature objective: not the model it is named after, nor a replication of it"


@dataclass(frozen=True)
class PretrainedPair:
    """What a training gives.

    Attributes:
        towers: ``image`` and ``text``, as they end, in evaluation mode.
        processors: of each its image processor or tokenizer.
        loss: mean of the last epoch, all parts added.
        checkpoints: percentage of the training → weights of ``towers`` as they were then.
    """

    towers: nn.ModuleDict
    processors: Mapping[str, Any]
    loss: float
    checkpoints: Mapping[int, Mapping[str, Tensor]]


def pretrain_pairs(
    table: str | Path,
    *,
    objective: str,
    image: Mapping[str, Any],
    text: Mapping[str, Any],
    latent: int,
    pairs: int,
    wrong: float | None = None,
    **options: Any,
) -> PretrainedPair:
    """Pretrain an image tower and a text tower from scratch.

    Args:
        table: with ``id``, ``image`` and ``captions``, of which one is drawn at each step.
        objective: one of `jam.multimodal.objective.PARTS`.
        image, text: architectures, see `jam.params.multimodal`.
        latent: width of the shared space.
        pairs: the first so many rows.
        wrong: share of them whose captions are another pair's.
        options: see `jam.pretrain.training.Training`. A rest of rows smaller than a batch is left out of each epoch.

    Raises:
        InputError: fewer pairs, rows without image or caption, or images of different sizes.
        ValueError: no such objective, batches that do not fit the pairs, checkpoints that fall together, patches masked
            of a convnet.
    """
    training = Training(**options)
    if objective not in PARTS:
        raise ValueError(f"objective: got {objective!r}, expected one of {list(PARTS)}")
    if "mim" in PARTS[objective] and image["architecture"] != "vit":
        raise ValueError(f"image: got a {image['architecture']} with objective {objective}, expected a vit")
    if not 2 <= training.batch_size <= pairs:
        raise ValueError(f"batch_size: got {training.batch_size} of {pairs} pairs, expected 2 to as many as there are")
    steps = pairs // training.batch_size * training.epochs
    at = {round(part * steps / 100) for part in training.checkpoints if 0 <= part < 100}
    if len(at) < len(training.checkpoints):
        raise ValueError(
            f"checkpoints: got {list(training.checkpoints)} of {steps} steps, expected different ones below 100"
        )
    # One stream for each use, so that wrong captions change neither order nor draws.
    wronged, orders, drawn = (np.random.default_rng(one) for one in np.random.SeedSequence(training.seed).spawn(3))
    known = Pairs(table, pairs, wrong or 0.0, wronged)
    size, whole = known.pixels.shape[-2:], pairs // training.batch_size * training.batch_size
    plan = [rows for _ in range(training.epochs) for rows in _batches(orders.permutation(pairs)[:whole], training)]
    generator = torch.Generator().manual_seed(training.seed)

    def loss_of(rows: np.ndarray) -> tuple[Tensor, int]:
        batch = known.batch(rows, drawn)
        parts = shift(batch.pixels, MAX_SHIFT, generator), batch.tokens, batch.real, batch.same
        moved = Batch(*(part.to(training.device) for part in parts))
        return torch.stack(list(module(moved).values())).sum(), 1

    with seeded(training.seed, training.device):
        pixels, width = image_model(size, image)
        words = text_model(known.tokenizer, text)
        towers = ImageTower(pixels, width, latent), TextTower(words.model, text["width"], latent)
        module = Objective(objective, *towers, words, known.tokenizer, generator)
        module.to(training.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        told: dict[str, Any] = {"label": "pretrain pairs", "warm_up": WARM_UP, "betas": BETAS, "clip_norm": CLIP_NORM}
        loss, kept = train(module, plan, loss_of, training, model=module.towers, **told)
    module.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    processors = {"image": image_processor(size), "text": known.tokenizer}
    return PretrainedPair(module.towers.eval(), processors, loss, kept)


def write_towers(
    folder: str | Path,
    made: PretrainedPair,
    *,
    name: str,
    recipe: Mapping[str, Any],
    place: str = "",
) -> dict[str, Manifest]:
    """Write each tower as an encoder folder, ``image`` and ``text``, with its projection and its checkpoints.

    ``place`` is a folder below each of these, as of a further seed.

    Raises:
        InputError: a model lies there already.

    The projection lies in ``projection.safetensors`` beside the weights: ``weight`` (latent, width), which takes the
    pooled last state into the shared space. ``recipe`` says in ``encoder.json`` that there is one (``projected``) and
    what it is (``projection_sha256``), as the hash of the weights does not cover it.
    """
    folder, manifests = Path(folder), {}
    for modality in made.processors:
        if (there := folder / modality / place / MANIFEST).exists():
            raise InputError(f"{there}: got a folder that a model lies in, expected a new one")
    last = {key: value.clone() for key, value in made.towers.state_dict().items()}
    for modality, processor in made.processors.items():
        own = {**recipe, "miniature": MINIATURE}
        for percentage, weights in made.checkpoints.items():
            made.towers.load_state_dict(weights)
            where = folder / modality / place / CHECKPOINTS / str(percentage)
            told = {**own, "trained": percentage}
            write_tower(where, made.towers[modality], processor, f"{name} {modality} at {percentage} %", modality, told)
        made.towers.load_state_dict(last)
        told = {"name": f"{name} {modality}", "modality": modality, "recipe": own}
        manifests[modality] = write_tower(folder / modality / place, made.towers[modality], processor, **told)
    return manifests


def write_tower(
    folder: Path, tower: Any, processor: Any, name: str, modality: str, recipe: Mapping[str, Any]
) -> Manifest:
    """Write one tower as an encoder folder with its projection."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({"weight": tower.projection.weight.detach().contiguous()}, folder / PROJECTION)
    pinned = {**recipe, "projected": True, "projection_sha256": file_sha256(folder / PROJECTION)}
    return write_cave(folder, tower.model, processor, name=name, modality=modality, recipe=pinned)


def _batches(order: np.ndarray, training: Training) -> list[np.ndarray]:
    return np.split(order, len(order) // training.batch_size)
