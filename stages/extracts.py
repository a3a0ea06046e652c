"""Small extracts of models compared, for a page: where each puts the items shown, which are near to which, pictures.

Reads   data/multimodal_features/, data/features/, data/spaces/, data/world/
Writes  plots/page/NAME/: maps.parquet (principal axes of each space, turned onto those of the first of its modality),
        neighbours.parquet, thumbnails.parquet (PNG bytes and a sentence of each item)

By hand:  python -m stages.extracts cave
"""

import numpy as np
import pandas as pd

from jam.compare.answers import MODALITIES, finals
from jam.compare.cast import Rep
from jam.compare.extracts.maps import maps
from jam.compare.extracts.neighbours import neighbours
from jam.compare.extracts.thumbnails import thumbnails
from jam.data.images import decode_image
from jam.io import atomic_folder
from jam.params import load_params
from stages.common import PLOTS, require_listed, run
from stages.compare_inputs import item_ids, read_reps
from stages.multimodal_inputs import first_contents

FOLDER = PLOTS / "page"


def main(name: str) -> str:
    """Run the stage and say where its results are."""
    params = load_params()
    require_listed("compare", name, params.compare)
    spec, ids = params.compare[name], item_ids()
    reps = read_reps(params, spec, ids)
    ends: list[Rep] = [rep for modality in MODALITIES for rep in finals(reps, modality)]
    order = np.random.default_rng(spec.seed).permutation(len(ids["test"]))
    shown = np.sort(order[: spec.shown.items])
    told = {rep.key: {"model": rep.model, "modality": rep.modality, "layer": rep.layer} for rep in ends}
    first = {rep.modality: rep.key for rep in reversed(ends)}
    rows = {rep.key: rep.rows for rep in ends}
    names = ids["test"].tolist()
    turned = maps(rows, told, {rep.key: first[rep.modality] for rep in ends}, names, shown)
    near = neighbours({key: of["test"] for key, of in rows.items()}, told, names, shown, spec.shown.neighbours)
    asked = ids["test"][shown]
    images = [decode_image(each["bytes"]) for each in first_contents("image", "test", asked)]
    pictures = thumbnails(asked.tolist(), images, first_contents("text", "test", asked), spec.shown.side)
    with atomic_folder(FOLDER / name) as folder:
        for what, table in {"maps": turned, "neighbours": near, "thumbnails": pictures}.items():
            pd.DataFrame(table).to_parquet(folder / f"{what}.parquet", index=False)
    return f"{len(ends)} maps of {len(shown)} items in {FOLDER / name}"


if __name__ == "__main__":
    run(main, name="a name among the entries of compare of params.yaml")
