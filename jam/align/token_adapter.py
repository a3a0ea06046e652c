"""An adapter that reads all tokens of an item: each is mapped, all are reduced to a few vectors, these to one."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from jam.align.adapter import AnyAdapter, check_dims
from jam.align.blocks import Standardise
from jam.align.resampler import MeanPool, Resampler
from jam.errors import InputError
from jam.features.ragged import Ragged, encode_tokens

if TYPE_CHECKING:
    from jam.encoders import Encoder

TOKEN_KINDS = ("token_linear", "token_mlp")
TOGETHER = 256  # sequences that are encoded at a time


class Positions(nn.Module):
    """Adds to each token what says where it stands.

    Args:
        width: of the tokens.
        grid: (rows, columns) of a feature map, read row by row, which gets a vector for each row and one for each
            column; a token more than that, before them, is a CLS and gets one of its own. None for a sequence.
        longest: of a sequence; later tokens share the last position.
    """

    def __init__(self, width: int, grid: tuple[int, int] | None, longest: int) -> None:
        super().__init__()
        self.grid = grid
        if grid is None:
            self.place = nn.Parameter(0.02 * torch.randn(longest, width))
        else:
            self.row = nn.Parameter(0.02 * torch.randn(grid[0], 1, width))
            self.column = nn.Parameter(0.02 * torch.randn(1, grid[1], width))
            self.first = nn.Parameter(0.02 * torch.randn(1, width))

    def forward(self, tokens: Tensor, real: Tensor | None = None) -> Tensor:
        """(b, t, w) and (b, t) booleans, the real ones first → (b, t, w); on a grid each item by its own number.

        Raises:
            ValueError: an item with a number of tokens that the grid does not have, padding not counted.
        """
        count = tokens.shape[1]
        if self.grid is None:
            return tokens + self.place[torch.arange(count, device=tokens.device).clamp(max=len(self.place) - 1)]
        lengths = torch.full(tokens.shape[:1], count, device=tokens.device) if real is None else real.sum(dim=1)
        if (item := self.misfit(lengths)) is not None:
            raise ValueError(f"tokens: got {int(lengths[item])} in row {item}, expected {self.expected}")
        cells = (self.row + self.column).flatten(0, 1)
        bare = functional.pad(cells, (0, 0, 0, count - len(cells)))
        if bool((lengths == len(cells)).all()):
            return tokens + bare
        after = functional.pad(torch.cat([self.first, cells]), (0, 0, 0, count - len(cells) - 1))
        return tokens + torch.where((lengths == len(cells))[:, None, None], bare, after)

    def misfit(self, lengths: Tensor) -> int | None:
        """The first of some items (n,) whose number of tokens is not that of the grid, with or without a CLS."""
        if self.grid is None:
            return None
        extra = lengths - self.grid[0] * self.grid[1]
        odd = (extra != 0) & (extra != 1)
        return int(odd.int().argmax()) if bool(odd.any()) else None

    @property
    def expected(self) -> str:
        """What is expected where an item does not fit."""
        return f"those of a grid of {self.grid}, perhaps a CLS before them"


class TokenAdapter(AnyAdapter):
    """Standardise → map of each token → positions and modality → reduce → mean → linear, for one modality.

    Args:
        kind: how each token is mapped: ``token_linear``, or ``token_mlp``, LayerNorm → Linear → GELU → Dropout →
            Linear.
        d_in: width of the frozen tokens.
        d_latent: width of the shared space.
        width: of mapped tokens and latents.
        reduce: arguments of `Resampler`; None for the mean of the tokens.
        grid: of a feature map, see `Positions`.
        longest: see `Positions`.
        dropout: of ``token_mlp``.
        hidden: width within ``token_mlp``; None for 2 · d_in.
        feed: of a mean, see `MeanPool`.
        reducer, head: those of another side, which this one then shares.
    """

    def __init__(
        self,
        kind: str,
        d_in: int,
        d_latent: int,
        width: int,
        reduce: dict[str, Any] | None = None,
        grid: Sequence[int] | None = None,
        longest: int = 64,
        dropout: float = 0.1,
        hidden: int | None = None,
        feed: bool = False,
        *,
        reducer: nn.Module | None = None,
        head: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if kind not in TOKEN_KINDS:
            raise ValueError(f"adapter kind: got {kind!r}, expected one of {list(TOKEN_KINDS)}")
        self.config = {
            "kind": kind,
            "d_in": d_in,
            "d_latent": d_latent,
            "width": width,
            "reduce": reduce,
            "grid": grid,
            "longest": longest,
            "dropout": dropout,
            "hidden": hidden,
            "feed": feed,
        }
        self.standardise = Standardise(d_in)
        wide = hidden or 2 * d_in
        self.map: nn.Module = nn.Linear(d_in, width)
        if kind == "token_mlp":
            self.map = nn.Sequential(
                nn.LayerNorm(d_in), nn.Linear(d_in, wide), nn.GELU(), nn.Dropout(dropout), nn.Linear(wide, width)
            )
        self.positions = Positions(width, None if grid is None else (grid[0], grid[1]), longest)
        self.modality = nn.Parameter(0.02 * torch.randn(width))
        self.reducer = reducer or (MeanPool(width, feed) if reduce is None else Resampler(width, **reduce))
        self.head = head or nn.Linear(width, d_latent)

    def tokens(self, states: Tensor, real: Tensor | None = None) -> Tensor:
        """Frozen states → (b, t, width), what the reduction reads; padding is not mapped, but zero.

        Args:
            states: (b, t, d_in); or the real ones alone, one after the other, (total, d_in).
            real: (b, t) booleans, the real ones first; None where all of (b, t, d_in) are.
        """
        if real is None:
            real = states.new_ones(states.shape[:2], dtype=torch.bool)
        rows = states if states.ndim == 2 else states[real]
        some = (
            self.standardise.then(self.map, rows)
            if isinstance(self.map, nn.Linear)
            else self.map(self.standardise(rows))
        )
        mapped = some.new_zeros(*real.shape, some.shape[-1]).masked_scatter(real[:, :, None], some)
        return cast(Tensor, self.positions(mapped, real) + self.modality)

    def latents(self, states: Tensor, real: Tensor | None = None) -> Tensor:
        """States as `tokens` takes them → (b, K, width), K = 1 where the tokens' mean is taken."""
        return cast(Tensor, self.reducer(self.tokens(states, real), real))

    def forward(self, states: Tensor, real: Tensor | None = None) -> Tensor:
        """States as `tokens` takes them → (b, d_latent), not normalised."""
        return cast(Tensor, self.head(self.latents(states, real).mean(dim=1)))

    def read(self, encoder: "Encoder", views: Any, layer: int, batch_size: int) -> Ragged:
        """All tokens of a layer, (t, d_in) of each image or text."""
        return encode_tokens(encoder, views, layer, batch_size)

    @torch.inference_mode()
    def encode(self, features: Ragged | Sequence[np.ndarray], *, dims: int | None = None) -> np.ndarray:
        """Sequences of tokens as unit vectors of the shared space, in evaluation mode.

        Args:
            features: n sequences of tokens, (t, d_in) each, raw.
            dims: keep the first so many coordinates, all by default; cut, then normalised.

        Returns:
            (n, d_latent) float32, or (n, dims), with rows of length 1.

        Raises:
            InputError: no sequences, one without a token, of another width, or with another number of tokens than the
                grid has, one that gives no finite vector, named; or there are not so many dimensions.
        """
        check_dims(dims, self.config["d_latent"])
        return self._in_batches(lambda *given: functional.normalize(self(*given)[:, :dims], dim=1), features)

    @torch.inference_mode()
    def encode_latents(self, tokens: Ragged | Sequence[np.ndarray]) -> np.ndarray:
        """Sequences of tokens as what they are reduced to, (n, K, width) float32, in evaluation mode; as `encode`."""
        return self._in_batches(self.latents, tokens)

    def _in_batches(self, function: Callable[..., Tensor], tokens: Ragged | Sequence[np.ndarray]) -> np.ndarray:
        table = tokens if isinstance(tokens, Ragged) else Ragged.of(tokens)
        if not len(table) or table.shape[1] != self.config["d_in"]:
            raise InputError(f"tokens: got shape {table.shape}, expected (n, {self.config['d_in']}) with n at least 1")
        if not table.lengths.all():
            raise InputError(f"tokens: item {int(table.lengths.argmin())} has no token, expected at least one")
        if (item := self.positions.misfit(torch.from_numpy(table.lengths))) is not None:
            got, expected = int(table.lengths[item]), self.positions.expected
            raise InputError(f"tokens: item {item} has {got}, expected {expected}")
        training, found = self.training, dict[int, np.ndarray]()
        self.eval()
        try:
            for rows in table.batches(TOGETHER):
                given = (torch.from_numpy(each).to(self.modality.device) for each in table[rows].flat())
                found |= dict(zip(rows.tolist(), function(*given).cpu().numpy(), strict=True))
        finally:
            self.train(training)
        vectors = np.stack([found[row] for row in range(len(table))])
        finite = np.isfinite(vectors).reshape(len(vectors), -1).all(axis=1)
        if not finite.all():
            raise InputError(f"tokens: item {int(finite.argmin())} gives no finite vector, expected finite numbers")
        return vectors
