"""Many trainings of equal shape at once: their weights stacked, each step one batched kernel instead of many.

Adapters are tiny, so an accelerator spends a single training waiting for the next launch; a sweep's seeds, α, λ and
layers of one width run together instead. Each run keeps its own data order, clip, schedule of λ and α, and best epoch,
and ends where `jam.training.train` would, up to rounding and to the dropout masks drawn.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap

from jam.config import Objective, Training
from jam.joint import MAX_LOGIT_SCALE, Joint, between
from jam.pairing import Pairs, Table, on_device
from jam.training import Batch, Record, Trained, batches, check_negatives, diverged, validation_scores


@dataclass(frozen=True)
class Run:
    """One training: at most one α, unlike an objective of params.yaml that lists the α to choose from."""

    pairs: Pairs
    validation: Pairs
    objective: Objective
    training: Training
    seed: int

    @property
    def alpha(self) -> tuple[float, float] | None:
        """First and last α, of Spread."""
        return self.objective.alphas[0] if self.objective.alphas else None

    @property
    def shape(self) -> Hashable:
        """Runs of one shape can be stacked; α, λ, seed and the data themselves may differ."""
        own = self.objective.model_dump(exclude={"alphas", "reconstruction", "cross_reconstruction"})
        widths = self.pairs.images.shape[1], self.pairs.texts.shape[1], self.pairs.caption_rows.shape[1]
        crosses = self.objective.cross_reconstruction > 0
        return repr((own, crosses, self.training, len(self.pairs), widths))


def train_stacked(runs: Sequence[Run], device: torch.device | str = "cpu") -> list[Trained | ValueError]:
    """Train runs of one shape together.

    Args:
        runs: of one ``shape``.
        device: where to train.

    Returns:
        For each run what `jam.training.train` gives; or, for a run whose loss stopped being finite, the error. One
        run's failure leaves the others as they are.

    Raises:
        ValueError: the shapes differ, or what `jam.joint.Joint` and `jam.training.check_negatives` raise.
    """
    if len({run.shape for run in runs}) != 1:
        raise ValueError(f"runs: got {len({run.shape for run in runs})} shapes, expected one to stack")
    if any(len(run.objective.alphas) > 1 for run in runs):
        raise ValueError("runs: got an objective with several alphas, expected one run for each")
    device = torch.device(device)
    objective, training = runs[0].objective, runs[0].training
    for run in runs:
        check_negatives(run.pairs, run.objective)
    joints = [Joint(run.objective, training, run.pairs, run.seed).to(device) for run in runs]
    generators = [np.random.default_rng(run.seed) for run in runs]
    tables = [(on_device(run.pairs.images, device), on_device(run.pairs.texts, device)) for run in runs]
    cross = torch.tensor([run.objective.cross_reconstruction for run in runs], device=device)

    params, buffers = stack_module_state(joints)
    learned = [name for name in params if name != "log_scale" or training.learn_temperature]
    groups: list[dict[str, Any]] = [{"params": [params[name] for name in learned if name != "log_scale"]}]
    if training.learn_temperature:
        groups.append({"params": [params["log_scale"]], "weight_decay": 0.0})
    optimiser = torch.optim.Adam(groups, lr=objective.learning_rate, weight_decay=training.weight_decay, fused=True)
    steps = math.ceil(len(runs[0].pairs) / training.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=steps * training.epochs)
    template = joints[0]

    def one(
        params: dict[str, Tensor],
        buffers: dict[str, Tensor],
        v: Tensor,
        t: Tensor,
        q: Tensor | None,
        alpha: Tensor,
        cross: Tensor,
    ) -> Tensor:
        align, rebuild = functional_call(template, (params, buffers), (v, t, q, alpha, cross))
        return torch.stack([align, rebuild])

    joint_losses = vmap(
        one, in_dims=(0, 0, 0, 0, 0 if objective.needs_negatives else None, 0, 0), randomness="different"
    )

    records = [Record(training.patience, run.alpha) for run in runs]
    failures: dict[int, ValueError] = {}
    for epoch in range(training.epochs):
        progress = epoch / max(1, training.epochs - 1)
        reconstructs = template.image.reconstructs
        weights = [between(run.objective.reconstruction, progress) if reconstructs else 0.0 for run in runs]
        alphas = [between(run.alpha or (0.0, 0.0), progress) for run in runs]
        weight, alpha = torch.tensor(weights, device=device), torch.tensor(alphas, device=device)
        template.train()
        totals = torch.zeros(len(runs), 2, device=device)
        epochs = [
            batches(run.pairs, run.objective, training, generator, device)
            for run, generator in zip(runs, generators, strict=True)
        ]
        for step in zip(*epochs, strict=True):
            losses = joint_losses(params, buffers, *_gather(step, tables), alpha, cross)
            optimiser.zero_grad(set_to_none=True)
            (losses[:, 0] + weight * losses[:, 1]).sum().backward()  # the runs share no weight: each gets its own
            for side in ("image.", "text."):
                _clip([params[name] for name in learned if name.startswith(side)], training.clip_norm)
            optimiser.step()
            schedule.step()
            if training.learn_temperature:
                with torch.no_grad():
                    params["log_scale"].clamp_(max=math.log(MAX_LOGIT_SCALE))
            totals += losses.detach()

        for i, (run, joint, record) in enumerate(zip(runs, joints, records, strict=True)):
            align, rebuild = (totals[i] / steps).tolist()
            if i in failures or (epoch > 0 and record.stale):
                continue  # its training is over; it goes along for nothing, as its place in the stack is there
            if not math.isfinite(align + rebuild):
                failures[i] = ValueError(diverged(run.objective, epoch, align))
                continue
            _unstack(joint, params, i)
            scores = validation_scores(joint.image, joint.text, run.validation)
            record.add(epoch, {"align": align, "reconstruction": rebuild}, weights[i], joint, scores)
        if all(i in failures or record.stale for i, record in enumerate(records)):
            break
    return [
        failures[i] if i in failures else record.trained(joint)
        for i, (joint, record) in enumerate(zip(joints, records, strict=True))
    ]


def _gather(step: Sequence[Batch], tables: Sequence[tuple[Table, Table]]) -> tuple[Tensor, Tensor, Tensor | None]:
    """Features of one batch of every run, (runs, b, d) each."""
    v, t, q = zip(*(batch.gather(*table) for batch, table in zip(step, tables, strict=True)), strict=True)
    return torch.stack(v), torch.stack(t), None if q[0] is None else torch.stack(q)


def _clip(params: Sequence[Tensor], limit: float) -> None:
    """`torch.nn.utils.clip_grad_norm_` for each run by itself: params (runs, …), the norm taken within a run."""
    grads = [param.grad for param in params if param.grad is not None]
    squares = torch.stack([grad.flatten(1).square().sum(dim=1) for grad in grads]).sum(dim=0)
    factor = (limit / (squares.sqrt() + 1e-6)).clamp(max=1.0)
    for grad in grads:
        grad.mul_(factor.view(-1, *[1] * (grad.ndim - 1)))


@torch.no_grad()
def _unstack(joint: Joint, params: dict[str, Tensor], i: int) -> None:
    """Copy the weights of run i into its module."""
    for name, param in joint.named_parameters():
        param.copy_(params[name][i])
