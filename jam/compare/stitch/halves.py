"""An image tower cut in two: what it makes of images up to a layer, and what it makes of such states from there on."""

from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional

from jam.encoders import Encoder
from jam.encoders.families import marks_of
from jam.encoders.pooling import pool
from jam.errors import InputError

ARCHITECTURES = ("vit", "regnet")


def layers_of(encoder: Encoder) -> int:
    """The number of its last layer of tokens or positions; the shared space of a tower comes after it.

    Raises:
        InputError: it is no image encoder of an architecture that can be cut.
    """
    kind = encoder.model.config.model_type
    if kind not in ARCHITECTURES:
        raise InputError(
            f"{encoder.manifest.id}: got {kind}, expected an image encoder of {' or '.join(ARCHITECTURES)}"
        )
    return len(encoder.dims) - 1 - (encoder.projection is not None)


@torch.inference_mode()
def bottoms(encoder: Encoder, inputs: dict[str, Tensor]) -> list[Tensor]:
    """States of every layer, 0 … `layers_of`: tokens (b, t, d) of a ViT, maps (b, d, h, w) of a convnet.

    Args:
        encoder: see `layers_of`.
        inputs: what `Encoder.prepare` gave.
    """
    output = encoder.model(pixel_values=inputs["pixel_values"].to(encoder.model.device), output_hidden_states=True)
    return [*output.hidden_states[:-1], output.last_hidden_state]


def top(encoder: Encoder, states: Tensor, layer: int) -> Tensor:
    """The rest of the encoder from states of a layer: its last vector (b, d), of the shared space where it has one.

    ``top(encoder, bottoms(encoder, inputs)[layer], layer)`` is what the whole encoder gives; gradients reach states.
    """
    model, last = cast(Any, encoder.model), layers_of(encoder)
    if model.config.model_type == "vit":
        if layer < last:
            for block in model.layers[layer:]:
                states = block(states, None)
            states = model.layernorm(states)
    else:
        for stage in model.encoder.stages[layer:]:
            states = stage(states)
    pooled = pool(states, None, encoder.manifest.pooling, marks_of(model.config))
    return pooled if encoder.projection is None else encoder.projection(None, pooled)


def rows_of(states: Tensor) -> Tensor:
    """(b, t, d) tokens, or (b, d, h, w) maps, as rows (b · t, d): what a map acts on, one by one."""
    if states.dim() == 4:
        states = states.flatten(2).transpose(1, 2)
    return states.reshape(-1, states.shape[-1])


def like(rows: Tensor, states: Tensor) -> Tensor:
    """Inverse of `rows_of`: rows (b · t, d') laid out as such states are, of another width perhaps."""
    if states.dim() == 4:
        b, _, h, w = states.shape
        return rows.view(b, h * w, -1).transpose(1, 2).unflatten(2, (h, w))
    return rows.view(*states.shape[:2], -1)


def fitted_to(states: Tensor, other: Tensor) -> Tensor:
    """States at the places of another layer's: maps are resampled to its grid, the nearest value taken.

    Raises:
        ValueError: tokens and maps, or other numbers of tokens.
    """
    if states.dim() == other.dim() == 4:
        return functional.interpolate(states, size=other.shape[2:], mode="nearest")
    if states.dim() != other.dim() or states.shape[1] != other.shape[1]:
        raise ValueError(
            f"states: got {tuple(states.shape)} and {tuple(other.shape)}, expected tokens at the same places"
        )
    return states
