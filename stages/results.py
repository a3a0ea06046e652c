"""All results of a run: read from the tables of every stage. Not a stage of the graph.

Reads   metrics/tables/, metrics/curves/: of the names that params.yaml lists, no others

By hand:  python -m stages.results          print the main table, and where everything is
"""

from pathlib import Path

import pandas as pd

from jam.errors import InputError
from jam.params import Params, load_params
from jam.results import read_results
from stages.common import METRICS, PLOTS, TABLES, run, say

SINGLE = (
    "audit", "blind", "contrasts", "downstream", "evaluate", "kernels", "pairs", "reality", "reference", "when",
)  # fmt: skip
SWEEPS = {
    "layers": ("cells", "frozen", "best", "depth", "trends"),
    "scale": ("cells", "effects", "trends"),
    "pareto": ("cells", "fronts", "private"),
}


def tables(params: Params, root: Path = Path()) -> list[Path]:
    """All tables of results of a run in a folder."""
    found = [
        *(TABLES / "encoders" / f"{name}.csv" for name in params.encoders),
        *(TABLES / f"{name}.csv" for name in SINGLE),
        *(TABLES / "matryoshka" / f"{name}.csv" for name in params.matryoshka),
        *(TABLES / name / f"{what}.csv" for name, parts in SWEEPS.items() for what in parts),
    ]
    return [root / path for path in found]


def all_results(root: Path = Path()) -> pd.DataFrame:
    """All of them as one table."""
    return read_results(tables(load_params(root / "params.yaml"), root))


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

    say(result_table(all_results(), list(load_params().spaces)))
    return f"results in {METRICS}/, figures in {PLOTS}/"


if __name__ == "__main__":
    run(main)
