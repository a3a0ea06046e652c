"""What a frozen layer and spaces made of it are worth for classification, and how similar images and texts are in them.

Linear probe, k nearest neighbours and a few examples a class before and after alignment, prompts after it: on real
digits rendered as the world renders, on attributes of the world, on a user's labelled folder, on a published set.
Before alignment nothing can be sought by prompts: features of images and of texts have nothing in common.

Reads   data/encoders/ and data/features/ of the two sides that align names, data/spaces/, data/world/; labelled images
Writes  metrics/siblings/downstream.csv (accuracies, d′ of cosines, differences), metrics/siblings/similarity.csv
        (histograms)

By hand:  python -m stages.downstream
"""

from pathlib import Path

import numpy as np
import pandas as pd

from jam.align.items import SideRows
from jam.align.rows import join_sides
from jam.downstream.probing import Spoken, probe_table, prompts_of
from jam.downstream.similar import cosines_before, similarity_tables
from jam.errors import InputError
from jam.io import write_csv
from jam.parallel import one_thread
from jam.params import Params, load_params
from jam.params.downstream import IN_PROMPT
from jam.results import write_results
from stages.common import SIBLINGS, SPACES, run, say
from stages.downstream_tasks import encoder_of, tasks_of
from stages.inputs import items_as_units, load_relevance, load_sides

Folders = dict[str, dict[int, Path]]
"""Space → seed → where it lies."""


def probes(params: Params, spaces: Folders) -> pd.DataFrame:
    """Accuracies on all tasks; nothing where no source is named."""
    options, sides, batch_size = params.downstream, (params.align.x, params.align.y), params.features.batch_size
    if not options.sources:
        return pd.DataFrame()
    of = {params.encoders[side.encoder].modality: side for side in reversed(sides)}
    if "image" not in of:
        raise InputError(f"downstream: got sides {[side.side for side in sides]} of align, expected one of images")
    tasks, texts, spoken = list(tasks_of(params, of["image"])), list[str](), None
    for task in tasks:
        task.check(options.shots, options.neighbours)
        say(f"{task.name}: {len(task.train)} training and {len(task.test)} test images, {len(task.classes)} classes")
        texts += [
            prompt.replace(IN_PROMPT, word) for word in task.words.values() for prompt in prompts_of(task, options)
        ]
    if "text" in of and texts:
        features = encoder_of(of["text"], batch_size)(texts)
        spoken = Spoken(of["text"].side, dict(zip(texts, features, strict=True)))
    return probe_table(tasks, of["image"].side, spaces, spoken, options, params.evaluate.resamples)


def similarities(params: Params, spaces: Folders) -> tuple[pd.DataFrame, pd.DataFrame]:
    """d′ of the cosines of the world's test items, and their histograms."""
    options, sides = params.downstream, (params.align.x, params.align.y)
    x, y = sides[0].side, sides[1].side
    tables = load_sides(sides)
    items = {split: join_sides(tables, split) for split in ("train", "val", "test")}
    first = {split: (_first(one.sides[x]), _first(one.sides[y])) for split, one in items.items()}
    true = np.eye(len(items["test"]), dtype=bool)
    if known := load_relevance(sides, "test", [(x, y)]):
        places = [np.unique(items["test"].sides[name].flat()[1], return_index=True)[1] for name in (x, y)]
        true = known[x, y][np.ix_(*places)]
    units, resamples = items_as_units("test"), params.evaluate.resamples
    with one_thread():
        before = cosines_before(first, true, options.penalties)
        rows, drawn = similarity_tables((x, y), before, first["test"], true, spaces, units, options, resamples)
    return pd.DataFrame(rows), drawn


def _first(side: SideRows) -> np.ndarray:
    """The first view of every item, (n, d)."""
    return np.array(side.table[side.true[:, 0]])


def main() -> str:
    """Run the stage and say where its results are."""
    params = load_params()
    chosen = params.downstream.spaces
    spaces = {name: {seed: SPACES / name / str(seed) for seed in params.space(name).seeds} for name in chosen}
    accuracies = probes(params, spaces)
    similar, drawn = similarities(params, spaces)
    table = write_results(
        SIBLINGS / "downstream.csv", "downstream", pd.concat([accuracies, similar], ignore_index=True)
    )
    write_csv(SIBLINGS / "similarity.csv", drawn)
    return f"{len(table)} scores in {SIBLINGS}/downstream.csv, histograms in similarity.csv"


if __name__ == "__main__":
    run(main)
