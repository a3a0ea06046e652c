"""Con: the symmetric contrastive loss of CLIP (InfoNCE both ways)."""

from torch import Tensor

from jam.losses.shared.contract import Loss
from jam.losses.shared.inputs import Scale, candidates, checked_scale, cross_entropy_to_diagonal, normalised


def contrastive_loss(a: Tensor, p: Tensor, logit_scale: Scale, same: Tensor | None = None) -> Tensor:
    r"""Symmetric contrastive loss, ½(L_v→t + L_t→v).

    .. math:: L_{v→t} = -\frac1n \sum_i \log \frac{e^{s\,a_i·p_i}}{\sum_j e^{s\,a_i·p_j}},

    and L_t→v the same with a and p exchanged.

    Args:
        a: (n, d) image latents, normalised inside.
        p: (n, d) latents of the matching captions, row for row.
        logit_scale: s = 1/τ > 0 (not its logarithm).
        same: (n, n) whether caption j is true of image i as well; such a pair, j ≠ i, is left out of both sums.

    Returns:
        Scalar loss; log n when all latents are equal.

    References:
        Radford et al. 2021, Learning Transferable Visual Models (CLIP), Fig. 3; Con in JAM, arXiv 2507.01201.

    Example:
        >>> import torch
        >>> eye = torch.eye(4)
        >>> float(contrastive_loss(eye, eye, 100.0)) < 1e-6
        True
    """
    a, p = normalised(a, p)
    logits = candidates(checked_scale(logit_scale) * a @ p.T, same)
    return 0.5 * (cross_entropy_to_diagonal(logits) + cross_entropy_to_diagonal(logits.T))


LOSS = Loss(contrastive_loss)
