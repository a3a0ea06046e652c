"""What a guess without looking scores on hard negatives: the sentence that is true of more scenes is more often right.

Edits are drawn uniformly and scenes are not, so a false sentence tends to be of rarer things. A model that knows what
occurs in the world, and sees nothing, is above one half; a hard negative tells something above this row alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jam.metrics import wilson_interval
from jam.world.claims import Scenes
from jam.world.parser import parse
from jam.world.state import States

SCENES = 1000  # of the world, in which both sentences are looked up


def blind_rows(rows: Sequence[Mapping[str, Any]], states: States) -> list[dict[str, Any]]:
    """Accuracy of that guess by kind of edit, in columns of results; a tie counts half.

    Args:
        rows: items with captions and negatives, see `jam.data.schema.write_world`.
        states: scenes of the world, drawn independently of the items.
    """
    scenes, known = Scenes(states[:SCENES]), dict[str, int]()

    def count(text: str) -> int:
        if text not in known:
            known[text] = int(scenes.true(parse(text)).sum())
        return known[text]

    scores: dict[str, list[float]] = {}
    for row in rows:
        for negative in row["negatives"]:
            if negative["tier"] == "hard":
                true, false = count(row["captions"][negative["of"]].content), count(negative["text"])
                scores.setdefault(negative["kind"], []).append((true > false) + 0.5 * (true == false))
    told = []
    for kind, found in scores.items():
        low, high = wilson_interval(round(sum(found)), len(found))
        value = float(np.mean(found))
        told.append({"kind": kind, "value": value, "low": low, "high": high, "n": len(found), "interval": "Wilson"})
    return told
