"""What sentences of a trained prefix are held against: what needs no language model, and what needs no image."""

from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import Ridge

from jam.caption.scenes import template
from jam.features.ragged import Ragged
from jam.world.state import CELLS, MOST, States, facts, scene_of, states_of_facts

PENALTIES = (0.1, 1.0, 10.0, 100.0, 1000.0)


def flat(tables: Sequence[Ragged]) -> list[np.ndarray]:
    """Sequences all of one length as one vector each, (n, t·d); of others the mean of their tokens, (n, d)."""
    alike = len({length for table in tables for length in table.lengths.tolist()}) == 1
    found = []
    for table in tables:
        states, real = table.padded()
        mean = states.sum(axis=1) / real.sum(axis=1, keepdims=True)
        found.append(states.reshape(len(states), -1) if alike else mean)
    return found


def nearest(train: Ragged, test: Ragged) -> np.ndarray:
    """Of each test item the training item whose centred inputs have the largest cosine with its own, (n,)."""
    known, asked = flat([train, test])
    centre = known.mean(axis=0)
    known, asked = (each - centre for each in (known, asked))
    known /= np.maximum(np.linalg.norm(known, axis=1, keepdims=True), 1e-12)
    return np.concatenate([(part @ known.T).argmax(axis=1) for part in np.array_split(asked, 1 + len(asked) // 1000)])


def told_by_probes(inputs: Sequence[Ragged], states: Sequence[States]) -> list[str]:
    """A template filled by linear probes: of each cell whether something stands there, and its digit, colour and size.

    Ridge regressions of all at once on the flat inputs, the penalty chosen by exact scenes on validation rows.

    Args:
        inputs: of training, validation and test items.
        states: (n, 6) of the same.

    Returns:
        Sentences of the test items.
    """
    train, val, test = (each.astype(np.float64) for each in flat(inputs))
    centre, scale = train.mean(axis=0), train.std()
    train, val, test = ((each - centre) / scale for each in (train, val, test))
    fits = [Ridge(penalty * len(train) / 1000).fit(train, facts(states[0])) for penalty in PENALTIES]
    right = [(read(each.predict(val)) == states[1]).all(axis=1).mean() for each in fits]
    return [template(scene_of(state)) for state in read(fits[int(np.argmax(right))].predict(test))]


def read(values: np.ndarray) -> States:
    """The likeliest state of readings of `facts` (n, 126): cells where something stands for at least a half, one to
    three of them, the surest first.
    """
    vectors = values.reshape(len(values), CELLS, -1).copy()
    order = np.argsort(-vectors[:, :, 0], axis=1, kind="stable")
    rank = np.argsort(order, axis=1, kind="stable")
    vectors[:, :, 0] = (rank == 0) | ((rank < MOST) & (vectors[:, :, 0] >= 0.5))
    return states_of_facts(vectors.reshape(len(values), -1))
