"""Captions by a frozen language model: what its prefix is made of, and the variants that are held against it."""

from collections.abc import Collection, Iterator, Mapping
from typing import Literal

from jam.params.encoders import EncoderSpec
from jam.params.fields import Count, Name, NonNegative, Positive, Section
from jam.params.resampler import Resampler
from jam.params.variants import Varied


class Latents(Section):
    """Which ``variant`` of which entry of section ``resampler``, the side of which encoder's name is the images'."""

    resampler: Name
    variant: Name


class Telling(Section):
    """A projector and how it is trained.

    ``input`` is what of an image is projected: ``z`` of a space, the ``pooled`` features that this space reads,
    ``latents`` of a resampler, all ``tokens`` of a layer;
    ``texts`` trains on z of sentences alone, with ``noise``, and is given z of images; ``oracle`` is the true state.
    ``lora`` is the rank of changes to the language model, which is frozen without.
    """

    input: Literal["z", "pooled", "latents", "tokens", "texts", "oracle"]
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


class Captions(Varied[Telling]):
    """An entry of section ``captions``."""

    image: Name
    language: Name
    space: Name
    latents: Latents

    def problems_with(
        self,
        where: str,
        encoders: Mapping[str, EncoderSpec],
        tokens: Collection[str],
        spaces: Collection[str],
        resamplers: Mapping[str, Resampler],
    ) -> Iterator[str]:
        """What does not fit the encoders, the names of those whose tokens are kept, of spaces, and the resamplers."""
        speaker, causal = encoders.get(self.language), "a causal model of texts"
        if speaker is None:
            yield f"{where}.language: got {self.language!r}, expected one of {list(encoders)}, {causal}"
        else:
            trained = speaker.text.objective if speaker.text else None
            if speaker.modality != "text" or trained not in (None, "causal"):
                yield f"{where}.language: got {self.language}, {trained or speaker.modality}; expected {causal}"
        if self.image not in tokens:
            yield f"{where}.image: got {self.image!r}, expected an encoder among tokens: {list(tokens)}"
        if self.space not in spaces:
            yield f"{where}.space: got {self.space!r}, expected one of {list(spaces)}"
        found = resamplers.get(self.latents.resampler)
        if found is None or self.latents.variant not in found.variants or found.x.encoder != self.image:
            got = f"{self.latents.resampler}, {self.latents.variant}"
            yield f"{where}.latents: got {got}, expected a variant of an entry of resampler whose x is {self.image}"
