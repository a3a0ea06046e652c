"""Closed-form baselines: fitted on training rows, their regularisation chosen on validation rows."""

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import pandas as pd
import torch

from jam.models import Adapter
from jam.models.closed_form import CLOSED_FORMS
from jam.models.towers import Linear
from jam.pairing import Pairs
from jam.training import Trained, validation_scores


def fit_closed_form(method: str, pairs: Pairs, validation: Pairs, grid: Mapping[str, Sequence[float]]) -> Trained:
    """Fit ridge, Procrustes or CCA on images and their mean captions for every point of a grid; keep the best.

    Args:
        method: ``ridge``, ``procrustes`` or ``cca``.
        pairs: training rows.
        validation: rows that choose among the grid by recall.
        grid: values to try for each argument of the method, e.g. ``{"penalty": [0.01, 0.1]}``.

    Returns:
        Two linear adapters; ``history`` has a row for each point of the grid.

    Raises:
        ValueError: unknown method, or a value that the features do not allow.
    """
    if method not in CLOSED_FORMS:
        raise ValueError(f"method: got {method!r}, expected one of {sorted(CLOSED_FORMS)}")
    features = (np.asarray(pairs.images[pairs.image_rows]), pairs.mean_captions())
    standardisers = [_standardiser(torch.as_tensor(feature)) for feature in features]
    x, y = (
        adapter.standardise(torch.as_tensor(feature)).double().numpy()
        for adapter, feature in zip(standardisers, features, strict=True)
    )

    history = []
    best: Trained | None = None
    for values in product(*grid.values()):
        point = dict(zip(grid, values, strict=True))
        maps = CLOSED_FORMS[method](x, y, **point)
        image, text = (_linear(standardiser, matrix) for standardiser, matrix in zip(standardisers, maps, strict=True))
        scores = validation_scores(image, text, validation)
        history.append({**point, **scores})
        if best is None or scores["validation_recall"] > best.chosen["validation_recall"]:
            best = Trained(image, text, pd.DataFrame(), {**point, **scores})
    assert best is not None
    return Trained(best.image, best.text, pd.DataFrame(history), best.chosen)


def _standardiser(features: torch.Tensor) -> Adapter:
    adapter = Adapter("linear", d_in=features.shape[1], d_latent=1)
    adapter.standardise.fit(features)
    return adapter


def _linear(standardiser: Adapter, matrix: np.ndarray) -> Adapter:
    adapter = Adapter("linear", *matrix.shape)
    adapter.standardise = standardiser.standardise
    adapter.tower = Linear.from_matrix(torch.as_tensor(np.ascontiguousarray(matrix), dtype=torch.float32))
    return adapter.eval()
