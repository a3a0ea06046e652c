"""Several multimodal models side by side: those that are pretrained here on pairs, and those of the hub or a folder."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from jam.params.encoders import Pretraining
from jam.params.fields import Count, Distinct, Fraction, NonNegative, Section, Seed, of_root

READS = {"cave": "data/multimodal_pairs", "hub": "jam/hub.py"}
TOWERS = ("image", "text")


class ImageTower(Section):
    """A ViT on patches, or a RegNet, as of an encoder.

    ``width``, ``layers`` and ``heads`` are a ViT's, ``widths`` and ``depths`` a convnet's.
    """

    architecture: Literal["vit", "convnet"]
    width: Count | None = None
    layers: Count | None = None
    heads: Count | None = None
    widths: tuple[Count, Count, Count, Count] | None = None
    depths: tuple[Count, Count, Count, Count] | None = None

    def _problems(self) -> Iterator[str]:
        of = {"vit": ("width", "layers", "heads"), "convnet": ("widths", "depths")}
        for architecture, names in of.items():
            for name in names:
                got = getattr(self, name)
                if (got is not None) != (architecture == self.architecture):
                    yield f"{name}: got {got} of a {self.architecture}, expected it of a {architecture} alone"
        if self.width and self.heads and self.width % self.heads:
            yield f"width: got {self.width}, expected a multiple of the {self.heads} heads"


class TextTower(Section):
    """A ModernBERT that reads whole words."""

    width: Count
    layers: Count
    heads: Count

    def _problems(self) -> Iterator[str]:
        if self.width % self.heads:
            yield f"width: got {self.width}, expected a multiple of the {self.heads} heads"


class MultimodalPretraining(Pretraining):
    """How a model is pretrained here on pairs: a miniature objective and no replication of what it is named after.

    ``clip`` is the contrastive loss (ITC) alone; ``align`` is ITC on captions of which the share ``wrong`` is another
    pair's; ``blip`` adds matching (ITM) and language (LM); ``flava`` adds masked words (MLM) and masked patches (MIM).
    """

    objective: Literal["clip", "align", "blip", "flava"]
    image: ImageTower
    text: TextTower
    latent: Count  # width of the shared space
    pairs: Count  # the first so many of those drawn
    wrong: Fraction | None = None

    def _problems(self) -> Iterator[str]:
        if (self.wrong is not None) != (self.objective == "align"):
            yield f"wrong: got {self.wrong} with objective {self.objective}, expected it of align alone"
        if self.objective == "flava" and self.image.architecture != "vit":
            yield "image: got a convnet with objective flava, expected a vit, whose patches are masked"
        if self.batch_size < 2:
            yield f"batch_size: got {self.batch_size}, expected two pairs at least, which are contrasted"
        if round((self.wrong or 0) * self.pairs) == 1:
            yield f"wrong: got {self.wrong} of {self.pairs} pairs, which is one; expected none or two, as they exchange"
        if self.batch_size > self.pairs:
            yield f"batch_size: got {self.batch_size}, expected at most the {self.pairs} pairs"


class MultimodalSpec(Section):
    """An entry of ``multimodal``: pretrained here (cave) on the pairs drawn, of the hub, or of your folder.

    ``reads`` is what it is made of, as of an encoder: the pairs, the code that finds a hub model, or your folder of
    the Hugging Face layout.
    """

    source: Literal["cave", "hub", "folder"]
    reads: str
    pretraining: MultimodalPretraining | None = None
    seed: Seed = 0
    checkpoints: Distinct[Annotated[int, Field(ge=0, lt=100)]] = ()  # kept after these percentages of the training
    more_seeds: Distinct[Seed] = ()  # trained beside it, each from a seed of its own
    model: str | None = None
    revision: str | None = None

    def _problems(self) -> Iterator[str]:
        fits, reads = READS.get(self.source), of_root(self.reads)
        if reads != (fits or reads) or (fits is None and reads in READS.values()):
            expected = fits or "your folder with config.json"
            yield f"reads: got {self.reads!r} with source {self.source}, expected {expected}"
        needed = {"cave": "pretraining", "hub": "model", "folder": "reads"}[self.source]
        if getattr(self, needed) is None:
            yield f"got no {needed!r}, expected it with source {self.source}"
        taken = {"source", "reads", needed}
        taken |= {"cave": {"seed", "checkpoints", "more_seeds"}, "hub": {"revision"}, "folder": set()}[self.source]
        if (of := self.pretraining) is not None:
            steps = of.pairs // of.batch_size * of.epochs
            if len({round(part * steps / 100) for part in self.checkpoints}) < len(self.checkpoints):
                yield f"checkpoints: got {list(self.checkpoints)} of {steps} steps, expected such as do not coincide"
        if self.seed in self.more_seeds:
            yield f"more_seeds: got {list(self.more_seeds)} beside seed {self.seed}, expected different ones"
        if ignored := sorted(name for name in self.model_fields_set - taken if getattr(self, name) is not None):
            yield (
                f"got {', '.join(ignored)}, which source {self.source} makes no use of; "
                f"expected some of {', '.join(sorted(taken))}"
            )

    def problems_with(self, where: str, source: str, pairs: int) -> Iterator[str]:
        """What does not fit the source of the dataset and the number of pairs that are drawn."""
        if self.pretraining is not None and source != "cave":
            yield f"{where}: got source cave with dataset.source {source}, expected a model of the hub or a folder"
        if self.pretraining is not None and self.pretraining.pairs > pairs:
            got = self.pretraining.pairs
            yield f"{where}.pretraining.pairs: got {got}, expected at most the {pairs} of multimodal_pairs"

    @property
    def variants(self) -> tuple[str, ...]:
        """Folders, below that of each tower, of its checkpoints and of its further seeds."""
        return (*(f"checkpoints/{at}" for at in self.checkpoints), *(f"seeds/{seed}" for seed in self.more_seeds))


class Shifted(Section):
    """A domain beside the world's own: scenes of other statistics and looks, which no model was trained on."""

    scenes: Annotated[int, Field(ge=0)]  # 0: there is none
    habitats: Annotated[int, Field(ge=0, le=100)]  # 0: nothing co-occurs
    nuisance: NonNegative  # strength of what is private to an image; 1 is as it is meant


class MorePairs(Section):
    """Section ``multimodal_pairs``: drawn of the embedded world where a model is pretrained here, beside its own."""

    pairs: Count
    captions: Annotated[int, Field(ge=1, le=6)]  # of each
    shifted: Shifted
