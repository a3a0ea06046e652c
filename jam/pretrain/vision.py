"""A small convnet pretrained on images alone: no sentence is ever seen.

The backbone is a RegNet (Radosavovic et al. 2020, arXiv 2003.13678) with a 3 × 3 stem and squeeze-and-excitation
("Y"). It is trained through the mean of its last feature map, for one of two objectives. ``labels`` is classification:
one linear head for each label, all heads' cross-entropies added. ``contrastive`` needs no label: two distortions of an
image are alike and those of other images are not (SimCLR), see `jam.pretrain.contrastive`. Heads are thrown away.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import pyarrow as pa
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jam.data.images import decode_image
from jam.data.schema import read_table
from jam.errors import InputError
from jam.fit import seeded
from jam.pretrain.contrastive import ViewLoss
from jam.pretrain.distortions import distorted, shift
from jam.pretrain.training import Pretrained, Training, train

GROUP_WIDTH = 16  # channels that a 3 × 3 convolution mixes: fast on a CPU, and reads digits as well as wider groups
MAX_SHIFT = 2  # pixels of random translation; more could move a thing to another cell
WARM_UP = 0.2  # share of the steps in which the learning rate rises


def pretrain_vision(
    images: str | Path,
    *,
    objective: Literal["labels", "contrastive"],
    widths: Sequence[int],
    depths: Sequence[int] = (1, 1, 1, 1),
    **options: Any,
) -> Pretrained:
    """Pretrain an image encoder from scratch.

    Args:
        images: table with images, all of one size, and labels (the same names in every row) if they are learned.
        objective: ``labels`` or ``contrastive``.
        widths: channels of the stages; the stem has as many as the first.
        depths: blocks of each stage.
        options: see `jam.pretrain.training.Training`. A rest of rows smaller than a batch is left out of each epoch.

    Raises:
        InputError: rows without image or labels, images of different sizes, or fewer rows than a batch.
    """
    from transformers import RegNetConfig, RegNetModel
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    training = Training(**options)
    device, batch_size = training.device, training.batch_size
    images = Path(images)
    table = read_table(images, ["id", "image", "labels"] if objective == "labels" else ["id", "image"])
    ids, pixels = table.column("id").to_pylist(), _pixels(images, table)
    if len(ids) < batch_size:
        raise InputError(f"{images}: got {len(ids)} images, expected at least one batch of {batch_size}")
    height, width = pixels.shape[-2:]
    generator = torch.Generator().manual_seed(training.seed)
    whole = len(ids) // batch_size * batch_size
    orders = [torch.randperm(len(ids), generator=generator)[:whole] for _ in range(training.epochs)]
    plan = [rows for order in orders for rows in order.split(batch_size)]
    head: nn.Module
    if objective == "labels":
        targets, classes = _class_numbers(images, ids, table.column("labels").to_pylist())
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
    pixels = pixels.to(device)

    def loss_of(rows: Tensor) -> tuple[Tensor, int]:
        rows = rows.to(device)
        batch = _normalize(pixels[rows])
        if objective == "labels":
            views = shift(batch, MAX_SHIFT, generator)
        else:
            views = torch.cat([distorted(batch, MAX_SHIFT, generator) for _ in range(2)])
        return head(model(views).pooler_output.flatten(1), rows), 1

    with seeded(training.seed, device):
        model = cast(Any, RegNetModel(config)).to(device=device, memory_format=torch.channels_last)
        if objective == "labels":
            head = LabelLoss(widths[-1], targets, list(classes.values()))
        else:
            head = ViewLoss(widths[-1])
        both = nn.ModuleList([model, head.to(device)])
        loss, kept = train(both, plan, loss_of, training, label="pretrain vision", warm_up=WARM_UP, model=model)
    return Pretrained(model.to(device="cpu", memory_format=torch.contiguous_format).eval(), processor, loss, kept)


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
    """The images of a table, (n, 3, h, w) uint8; InputError unless all have the size of the first."""
    pixels: list[np.ndarray] = []
    size: Sequence[int] | None = None
    for row_id, image in zip(table.column("id").to_pylist(), table.column("image").to_pylist(), strict=True):
        if image is None or image["bytes"] is None:
            raise InputError(f"{path}: {row_id}: got no image, expected one in every row to pretrain on")
        pixels.append(np.asarray(decode_image(image["bytes"])))
        size = size or pixels[0].shape[:2]
        if pixels[-1].shape[:2] != size:
            raise InputError(f"{path}: {row_id}: got an image of {pixels[-1].shape[:2]} pixels, expected all of {size}")
    stacked = np.stack(pixels) if pixels else np.empty((0, 1, 1, 3), np.uint8)
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).contiguous()


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
    targets = torch.tensor([[values[name].index(row[name]) for name in names] for row in rows], dtype=torch.long)
    return targets, {name: len(values[name]) for name in names}


def _normalize(pixels: Tensor) -> Tensor:
    """(b, 3, h, w) uint8 → float32 in [−1, 1], channels last: a third faster on a CPU."""
    return (pixels.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
