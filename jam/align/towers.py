"""The trainable maps from standardised features to the shared space, one class per kind of adapter."""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from jam.align.blocks import swiglu_stack


class Autoencoder(nn.Module):
    """JAM's modality-specific autoencoder: an encoder to the latent space and a mirrored decoder.

    Encoder: d_in → hidden → d_latent; each hidden block is LayerNorm → Linear → SwiGLU → Dropout. The decoder walks
    the same widths back (JAM, arXiv 2507.01201, §3).

    Raises:
        ValueError: d_latent ≥ d_in, which would be no bottleneck.
    """

    def __init__(
        self, d_in: int, d_latent: int, hidden: tuple[int, ...] = (512, 512, 512), dropout: float = 0.1
    ) -> None:
        super().__init__()
        if d_latent >= d_in:
            raise ValueError(
                f"autoencoder: got d_latent {d_latent}, expected fewer than its d_in {d_in} (a bottleneck)"
            )
        self.encoder = swiglu_stack(d_in, tuple(hidden), d_latent, dropout)
        self.decoder = swiglu_stack(d_latent, tuple(reversed(hidden)), d_in, dropout)

    def encode(self, x: Tensor) -> Tensor:
        """(n, d_in) → (n, d_latent)."""
        return cast(Tensor, self.encoder(x))

    def decode(self, latent: Tensor) -> Tensor:
        """(n, d_latent) → (n, d_in)."""
        return cast(Tensor, self.decoder(latent))


class _OneWay(nn.Module):
    """A tower without a decoder."""

    map: nn.Module

    def encode(self, x: Tensor) -> Tensor:
        """(n, d_in) → (n, d_latent)."""
        return cast(Tensor, self.map(x))


class Linear(_OneWay):
    """One linear map; also what the closed-form baselines fill in."""

    map: nn.Linear

    def __init__(self, d_in: int, d_latent: int) -> None:
        super().__init__()
        self.map = nn.Linear(d_in, d_latent)

    @classmethod
    def from_matrix(cls, weight: Tensor) -> "Linear":
        """A fixed map x ↦ x @ weight, weight (d_in, d_latent)."""
        tower = cls(*weight.shape)
        with torch.no_grad():
            tower.map.weight.copy_(weight.T)
            tower.map.bias.zero_()
        return tower


class MLP(_OneWay):
    """LayerNorm → Linear → GELU → Dropout → Linear, hidden ``expansion`` times the input width."""

    def __init__(self, d_in: int, d_latent: int, expansion: int = 2, dropout: float = 0.1) -> None:
        super().__init__()
        hidden = expansion * d_in
        self.map = nn.Sequential(
            nn.LayerNorm(d_in), nn.Linear(d_in, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, d_latent)
        )


TOWERS: dict[str, Callable[..., Any]] = {"autoencoder": Autoencoder, "linear": Linear, "mlp": MLP}
