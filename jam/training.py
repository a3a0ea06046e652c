"""The one training loop: two adapters, one for each modality, on frozen features.

Each step takes a batch of images with one caption and, where the loss wants it, one hard negative each; the loss is
L_align + λ(e)·L_rec (JAM, arXiv 2507.01201), λ falling linearly over the epochs. After every epoch the adapters are
scored on validation rows by retrieval; the best epoch is the one that is kept.
"""

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
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
    """Train one pair of adapters for each α and each whitening that are listed, and keep the best on validation rows.

    Args:
        pairs: training rows.
        validation: rows for early stopping and for the choice of α and of the whitening.
        objective: which adapter and which loss, with its parameters.
        training: the schedule.
        seed: of initialisation, batches and dropout.
        device: where to train.
        report: called with one line after each epoch.

    Returns:
        The best adapters; of several whitenings, which one is in ``chosen`` and, NaN for None, in ``history``.

    Raises:
        ValueError: the loss needs hard negatives and some image has none; or the loss stops being finite.
    """
    runs = []
    for whitening, alpha in product(training.whitening, objective.alphas or (None,)):
        if len(training.whitening) > 1:
            report(f"whitening {whitening}")
        single = training.model_copy(update={"whitening": (whitening,)})
        run = _train_one(pairs, validation, objective, alpha, single, seed, torch.device(device), report)
        if len(training.whitening) > 1:
            run.history.insert(0, "whitening", math.nan if whitening is None else whitening)
            run.chosen["whitening"] = whitening
        runs.append(run)
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
    if objective.needs_negatives and not pairs.has_negatives:
        raise ValueError(f"{objective.loss}: got images without a hard negative, expected at least one for each image")
    generator = np.random.default_rng(seed)
    images, texts = on_device(pairs.images, device), on_device(pairs.texts, device)
    joint = Joint(objective, training, pairs, seed).to(device)
    optimiser = torch.optim.Adam(
        parameter_groups(joint), lr=objective.learning_rate, weight_decay=training.weight_decay, fused=True
    )
    steps = math.ceil(len(pairs) / training.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=steps * training.epochs)

    history: list[dict[str, Any]] = []
    best: dict[str, Any] = {"validation_recall": -1.0}
    state: Mapping[str, Tensor] = {}
    for epoch in range(training.epochs):
        progress = epoch / max(1, training.epochs - 1)
        weight = between(objective.reconstruction, progress) if joint.image.reconstructs else 0.0
        alpha_now = None if alpha is None else between(alpha, progress)
        joint.train()
        totals = torch.zeros(2, device=device)
        for rows in batches(pairs, objective, training, generator, device):
            v, t, q = rows.gather(images, texts)
            align, rebuild = joint(v, t, q, alpha_now, objective.cross_reconstruction, rows.same)
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
        align_loss, rebuild_loss = (total / steps for total in totals.tolist())
        if not (math.isfinite(align_loss) and math.isfinite(rebuild_loss)):
            raise ValueError(
                f"{objective.loss}, epoch {epoch}: got a loss of {align_loss} and of {rebuild_loss} in reconstruction, "
                "expected finite ones (try a lower learning_rate)"
            )
        scores = validation_scores(joint.image, joint.text, validation)
        history.append(
            {
                "alpha": alpha[0] if alpha else None,
                "epoch": epoch,
                "loss_align": align_loss,
                "loss_reconstruction": rebuild_loss if joint.image.reconstructs else None,
                "reconstruction_weight": weight,
                "logit_scale": joint.log_scale.exp().item(),
                **scores,
            }
        )
        if scores["validation_recall"] > best["validation_recall"]:
            best = {"epoch": epoch, "alpha": list(alpha) if alpha else None, **scores}
            state = copy.deepcopy(joint.state_dict())
        report(
            f"epoch {epoch + 1}/{training.epochs}: align {align_loss:.3f}, reconstruction {rebuild_loss:.3f}, "
            f"validation recall {scores['validation_recall']:.3f}"
        )
        if epoch - best["epoch"] >= training.patience:
            break
    joint.load_state_dict(state)
    return Trained(joint.image.eval(), joint.text.eval(), pd.DataFrame(history), best)


def validation_scores(image: Adapter, text: Adapter, pairs: Pairs) -> dict[str, float]:
    """R@1 both ways and their mean, ``validation_recall``: the one criterion by which anything is chosen."""
    rows, image_of_text = pairs.flat_captions()
    a, p = image.encode(pairs.images[pairs.image_rows]), text.encode(pairs.texts[rows])
    if pairs.labels is None:
        scores = retrieval_metrics(a, p, image_of_text, ks=(1,))
        i2t, t2i = scores["i2t_r1"], scores["t2i_r1"]
    else:
        i2t, t2i = pairs.labels.recall_at_1(a, p, rows)
    return {"validation_i2t_r1": i2t, "validation_t2i_r1": t2i, "validation_recall": (i2t + t2i) / 2}


@dataclass(frozen=True)
class Batch:
    """Row numbers on the device; ``captions`` is (b,) when one was drawn and (b, K) when they are pooled.

    ``same`` says which texts are true of other images too, as the losses take it; None for none.
    """

    images: Tensor
    captions: Tensor
    negatives: Tensor | None
    pooling: str
    same: Tensor | None

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
    texts = [captions if captions.ndim == 1 else captions[:, 0]]  # a pooled caption is as true as its first
    texts += [] if negatives is None else [negatives]
    for start, image, caption, negative in zip(range(0, len(order), training.batch_size), *columns, strict=True):
        same = None
        if pairs.labels is not None:
            here = order[start : start + training.batch_size]
            same = torch.as_tensor(pairs.labels.true(here, np.concatenate([text[here] for text in texts]))).to(device)
        yield Batch(image, caption, negative, training.captions, same)
