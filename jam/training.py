"""The one training loop: two adapters, one for each modality, on frozen features.

Each step takes a batch of images with one caption and, where the loss wants it, one hard negative each; the loss is
L_align + λ(e)·L_rec (JAM, arXiv 2507.01201), λ falling linearly over the epochs. After every epoch the adapters are
scored on validation rows by retrieval; the best epoch is the one that is kept.
"""

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from jam.config import Objective, Training
from jam.joint import MAX_LOGIT_SCALE, Joint, between, parameter_groups
from jam.metrics import retrieval_metrics
from jam.models import Adapter
from jam.pairing import Pairs, Table, draw, on_device, pool_rows

Report = Callable[[str], None]


def quiet(line: str) -> None:
    """The report that says nothing."""


@dataclass(frozen=True)
class Trained:
    """What a training gives: the adapters of its best epoch, its curve, and what was chosen on validation rows."""

    image: Adapter
    text: Adapter
    history: pd.DataFrame
    chosen: dict[str, Any]


def train(
    pairs: Pairs,
    validation: Pairs,
    objective: Objective,
    training: Training,
    *,
    seed: int,
    device: torch.device | str = "cpu",
    report: Report = quiet,
) -> Trained:
    """Train one pair of adapters for each α that the objective lists, and keep the best on validation rows.

    Args:
        pairs: training rows.
        validation: rows for early stopping and for the choice of α.
        objective: which adapter and which loss, with its parameters.
        training: the schedule.
        seed: of initialisation, batches and dropout.
        device: where to train.
        report: called with one line after each epoch.

    Raises:
        ValueError: the loss needs hard negatives and some image has none; or the loss stops being finite.
    """
    runs = [
        _train_one(pairs, validation, objective, alpha, training, seed, torch.device(device), report)
        for alpha in objective.alphas or (None,)
    ]
    best = max(runs, key=lambda run: run.chosen["validation_recall"])
    history = pd.concat([run.history for run in runs], ignore_index=True)
    return Trained(best.image, best.text, history, best.chosen)


def _train_one(
    pairs: Pairs,
    validation: Pairs,
    objective: Objective,
    alpha: tuple[float, float] | None,
    training: Training,
    seed: int,
    device: torch.device,
    report: Report,
) -> Trained:
    check_negatives(pairs, objective)
    generator = np.random.default_rng(seed)
    images, texts = on_device(pairs.images, device), on_device(pairs.texts, device)
    joint = Joint(objective, training, pairs, seed).to(device)
    optimiser = torch.optim.Adam(
        parameter_groups(joint), lr=objective.learning_rate, weight_decay=training.weight_decay, fused=True
    )
    steps = math.ceil(len(pairs) / training.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=steps * training.epochs)

    record = Record(training.patience, alpha)
    for epoch in range(training.epochs):
        progress = epoch / max(1, training.epochs - 1)
        weight = between(objective.reconstruction, progress) if joint.image.reconstructs else 0.0
        alpha_now = None if alpha is None else between(alpha, progress)
        joint.train()
        totals = torch.zeros(2, device=device)
        for rows in batches(pairs, objective, training, generator, device):
            v, t, q = rows.gather(images, texts)
            align, rebuild = joint(v, t, q, alpha_now, objective.cross_reconstruction)
            optimiser.zero_grad(set_to_none=True)
            (align + weight * rebuild).backward()
            for adapter in joint.adapters:
                nn.utils.clip_grad_norm_(adapter.parameters(), training.clip_norm)
            optimiser.step()
            schedule.step()
            if training.learn_temperature:
                with torch.no_grad():
                    joint.log_scale.clamp_(max=math.log(MAX_LOGIT_SCALE))
            totals += torch.stack([align.detach(), rebuild.detach()])  # read back once an epoch, not every step

        joint.eval()
        align_total, rebuild_total = totals.tolist()
        losses = {"align": align_total / steps, "reconstruction": rebuild_total / steps}
        if not all(map(math.isfinite, losses.values())):
            raise ValueError(diverged(objective, epoch, losses["align"]))
        scores = validation_scores(joint.image, joint.text, validation)
        record.add(epoch, losses, weight, joint, scores)
        report(
            f"epoch {epoch + 1}/{training.epochs}: align {losses['align']:.3f}, "
            f"reconstruction {losses['reconstruction']:.3f}, validation recall {scores['validation_recall']:.3f}"
        )
        if record.stale:
            break
    return record.trained(joint)


class Record:
    """The curve of one training, and the state of its best epoch on validation rows.

    Args:
        patience: epochs without a better validation recall after which a training is ``stale``.
        alpha: first and last α, of Spread.
    """

    def __init__(self, patience: int, alpha: tuple[float, float] | None) -> None:
        self._patience, self._alpha = patience, alpha
        self._history: list[dict[str, Any]] = []
        self._best: dict[str, Any] = {"validation_recall": -1.0}
        self._state: Mapping[str, Tensor] = {}

    def add(
        self, epoch: int, losses: Mapping[str, float], weight: float, joint: Joint, scores: Mapping[str, float]
    ) -> None:
        """Note an epoch; if it is the best so far, keep a copy of the adapters."""
        self._history.append(
            {
                "alpha": self._alpha[0] if self._alpha else None,
                "epoch": epoch,
                "loss_align": losses["align"],
                "loss_reconstruction": losses["reconstruction"] if joint.image.reconstructs else None,
                "reconstruction_weight": weight,
                "logit_scale": joint.log_scale.exp().item(),
                **scores,
            }
        )
        if scores["validation_recall"] > self._best["validation_recall"]:
            self._best = {"epoch": epoch, "alpha": list(self._alpha) if self._alpha else None, **scores}
            self._state = copy.deepcopy(joint.state_dict())

    @property
    def stale(self) -> bool:
        """Whether the best epoch lies ``patience`` epochs back."""
        return bool(self._history[-1]["epoch"] - self._best["epoch"] >= self._patience)

    def trained(self, joint: Joint) -> Trained:
        """The adapters of the best epoch, in evaluation mode."""
        joint.load_state_dict(self._state)
        return Trained(joint.image.eval(), joint.text.eval(), pd.DataFrame(self._history), self._best)


def check_negatives(pairs: Pairs, objective: Objective) -> None:
    """Refuse a loss that needs hard negatives where some image has none."""
    if objective.needs_negatives and not pairs.has_negatives:
        raise ValueError(f"{objective.loss}: got images without a hard negative, expected at least one for each image")


def diverged(objective: Objective, epoch: int, loss: float) -> str:
    """What to say of a loss that is not finite."""
    return f"{objective.loss}, epoch {epoch}: got a loss of {loss}, expected a finite one (try a lower learning_rate)"


def validation_scores(image: Adapter, text: Adapter, pairs: Pairs) -> dict[str, float]:
    """R@1 both ways and their mean, ``validation_recall``: the one criterion by which anything is chosen."""
    rows, image_of_text = pairs.flat_captions()
    scores = retrieval_metrics(
        image.encode(pairs.images[pairs.image_rows]), text.encode(pairs.texts[rows]), image_of_text, ks=(1,)
    )
    i2t, t2i = scores["i2t_r1"], scores["t2i_r1"]
    return {"validation_i2t_r1": i2t, "validation_t2i_r1": t2i, "validation_recall": (i2t + t2i) / 2}


@dataclass(frozen=True)
class Batch:
    """Row numbers on the device; ``captions`` is (b,) when one was drawn and (b, K) when they are pooled."""

    images: Tensor
    captions: Tensor
    negatives: Tensor | None
    pooling: str

    def gather(self, images: Table, texts: Table) -> tuple[Tensor, Tensor, Tensor | None]:
        """Features of the batch's images, captions and negatives, (b, d) each; only these rows are read."""
        v = images.index_select(0, self.images)
        if self.captions.ndim == 1:
            t = texts.index_select(0, self.captions)
        else:
            t = pool_rows(texts, self.captions, self.pooling)  # type: ignore[arg-type]
        return v, t, None if self.negatives is None else texts.index_select(0, self.negatives)


def batches(
    pairs: Pairs, objective: Objective, training: Training, generator: np.random.Generator, device: torch.device
) -> Iterator[Batch]:
    """One epoch of batches: a fresh order, fresh captions and fresh negatives; the last batch may be smaller."""
    order = generator.permutation(len(pairs))
    captions = pairs.caption_rows
    if training.captions == "sample":
        captions = draw(captions, generator)
    negatives = draw(pairs.negative_rows, generator) if objective.needs_negatives else None

    def rows(table: np.ndarray) -> list[Tensor]:
        return list(torch.as_tensor(table[order]).to(device).split(training.batch_size))

    columns = [rows(pairs.image_rows), rows(captions)]
    columns.append(rows(negatives) if negatives is not None else [None] * len(columns[0]))  # type: ignore[list-item]
    return (Batch(i, c, q, training.captions) for i, c, q in zip(*columns, strict=True))
