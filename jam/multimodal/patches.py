"""Masked patches (MIM): what was left out of an image is guessed from what was left in.

FLAVA (Singh et al. 2022, arXiv 2112.04482, section 3.2) guesses codes of a pretrained tokenizer of images. Nothing
here is pretrained elsewhere, so the guess is of a patch's own pixels, standardised within the patch, as MAE's (He et
al. 2022, arXiv 2111.06377, section 3), and masked patches are grey ones instead of a token that is learned.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jam.multimodal.towers import PATCH

MASKED = 0.4  # share of the patches, as FLAVA's


def patches_of(pixels: Tensor) -> Tensor:
    """(b, 3, h, w) → (b, t, 3 · PATCH²), row by row as a ViT numbers them."""
    return F.unfold(pixels, PATCH, stride=PATCH).transpose(1, 2)


def mask_patches(pixels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Make `MASKED` of each image's patches grey.

    Returns:
        Pixels (b, 3, h, w), and which patches are masked, (b, t).
    """
    b, _, height, width = pixels.shape
    down, across = height // PATCH, width // PATCH
    order = torch.rand(b, down * across, generator=generator).argsort(dim=1).argsort(dim=1)
    masked = order < round(MASKED * down * across)
    area = masked.view(b, 1, down, across).repeat_interleave(PATCH, 2).repeat_interleave(PATCH, 3)
    return pixels.masked_fill(area.to(pixels.device), 0.0), masked.to(pixels.device)


def patch_loss(head: nn.Module, tokens: Tensor, pixels: Tensor, masked: Tensor) -> Tensor:
    """Mean squared error of the standardised pixels of masked patches alone.

    Args:
        head: states (…, d) to pixels (…, 3 · PATCH²).
        tokens: (b, t, d) states of the masked image.
        pixels: (b, 3, h, w) of the whole image.
        masked: (b, t).
    """
    wanted = patches_of(pixels)[masked]
    wanted = (wanted - wanted.mean(dim=1, keepdim=True)) / (wanted.var(dim=1, keepdim=True) + 1e-6).sqrt()
    return F.mse_loss(head(tokens[masked]), wanted)
