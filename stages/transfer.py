"""What one multimodal model has learned of labels on another's vectors: heads through maps, few labels, distillation.

Reads   data/multimodal_features/, data/world/
Writes  metrics/siblings/transfer/NAME.csv: ``condition`` own, mapped (over ``anchors``), shuffled, unmapped, labels (an
        own head of so few labels), and of students taught, untaught, mistaught. ``kept`` is the share of the own score
        above chance.

By hand:  python -m stages.transfer cave
"""

from typing import Any

import pandas as pd
import torch

from jam.compare.transfer.anchors import Curve, Seen, transfer_rows
from jam.compare.transfer.distil import Schedule
from jam.compare.transfer.students import Students, student_rows
from jam.parallel import in_processes, processes
from jam.params import load_params
from jam.results import write_results
from stages.common import SIBLINGS, keyed, require_listed, run, say
from stages.multimodal_inputs import labels_of, test_draws, vectors

Row = dict[str, Any]


def handed_over(name: str, label: str) -> list[Row]:
    """Heads of a label on all models' vectors."""
    params = load_params()
    spec = params.transfer[name]
    models = [Seen(model, vectors(model, "image")) for model in spec.models]
    labels = labels_of(spec.models[0], [label])
    curve = Curve(spec.anchors, spec.draws, spec.relative)
    drawn = test_draws(spec.models[0], params.evaluate.resamples)
    return list(transfer_rows(models, labels, spec.methods, curve, drawn=drawn, seed=spec.seed))


def distilled(name: str, label: str) -> list[Row]:
    """Students of a label."""
    params = load_params()
    spec = params.transfer[name].distil
    assert spec is not None
    torch.set_num_threads(1)
    seen = {model: vectors(model, "image") for model in (spec.teacher, spec.student)}
    known = {split: of[label][:, 0] for split, of in labels_of(spec.teacher, [label]).items()}
    schedule = Schedule(spec.hidden, spec.epochs, spec.learning_rate, spec.batch_size)
    how = Students(spec.rows, spec.alphas, spec.temperatures, schedule, spec.seeds)
    rows = student_rows(
        seen[spec.teacher], seen[spec.student], known, how, test_draws(spec.student, params.evaluate.resamples)
    )
    return [{"x": spec.student, "y": spec.teacher, "label": label, **row} for row in rows]


def main(name: str) -> str:
    """Run the stage and say where its results are."""
    require_listed("transfer", name, load_params().transfer)
    spec = load_params().transfer[name]
    calls: list[tuple[Any, ...]] = [(("heads", label), handed_over, name, label) for label in spec.labels]
    if spec.distil is not None:
        calls += [(("students", label), distilled, name, label) for label in spec.distil.labels]
    found: dict[Any, list[Row]] = {}
    for what, rows in in_processes(keyed, calls, min(processes(), len(calls))):
        found[what] = rows
        say(f"{' of '.join(what)}: {len(rows)} numbers")
    table = pd.DataFrame([row for what, *_ in calls for row in found[what]])
    path = SIBLINGS / "transfer" / f"{name}.csv"
    write_results(path, "transfer", table.assign(split="test"))
    return f"{len(table)} numbers in {path}"


if __name__ == "__main__":
    run(main, name="a name among the entries of transfer of params.yaml")
