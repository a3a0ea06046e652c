"""Two frozen encoders made one: images and texts in, vectors of the shared space out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jam.encoders import Encoder
from jam.errors import InputError
from jam.io import read_json, replace_folder, write_json
from jam.models import Adapter

if TYPE_CHECKING:
    from PIL.Image import Image

ENCODERS, LAYERS = "encoders", "layers.json"


@dataclass(frozen=True)
class Side:
    """One modality: a frozen encoder, the layer that is read, and the adapter behind it.

    Attributes:
        encoder: of images or of texts.
        layer: 0 … layers−1, or negative from the last.
        adapter: trained on features of that layer.

    Raises:
        InputError: the encoder has no such layer, or one of another width than the adapter takes.
    """

    encoder: Encoder
    layer: int
    adapter: Adapter

    def __post_init__(self) -> None:
        dims, width = self.encoder.dims, self.adapter.config["d_in"]
        if not -len(dims) <= self.layer < len(dims) or dims[self.layer] != width:
            raise InputError(
                f"{self.encoder.manifest.id}: got layer {self.layer} and an adapter of width {width}, expected one of "
                f"the layers 0 … {len(dims) - 1}, whose widths are {list(dims)}"
            )

    def encode(self, items: Sequence["Image | str"], batch_size: int = 64) -> np.ndarray:
        """Items of the modality as unit vectors, (n, d_latent) float32."""
        features = self.encoder.encode(items, batch_size, self.layer)
        return (
            self.adapter.encode(features)
            if len(features)
            else np.empty((0, self.adapter.config["d_latent"]), np.float32)
        )


@dataclass(frozen=True)
class Aligned:
    """A pair of encoders with the adapters trained between them.

    Raises:
        InputError: the adapters' shared spaces differ in width, or an encoder is of the other modality.

    Example:
        >>> pair = Aligned.load("data/adapters/spread/0")  # doctest: +SKIP
        >>> pair.image.encode([photo]) @ pair.text.encode(["a red seven"]).T  # doctest: +SKIP
    """

    image: Side
    text: Side

    def __post_init__(self) -> None:
        found = (self.image.encoder.modality, self.text.encoder.modality)
        if found != ("vision", "text"):
            raise InputError(f"pair: got encoders of {found[0]} and {found[1]}, expected vision and text")
        widths = [side.adapter.config["d_latent"] for side in self._sides().values()]
        if widths[0] != widths[1]:
            raise InputError(f"aligned: got adapters into {widths[0]} and {widths[1]} dimensions, expected one space")

    def save(self, folder: str | Path) -> None:
        """Write all that `load` needs: the adapters, their layers, and what pins the encoders.

        The folder can be moved and given away: weights pretrained here are in it, those of a package or of the hub are
        named by version and hash, and fetched again where they are missing.

        Raises:
            InputError: the folder is not new or empty, and holds other things than a pair.
        """
        with replace_folder(folder, LAYERS, ("image", "text")) as part:
            for name, side in self._sides().items():
                side.adapter.save(part / name)
                side.encoder.save(part / ENCODERS / name)
            layers = {
                name: {"encoder": name, "layer": f"{side.layer % len(side.encoder.dims):02d}"}
                for name, side in self._sides().items()
            }
            write_json(part / LAYERS, layers)

    @classmethod
    def load(cls, folder: str | Path, encoders: str | Path | None = None, device: str | None = None) -> "Aligned":
        """Load a pair that `save` wrote, or that ``stages.align`` or ``stages.baseline`` trained.

        Args:
            folder: ``image/``, ``text/`` and ``layers.json``.
            encoders: folder of the encoders' folders; None for the pair's own, and for one of the pipeline
                ``data/encoders``.
            device: as in `Encoder.load`.

        Raises:
            InputError: a part is missing or does not fit.
        """
        folder = Path(folder)
        if not (folder / LAYERS).is_file():
            raise InputError(f"{folder}: expected image/, text/ and {LAYERS} of a trained pair (run the align stage)")
        if encoders is None:
            encoders = folder / ENCODERS if (folder / ENCODERS).is_dir() else Path("data") / ENCODERS
        try:
            layers = read_json(folder / LAYERS)
            read = [(name, str(layers[name]["encoder"]), int(layers[name]["layer"])) for name in ("image", "text")]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{folder / LAYERS}: got {error!r}, expected an encoder and a layer of image and text"
            ) from error
        sides = []
        for name, encoder_name, layer in read:
            encoder = Encoder.load(Path(encoders) / encoder_name, device)
            sides.append(Side(encoder, layer, Adapter.load(folder / name, encoder.model.device)))
        return cls(*sides)

    def _sides(self) -> dict[str, Side]:
        return {"image": self.image, "text": self.text}
