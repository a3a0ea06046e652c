"""Build the tables of README.md and metrics/README.md from results, each between its markers. Not a stage of the graph.

By hand:  python -m stages.readme
"""

from pathlib import Path

import pandas as pd

from jam.io import atomic_path
from jam.params import Params, load_params
from jam.report import tables
from jam.report.reality_tables import reality_table, when_table
from jam.results import read_results, select
from jam.sweep.frozen import METRICS as FROZEN
from jam.sweep.table import OUTCOMES
from stages.common import METRICS, UNIFORM, run

FILES = (Path("README.md"), METRICS / "README.md")


def built_tables(results: pd.DataFrame, params: Params, control: pd.DataFrame | None = None) -> dict[str, str]:
    """Every table by the name of its marker; ``control`` is what the uniform world tells of trainings."""
    spaces, kernels = list(params.spaces), params.kernels.metrics
    frozen = {
        f"frozen {tables.metric(name)}": {"condition": "frozen", "metric": name}
        for name in ("mutual_knn", "unbiased_cka")
    }
    detail = {name: tables.TRAINED[name] for name in ("recall", "hard negatives")}
    sizes = tables.encoder_predictors()
    return {
        "encoders": tables.encoder_table(results),
        "results": tables.result_table(results, spaces),
        "other_spaces": tables.other_spaces_table(results, [*params.spaces_of_two, *params.spaces_of_three]),
        "negatives": tables.negatives_table(results, spaces),
        "retrieval": tables.retrieval_table(results, spaces),
        "detail": tables.detail_table(results, params.kernels.spaces, kernels),
        "reality": reality_table(results),
        "when": when_table(select(results, experiment="when"), control),
        "layers": tables.best_layers_table(results),
        "layer_trends": tables.trend_table(
            results, "layers", tables.frozen_predictors(FROZEN, within=True), tables.TRAINED
        ),
        "scale_recall": tables.scale_table(results, OUTCOMES["recall"]),
        "scale_negatives": tables.scale_table(results, OUTCOMES["hard_negatives"]),
        "scale_trends": tables.trend_table(results, "scale", sizes, {**detail, **frozen}),
        "scale_frozen_trends": tables.trend_table(results, "scale", tables.frozen_predictors(FROZEN), detail),
        "pareto": tables.pareto_table(results),
    }


def main() -> str:
    """Rewrite the tables."""
    control = read_results([UNIFORM]) if UNIFORM.is_file() else None
    found = built_tables(read_results([METRICS / "results.csv"]), load_params(), control)
    for path in FILES:
        text = tables.fill(path.read_text(encoding="utf-8"), found)
        with atomic_path(path) as part:
            part.write_text(text, encoding="utf-8")
    return f"tables in {' and '.join(map(str, FILES))}"


if __name__ == "__main__":
    run(main)
