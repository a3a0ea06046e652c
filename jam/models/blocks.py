"""Layers that the adapters are made of."""

import torch
from torch import Tensor, nn
from torch.nn import functional


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
    """Shift and scale features by constants measured on training rows: (x − mean) / scale.

    One scalar scale for all columns keeps the geometry of the space (cosines of centred rows, neighbours), and makes
    the reconstruction error of columns comparable with a unit: 1 is what predicting the mean scores.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(()))

    def fit(self, features: Tensor) -> None:
        """Measure mean and root-mean-square deviation on training features (n, d).

        Raises:
            ValueError: the features do not vary or are not finite.
        """
        features = features.double()
        mean = features.mean(dim=0)
        scale = (features - mean).square().mean().sqrt()
        if not (torch.isfinite(scale) and scale > 0):
            raise ValueError(
                f"features: got a standard deviation of {scale.item()}, expected finite features that vary"
            )
        self.mean.copy_(mean)
        self.scale.copy_(scale)

    def forward(self, x: Tensor) -> Tensor:
        """(n, d) → (n, d), in fp32."""
        return (x.float() - self.mean) / self.scale

    def inverse(self, x: Tensor) -> Tensor:
        """Undo ``forward``."""
        return x * self.scale + self.mean
