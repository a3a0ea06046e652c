"""All results of a run: read from the tables of every stage. Not a stage of the graph.

Reads   metrics/tables/, metrics/curves/, metrics/siblings/: of the names that params.yaml lists, no others

By hand:  python -m stages.results          print the main table, and where everything is
"""

from pathlib import Path

import pandas as pd

from jam.errors import InputError
from jam.params import Params, load_params
from jam.results import read_results
from stages.common import METRICS, PLOTS, SIBLINGS, TABLES, run, say

SINGLE = ("audit", "blind", "contrasts", "evaluate", "kernels", "pairs", "reality", "when")
SWEEPS = {
    "layers": ("cells", "frozen", "best", "depth", "trends"),
    "scale": ("cells", "effects", "trends"),
    "pareto": ("cells", "fronts", "private"),
}


def tables(params: Params) -> list[Path]:
    """The tables of the paper's questions."""
    return [
        *(TABLES / "encoders" / f"{name}.csv" for name in params.encoders),
        *(TABLES / f"{name}.csv" for name in SINGLE),
        *(TABLES / name / f"{what}.csv" for name, parts in SWEEPS.items() for what in parts),
    ]


def sibling_tables(params: Params) -> list[Path]:
    """The tables of what goes beyond the paper."""
    names = ["downstream", "reference", *(f"matryoshka/{name}" for name in params.matryoshka)]
    names += [f"resampler/{name}/scores" for name in params.resampler]
    names += [f"captions/{name}/scores" for name in params.captions]
    return [SIBLINGS / f"{name}.csv" for name in names]


def stitched(params: Params, name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables of models stitched and of what they take over, whose columns are their own; empty where none are."""
    stitch, transfer = (
        read_results([SIBLINGS / what / f"{name}.csv"] if name in names else [])
        for what, names in (("stitch", params.stitch), ("transfer", params.transfer))
    )
    return stitch, transfer


def compared(name: str, root: Path = Path()) -> dict[str, pd.DataFrame]:
    """The tables of models compared, each by the name of its file: one and the same row may be in several."""
    from jam.report.compare_report import TABLES as COMPARED  # draws: for those that ask for it

    return {table: read_results([root / SIBLINGS / "compare" / name / f"{table}.csv"]) for table in COMPARED}


def all_results(root: Path = Path()) -> pd.DataFrame:
    """All of them, of a run in a folder, as one table."""
    params = load_params(root / "params.yaml")
    return read_results([root / path for path in (*tables(params), *sibling_tables(params))])


def curves(params: Params) -> pd.DataFrame:
    """Training curves, and grids of closed forms, of every space and seed."""
    paths = [METRICS / "curves" / f"{name}.csv" for name in params.space_names]
    for path in paths:
        if not path.is_file():
            raise InputError(f"{path}: no such file; run the stage that writes it (dvc repro)")
    told = pd.concat([pd.read_csv(path) for path in paths], ignore_index=True)
    return told if "epoch" in told else told.assign(epoch=pd.NA)  # all are closed forms


def verdicts(root: Path = Path()) -> pd.DataFrame:
    """What became of the hypotheses, as `jam.hypotheses.verdict_table`; empty where none is stated."""
    path = root / METRICS / "hypotheses.csv"
    if not path.is_file():
        raise InputError(f"{path}: no such file; run the stage that writes it (dvc repro)")
    return pd.read_csv(path)


def main() -> str:
    """Print the table and say where everything is."""
    from jam.report.tables import result_table

    params = load_params()
    say(result_table(read_results(tables(params)), list(params.spaces)))
    return f"results in {METRICS}/, figures in {PLOTS}/"


if __name__ == "__main__":
    run(main)
