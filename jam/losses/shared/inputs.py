"""What every alignment loss shares: checked, normalised latents and the temperature."""

import math

import torch
from torch import Tensor
from torch.nn import functional

Scale = float | Tensor


def normalised(*latents: Tensor) -> tuple[Tensor, ...]:
    """L2-normalise the rows of equally shaped (n, d) latents, in fp32 or better.

    Raises:
        ValueError: the shapes differ, are not (n, d), or hold no row.
    """
    shapes = [tuple(latent.shape) for latent in latents]
    if len(set(shapes)) != 1 or len(shapes[0]) != 2 or 0 in shapes[0]:
        raise ValueError(f"loss: got latents of shapes {shapes}, expected one common shape (n, d), both at least 1")
    # Half precision is too coarse for logits near s = 100; autocast would undo the upcast otherwise.
    return tuple(functional.normalize(latent.float() if latent.itemsize < 4 else latent, dim=1) for latent in latents)


def checked_scale(logit_scale: Scale) -> Scale:
    """Return s = 1/τ, refusing what is not positive: a log-scale that was never exponentiated is the usual cause.

    A tensor on an accelerator is not read back, which would stall it at every step; the training loop keeps it positive
    by construction, s = exp(log_scale).
    """
    if isinstance(logit_scale, Tensor) and logit_scale.numel() != 1:
        raise ValueError(f"logit_scale: got shape {tuple(logit_scale.shape)}, expected one number")
    if not isinstance(logit_scale, Tensor) or logit_scale.device.type == "cpu":
        scale = logit_scale.item() if isinstance(logit_scale, Tensor) else logit_scale
        if not 0 < scale < math.inf:
            raise ValueError(f"logit_scale: got {scale}, expected s = exp(log_scale) = 1/τ > 0")
    return logit_scale


def candidates(logits: Tensor, same: Tensor | None) -> Tensor:
    """Logits (n, m) with −∞ where candidate j ≠ i is true of row i as well, so that it is none of its negatives.

    Raises:
        ValueError: ``same`` is not (n, m) booleans.
    """
    if same is None:
        return logits
    shape = tuple(logits.shape)
    if same.dtype != torch.bool or same.shape != shape:
        raise ValueError(f"same: got {same.dtype} of shape {tuple(same.shape)}, expected booleans of shape {shape}")
    return logits.masked_fill(same & ~torch.eye(*shape, dtype=torch.bool, device=same.device), -torch.inf)


def images_of(same: Tensor | None, n: int) -> Tensor | None:
    """The other way round: whether text i is true of image j as well, (n, n)."""
    return None if same is None else same[:, :n].T


def cross_entropy_to_diagonal(logits: Tensor) -> Tensor:
    """Mean over rows i of −log softmax(logits[i])[i]; logits (n, m) with m ≥ n."""
    return functional.cross_entropy(logits, torch.arange(logits.shape[0], device=logits.device))
