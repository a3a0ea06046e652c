"""params.yaml as typed, validated sections: every bad value is named by its path."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from jam.errors import InputError

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]
T = TypeVar("T")


def _each_once(values: tuple[T, ...]) -> tuple[T, ...]:
    if len(set(values)) < len(values):
        raise ValueError(f"got {list(values)}, expected each once")
    return values


Distinct = Annotated[tuple[T, ...], AfterValidator(_each_once)]
Some = Annotated[tuple[T, ...], Field(min_length=1), AfterValidator(_each_once)]  # at least one, each once
Seeds = Some[Seed]
LayerNumber = Annotated[int, Field(ge=0, le=99)]
Share = Annotated[float, Field(gt=0, lt=1)]
SplitName = Literal["train", "val", "test"]
# One string, or a list of them.
Strings = Annotated[tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]
# Names become DVC stage names and folder names, where dots and slashes have meanings of their own.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]


class Section(BaseModel):
    """A section refuses keys that it does not know, and does not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CaveData(Section):
    """The embedded world: how many rows of each set, and captions of each; a pair needs another for a negative."""

    pretrain_images: Count
    pretrain_text: Count
    train: Annotated[int, Field(ge=2)]
    val: Annotated[int, Field(ge=2)]
    test: Annotated[int, Field(ge=2)]
    captions: Annotated[int, Field(ge=1, le=6)]
    one_object: Fraction

    @model_validator(mode="after")
    def _scenes_suffice(self) -> "CaveData":
        total = self.pretrain_images + self.pretrain_text + self.train + self.val + self.test
        if total > 120_000:  # of 177,240; the rest is needed where a medium negative must be made up
            raise ValueError(f"got {total} rows over the five sets, expected at most 120000 different scenes")
        return self


class FolderData(Section):
    """A user's folder of images with ``metadata.jsonl`` or ``metadata.csv``; the rest of the rows is the test split.

    ``links`` are folders that links among the images may lead to, such as the cache of a hub's snapshots or of DVC.
    """

    train: Share
    val: Share
    max_pixels: Count
    max_side: Count
    errors: Literal["raise", "skip"]
    links: Strings = ()

    @model_validator(mode="after")
    def _some_to_test_on(self) -> "FolderData":
        if self.train + self.val >= 1:
            raise ValueError(f"got train {self.train} and val {self.val}, expected shares that sum to less than 1")
        return self


class HubColumns(Section):
    """Which columns hold what.

    A column is named by its path: names and list positions joined by dots, where a name after a list is taken of each
    member (``sentences.raw``, ``tested_labels.0``). ``image`` holds encoded images; or ``file`` gives the name of an
    image file, in one column or the parts of its path in several. Without ``id`` an image is known by its bytes. The
    captions are those of all ``captions`` columns together. ``kind`` says what was changed in the ``negatives``.
    """

    image: str | None = None
    file: Strings = ()
    captions: Strings = ()
    id: str | None = None
    negatives: Strings = ()
    kind: str | None = None
    context: str | None = None
    labels: Strings = ()

    @model_validator(mode="after")
    def _one_image(self) -> "HubColumns":
        if (self.image is None) == (not self.file):
            raise ValueError(f"got image {self.image} and file {list(self.file)}, expected one of the two")
        return self


class HubSplit(Section):
    """The column that says which split a row is of, and its values; rows of other values are passed over."""

    column: str
    train: Strings
    val: Strings = ()
    test: Strings = ()


class HubNegatives(Section):
    """Hard negatives: those of the set, made by rule (at most so many from each caption), or none."""

    source: Literal["given", "rules", "none"]
    per_caption: Annotated[int, Field(ge=1, le=5)] = 1


class HubData(Section):
    """A published set of images and captions in parquet files (or SugarCrepe's JSON), on the hub or in a folder.

    ``files`` are patterns, by split; or those of one pool, whose rows ``split`` tells apart, or which are all of
    ``train``. Of ``train``, ``cut`` sets the shares of photos apart that make the splits not given. ``limit`` is a
    number of images, for each split or one for all; what is downloaded follows from ``files`` alone. ``images`` is a
    folder in which ``columns.file`` is looked up, with ``links`` as of a
    `FolderData`. ``template`` makes a caption of labels, which it names in braces.
    """

    repo: Strings = ()
    path: str | None = None
    revision: str = "main"
    files: Annotated[
        dict[SplitName, Strings], BeforeValidator(lambda value: value if isinstance(value, dict) else {"train": value})
    ]
    split: HubSplit | None = None
    cut: dict[Literal["val", "test"], Share] = {}
    limit: Count | dict[SplitName, Count] | None = None
    columns: HubColumns
    images: str | None = None
    links: Strings = ()
    template: str | None = None
    negatives: HubNegatives
    max_pixels: Count = 100_000_000
    max_side: Count = 512
    errors: Literal["raise", "skip"] = "raise"

    @model_validator(mode="after")
    def _consistent(self) -> "HubData":
        if bool(self.repo) == (self.path is not None):
            raise ValueError(f"got repo {list(self.repo)} and path {self.path}, expected one of the two")
        if self.split is not None and set(self.files) != {"train"}:
            raise ValueError("files: got them by split, expected one list of patterns beside split")
        if sorted([*self.given, *self.cut]) != ["test", "train", "val"] or sum(self.cut.values()) >= 1:
            raise ValueError(
                f"got the splits {list(self.given)} and cut {self.cut}, expected train, val and test once each, train "
                "not cut, and shares that sum to less than 1"
            )
        if bool(self.columns.file) != (self.images is not None):
            raise ValueError("got one of images and columns.file, expected both or neither")
        if bool(self.columns.captions) == (self.template is not None):
            raise ValueError("got both or neither of columns.captions and template, expected one of the two")
        unknown = set(re.findall(r"{(.*?)}", self.template or "")) - set(self.columns.labels)
        if unknown:
            raise ValueError(f"template: got {sorted(unknown)} in braces, expected names among columns.labels")
        if isinstance(self.limit, dict) and not set(self.limit) <= set(self.given):
            raise ValueError(f"limit: got {list(self.limit)}, expected some of the splits given, {list(self.given)}")
        if (self.negatives.source == "given") != bool(self.columns.negatives):
            raise ValueError(
                f"got negatives.source {self.negatives.source} and columns.negatives {list(self.columns.negatives)}, "
                "expected such columns for given alone"
            )
        return self

    @property
    def given(self) -> tuple[SplitName, ...]:
        """The splits that the set itself makes."""
        if self.split is None:
            return tuple(self.files)
        values: dict[SplitName, Strings] = {"train": self.split.train, "val": self.split.val, "test": self.split.test}
        return tuple(split for split, listed in values.items() if listed)

    def limit_of(self, split: SplitName) -> int | None:
        """How many images of a given split to read at most; None for all."""
        return self.limit.get(split) if isinstance(self.limit, dict) else self.limit


CAVE, HUB = "jam/data/cave", "jam/data/hub.py"


class Dataset(Section):
    """Section ``dataset``: where pairs come from.

    ``reads`` is what the source reads, a dependency of the stage: the user's folder of source ``folder``, so that a
    changed caption or photo runs the pipeline again; what holds the local ``hub.path`` and ``hub.images`` where there
    are such; else the source's code.
    """

    source: Literal["cave", "folder", "hub"]
    reads: str
    seed: Seed
    cave: CaveData
    folder: FolderData
    hub: HubData | None = None

    @model_validator(mode="after")
    def _reads_its_source(self) -> "Dataset":
        if self.source == "hub" and self.hub is None:
            raise ValueError("hub: got none, expected this section with source hub")
        local = [path for path in (self.hub.path, self.hub.images) if path] if self.source == "hub" and self.hub else []
        if self.source == "folder":
            fits, expected = self.reads not in (CAVE, HUB), "your folder of images with its metadata"
        elif local:
            reads = Path(self.reads).absolute()
            fits, expected = all(Path(path).absolute().is_relative_to(reads) for path in local), " and ".join(local)
        else:
            expected = CAVE if self.source == "cave" else HUB
            fits = self.reads == expected
        if not fits:
            raise ValueError(f"reads: got {self.reads!r} with source {self.source}, expected {expected}")
        return self


class VisionPretraining(Section):
    """A RegNet pretrained here on images alone: on their visual labels, or on two renderings of each scene."""

    objective: Literal["labels", "contrastive"]
    widths: tuple[Count, Count, Count, Count]
    depths: tuple[Count, Count, Count, Count]
    epochs: Count
    batch_size: Count
    learning_rate: Positive
    weight_decay: NonNegative


class TextPretraining(Section):
    """A small language model pretrained here on text alone: the next word, or words left out."""

    objective: Literal["causal", "masked"]
    width: Count
    layers: Count
    heads: Count
    epochs: Count
    batch_size: Count
    learning_rate: Positive
    weight_decay: NonNegative


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

    @model_validator(mode="after")
    def _of_its_source(self) -> "EncoderSpec":
        needed = {"cave": self.modality, "package": "package", "hub": "model"}[self.source]
        if getattr(self, needed) is None:
            raise ValueError(f"got no {needed!r}, expected it with modality {self.modality} and source {self.source}")
        taken = {"modality", "source", needed, "pooling"} | {
            "cave": {"seed"}, "package": {"max_tokens"}, "hub": {"max_tokens", "revision"}
        }[self.source]  # fmt: skip
        if self.modality == "vision":
            taken -= {"max_tokens"}
        if ignored := sorted(name for name in self.model_fields_set - taken if getattr(self, name) is not None):
            raise ValueError(
                f"got {', '.join(ignored)}, which modality {self.modality} and source {self.source} make no use of; "
                f"expected some of {', '.join(sorted(taken))}"
            )
        if needed == "vision" and self.pooling not in (None, "mean"):
            raise ValueError(f"got pooling {self.pooling} for feature maps, expected mean")
        return self


class Features(Section):
    """Section ``features``; limits on the training split only, None for all."""

    batch_size: Count
    dtype: Literal["float32", "float16"]
    train_captions: Count | None
    train_negatives: Count | None


class Objective(Section):
    """A trained alignment: which adapter, which loss.

    ``alphas`` lists the α of Spread to try, each a number or [first, last] of a linear curriculum; the best on
    validation rows is kept. ``reconstruction`` is λ at the first and at the last epoch.
    """

    model: Literal["autoencoder", "linear", "mlp"]
    loss: Literal["con", "negcon", "spread"]
    latent: Count
    learning_rate: Positive
    hidden: tuple[Count, ...] | None = None
    expansion: Count | None = None
    dropout: Fraction | None = None
    reconstruction: tuple[NonNegative, NonNegative] = (0.0, 0.0)
    cross_reconstruction: NonNegative = 0.0
    alphas: Distinct[tuple[Fraction, Fraction]] = ()
    neighbours: Annotated[int, Field(ge=0)] = 0

    @field_validator("alphas", mode="before")
    @classmethod
    def _constant_or_curriculum(cls, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return tuple((item, item) if isinstance(item, int | float) else item for item in value)
        return value

    @model_validator(mode="after")
    def _alphas_for_spread_alone(self) -> "Objective":
        if (self.loss == "spread") != bool(self.alphas):
            raise ValueError(f"alphas: got {list(self.alphas)} with loss {self.loss}, expected them for spread alone")
        return self

    @property
    def needs_negatives(self) -> bool:
        """Whether the loss takes hard negatives."""
        return self.loss != "con"

    @property
    def tower_options(self) -> dict[str, Any]:
        """Arguments of the tower beyond its widths."""
        options = {"hidden": self.hidden, "expansion": self.expansion, "dropout": self.dropout}
        return {name: value for name, value in options.items() if value is not None}


class ClosedForm(Section):
    """A closed-form baseline and the values to choose from on validation rows."""

    model: Literal["ridge", "procrustes", "cca"]
    penalty: Distinct[NonNegative] = ()
    components: Distinct[Count] = ()
    shrinkage: Distinct[Positive] = ()

    @model_validator(mode="after")
    def _its_own_grid(self) -> "ClosedForm":
        needed = {"ridge": {"penalty"}, "procrustes": {"components"}, "cca": {"components", "shrinkage"}}[self.model]
        if set(self.grid) != needed:
            raise ValueError(f"got {sorted(self.grid)} for {self.model}, expected {sorted(needed)}")
        return self

    @property
    def grid(self) -> dict[str, tuple[float, ...]]:
        """The values to try, by argument."""
        values = {"penalty": self.penalty, "components": self.components, "shrinkage": self.shrinkage}
        return {name: value for name, value in values.items() if value}


class Training(Section):
    """Section ``training``: the schedule that all trained objectives share.

    ``whitening`` is one value, or several of which the best on validation rows is kept.
    """

    batch_size: Annotated[int, Field(ge=2)]
    epochs: Count
    patience: Count
    weight_decay: NonNegative
    clip_norm: Positive
    temperature: Positive
    learn_temperature: bool
    whitening: Annotated[
        Some[Positive | None], BeforeValidator(lambda value: value if isinstance(value, list | tuple) else (value,))
    ]
    captions: Literal["sample", "mean", "max"]


class Layer(Section):
    """One layer of one encoder."""

    encoder: Name
    layer: Annotated[str, Field(pattern=r"^\d\d$")]  # as in the file name layer_04.npy, so that DVC can name it


class Align(Section):
    """Section ``align``: the two layers to align, what is compared, and over which seeds."""

    image: Layer
    text: Layer
    objectives: Some[Name]
    baselines: Distinct[Name]
    methods: Some[Name]
    seeds: Seeds

    @model_validator(mode="after")
    def _methods_are_all(self) -> "Align":
        if self.methods != self.objectives + self.baselines:
            raise ValueError(
                f"methods: got {list(self.methods)}, expected objectives and then baselines, "
                f"{list(self.objectives + self.baselines)} (DVC cannot join lists by itself)"
            )
        return self


class Evaluate(Section):
    """Section ``evaluate``."""

    k: Count
    resamples: Count


class Kernels(Section):
    """Section ``kernels``: kernel alignment between representations, and with reality."""

    metrics: Some[Literal["mutual_knn", "cka", "unbiased_cka", "cknna", "svcca", "cca", "rsa"]]
    k: Count
    permutations: Count
    folds: Annotated[int, Field(ge=2)]
    seed: Seed


class Sweeps(Section):
    """Section ``sweeps``: the short trainings that ``layers``, ``scale`` and ``pareto`` are made of."""

    objective: Name
    epochs: Count


class Layers(Section):
    """Section ``layers``: which layers of the encoders that ``align`` names, every pair of them."""

    image: Some[LayerNumber]
    text: Some[LayerNumber]
    seeds: Seeds


class Scale(Section):
    """Section ``scale``: which encoders, at which layer, every vision encoder with every text encoder."""

    image: Some[Layer]
    text: Some[Layer]
    seeds: Seeds

    @model_validator(mode="after")
    def _one_layer_each(self) -> "Scale":
        for side in ("image", "text"):
            _each_once(tuple(layer.encoder for layer in getattr(self, side)))
        return self


class Pareto(Section):
    """Section ``pareto``: the grid of loss (and of Spread's α, fixed or a curriculum), λ and cross-reconstruction.

    ``reconstruction`` lists λ at the first and at the last epoch. Cross-reconstruction is a part of the reconstruction
    loss, so that with λ = 0 throughout only the first of ``cross`` is run.
    """

    losses: Some[Literal["con", "negcon", "spread"]]
    alphas: Distinct[Fraction | tuple[Fraction, Fraction]]
    reconstruction: Some[tuple[NonNegative, NonNegative]]
    cross: Some[NonNegative]
    seeds: Seeds

    @model_validator(mode="after")
    def _alphas_for_spread(self) -> "Pareto":
        if ("spread" in self.losses) != bool(self.alphas):
            raise ValueError(f"alphas: got {list(self.alphas)} with losses {list(self.losses)}")
        return self


class Params(Section):
    """The whole of params.yaml."""

    dataset: Dataset
    encoders: dict[Name, EncoderSpec]
    encoder_names: Some[Name]
    features: Features
    align: Align
    training: Training
    objectives: dict[Name, Annotated[Objective | ClosedForm, Field(discriminator="model")]]
    evaluate: Evaluate
    kernels: Kernels
    sweeps: Sweeps
    layers: Layers
    scale: Scale
    pareto: Pareto

    @model_validator(mode="after")
    def _names_exist(self) -> "Params":
        _known("encoder_names", self.encoder_names, self.encoders)
        _known("align.methods", self.align.methods, self.objectives)
        for side, modality in (("image", "vision"), ("text", "text")):
            name = getattr(self.align, side).encoder
            _known(f"align.{side}.encoder", (name,), self.encoder_names)
            if self.encoders[name].modality != modality:
                raise ValueError(f"align.{side}.encoder: got {name}, a {self.encoders[name].modality} encoder")
        for side, modality in (("image", "vision"), ("text", "text")):
            for layer in getattr(self.scale, side):
                _known(f"scale.{side}", (layer.encoder,), self.encoder_names)
                if self.encoders[layer.encoder].modality != modality:
                    raise ValueError(f"scale.{side}: got {layer.encoder}, expected a {modality} encoder")
        _known("sweeps.objective", (self.sweeps.objective,), self.objectives)
        short = self.objectives[self.sweeps.objective]
        if not isinstance(short, Objective) or len(short.alphas) > 1:
            raise ValueError(
                f"sweeps.objective: got {self.sweeps.objective}, expected a trained objective with at most one alpha"
            )
        for name in self.align.objectives:
            if not isinstance(self.objectives[name], Objective):
                raise ValueError(f"align.objectives: got {name}, a closed form, expected it among align.baselines")
        return self

    @model_validator(mode="after")
    def _sizes_fit(self) -> "Params":
        for name, objective in self.objectives.items():
            if isinstance(objective, Objective) and objective.neighbours >= self.training.batch_size:
                raise ValueError(
                    f"objectives.{name}.neighbours: got {objective.neighbours}, expected fewer than the "
                    f"{self.training.batch_size} pairs of training.batch_size"
                )
        if self.dataset.source == "cave":
            self.check_sizes({"val": self.dataset.cave.val, "test": self.dataset.cave.test})
        return self

    def check_sizes(self, rows: Mapping[str, int]) -> None:
        """Refuse splits that are too small for what will be measured on them, which would else fail after all training.

        Args:
            rows: split → number of its images; of ``val`` and ``test``, and of ``train`` where the whole is to be told.

        Raises:
            ValueError: a split has too few rows for a parameter, which the message names.
        """
        folds, k = self.kernels.folds, self.kernels.k
        fewest = max(k + 1, 4)  # of kernel metrics; and their intervals take them without each of the folds, too
        left = next(n for n in range(folds, folds + 2 * fewest + 2) if n - math.ceil(n / folds) >= fewest)
        for name, value, least in (
            ("evaluate.k", self.evaluate.k, self.evaluate.k + 1),
            ("kernels.k", k, k + 1),
            ("kernels.folds", folds, left),
        ):
            for split in ("val", "test"):
                if rows[split] < least:
                    whole = math.ceil(least * sum(rows.values()) / max(1, rows[split]))
                    told = f" (about {whole} in all)" if "train" in rows else ""
                    raise ValueError(
                        f"{name}: got {value} with {rows[split]} images in the {split} split, expected at least "
                        f"{least} images there{told}, or a smaller number"
                    )

    def names(self, modality: str) -> list[str]:
        """The encoders of one modality, in the order of ``encoder_names``."""
        return [name for name in self.encoder_names if self.encoders[name].modality == modality]


def _known(where: str, names: tuple[str, ...], known: Any) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"{where}: got {unknown}, expected names among {list(known)}")


class _Loader(yaml.SafeLoader):
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
    if loc[:1] == ["objectives"]:
        del loc[2:3]  # the kind of model, which pydantic adds to say which schema it took
    where = ".".join(str(part) for part in loc)
    message = problem["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    got = (
        "" if isinstance(problem["input"], dict | list) or message.startswith("got") else f" (got {problem['input']!r})"
    )
    return f"{where}: {message}{got}" if where else message
