"""params.yaml as typed, validated sections: every bad value is named by its path."""

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError

from jam.errors import InputError
from jam.params.captions import Captions, Telling
from jam.params.compare import Compare
from jam.params.data import CaveData, Dataset, FolderData, HubData
from jam.params.downstream import Downstream
from jam.params.encoders import EncoderSpec
from jam.params.fields import Count, Distinct, Name, Section, Seed, Seeds, Some
from jam.params.hypotheses import Ablated, Hypotheses, KernelMetric, OrNone, Reference, Tower
from jam.params.multimodal import MorePairs, MultimodalPretraining, MultimodalSpec
from jam.params.resampler import Resampler, TokenSide
from jam.params.spaces import (
    ClosedForm,
    Configuration,
    Criterion,
    Fit,
    Layer,
    Objective,
    OfThree,
    OfTwo,
    Side,
    Training,
)
from jam.params.stitch import Stitch, Transfer
from jam.params.sweeps import Sweeps

__all__ = [
    "Ablated", "Captions", "CaveData", "ClosedForm", "Compare", "Configuration", "Criterion", "Dataset", "Downstream",
    "EncoderSpec", "FolderData", "HubData", "Hypotheses", "Layer", "MorePairs", "MultimodalPretraining",
    "MultimodalSpec", "Objective", "Params", "Reference", "Resampler", "Side", "SpaceSpec", "Stitch", "Telling",
    "TokenSide", "Tokens", "Tower", "Training", "Transfer", "load_params", "one_line",
]  # fmt: skip


class Features(Section):
    """Section ``features``; limits on the training split alone."""

    batch_size: Count
    dtype: Literal["float32", "float16"]
    train_captions: Count | Literal["all"]
    train_negatives: Count | Literal["all"]


class Tokens(Section):
    """An entry of ``tokens``, by the name of its encoder: all tokens of one layer are kept."""

    layer: Annotated[int, Field(ge=0)]
    dtype: Literal["float32", "float16"] = "float16"


class Align(Section):
    """Section ``align``: the two sides that all of ``spaces`` align, and over which seeds."""

    x: Side
    y: Side
    seeds: Seeds

    def _problems(self) -> Iterator[str]:
        if self.x.side == self.y.side:
            yield f"got two sides {self.x.side}, expected names of their own"


class Evaluate(Section):
    """Section ``evaluate``."""

    k: Count
    resamples: Count


class Kernels(Section):
    """Section ``kernels``: kernel alignment between representations, and with reality."""

    metrics: Some[KernelMetric]
    spaces: Some[Name]
    k: Count
    permutations: Count
    folds: Annotated[int, Field(ge=2)]
    seed: Seed


class Widths(Section):
    """An entry of section ``matryoshka``, under the name of a space: what it is at fewer dimensions, beside others.

    ``plain`` names the space of the same loss without ``dims``: it is trained at each width, and cut from the full one.
    """

    plain: Name
    dims: Some[Count]  # at which all are scored
    draws: Count  # of random dimensions
    shortlists: Distinct[Count]  # of adaptive retrieval, how many …
    by: Distinct[Count]  # … by how many dimensions


class Audit(Section):
    """Section ``audit``: the metrics themselves, held against what is known."""

    permutations: Annotated[int, Field(ge=19)]  # fewer have no threshold of level .05
    resamples: Count


@dataclass(frozen=True)
class SpaceSpec:
    """A space as params.yaml describes it, wherever it does."""

    sides: tuple[Side, ...]
    pairs: tuple[tuple[str, str], ...]
    fit: Objective | ClosedForm
    seeds: tuple[int, ...]


class Params(Section):
    """The whole of params.yaml."""

    dataset: Dataset
    encoders: Annotated[dict[Name, EncoderSpec], Field(min_length=1)]
    features: Features
    align: Align
    spaces: Annotated[dict[Name, Fit], Field(min_length=1)]
    spaces_of_two: dict[Name, OfTwo]
    spaces_of_three: dict[Name, OfThree]
    training: Training
    evaluate: Evaluate
    kernels: Kernels
    tokens: dict[Name, Tokens]
    resampler: dict[Name, Resampler]
    captions: dict[Name, Captions]
    downstream: Downstream
    matryoshka: dict[Name, Widths]
    audit: Audit
    reference: Annotated[Reference | None, OrNone]
    hypotheses: Annotated[Hypotheses | None, OrNone]
    multimodal_pairs: MorePairs
    multimodal: dict[Name, MultimodalSpec]
    stitch: dict[Name, Stitch]
    transfer: dict[Name, Transfer]
    compare: dict[Name, Compare]
    sweeps: Sweeps

    @property
    def space_names(self) -> list[str]:
        """All spaces."""
        return [*self.spaces, *self.spaces_of_two, *self.spaces_of_three]

    def space(self, name: str) -> SpaceSpec:
        """The space of a name; a closed form has nothing random and runs once, as seed 0.

        Raises:
            InputError: there is none.
        """
        own = self.spaces_of_two.get(name) or self.spaces_of_three.get(name)
        if name not in self.space_names:
            raise InputError(f"space: got {name!r}, expected one of {self.space_names}")
        sides = own.sides() if own else (self.align.x, self.align.y)
        fit = own.fit if own else self.spaces[name]
        pairs = own.pairs if isinstance(own, OfThree) and own.pairs else combinations([side.side for side in sides], 2)
        return SpaceSpec(sides, tuple(pairs), fit, self.align.seeds if isinstance(fit, Objective) else (0,))

    def pairs_of_modalities(self, controls: bool = True) -> list[tuple[list[str], list[str]]]:
        """The encoders of one modality and those of another, for each two modalities in the order of ``encoders``.

        With ``controls`` among them, or without.
        """
        names: dict[str, list[str]] = {}
        for name, spec in self.encoders.items():
            if spec.source == "control" and not controls:
                continue
            names.setdefault(spec.modality, []).append(name)
        return list(combinations(names.values(), 2))

    def _problems(self) -> Iterator[str]:
        names = self.space_names
        if twice := sorted({name for name in names if names.count(name) > 1}):
            yield f"spaces, spaces_of_two, spaces_of_three: got {twice} more than once"
        layers: list[tuple[str, Collection[Layer]]] = [("align.x", [self.align.x]), ("align.y", [self.align.y])]
        layers += [(f"sweeps.scale.{way}", getattr(self.sweeps.scale, way)) for way in ("x", "y")]
        pareto = self.sweeps.pareto
        layers += [(f"sweeps.pareto.{way}", [of] if of else []) for way, of in (("x", pareto.x), ("y", pareto.y))]
        layers += [(f"spaces_of_two.{name}", space.sides()) for name, space in self.spaces_of_two.items()]
        layers += [(f"spaces_of_three.{name}", space.sides()) for name, space in self.spaces_of_three.items()]
        for where, some in layers:
            yield from _unknown(where, [layer.encoder for layer in some], self.encoders)
        yield from _unknown("tokens", self.tokens, self.encoders)
        for way, names_of in (("x", self.sweeps.layers.also_x), ("y", self.sweeps.layers.also_y)):
            yield from _unknown(f"sweeps.layers.also_{way}", names_of, self.encoders)
        pairs = self.sweeps.pairs
        yield from _unknown(
            "sweeps.pairs.curves", [name for one in pairs.curves for name in (one.x, one.y)], self.encoders
        )
        yield from _unknown("kernels.spaces", self.kernels.spaces, self.spaces)
        yield from _unknown("downstream.spaces", self.downstream.spaces, self.spaces)
        if "cave" in self.downstream.sources and self.dataset.source != "cave":
            yield f"downstream.sources: got cave with dataset.source {self.dataset.source}, expected it with cave alone"
        yield from self._odd_widths()
        for name, resampler in self.resampler.items():
            yield from resampler.problems_with(f"resampler.{name}", self.tokens, self.spaces)
        for name, captions in self.captions.items():
            where = f"captions.{name}"
            yield from captions.problems_with(where, self.encoders, self.tokens, self.spaces, self.resampler)
        for name, model in self.multimodal.items():
            yield from model.problems_with(f"multimodal.{name}", self.dataset.source, self.multimodal_pairs.pairs)
        for name, compared in self.compare.items():
            stitched = self.stitch[name].models if name in self.stitch else None
            yield from compared.problems_with(f"compare.{name}", self.multimodal, self.encoders, self.spaces, stitched)
        for section in ("stitch", "transfer"):
            for name, asked in getattr(self, section).items():
                yield from asked.problems_with(f"{section}.{name}", self.multimodal)
        if self.reference:
            trained = [name for name, fit in self.spaces.items() if isinstance(fit, Objective)]
            yield from self.reference.problems_with(self.encoders, trained)
        if self.hypotheses:
            yield from self.hypotheses.problems_with(self.reference, self.spaces, self.kernels.metrics)
        for name in names:
            fit = self.space(name).fit
            if isinstance(fit, Objective) and fit.neighbours >= self.training.batch_size:
                yield (
                    f"spaces.{name}.neighbours: got {fit.neighbours}, expected fewer than the "
                    f"{self.training.batch_size} items of training.batch_size"
                )
        if self.dataset.source == "cave":
            yield from self.too_small({"val": self.dataset.cave.val, "test": self.dataset.cave.test})

    def _odd_widths(self) -> Iterator[str]:
        for name, widths in self.matryoshka.items():
            where, (nested, plain) = f"matryoshka.{name}", (self.spaces.get(each) for each in (name, widths.plain))
            if not isinstance(nested, Objective) or nested.dims is None:
                yield f"{where}: expected the name of one of spaces that has dims"
            elif not isinstance(plain, Objective) or plain.dims is not None:
                yield f"{where}.plain: got {widths.plain!r}, expected a trained one of spaces, without dims"
            elif len({*nested.latent, *(each.latent for each in nested.configurations if each.latent)}) > 1:
                yield f"spaces.{name}.latent: got several, expected one, as matryoshka scores its first coordinates"
            elif (most := max([*widths.dims, *widths.by])) > nested.latent[0]:
                yield f"{where}: got {most} dimensions with a latent of {nested.latent[0]}, expected at most as many"

    def too_small(self, rows: Mapping[str, int]) -> Iterator[str]:
        """Which splits (name → images) are too small for what will be measured on them, by each that asks for more."""
        for name, (value, least) in self.fewest().items():
            for split in ("val", "test"):
                if rows[split] < least:
                    yield (
                        f"{name}: got {value} with {rows[split]} images in the {split} split, expected at least "
                        f"{least} images there, or a smaller number"
                    )

    def fewest(self) -> dict[str, tuple[int, int]]:
        """What asks for images to validate and to test, its value, and how many it needs not to fail in the end."""
        folds, k = self.kernels.folds, self.kernels.k
        metrics = max(k + 1, 4)  # of kernel metrics; and their intervals take them without each of the folds, too
        left = next(n for n in range(folds, folds + 2 * metrics + 2) if n - math.ceil(n / folds) >= metrics)
        return {
            "evaluate.k": (self.evaluate.k, self.evaluate.k + 1),
            "kernels.k": (k, k + 1),
            "kernels.folds": (folds, left),
        }


def _unknown(where: str, names: Collection[str], known: Collection[str]) -> Iterator[str]:
    if unknown := [name for name in names if name not in known]:
        yield f"{where}: got {unknown}, expected names among {list(known)}"


_Parsed: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where PyYAML was built with it


class _Loader(_Parsed):
    """YAML in which a key that is there twice is an error: of two values, neither is known to be meant."""


def _each_key_once(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [key.value for key, _ in node.value]
    if twice := [key for key in keys if keys.count(key) > 1]:
        raise yaml.constructor.ConstructorError(None, None, f"{twice[0]!r} is there twice", node.start_mark)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _each_key_once)


def load_params(path: str | Path = "params.yaml") -> Params:
    """Read and validate a params file.

    Raises:
        InputError: no file, not YAML, or values that do not fit; one line that names every bad value by its path.
    """
    path = Path(path)
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # a SafeLoader
    except FileNotFoundError:
        raise InputError(
            f"{path}: no such file; expected the pipeline's parameters (cp presets/cave.yaml {path})"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected YAML, got {' '.join(str(error).split())}") from None
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{path}: {one_line(error)}") from None


def one_line(error: ValidationError) -> str:
    """Every bad value by its path."""
    return "; ".join(_describe(problem) for problem in error.errors())


def _describe(problem: Any) -> str:
    loc = list(problem["loc"])
    for name, tag in (("spaces", 2), ("fit", loc.index("fit") + 1 if "fit" in loc else 0)):
        if name in loc:
            del loc[tag : tag + 1]  # the loss, which pydantic adds to say which schema it took
    where = ".".join(str(part) for part in loc)
    message = problem["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    got = (
        "" if isinstance(problem["input"], dict | list) or message.startswith("got") else f" (got {problem['input']!r})"
    )
    return f"{where}: {message}{got}" if where else message
