"""Closed-form baselines: fitted on training rows, their regularisation chosen on validation rows."""

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import pandas as pd
import torch

from jam.align.adapter import Adapter
from jam.align.items import Items
from jam.align.space import Side, Space
from jam.align.towers import Linear
from jam.align.train import validation_scores
from jam.losses import ClosedForm, load_loss


def fit_closed_form(loss: str, items: Items, validation: Items, grid: Mapping[str, Sequence[float]]) -> Space:
    """Fit ridge, Procrustes or CCA on the mean views of two sides for every point of a grid; keep the best.

    Args:
        loss: ``ridge``, ``procrustes`` or ``cca``.
        items: training rows, of two sides.
        validation: rows that choose among the grid by recall.
        grid: values to try for each argument of the method, e.g. ``{"penalty": [0.01, 0.1]}``.

    Returns:
        A space of two linear adapters; ``history`` has a row for each point of the grid.

    Raises:
        ValueError: no such closed form, more or fewer than two sides, or a value that the features do not allow.
    """
    form = load_loss(loss)
    if not isinstance(form, ClosedForm):
        raise ValueError(f"loss: got {loss!r}, expected one with a closed form")
    if len(items.sides) != 2:
        raise ValueError(f"{loss}: got sides {list(items.sides)}, expected two, as a closed form has")
    names = tuple(items.sides)
    means = [side.mean() for side in items.sides.values()]
    standardisers = [_standardiser(torch.as_tensor(features)) for features in means]
    x, y = (
        adapter.standardise(torch.as_tensor(features)).double().numpy()
        for adapter, features in zip(standardisers, means, strict=True)
    )

    fitted = []
    for values in product(*grid.values()):
        point = dict(zip(grid, values, strict=True))
        maps = form.solve(x, y, **point)
        adapters = {
            name: _linear(standardiser, matrix)
            for name, standardiser, matrix in zip(names, standardisers, maps, strict=True)
        }
        fitted.append((adapters, {**point, **validation_scores(adapters, validation, [names])}))  # type: ignore[list-item]
    adapters, chosen = max(fitted, key=lambda one: one[1]["validation_recall"])
    sides = {name: Side(adapter) for name, adapter in adapters.items()}
    return Space(sides, [names], pd.DataFrame([told for _, told in fitted]), chosen)  # type: ignore[list-item]


def _standardiser(features: torch.Tensor) -> Adapter:
    adapter = Adapter("linear", d_in=features.shape[1], d_latent=1)
    adapter.standardise.fit(features)
    return adapter


def _linear(standardiser: Adapter, matrix: np.ndarray) -> Adapter:
    adapter = Adapter("linear", *matrix.shape)
    adapter.standardise = standardiser.standardise
    adapter.tower = Linear.from_matrix(torch.as_tensor(np.ascontiguousarray(matrix), dtype=torch.float32))
    return adapter.eval()
