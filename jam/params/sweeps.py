"""The grids of short trainings: over layers, over encoders, over what an alignment may cost."""

from collections.abc import Iterator
from typing import Literal

from jam.params.fields import Count, Distinct, Fraction, LayerNumber, Name, NonNegative, Section, Seeds, Some
from jam.params.spaces import Layer, Objective


class Layers(Section):
    """Which layers of the two encoders that ``align`` names are trained, every one of x with every one of y.

    All layers of these and of further encoders, ``also_x`` and ``also_y``, are aligned in closed form.
    """

    x: Some[LayerNumber]
    y: Some[LayerNumber]
    seeds: Seeds
    also_x: Distinct[Name]
    also_y: Distinct[Name]


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


class Curve(Section):
    """Two encoders, one of each modality, in this order those of `Params.pairs_of_modalities`."""

    x: Name
    y: Name


class Pairs(Section):
    """How many pairs: ``n`` for every pair of encoders in closed form; ``curves`` with trained methods beside these."""

    n: Some[Count]
    curves: Distinct[Curve]
    curves_n: Some[Count]
    trained: dict[Name, Objective]

    def _problems(self) -> Iterator[str]:
        for name, some in (("n", self.n), ("curves_n", self.curves_n)):
            if list(some) != sorted(some):
                yield f"{name}: got {list(some)}, expected growing numbers"


class Pareto(Section):
    """The grid of loss (and of Spread's α, fixed or a curriculum), λ and cross-reconstruction, on two layers.

    ``x`` and ``y`` are those that ``align`` names where they are left out. ``reconstruction`` lists λ at the first and
    at the last epoch. Cross-reconstruction is a part of the reconstruction loss: weights beyond the first of ``cross``
    are run at those λ alone that ``crossed`` lists too.
    """

    x: Layer | None = None
    y: Layer | None = None
    latent: Count
    epochs: Count
    losses: Some[Literal["con", "negcon", "spread"]]
    alphas: Distinct[Fraction | tuple[Fraction, Fraction]]
    reconstruction: Some[tuple[NonNegative, NonNegative]]
    cross: Some[NonNegative]
    crossed: Distinct[tuple[NonNegative, NonNegative]]
    seeds: Seeds

    def _problems(self) -> Iterator[str]:
        if ("spread" in self.losses) != bool(self.alphas):
            yield f"alphas: got {list(self.alphas)} with losses {list(self.losses)}"


class Sweeps(Section):
    """Section ``sweeps``: the grids, and the short training that their cells are made of."""

    objective: Objective
    epochs: Count
    layers: Layers
    pairs: Pairs
    scale: Scale
    pareto: Pareto

    def _problems(self) -> Iterator[str]:
        if len(self.objective.alphas) > 1:
            yield f"objective.alphas: got {list(self.objective.alphas)}, expected at most one"
