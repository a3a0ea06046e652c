"""Section ``downstream``: what is probed before and after alignment, on which labelled images, with which prompts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from jam.params.data import HubData
from jam.params.fields import Count, Distinct, Name, Positive, Section, Seed, Share, Some, Strings

IN_PROMPT = "{}"  # where the word of a class stands


class LabelledFolder(Section):
    """A user's folder of labelled images, see `jam.sources.labelled`; ``test`` is a share of its photos."""

    path: str
    test: Share
    max_pixels: Count
    max_side: Count
    links: Strings = ()


class Images(Section):
    """How many images a source of the cave gives at most, of each split."""

    train: Count
    test: Count


class Downstream(Section):
    """Labelled images, and how they are read.

    ``reads`` is what the sources read, a dependency of the stage: what holds the local ``folder.path`` and ``hub.path``
    where there are such; else the code of the sources. ``prompts`` are sentences by the name of a label, with braces
    where the word of a class stands; a label without any has no zero-shot classes.
    """

    sources: Distinct[Literal["digits", "cave", "folder", "hub"]]
    reads: str
    spaces: Some[Name]
    images: Images
    validation: Share  # of the training rows, on which C is chosen
    c: Some[Positive]  # inverse strength of the probe's penalty
    neighbours: Count
    shots: Some[Count]  # examples of each class
    draws: Count  # of these examples
    penalties: Some[Positive]  # of the ridge map between frozen layers, to choose from on validation rows
    permutations: Count  # of pairs
    bins: Count  # of the histograms
    seed: Seed
    prompts: dict[Name, Some[str]]
    folder: LabelledFolder | None = None
    hub: HubData | None = None

    def _problems(self) -> Iterator[str]:
        for source in ("folder", "hub"):
            if source in self.sources and getattr(self, source) is None:
                yield f"{source}: got none, expected this section with {source} among sources"
        local = [self.folder.path] if "folder" in self.sources and self.folder else []
        local += [self.hub.path] if "hub" in self.sources and self.hub and self.hub.path else []
        reads = Path(self.reads).absolute()
        if not all(Path(path).absolute().is_relative_to(reads) for path in local):
            yield f"reads: got {self.reads!r}, expected {' and '.join(local)}, or a folder that holds them"
        if self.hub and not self.hub.columns.labels:
            yield "hub.columns.labels: got none, expected the column of the label"
        for name, prompts in self.prompts.items():
            if odd := [prompt for prompt in prompts if prompt.count(IN_PROMPT) != 1]:
                yield f"prompts.{name}: got {odd[0]!r}, expected {IN_PROMPT} in it once, for the word of a class"
