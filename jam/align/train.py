"""Training a space: adapters of all its sides at once, on frozen features.

Each step takes a batch of items with one view on every side and, where the loss wants it, a false one; the loss is
L_align + λ(e)·L_rec (JAM, arXiv 2507.01201), λ falling linearly over the epochs. After every epoch the adapters are
scored on validation rows; the best epoch is kept, and the best of the settings that are tried.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from jam.align.items import Items
from jam.align.objective import Joint, Pair, parameter_groups
from jam.align.setting import Setting, listed, one_by_one
from jam.align.space import Side, Space
from jam.align.tables import Pooling, Table, draw, on_device, pool_rows, standardised
from jam.align.validation import Validation
from jam.fit import Parts, between, fit
from jam.params import Objective, Training

Report = Callable[[str], None]


def quiet(line: str) -> None:
    """The report that says nothing."""


def all_pairs(sides: Sequence[str]) -> tuple[Pair, ...]:
    """Every side with every later one."""
    return tuple(combinations(sides, 2))


def train(
    items: Items,
    validation: Items | Validation,
    objective: Objective,
    training: Training,
    *,
    pairs: Sequence[Pair] | None = None,
    seed: int,
    device: torch.device | str = "cpu",
    report: Report = quiet,
) -> Space:
    """Train a space, once for each setting that is tried (`jam.align.setting`), and keep the best on validation rows.

    Args:
        items: training rows.
        validation: rows that choose; a `Validation` where other spaces are chosen among on them too.
        objective: which adapter and which loss, with its parameters.
        training: the schedule.
        pairs: of sides that are aligned; all by default.
        seed: of initialisation, batches and dropout.
        device: where to train.
        report: called with one line after each epoch.

    Returns:
        The best space. Of what was listed with several values, ``chosen`` tells which was kept and ``history`` which
        was tried (NaN for None), with the number of the ``trial``.

    Raises:
        ValueError: the loss needs false views and some item has none; the loss stops being finite; or the seed is not
            one of torch's.
    """
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed: got {seed}, expected at least 0 and less than 2**64")
    pairs = all_pairs(tuple(items.sides)) if pairs is None else tuple(pairs)
    if isinstance(validation, Items):
        validation = Validation(validation, pairs, training.criterion)
    values = listed(objective, training)
    several = [name for name, some in values.items() if len(some) > 1]
    histories: list[pd.DataFrame] = []

    def run(setting: Setting) -> Space:
        told = {name: getattr(setting, name) for name in several}
        if told:
            report(f"trial {len(histories)}: {', '.join(f'{name} {value}' for name, value in told.items())}")
        space = _train_one(items, validation, objective, training, setting, pairs, seed, torch.device(device), report)
        columns = {name: math.nan if value is None else value for name, value in told.items() if name != "alpha"}
        trial = {"trial": len(histories), **columns} if told else {}
        histories.append(space.history.assign(**trial)[[*trial, *space.history]])
        return replace(space, chosen={**told, **space.chosen})

    runs = one_by_one(values, run, lambda space: space.chosen["validation_score"])
    _, best = runs[0]
    looks = validation.looks({name: side.adapter for name, side in best.sides.items()})
    history = pd.concat(histories, ignore_index=True)
    return replace(best, history=history, chosen=best.chosen | looks.chance(), looks=looks)


def _train_one(
    items: Items,
    validation: Validation,
    objective: Objective,
    training: Training,
    setting: Setting,
    pairs: Sequence[Pair],
    seed: int,
    device: torch.device,
    report: Report,
) -> Space:
    generator = np.random.default_rng(seed)
    tables = {name: on_device(side.table, device) for name, side in items.sides.items()}
    joint = Joint(objective, training, setting, items, pairs, seed).to(device)
    inputs = {
        name: standardised(table, joint.adapters[name].standardise, training.batch_size)
        for name, table in tables.items()
    }
    ready = training.captions == "sample" and all(rows is not None for rows in inputs.values())
    alpha = setting.alpha
    for _, y in pairs:
        if joint.loss.negatives and not items.sides[y].has_false:
            raise ValueError(
                f"{objective.loss}: got items without a hard negative on side {y}, expected at least one for each"
            )
    optimizer = torch.optim.Adam(
        parameter_groups(joint), lr=objective.learning_rate, weight_decay=setting.weight_decay, fused=True
    )
    optimizer.register_step_post_hook(lambda *_: joint.clamp())
    steps = math.ceil(len(items) / training.batch_size)

    def at(ends: Sequence[float], epoch: int) -> float:
        return between(ends, epoch / max(1, training.epochs - 1))

    def weight_at(epoch: int) -> float:
        return at(objective.reconstruction, epoch) if joint.reconstructs else 0.0

    def step(batch: Batch, epoch: int) -> Parts:
        alpha_now = None if alpha is None else at(alpha, epoch)
        true, false = batch.gather(tables) if joint.reconstructs or not ready else ({}, {})
        seen = batch.gather(inputs) if ready else joint.standardised(true, false)  # type: ignore[arg-type]
        align, rebuild = joint(*seen, true, batch.same, batch.context, alpha_now, objective.cross_reconstruction)
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
        scores = validation.scores(joint.adapters)
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
        lambda _: batches(items, joint, objective, training, generator, device),
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
    chosen = {"loss": objective.loss, "epoch": kept, "alpha": list(alpha) if alpha else None, **chosen}
    sides = {name: Side(adapter.eval()) for name, adapter in joint.adapters.items()}
    return Space(sides, tuple(pairs), pd.DataFrame(history), chosen)


@dataclass(frozen=True)
class Batch:
    """Rows of a batch on the device, by side: (b,) where one view was drawn and (b, K) where they are pooled.

    ``same`` says by pair which views of its second side are true of other items too, ``context`` which items are of one
    context, as the losses take them.
    """

    true: Mapping[str, Tensor]
    false: Mapping[str, Tensor]
    pooling: Pooling
    same: Mapping[Pair, Tensor]
    context: Tensor | None

    def gather(self, tables: Mapping[str, Table]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Features of the true and of the false views, (b, d) by side; only these rows are read."""
        true = {
            name: tables[name].index_select(0, rows) if rows.ndim == 1 else pool_rows(tables[name], rows, self.pooling)  # type: ignore[arg-type]
            for name, rows in self.true.items()
        }
        return true, {name: tables[name].index_select(0, rows) for name, rows in self.false.items()}


def batches(
    items: Items,
    joint: Joint,
    objective: Objective,
    training: Training,
    generator: np.random.Generator,
    device: torch.device,
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
            on(of_one_context(items.contexts[here])) if objective.context else None,  # type: ignore[index]
        )


def of_one_context(contexts: np.ndarray) -> np.ndarray:
    """Which of some items (b,) share a context, (b, b) booleans; −1 is none."""
    return (contexts[:, None] == contexts) & (contexts >= 0)
