"""Models against models: towers of two stitched through a map, and heads handed over from one to another."""

from collections.abc import Collection, Iterator
from typing import Literal

from jam.params.fields import Count, Distinct, Fraction, Name, Positive, Section, Seed, Some

MapName = Literal["orthogonal", "ridge"]
Attribute = Literal["digit", "colour", "size", "count", "habitat"]


class Stitched(Section):
    """The bottom of one image tower under the top of another, layer by layer; both are of one architecture."""

    bottom: Name
    top: Name


class TrainedMap(Section):
    """The map that is trained through the frozen top."""

    epochs: Count
    learning_rate: Positive
    batch_size: Count


class Stitch(Section):
    """An entry of section ``stitch``; controls have the first of ``methods``."""

    models: Some[Name]
    methods: Some[MapName]
    anchors: Some[Count]
    layers: Distinct[Stitched] = ()
    images: Count  # of the training items, that maps of tokens are fitted on
    trained: TrainedMap | None = None
    seed: Seed

    def _problems(self) -> Iterator[str]:
        if len(self.models) < 2:
            yield f"models: got {list(self.models)}, expected at least two"
        for pair in self.layers:
            if pair.bottom == pair.top:
                yield f"layers: got {pair.bottom} under itself, expected two models"

    def problems_with(self, where: str, models: Collection[str]) -> Iterator[str]:
        """What does not fit the names of ``multimodal``."""
        asked = [*self.models, *(name for pair in self.layers for name in (pair.bottom, pair.top))]
        if unknown := [name for name in asked if name not in models]:
            yield f"{where}: got {unknown}, expected names among {list(models)}"


class Distil(Section):
    """A student on ``student``'s vectors, a teacher's head on ``teacher``'s; α and T are chosen on validation rows."""

    teacher: Name
    student: Name
    labels: Some[Attribute]
    rows: Some[Count]  # labelled rows that the student has
    alphas: Some[Fraction]
    temperatures: Some[Positive]
    hidden: Count
    epochs: Count
    learning_rate: Positive
    batch_size: Count
    seeds: Some[Seed]


class Transfer(Section):
    """An entry of section ``transfer``: heads of ``labels`` of each model on all others' vectors."""

    models: Some[Name]
    labels: Some[Attribute]
    methods: Some[MapName]
    anchors: Some[Count]
    relative: Distinct[Count] = ()  # anchors of relative coordinates
    draws: Count  # of anchors
    distil: Distil | None = None
    seed: Seed

    def problems_with(self, where: str, models: Collection[str]) -> Iterator[str]:
        """What does not fit the names of ``multimodal``."""
        asked = [*self.models, *([self.distil.teacher, self.distil.student] if self.distil else [])]
        if unknown := [name for name in asked if name not in models]:
            yield f"{where}: got {unknown}, expected names among {list(models)}"
