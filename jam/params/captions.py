"""Captions by a frozen language model: what its prefix is made of, and the variants that are held against it."""

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from jam.params.fields import Count, Name, NonNegative, Positive, Section, Seeds
from jam.params.resampler import Resampler


class Latents(Section):
    """Which ``variant`` of which entry of section ``resampler``, the side of which encoder's name is the images'."""

    resampler: Name
    variant: Name


class Telling(Section):
    """A projector and how it is trained.

    ``input`` is what of an image is projected: ``z`` of a space, ``latents`` of a resampler, all ``tokens`` of a layer;
    ``texts`` trains on z of sentences alone, with ``noise``, and is given z of images; ``oracle`` is the true state.
    ``lora`` is the rank of changes to the language model, which is frozen without.
    """

    input: Literal["z", "latents", "tokens", "texts", "oracle"]
    task: Literal["captions", "questions"] = "captions"
    projector: Literal["linear", "mlp", "transformer", "resampler"]
    k: Count  # length of the prefix
    width: Count
    depth: Count = 1
    heads: Count = 4
    noise: NonNegative = 0.0
    lora: Count | None = None
    whitening: Positive | None
    learning_rate: Positive
    batch_size: Count
    epochs: Count

    def _problems(self) -> Iterator[str]:
        if self.width % self.heads:
            yield f"width: got {self.width}, expected a multiple of the {self.heads} heads"
        if self.input == "texts" and self.task == "questions":
            yield "task: got questions with input texts, expected captions, as the sentences themselves are said again"
        if (self.noise > 0) != (self.input == "texts"):
            yield f"noise: got {self.noise} with input {self.input}, expected it with texts, and with no other"


class Captions(Section):
    """An entry of section ``captions``.

    ``variants`` name what each changes of ``recipe``; the first is what the others are compared with. Those
    ``repeated`` are trained with all seeds, the others with the first.
    """

    image: Name
    language: Name
    space: Name
    latents: Latents
    seeds: Seeds
    repeated: tuple[Name, ...] = ()
    recipe: Telling
    variants: Annotated[dict[Name, dict[str, Any]], Field(min_length=1)]

    def variant(self, name: str) -> Telling:
        """The recipe of a variant."""
        return Telling.model_validate({**self.recipe.model_dump(), **self.variants[name]})

    def of_seeds(self, name: str) -> Seeds:
        """The seeds that a variant is trained with."""
        return self.seeds if name in self.repeated else self.seeds[:1]

    def _problems(self) -> Iterator[str]:
        if odd := [name for name in self.repeated if name not in self.variants]:
            yield f"repeated: got {odd}, expected names among {list(self.variants)}"
        for name in self.variants:
            try:
                self.variant(name)
            except ValueError as error:
                told = error.errors()[0]  # type: ignore[attr-defined]
                where = ".".join(["variants", name, *map(str, told["loc"])])
                yield f"{where}: {told['msg'].removeprefix('Value error, ')}"
                return

    def problems_with(
        self, where: str, tokens: Collection[str], spaces: Collection[str], resamplers: Mapping[str, Resampler]
    ) -> Iterator[str]:
        """What does not fit the names of encoders whose tokens are kept, of spaces, and the resamplers."""
        if self.image not in tokens:
            yield f"{where}.image: got {self.image!r}, expected an encoder among tokens: {list(tokens)}"
        if self.space not in spaces:
            yield f"{where}.space: got {self.space!r}, expected one of {list(spaces)}"
        found = resamplers.get(self.latents.resampler)
        if found is None or self.latents.variant not in found.variants or found.x.encoder != self.image:
            got = f"{self.latents.resampler}, {self.latents.variant}"
            yield f"{where}.latents: got {got}, expected a variant of an entry of resampler whose x is {self.image}"
