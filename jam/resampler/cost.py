"""What reading an item costs."""

from jam.align.resampler import Layer, MeanPool, Resampler
from jam.align.token_adapter import TokenAdapter


def multiply_adds(adapter: TokenAdapter, tokens: float) -> float:
    """Multiplications of matrix products with which an adapter reads an item of so many tokens.

    Those of a `Resampler` grow by K · t with the tokens, and never by t².
    """
    d, w = adapter.config["d_in"], adapter.config["width"]
    total = tokens * d * w
    if adapter.config["kind"] == "token_mlp":
        hidden = adapter.config["hidden"] or 2 * d
        total = tokens * (d * d + d * hidden + hidden * w)
    reducer = adapter.reducer
    if isinstance(reducer, Resampler):
        latents = len(reducer.latents)
        for layer in reducer.layers:
            assert isinstance(layer, Layer)
            keys = tokens + latents if layer.own_keys else tokens
            total += 2 * latents * w * w + 2 * keys * w * w + 2 * latents * keys * w
            total += 4 * latents * w * w + 2 * latents * latents * w if layer.talk is not None else 0
            total += 4 * latents * w * w
    if isinstance(reducer, MeanPool) and reducer.feed is not None:
        total += 4 * w * w
    return total + w * adapter.config["d_latent"]
