"""Training a space: adapters of all its sides at once, on frozen features.

Each step takes a batch of items with one view on every side and, where the loss wants it, a false one; the loss is
L_align + λ(e)·L_rec (JAM, arXiv 2507.01201), λ falling linearly over the epochs. After every epoch the adapters are
scored on validation rows; the best epoch is the one that is kept.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from jam.align.adapter import Adapter
from jam.align.items import Items, owners
from jam.align.objective import Joint, Pair, parameter_groups
from jam.align.space import Side, Space
from jam.align.tables import Pooling, Table, draw, on_device, pool_rows
from jam.fit import Parts, between, fit
from jam.metrics import hard_negative_correct, retrieval_ranks
from jam.params import Criterion, Objective, Training

Report = Callable[[str], None]


def quiet(line: str) -> None:
    """The report that says nothing."""


def all_pairs(sides: Sequence[str]) -> tuple[Pair, ...]:
    """Every side with every later one."""
    return tuple(combinations(sides, 2))


def train(
    items: Items,
    validation: Items,
    objective: Objective,
    training: Training,
    *,
    pairs: Sequence[Pair] | None = None,
    seed: int,
    device: torch.device | str = "cpu",
    report: Report = quiet,
) -> Space:
    """Train a space for each α and each whitening that are listed, and keep the best on validation rows.

    Args:
        items: training rows.
        validation: rows for early stopping and for the choice of α and of the whitening.
        objective: which adapter and which loss, with its parameters.
        training: the schedule.
        pairs: of sides that are aligned; all by default.
        seed: of initialisation, batches and dropout.
        device: where to train.
        report: called with one line after each epoch.

    Returns:
        The best space; of several whitenings, which one is in ``chosen`` and, NaN for None, in ``history``.

    Raises:
        ValueError: the loss needs false views and some item has none; the loss stops being finite; or the seed is not
            one of torch's.
    """
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed: got {seed}, expected at least 0 and less than 2**64")
    pairs = all_pairs(tuple(items.sides)) if pairs is None else tuple(pairs)
    runs = []
    for whitening, alpha in product(training.whitening, objective.alphas or (None,)):
        if len(training.whitening) > 1:
            report(f"whitening {whitening}")
        single = training.model_copy(update={"whitening": (whitening,)})
        run = _train_one(items, validation, objective, alpha, single, pairs, seed, torch.device(device), report)
        if len(training.whitening) > 1:
            run.history.insert(0, "whitening", math.nan if whitening is None else whitening)
            run.chosen["whitening"] = whitening
        runs.append(run)
    best = max(runs, key=lambda run: run.chosen["validation_score"])
    return Space(best.sides, pairs, pd.concat([run.history for run in runs], ignore_index=True), best.chosen)


def _train_one(
    items: Items,
    validation: Items,
    objective: Objective,
    alpha: tuple[float, float] | None,
    training: Training,
    pairs: Sequence[Pair],
    seed: int,
    device: torch.device,
    report: Report,
) -> Space:
    generator = np.random.default_rng(seed)
    tables = {name: on_device(side.table, device) for name, side in items.sides.items()}
    joint = Joint(objective, training, items, pairs, seed).to(device)
    for _, y in pairs:
        if joint.loss.negatives and not items.sides[y].has_false:
            raise ValueError(
                f"{objective.loss}: got items without a hard negative on side {y}, expected at least one for each"
            )
    optimizer = torch.optim.Adam(
        parameter_groups(joint), lr=objective.learning_rate, weight_decay=training.weight_decay, fused=True
    )
    optimizer.register_step_post_hook(lambda *_: joint.clamp())
    steps = math.ceil(len(items) / training.batch_size)

    def at(ends: Sequence[float], epoch: int) -> float:
        return between(ends, epoch / max(1, training.epochs - 1))

    def weight_at(epoch: int) -> float:
        return at(objective.reconstruction, epoch) if joint.reconstructs else 0.0

    def step(batch: Batch, epoch: int) -> Parts:
        alpha_now = None if alpha is None else at(alpha, epoch)
        align, rebuild = joint(*batch.gather(tables), batch.same, alpha_now, objective.cross_reconstruction)
        return {"loss": align + weight_at(epoch) * rebuild, "align": align, "reconstruction": rebuild}

    history: list[dict[str, Any]] = []

    def validate(epoch: int, told: list[Parts]) -> float:
        totals = sum(torch.stack([parts["align"], parts["reconstruction"]]) for parts in told)
        align, rebuild = (total / steps for total in totals.tolist())  # type: ignore[union-attr]
        if not (math.isfinite(align) and math.isfinite(rebuild)):
            raise ValueError(
                f"{objective.loss}, epoch {epoch}: got a loss of {align} and of {rebuild} in reconstruction, expected "
                "finite ones (try a lower learning_rate)"
            )
        scores = validation_scores(joint.adapters, validation, pairs, training.criterion)
        history.append(
            {
                "alpha": alpha[0] if alpha else None,
                "epoch": epoch,
                "loss_align": align,
                "loss_reconstruction": rebuild if joint.reconstructs else None,
                "reconstruction_weight": weight_at(epoch),
                "logit_scale": torch.stack(list(joint.log_scales)).exp().mean().item(),
                **scores,
            }
        )
        report(
            f"epoch {epoch + 1}/{training.epochs}: align {align:.3f}, reconstruction {rebuild:.3f}, "
            f"validation score {scores['validation_score']:.3f}"
        )
        return scores["validation_score"]

    kept = fit(
        joint,
        lambda _: batches(items, joint, training, generator, device),
        step,
        epochs=training.epochs,
        optimizer=optimizer,
        schedule=torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps * training.epochs),
        clip=[(list(adapter.parameters()), training.clip_norm) for adapter in joint.adapters.values()],
        validate=validate,
        patience=training.patience,
    )
    assert kept is not None
    chosen = {key: value for key, value in history[kept].items() if key.startswith("validation_")}
    chosen = {"epoch": kept, "alpha": list(alpha) if alpha else None, **chosen}
    sides = {name: Side(adapter.eval()) for name, adapter in joint.adapters.items()}
    return Space(sides, tuple(pairs), pd.DataFrame(history), chosen)


def validation_scores(
    adapters: Mapping[str, Adapter], items: Items, pairs: Sequence[Pair], criterion: Criterion = "mean"
) -> dict[str, float]:
    """What is chosen by: R@1 of every pair both ways, accuracy on hard negatives of either side, and both.

    ``validation_recall`` is the mean of the former, ``validation_hard_negatives`` of the latter (absent where there are
    none), ``validation_score`` what the criterion asks for: one of the two, or their mean. Where there are no hard
    negatives it is the recall.
    """
    recalls: dict[str, float] = {}
    right: list[float] = []
    flat = {name: side.flat() for name, side in items.sides.items()}
    latents = {name: adapters[name].encode(side.table[flat[name][0]]) for name, side in items.sides.items()}
    for x, y in pairs:
        (_, items_x), (rows_y, items_y) = flat[x], flat[y]
        if items.truth is None:
            ranks = retrieval_ranks(latents[x], latents[y], *owners(items_x, items_y))
            forth, back = (float(np.mean(each == 1)) for each in ranks)
        else:
            forth, back = items.truth.recall_at_1(latents[x], items_x, latents[y], y, rows_y)
        recalls |= {f"validation_{x}_to_{y}": forth, f"validation_{y}_to_{x}": back}
        for here, there in ((x, y), (y, x)):
            item, false, origin = items.sides[there].negatives()
            if len(item):
                first = np.searchsorted(flat[here][1], item)
                told, untold = (adapters[there].encode(items.sides[there].table[rows]) for rows in (origin, false))
                correct = hard_negative_correct(latents[here], told, untold, first, np.arange(len(item)))
                right.append(float(np.mean(correct)))
    recall = float(np.mean(list(recalls.values())))
    scores = {**recalls, "validation_recall": recall}
    if not right:
        return {**scores, "validation_score": recall}
    negatives = float(np.mean(right))
    chosen = {"recall": recall, "hard_negatives": negatives, "mean": (recall + negatives) / 2}[criterion]
    return {**scores, "validation_hard_negatives": negatives, "validation_score": chosen}


@dataclass(frozen=True)
class Batch:
    """Rows of a batch on the device, by side: (b,) where one view was drawn and (b, K) where they are pooled.

    ``same`` says by pair which views of its second side are true of other items too, as the losses take it.
    """

    true: Mapping[str, Tensor]
    false: Mapping[str, Tensor]
    pooling: Pooling
    same: Mapping[Pair, Tensor]

    def gather(self, tables: Mapping[str, Table]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Features of the true and of the false views, (b, d) by side; only these rows are read."""
        true = {
            name: tables[name].index_select(0, rows) if rows.ndim == 1 else pool_rows(tables[name], rows, self.pooling)  # type: ignore[arg-type]
            for name, rows in self.true.items()
        }
        return true, {name: tables[name].index_select(0, rows) for name, rows in self.false.items()}


def batches(
    items: Items, joint: Joint, training: Training, generator: np.random.Generator, device: torch.device
) -> Iterator[Batch]:
    """One epoch of batches: a fresh order, fresh views, true and false; the last batch may be smaller."""
    order = generator.permutation(len(items))
    sampled = training.captions == "sample"
    true = {
        name: draw(side.true, generator) if sampled or side.true.shape[1] == 1 else side.true
        for name, side in items.sides.items()
    }
    seconds = {y for _, y in joint.pairs} if joint.loss.negatives else set()
    false = {name: draw(side.false, generator) for name, side in items.sides.items() if name in seconds}

    def on(rows: np.ndarray) -> Tensor:
        return torch.as_tensor(rows).to(device)

    for start in range(0, len(order), training.batch_size):
        here = order[start : start + training.batch_size]
        same = {}
        for x, y in joint.pairs if items.truth is not None else ():
            views = true[y][here] if true[y].ndim == 1 else true[y][here, 0]  # a pooled view is as true as its first
            rows = np.concatenate([views, *([false[y][here]] if y in false else [])])
            same[x, y] = on(items.truth.true(here, y, rows))  # type: ignore[union-attr]
        yield Batch(
            {name: on(rows[here]) for name, rows in true.items()},
            {name: on(rows[here]) for name, rows in false.items()},
            training.captions,
            same,
        )
