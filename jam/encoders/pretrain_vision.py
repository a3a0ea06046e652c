"""A small convnet pretrained on labelled images alone: no sentence is ever seen.

The backbone is a RegNet (Radosavovic et al. 2020, arXiv 2003.13678) with a 3 × 3 stem and squeeze-and-excitation
("Y"). It is trained by classification: one linear head for each label on the mean of the last feature map, all heads'
cross-entropies added. The heads are thrown away.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jam.data.images import decode_image
from jam.data.schema import read_pairs
from jam.encoders.cave import seeded, warm_up_then_cosine
from jam.errors import InputError
from jam.progress import Progress, silent

if TYPE_CHECKING:
    from transformers import RegNetModel

GROUP_WIDTH = 16  # channels that a 3 × 3 convolution mixes: fast on a CPU, and reads digits as well as wider groups
MAX_SHIFT = 2  # pixels of random translation; more could move a thing to another height
WARM_UP = 0.2  # share of the steps in which the learning rate rises


@dataclass(frozen=True)
class PretrainedVision:
    """What `pretrain_vision` gives: the backbone, its image processor, and the mean loss of the last epoch (nats)."""

    model: "RegNetModel"
    processor: Any
    loss: float


def pretrain_vision(
    images: str | Path,
    *,
    widths: Sequence[int] = (64, 128, 256, 512),
    depths: Sequence[int] = (1, 1, 1, 1),
    epochs: int = 3,
    batch_size: int = 64,
    learning_rate: float = 3e-3,
    weight_decay: float = 0.05,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
) -> PretrainedVision:
    """Pretrain an image encoder from scratch.

    Args:
        images: pairs table with images, all of one size, and labels, the same names in every row.
        widths: channels of the stages; the stem has as many as the first.
        depths: blocks of each stage.
        epochs: passes over the table; a rest smaller than a batch is left out of each.
        batch_size: images a step.
        learning_rate: of AdamW at its peak; it rises linearly, then falls as half a cosine.
        weight_decay: of AdamW.
        seed: of weights, order and augmentation. Same seed and thread count, same weights on a CPU.
        device: where to train.
        progress: wraps the steps, see `jam.progress`.

    Raises:
        InputError: rows without image or labels, images of different sizes, or fewer rows than a batch.
    """
    from transformers import RegNetConfig, RegNetModel
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    device = torch.device(device)
    pixels, targets, classes = _read(Path(images))
    if len(pixels) < batch_size:
        raise InputError(f"{images}: got {len(pixels)} images, expected at least one batch of {batch_size}")
    height, width = pixels.shape[2:]
    # The same arithmetic as `_normalize`; images of another size are brought to this one.
    processor = ViTImageProcessorPil(
        size={"height": height, "width": width}, image_mean=[0.5] * 3, image_std=[0.5] * 3, do_convert_rgb=True
    )
    config = RegNetConfig(
        embedding_size=widths[0],
        hidden_sizes=list(widths),
        depths=list(depths),
        groups_width=GROUP_WIDTH,
        layer_type="y",
        downsample_in_first_stage=False,
    )
    steps = epochs * (len(pixels) // batch_size)
    generator = torch.Generator().manual_seed(seed)
    with seeded(seed, device):
        model = RegNetModel(config)
        model = cast(Any, model).to(device=device, memory_format=torch.channels_last)
        heads = nn.Linear(widths[-1], sum(classes)).to(device)
        parameters = [*model.parameters(), *heads.parameters()]
        optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay)
        schedule = warm_up_then_cosine(optimizer, steps, WARM_UP)
        pixels, targets = pixels.to(device), targets.to(device)
        losses = []
        model.train()
        for rows in progress(_epochs(len(pixels), epochs, batch_size, generator), steps, "pretrain vision"):
            batch = _shift(_normalize(pixels[rows.to(device)]), generator)
            logits = heads(model(batch).pooler_output.flatten(1)).split(classes, dim=1)
            loss = torch.stack(
                [
                    F.cross_entropy(score, target)
                    for score, target in zip(logits, targets[rows.to(device)].T, strict=True)
                ]
            ).sum()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.detach())
    last = torch.stack(losses[-(steps // epochs) :]).mean().item()
    model = cast(Any, model).to(device="cpu", memory_format=torch.contiguous_format)
    return PretrainedVision(model.eval(), processor, last)


def _read(path: Path) -> tuple[Tensor, Tensor, list[int]]:
    """Pixels (n, 3, h, w) uint8, class numbers (n, heads), and the number of classes of each head."""
    table = read_pairs(path, ["id", "image", "labels"])
    ids = table.column("id").to_pylist()
    pixels: list[np.ndarray] = []
    for row_id, image in zip(ids, table.column("image").to_pylist(), strict=True):
        if image is None or image["bytes"] is None:
            raise InputError(f"{path}: {row_id}: got no image, expected one in every row to pretrain on")
        pixels.append(np.asarray(decode_image(image["bytes"])))
        if pixels[-1].shape != pixels[0].shape:
            got, expected = pixels[-1].shape[:2], pixels[0].shape[:2]
            raise InputError(f"{path}: {row_id}: got an image of {got} pixels, expected {expected} as of {ids[0]}")
    labels = [{label["name"]: label["value"] for label in row or []} for row in table.column("labels").to_pylist()]
    targets, classes = _class_numbers(path, ids, labels)
    stacked = np.stack(pixels) if pixels else np.empty((0, 1, 1, 3), np.uint8)
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).contiguous(), targets, classes


def _class_numbers(path: Path, ids: Sequence[str], labels: Sequence[Mapping[str, str]]) -> tuple[Tensor, list[int]]:
    """Class numbers (n, heads) by sorted label name and value, and the number of classes of each head."""
    names = sorted(labels[0]) if labels else []
    for row_id, row in zip(ids, labels, strict=True):
        if not row or sorted(row) != names:
            raise InputError(f"{path}: {row_id}: got labels {sorted(row)}, expected {names or 'some'} in every row")
    values = {name: sorted({row[name] for row in labels}) for name in names}
    numbers = {name: {value: i for i, value in enumerate(values[name])} for name in names}
    targets = torch.tensor([[numbers[name][row[name]] for name in names] for row in labels], dtype=torch.long)
    return targets, [len(values[name]) for name in names]


def _epochs(n: int, epochs: int, batch_size: int, generator: torch.Generator) -> "list[Tensor]":
    """Row numbers of every step, (batch_size,) each, shuffled anew each epoch."""
    per_epoch = n // batch_size
    return [
        rows
        for _ in range(epochs)
        for rows in torch.randperm(n, generator=generator)[: per_epoch * batch_size].split(batch_size)
    ]


def _normalize(pixels: Tensor) -> Tensor:
    """(b, 3, h, w) uint8 → float32 in [−1, 1], channels last: a third faster on a CPU."""
    return (pixels.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def _shift(batch: Tensor, generator: torch.Generator) -> Tensor:
    """Move each image by up to ``MAX_SHIFT`` pixels each way, its edge repeated; (b, 3, h, w) → same."""
    b, _, height, width = batch.shape
    padded = F.pad(batch, (MAX_SHIFT,) * 4, mode="replicate")
    down, right = torch.randint(0, 2 * MAX_SHIFT + 1, (2, b, 1), generator=generator)
    rows = (down + torch.arange(height))[:, :, None].to(batch.device)
    columns = (right + torch.arange(width))[:, None, :].to(batch.device)
    items = torch.arange(b, device=batch.device)[:, None, None]
    return padded[items, :, rows, columns].permute(0, 3, 1, 2)  # indexing gives (b, h, w, 3): channels last already
