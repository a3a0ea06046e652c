"""Adapters that read all tokens: which sides, how tokens are reduced, and the variants that are held against it."""

from collections.abc import Collection, Iterator
from typing import Annotated, Any, Literal

from pydantic import Field

from jam.params.fields import Count, Fraction, Name, NonNegative, Positive, Section, Some
from jam.params.variants import Varied

Band = tuple[float | None, float | None]
"""The least and the largest value that is as it should be; null for no bound."""


class TokenSide(Section):
    """An encoder whose ``tokens`` are kept, under the name that it has in the space.

    ``grid`` is the (rows, columns) of a feature map, whose positions are the sum of a row's and a column's; left out,
    the tokens are a sequence. A token before those of the grid is a CLS.
    """

    side: Name
    encoder: Name
    grid: tuple[Count, Count] | None = None


class Resampling(Section):
    """How tokens become a vector, see `jam.align.token_adapter.TokenAdapter`, and how that is trained.

    The loss is mrl_weight · its mean over ``dims`` + clip_weight · itself at full width.
    """

    map: Literal["linear", "mlp"] = "linear"  # of each token
    reduce: Literal["resampler", "mean"] = "resampler"
    feed: bool = False  # a mean goes through the MLP that ends a layer of a resampler
    share: bool = True  # one reduction and one head for all sides
    width: Count  # of mapped tokens
    latents: Count
    depth: Count
    heads: Count
    self_attention: bool = False  # latents read each other as well
    own_keys: bool = False  # the keys are tokens and latents, as Flamingo's
    masked: bool = True  # padding is not read
    latent: Count  # width of the shared space
    hidden: Count | None = None  # of an mlp; twice the width of the encoder's tokens if left out
    dropout: Fraction = 0.1  # of an mlp
    loss: Literal["con", "negcon"] = "con"
    dims: Some[Count]
    mrl_weight: Positive
    clip_weight: NonNegative
    learning_rate: Positive
    warm_up: Fraction = 0.1  # the share of the steps over which the learning rate rises
    weight_decay: NonNegative
    whitening: Positive | None
    batch_size: Annotated[int, Field(ge=2)]
    epochs: Count

    def _problems(self) -> Iterator[str]:
        if self.width % self.heads:
            yield f"width: got {self.width}, expected a multiple of the {self.heads} heads"
        if self.feed and self.reduce != "mean":
            yield f"feed: got true with reduce {self.reduce}, whose layers end in an MLP anyway; expected it with mean"
        if max(self.dims) > self.latent:
            yield f"dims: got {max(self.dims)} with a latent of {self.latent}, expected at most as many"

    @property
    def reducer(self) -> dict[str, Any] | None:
        """Arguments of `jam.align.resampler.Resampler`; None for the mean."""
        names = {"latents", "depth", "heads", "self_attention", "own_keys", "masked"}
        return self.model_dump(include=names) if self.reduce == "resampler" else None


class Resampler(Varied[Resampling]):
    """An entry of section ``resampler``.

    ``bands`` say of each monitor what is as it should be.
    """

    x: TokenSide
    y: TokenSide
    pooled: Name  # a space of pooled features beside them
    bands: dict[Name, Band]

    @property
    def sides(self) -> tuple[TokenSide, TokenSide]:
        """Both."""
        return self.x, self.y

    def _problems(self) -> Iterator[str]:
        if self.x.side == self.y.side:
            yield f"got two sides {self.x.side}, expected names of their own"
        yield from super()._problems()
        if self.pooled in self.variants:
            yield f"variants: got {self.pooled!r}, the name of pooled, expected names of their own"

    def problems_with(self, where: str, tokens: Collection[str], spaces: Collection[str]) -> Iterator[str]:
        """What does not fit the names of encoders whose tokens are kept, and of spaces."""
        for way, side in (("x", self.x), ("y", self.y)):
            if side.encoder not in tokens:
                yield f"{where}.{way}: got {side.encoder!r}, expected an encoder among tokens: {list(tokens)}"
        if self.pooled not in spaces:
            yield f"{where}.pooled: got {self.pooled!r}, expected one of {list(spaces)}"
