"""All figures and tables of models compared, from the tables of the stage `compare`."""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure

from jam.report import compare_figures, compare_when_figures
from jam.report.compare_tables import (
    across_table,
    claims_table,
    clusters_table,
    factors_table,
    finals,
    measures_table,
    models_of,
    noise_table,
    similar_table,
    training_table,
)
from jam.results import select

TABLES = ("similarity", "when", "trajectory", "factors", "measures", "noise", "clusters", "claims")
"""Files of the stage, by which the functions here find them."""


def compare_figure_set(found: Mapping[str, pd.DataFrame], models: Sequence[str]) -> dict[str, Figure]:
    """Every figure by its name; such as have nothing to show are left out.

    Args:
        found: name of `TABLES` → rows of experiment ``compare``.
        models: those that are named where not all fit: in matrices and paths; and of which trainings are shown.
    """
    similar, when, claims = found["similarity"], found["when"], found["claims"]
    figures: dict[str, Figure] = {}
    for modality in dict.fromkeys(similar["modality"]):
        known = set(models_of(finals(similar, modality)))
        if len(names := [name for name in models if name in known]) > 1:
            figures[f"compare_{modality}"] = compare_figures.matrices(similar, modality, names)
    if len(select(when, condition="depth")):
        figures["compare_depth"] = compare_when_figures.depth(when, claims)
    if len(found["trajectory"]):
        figures["compare_trajectories"] = compare_when_figures.trajectories(found["trajectory"], models)
    if len(when):
        asked = {"depth", "training", "shifted", "own domain"}
        scales = [name for name in dict.fromkeys(when["condition"].dropna()) if name not in asked]
        told = {name: name.replace("_", " ") for name in scales}
        figures["compare_when"] = compare_when_figures.when(when, told, models)
    if len(found["factors"]):
        figures["compare_factors"] = compare_figures.factors(found["factors"])
    return figures | {"compare_claims": compare_figures.claims(claims)}


def compare_table_set(found: Mapping[str, pd.DataFrame], models: Sequence[str]) -> dict[str, str]:
    """Every table in Markdown, by the name of its marker.

    Args:
        found: as `compare_figure_set`.
        models: whose pairs are listed one by one; and whose trainings and clusters are told of.
    """
    similar, factors, noise = found["similarity"], found["factors"], found["noise"]
    sides = list(dict.fromkeys(similar["modality"]))
    tables = {f"compare_{side}": similar_table(similar, side, models) for side in sides}
    tables |= {f"compare_factors_{side}": factors_table(factors, side) for side in dict.fromkeys(factors["modality"])}
    tables |= {"compare_noise": noise_table(noise)} if len(noise) else {}
    return tables | {
        "compare_across": across_table(similar, models), "compare_measures": measures_table(found["measures"]),
        "compare_clusters": clusters_table(found["clusters"], models),
        "compare_training": training_table(found["when"], models), "compare_claims": claims_table(found["claims"]),
    }  # fmt: skip
