"""What the best space finds: for ten captions of the test split, the images that are nearest.

Reads   data/features/, data/spaces/ (all seeds of each of ``spaces``), data/world/views/
Writes  metrics/tables/retrieved.csv: a row a caption, with the rank of the right image and the ids of the nearest ones

Of all spaces of ``spaces`` and all their seeds the one with the highest score on validation rows is taken, as
`jam.search` does it. Where x and y are no images and texts, the same is told of their items.

By hand:  python -m stages.retrieve
"""

import numpy as np
import pandas as pd

from jam.align.space import best_of, load_adapters
from jam.data.schema import first_views
from jam.io import write_csv
from jam.params import load_params
from stages.common import SPACES, TABLES, WORLD, run, say
from stages.inputs import load_items, load_sides

CAPTIONS, PLACES = 10, 5


def main() -> str:
    """Run the stage and say where its results are."""
    params = load_params()
    x, y = params.align.x, params.align.y
    folders = [SPACES / name / str(seed) for name in params.spaces for seed in params.space(name).seeds]
    choice = best_of(folders, SPACES)
    (best, seed), p = choice.folder.parts[-2:], choice.chosen["validation_p"]
    say(f"{best}, seed {seed}, has the best validation score of {choice.number} (p = {p:.3f}, all trials counted)")

    items, adapters = load_items((x, y), "test"), load_adapters(choice.folder)
    ids = load_sides((x,))[x.side][1]["id"].loc[items.sides[x.side].true[:, 0]].to_numpy()
    asked = np.unique(np.linspace(0, len(ids) - 1, CAPTIONS).round().astype(int))
    latents = {
        side: adapters[side].encode(items.sides[side].table[items.sides[side].true[which, 0]])
        for side, which in ((x.side, np.arange(len(ids))), (y.side, asked))
    }
    cosines = latents[y.side] @ latents[x.side].T
    order = np.argsort(-cosines, axis=1, kind="stable")
    captions = first_views(WORLD, params.encoders[y.encoder].modality, ids[asked])
    rows = []
    for item, nearest in zip(asked, order, strict=True):
        caption = captions.get(ids[item], "")
        rows.append(
            {"space": best, "seed": seed, "id": ids[item], "caption": caption if isinstance(caption, str) else "",
             "rank": 1 + int(np.flatnonzero(nearest == item)[0]), "of": len(ids),
             **{f"place_{place}": ids[found] for place, found in enumerate(nearest[:PLACES], start=1)}}
        )  # fmt: skip
    write_csv(TABLES / "retrieved.csv", pd.DataFrame(rows))
    right = sum(row["rank"] == 1 for row in rows)
    return f"{best} finds {right} of {len(rows)} images at first; all in {TABLES / 'retrieved.csv'}"


if __name__ == "__main__":
    run(main)
