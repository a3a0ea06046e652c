"""Which encoders, and how those are pretrained that are pretrained here."""

from collections.abc import Iterator
from typing import Literal

from jam.params.fields import Count, NonNegative, Positive, Section, Seed


class Pretraining(Section):
    """The schedule of an encoder that is pretrained here."""

    epochs: Count
    batch_size: Count
    learning_rate: Positive
    weight_decay: NonNegative


class VisionPretraining(Pretraining):
    """A RegNet pretrained here on images alone: on their visual labels, or on two renderings of each scene."""

    objective: Literal["labels", "contrastive"]
    widths: tuple[Count, Count, Count, Count]
    depths: tuple[Count, Count, Count, Count]


class TextPretraining(Pretraining):
    """A small language model pretrained here on text alone: the next word, or words left out."""

    objective: Literal["causal", "masked"]
    width: Count
    layers: Count
    heads: Count


class EncoderSpec(Section):
    """One frozen encoder: pretrained here (cave), carried by a PyPI package, or a hub model."""

    modality: Literal["vision", "text"]
    source: Literal["cave", "package", "hub"]
    seed: Seed = 0
    pooling: Literal["mean", "cls", "last"] | None = None  # None: mean of cave; else as suits the model
    max_tokens: Count | None = None  # of package and hub: texts are cut to so many tokens; None: as the model says
    vision: VisionPretraining | None = None
    text: TextPretraining | None = None
    package: str | None = None
    model: str | None = None
    revision: str | None = None

    def _problems(self) -> Iterator[str]:
        needed = {"cave": self.modality, "package": "package", "hub": "model"}[self.source]
        if getattr(self, needed) is None:
            yield f"got no {needed!r}, expected it with modality {self.modality} and source {self.source}"
        taken = {"modality", "source", needed, "pooling"} | {
            "cave": {"seed"}, "package": {"max_tokens"}, "hub": {"max_tokens", "revision"}
        }[self.source]  # fmt: skip
        if self.modality == "vision":
            taken -= {"max_tokens"}
        if ignored := sorted(name for name in self.model_fields_set - taken if getattr(self, name) is not None):
            yield (
                f"got {', '.join(ignored)}, which modality {self.modality} and source {self.source} make no use of; "
                f"expected some of {', '.join(sorted(taken))}"
            )
        if needed == "vision" and self.pooling not in (None, "mean"):
            yield f"got pooling {self.pooling} for feature maps, expected mean"

    @property
    def family(self) -> str:
        """How it was pretrained, as far as it is known: encoders of one family differ in size alone."""
        pretraining = self.vision or self.text
        return pretraining.objective if pretraining else self.source
