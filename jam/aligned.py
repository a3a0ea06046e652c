"""Two frozen encoders made one: images and texts in, vectors of the shared space out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jam.encoders import Encoder
from jam.errors import InputError
from jam.io import read_json
from jam.models import Adapter

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Side:
    """One modality: a frozen encoder, the layer that is read, and the adapter behind it."""

    encoder: Encoder
    layer: int
    adapter: Adapter

    def encode(self, items: Sequence["Image | str"], batch_size: int = 64) -> np.ndarray:
        """Items of the modality as unit vectors, (n, d_latent) float32."""
        return self.adapter.encode(self.encoder.encode(items, batch_size, self.layer))


@dataclass(frozen=True)
class Aligned:
    """A pair of encoders with the adapters trained between them.

    Example:
        >>> pair = Aligned.load("data/adapters/spread/0")  # doctest: +SKIP
        >>> pair.image.encode([photo]) @ pair.text.encode(["a red seven"]).T  # doctest: +SKIP
    """

    image: Side
    text: Side

    @classmethod
    def load(cls, folder: str | Path, encoders: str | Path = "data/encoders", device: str | None = None) -> "Aligned":
        """Load adapters that ``stages.align`` or ``stages.baseline`` saved, and the encoders that they belong to.

        Args:
            folder: ``image/``, ``text/`` and ``layers.json``.
            encoders: folder of the encoders' folders.
            device: as in `Encoder.load`.

        Raises:
            InputError: a part is missing or does not fit.
        """
        folder, encoders = Path(folder), Path(encoders)
        if not (folder / "layers.json").is_file():
            raise InputError(
                f"{folder}: expected image/, text/ and layers.json of a trained pair (run the align stage)"
            )
        layers = read_json(folder / "layers.json")
        sides = []
        for name in ("image", "text"):
            told = layers[name]
            encoder = Encoder.load(encoders / told["encoder"], device)
            adapter = Adapter.load(folder / name, encoder.model.device)
            layer = int(told["layer"])
            if layer >= len(encoder.dims) or encoder.dims[layer] != adapter.config["d_in"]:
                raise InputError(
                    f"{folder / name}: got an adapter of width {adapter.config['d_in']}, expected that of "
                    f"layer {layer} of {told['encoder']}, whose widths are {list(encoder.dims)}"
                )
            sides.append(Side(encoder, layer, adapter))
        return cls(*sides)
