"""Training adapters that read tokens: loop, losses and the choice on validation rows are those of all spaces."""

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from jam.align.blocks import Standardise
from jam.align.items import Items
from jam.align.objective import Pair
from jam.align.space import Side, Space
from jam.align.tables import draw
from jam.align.token_adapter import TokenAdapter
from jam.align.validation import Validation
from jam.errors import InputError
from jam.evaluation.scores import Key
from jam.features.ragged import Ragged
from jam.fit import Parts, fit, warm_up_then_cosine
from jam.losses import Loss, load_loss, matryoshka
from jam.metrics import alignment, uniformity
from jam.params.resampler import Resampling
from jam.resampler.cost import multiply_adds

Grids = Mapping[str, tuple[int, int] | None]
"""By side that of its feature map; None of a sequence."""
Measured = Mapping[str, Standardise]
CLIP_NORM = 1.0


@dataclass(frozen=True)
class Losses:
    """The two parts of the loss, as they are told apart epoch by epoch."""

    nested: Loss
    full: Loss
    mrl_weight: float
    clip_weight: float
    scale: float

    @classmethod
    def of(cls, recipe: Resampling, temperature: float) -> "Losses":
        """Those of a recipe."""
        loss = load_loss(recipe.loss)
        assert isinstance(loss, Loss)
        return cls(matryoshka(loss, recipe.dims), loss, recipe.mrl_weight, recipe.clip_weight, 1 / temperature)

    def __call__(self, a: Tensor, p: Tensor, q: Tensor | None) -> Parts:
        """``loss``, ``loss_mrl`` and ``loss_clip`` of latents (n, d)."""
        mrl, clip = (each(a, p, q, self.scale, None) for each in (self.nested, self.full))
        return {"loss": self.mrl_weight * mrl + self.clip_weight * clip, "loss_mrl": mrl, "loss_clip": clip}


def measured(items: Items, whitening: float | None) -> Measured:
    """By side the constants of training tokens, which do not depend on what is trained on them.

    Raises:
        ValueError: the tokens do not vary or are not finite.
    """
    found: dict[str, Standardise] = {}
    for name, side in items.sides.items():
        table = tokens_of(items, name)
        found[name] = Standardise(table.shape[1])
        found[name].fit(table.tokens, table[np.unique(side.flat()[0])].rows(), whitening)
    return found


def adapters_of(recipe: Resampling, known: Measured, grids: Grids) -> dict[str, TokenAdapter]:
    """New adapters by side, with constants that are known of training tokens."""
    found: dict[str, TokenAdapter] = {}
    shared: dict[str, Any] = {}
    for name, constants in known.items():
        options: dict[str, Any] = {"reduce": recipe.reducer, "grid": grids[name], "dropout": recipe.dropout}
        options |= {"hidden": recipe.hidden, "feed": recipe.feed}
        adapter = TokenAdapter(
            f"token_{recipe.map}", len(constants.mean), recipe.latent, recipe.width, **options, **shared
        )
        adapter.standardise = copy.deepcopy(constants)
        if recipe.share:
            shared = {"reducer": adapter.reducer, "head": adapter.head}
        found[name] = adapter
    return found


def tokens_of(items: Items, side: str) -> Ragged:
    """The tokens of a side, whose table they are."""
    table: Any = items.sides[side].table
    assert isinstance(table, Ragged)
    return table


def train_tokens(
    items: Items,
    validation: Validation,
    recipe: Resampling,
    grids: Grids,
    *,
    pair: Pair,
    temperature: float,
    seed: int,
    known: Measured | None = None,
    device: torch.device | str = "cpu",
    report: Callable[[str], None] = lambda line: None,
) -> Space:
    """Train an adapter of tokens a side, and keep the best epoch on validation rows.

    Args:
        items: training rows, whose tables are `Ragged`.
        validation: rows that choose.
        recipe: adapters, loss and schedule.
        grids: by side that of its feature map, None of a sequence.
        pair: of sides.
        temperature: of the loss.
        seed: of initialisation, batches and dropout.
        known: the constants of the training tokens, if they are measured already, see `measured`.
        device: where to train.
        report: called with one line after each epoch.

    Returns:
        The space. Its ``history`` has a row an epoch: ``loss``, ``loss_mrl`` and ``loss_clip`` (means over steps),
        ``gradient_norm`` (mean, before it is clipped), ``alignment`` and ``uniformity`` (of first validation views,
        the mean of both sides), and what is chosen by.

    Raises:
        ValueError: the tokens do not vary or are not finite, the loss stops being finite, or it needs false views and
            some item has none.
    """
    torch.manual_seed(seed)
    rng, (x, y), losses = np.random.default_rng(seed), pair, Losses.of(recipe, temperature)
    if losses.full.negatives and not items.sides[y].has_false:
        raise ValueError(f"{recipe.loss}: got items without a hard negative on side {y}, expected one for each")
    towers = adapters_of(recipe, known or measured(items, recipe.whitening), grids)
    adapters = nn.ModuleDict(towers).to(device)
    parameters = list(adapters.parameters())
    steps = math.ceil(len(items) / recipe.batch_size)
    optimizer = torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)
    norms: list[Tensor] = []
    optimizer.register_step_pre_hook(lambda *_: norms.append(nn.utils.clip_grad_norm_(parameters, CLIP_NORM)))

    def batches(_: int) -> Any:
        order = rng.permutation(len(items))
        true = {name: draw(side.true, rng) for name, side in items.sides.items()}
        false = draw(items.sides[y].false, rng) if losses.full.negatives else None
        for start in range(0, len(order), recipe.batch_size):
            here = order[start : start + recipe.batch_size]
            yield true[x][here], true[y][here], None if false is None else false[here]

    def read(name: str, rows: np.ndarray) -> Tensor:
        states, real = (torch.from_numpy(each).to(device) for each in tokens_of(items, name)[rows].flat())
        return cast(Tensor, towers[name](states, real))

    def step(batch: tuple[np.ndarray, np.ndarray, np.ndarray | None], epoch: int) -> Parts:
        seen, told, untold = batch
        texts = read(y, told if untold is None else np.concatenate([told, untold]))
        return losses(read(x, seen), texts[: len(told)], None if untold is None else texts[len(told) :])

    history: list[dict[str, Any]] = []
    firsts = {name: np.unique(side.flat()[1], return_index=True)[1] for name, side in validation.items.sides.items()}

    def validate(epoch: int, told: list[Parts]) -> float:
        means = {name: torch.stack([parts[name] for parts in told]).mean().item() for name in told[0]}
        if not math.isfinite(means["loss"]):
            raise ValueError(
                f"epoch {epoch}: got a loss of {means['loss']}, expected a finite one (lower learning_rate)"
            )
        latents = validation.latents(towers)
        vectors, scores = {name: latents[name][firsts[name]] for name in towers}, validation.scores(towers, latents)
        history.append(
            {
                "epoch": epoch,
                **means,
                "gradient_norm": torch.stack(norms[-steps:]).mean().item(),
                "alignment": alignment(vectors[x], vectors[y]),
                "uniformity": (uniformity(vectors[x]) + uniformity(vectors[y])) / 2,
                **scores,
            }
        )
        report(
            f"epoch {epoch + 1}/{recipe.epochs}: loss {means['loss']:.3f}, "
            f"validation score {scores['validation_score']:.3f}"
        )
        return scores["validation_score"]

    kept = fit(
        adapters,
        batches,
        step,
        epochs=recipe.epochs,
        optimizer=optimizer,
        schedule=warm_up_then_cosine(optimizer, steps * recipe.epochs, recipe.warm_up),
        validate=validate,
    )
    assert kept is not None
    chosen = {name: value for name, value in history[kept].items() if name.startswith("validation_")}
    looks = validation.looks(towers)
    sides = {name: Side(adapter.eval()) for name, adapter in towers.items()}
    told = {"loss": recipe.loss, "epoch": kept, **chosen, **looks.chance()}
    return Space(sides, (pair,), pd.DataFrame(history), told, looks)


def token_adapters(space: Space) -> dict[str, TokenAdapter]:
    """The adapters of a space of tokens, by side.

    Raises:
        InputError: a side reads something else.
    """
    found = {name: side.adapter for name, side in space.sides.items() if isinstance(side.adapter, TokenAdapter)}
    if odd := set(space.sides) - set(found):
        raise InputError(f"space: got sides {sorted(odd)} that read no tokens, expected token adapters")
    return found


def worth(adapters: Mapping[str, TokenAdapter], tokens: Mapping[str, Ragged]) -> dict[Key, float]:
    """Trained parameters, those that sides share counted once, and multiply-adds an item of each side."""
    shared = {id(each): each.numel() for adapter in adapters.values() for each in adapter.parameters()}
    x, y = adapters
    found = {Key("parameters", x, y): float(sum(shared.values()))}
    for name, adapter in adapters.items():
        found[Key("multiply_adds", name)] = multiply_adds(adapter, float(tokens[name].lengths.mean()))
    return found
