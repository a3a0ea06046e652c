"""Distortions of image batches that leave a scene recognisable: what label-free encoders learn to look through.

A batch is (b, 3, h, w) in [−1, 1]. Random draws are made on the CPU, so that they are the same on every device. Crops,
SimCLR's strongest distortion, would change what is where, which is part of the scene.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

BRIGHTNESS = 0.4  # largest change of all colours, as a share
COLOUR = 0.15  # of each by itself: more would make an orange thing red
CUT = 10  # pixels each way of the square that is blotted out; at most half of the image


def shift(batch: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Move each image by up to ``most`` pixels each way, its edge repeated."""
    b, _, height, width = batch.shape
    padded = F.pad(batch, (most,) * 4, mode="replicate")
    down, right = torch.randint(0, 2 * most + 1, (2, b, 1), generator=generator)
    rows = (down + torch.arange(height))[:, :, None].to(batch.device)
    columns = (right + torch.arange(width))[:, None, :].to(batch.device)
    items = torch.arange(b, device=batch.device)[:, None, None]
    return padded[items, :, rows, columns].permute(0, 3, 1, 2)  # indexing gives (b, h, w, 3): channels last already


def photometric(batch: Tensor, generator: torch.Generator) -> Tensor:
    """Make each image brighter or darker, and shift its colours a little."""
    b = len(batch)
    spread = torch.tensor([BRIGHTNESS, COLOUR, COLOUR, COLOUR])
    gain = 1 + spread * (2 * torch.rand(b, 4, generator=generator) - 1)
    factor = (gain[:, :1] * gain[:, 1:])[:, :, None, None].to(batch.device)
    return ((batch + 1) * factor - 1).clamp(max=1)


def cut_out(batch: Tensor, generator: torch.Generator) -> Tensor:
    """Blot out a square of each image, wherever it falls (DeVries & Taylor 2017, arXiv 1708.04552)."""
    b, _, height, width = batch.shape
    cut = min(CUT, height // 2, width // 2)
    top, left = (torch.randint(0, length - cut + 1, (b, 1), generator=generator) for length in (height, width))
    rows, columns = torch.arange(height) - top, torch.arange(width) - left
    inside = ((rows >= 0) & (rows < cut))[:, :, None] & ((columns >= 0) & (columns < cut))[:, None, :]
    return batch.masked_fill(inside[:, None].to(batch.device), -0.7)


def distorted(batch: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """All of them: one more view of each image."""
    return cut_out(photometric(shift(batch, most, generator), generator), generator)
