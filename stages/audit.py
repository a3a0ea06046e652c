"""Audit the field's metrics: does a score of alignment tell how much, and how purely, a representation knows reality?

Reads   data/features/, data/spaces/ (first seed), data/world/ (states)
Writes  metrics/tables/audit.csv

Over every layer, seed, checkpoint and control, whitened features and sides of spaces: the mean score with trained
encoders of the other modality (``reference`` across), of its own (within), and with the state itself (state), raw,
calibrated by the null of permuted rows, and with the number of things partialled out; then how these rank with recall
and precision (``outcome``). `jam.reality.audited` says what is compared, `jam.reality.tracking` how it is correlated.
Where the world's state isn't known the table is empty.

By hand:  python -m stages.audit
"""

from typing import Any

from jam.parallel import in_processes, processes
from jam.params import load_params
from jam.reality.audit import align, outcomes
from jam.reality.audit_rows import score_rows, table_of
from jam.reality.audited import Audited, audited, references
from jam.reality.tracking import correlation_rows
from jam.results import write_results
from jam.world.state import facts
from stages.common import FEATURES, SPACES, TABLES, keyed, run
from stages.truth import known_truth

TABLE = TABLES / "audit.csv"
CHUNK = 16  # representations that are scored together


def known(some: list[Audited], *truth: Any) -> list[dict[str, float]]:
    """`outcomes` of some representations."""
    return [outcomes(one.of, *truth) for one in some]


def main() -> str:
    """Run the stage and say where its results are."""
    params = load_params()
    if (truth := known_truth(params)) is None:
        write_results(TABLE, "audit", [])
        return f"the world's state is not known; {TABLE} is empty"
    kernels = params.kernels
    compared = references(params, FEATURES, truth.ids)
    ys = [one.rows for one in compared] + [facts(truth.states["test"])]
    everything = list(audited(params, FEATURES, SPACES, truth.ids))
    chunks = [everything[start : start + CHUNK] for start in range(0, len(everything), CHUNK)]
    options = truth.held("test", "image")[1], kernels.k, params.audit.permutations, kernels.seed
    calls: list[tuple[Any, ...]] = [
        ((0, i), align, [one.of.features["test"] for one in some], ys, *options) for i, some in enumerate(chunks)
    ]
    calls += [((1, i), known, some, truth.factors, truth.readout) for i, some in enumerate(chunks)]
    found = dict(in_processes(keyed, calls, processes()))
    scores = [found[0, i] for i in range(len(chunks))]
    told = [one for i in range(len(chunks)) for one in found[1, i]]
    rows = score_rows(everything, compared, scores, told)
    rows += correlation_rows(table_of(everything, compared, scores, told), params.audit.resamples, kernels.seed)
    table = write_results(TABLE, "audit", rows)
    return f"{len(table)} scores and correlations of {len(everything)} representations in {TABLE}"


if __name__ == "__main__":
    run(main)
