"""The grids of short trainings: over layers, over encoders, over what an alignment may cost."""

from collections.abc import Iterator
from typing import Literal

from jam.params.fields import Count, Distinct, Fraction, LayerNumber, NonNegative, Section, Seeds, Some
from jam.params.spaces import Layer, Objective


class Layers(Section):
    """Which layers of the two encoders that ``align`` names, every one of x with every one of y."""

    x: Some[LayerNumber]
    y: Some[LayerNumber]
    seeds: Seeds


class Scale(Section):
    """Which encoders, at which layer, every one of x with every one of y."""

    x: Some[Layer]
    y: Some[Layer]
    seeds: Seeds

    def _problems(self) -> Iterator[str]:
        for side in (self.x, self.y):
            names = [layer.encoder for layer in side]
            if len(set(names)) < len(names):
                yield f"got {names}, expected each once"


class Pareto(Section):
    """The grid of loss (and of Spread's α, fixed or a curriculum), λ and cross-reconstruction.

    ``reconstruction`` lists λ at the first and at the last epoch. Cross-reconstruction is a part of the reconstruction
    loss, so that with λ = 0 throughout only the first of ``cross`` is run.
    """

    losses: Some[Literal["con", "negcon", "spread"]]
    alphas: Distinct[Fraction | tuple[Fraction, Fraction]]
    reconstruction: Some[tuple[NonNegative, NonNegative]]
    cross: Some[NonNegative]
    seeds: Seeds

    def _problems(self) -> Iterator[str]:
        if ("spread" in self.losses) != bool(self.alphas):
            yield f"alphas: got {list(self.alphas)} with losses {list(self.losses)}"


class Sweeps(Section):
    """Section ``sweeps``: the grids, and the short training that their cells are made of."""

    objective: Objective
    epochs: Count
    layers: Layers
    scale: Scale
    pareto: Pareto

    def _problems(self) -> Iterator[str]:
        if len(self.objective.alphas) > 1:
            yield f"objective.alphas: got {list(self.objective.alphas)}, expected at most one"
