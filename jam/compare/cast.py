"""What is compared: a layer of a model, of one modality, after so much of its training."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

TRAINED = 100  # per cent
FACTORS = ("objective", "data", "architecture", "partner", "seed")  # partner: the architecture of the other tower


@dataclass(frozen=True)
class Rep:
    """Rows of the same items for all.

    Attributes:
        model: its name.
        modality: of the views.
        layer: its number.
        depth: 0 of the first layer to 1 of the last.
        final: whether it is the layer that stands for the model: the vector of its own space, an encoder's ``layer``.
        factors: by `FACTORS` what pairs of models may have in common.
        recipe: all that it was made by but the seed.
        rows: "train", "val", "test" → (n, d).
        checkpoint: per cent of the training.
        shifted: (m, d) of items of another domain; None where there are none.
        kind: ``multimodal``, ``encoder``, or ``space``: made of others' features, and no model of its own in tests
            over models.
    """

    model: str
    modality: str
    layer: int
    depth: float
    final: bool
    factors: Mapping[str, str]
    recipe: str
    rows: Mapping[str, npt.NDArray[Any]]
    checkpoint: int = TRAINED
    shifted: npt.NDArray[Any] | None = None
    kind: str = "multimodal"

    @property
    def key(self) -> str:
        """By which it is known in a table."""
        return f"{self.model} {self.modality} {self.layer} at {self.checkpoint}"

    @property
    def rerun(self) -> tuple[Any, ...]:
        """Equal of trainings that differ in nothing but the seed."""
        return self.recipe, self.modality, self.layer, self.checkpoint


def expanded(table: pd.DataFrame, reps: Iterable[Rep]) -> pd.DataFrame:
    """A table whose x and y are keys, with columns of results instead."""
    of = {rep.key: rep for rep in reps}
    xs, ys = ([of[key] for key in table[side]] for side in ("x", "y"))
    told = {
        "x": [rep.model for rep in xs], "x_layer": [rep.layer for rep in xs], "y": [rep.model for rep in ys],
        "y_layer": [rep.layer for rep in ys], "modality": [rep.modality for rep in xs],
        "y_modality": [rep.modality for rep in ys], "checkpoint": [rep.checkpoint for rep in xs],
        "y_checkpoint": [rep.checkpoint for rep in ys], "depth": [rep.depth for rep in xs],
        "y_depth": [rep.depth for rep in ys],
        "final": [a.final and b.final for a, b in zip(xs, ys, strict=True)],
    }  # fmt: skip
    rest = table.drop(columns=["x", "y"]).reset_index(drop=True)
    rest["k"] = rest["k"].where(rest["k"] > 0)
    return pd.concat([pd.DataFrame(told), rest], axis=1)


def similarity_matrix(table: pd.DataFrame, keys: Sequence[str], metric: str) -> npt.NDArray[np.float64]:
    """(n, n) similarities of representations by their keys, both directions averaged, 1 on the diagonal.

    Raises:
        ValueError: a pair that is not in the table.
    """
    place = {key: i for i, key in enumerate(keys)}
    here = table[(table["metric"] == metric) & table["x"].isin(place) & table["y"].isin(place)]
    sums, counts = np.zeros((2, len(keys), len(keys)))
    i, j = (here[side].map(place).to_numpy(np.int64) for side in ("x", "y"))
    for a, b in ((i, j), (j, i)):
        np.add.at(sums, (a, b), here["value"].to_numpy())
        np.add.at(counts, (a, b), 1)
    np.fill_diagonal(sums, 1)
    np.fill_diagonal(counts, 1)
    if missing := int((counts == 0).sum()) // 2:
        raise ValueError(f"{metric}: {missing} pairs of {len(keys)} representations were not compared")
    found: npt.NDArray[np.float64] = sums / counts
    return found
