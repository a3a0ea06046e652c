"""Which encoders, and how those are pretrained that are pretrained here."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from jam.params.fields import Count, Name, NonNegative, Positive, Section, Seed, of_root

READS = {
    "cave": "data/pretrain",
    "package": "jam/encoders/package.py",
    "hub": "jam/hub.py",
    "control": "jam/features/controls.py",
}
YOURS = {"folder": "your folder with config.json", "arrays": "your file of arrays"}


class Pretraining(Section):
    """The schedule of an encoder that is pretrained here."""

    epochs: Count
    batch_size: Count
    learning_rate: Positive
    weight_decay: NonNegative


class ImagePretraining(Pretraining):
    """A RegNet pretrained here on images alone: on labels of what is there, or on two distortions of each image."""

    objective: Literal["labels", "contrastive"]
    widths: tuple[Count, Count, Count, Count]
    depths: tuple[Count, Count, Count, Count]


class TextPretraining(Pretraining):
    """A transformer pretrained here on text alone: the next word, words left out, or two sentences of a document."""

    objective: Literal["causal", "masked", "contrastive"]
    width: Count
    layers: Count
    heads: Count


class EncoderSpec(Section):
    """One frozen encoder: pretrained here (cave), of a PyPI package, the hub or a folder, or features that are given.

    A ``control`` is no encoder: what its features tell is known, see `jam.features.controls`.

    ``reads`` is what it is made of, a dependency of its stage: what encoders are pretrained on, the code that finds a
    package or a hub model, your folder of the Hugging Face layout, or a file of arrays (.npy, .npz, .parquet), a row
    for each of ``dataset.arrays.rows``.
    """

    modality: Name
    source: Literal["cave", "package", "hub", "folder", "arrays", "control"]
    reads: str
    seed: Seed = 0
    random: bool = False  # its twin without training: of the same architecture, weights drawn from seed
    pooling: Literal["mean", "cls", "last"] | None = None  # None: mean of cave; else as suits the model
    max_tokens: Count | None = None  # texts are cut to so many tokens; None: as the model says; not of cave
    image: ImagePretraining | None = None
    text: TextPretraining | None = None
    checkpoints: tuple[Annotated[int, Field(ge=0, lt=100)], ...] = ()  # kept after these percentages of the training
    more_seeds: tuple[Seed, ...] = ()  # trained beside it, each from a seed of its own
    layer: Annotated[int, Field(ge=0)] | None = None  # that is read of checkpoints and of more_seeds
    control: Literal["bag_of_words", "parser", "state"] | None = None
    depth: Count | None = None  # of a transformer only so many blocks are run; None: all
    package: str | None = None
    model: str | None = None
    revision: str | None = None

    def _problems(self) -> Iterator[str]:
        if self.source != "arrays" and self.modality not in ("image", "text"):
            yield f"modality: got {self.modality} with source {self.source}, expected image or text"
        fits = READS.get(self.source)
        reads = of_root(self.reads)
        if reads != (fits or reads) or (fits is None and reads in READS.values()):
            yield f"reads: got {self.reads!r} with source {self.source}, expected {fits or YOURS[self.source]}"
        needed = {"cave": self.modality, "package": "package", "hub": "model", "control": "control"}.get(
            self.source, "reads"
        )
        if getattr(self, needed) is None:
            yield f"got no {needed!r}, expected it with modality {self.modality} and source {self.source}"
        taken = {"modality", "source", "reads", needed} | {
            "cave": {"random", "seed", "pooling", "checkpoints", "more_seeds", "layer"},
            "package": {"random", "max_tokens", "pooling", "depth"},
            "hub": {"random", "max_tokens", "revision", "pooling", "depth"},
            "folder": {"random", "max_tokens", "pooling", "depth"}, "arrays": set(), "control": set(),
        }[self.source]  # fmt: skip
        if self.random:
            taken |= {"seed"}
        if self.modality == "image":
            taken -= {"max_tokens", "depth"}
        if self.control and (self.control == "state") != (self.modality == "image"):
            yield f"control: got {self.control} of modality {self.modality}, expected state of image, others of text"
        if self.random and self.checkpoints:
            yield "checkpoints: got some of a random twin, which is not trained"
        if bool(self.checkpoints or self.more_seeds) != (self.layer is not None):
            yield f"layer: got {self.layer}, expected one with checkpoints or more_seeds, and else none"
        for field, values in (("checkpoints", self.checkpoints), ("more_seeds", (self.seed, *self.more_seeds))):
            if len(set(values)) < len(values):
                yield f"{field}: got {list(values)}, expected different ones"
        if ignored := sorted(name for name in self.model_fields_set - taken if getattr(self, name) is not None):
            yield (
                f"got {', '.join(ignored)}, which modality {self.modality} and source {self.source} make no use of; "
                f"expected some of {', '.join(sorted(taken))}"
            )
        if needed == "image" and self.pooling not in (None, "mean"):
            yield f"got pooling {self.pooling} for feature maps, expected mean"

    @property
    def variants(self) -> tuple[str, ...]:
        """Folders, below the encoder's own, of its checkpoints and of its further seeds."""
        return (*(f"checkpoints/{at}" for at in self.checkpoints), *(f"seeds/{seed}" for seed in self.more_seeds))

    @property
    def family(self) -> str:
        """How it was pretrained, as far as it is known: encoders of one family differ in size alone."""
        if self.random:
            return "random"
        pretraining = self.image or self.text
        return pretraining.objective if pretraining else self.source
