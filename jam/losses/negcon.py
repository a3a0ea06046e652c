"""NegCon: the contrastive loss with one hard-negative caption per image among the candidates."""

import torch
from torch import Tensor

from jam.losses.shared.contract import Loss
from jam.losses.shared.inputs import Scale, candidates, checked_scale, cross_entropy_to_diagonal, images_of, normalised


def negcon_loss(a: Tensor, p: Tensor, q: Tensor, logit_scale: Scale, same: Tensor | None = None) -> Tensor:
    r"""Contrastive loss whose v→t direction chooses among n captions and n hard negatives.

    .. math:: L_{v→t} = -\frac1n \sum_i \log \frac{e^{s\,a_i·p_i}}{\sum_{c \in [p;q]} e^{s\,a_i·c}}.

    The t→v direction is plain cross-entropy over the batch's images: a false caption has no image to find.

    Args:
        a, p, logit_scale: as in `contrastive_loss`, (n, d) and s > 0.
        q: (n, d) latents of the hard-negative captions, one for each image.
        same: (n, 2n) whether candidate j of [p; q] is true of image i as well; such a pair, j ≠ i, is left out.

    Returns:
        Scalar loss ½(L_v→t + L_t→v).

    References:
        Yuksekgonul et al. 2023, When and why vision-language models behave like bags-of-words (NegCLIP);
        NegCon in JAM, arXiv 2507.01201.

    Example:
        >>> import torch
        >>> a, p, q = torch.eye(4), torch.eye(4), -torch.eye(4)
        >>> float(negcon_loss(a, p, q, 100.0)) < 1e-6
        True
    """
    a, p, q = normalised(a, p, q)
    scaled = checked_scale(logit_scale) * a
    image_to_text = cross_entropy_to_diagonal(candidates(scaled @ torch.cat([p, q]).T, same))
    text_to_image = cross_entropy_to_diagonal(candidates(p @ scaled.T, images_of(same, len(a))))
    return 0.5 * (image_to_text + text_to_image)


LOSS = Loss(negcon_loss, negatives=True)
