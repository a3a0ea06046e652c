"""The one training loop: adapters and encoders pretrained here differ in the arguments that they give it, no more."""

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

Parts = Mapping[str, Tensor]
"""What a step gives: scalars by name, of which ``loss`` is what is minimised."""


def fit(
    module: nn.Module,
    batches: Callable[[int], Iterable[Any]],
    step: Callable[[Any, int], Parts],
    *,
    epochs: int,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    clip: Sequence[tuple[Iterable[Tensor], float]] = (),
    validate: Callable[[int, list[Parts]], float] | None = None,
    patience: float = math.inf,
) -> int | None:
    """Train a module in place; where it is validated, it ends with the weights of its best epoch.

    Args:
        module: all that is trained, in training mode during an epoch and in evaluation mode in ``validate``.
        batches: those of an epoch, by its number from 0.
        step: what a batch costs; given the batch and the number of the epoch.
        epochs: at most.
        optimizer: of the module's parameters.
        schedule: of the learning rate, advanced after every step.
        clip: groups of parameters, and the largest norm of each group's gradient.
        validate: called after every epoch with its number and the parts of its steps, detached; the score that it
            returns is maximised.
        patience: how many epochs without a better score end the training.

    Returns:
        The epoch whose weights were kept; None without ``validate``, where they are the last ones.
    """
    best, kept, weights = -math.inf, None, {}
    for epoch in range(epochs):
        module.train()
        told: list[Parts] = []
        for batch in batches(epoch):
            parts = step(batch, epoch)
            optimizer.zero_grad(set_to_none=True)
            parts["loss"].backward()
            for parameters, norm in clip:
                nn.utils.clip_grad_norm_(parameters, norm)
            optimizer.step()
            schedule.step()
            told.append({name: part.detach() for name, part in parts.items()})  # read back once an epoch, if at all
        module.eval()
        if validate is None:
            continue
        score = validate(epoch, told)
        if kept is None or score > best:
            best, kept, weights = score, epoch, copy.deepcopy(module.state_dict())
        if epoch - kept >= patience:
            break
    if kept is not None:
        module.load_state_dict(weights)
    return kept


@contextmanager
def seeded(seed: int, device: torch.device | str) -> Iterator[None]:
    """Run a block with torch's global generators at ``seed``, and put them back afterwards.

    Modules draw initial weights and dropout masks from the global generators. On CUDA convolutions are computed by
    algorithms that give the same bits at every run.
    """
    device = torch.device(device)
    on_cuda = [device] if device.type == "cuda" else []
    with torch.backends.cudnn.flags(deterministic=True, benchmark=False), torch.random.fork_rng(devices=on_cuda):
        torch.manual_seed(seed)
        yield


def warm_up_then_cosine(
    optimizer: torch.optim.Optimizer, steps: int, warm_up: float
) -> torch.optim.lr_scheduler.LambdaLR:
    """Learning rate of each step: a linear rise over the share ``warm_up`` of the steps, then half a cosine to zero."""
    rise = max(1, round(warm_up * steps))

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * (step + 1 - rise) / (steps + 1 - rise)))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def between(ends: Sequence[float], progress: float) -> float:
    """Linear schedule from ends[0] to ends[1], as progress goes from 0 to 1."""
    return ends[0] + (ends[1] - ends[0]) * progress
