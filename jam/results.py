"""The schema of all results: one row a number, its meaning in typed columns, so that nothing is parsed out of a string.

Every stage writes tables of these columns; tables and figures read nothing else. A column that says nothing of a row
is empty.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from jam.errors import InputError
from jam.io import write_csv

TEXT, WHOLE, REAL, FLAG = "string", "Int64", "Float64", "boolean"

COLUMNS: dict[str, str] = {
    "experiment": TEXT,  # what was asked: evaluate, kernels, layers, scale, pareto …
    "subject": TEXT,  # a space, or an encoder by itself
    "seed": WHOLE,  # empty of a mean over seeds
    "split": TEXT,
    "x": TEXT,  # what is compared: an encoder, or a side of the subject
    "x_layer": WHOLE,
    "y": TEXT,
    "y_layer": WHOLE,
    "condition": TEXT,  # which rows, or how they are paired
    "metric": TEXT,
    "direction": TEXT,  # of retrieval: x_to_y, y_to_x, both
    "k": WHOLE,  # neighbours, or the cut-off of a recall
    "value": REAL,
    "low": REAL,  # 95 % interval
    "high": REAL,
    "interval": TEXT,  # how it was made
    "null": REAL,  # 95 % of what chance gives
    "ceiling": REAL,
    "p": REAL,
    "n": WHOLE,  # rows, or cells of a grid
    "seeds": WHOLE,
    "against": TEXT,  # of a paired difference
}

# What tells the rows of one experiment apart, beside the columns of all
OF_EXPERIMENT: dict[str, dict[str, str]] = {
    "encoders": {"label": TEXT},
    "evaluate": {"tier": TEXT, "kind": TEXT, "label": TEXT, "null_mean": REAL},  # of a recall: drawn at random
    "contrasts": {"tier": TEXT, "kind": TEXT, "label": TEXT, "null_mean": REAL},
    "matryoshka": {
        "method": TEXT, "dims": WHOLE, "shortlist": WHOLE, "tier": TEXT, "kind": TEXT, "label": TEXT, "null_mean": REAL,
    },
    "kernels": {"null_mean": REAL, "calibrated": REAL},
    "reality": {
        "label": TEXT, "modality": TEXT, "family": TEXT, "checkpoint": WHOLE, "held": TEXT, "null_mean": REAL,
        "calibrated": REAL,
    },
    "when": {
        "label": TEXT, "modality": TEXT, "family": TEXT, "checkpoint": WHOLE, "held": TEXT, "null_mean": REAL,
        "calibrated": REAL,
    },
    "audit": {
        "encoder": TEXT, "modality": TEXT, "family": TEXT, "checkpoint": WHOLE,  # an entry of `encoders`
        "reference": TEXT, "null_mean": REAL, "calibrated": REAL, "partial": REAL,  # with the number of things held
        "form": TEXT, "outcome": TEXT, "among": TEXT, "encoders": WHOLE,  # of correlations
    },
    "downstream": {  # null_mean: a class drawn at random; units: of the test rows, which are resampled
        "label": TEXT, "shots": WHOLE, "null_mean": REAL, "majority": REAL, "units": WHOLE,
    },
    "layers": {"tier": TEXT, "kind": TEXT, "error": TEXT, "null_mean": REAL, "calibrated": REAL},
    "pairs": {
        "method": TEXT, "pairs": WHOLE, "x_seed": WHOLE, "y_seed": WHOLE, "predictor": TEXT, "foretold": TEXT,
    },
    "scale": {
        "tier": TEXT, "kind": TEXT, "error": TEXT, "effect": TEXT, "modality": TEXT, "level": TEXT, "reference": TEXT,
        "smallest_p": REAL, "pairs": WHOLE, "family": TEXT,
    },
    "pareto": {
        "tier": TEXT, "kind": TEXT, "error": TEXT, "label": TEXT, "loss": TEXT, "alpha_first": REAL, "alpha_last": REAL,
        "lambda_first": REAL, "lambda_last": REAL, "cross": REAL,
    },
    "pareto_fronts": {
        "loss": TEXT, "alpha_first": REAL, "alpha_last": REAL, "goal": TEXT, "kept": TEXT, "settings": WHOLE,
        "lambda_first": REAL, "lambda_last": REAL, "cross": REAL,
    },
    "resampler": {  # of monitors: the least and the largest value that is as it should be
        "tier": TEXT, "kind": TEXT, "label": TEXT, "null_mean": REAL, "least": REAL, "most": REAL, "passed": FLAG,
    },
    "captions": {"kind": TEXT, "tier": TEXT, "label": TEXT, "null_mean": REAL},  # kind of question; label: an attribute
    # models on either side, their layers' depths from 0 to 1; final: both at the layer that stands for the model
    "compare": {
        "modality": TEXT, "y_modality": TEXT, "checkpoint": WHOLE, "y_checkpoint": WHOLE, "depth": REAL,
        "y_depth": REAL, "final": FLAG, "null_mean": REAL, "level": REAL, "y_level": REAL, "label": TEXT,
        "clusters": WHOLE, "dimension": WHOLE, "explained": REAL, "negative": REAL, "factor": TEXT,
        "standardised": REAL, "smallest_p": REAL, "models": WHOLE, "pairs": WHOLE, "least": REAL, "most": REAL,
        "holding": WHOLE, "claim": TEXT, "text": TEXT, "claimed_low": REAL, "claimed_high": REAL, "outcome": TEXT,
    },
    # anchors: items that both models have seen, or labelled ones; kept, with its interval: the share of the score that
    # it is held against (of transfer above chance), the own one of y (own) or of x (own_x)
    "stitch": {"method": TEXT, "anchors": WHOLE, "null_mean": REAL, "kept": REAL, "kept_low": REAL, "kept_high": REAL},
    "transfer": {
        "label": TEXT, "method": TEXT, "anchors": WHOLE, "alpha": REAL, "temperature": REAL, "null_mean": REAL,
        "kept": REAL, "kept_low": REAL, "kept_high": REAL,
    },
    "reference": {"reference": TEXT, "label": TEXT},  # held against: an encoder, or the state
    "trends": {"grid": TEXT, "predictor": TEXT, "predictor_side": TEXT, "within": TEXT, "tier": TEXT},
}  # fmt: skip


def columns_of(experiment: str) -> dict[str, str]:
    """Name → type of the columns of an experiment's tables.

    Raises:
        ValueError: no such experiment.
    """
    if experiment not in OF_EXPERIMENT:
        raise ValueError(f"experiment: got {experiment!r}, expected one of {sorted(OF_EXPERIMENT)}")
    return COLUMNS | OF_EXPERIMENT[experiment]


def results_table(experiment: str, rows: Iterable[Mapping[str, Any]] | pd.DataFrame) -> pd.DataFrame:
    """Rows as a table of the schema.

    Raises:
        ValueError: a column that the experiment does not have, or a value of another type.
    """
    types = columns_of(experiment)
    table = pd.DataFrame(rows)
    if odd := set(table) - set(types):
        raise ValueError(f"{experiment}: got columns {sorted(odd)}, expected some of {list(types)}")
    table = table.reindex(columns=list(types)).assign(experiment=experiment)
    try:
        return table.astype(types)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{experiment}: {error}") from error


def write_results(path: str | Path, experiment: str, rows: Iterable[Mapping[str, Any]] | pd.DataFrame) -> pd.DataFrame:
    """Write a table of the schema, without the columns that say nothing in it; the whole table is returned."""
    table = results_table(experiment, rows)
    write_csv(path, table.dropna(axis="columns", how="all") if len(table) else table)
    return table


def read_results(paths: Sequence[Path]) -> pd.DataFrame:
    """The union of result tables, with all columns of the experiments that are in it.

    Raises:
        InputError: a file is missing, or is no such table.
    """
    tables, read = [], set[str]()
    for path in paths:
        if not path.is_file():
            raise InputError(f"{path}: no such file; run the stage that writes it (dvc repro)")
        table = pd.read_csv(path, keep_default_na=False, na_values=[""], dtype=str)
        experiments = set(table.get("experiment", ()))
        try:
            types = COLUMNS | {name: of for each in experiments for name, of in columns_of(each).items()}
            if table.empty and "experiment" in table:
                continue
            if not experiments or set(table) - set(types):
                raise ValueError(f"columns {sorted(set(table) - set(types))}")
            for name in (name for name in table if types[name] == FLAG):
                table[name] = table[name].map({"True": True, "False": False})
            tables.append(table.astype({name: types[name] for name in table}))
            read |= experiments
        except (TypeError, ValueError) as error:
            raise InputError(f"{path}: got {error}, expected a table of results") from error
    known = [of for name, of in OF_EXPERIMENT.items() if name in read]
    types = COLUMNS | {name: of for each in known for name, of in each.items()}
    union = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    return union.reindex(columns=list(types)).astype(types)


def select(table: pd.DataFrame, **where: Any) -> pd.DataFrame:
    """Rows whose columns have the values given; None stands for an empty cell, a tuple for any of its members."""
    here = pd.Series(True, index=table.index)
    for name, value in where.items():
        if name not in table:
            column = pd.Series(pd.NA, index=table.index)
        else:
            column = table[name]
        if value is None:
            here &= column.isna()
        else:
            here &= column.isin(value if isinstance(value, tuple) else [value]).fillna(False)
    return table[here]
