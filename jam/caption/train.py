"""Training a projector in front of a frozen language model."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from jam.caption.language import Language
from jam.caption.projector import Projector
from jam.features.ragged import Ragged
from jam.fit import Parts, fit, warm_up_then_cosine

WARM_UP = 0.05
CLIP_NORM = 1.0


@dataclass(frozen=True)
class Examples:
    """What is to be said of which item.

    Attributes:
        rows: (m,) of the inputs.
        prompts: (m,) how a sentence begins; mostly empty.
        answers: (m,) how it goes on.
    """

    rows: np.ndarray
    prompts: Sequence[str]
    answers: Sequence[str]

    def __len__(self) -> int:
        return len(self.rows)

    def batches(self, size: int, rng: np.random.Generator | None = None) -> Iterator[np.ndarray]:
        """Numbers of examples of about equal length together, each once; in a fresh order with ``rng``."""
        order = np.arange(len(self)) if rng is None else rng.permutation(len(self))
        lengths = np.array([len(self.answers[i].split()) for i in order])
        order = order[np.argsort(lengths, kind="stable")]
        starts = np.arange(0, len(order), size)
        for start in starts if rng is None else rng.permutation(starts):
            yield order[start : start + size]


@dataclass(frozen=True)
class Schedule:
    """How a projector is trained.

    Attributes:
        learning_rate: of AdamW at its peak.
        epochs: passes over the examples.
        batch_size: of them.
        noise: deviation of what is added to the inputs, which are unit vectors then: a decoder of texts that is to be
            given images learns to do with what is near (Nukrai et al. 2022, CapDec). 0 for none.
    """

    learning_rate: float
    epochs: int
    batch_size: int
    noise: float = 0.0


def on(device: torch.device | str, tokens: Ragged) -> tuple[Tensor, Tensor]:
    """Padded states and which are real, on a device."""
    states, real = tokens.padded()
    return torch.from_numpy(states).to(device), torch.from_numpy(real).to(device)


def train_projector(
    projector: Projector,
    language: Language,
    inputs: Ragged,
    examples: Examples,
    validation: tuple[Ragged, Examples],
    schedule: Schedule,
    *,
    seed: int,
    report: Callable[[str], None] = lambda line: None,
) -> pd.DataFrame:
    """Train a projector, in place, and what of the language model asks for gradients (LoRA); keep the best epoch.

    Args:
        projector: new, its constants measured.
        language: frozen.
        inputs: of the items.
        examples: to learn from.
        validation: inputs and examples that choose the epoch, by their loss.
        schedule: see there.
        seed: of batches and noise.
        report: called with one line after each epoch.

    Returns:
        A row an epoch: ``loss`` and ``validation_loss``, nats a token.

    Raises:
        ValueError: the loss stops being finite.
    """
    rng, noise = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    device = language.model.device
    both = nn.ModuleList([projector, *(module for module in [language.model] if language.trains)])
    parameters = [weights for weights in both.parameters() if weights.requires_grad]
    steps = math.ceil(len(examples) / schedule.batch_size) * schedule.epochs
    optimizer = torch.optim.AdamW(parameters, lr=schedule.learning_rate, weight_decay=1e-4, fused=True)

    def cost(tokens: Ragged, some: Examples, chosen: np.ndarray, noisy: bool) -> tuple[Tensor, int]:
        states, real = on(device, tokens[some.rows[chosen]])
        if noisy and schedule.noise:
            drawn = torch.randn(states.shape, generator=noise).to(device)
            states = nn.functional.normalize(states + schedule.noise * drawn / states.shape[-1] ** 0.5, dim=-1)
        prompts, answers = ([of[i] for i in chosen] for of in (some.prompts, some.answers))
        return language.loss(projector(states, real), prompts, answers)

    def step(chosen: np.ndarray, epoch: int) -> Parts:
        total, count = cost(inputs, examples, chosen, True)
        return {"loss": total / count, "total": total, "count": torch.tensor(float(count))}

    history: list[dict[str, Any]] = []

    def validate(epoch: int, told: list[Parts]) -> float:
        loss = float(sum(parts["total"] for parts in told)) / float(sum(parts["count"] for parts in told))
        if not math.isfinite(loss):
            raise ValueError(f"epoch {epoch}: got a loss of {loss}, expected a finite one (try a lower learning_rate)")
        tokens, some = validation
        with torch.no_grad():
            costs = [cost(tokens, some, chosen, False) for chosen in some.batches(schedule.batch_size)]
        held = sum(float(total) for total, _ in costs) / sum(count for _, count in costs)
        history.append({"epoch": epoch, "loss": loss, "validation_loss": held})
        report(f"epoch {epoch + 1}/{schedule.epochs}: loss {loss:.3f}, validation loss {held:.3f}")
        return -held

    fit(
        both,
        lambda _: examples.batches(schedule.batch_size, rng),
        step,
        epochs=schedule.epochs,
        optimizer=optimizer,
        schedule=warm_up_then_cosine(optimizer, steps, WARM_UP),
        clip=[(parameters, CLIP_NORM)],
        validate=validate,
    )
    language.model.eval()
    return pd.DataFrame(history)


@torch.inference_mode()
def prefixes(projector: Projector, tokens: Ragged, batch_size: int = 256) -> Tensor:
    """(n, k, d) of all items, on the projector's device."""
    device = projector.gain.device
    parts = [projector(*on(device, tokens[start : start + batch_size])) for start in range(0, len(tokens), batch_size)]
    return torch.cat(parts)


def sentences(language: Language, prefix: Tensor, prompts: Sequence[str], batch_size: int = 256) -> list[str]:
    """What the model says after each prefix (n, k, d) and prompt."""
    found: list[str] = []
    for start in range(0, len(prefix), batch_size):
        here = slice(start, start + batch_size)
        found += language.say(prefix[here], prompts[here])
    return found
