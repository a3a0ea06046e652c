"""What is chosen on validation rows, and the budget of trainings that the choice takes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from jam.params import Objective, Training

T = TypeVar("T")


@dataclass(frozen=True)
class Setting:
    """One value of everything of which params may list several, in the order in which they are tried."""

    whitening: float | None
    alpha: tuple[float, float] | None
    latent: int
    dropout: float | None
    weight_decay: float


def listed(objective: Objective, training: Training) -> dict[str, Sequence[Any]]:
    """The values of each field of `Setting` that are to be tried."""
    return {
        "whitening": training.whitening,
        "alpha": objective.alphas or (None,),
        "latent": objective.latent,
        "dropout": objective.dropout or (None,),
        "weight_decay": training.weight_decay,
    }


def first(values: Mapping[str, Sequence[Any]]) -> Setting:
    """The first value of each field: the only one where no choice is left."""
    return Setting(**{name: some[0] for name, some in values.items()})


def one_by_one(
    values: Mapping[str, Sequence[Any]], run: Callable[[Setting], T], score: Callable[[T], float]
) -> list[tuple[Setting, T]]:
    """Try each field's values in turn, at the best so far of those before it and the first of those after it.

    That is 1 + Σ (values − 1) runs, where a full grid has Π values.

    Returns:
        Every setting that was tried and what came of it, the best first.
    """
    start = first(values)
    runs = [(start, run(start))]
    for name, some in values.items():
        best = max(runs, key=lambda one: score(one[1]))[0]
        for value in some[1:]:
            setting = replace(best, **{name: value})
            runs.append((setting, run(setting)))
    return sorted(runs, key=lambda one: -score(one[1]))
