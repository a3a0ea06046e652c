"""Build the README's tables from metrics/results.csv, each between its markers. Not a stage of the graph.

By hand:  python -m stages.readme
"""

import argparse
from pathlib import Path

import pandas as pd

from jam import report
from jam.config import Params, load_params
from jam.io import atomic_path
from stages.common import METRICS, run

README = Path("README.md")


def tables(results: pd.DataFrame, params: Params) -> dict[str, str]:
    """Every table of the README by the name of its marker."""
    methods = params.align.methods
    aligned = [f"{objective}/{side}" for objective in params.align.objectives for side in ("image", "text")]
    return {
        "encoders": report.encoder_table(results, params.encoder_names),
        "results": report.result_table(results, methods),
        "negatives": report.negatives_table(results, methods),
        "retrieval": report.retrieval_table(results, methods),
        "detail": report.detail_table(results, ["frozen", *params.align.objectives]),
        "reality": report.reality_table(results, [*params.encoder_names, *aligned]),
    }


def built(readme: str) -> str:
    """The README with its tables as the committed results have them."""
    results = pd.read_csv(METRICS / "results.csv", dtype={"seed": str, "group": str})
    return report.fill(readme, tables(results, load_params()))


def main(argv: list[str] | None = None) -> str:
    """Rewrite the README's tables."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(argv)
    text = built(README.read_text(encoding="utf-8"))
    with atomic_path(README) as part:
        part.write_text(text, encoding="utf-8")
    return f"tables in {README}"


if __name__ == "__main__":
    run(main)
