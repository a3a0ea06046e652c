"""A Perceiver resampler: learned latents that read any number of tokens, and give a fixed number of vectors."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

LATENT_DEVIATION = 0.02  # of the initial latents: equal ones would stay equal, as nothing tells them apart


class Attention(nn.Module):
    """Multi-head attention of queries to keys, scaled by d_head^-½, blind to keys that are not real.

    Raises:
        ValueError: the width is no multiple of the heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width: got {width}, expected a multiple of {heads} heads")
        self.heads = heads
        self.query, self.out = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)

    def _by_heads(self, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value of each head, (b, heads, q or t, w / heads)."""
        mapped = self.query(queries), *self.key_value(keys).chunk(2, dim=-1)
        query, key, value = (x.unflatten(2, (self.heads, -1)).transpose(1, 2) for x in mapped)
        return query, key, value

    def forward(self, queries: Tensor, keys: Tensor, real: Tensor | None = None) -> Tensor:
        """(b, q, w), (b, t, w) and (b, t) booleans → (b, q, w)."""
        query, key, value = self._by_heads(queries, keys)
        mask = None if real is None else real[:, None, None]
        mixed = functional.scaled_dot_product_attention(query, key, value, mask)
        return cast(Tensor, self.out(mixed.transpose(1, 2).flatten(2)))

    def weights(self, queries: Tensor, keys: Tensor, real: Tensor | None = None) -> Tensor:
        """How much each query takes of each key, (b, heads, q, t), summing to 1 over the keys."""
        query, key, _ = self._by_heads(queries, keys)
        logits = query @ key.transpose(2, 3) / query.shape[-1] ** 0.5
        if real is not None:
            logits = logits.masked_fill(~real[:, None, None], -torch.inf)
        return logits.softmax(dim=-1)


def feed_forward(width: int) -> nn.Sequential:
    """FF(LN(L)), which ends a layer."""
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))


class Layer(nn.Module):
    """L ← L + Attn(LN(L), LN′(X)); L ← L + Attn(LN(L), LN(L)), if asked for; L ← L + FF(LN(L)).

    Args:
        width: of tokens and latents.
        heads: of attention.
        self_attention: whether latents also read each other.
        own_keys: whether the keys of the first step are [LN′(X); LN(L)], as Flamingo's, and not the tokens alone.
    """

    def __init__(self, width: int, heads: int, self_attention: bool, own_keys: bool) -> None:
        super().__init__()
        self.own_keys = own_keys
        self.of_latents, self.of_tokens = nn.LayerNorm(width), nn.LayerNorm(width)
        self.read = Attention(width, heads)
        self.to_talk = nn.LayerNorm(width) if self_attention else None
        self.talk = Attention(width, heads) if self_attention else None
        self.feed = feed_forward(width)

    def _keys(self, latents: Tensor, tokens: Tensor, real: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Queries, keys, and which keys are real."""
        queries, keys = self.of_latents(latents), self.of_tokens(tokens)
        if not self.own_keys:
            return queries, keys, real
        if real is not None:
            real = torch.cat([real, real.new_ones(latents.shape[:2])], dim=1)
        return queries, torch.cat([keys, queries], dim=1), real

    def forward(self, latents: Tensor, tokens: Tensor, real: Tensor | None) -> Tensor:
        """(b, K, w), (b, t, w) and (b, t) booleans → (b, K, w)."""
        latents = latents + self.read(*self._keys(latents, tokens, real))
        if self.talk is not None and self.to_talk is not None:
            inner = self.to_talk(latents)
            latents = latents + self.talk(inner, inner)
        return latents + cast(Tensor, self.feed(latents))

    def weights(self, latents: Tensor, tokens: Tensor, real: Tensor | None) -> Tensor:
        """What each latent takes of each key, (b, heads, K, keys)."""
        return self.read.weights(*self._keys(latents, tokens, real))


class Resampler(nn.Module):
    """Learned latents read tokens in a few layers (Jaegle et al. 2021, Perceiver; Alayrac et al. 2022, Flamingo).

    The cost is O(K · t) for K latents and t tokens, where tokens that read each other cost O(t²).

    Args:
        width: of tokens and latents.
        latents: K.
        depth: layers.
        heads: of attention.
        self_attention: whether latents also read each other.
        own_keys: whether they are among their own keys, see `Layer`.
        masked: False leaves padding among the keys: a fault of public code, here for comparison.
    """

    def __init__(
        self,
        width: int,
        latents: int,
        depth: int,
        heads: int,
        self_attention: bool = False,
        own_keys: bool = False,
        masked: bool = True,
    ) -> None:
        super().__init__()
        self.masked = masked
        self.latents = nn.Parameter(LATENT_DEVIATION * torch.randn(latents, width))
        self.layers = nn.ModuleList(Layer(width, heads, self_attention, own_keys) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, real: Tensor | None = None) -> Tensor:
        """Any number of tokens → K vectors.

        Args:
            tokens: (b, t, w).
            real: (b, t) booleans, false on padding; None where all are real.

        Returns:
            (b, K, w), after a final LayerNorm.

        Raises:
            ValueError: a row of padding alone: there is nothing to read.
        """
        latents, real = self._start(tokens, real)
        for layer in self.layers:
            latents = layer(latents, tokens, real)
        return cast(Tensor, self.norm(latents))

    def weights(self, tokens: Tensor, real: Tensor | None = None) -> list[Tensor]:
        """Of each layer what each latent takes of each key, (b, heads, K, keys), summing to 1 over the keys."""
        latents, real = self._start(tokens, real)
        found = []
        for layer in self.layers:
            found.append(cast(Layer, layer).weights(latents, tokens, real))
            latents = layer(latents, tokens, real)
        return found

    def _start(self, tokens: Tensor, real: Tensor | None) -> tuple[Tensor, Tensor | None]:
        check_real(real)
        return self.latents.expand(len(tokens), -1, -1), real if self.masked else None


class MeanPool(nn.Module):
    """The mean of the real tokens as a single vector, after a LayerNorm: what a resampler is held against.

    Args:
        width: of tokens.
        feed: whether the mean m becomes m + FF(LN(m)), as a layer of a resampler ends: all of one but the reading.
    """

    def __init__(self, width: int, feed: bool = False) -> None:
        super().__init__()
        self.feed = feed_forward(width) if feed else None
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, real: Tensor | None = None) -> Tensor:
        """(b, t, w) and (b, t) booleans → (b, 1, w).

        Raises:
            ValueError: a row of padding alone.
        """
        check_real(real)
        share = torch.ones_like(tokens[:, :, :1]) if real is None else real[:, :, None].to(tokens.dtype)
        mean = (tokens * share).sum(dim=1, keepdim=True) / share.sum(dim=1, keepdim=True)
        return cast(Tensor, self.norm(mean if self.feed is None else mean + self.feed(mean)))


def check_real(real: Tensor | None) -> None:
    """ValueError where a row has no real token."""
    if real is not None and not bool((some := real.any(dim=1)).all()):
        raise ValueError(f"tokens: row {int(some.long().argmin())} is padding alone, expected at least one real token")
