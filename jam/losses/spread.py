"""Spread: first the right context, then the right caption within it."""

import torch
from torch import Tensor

from jam.losses.shared.contract import Loss
from jam.losses.shared.inputs import Scale, candidates, checked_scale, cross_entropy_to_diagonal, images_of, normalised


def spread_terms(
    a: Tensor,
    p: Tensor,
    q: Tensor,
    logit_scale: Scale,
    neighbours: int = 0,
    same: Tensor | None = None,
    context: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    r"""The coarse and the fine term of every image.

    With candidates [p; q] and the context C_i = {p_i, q_i} plus the positives that ``context`` says share it, plus the
    ``neighbours`` other positives nearest to p_i,

    .. math::
        coarse_i = -\log \frac{\sum_{c∈C_i} e^{s\,a_i·c}}{\sum_{c∈[p;q]} e^{s\,a_i·c}}, \qquad
        fine_i = -\log \frac{e^{s\,a_i·p_i}}{\sum_{c∈C_i} e^{s\,a_i·c}}.

    Their sum is NegCon's v→t term of image i, whatever the context. The context sum runs over the image's own
    context alone; everything is computed by logsumexp. Candidates that ``same`` says are true of image i as well are
    in none of the sums. The arguments are those of `spread_loss`.

    Returns:
        coarse, fine: (n,) each, both ≥ 0.

    Raises:
        ValueError: ``neighbours`` is negative or exceeds n − 1.
    """
    a, p, q = normalised(a, p, q)
    return _terms(a, p, q, logit_scale, neighbours, same, context)


def _terms(
    a: Tensor,
    p: Tensor,
    q: Tensor,
    logit_scale: Scale,
    neighbours: int,
    same: Tensor | None,
    context: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """``spread_terms`` of latents that are unit vectors already."""
    n = a.shape[0]
    if not 0 <= neighbours <= n - 1:
        raise ValueError(f"neighbours: got {neighbours}, expected 0 to n - 1 = {n - 1}")
    logits = candidates(checked_scale(logit_scale) * a @ torch.cat([p, q]).T, same)  # (n, 2n)

    inside = torch.eye(n, dtype=torch.bool, device=a.device).repeat(1, 2)  # p_i and q_i
    if context is not None:
        inside[:, :n] |= context
    if neighbours:
        with torch.no_grad():  # the context set is a choice, not something to differentiate
            # What is no candidate is taken last (cosines are ≥ −1), and the own caption, in it already, never.
            similarity = (p @ p.T).masked_fill(logits[:, :n].isneginf(), -2.0).fill_diagonal_(-torch.inf)
            inside.scatter_(1, similarity.topk(neighbours, dim=1).indices, True)
    in_context = logits.masked_fill(~inside, -torch.inf).logsumexp(dim=1)
    coarse = logits.logsumexp(dim=1) - in_context
    fine = in_context - logits.diagonal()
    return coarse, fine


def spread_loss(
    a: Tensor,
    p: Tensor,
    q: Tensor,
    logit_scale: Scale,
    alpha: float | Tensor = 0.5,
    neighbours: int = 0,
    same: Tensor | None = None,
    context: Tensor | None = None,
) -> Tensor:
    """Spread loss, ½(L_v→t + L_t→v) with L_v→t = mean((1−α)·coarse + α·fine).

    α = 0 asks for the right context only, α = 1 for the right caption within its context only; α = ½ gives half of
    NegCon's v→t term. The t→v direction is plain cross-entropy over the batch's images, as in NegCon.

    Args:
        a, p, q: (n, d) each, with logit_scale and the (n, 2n) same as in `negcon_loss`.
        alpha: weight of the fine term, in [0, 1].
        neighbours: how many other positives, nearest to p_i, join the context of image i.
        context: (n, n) booleans, which images are of one context: their positives join it too.

    References:
        Spread loss of JAM, arXiv 2507.01201; the decomposition into a supervised-contrastive and a within-class
        term follows Chen et al. 2022, Perfectly Balanced: Improving Transfer and Robustness of Supervised
        Contrastive Learning.

    Example:
        >>> import torch
        >>> a, p, q = torch.eye(4), torch.eye(4), -torch.eye(4)
        >>> float(spread_loss(a, p, q, 100.0)) < 1e-6
        True
    """
    if isinstance(alpha, int | float) and not 0 <= alpha <= 1:  # a tensor is not read back, see checked_scale
        raise ValueError(f"alpha: got {alpha}, expected a weight in [0, 1]")
    a, p, q = normalised(a, p, q)
    coarse, fine = _terms(a, p, q, logit_scale, neighbours, same, context)
    image_to_text = ((1 - alpha) * coarse + alpha * fine).mean()
    text_to_image = cross_entropy_to_diagonal(candidates(logit_scale * p @ a.T, images_of(same, len(a))))
    return 0.5 * (image_to_text + text_to_image)


LOSS = Loss(spread_loss, negatives=True, options=("alpha", "neighbours", "context"))
