"""Draw the figures of what goes beyond the paper.

Reads   metrics/siblings/, metrics/hypotheses.csv
Writes  plots/siblings/*.png

By hand:  python -m stages.sibling_plots
"""

import pandas as pd

from jam.io import atomic_folder
from jam.params import load_params
from jam.report import downstream_figures, matryoshka_figure, reference_figures
from jam.report.style import save
from jam.results import read_results, select
from stages.common import PLOTS, SIBLINGS, run
from stages.results import sibling_tables, verdicts


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
    with atomic_folder(PLOTS / "siblings") as folder:
        for name, figure in drawn.items():
            save(figure, folder / f"{name}.png")
    return f"{len(drawn)} figures in {PLOTS / 'siblings'}"


if __name__ == "__main__":
    run(main)
