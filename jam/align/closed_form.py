"""Closed-form baselines: fitted on training rows, their regularisation chosen on validation rows."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import torch

from jam.align.adapter import Adapter
from jam.align.items import Items
from jam.align.space import Side, Space
from jam.align.towers import Linear
from jam.align.validation import Validation
from jam.losses import ClosedForm, load_loss
from jam.params import Criterion


def fit_closed_form(
    loss: str,
    items: Items,
    validation: Items | Validation,
    grid: Mapping[str, Sequence[float]],
    whitening: Sequence[float | None] = (None,),
    criterion: Criterion = "mean",
) -> Space:
    """Fit ridge, Procrustes or CCA on the mean views of two sides for every point of a grid; keep the best.

    Args:
        loss: ``ridge``, ``procrustes`` or ``cca``.
        items: training rows, of two sides.
        validation: rows that choose; a `Validation` where other spaces are chosen among on them too.
        grid: values to try for each argument of the loss, e.g. ``{"penalty": [0.01, 0.1]}``.
        whitening: of the inputs, as trained adapters have it: shrinkages to try, None for not at all.
        criterion: what is chosen by, see `jam.align.validation.Validation`; for rows alone.

    Returns:
        A space of two linear adapters; ``history`` has a row for each point of the grid, NaN for no whitening.

    Raises:
        ValueError: no such closed form, more or fewer than two sides, or a value that the features do not allow.
    """
    form = load_loss(loss)
    if not isinstance(form, ClosedForm):
        raise ValueError(f"loss: got {loss!r}, expected one with a closed form")
    if len(items.sides) != 2:
        raise ValueError(f"{loss}: got sides {list(items.sides)}, expected two, as a closed form has")
    names = tuple(items.sides)
    if isinstance(validation, Items):
        validation = Validation(validation, [names], criterion)  # type: ignore[list-item]
    means = [torch.as_tensor(side.mean()) for side in items.sides.values()]
    fitted = []
    for shrinkage in whitening:
        standardisers = [_standardiser(features, shrinkage) for features in means]
        x, y = (
            adapter.standardise(features).double().numpy()
            for adapter, features in zip(standardisers, means, strict=True)
        )
        for values in product(*grid.values()):
            point = {"whitening": shrinkage, **dict(zip(grid, values, strict=True))}
            maps = form.solve(x, y, **{name: point[name] for name in grid})
            adapters = {
                name: _linear(standardiser, matrix)
                for name, standardiser, matrix in zip(names, standardisers, maps, strict=True)
            }
            told: dict[str, Any] = {"loss": loss, **point, **validation.scores(adapters)}
            fitted.append((adapters, told))
    adapters, chosen = max(fitted, key=lambda one: float(one[1]["validation_score"] or 0))
    sides = {name: Side(adapter) for name, adapter in adapters.items()}
    looks = validation.looks(adapters)
    history = pd.DataFrame([told for _, told in fitted]).drop(columns="loss")
    return Space(sides, [names], history, chosen | looks.chance(), looks)  # type: ignore[list-item]


def _standardiser(features: torch.Tensor, shrinkage: float | None) -> Adapter:
    adapter = Adapter("linear", d_in=features.shape[1], d_latent=1)
    adapter.standardise.fit(features, shrinkage=shrinkage)
    return adapter


def _linear(standardiser: Adapter, matrix: np.ndarray) -> Adapter:
    adapter = Adapter("linear", *matrix.shape)
    adapter.standardise = standardiser.standardise
    adapter.tower = Linear.from_matrix(torch.as_tensor(np.ascontiguousarray(matrix), dtype=torch.float32))
    return adapter.eval()
