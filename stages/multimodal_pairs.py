"""Draw further pairs of the embedded world, to pretrain multimodal models on, and scenes of a shifted domain.

Reads   data/world/views/text.parquet (sentences that no caption may be), params.yaml
Writes  data/multimodal_pairs/pairs.parquet (of another source than cave: without a row), and in shifted/ a world
        of the split test alone

By hand:  python -m stages.multimodal_pairs
"""

from typing import Any

from jam.io import atomic_folder
from jam.multimodal.drawing import (
    TESTED,
    draw_pairs,
    draw_shifted,
    sentences,
    tested_states,
    write_pairs,
    write_shifted,
)
from jam.params import load_params
from stages.common import MULTIMODAL_PAIRS, SHIFTED, WORLD, run


def main() -> str:
    """Run the stage and say where its results are."""
    params = load_params()
    told, cave = params.multimodal_pairs, params.dataset.cave
    shared: dict[str, Any] = {name: getattr(cave, name) for name in ("objects", "one_object", "synonyms", "mention")}
    shared["seed"] = params.dataset.seed
    pairs, shifted = [], []
    if params.dataset.source == "cave":
        shared |= {"habitats": cave.habitats, "nuisance": cave.nuisance}
        pairs = draw_pairs(told.pairs, told.captions, sentences(WORLD, TESTED), tested_states(WORLD), **shared)
        known = sentences(WORLD, ("train",)) | {text for row in pairs for text in row["captions"]}
        shared |= {"habitats": told.shifted.habitats, "nuisance": told.shifted.nuisance}
        shifted = draw_shifted(told.shifted.scenes, told.captions, known, **shared)
    with atomic_folder(MULTIMODAL_PAIRS.parent) as folder:
        write_pairs(folder / MULTIMODAL_PAIRS.name, pairs)
        if shifted:
            write_shifted(folder / SHIFTED, shifted)
    return f"{len(pairs)} pairs, {len(shifted)} scenes of a shifted domain in {MULTIMODAL_PAIRS.parent}"


if __name__ == "__main__":
    run(main)
