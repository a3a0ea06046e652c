"""Two frozen encoders made one: images and texts in, vectors of the shared space out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jam.encoders import Encoder
from jam.errors import InputError
from jam.io import atomic_folder, read_json, write_json
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

    def save(self, folder: str | Path) -> None:
        """Write all that `load` needs: the adapters, their layers, and what pins the encoders.

        The folder can be moved and given away: weights pretrained here are in it, those of a package or of the hub are
        named by version and hash, and fetched again where they are missing.
        """
        with atomic_folder(folder) as part:
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
        layers = read_json(folder / LAYERS)
        sides = []
        for name in ("image", "text"):
            encoder = Encoder.load(Path(encoders) / layers[name]["encoder"], device)
            adapter = Adapter.load(folder / name, encoder.model.device)
            sides.append(Side(encoder, int(layers[name]["layer"]), adapter))
        return cls(*sides)

    def _sides(self) -> dict[str, Side]:
        return {"image": self.image, "text": self.text}
