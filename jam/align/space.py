"""A shared space: views of several sides in, vectors that can be compared out."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from jam.align.adapter import Adapter, AnyAdapter, check_dims
from jam.align.looks import Candidate, Choice, Looks, choose
from jam.align.saved import CONFIG
from jam.align.token_adapter import TOKEN_KINDS, TokenAdapter
from jam.errors import InputError
from jam.io import read_json, replace_folder, write_json

if TYPE_CHECKING:
    from jam.encoders import Encoder

ENCODERS, SPACE = "encoders", "space.json"


@dataclass(frozen=True)
class Side:
    """One side of a space: an adapter and, where it is known, what its features come from.

    Attributes:
        adapter: trained on features, or on all tokens, of one layer.
        encoder: frozen, of any modality; None where only features are at hand.
        layer: of the encoder, 0 … layers−1, or negative from the last.

    Raises:
        InputError: the encoder has no such layer, or one of another width than the adapter takes.
    """

    adapter: AnyAdapter
    encoder: "Encoder | None" = None
    layer: int = -1

    def __post_init__(self) -> None:
        if self.encoder is None:
            return
        dims, width = self.encoder.dims, self.adapter.config["d_in"]
        if not -len(dims) <= self.layer < len(dims) or dims[self.layer] != width:
            raise InputError(
                f"{self.encoder.manifest.id}: got layer {self.layer} and an adapter of width {width}, expected one of "
                f"the layers 0 … {len(dims) - 1}, whose widths are {list(dims)}"
            )

    def encode(self, views: Any, batch_size: int = 64, dims: int | None = None) -> np.ndarray:
        """Views as unit vectors, (n, d_latent) float32: images or texts where there is an encoder, else what is read.

        With ``dims`` of its first so many coordinates, (n, dims), see `Adapter.encode`.
        """
        if self.encoder is None:
            return self.adapter.encode(views, dims=dims)
        width = self.adapter.config["d_latent"]
        check_dims(dims, width)
        features = self.adapter.read(self.encoder, views, self.layer, batch_size)
        return self.adapter.encode(features, dims=dims) if len(features) else np.empty((0, dims or width), np.float32)


@dataclass(frozen=True)
class Space:
    """Adapters that were trained together, by the name of their side.

    Attributes:
        sides: by name.
        pairs: of sides that were aligned.
        history: a row an epoch of the training; empty where it was loaded.
        chosen: what was chosen on validation rows, and its scores.
        looks: at validation rows, that led to it; None where they are not known.

    Raises:
        InputError: the adapters' latents differ in width, or a pair names no side.

    Example:
        >>> space = Space.load("data/spaces/spread/0")  # doctest: +SKIP
        >>> space["image"].encode([photo]) @ space["text"].encode(["a red seven"]).T  # doctest: +SKIP
    """

    sides: Mapping[str, Side]
    pairs: Sequence[tuple[str, str]]
    history: pd.DataFrame = field(default_factory=pd.DataFrame)
    chosen: dict[str, Any] = field(default_factory=dict)
    looks: Looks | None = None

    def __post_init__(self) -> None:
        check_names(self.sides)
        widths = {name: side.adapter.config["d_latent"] for name, side in self.sides.items()}
        if len(set(widths.values())) != 1:
            raise InputError(f"space: got adapters into different dimensions, {widths}, expected one space")
        if odd := {name for pair in self.pairs for name in pair} - set(self.sides):
            raise InputError(f"space: got pairs of {sorted(odd)}, expected sides among {list(self.sides)}")

    @property
    def doubt(self) -> str | None:
        """Why the space should not be trusted: it recalls validation rows no better than shuffled pairs can be."""
        if self.chosen.get("validation_p", 0.0) <= 0.05:
            return None
        recall, p = self.chosen["validation_recall"], self.chosen["validation_p"]
        return (
            f"space: got a recall of {recall:.3f} on validation rows, which as many trials on shuffled pairs reach in "
            f"{100 * p:.1f} of 100 draws, expected at most 5: nothing was aligned that these rows can tell"
        )

    @property
    def adapters(self) -> dict[str, Adapter]:
        """Those of pooled features, by side.

        Raises:
            InputError: one reads tokens.
        """
        found = {name: side.adapter for name, side in self.sides.items() if isinstance(side.adapter, Adapter)}
        if odd := set(self.sides) - set(found):
            raise InputError(f"space: got sides {sorted(odd)} that read tokens, expected pooled features")
        return found

    def __getitem__(self, name: str) -> Side:
        """The side of a name.

        Raises:
            InputError: there is none.
        """
        if name not in self.sides:
            raise InputError(f"side: got {name!r}, expected one of {list(self.sides)}")
        return self.sides[name]

    def attach(self, **encoders: "tuple[Encoder, int]") -> "Space":
        """The same space, whose sides named take what an encoder takes: by side the encoder and the layer."""
        found = {name: Side(self[name].adapter, *source) for name, source in encoders.items()}
        return replace(self, sides={**self.sides, **found})

    def of_modality(self, modality: str) -> Side:
        """The first side whose encoder is of a modality.

        Raises:
            InputError: there is none.
        """
        for side in self.sides.values():
            if side.encoder is not None and side.encoder.modality == modality:
                return side
        raise InputError(f"space: got no side of modality {modality}, expected one among {list(self.sides)}")

    def save(self, folder: str | Path, sources: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        """Write all that `load` needs: the adapters, and what pins the encoders that are attached.

        The folder can be moved and given away: weights pretrained here are in it, those of a package or of the hub are
        named by version and hash, and fetched again where they are missing.

        Args:
            folder: new, empty, or of an earlier `save`.
            sources: of sides without an encoder, by name, the ``encoder`` (a name) and the ``layer`` of their features.

        Raises:
            InputError: the folder is not new or empty, and holds other things than a space.
        """
        told = {name: dict((sources or {}).get(name, {})) for name in self.sides}
        with replace_folder(folder, SPACE, ("sides", "pairs")) as part:
            for name, side in self.sides.items():
                side.adapter.save(part / name)
                if side.encoder is not None:
                    side.encoder.save(part / ENCODERS / name)
                    told[name] = {"encoder": name, "layer": side.layer % len(side.encoder.dims)}
            pairs = [list(pair) for pair in self.pairs]
            looks = {"looks": self.looks.told()} if self.looks else {}
            write_json(part / SPACE, {"sides": told, "pairs": pairs, "chosen": self.chosen, **looks})

    @classmethod
    def load(cls, folder: str | Path, encoders: str | Path | None = None, device: str | None = None) -> "Space":
        """Load a space that `save` or the pipeline wrote, with the encoders that it names.

        Args:
            folder: a folder a side, and ``space.json``.
            encoders: folder of the encoders' folders; None for the space's own, and for one of the pipeline
                ``data/encoders``.
            device: as in `Encoder.load`.

        Raises:
            InputError: a part is missing or does not fit.
        """
        from jam.encoders import Encoder

        folder = Path(folder)
        space = read_space(folder)
        if encoders is None:
            encoders = folder / ENCODERS if (folder / ENCODERS).is_dir() else Path("data") / ENCODERS
        sides = {}
        for name, source in space["sides"].items():
            encoder = Encoder.load(Path(encoders) / source["encoder"], device) if source else None
            adapter = load_adapter(folder / name, encoder.model.device if encoder else device or "cpu")
            sides[name] = Side(adapter, encoder, source.get("layer", -1))
        return cls(sides, [(x, y) for x, y in space["pairs"]], chosen=space["chosen"], looks=space["looks"])


def check_names(names: Iterable[Any]) -> None:
    """InputError unless all names of sides can be those of folders."""
    for name in names:
        if not isinstance(name, str) or not re.fullmatch(r"[^\W.][\w -]*", name):
            raise InputError(f"side: got the name {name!r}, expected letters, digits, spaces, - and _")


def load_adapter(folder: Path, device: str | torch.device = "cpu") -> AnyAdapter:
    """An adapter of whatever kind.

    Raises:
        InputError: as `AnyAdapter.load`.
    """
    config = read_json(folder / CONFIG) if (folder / CONFIG).is_file() else {}
    kind: type[AnyAdapter] = TokenAdapter if config.get("kind") in TOKEN_KINDS else Adapter
    return kind.load(folder, device)


def load_adapters(folder: str | Path, device: str | torch.device = "cpu") -> dict[str, Adapter]:
    """The adapters of a saved space of pooled features alone, by side."""
    return {name: Adapter.load(Path(folder) / name, device) for name in read_space(Path(folder))["sides"]}


def read_space(folder: Path) -> dict[str, Any]:
    """What ``space.json`` tells: ``sides``, by name an encoder and a layer, or nothing; ``pairs``, ``chosen``, `Looks`.

    Raises:
        InputError: the file is missing or tells something else.
    """
    path = folder / SPACE
    if not path.is_file():
        raise InputError(f"{folder}: expected {SPACE} and a folder a side, those of a trained space")
    try:
        content = read_json(path)
        pairs = [(str(x), str(y)) for x, y in content["pairs"]]
        sides = {
            str(name): {"encoder": str(source["encoder"]), "layer": int(source["layer"])} if source else {}
            for name, source in content["sides"].items()
        }
        chosen, looks = dict(content.get("chosen", {})), Looks.read(content.get("looks"))
        check_names([*sides, *(source["encoder"] for source in sides.values() if source)])
        if not sides:
            raise ValueError("no sides")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: got {error!r}, expected the sides and the pairs of a space") from error
    return {"sides": sides, "pairs": pairs, "chosen": chosen, "looks": looks}


def best_of(folders: Iterable[Path], where: Path) -> Choice:
    """The best of saved spaces on validation rows, see `jam.align.looks.choose`."""
    return choose([Candidate(folder, read_space(folder)) for folder in folders], where)
