"""Is one space better than another on the same sides? Differences of every two, paired on items, over seeds.

Reads   data/outcomes/NAME.parquet of all `spaces`, data/world/ (which items are of one scene)
Writes  metrics/tables/contrasts.csv

By hand:  python -m stages.contrasts
"""

from itertools import combinations

import pandas as pd

from jam.contrasts import contrast_rows
from jam.params import load_params
from jam.results import write_results
from stages.common import OUTCOMES, TABLES, run
from stages.inputs import items_as_units


def main() -> str:
    """Run the stage and say where its results are."""
    params = load_params()
    spaces = {name: pd.read_parquet(OUTCOMES / f"{name}.parquet") for name in params.spaces}
    pairs, path = list(combinations(spaces, 2)), TABLES / "contrasts.csv"
    write_results(path, "contrasts", contrast_rows(spaces, pairs, items_as_units("test"), params.evaluate.resamples))
    return f"{len(pairs)} comparisons in {path}"


if __name__ == "__main__":
    run(main)
