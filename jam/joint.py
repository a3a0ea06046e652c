"""JAM's joint objective: two adapters, one for each modality, and what one step on a batch costs."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from jam.config import Objective, Training
from jam.losses import contrastive_loss, negcon_loss, spread_loss
from jam.models import Adapter
from jam.pairing import Pairs

MAX_LOGIT_SCALE = 100.0  # CLIP's clamp: beyond it the softmax is a hard maximum and training is unstable


class Joint(nn.Module):
    """Two adapters and a temperature; ``forward`` gives the two parts of JAM's loss (arXiv 2507.01201, §3).

    Args:
        objective: which adapter and which loss.
        training: temperature and whitening.
        pairs: training rows, which give the widths and the constants that standardise inputs.
        seed: of the initial weights; sets torch's global generator, which dropout draws from too.

    Raises:
        ValueError: the features do not vary or are not finite, or the latent is no bottleneck.
    """

    def __init__(self, objective: Objective, training: Training, pairs: Pairs, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.loss, self.neighbours = objective.loss, objective.neighbours
        options = {"d_latent": objective.latent, **objective.tower_options}
        self.image = Adapter(objective.model, d_in=pairs.images.shape[1], **options)
        self.text = Adapter(objective.model, d_in=pairs.texts.shape[1], **options)
        self.image.standardise.fit(pairs.images, pairs.image_rows, training.whitening)
        self.text.standardise.fit(pairs.texts, pairs.flat_captions()[0], training.whitening)
        self.log_scale = nn.Parameter(
            torch.tensor(math.log(1 / training.temperature)), requires_grad=training.learn_temperature
        )

    @property
    def adapters(self) -> tuple[Adapter, Adapter]:
        """The adapters of images and of texts."""
        return self.image, self.text

    def forward(
        self, v: Tensor, t: Tensor, q: Tensor | None, alpha: float | None, cross: float
    ) -> tuple[Tensor, Tensor]:
        """L_align and L_rec of a batch, both scalars; L_rec is zero where the adapters have no decoder.

        Args:
            v: (b, d_v) image features.
            t: (b, d_t) features of the matching captions.
            q: (b, d_t) features of hard-negative captions, for NegCon and Spread.
            alpha: weight of the fine term, for Spread.
            cross: weight of reconstruction across modalities.
        """
        z_v, z_t = self.image(v), self.text(t)
        z_q = None if q is None else self.text(q)
        rebuild = self._reconstruction(v, t, z_v, z_t, cross)
        return self._alignment(z_v, z_t, z_q, alpha), rebuild

    def _alignment(self, z_v: Tensor, z_t: Tensor, z_q: Tensor | None, alpha: float | None) -> Tensor:
        scale = self.log_scale.exp()
        if self.loss == "con":
            return contrastive_loss(z_v, z_t, scale)
        assert z_q is not None
        if self.loss == "negcon":
            return negcon_loss(z_v, z_t, z_q, scale)
        assert alpha is not None
        return spread_loss(z_v, z_t, z_q, scale, alpha, self.neighbours)

    def _reconstruction(self, v: Tensor, t: Tensor, z_v: Tensor, z_t: Tensor, cross: float) -> Tensor:
        """L_rec = ½(MSE(v̂, v) + MSE(t̂, t)) on scaled features, plus the same across modalities if asked for."""
        if not self.image.reconstructs:
            return z_v.new_zeros(())
        v, t = self.image.standardise.scaled(v), self.text.standardise.scaled(t)
        decode_v, decode_t = self.image.tower.decode, self.text.tower.decode
        loss = functional.mse_loss(decode_v(z_v), v) + functional.mse_loss(decode_t(z_t), t)
        if cross > 0:
            loss = loss + cross * (functional.mse_loss(decode_v(z_t), v) + functional.mse_loss(decode_t(z_v), t))
        return 0.5 * loss


def parameter_groups(joint: Joint) -> list[dict[str, object]]:
    """What the optimiser gets: both adapters, and the temperature without weight decay if it is learned."""
    groups: list[dict[str, object]] = [{"params": [p for adapter in joint.adapters for p in adapter.parameters()]}]
    if joint.log_scale.requires_grad:
        groups.append({"params": [joint.log_scale], "weight_decay": 0.0})
    return groups


def between(ends: Sequence[float], progress: float) -> float:
    """Linear schedule from ends[0] to ends[1], as progress goes from 0 to 1."""
    return ends[0] + (ends[1] - ends[0]) * progress
