"""Section ``compare``: which models are held against each other, how, and which stated numbers they speak of."""

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field

from jam.params.fields import Count, Distinct, Name, Section, Seed, Some
from jam.params.multimodal import MultimodalSpec

ClaimName = Literal[
    "clip_align", "clip_align_example", "clip_blip", "cnn_cnn", "cnn_vit", "final_layers", "middle_layers",
    "early_layers", "stitching", "stitching_less",
]  # fmt: skip
Pair = tuple[Name, Name]


class Made(Section):
    """How a model was made, where no recipe tells it (a hub model): what pairs of models may have in common."""

    objective: str
    data: str
    architecture: str
    seed: Seed = 0


class Scale(Section):
    """Models that differ in one number (pairs seen, width, wrong captions), and those that each is held against."""

    levels: Annotated[dict[Name, Annotated[float, Field(allow_inf_nan=False)]], Field(min_length=2)]
    against: Some[Name]


class Shown(Section):
    """What a page shows: so many test items, so large, with so many neighbours."""

    items: Count
    side: Count  # pixels
    neighbours: Count

    def _problems(self) -> Iterator[str]:
        if self.neighbours >= self.items:
            yield f"neighbours: got {self.neighbours} with {self.items} items, expected fewer"


class Compare(Section):
    """An entry of section ``compare``.

    Models are those of ``multimodal`` and ``encoders``, with their further seeds, and both sides of ``spaces``. Each is
    compared at its own last layer (an encoder at its ``layer``), those of ``every_layer`` at all. Those of ``noise``
    are held against one another alone, to test the measures.
    """

    models: Distinct[Name]  # of multimodal
    encoders: Distinct[Name]
    spaces: Distinct[Name]
    every_layer: Distinct[Name]
    made: dict[Name, Made] = Field(default_factory=dict)
    scales: dict[Name, Scale] = Field(default_factory=dict)
    noise: Distinct[Name] = ()  # of multimodal, trained here, each other's but for seed and share of wrong captions
    claims: dict[ClaimName, Some[Pair]] = Field(default_factory=dict)  # pairs of models that each speaks of
    clusters: Some[Annotated[int, Field(ge=2)]]
    k: Count  # neighbours of mutual kNN
    permutations: Annotated[int, Field(ge=19)]  # of items, for the null of each score
    orders: Annotated[int, Field(ge=19)]  # of models, for tests over pairs of them
    folds: Annotated[int, Field(ge=2)]  # of the jackknife over items
    resamples: Count  # of the bootstrap over items
    seed: Seed
    shown: Shown

    @property
    def names(self) -> tuple[str, ...]:
        """All that is compared, but for further seeds of encoders."""
        return (*self.models, *self.encoders, *self.spaces)

    def _problems(self) -> Iterator[str]:
        names = self.names
        if twice := sorted({name for name in names if names.count(name) > 1}):
            yield f"models, encoders, spaces: got {twice} more than once"
        asked = {"every_layer": self.every_layer, "made": tuple(self.made)}
        asked |= {f"scales.{name}": (*scale.levels, *scale.against) for name, scale in self.scales.items()}
        asked |= {f"claims.{name}": tuple(one for pair in pairs for one in pair) for name, pairs in self.claims.items()}
        for where, some in asked.items():
            if unknown := sorted(set(some) - set(names)):
                yield f"{where}: got {unknown}, expected names among models, encoders and spaces: {list(names)}"
        for claim in ("early_layers", "middle_layers"):
            pairs = self.claims.get(claim, ())
            if odd := sorted({one for pair in pairs for one in pair} & set(names) - set(self.every_layer)):
                yield f"claims.{claim}: got {odd}, expected models of every_layer: {list(self.every_layer)}"
        for name, pairs in self.claims.items():
            if any(x == y for x, y in pairs):
                yield f"claims.{name}: got a model with itself, expected two models"

    def problems_with(
        self,
        at: str,
        models: Mapping[str, MultimodalSpec],
        encoders: Collection[str],
        spaces: Collection[str],
        stitched: Collection[str] | None = None,
    ) -> Iterator[str]:
        """What does not fit ``multimodal``, the names of encoders and those of spaces on the sides of ``align``.

        ``stitched`` are the models of the entry of ``stitch`` of this name; None where there is none.
        """
        for claim in ("stitching", "stitching_less"):
            asked = {one for pair in self.claims.get(claim, ()) for one in pair}
            if stitched is not None and (odd := sorted(asked - set(stitched))):
                yield f"{at}.claims.{claim}: got {odd}, expected models that are stitched: {list(stitched)}"
        known = {"models": models, "encoders": encoders, "spaces": spaces, "noise": models}
        for where, some in known.items():
            if unknown := [name for name in getattr(self, where) if name not in some]:
                yield f"{at}.{where}: got {unknown}, expected names among {list(some)}"
        told = [models[name] for name in self.noise if name in models]
        noisy = [of.pretraining for of in told if of.pretraining is not None]
        shares = [of.pretraining.wrong or 0.0 for of in told if of.pretraining for _ in (of.seed, *of.more_seeds)]
        if len(noisy) < len(self.noise):
            yield f"{at}.noise: got models that are found, expected such as are trained here on wrong captions"
        elif noisy and len(set(shares)) in (1, len(shares)):
            yield f"{at}.noise: got the shares {shares} of wrong captions, expected two at least, one of them twice"
        elif len({of.model_copy(update={"wrong": None}).model_dump_json() for of in noisy}) > 1:
            yield f"{at}.noise: got models that differ in more than seed and wrong, expected one recipe"
