"""Compare models: every two of them, layer by layer, image and text; when, how and why they are alike.

Reads   data/multimodal_features/, data/features/, data/spaces/, data/world/; metrics/siblings/stitch/NAME.csv
Writes  metrics/siblings/compare/NAME/: similarity.csv (every two models), when.csv (depth, training, scales,
        another domain), trajectory.csv (points of a plane), factors.csv (what models have in common), measures.csv (the
        measures held against what is known), noise.csv (models told wrong captions), clusters.csv (the same concepts?),
        claims.csv (stated numbers)

All is scored on test items, whose scenes of one state are no independent draws; maps are fitted on training items.

By hand:  python -m stages.compare cave
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from jam.compare.analysis import CLAIMS, Measured, pooled
from jam.compare.answers import (
    MODALITIES,
    NOISE,
    claim_rows,
    factor_rows,
    finals,
    measure_rows,
    noise_rows,
    trajectory_rows,
    when_rows,
)
from jam.compare.calls import How, calls_of
from jam.compare.cast import TRAINED, Rep, expanded
from jam.compare.concepts import cluster_table
from jam.compare.similarity import with_ceilings
from jam.errors import InputError
from jam.parallel import in_processes, processes
from jam.params import Compare, load_params
from jam.results import read_results, select, write_results
from stages.common import SIBLINGS, keyed, require_listed, run, say
from stages.compare_inputs import item_ids, known_labels, read_noisy, read_reps, wrong_captions
from stages.inputs import items_as_units

FOLDER = SIBLINGS / "compare"
ALL, SHIFTED, CLUSTERS = "all", "shifted", "clusters"
PAIR = ["x", "y", "metric", "direction"]
STITCHED_AT = 10  # of the recall that stitching is told by: of small models the first rank is nearly empty


def measured(
    reps: list[Rep], noisy: list[Rep], spec: Compare, labels: dict[str, np.ndarray]
) -> dict[str, pd.DataFrame]:
    """Tables of similarities: of all, of those in another domain, of noisy ones; and of clusters."""
    units = items_as_units("test")
    moved = [replace(rep, rows={**rep.rows, "test": rep.shifted}) for rep in reps if rep.shifted is not None]
    how = How(**spec.model_dump(include=set(How._fields)))
    ends = [rep for modality in MODALITIES for rep in finals(reps, modality)]
    options = spec.model_dump(include={"permutations", "folds", "seed"})
    # First, as it may be refused: there may be fewer items than clusters.
    calls: list[tuple[Any, ...]] = [((CLUSTERS,), cluster_table, ends, labels, spec.clusters, units, options)]
    calls += calls_of(reps, spec.every_layer, units, how, ALL)
    calls += calls_of(moved, (), None, how, SHIFTED) if moved else ()
    calls += calls_of(noisy, (), units, how, NOISE) if noisy else ()
    try:
        made = dict(in_processes(keyed, calls, min(processes(), len(calls))))
    except ValueError as error:  # more neighbours or folds than items
        raise InputError(str(error)) from error
    parts: dict[str, list[pd.DataFrame]] = {}
    for name, *_ in calls:
        parts.setdefault(name[0], []).append(made[name])
    return {of: pd.concat(some, ignore_index=True) for of, some in parts.items()}


def of_models(table: pd.DataFrame) -> pd.DataFrame:
    """Of all similarities those of the layers that stand for trained models."""
    return table[table["final"] & (table[["checkpoint", "y_checkpoint"]] == TRAINED).all(axis=1)]


def stitched(name: str, spec: Compare) -> dict[str, list[Measured]]:
    """What towers stitched have lost of the text tower's own recall, by claim: of its pairs images of x, texts of y."""
    path, found = SIBLINGS / "stitch" / f"{name}.csv", dict[str, list[Measured]]()
    if not path.is_file():
        return found
    rows = select(read_results([path]), metric="recall", k=STITCHED_AT, x_layer=None, y_layer=None)
    for claim, pairs in spec.claims.items():
        if CLAIMS[claim].kind != "stitch":
            continue
        for x, y in pairs:
            less = select(rows, condition="stitched", x=x, y=y, against="own").dropna(subset=["kept"])
            less = less[less["method"].isin(less["method"].head(1)) & (less["anchors"] == less["anchors"].max())]
            kept = less[["kept", "kept_high", "kept_low", "n"]].itertuples(index=False)
            both_ways = [Measured(1 - value, 1 - high, 1 - low, n) for value, high, low, n in kept]
            if (one := pooled(both_ways)) is not None:
                found.setdefault(claim, []).append(one)
    return found


def main(name: str) -> str:
    """Run the stage and say where its results are."""
    params = load_params()
    require_listed("compare", name, params.compare)
    spec, folder = params.compare[name], FOLDER / name
    reps, noisy = read_reps(params, spec, ids := item_ids()), read_noisy(params, spec, ids)
    say(f"{len(reps)} representations of {len({rep.model for rep in reps})} models")
    made = measured(reps, noisy, spec, known_labels(params.dataset.source == "cave"))
    recipes = {rep.key: rep.rerun for rep in reps}
    table, shifted = (with_ceilings(made[of], recipes) if of in made else pd.DataFrame() for of in (ALL, SHIFTED))
    scales = {name: (scale.levels, scale.against) for name, scale in spec.scales.items()}
    when = [when_rows(table, reps, spec.every_layer, scales)]
    if len(shifted):
        same_pairs = table.merge(shifted[PAIR], on=PAIR)
        when += [shifted.assign(condition=SHIFTED), same_pairs.assign(condition="own domain")]
    levels, orders = {name: scale.levels for name, scale in spec.scales.items()}, (spec.orders, spec.seed)
    tests, noise = [*measure_rows(table, reps, spec.every_layer, levels, *orders)], pd.DataFrame()
    if noisy:
        wrong = wrong_captions(params, spec)
        tests += noise_rows(made[NOISE], noisy, wrong, *orders)
        noise = expanded(made[NOISE], noisy).assign(condition=NOISE)
        noise = noise.assign(level=noise["x"].map(wrong), y_level=noise["y"].map(wrong))
    rows: dict[str, Any] = {
        "similarity": of_models(expanded(table, reps)).assign(condition="pairs"),
        "when": expanded(pd.concat(when, ignore_index=True), reps),
        "trajectory": trajectory_rows(table, reps),
        "factors": factor_rows(table, reps, *orders),
        "measures": tests,
        "noise": noise,
        "clusters": made[CLUSTERS].assign(condition=CLUSTERS),
        "claims": claim_rows(table, reps, spec.claims, stitched(name, spec)),
    }
    for table_of, some in rows.items():
        write_results(folder / f"{table_of}.csv", "compare", pd.DataFrame(some).assign(split="test"))
    return f"{len(table)} similarities of {len(reps)} representations, tables in {folder}"


if __name__ == "__main__":
    run(main, name="a name among the entries of compare of params.yaml")
