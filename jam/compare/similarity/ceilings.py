"""What a similarity could at most be expected to be: that of a model with itself, trained once more."""

from collections.abc import Hashable, Mapping

import numpy as np
import pandas as pd


def with_ceilings(table: pd.DataFrame, recipes: Mapping[str, Hashable]) -> pd.DataFrame:
    """A table of similarities with a column ``ceiling``, where trainings of the same recipe tell it.

    A network is a deterministic map, so that its similarity with itself is 1 and a split-half ceiling says nothing:
    what two models may differ by though they are "the same" is their seed. The ceiling of x with y is therefore the
    geometric mean of how alike x is to its reruns and y to its own (mean over reruns), after the noise ceiling
    √(r_xx·r_yy) of a correlation of two noisy measurements (Spearman 1904); where only one of them has reruns, that
    one. It is no strict bound: two models can be more alike than reruns of a recipe are whose training is unstable.
    It holds within a modality, where both models see the same view. Between images and texts a model can share no
    more than the two views of an item have in common, which reruns do not tell: such pairs have none.

    Args:
        table: columns x, y, metric, value and perhaps direction, as `kernel_similarities` and `linear_similarities`
            give them.
        recipes: of a representation what it shares with its reruns alone (all but the seed; modality and layer too);
            names that are left out have none.

    Returns:
        The table; NaN where no rerun is known, and where x and y are reruns of each other.
    """
    alike = table["x"].map(recipes).eq(table["y"].map(recipes)) & table["x"].map(recipes).notna()
    reruns = table[alike]
    found: dict[tuple[Hashable, str], list[float]] = {}
    for recipe, metric, value in zip(reruns["x"].map(recipes), reruns["metric"], reruns["value"], strict=True):
        found.setdefault((recipe, metric), []).append(max(float(value), 0.0))
    means = {key: float(np.mean(values)) for key, values in found.items()}

    def ceiling(x: str, y: str, metric: str) -> float:
        own = [means[recipes[name], metric] for name in (x, y) if (recipes.get(name), metric) in means]
        return float(np.prod(own) ** (1 / len(own))) if own else np.nan

    values = [ceiling(*key) for key in zip(table["x"], table["y"], table["metric"], strict=True)]
    return table.assign(ceiling=np.where(alike, np.nan, np.array(values, dtype=np.float64)))
