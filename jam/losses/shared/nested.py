"""Matryoshka: any trainable loss at several widths at once, so that the first coordinates do by themselves."""

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor

from jam.losses.shared.contract import Loss


def matryoshka(
    loss: Loss,
    dims: Sequence[int],
    weights: Sequence[float] | None = None,
    reduce: Literal["mean", "sum"] = "mean",
) -> Loss:
    r"""A loss that is another one's at several widths of the same latents.

    .. math:: L_{MRL} = \frac1{|D|} \sum_{d∈D} w_d\, L(norm(x_{:d}), norm(y_{:d}))

    Latents are cut to their first d coordinates and *then* normalised, by the loss itself, as what is stored at a width
    will be. ``same`` and all options are the loss's at every width.

    Args:
        loss: of this folder.
        dims: widths d, each at least 1 and once, in any order; the latents must have as many.
        weights: w_d, one a width; 1 by default.
        reduce: the mean over widths, or their sum as in sentence-transformers' MatryoshkaLoss.

    Raises:
        ValueError: no widths, one that is not positive or there twice, or weights of another number; when called,
            latents that are narrower than a width.

    References:
        Kusupati et al. 2022, Matryoshka Representation Learning.

    Example:
        >>> import torch
        >>> from jam.losses import load_loss
        >>> x = torch.eye(4)
        >>> float(matryoshka(load_loss("con"), [4])(x, x, None, 100.0, None)) < 1e-6
        True
    """
    widths, shares = tuple(dims), (1.0,) * len(dims) if weights is None else tuple(weights)
    if not widths or min(widths) < 1 or len(set(widths)) < len(widths):
        raise ValueError(f"dims: got {list(widths)}, expected at least one, each positive and once")
    if len(shares) != len(widths):
        raise ValueError(f"weights: got {len(shares)} for {len(widths)} dims, expected one each")
    if reduce not in ("mean", "sum"):
        raise ValueError(f"reduce: got {reduce!r}, expected mean or sum")

    def nested(*given: Any, **options: Any) -> Tensor:
        *latents, scale = given
        narrowest = min(latent.shape[-1] for latent in latents)
        if narrowest < max(widths):
            raise ValueError(f"dims: got {max(widths)} of latents of width {narrowest}, expected at most as many")
        terms = [
            share * loss.function(*(latent[..., :d] for latent in latents), scale, **options)
            for d, share in zip(widths, shares, strict=True)
        ]
        total = sum(terms[1:], start=terms[0])
        return total / len(terms) if reduce == "mean" else total

    return Loss(nested, loss.negatives, loss.options)


def with_full(loss: Loss, dims: Sequence[int], full: int, mrl_weight: float, clip_weight: float) -> Loss:
    """mrl_weight · `matryoshka` over ``dims`` + clip_weight · the loss at the ``full`` width, each run once."""
    shares = dict.fromkeys(dims, mrl_weight / len(dims))
    shares[full] = shares.get(full, 0.0) + clip_weight
    kept = {d: share for d, share in shares.items() if share > 0}
    return matryoshka(loss, list(kept), list(kept.values()), reduce="sum")
