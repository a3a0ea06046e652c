"""Score one method on test rows: retrieval, hard negatives, preservation, geometry; over all of its seeds.

Reads   data/adapters/METHOD/SEED/{image,text}, the two layers named by align
Writes  metrics/tables/evaluate/METHOD.csv (everything, by seed, with intervals),
        metrics/evaluate/METHOD.json (the headline, for `dvc metrics show`)

By hand:  python -m stages.evaluate spread
"""

import argparse

import pandas as pd

from jam.config import Objective, load_params
from jam.device import pick_device
from jam.errors import InputError
from jam.evaluation import SCORES, evaluate, summarise
from jam.io import write_csv, write_json
from jam.models import Adapter
from jam.pairing import negative_rows, pair_rows
from stages.common import ADAPTERS, METRICS, run, say
from stages.inputs import load_layer

# What `dvc metrics show` prints, a row a method: few and short names, so that the table fits a terminal of 100 columns.
HEADLINE = {
    "i2t_r1": SCORES["i2t_r1"],
    "t2i_r1": SCORES["t2i_r1"],
    "hard_negatives": SCORES["hard_negatives"],
    "kept_image": SCORES["preservation_image"],
    "kept_text": SCORES["preservation_text"],
}


def headline(table: pd.DataFrame) -> dict[str, float]:
    """The mean over seeds of each headline metric that the method has."""
    means = table[table["seed"] == "mean"].set_index(["metric", "group"])["value"]
    return {name: round(float(means[key]), 4) for name, key in HEADLINE.items() if key in means.index}


def main(argv: list[str] | None = None) -> str:
    """Run the stage and say where its results are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", help="a name among align.methods in params.yaml")
    args = parser.parse_args(argv)
    params = load_params()
    if args.method not in params.align.methods:
        raise InputError(f"method: got {args.method!r}, expected one of {list(params.align.methods)}")

    images, image_index = load_layer(params.align.image)
    texts, text_index = load_layer(params.align.text)
    pairs = pair_rows(images, image_index, texts, text_index, "test")
    negatives = negative_rows(text_index, image_index, "test")
    seeds = params.align.seeds if isinstance(params.objectives[args.method], Objective) else (0,)
    runs = {}
    for seed in seeds:
        image, text = (
            Adapter.load(ADAPTERS / args.method / str(seed) / side, pick_device()) for side in ("image", "text")
        )
        runs[seed] = evaluate(image, text, pairs, negatives, params.evaluate.k)
        say(f"seed {seed}: scored on {len(pairs)} images")
    table = summarise(runs, len(pairs), params.evaluate.resamples)
    table.insert(0, "method", args.method)
    path = METRICS / "tables" / "evaluate" / f"{args.method}.csv"
    write_csv(path, table)
    write_json(METRICS / "evaluate" / f"{args.method}.json", headline(table))
    return f"everything in {path}, the headline in {METRICS / 'evaluate' / f'{args.method}.json'}"


if __name__ == "__main__":
    run(main)
