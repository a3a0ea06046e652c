"""Students by how many labels they have, with a teacher, without one, and with one that speaks of other items."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jam.compare.resamples import Resamples
from jam.compare.stitch.maps import unit_rows
from jam.compare.transfer.distil import Schedule, Task, choose_student, predicted, train_student

TAUGHT, UNTAUGHT, MISTAUGHT, TEACHER = "taught", "untaught", "mistaught", "teacher"


@dataclass(frozen=True)
class Students:
    """Labelled rows that a student has, what its α and T are chosen among, how it learns, and seeds."""

    rows: Sequence[int]
    alphas: Sequence[float]
    temperatures: Sequence[float]
    schedule: Schedule
    seeds: Sequence[int]


def student_rows(
    teacher: Mapping[str, np.ndarray],
    student: Mapping[str, np.ndarray],
    labels: Mapping[str, np.ndarray],
    how: Students,
    drawn: Resamples,
) -> Iterator[dict[str, Any]]:
    """Rows of results: accuracy of each student, and how often it says what the teacher says (agreement, Cohen's κ).

    The teacher is a logistic regression on its own model's vectors with all labels of the train rows, its C chosen on
    validation rows; students learn from the first so many train rows, the taught ones from its logits of them too.
    Rows with ``against`` are differences of a taught student from an untaught one (α = 0), paired on items.

    Args:
        teacher, student: split → (n, d) of the same items.
        labels: split → (n,) classes.
        how: see there.
        drawn: the bootstrap of the test items.
    """
    classes = np.unique(labels["train"])
    y = {split: np.searchsorted(classes, of) for split, of in labels.items()}
    logits = teacher_logits({split: unit_rows(rows) for split, rows in teacher.items()}, y, len(classes))
    says = logits["test"].argmax(axis=1)
    told: dict[str, Any] = {"interval": "bootstrap", "n": len(says), "seeds": len(how.seeds), "k": None}
    right = (says == y["test"]).astype(float)
    yield told | {"condition": TEACHER, "metric": "accuracy", "seeds": 1} | drawn.mean(right)._asdict()
    x = {split: unit_rows(rows) for split, rows in student.items()}
    for count in sorted({min(count, len(y["train"])) for count in how.rows}):
        few = {"train": slice(count)}
        task = Task(
            *({split: rows[few.get(split, slice(None))] for split, rows in of.items()} for of in (x, y, logits))
        )
        wrong = Task(task.x, task.y, {**task.teacher, "train": np.roll(task.teacher["train"], 1, axis=0)})
        said: dict[str, list[np.ndarray]] = {TAUGHT: [], UNTAUGHT: [], MISTAUGHT: []}
        chosen = []
        for seed in how.seeds:
            made, alpha, temperature = choose_student(task, how.alphas, how.temperatures, how.schedule, seed)
            chosen.append((alpha, temperature))
            plain = train_student(task, 0.0, 1.0, how.schedule, seed)
            mistaught = train_student(
                wrong, max(alpha, min(a for a in how.alphas if a)), temperature, how.schedule, seed
            )
            for name, one in ((TAUGHT, made), (UNTAUGHT, plain), (MISTAUGHT, mistaught)):
                said[name].append(predicted(one, x["test"]))
        base = told | {"anchors": count}
        scores = {name: np.mean([each == y["test"] for each in of], axis=0) for name, of in said.items()}
        agree = {name: np.mean([each == says for each in of], axis=0) for name, of in said.items()}
        for name, of in said.items():
            what = base | {"condition": name}
            if name == TAUGHT:
                what |= {
                    "alpha": float(np.mean([a for a, _ in chosen])),
                    "temperature": float(np.mean([t for _, t in chosen])),
                }
            for metric, values in (("accuracy", scores[name]), ("agreement", agree[name])):
                yield what | {"metric": metric} | drawn.mean(values)._asdict()
                if name == TAUGHT:
                    plain_values = (scores if metric == "accuracy" else agree)[UNTAUGHT]
                    less = drawn.difference(values, plain_values)._asdict()
                    yield what | {"metric": metric, "against": UNTAUGHT} | less
            yield what | {"metric": "kappa"} | drawn.kappa(of, says)._asdict()


def teacher_logits(x: Mapping[str, np.ndarray], y: Mapping[str, np.ndarray], classes: int) -> dict[str, np.ndarray]:
    """Of a logistic regression, split → (n, classes); C is the best on validation rows, the smallest of equals."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    tried = []
    for c in (0.01, 0.1, 1.0, 10.0):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=500)).fit(x["train"], y["train"])
        tried.append((float(np.mean(model.predict(x["val"]) == y["val"])), model))
    best = tried[int(np.argmax([score for score, _ in tried]))][1]

    def logits(rows: np.ndarray) -> np.ndarray:
        found = best.decision_function(rows)
        return np.stack([-found / 2, found / 2], axis=1) if classes == 2 else found

    return {split: logits(rows) for split, rows in x.items()}
