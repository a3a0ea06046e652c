"""What every alignment loss shares: checked, normalised latents and the temperature."""

import torch
from torch import Tensor
from torch.nn import functional

Scale = float | Tensor


def normalised(*latents: Tensor) -> tuple[Tensor, ...]:
    """L2-normalise the rows of equally shaped (n, d) latents, in fp32 or better.

    Raises:
        ValueError: the shapes differ or are not (n, d).
    """
    shapes = [tuple(latent.shape) for latent in latents]
    if len(set(shapes)) != 1 or len(shapes[0]) != 2:
        raise ValueError(f"loss: got latents of shapes {shapes}, expected one common shape (n, d)")
    # Half precision is too coarse for logits near s = 100; autocast would undo the upcast otherwise.
    return tuple(functional.normalize(latent.float() if latent.itemsize < 4 else latent, dim=1) for latent in latents)


def checked_scale(logit_scale: Scale) -> Scale:
    """Return s = 1/τ, refusing what is not positive: a log-scale that was never exponentiated is the usual cause.

    A learnable scale arrives as a tensor and is not read back here, which would stall a GPU at every step;
    the training loop keeps it positive by construction, s = exp(log_scale).
    """
    if isinstance(logit_scale, int | float) and not logit_scale > 0:
        raise ValueError(f"logit_scale: got {logit_scale}, expected s = exp(log_scale) = 1/τ > 0")
    return logit_scale


def cross_entropy_to_diagonal(logits: Tensor) -> Tensor:
    """Mean over rows i of −log softmax(logits[i])[i]; logits (n, m) with m ≥ n."""
    return functional.cross_entropy(logits, torch.arange(logits.shape[0], device=logits.device))
