"""What training brings, by how much of it is done: recall, binding and precision of reality, and raw alignment.

Reads   data/features/ (checkpoints), data/world/ (states; words of captions)
Writes  metrics/tables/when.csv

Every encoder with checkpoints at each percentage, against itself at init; and all of one modality with all of another
at the same percentage, beside encoders and controls that do not change. In a world of one modality there is no such
pair. Where the world's state isn't known the table is empty.

By hand:  python -m stages.when
"""

from typing import Any

import pandas as pd

from jam.parallel import in_processes, processes
from jam.params import load_params
from jam.reality.listed import ceilings, still, through_training
from jam.reality.raw import raw_rows
from jam.reality.representations import Representation
from jam.reality.shares import Scored, net, score_shares, share_rows
from jam.results import write_results
from stages.common import FEATURES, TABLES, run
from stages.truth import known_truth

TABLE = TABLES / "when.csv"


def score(place: int, of: Representation, *options: Any) -> tuple[int, Scored]:
    """Shares of one representation, with its place in the list."""
    return place, score_shares(of, *options)


def main() -> str:
    """Run the stage and say where its results are."""
    params = load_params()
    if (truth := known_truth(params)) is None:
        write_results(TABLE, "when", [])
        return f"the world's state is not known; {TABLE} is empty"
    kernels = params.kernels
    often = params.evaluate.resamples, kernels.seed
    moving = list(through_training(params, FEATURES, truth.ids))
    fixed = {of.told["x"]: of for of in still(params, FEATURES, truth.ids)}
    calls = ((place, of, truth, *often) for place, of in enumerate([*moving, *fixed.values()]))
    scored = [one for _, one in sorted(in_processes(score, calls, processes()), key=lambda found: found[0])]
    most = {modality: one for one in scored for modality, name in ceilings(params).items() if one.told["x"] == name}
    rows = share_rows(scored, most, {net(one): one for one in scored if one.told["checkpoint"] == 0}, *often)
    for percent in sorted({of.told["checkpoint"] for of in moving}):
        now = {of.told["x"]: of for of in moving if of.told["checkpoint"] == percent}
        for x, y in params.pairs_of_modalities():
            xs, all_y = [now[name] for name in x if name in now], now | fixed
            if xs and (ys := [all_y[name] for name in y if name in all_y]):
                rows += raw_rows(xs, ys, truth, kernels.model_dump(exclude={"metrics", "spaces"}))
    table = write_results(TABLE, "when", pd.DataFrame(rows).explode("condition", ignore_index=True))
    return f"{len(table)} scores of {len(scored)} representations in {TABLE}"


if __name__ == "__main__":
    run(main)
