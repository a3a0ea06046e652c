"""An adapter: frozen features in, a vector of the shared space out; saved as safetensors plus config.json."""

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from jam.align.blocks import Standardise
from jam.align.saved import Saved
from jam.align.towers import TOWERS
from jam.errors import InputError
from jam.metrics._rows import Array, as_rows

if TYPE_CHECKING:
    from jam.encoders import Encoder


def check_dims(dims: int | None, width: int) -> None:
    """InputError unless vectors of a width can be cut to their first ``dims`` coordinates (None: not cut)."""
    if dims is not None and not 1 <= dims <= width:
        raise InputError(f"dims: got {dims} of a space of {width} dimensions, expected 1 to {width}")


def truncated(vectors: np.ndarray, dims: int | None) -> np.ndarray:
    """Unit vectors of a space at fewer dimensions: the first ``dims`` coordinates, normalised again.

    Args:
        vectors: (n, d) of a space.
        dims: 1 … d; None for the vectors as they are.

    Returns:
        (n, dims) of the same type, rows of length 1 (or of zeros).

    Raises:
        InputError: there are not so many dimensions.
    """
    check_dims(dims, vectors.shape[1])
    if dims is None:
        return vectors
    cut = vectors[:, :dims]
    return np.ascontiguousarray(cut / np.maximum(np.linalg.norm(cut, axis=1, keepdims=True), 1e-12))


class AnyAdapter(Saved):
    """What adapters of all kinds share.

    Attributes:
        config: ``kind``, ``d_in``, ``d_latent`` and further arguments.
        standardise: of what is read.
    """

    NAME, KEYS = "adapter", ("kind", "d_in", "d_latent")
    standardise: Standardise

    @property
    def reconstructs(self) -> bool:
        """Whether the adapter has a decoder."""
        return False

    def read(self, encoder: "Encoder", views: Any, layer: int, batch_size: int) -> Any:
        """What ``encode`` takes, of images or texts: the pooled states of a layer, or whatever else is read."""
        raise NotImplementedError

    def encode(self, features: Any, *, dims: int | None = None) -> np.ndarray:
        """What is read as unit vectors of the shared space, (n, d_latent), or of its first ``dims`` coordinates."""
        raise NotImplementedError

    def _before_loading(self, state: dict[str, Tensor]) -> None:
        """Constants may be in double precision."""
        self.standardise.mean = self.standardise.mean.to(state["standardise.mean"].dtype)


class Adapter(AnyAdapter):
    """Standardise → tower, for one modality.

    Args:
        kind: ``autoencoder``, ``linear`` or ``mlp``.
        d_in: width of the frozen features.
        d_latent: width of the shared space.
        **options: further arguments of the tower (``hidden``, ``dropout``, ``expansion``).

    Example:
        >>> adapter = Adapter("linear", d_in=8, d_latent=4)
        >>> adapter.encode(np.ones((2, 8), dtype=np.float32)).shape
        (2, 4)
    """

    def __init__(self, kind: str, d_in: int, d_latent: int, **options: Any) -> None:
        super().__init__()
        if kind not in TOWERS:
            raise ValueError(f"adapter kind: got {kind!r}, expected one of {sorted(TOWERS)}")
        self.config = {"kind": kind, "d_in": d_in, "d_latent": d_latent, **options}
        self.standardise = Standardise(d_in)
        self.tower = TOWERS[kind](d_in, d_latent, **options)

    @property
    def reconstructs(self) -> bool:
        """Whether the adapter has a decoder."""
        return hasattr(self.tower, "decode")

    def read(self, encoder: "Encoder", views: Any, layer: int, batch_size: int) -> np.ndarray:
        """Pooled states (n, d_in) of images or texts."""
        return encoder.encode(views, batch_size, layer)

    def forward(self, features: Tensor) -> Tensor:
        """(n, d_in) raw features → (n, d_latent) latents, not normalised."""
        return cast(Tensor, self.tower.encode(self.standardise(features)))

    def reconstruct(self, features: Tensor) -> Tensor:
        """(n, d_in) raw features → their reconstruction, in the units of the features.

        Raises:
            ValueError: the adapter has no decoder.
        """
        if not self.reconstructs:
            raise ValueError(f"reconstruct: got a {self.config['kind']} adapter, expected one with a decoder")
        return self.standardise.unscaled(self.tower.decode(self(features)))

    @torch.inference_mode()
    def encode(self, features: Array, batch_size: int = 4096, dims: int | None = None) -> np.ndarray:
        """Map features to unit vectors of the shared space, in evaluation mode.

        Args:
            features: (n, d_in), raw, of any kind that the metrics take: numpy (memory maps too), torch, a table, lists.
            batch_size: rows at a time, which bounds the memory.
            dims: keep the first so many coordinates, all by default; cut, then normalised.

        Returns:
            (n, d_latent) float32, or (n, dims), with rows of length 1.

        Raises:
            ValueError: no rows, or their width is not ``d_in``.
            InputError: a row that gives no finite vector, named; or there are not so many dimensions.
        """
        check_dims(dims, self.config["d_latent"])
        return self._in_batches(lambda x: functional.normalize(self(x)[:, :dims], dim=1), features, batch_size)

    @torch.inference_mode()
    def autoencode(self, features: Array, batch_size: int = 4096) -> np.ndarray:
        """Reconstruct features (n, d_in) → (n, d_in), in evaluation mode; in double precision if trained on such.

        Raises:
            ValueError: the adapter has no decoder, or as `encode`.
            InputError: as `encode`.
        """
        return self._in_batches(self.reconstruct, features, batch_size)

    def _in_batches(self, function: Any, features: Array, batch_size: int) -> np.ndarray:
        rows = as_rows(features, "features")
        if rows.shape[1] != self.config["d_in"]:
            raise ValueError(f"features: got shape {tuple(rows.shape)}, expected (n, {self.config['d_in']})")
        training, parts = self.training, []
        self.eval()
        try:
            for part in rows.split(batch_size):
                parts.append(function(part.to(self.standardise.mean.device)).cpu())
        finally:
            self.train(training)
        vectors = torch.cat(parts)
        bad = ~vectors.isfinite().all(dim=1)
        if bad.any():
            raise InputError(
                f"features: row {int(bad.nonzero()[0])} gives no finite vector ({int(bad.sum())} of {len(bad)} rows), "
                "expected finite numbers, of the size that the adapter was trained on"
            )
        return vectors.numpy()
