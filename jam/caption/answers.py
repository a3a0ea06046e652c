"""Whether answers to questions about scenes are right."""

from collections.abc import Sequence

import numpy as np

from jam.caption.scenes import SAID, mentions_of
from jam.caption.targets import WHAT
from jam.caption.train import Examples
from jam.evaluation.scores import Key, Outcome, PerRow


def answer_scores(kind: str, asked: Examples, answers: Sequence[str]) -> dict[Key, Outcome]:
    """Share of answers that are right: all three attributes of a thing, or its cell; and each attribute by itself.

    Args:
        kind: of `jam.caption.targets.questions`.
        asked: the questions, with what would be right.
        answers: (m,) what was said.
    """
    names = [name for name in SAID if (name != "cell") == (kind == WHAT)]
    right = {name: np.zeros(len(answers)) for name in names}
    for i, (prompt, truth, answer) in enumerate(zip(asked.prompts, asked.answers, answers, strict=True)):
        told, true = (mentions_of(f"{prompt} {each}") for each in (answer, truth))
        assert true is not None
        for name in names:
            right[name][i] = told is not None and getattr(told[0], name) == getattr(true[0], name)
    found: dict[Key, Outcome] = {Key("answer", "image", kind=kind): _of(np.prod(list(right.values()), axis=0), asked)}
    return found | {Key("answer", "image", kind=kind, label=name): _of(values, asked) for name, values in right.items()}


def _of(values: np.ndarray, asked: Examples) -> PerRow:
    return PerRow(np.asarray(values, float), asked.rows)
