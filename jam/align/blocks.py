"""Layers that the adapters are made of."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from jam.io import release

BLOCK = 8192  # rows measured at a time: a table of features may be larger than memory


class SwiGLU(nn.Module):
    """Halve the last dimension: x₁ · SiLU(x₂), for x = [x₁, x₂] (Shazeer 2020, arXiv 2002.05202)."""

    def forward(self, x: Tensor) -> Tensor:
        """(…, 2h) → (…, h)."""
        value, gate = x.chunk(2, dim=-1)
        return value * functional.silu(gate)


def swiglu_stack(d_in: int, hidden: tuple[int, ...], d_out: int, dropout: float) -> nn.Sequential:
    """LayerNorm → Linear → SwiGLU → Dropout for each hidden width, then a Linear to ``d_out`` (JAM, §3)."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.LayerNorm(d_in), nn.Linear(d_in, 2 * width), SwiGLU(), nn.Dropout(dropout)]
        d_in = width
    return nn.Sequential(*layers, nn.Linear(d_in, d_out))


class Standardise(nn.Module):
    """Constants measured on training rows that put features into units: ``scaled`` for targets, ``forward`` for inputs.

    ``scaled`` divides centred features by one number, which keeps the geometry of the space (distances, neighbours)
    and gives reconstruction errors a unit: 1 is what predicting the mean scores.

    ``forward`` also evens out the directions, x ↦ (x − mean) @ whiten, where whiten = U·(λ + shrinkage·mean λ)^{-½} for
    the covariance U·λ·Uᵀ. A linear layer follows, so that no function is gained or lost; but what a pooled sentence
    says of who has which colour lies in directions of little variance, which gradient descent from raw features does
    not reach in any reasonable time. The shrinkage keeps noise from being blown up to the size of signal.
    """

    mean: Tensor
    scale: Tensor
    whiten: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("whiten", torch.eye(dim))

    def fit(
        self, features: np.ndarray | Tensor, rows: np.ndarray | None = None, shrinkage: float | None = None
    ) -> None:
        """Measure the constants on training features, in fp64, a block of rows at a time.

        Args:
            features: (N, d), memory maps too.
            rows: (n,) which of them to measure on; None for all.
            shrinkage: in units of the mean variance, > 0; None to only divide by the scale.

        Constants of features in double precision are kept so: a mean of 1e8 leaves single precision no signal.

        Raises:
            ValueError: the features do not vary or are not finite.
        """
        rows = np.arange(len(features)) if rows is None else np.asarray(rows)
        n, d = len(rows), features.shape[1]
        precision = torch.promote_types(torch.as_tensor(features[rows[:1]]).dtype, torch.float32)

        def blocks() -> Iterator[Tensor]:
            for start in range(0, n, BLOCK):
                yield torch.as_tensor(features[rows[start : start + BLOCK]]).double()
                if isinstance(features, np.ndarray):
                    release(features)

        mean = sum((block.sum(dim=0) for block in blocks()), torch.zeros(d, dtype=torch.float64)) / n
        if shrinkage is None:
            variances = sum(((block - mean).square().sum(dim=0) for block in blocks()), torch.zeros(d).double()) / n
        else:
            covariance = torch.zeros(d, d, dtype=torch.float64)
            for block in blocks():
                centred = block - mean
                covariance.addmm_(centred.T, centred)
            covariance /= n
            variances = covariance.diagonal()
        scale = variances.mean().sqrt()
        if not (torch.isfinite(scale) and scale > 1e-13 * mean.abs().max()):  # of which less is rounding
            raise ValueError(
                f"features: got a standard deviation of {scale.item()}, expected finite features that vary"
            )
        if shrinkage is None:
            whiten = torch.eye(d, dtype=torch.float64) / scale
        else:
            values, axes = torch.linalg.eigh(covariance)
            values = values.clamp(min=0)
            whiten = axes / (values + shrinkage * values.mean()).sqrt()
        self.mean = mean.to(precision)
        self.scale.copy_(scale)
        self.whiten.copy_(whiten)

    def forward(self, x: Tensor) -> Tensor:
        """(n, d) features → (n, d) inputs of a tower, in fp32."""
        return self._centred(x) @ self.whiten

    def then(self, linear: nn.Linear, x: Tensor) -> Tensor:
        """``linear`` after ``forward``, (n, d) → (n, out): both matrices as one, not d × d products for every row."""
        return self._centred(x) @ (self.whiten @ linear.weight.T) + linear.bias

    def scaled(self, x: Tensor) -> Tensor:
        """(n, d) features → (n, d) in units of their standard deviation."""
        return self._centred(x) / self.scale

    def unscaled(self, x: Tensor) -> Tensor:
        """Undo ``scaled``."""
        return x * self.scale + self.mean

    def _centred(self, x: Tensor) -> Tensor:
        """In fp32, to which double precision is rounded only after."""
        return (upcast(x) - self.mean).float()


def upcast(x: Tensor) -> Tensor:
    """Half precision as single; single and double as they are."""
    return x.float() if x.itemsize < 4 else x
