"""From what is known of an image – one vector, latents or tokens – to a prefix of k vectors for a language model."""

from typing import cast

import torch
from torch import Tensor, nn

from jam.align.blocks import Standardise
from jam.align.resampler import Resampler, check_real
from jam.align.saved import Saved
from jam.align.token_adapter import Positions

KINDS = ("linear", "mlp", "transformer", "resampler")


class Projector(Saved):
    """Standardise → map → LayerNorm × gain, a prefix (b, k, d_out) of the size of the model's own embeddings.

    ``linear`` and ``mlp`` (LayerNorm → Linear → GELU → Linear) read a sequence of fixed length as one vector.
    ``transformer`` and ``resampler`` take k learned queries: the former puts them behind the sequence and lets all read
    all (Mokady et al. 2021, ClipCap), the latter lets them read it alone.

    Args:
        kind: one of ``linear``, ``mlp``, ``transformer``, ``resampler``.
        d_in: width of what is projected.
        d_out: width of the language model.
        k: length of the prefix.
        width: of what is between.
        depth: layers of a transformer or resampler.
        heads: of these.
        longest: of the sequences; for ``linear`` and ``mlp``, what all of them have.
        gain: what the mean norm of the prefix starts at, that of the embeddings of tokens.

    Raises:
        ValueError: no such kind.
    """

    NAME, KEYS = "projector", ("kind", "d_in", "d_out", "k")

    def __init__(
        self,
        kind: str,
        d_in: int,
        d_out: int,
        k: int,
        width: int = 128,
        depth: int = 1,
        heads: int = 4,
        longest: int = 64,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"projector: got {kind!r}, expected one of {list(KINDS)}")
        self.config = {"kind": kind, "d_in": d_in, "d_out": d_out, "k": k, "width": width, "depth": depth}
        self.config |= {"heads": heads, "longest": longest, "gain": gain}
        self.kind, self.k = kind, k
        self.standardise = Standardise(d_in)
        whole, ends = longest * d_in, k * d_out
        if kind == "linear":
            self.map: nn.Module = nn.Linear(whole, ends)
        elif kind == "mlp":
            self.map = nn.Sequential(
                nn.LayerNorm(whole), nn.Linear(whole, 2 * width), nn.GELU(), nn.Linear(2 * width, ends)
            )
        else:
            self.map, self.out = nn.Linear(d_in, width), nn.Linear(width, d_out)
            self.positions = Positions(width, None, longest)
        if kind == "transformer":
            self.queries = nn.Parameter(0.02 * torch.randn(k, width))
            layer = nn.TransformerEncoderLayer(
                width, heads, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            self.read: nn.Module = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        elif kind == "resampler":
            self.read = Resampler(width, k, depth, heads)
        self.norm = nn.LayerNorm(d_out, elementwise_affine=False)
        self.gain = nn.Parameter(torch.tensor(gain / d_out**0.5))  # a normalised vector has the norm √d

    def forward(self, states: Tensor, real: Tensor | None = None) -> Tensor:
        """(b, t, d_in) and (b, t) booleans, true on what is no padding → (b, k, d_out).

        Raises:
            ValueError: a row of padding alone; or for ``linear`` and ``mlp`` sequences of another length.
        """
        check_real(real)
        x = self.standardise(states)
        if self.kind in ("linear", "mlp"):
            if x.shape[1] != self.config["longest"] or (real is not None and not bool(real.all())):
                raise ValueError(
                    f"{self.kind}: got {x.shape[1]} vectors an item at most, expected {self.config['longest']} of each "
                    "(a transformer or resampler reads any number)"
                )
            prefix = self.map(x.flatten(1)).unflatten(1, (self.k, -1))
        elif self.kind == "resampler":
            prefix = self.out(self.read(self.positions(self.map(x)), real))
        else:
            queries = self.queries.expand(len(x), -1, -1)
            padding = None
            if real is not None:
                padding = torch.cat([~real, real.new_zeros(queries.shape[:2])], dim=1)
            mixed = self.read(torch.cat([self.positions(self.map(x)), queries], dim=1), src_key_padding_mask=padding)
            prefix = self.out(mixed[:, -self.k :])
        return cast(Tensor, self.norm(prefix) * self.gain)

    def _before_loading(self, state: dict[str, Tensor]) -> None:
        """Constants may be in double precision."""
        self.standardise.mean = self.standardise.mean.to(state["standardise.mean"].dtype)
