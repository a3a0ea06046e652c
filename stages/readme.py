"""Build the README's tables from metrics/results.csv, each between its markers. Not a stage of the graph.

By hand:  python -m stages.readme
"""

import argparse
from pathlib import Path

import pandas as pd

from jam import report
from jam.params import Params, load_params
from jam.io import atomic_path
from stages.common import METRICS, run

README = Path("README.md")


def tables(results: pd.DataFrame, params: Params) -> dict[str, str]:
    """Every table of the README by the name of its marker."""
    methods, kernels = params.align.methods, params.kernels.metrics
    aligned = [f"{objective}/{side}" for objective in params.align.objectives for side in ("image", "text")]
    layer_trends, scale, scale_encoders, scale_kernels, scale_trends, fronts = (
        pd.read_csv(METRICS / "tables" / f"{name}.csv")
        for name in ("layers_trends", "scale", "scale_encoders", "scale_kernels", "scale_trends", "pareto_fronts")
    )
    raw = [f"raw {metric}" for metric in ("mutual_knn", "unbiased_cka", "cknna", "svcca")]
    sizes = [f"{side} {what}" for side in ("image", "text") for what in ("parameters", "quality")]
    return {
        "encoders": report.encoder_table(results, params.encoder_names),
        "results": report.result_table(results, methods),
        "negatives": report.negatives_table(results, methods),
        "retrieval": report.retrieval_table(results, methods),
        "detail": report.detail_table(results, ["frozen", *params.align.objectives], kernels),
        "reality": report.reality_table(results, [*params.encoder_names, *aligned], kernels),
        "layer_trends": report.trend_table(
            layer_trends,
            [*raw, *(f"{name}, within an image layer" for name in raw)],
            ("test_recall", "test_hard_negatives", "test_preservation"),
        ),
        "scale_recall": report.scale_table(scale, "test_recall"),
        "scale_negatives": report.scale_table(scale, "test_hard_negatives"),
        "scale_reality": report.encoder_reality_table(scale_kernels, scale_encoders, kernels[:4]),
        "scale_trends": report.trend_table(
            scale_trends, sizes, ("test_recall", "test_hard_negatives", "raw mutual_knn", "raw unbiased_cka")
        ),
        "scale_reality_trends": report.trend_table(
            scale_trends, sizes, ("reality mutual_knn", "reality unbiased_cka", "reality svcca")
        ),
        "scale_raw_trends": report.trend_table(scale_trends, raw, ("test_recall", "test_hard_negatives")),
        "pareto": report.pareto_table(fronts),
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
