"""Models against models: towers of two stitched through a map, and heads handed over from one to another."""

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field

from jam.params.fields import Count, Distinct, Fraction, Name, Positive, Section, Seed, Some
from jam.params.multimodal import MultimodalSpec

MapName = Literal["orthogonal", "ridge"]
Attribute = Literal["digit", "colour", "size", "count", "habitat"]
Several = Annotated[int, Field(ge=2)]  # of one alone no map is fitted, and nothing is shuffled


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
    anchors: Some[Several]
    layers: Distinct[Stitched] = ()
    images: Several  # of the training items, that maps of tokens are fitted on
    trained: TrainedMap | None = None
    seed: Seed

    def _problems(self) -> Iterator[str]:
        if len(self.models) < 2:
            yield f"models: got {list(self.models)}, expected at least two"
        for pair in self.layers:
            if pair.bottom == pair.top:
                yield f"layers: got {pair.bottom} under itself, expected two models"

    def problems_with(self, where: str, models: Mapping[str, MultimodalSpec]) -> Iterator[str]:
        """What does not fit the entries of ``multimodal``."""
        asked = [*self.models, *(name for pair in self.layers for name in (pair.bottom, pair.top))]
        if unknown := [name for name in asked if name not in models]:
            yield f"{where}: got {unknown}, expected names among {list(models)}"
        for pair in self.layers:
            told = [models[name].pretraining for name in (pair.bottom, pair.top) if name in models]
            built = [of.image.architecture for of in told if of is not None]
            if len(set(built)) > 1:
                under = f"{pair.bottom} under {pair.top}, a {' under a '.join(built)}"
                yield f"{where}.layers: got {under}, expected one architecture"


class Distil(Section):
    """A student on ``student``'s vectors, a teacher's head on ``teacher``'s; α and T are chosen on validation rows."""

    teacher: Name
    student: Name
    labels: Some[Literal["count", "habitat"]]  # of one class an item
    rows: Some[Several]  # labelled rows that the student has
    alphas: Some[Fraction]
    temperatures: Some[Positive]
    hidden: Count
    epochs: Count
    learning_rate: Positive
    batch_size: Several
    seeds: Some[Seed]

    def _problems(self) -> Iterator[str]:
        if not any(self.alphas):
            yield f"alphas: got {list(self.alphas)}, expected one above 0, by which a teacher is heard"


class Transfer(Section):
    """An entry of section ``transfer``: heads of ``labels`` of each model on all others' vectors."""

    models: Some[Name]
    labels: Some[Attribute]
    methods: Some[MapName]
    anchors: Some[Several]
    relative: Distinct[Several] = ()  # anchors of relative coordinates
    draws: Count  # of anchors
    distil: Distil | None = None
    seed: Seed

    def problems_with(self, where: str, models: Collection[str]) -> Iterator[str]:
        """What does not fit the names of ``multimodal``."""
        asked = [*self.models, *([self.distil.teacher, self.distil.student] if self.distil else [])]
        if unknown := [name for name in asked if name not in models]:
            yield f"{where}: got {unknown}, expected names among {list(models)}"
