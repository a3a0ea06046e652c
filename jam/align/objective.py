"""JAM's joint objective for any number of sides: an adapter each, and what one step on a batch costs."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from jam.align.adapter import Adapter
from jam.align.items import Items
from jam.align.setting import Setting
from jam.losses import Loss, load_loss
from jam.losses.shared.nested import with_full
from jam.params import Objective, Training

MAX_LOGIT_SCALE = 100.0  # CLIP's clamp: beyond it the softmax is a hard maximum and training is unstable

Pair = tuple[str, str]
"""Two sides: in the first direction of the losses that are not symmetric, views of the first look for the second."""
Views = Mapping[str, Tensor]
"""By side, (b, d) features of a batch of items."""


class Joint(nn.Module):
    """An adapter a side and a temperature a pair; ``forward`` gives the two parts of JAM's loss (arXiv 2507.01201, §3).

    Args:
        objective: which adapter and which loss.
        training: temperature.
        setting: latent, dropout and whitening.
        items: training rows, which give the widths and the constants that standardise inputs.
        pairs: of sides that are aligned.
        seed: of the initial weights; sets torch's global generator, which dropout draws from too.

    Raises:
        ValueError: the features do not vary or are not finite, or the latent is no bottleneck.
    """

    def __init__(
        self,
        objective: Objective,
        training: Training,
        setting: Setting,
        items: Items,
        pairs: Sequence[Pair],
        seed: int,
    ) -> None:
        super().__init__()
        torch.manual_seed(seed)
        loss = aligning(objective, setting.latent)
        self.loss, self.neighbours, self.pairs = loss, objective.neighbours, tuple(pairs)
        if objective.context and items.contexts is None:
            raise ValueError(
                f"{objective.loss}: got items without contexts, expected them (column context of the data)"
            )
        options = {"d_latent": setting.latent, **objective.tower_options}
        if setting.dropout is not None:
            options["dropout"] = setting.dropout
        self.names = tuple(items.sides)
        self.towers = nn.ModuleList(
            Adapter(objective.model, d_in=side.table.shape[1], **options) for side in items.sides.values()
        )
        for name, side in items.sides.items():
            try:
                self.adapters[name].standardise.fit(side.table, side.flat()[0], setting.whitening)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
        start, learned = math.log(1 / training.temperature), training.learn_temperature
        self.log_scales = nn.ParameterList(nn.Parameter(torch.tensor(start), requires_grad=learned) for _ in self.pairs)

    @property
    def adapters(self) -> dict[str, Adapter]:
        """The adapters by side."""
        return dict(zip(self.names, self.towers, strict=True))  # type: ignore[arg-type]

    @property
    def reconstructs(self) -> bool:
        """Whether the adapters have decoders."""
        return all(adapter.reconstructs for adapter in self.adapters.values())

    @torch.no_grad()
    def clamp(self) -> None:
        """Keep learned temperatures where training is stable."""
        for scale in self.log_scales:
            if scale.requires_grad:
                scale.clamp_(max=math.log(MAX_LOGIT_SCALE))

    def standardised(self, true: Views, false: Views) -> tuple[Views, Views]:
        """Features as inputs of the towers."""
        adapters = self.adapters
        return (
            {name: adapters[name].standardise(views) for name, views in true.items()},
            {name: adapters[name].standardise(views) for name, views in false.items()},
        )

    def forward(
        self,
        true: Views,
        false: Views,
        raw: Views,
        same: Mapping[Pair, Tensor],
        context: Tensor | None = None,
        alpha: float | None = None,
        cross: float = 0.0,
    ) -> tuple[Tensor, Tensor]:
        """L_align, a sum over the pairs, and L_rec of a batch, both scalars; L_rec is 0 where there is no decoder.

        Args:
            true: a view of each item on every side, `standardised`.
            false: a false view of each item, on the second sides of pairs, for losses that take them; likewise.
            raw: the true views as they are, where there are decoders.
            same: by pair (b, b), with false views (b, 2b): those that are true of another item too, as losses take it.
            context: (b, b) booleans, which items are of one context, for Spread.
            alpha: weight of the fine term, for Spread.
            cross: weight of reconstruction across the sides of each pair.
        """
        adapters = self.adapters
        latents = {name: adapters[name].tower.encode(views) for name, views in true.items()}
        away = {name: adapters[name].tower.encode(views) for name, views in false.items()}
        rebuild = self._reconstruction(raw, latents, cross)
        most = len(true[self.names[0]]) - 1  # of a small batch
        options = {"alpha": alpha, "neighbours": min(self.neighbours, most), "context": context}
        align = torch.zeros_like(rebuild)
        for (x, y), scale in zip(self.pairs, self.log_scales, strict=True):
            align = align + self.loss(latents[x], latents[y], away.get(y), scale.exp(), same.get((x, y)), **options)
        return align, rebuild

    def _reconstruction(self, true: Views, latents: Views, cross: float) -> Tensor:
        """Mean over sides of MSE(x̂, x) on scaled features; for each pair the same across its sides, if asked for."""
        adapters = self.adapters
        if not self.reconstructs:
            return next(iter(latents.values())).new_zeros(())
        scaled = {name: adapters[name].standardise.scaled(views) for name, views in true.items()}

        def error(of: str, by: str) -> Tensor:
            return functional.mse_loss(adapters[of].tower.decode(latents[by]), scaled[of])

        loss = sum((error(name, name) for name in self.names[1:]), error(self.names[0], self.names[0]))
        for x, y in self.pairs if cross > 0 else ():
            loss = loss + cross * (error(x, y) + error(y, x))
        return loss / len(self.names)


def aligning(objective: Objective, latent: int) -> Loss:
    """The loss of an objective, at its several ``dims`` where it has such."""
    loss = load_loss(objective.loss)
    assert isinstance(loss, Loss)  # as the schema of an objective promises
    if objective.dims is None:
        return loss
    assert objective.mrl_weight is not None and objective.clip_weight is not None  # noqa: PT018 (likewise)
    return with_full(loss, objective.dims, latent, objective.mrl_weight, objective.clip_weight)


def parameter_groups(joint: Joint) -> list[dict[str, object]]:
    """What the optimiser gets: all adapters, and the temperatures without weight decay if they are learned."""
    groups: list[dict[str, object]] = [{"params": list(joint.towers.parameters())}]
    if learned := [scale for scale in joint.log_scales if scale.requires_grad]:
        groups.append({"params": learned, "weight_decay": 0.0})
    return groups
