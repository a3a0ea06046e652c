"""Draw the figures of what goes beyond the paper.

Reads   metrics/siblings/, metrics/hypotheses.csv, data/world/ (of the pictures shown)
Writes  plots/siblings/*.png

By hand:  python -m stages.sibling_plots
"""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from jam.data.images import decode_image
from jam.data.schema import VIEWS, read_table
from jam.io import atomic_folder
from jam.params import Resampler, load_params
from jam.report import (
    caption_figures,
    downstream_figures,
    matryoshka_figure,
    reference_figures,
    resampler_figures,
    stitch_figures,
)
from jam.report.compare_report import compare_figure_set
from jam.report.style import save
from jam.results import read_results, select
from jam.world.state import states_of_facts
from stages.common import PLOTS, SIBLINGS, WORLD, run
from stages.inputs import load_states
from stages.results import compared, sibling_tables, stitched, verdicts

PICTURES = 8


def of_resampler(spec: Resampler, results: pd.DataFrame, folder: Path, name: str) -> dict[str, Figure]:
    """Figures of adapters that read tokens."""
    found = {f"{name}_curves": resampler_figures.curves(pd.read_csv(folder / "curves.csv"))}
    found[f"{name}_variants"] = resampler_figures.variants(results)
    if (path := folder / "attention.csv").is_file():
        grids = {side.side: side.grid for side in spec.sides if side.grid}
        attention = pd.read_csv(path, dtype={"key": str})
        found[f"{name}_latents"] = resampler_figures.latents(attention, grids)
    return found


def of_captions(results: pd.DataFrame, folder: Path, name: str) -> dict[str, Figure]:
    """Figures of captions; pictures where their scenes are known."""
    found, states = {f"{name}_captions": caption_figures.variants(results)}, load_states("test")
    if states is not None:
        examples = pd.read_csv(folder / "examples.csv")
        told = examples[examples.columns[0]].fillna("").tolist()[:PICTURES]
        scenes = states_of_facts(states)[:PICTURES]
        found[f"{name}_pictures"] = caption_figures.pictures(first_images(PICTURES), told, scenes)
    return found


def first_images(count: int) -> list[np.ndarray]:
    """The first views of the first test items."""
    table = read_table(WORLD / VIEWS / "image.parquet").to_pandas()
    mine = table[(table["split"] == "test") & (table["role"] == "true") & (table["k"] == 0)]
    return [np.asarray(decode_image(cell["bytes"]).convert("RGB")) for cell in mine["content"].head(count)]


def main() -> str:
    """Run the stage and say where its results are."""
    params = load_params()
    results = read_results(sibling_tables(params))
    downstream, reference = (select(results, experiment=name) for name in ("downstream", "reference"))
    drawn = {"similarity": downstream_figures.similarity(pd.read_csv(SIBLINGS / "similarity.csv"), downstream)}
    if len(select(downstream, metric="probe")):  # some labelled images were read
        drawn["downstream"] = downstream_figures.downstream(downstream)
    widths = select(results, experiment="matryoshka")
    drawn |= {name: matryoshka_figure.dims_curve(widths, name) for name in params.matryoshka}
    if len(reference):
        drawn["reference"] = reference_figures.reference(reference)
    if len(judged := verdicts()):
        drawn["verdicts"] = reference_figures.verdicts(judged)
    for name, spec in params.resampler.items():
        drawn |= of_resampler(spec, select(results, experiment="resampler"), SIBLINGS / "resampler" / name, name)
    for name, compare in params.compare.items():
        figures = compare_figure_set(compared(name), [*compare.models, *compare.spaces])
        drawn |= {f"{name}_{what}": figure for what, figure in figures.items()}
    for name in params.stitch:
        stitch, transfer = stitched(params, name)
        drawn[f"{name}_stitch_anchors"] = stitch_figures.anchors(stitch, transfer)
        drawn[f"{name}_stitch_layers"] = stitch_figures.by_layer(stitch, "ridge")
        drawn[f"{name}_stitch_towers"] = stitch_figures.towers(stitch, "ridge")
    for name in params.captions:
        drawn |= of_captions(select(results, experiment="captions"), SIBLINGS / "captions" / name, name)
    with atomic_folder(PLOTS / "siblings") as folder:
        for name, figure in drawn.items():
            save(figure, folder / f"{name}.png")
    return f"{len(drawn)} figures in {PLOTS / 'siblings'}"


if __name__ == "__main__":
    run(main)
