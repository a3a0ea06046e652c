"""Build the tables of README.md and metrics/README.md from results, each between its markers. Not a stage of the graph.

By hand:  python -m stages.readme
"""

from pathlib import Path

import pandas as pd

from jam.io import atomic_path
from jam.params import Params, load_params
from jam.report import caption_tables, resampler_tables, stitch_tables, sweep_tables, tables
from jam.report.audit_table import audit_sides_table, audit_table
from jam.report.compare_report import compare_table_set
from jam.report.contrast_tables import budget_table, contrast_table, fall_table, kept_table, private_table
from jam.report.downstream_tables import downstream_table, similarity_table, zero_shot_table
from jam.report.matryoshka_tables import adaptive_table, dims_table
from jam.report.pair_tables import curves_table, effects_table, law_table, pairs_table, stands_table
from jam.report.reality_tables import reality_table, when_table
from jam.report.reference_tables import ablation_table, control_table, gain_table, hypothesis_table
from jam.results import read_results, select
from jam.sweep.frozen import METRICS as FROZEN
from stages.common import METRICS, SIBLINGS, UNIFORM, run
from stages.results import all_results, compared, curves, stitched, verdicts

# JAM's objectives with each other, and what else there is with the plainest trained one
CONTRASTS = (
    *(("negcon", "con"), ("spread", "con"), ("spread", "negcon"), ("spread_curriculum", "spread")),
    *((name, "linear") for name in ("con", "spread", "linear_negcon", "mlp", "cca", "ridge", "procrustes")),
)
FILES = (Path("README.md"), METRICS / "README.md")


def built_tables(
    results: pd.DataFrame,
    tried: pd.DataFrame,
    params: Params,
    judged: pd.DataFrame,
    control: pd.DataFrame | None = None,
) -> dict[str, str]:
    """Every table by the name of its marker.

    Args:
        results: of all stages.
        tried: training curves and grids of closed forms.
        params: of the run.
        judged: what became of the hypotheses.
        control: what the uniform world tells of trainings.
    """
    spaces, kernels = list(params.spaces), params.kernels.metrics
    sides = (params.align.x.side, params.align.y.side)
    return {
        "encoders": tables.encoder_table(results),
        "results": tables.result_table(results, spaces),
        "other_spaces": tables.other_spaces_table(results, [*params.spaces_of_two, *params.spaces_of_three]),
        "negatives": tables.negatives_table(results, spaces),
        "retrieval": tables.retrieval_table(results, spaces),
        "budget": budget_table(results, tried, spaces),
        "contrasts": contrast_table(results, [pair for pair in CONTRASTS if set(pair) <= set(spaces)]),
        "kept": kept_table(results, spaces, sides),
        **{f"private_{side}": private_table(results, spaces, side) for side in sides},
        "fall": fall_table(results),
        "detail": tables.detail_table(results, params.kernels.spaces, kernels),
        "reality": reality_table(results),
        "when": when_table(select(results, experiment="when"), control),
        **{f"{name}": dims_table(results, name) for name in params.matryoshka},
        **{f"{name}_adaptive": adaptive_table(results, name) for name in params.matryoshka},
        **resampler_built(results, params),
        **captions_built(results, params),
        **compared_built(params),
        **stitched_built(params),
        "audit": audit_table(results),
        "audit_sides": audit_sides_table(results),
        "downstream": downstream_table(results),
        "zero_shot": zero_shot_table(results),
        "similarity": similarity_table(results),
        "layers": tables.best_layers_table(results),
        "layer_trends": tables.trend_table(
            results, "layers", tables.frozen_predictors(FROZEN, within=True), tables.TRAINED
        ),
        "pairs": pairs_table(results),
        "curves": curves_table(results),
        "law": law_table(results),
        "scale": effects_table(results),
        "scale_stands": stands_table(results),
        "depth": sweep_tables.depth_table(results),
        "depth_trends": sweep_tables.depth_trend_table(results),
        "pareto": sweep_tables.pareto_table(results),
        "pareto_private": sweep_tables.private_table(results),
        "pareto_losses": sweep_tables.losses_table(results),
        "reference": gain_table(results, "encoder"),
        "reference_state": gain_table(results, "state"),
        "reference_controls": control_table(results),
        "ablation": ablation_table(results),
        "hypotheses": hypothesis_table(judged),
    }


def resampler_built(results: pd.DataFrame, params: Params) -> dict[str, str]:
    """Of adapters that read all tokens."""
    found = select(results, experiment="resampler")
    if found.empty:
        return {}
    told = {
        "resampler": resampler_tables.variants_table(found),
        "resampler_differences": resampler_tables.differences_table(found),
        "resampler_monitors": resampler_tables.monitors_table(found),
    }
    path = SIBLINGS / "resampler" / next(iter(params.resampler)) / "attention.csv"
    if path.is_file():
        told["resampler_words"] = resampler_tables.attention_table(pd.read_csv(path, dtype={"key": str}))
    return told


def captions_built(results: pd.DataFrame, params: Params) -> dict[str, str]:
    """Of captions."""
    found = select(results, experiment="captions")
    if found.empty:
        return {}
    return {
        "captions": caption_tables.bounds_table(found),
        "caption_variants": caption_tables.variants_table(found),
        "answers": caption_tables.answers_table(found),
    }


def compared_built(params: Params) -> dict[str, str]:
    """Of models compared, the first entry."""
    for name, spec in params.compare.items():
        return compare_table_set(compared(name), spec.every_layer)
    return {}


def stitched_built(params: Params) -> dict[str, str]:
    """Of models stitched, and of heads and students across them, the first entry."""
    stitch, transfer = stitched(params, next(iter(params.stitch), ""))
    if stitch.empty or transfer.empty:
        return {}
    return {
        "stitch_towers": stitch_tables.towers_table(stitch, "ridge"),
        "stitch_kept": stitch_tables.conditions_table(stitch),
        "stitch_layers": stitch_tables.layers_table(stitch),
        "transfer": stitch_tables.transfer_table(transfer),
        "students": stitch_tables.students_table(transfer),
        "practice": f"{stitch_tables.stitch_sentence(stitch)}\n\n{stitch_tables.transfer_sentence(transfer)}",
    }


def main() -> str:
    """Rewrite the tables."""
    control = read_results([UNIFORM]) if UNIFORM.is_file() else None
    found = built_tables(all_results(), curves(load_params()), load_params(), verdicts(), control)
    for path in FILES:
        text = tables.fill(path.read_text(encoding="utf-8"), found)
        with atomic_path(path) as part:
            part.write_text(text, encoding="utf-8")
    return f"tables in {' and '.join(map(str, FILES))}"


if __name__ == "__main__":
    run(main)
