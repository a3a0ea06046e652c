"""A small convnet pretrained on images alone: no sentence is ever seen.

The backbone is a RegNet (Radosavovic et al. 2020, arXiv 2003.13678) with a 3 × 3 stem and squeeze-and-excitation
("Y"). It is trained through the mean of its last feature map, for one of two objectives. ``labels`` is classification:
one linear head for each label, all heads' cross-entropies added. ``contrastive`` tells scenes apart by two renderings
of each, see `jam.encoders.pretrain_views`. Heads are thrown away.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import pyarrow as pa
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jam.data.cave.scenes import SIDES
from jam.data.images import decode_image
from jam.data.schema import read_pairs
from jam.encoders.cave import seeded, warm_up_then_cosine
from jam.encoders.pretrain_views import ViewLoss, neighbour_batches, one_attribute_apart
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
    objective: Literal["labels", "contrastive"],
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
        images: pairs table with images, all of one size, and labels, the same names in every row. For the contrastive
            objective, ``views.parquet`` beside it holds another image for each row, in the same order, and no two rows
            have the same labels.
        objective: ``labels`` or ``contrastive``.
        widths: channels of the stages; the stem has as many as the first.
        depths: blocks of each stage.
        epochs: passes over the table; a rest smaller than a batch is left out of each.
        batch_size: images a step; scenes a step, of two images each, for the contrastive objective.
        learning_rate: of AdamW at its peak; it rises linearly, then falls as half a cosine.
        weight_decay: of AdamW.
        seed: of weights, order and augmentation. Same seed and thread count, same weights on a CPU.
        device: where to train.
        progress: wraps the steps, see `jam.progress`.

    Raises:
        InputError: rows without image or labels, images of different sizes, or fewer rows than a batch. Contrastive:
            no views, views of other rows, or two rows with the same labels.
    """
    from transformers import RegNetConfig, RegNetModel
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    device = torch.device(device)
    images = Path(images)
    table = read_pairs(images, ["id", "image", "labels"])
    ids = table.column("id").to_pylist()
    targets, classes = _class_numbers(images, ids, table.column("labels").to_pylist())
    pixels = _pixels(images, table)[None]
    if len(ids) < batch_size:
        raise InputError(f"{images}: got {len(ids)} images, expected at least one batch of {batch_size}")
    generator = torch.Generator().manual_seed(seed)
    if objective == "labels":
        plan = _epochs(len(ids), epochs, batch_size, generator)
    else:
        pixels = torch.cat([pixels, _second_views(images, ids, pixels.shape[-2:])[None]])
        _check_unique(images, ids, targets)
        groups = one_attribute_apart(targets.numpy(), [_attribute(label) for label in classes])
        plan = neighbour_batches(groups, len(ids), epochs, batch_size, np.random.default_rng(seed))
    height, width = pixels.shape[-2:]
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
    with seeded(seed, device):
        model = RegNetModel(config)
        model = cast(Any, model).to(device=device, memory_format=torch.channels_last)
        loss_of = (
            LabelLoss(widths[-1], targets, list(classes.values())) if objective == "labels" else ViewLoss(widths[-1])
        )
        loss_of.to(device)
        parameters = [*model.parameters(), *loss_of.parameters()]
        optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay)
        schedule = warm_up_then_cosine(optimizer, len(plan), WARM_UP)
        pixels = pixels.to(device)
        losses = []
        model.train()
        for rows in progress(plan, len(plan), "pretrain vision"):
            batch = pixels[:, rows.to(device)].flatten(0, 1)  # all first views, then all second ones
            features = model(_shift(_normalize(batch), generator)).pooler_output.flatten(1)
            loss = loss_of(features, rows.to(device))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.detach())
    last = torch.stack(losses[-(len(plan) // epochs) :]).mean().item()
    model = cast(Any, model).to(device="cpu", memory_format=torch.contiguous_format)
    return PretrainedVision(model.eval(), processor, last)


class LabelLoss(nn.Module):
    """One linear head for each label, and the sum of their cross-entropies."""

    targets: Tensor

    def __init__(self, width: int, targets: Tensor, classes: Sequence[int]) -> None:
        super().__init__()
        self.heads = nn.Linear(width, sum(classes))
        self.classes = list(classes)
        self.register_buffer("targets", targets)

    def forward(self, features: Tensor, rows: Tensor) -> Tensor:
        """Loss of features (b, d) of the images of the given rows (b,), in nats."""
        logits = self.heads(features).split(self.classes, dim=1)
        targets = self.targets[rows].T
        return torch.stack(
            [F.cross_entropy(score, target) for score, target in zip(logits, targets, strict=True)]
        ).sum()


def _pixels(path: Path, table: pa.Table) -> Tensor:
    """The images of a pairs table, (n, 3, h, w) uint8."""
    ids = table.column("id").to_pylist()
    pixels: list[np.ndarray] = []
    for row_id, image in zip(ids, table.column("image").to_pylist(), strict=True):
        if image is None or image["bytes"] is None:
            raise InputError(f"{path}: {row_id}: got no image, expected one in every row to pretrain on")
        pixels.append(np.asarray(decode_image(image["bytes"])))
        if pixels[-1].shape != pixels[0].shape:
            got, expected = pixels[-1].shape[:2], pixels[0].shape[:2]
            raise InputError(f"{path}: {row_id}: got an image of {got} pixels, expected {expected} as of {ids[0]}")
    stacked = np.stack(pixels) if pixels else np.empty((0, 1, 1, 3), np.uint8)
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).contiguous()


def _second_views(images: Path, ids: Sequence[str], size: Sequence[int]) -> Tensor:
    """The images of ``views.parquet``, (n, 3, h, w) uint8; InputError unless they fit the first ones row by row."""
    path = images.with_name("views.parquet")
    table = read_pairs(path, ["id", "image"])
    if table.column("id").to_pylist() != list(ids):
        raise InputError(f"{path}: got other ids than {images}, expected the same ones in the same order")
    pixels = _pixels(path, table)
    if pixels.shape[2:] != tuple(size):
        raise InputError(
            f"{path}: got images of {tuple(pixels.shape[2:])} pixels, expected {tuple(size)} as in {images}"
        )
    return pixels


def _check_unique(path: Path, ids: Sequence[str], targets: Tensor) -> None:
    """InputError where two rows have the same labels: the loss would drive two images of one scene apart."""
    _, first = np.unique(targets.numpy(), axis=0, return_index=True)
    if len(first) < len(targets):
        again = np.setdiff1d(np.arange(len(targets)), first)[0]
        raise InputError(f"{path}: {ids[again]}: got the labels of an earlier row, expected every scene once")


def _attribute(label: str) -> str:
    """What a label tells of either side: ``left_digit`` and ``right_digit`` are both ``digit``."""
    side, _, attribute = label.partition("_")
    return attribute if side in SIDES else label


def _class_numbers(
    path: Path, ids: Sequence[str], labels: Sequence[Sequence[Mapping[str, str]] | None]
) -> tuple[Tensor, dict[str, int]]:
    """Class numbers (n, labels) by sorted label name and value, and the number of classes of each label."""
    rows = [{label["name"]: label["value"] for label in row or []} for row in labels]
    names = sorted(rows[0]) if rows else []
    for row_id, row in zip(ids, rows, strict=True):
        if not row or sorted(row) != names:
            raise InputError(f"{path}: {row_id}: got labels {sorted(row)}, expected {names or 'some'} in every row")
    values = {name: sorted({row[name] for row in rows}) for name in names}
    numbers = {name: {value: i for i, value in enumerate(values[name])} for name in names}
    targets = torch.tensor([[numbers[name][row[name]] for name in names] for row in rows], dtype=torch.long)
    return targets, {name: len(values[name]) for name in names}


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
