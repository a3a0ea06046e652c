"""The one training loop: two adapters, one for each modality, on frozen features.

Each step takes a batch of images with one caption and, where the loss wants it, one hard negative each; the loss is
L_align + λ(e)·L_rec (JAM, arXiv 2507.01201), λ falling linearly over the epochs. After every epoch the adapters are
scored on validation rows by retrieval; the best epoch is the one that is kept.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from jam.config import Objective, Training
from jam.losses import contrastive_loss, negcon_loss, spread_loss
from jam.metrics import retrieval_metrics
from jam.models import Adapter
from jam.pairing import Pairs, draw, pool_rows

MAX_LOGIT_SCALE = 100.0  # CLIP's clamp: beyond it the softmax is a hard maximum and training is unstable


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
    report: Callable[[str], None] = lambda line: None,
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
    report: Callable[[str], None],
) -> Trained:
    if objective.needs_negatives and not pairs.has_negatives:
        raise ValueError(f"{objective.loss}: got images without a hard negative, expected at least one for each image")
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    images, texts = _on_device(pairs.images, device), _on_device(pairs.texts, device)

    options = {"d_latent": objective.latent, **objective.tower_options}
    image = Adapter(objective.model, d_in=images.shape[1], **options)
    text = Adapter(objective.model, d_in=texts.shape[1], **options)
    image.standardise.fit(_rows(pairs.images, pairs.image_rows), training.whitening)
    text.standardise.fit(_rows(pairs.texts, pairs.flat_captions()[0]), training.whitening)
    image, text = image.to(device), text.to(device)

    log_scale = torch.tensor(
        math.log(1 / training.temperature), device=device, requires_grad=training.learn_temperature
    )
    groups: list[dict[str, Any]] = [{"params": [*image.parameters(), *text.parameters()]}]
    if training.learn_temperature:
        groups.append({"params": [log_scale], "weight_decay": 0.0})
    optimiser = torch.optim.Adam(groups, lr=objective.learning_rate, weight_decay=training.weight_decay, fused=True)
    steps = math.ceil(len(pairs) / training.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=steps * training.epochs)

    history: list[dict[str, Any]] = []
    best: dict[str, Any] = {"validation_recall": -1.0}
    state: tuple[Any, Any] | None = None
    for epoch in range(training.epochs):
        progress = epoch / max(1, training.epochs - 1)
        weight = _between(objective.reconstruction, progress) if image.reconstructs else 0.0
        alpha_now = None if alpha is None else _between(alpha, progress)
        image.train()
        text.train()
        totals = torch.zeros(2, device=device)
        for batch in _batches(pairs, objective, training, generator, device):
            v = images.index_select(0, batch.images)
            t = batch.captions(texts)
            z_v, z_t = image(v), text(t)
            z_q = text(texts.index_select(0, batch.negatives)) if batch.negatives is not None else None
            align = _alignment(objective, z_v, z_t, z_q, log_scale.exp(), alpha_now)
            rebuild = (
                _reconstruction(objective, image, text, v, t, z_v, z_t) if image.reconstructs else align.new_zeros(())
            )
            optimiser.zero_grad(set_to_none=True)
            (align + weight * rebuild).backward()
            for adapter in (image, text):
                nn.utils.clip_grad_norm_(adapter.parameters(), training.clip_norm)
            optimiser.step()
            schedule.step()
            if training.learn_temperature:
                with torch.no_grad():
                    log_scale.clamp_(max=math.log(MAX_LOGIT_SCALE))
            totals += torch.stack([align.detach(), rebuild.detach()])  # read back once an epoch, not every step

        align_mean, rebuild_mean = (totals / steps).tolist()
        if not math.isfinite(align_mean + rebuild_mean):
            raise ValueError(
                f"{objective.loss}, epoch {epoch}: got a loss of {align_mean}, expected a finite one "
                "(try a lower learning_rate)"
            )
        scores = validation_scores(image, text, validation)
        history.append(
            {
                "alpha": alpha[0] if alpha else None,
                "epoch": epoch,
                "loss_align": align_mean,
                "loss_reconstruction": rebuild_mean if image.reconstructs else None,
                "reconstruction_weight": weight,
                "logit_scale": log_scale.exp().item(),
                **scores,
            }
        )
        report(
            f"epoch {epoch + 1}/{training.epochs}: align {align_mean:.3f}, reconstruction {rebuild_mean:.3f}, "
            f"validation recall {scores['validation_recall']:.3f}"
        )
        if scores["validation_recall"] > best["validation_recall"]:
            best = {"epoch": epoch, "alpha": list(alpha) if alpha else None, **scores}
            state = copy.deepcopy((image.state_dict(), text.state_dict()))
        elif epoch - best["epoch"] >= training.patience:
            break

    assert state is not None
    image.load_state_dict(state[0])
    text.load_state_dict(state[1])
    return Trained(image.eval(), text.eval(), pd.DataFrame(history), best)


def validation_scores(image: Adapter, text: Adapter, pairs: Pairs) -> dict[str, float]:
    """R@1 both ways and their mean, ``validation_recall``: the one criterion by which anything is chosen."""
    rows, image_of_text = pairs.flat_captions()
    scores = retrieval_metrics(
        image.encode(pairs.images[pairs.image_rows]), text.encode(pairs.texts[rows]), image_of_text, ks=(1,)
    )
    i2t, t2i = scores["i2t_r1"], scores["t2i_r1"]
    return {"validation_i2t_r1": i2t, "validation_t2i_r1": t2i, "validation_recall": (i2t + t2i) / 2}


@dataclass(frozen=True)
class _Batch:
    """Row numbers on the device; ``caption_rows`` is (b,) when one was drawn and (b, K) when they are pooled."""

    images: Tensor
    caption_rows: Tensor
    negatives: Tensor | None
    pooling: str

    def captions(self, texts: Tensor) -> Tensor:
        if self.caption_rows.ndim == 1:
            return texts.index_select(0, self.caption_rows)
        return pool_rows(texts, self.caption_rows, self.pooling)  # type: ignore[arg-type]


def _batches(
    pairs: Pairs, objective: Objective, training: Training, generator: np.random.Generator, device: torch.device
) -> Any:
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
    return (_Batch(i, c, q, training.captions) for i, c, q in zip(*columns, strict=True))


def _alignment(
    objective: Objective, z_v: Tensor, z_t: Tensor, z_q: Tensor | None, scale: Tensor, alpha: float | None
) -> Tensor:
    if objective.loss == "con":
        return contrastive_loss(z_v, z_t, scale)
    assert z_q is not None
    if objective.loss == "negcon":
        return negcon_loss(z_v, z_t, z_q, scale)
    assert alpha is not None
    return spread_loss(z_v, z_t, z_q, scale, alpha, objective.neighbours)


def _reconstruction(
    objective: Objective, image: Adapter, text: Adapter, v: Tensor, t: Tensor, z_v: Tensor, z_t: Tensor
) -> Tensor:
    """L_rec = ½(MSE(v̂, v) + MSE(t̂, t)) on scaled features, plus the same across modalities if asked for."""
    v, t = image.standardise.scaled(v), text.standardise.scaled(t)
    loss = functional.mse_loss(image.tower.decode(z_v), v) + functional.mse_loss(text.tower.decode(z_t), t)
    if objective.cross_reconstruction:
        across = functional.mse_loss(image.tower.decode(z_t), v) + functional.mse_loss(text.tower.decode(z_v), t)
        loss = loss + objective.cross_reconstruction * across
    return 0.5 * loss


def _between(ends: tuple[float, float], progress: float) -> float:
    """Linear schedule from ends[0] to ends[1]."""
    return ends[0] + (ends[1] - ends[0]) * progress


def _rows(table: np.ndarray, rows: np.ndarray) -> Tensor:
    return torch.as_tensor(table[rows])


def _on_device(table: np.ndarray, device: torch.device) -> Tensor:
    """The whole table on an accelerator; on the CPU the memory map itself, without a copy."""
    if device.type == "cpu":
        return _as_tensor(table)
    return torch.as_tensor(np.asarray(table), device=device)


def _as_tensor(table: np.ndarray) -> Tensor:
    """A tensor over the array's own memory, which nothing here writes to."""
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(np.asarray(table))
