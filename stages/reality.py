"""Hold every representation against the true state: recall by factor, binding, precision, kernels of reality.

Reads   data/features/, data/spaces/ (first seed), data/world/ (states; words of captions)
Writes  metrics/tables/reality.csv

Every encoder at its layers, its further seeds, the same net at init, its features whitened, both sides of spaces, and
controls. All are read from the same items, the training items that checkpoints have features of, an item's first view.
`jam.reality.listed` says what each ``condition`` means, `jam.metrics.reality` what is measured; ``held`` names what is
partialled out of a kernel. Where the world's state isn't known the table is empty.

By hand:  python -m stages.reality
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from jam.features.store import FeatureStore
from jam.parallel import in_processes, processes
from jam.params import load_params
from jam.reality.kernels import Known, kernel_rows
from jam.reality.layers import choose_layers
from jam.reality.listed import ceilings, listed
from jam.reality.representations import Representation
from jam.reality.shares import Scored, net, score_shares, share_rows
from jam.reality.truth import Truth
from jam.results import write_results
from stages.common import FEATURES, SPACES, TABLES, run, say
from stages.truth import known_truth

TABLE = TABLES / "reality.csv"
CHUNK = 10  # representations that are scored together, so that kernels of the state are made once


def score(
    place: int, some: Sequence[Representation], truth: Truth, resamples: int, kernels: dict[str, int]
) -> tuple[int, list[Scored], list[dict[str, Any]]]:
    """All scores of some representations, with their place in the list."""
    known = Known(truth)
    shares = [score_shares(of, truth, resamples, kernels["seed"]) for of in some]
    return place, shares, [row for of in some for row in kernel_rows(of, known, **kernels)]


def main() -> str:
    """Run the stage and say where its results are."""
    params = load_params()
    if (truth := known_truth(params)) is None:
        write_results(TABLE, "reality", [])
        return f"the world's state is not known; {TABLE} is empty"
    options = params.kernels
    stores = {name: FeatureStore.load(FEATURES / name) for name in params.encoders}
    chosen = choose_layers(stores, params.pairs_of_modalities(controls=False), options.k)
    kernels = options.model_dump(include={"permutations", "folds", "seed"})
    everything = list(listed(params, FEATURES, SPACES, chosen, truth.ids))
    calls = (
        (start, everything[start : start + CHUNK], truth, params.evaluate.resamples, kernels)
        for start in range(0, len(everything), CHUNK)
    )
    found = sorted(in_processes(score, calls, processes()), key=lambda one: one[0])
    scored = [one for _, some, _ in found for one in some]
    best = {one.told["x"]: one for one in scored if "best" in one.told["condition"]}
    most = {modality: best[name] for modality, name in ceilings(params).items()}
    untrained = {net(one): one for one in scored if one.told["condition"] == ["init"]}
    rows = share_rows(scored, most, untrained, params.evaluate.resamples, options.seed)
    rows += [row for *_, some in found for row in some]
    table = write_results(TABLE, "reality", pd.DataFrame(rows).explode("condition", ignore_index=True))
    say(f"{len(scored)} representations, layers chosen on validation rows: {chosen}")
    return f"{len(table)} scores in {TABLE}"


if __name__ == "__main__":
    run(main)
