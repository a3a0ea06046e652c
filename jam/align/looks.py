"""What looks at validation rows found by chance, so that a choice among several spaces can be judged as one."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from jam.errors import InputError


@dataclass(frozen=True)
class Looks:
    """The looks at one set of validation rows that led to a space.

    Attributes:
        items: a fingerprint of the rows' items; the draws of spaces that share it are the same.
        sides: by side a fingerprint of the features of these items.
        recall: of what was chosen, as it is taken in the draws.
        best: of each draw of shuffled pairs the best recall over all looks.
    """

    items: str
    sides: dict[str, str]
    recall: float
    best: list[float]

    @classmethod
    def read(cls, told: Any) -> "Looks | None":
        """What `told` gave; None of nothing, as spaces have that were saved before looks were.

        Raises:
            ValueError: it is something else.
        """
        if told is None:
            return None
        sides = {str(name): str(of) for name, of in told["sides"].items()}
        looks = cls(str(told["items"]), sides, float(told["recall"]), [float(value) for value in told["best"]])
        if not looks.best:
            raise ValueError("no draws")
        return looks

    def told(self) -> dict[str, Any]:
        """All of it, as JSON takes it."""
        return asdict(self)

    def chance(self) -> dict[str, float]:
        """``validation_null``, below which 95 % of the draws stay; ``validation_p``, the share that reach the recall.

        The truth counts as one draw: with 200 others p is at least 1/201.
        """
        reached = int(np.count_nonzero(np.array(self.best) >= self.recall))
        return {
            "validation_null": float(np.quantile(self.best, 0.95)),
            "validation_p": (1 + reached) / (1 + len(self.best)),
        }


@dataclass(frozen=True)
class Candidate:
    """A saved space that may be chosen, as its ``space.json`` tells it: see `jam.align.space.read_space`."""

    folder: Path
    space: dict[str, Any]

    @property
    def score(self) -> float:
        """On validation rows."""
        return float(self.space["chosen"].get("validation_score", 0))

    @property
    def looks(self) -> Looks | None:
        """Those that led to it."""
        found: Looks | None = self.space["looks"]
        return found

    def sees(self) -> dict[tuple[str, int], str]:
        """The fingerprint of the features of each side, by encoder and layer, or by name where there is no encoder."""
        sides = self.looks.sides if self.looks else {}
        sources = self.space["sides"]
        return {
            (source["encoder"], source["layer"]) if source else (name, -1): sides.get(name, "")
            for name, source in sources.items()
        }

    def agrees(self, other: "Candidate") -> bool:
        """Whether scores can be compared: of the same validation items and, where a side is shared, features."""
        mine, others = self.sees(), other.sees()
        same = (self.looks and self.looks.items) == (other.looks and other.looks.items)
        return same and all(mine[side] == others[side] for side in mine.keys() & others.keys())


@dataclass(frozen=True)
class Choice:
    """The best of several spaces: its folder, and what was chosen with a p that counts the choice among ``number``."""

    folder: Path
    chosen: dict[str, Any]
    number: int


def choose(candidates: Sequence[Candidate], where: Path) -> Choice:
    """The space with the best score on validation rows.

    Its recall is held against the best of all spaces in each draw of shuffled pairs, which are the same for all (maxT);
    spaces that tell no draws have their p multiplied by the number of spaces instead.

    Args:
        candidates: one or more.
        where: their common folder, for the message.

    Raises:
        InputError: the scores cannot be compared, as those of another run; both runs are named.
    """
    runs: list[list[Candidate]] = []
    for candidate in candidates:
        run = next((run for run in runs if all(candidate.agrees(other) for other in run)), None)
        if run is None:
            runs.append(run := [])
        run.append(candidate)
    if len(runs) > 1:
        told = " and ".join(_names(run, where) for run in runs)
        raise InputError(
            f"{where}: got spaces of {len(runs)} runs, on other validation rows or encoders: {told}; expected those of "
            "one: name the folder of a space, or remove those of the other run"
        )
    best = max(candidates, key=lambda candidate: candidate.score)
    chosen, looks = dict(best.space["chosen"]), [each.looks for each in candidates if each.looks]
    if best.looks:
        draws = np.max([each.best for each in looks], axis=0).tolist()
        chosen |= replace(best.looks, best=draws).chance()
    elif "validation_p" in chosen:
        chosen["validation_p"] = min(1.0, len(candidates) * chosen["validation_p"])
    return Choice(best.folder, chosen, len(candidates))


def _names(run: Sequence[Candidate], where: Path) -> str:
    """The folders of a run, those of its seeds together."""
    paths = [each.folder.relative_to(where) for each in run]
    return "{" + ", ".join(dict.fromkeys(path.parts[0] for path in paths)) + "}"
