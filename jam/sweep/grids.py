"""The grids: what each cell trains, and the columns of results that tell it from the others."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from jam.params import Layer, Objective, Params
from jam.sweep.cells import Cell
from jam.sweep.scores import Known

WORLD = Path("data/world")
PathOf = Callable[[Layer], Path]


@dataclass(frozen=True)
class Entry:
    """A cell of a grid, and what it is, in columns of `jam.results`."""

    columns: Mapping[str, Any]
    cell: Cell


def layers(params: Params, path_of: PathOf) -> list[Entry]:
    """Every layer of the one encoder that ``align`` names with every layer of the other."""
    grid = params.sweeps.layers
    found = []
    for i, j, seed in product(grid.x, grid.y, grid.seeds):
        x, y = Layer(encoder=params.align.x.encoder, layer=i), Layer(encoder=params.align.y.encoder, layer=j)
        found.append(_entry(params, path_of, x, y, seed))
    return found


def scale(params: Params, path_of: PathOf) -> list[Entry]:
    """Every encoder of the one side with every encoder of the other."""
    grid = params.sweeps.scale
    return [_entry(params, path_of, x, y, seed) for x, y, seed in product(grid.x, grid.y, grid.seeds)]


def pareto(params: Params, path_of: PathOf) -> list[Entry]:
    """Loss (Spread at each α) × λ × cross-reconstruction, on two layers; scored by all that the world tells."""
    grid = params.sweeps.pareto
    x, y = grid.x or params.align.x, grid.y or params.align.y
    told_of = tuple((name, params.encoders[side.encoder].modality) for name, side in (("x", x), ("y", y)))
    losses = [(loss, alpha) for loss in grid.losses for alpha in (grid.alphas if loss == "spread" else (None,))]
    found = []
    for (loss, alpha), weights, cross, seed in product(losses, grid.reconstruction, grid.cross, grid.seeds):
        if cross != grid.cross[0] and weights not in grid.crossed:
            continue
        ends = alpha if isinstance(alpha, tuple) or alpha is None else (alpha, alpha)
        changes = {
            "loss": loss, "alphas": () if ends is None else (ends,), "reconstruction": weights,
            "cross_reconstruction": cross, "latent": (grid.latent,),
        }  # fmt: skip
        told = {"loss": loss, "lambda_first": weights[0], "lambda_last": weights[1], "cross": cross}
        told |= {} if ends is None else {"alpha_first": ends[0], "alpha_last": ends[1]}
        entry = _entry(params, path_of, x, y, seed, changes, told)
        training = entry.cell.training.model_copy(update={"epochs": grid.epochs, "patience": grid.epochs})
        found.append(replace(entry, cell=replace(entry.cell, training=training, known=Known(WORLD, told_of))))
    return found


def _entry(
    params: Params,
    path_of: PathOf,
    x: Layer,
    y: Layer,
    seed: int,
    changes: Mapping[str, Any] | None = None,
    told: Mapping[str, Any] | None = None,
) -> Entry:
    objective = Objective.model_validate({**params.sweeps.objective.model_dump(), **(changes or {})})
    training = params.training.model_copy(update={"epochs": params.sweeps.epochs})
    sides = {"x": path_of(x), "y": path_of(y)}
    columns = {"x": x.encoder, "x_layer": x.layer, "y": y.encoder, "y_layer": y.layer, "seed": seed, **(told or {})}
    return Entry(columns, Cell(sides, [("x", "y")], objective, training, seed, params.evaluate.k))


GRIDS: dict[str, Callable[[Params, PathOf], list[Entry]]] = {"layers": layers, "scale": scale, "pareto": pareto}
