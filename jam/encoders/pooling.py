"""From the states of tokens or positions to one vector per item."""

import torch
from torch import Tensor

from jam.encoders.manifest import Pooling


def pool(states: Tensor, mask: Tensor | None, pooling: Pooling, marks: int = 0) -> Tensor:
    """Pool one layer's states, in float32 whatever their precision.

    Args:
        states: (b, n, d) states of tokens or patches, or (b, d, h, w) feature maps of a convnet.
        mask: (b, n), true on real tokens and false on padding, on whichever side; None where all are real.
        pooling: ``mean`` over real tokens or positions, ``cls`` the first real token, ``last`` the last real token.
        marks: tokens before the patches of an image, which ``mean`` leaves out.

    Returns:
        (b, d) float32. Padding never reaches it, not even a NaN there.

    Raises:
        ValueError: bad shapes, an item without a real token, or ``cls``/``last`` of a feature map.
    """
    states = states.float()
    if states.dim() == 4:
        if pooling != "mean":
            raise ValueError(f"pooling: got {pooling!r} for feature maps {tuple(states.shape)}, expected 'mean'")
        return states.mean(dim=(2, 3))
    if states.dim() != 3 or (mask is not None and mask.shape != states.shape[:2]):
        got = f"states {tuple(states.shape)}, mask {None if mask is None else tuple(mask.shape)}"
        raise ValueError(f"pooling: got {got}; expected states (b, n, d) or (b, d, h, w), mask (b, n)")
    real = torch.ones(states.shape[:2], device=states.device) if mask is None else mask.to(states)
    if not bool(real.any(dim=1).all()):
        raise ValueError("pooling: got an item without a real token, expected at least one each")
    if pooling == "mean":
        states, real, mask = states[:, marks:], real[:, marks:], None if mask is None else mask[:, marks:]
        kept = states if mask is None else states.masked_fill(real.unsqueeze(-1) == 0, 0.0)
        return kept.sum(dim=1) / real.sum(dim=1, keepdim=True)
    # Weights that rise (fall) along the sequence are largest at the last (first) real token, without ties.
    rising = torch.arange(1, states.shape[1] + 1, device=states.device)
    position = (real * (rising if pooling == "last" else rising.flip(0))).argmax(dim=1)
    return states[torch.arange(len(states), device=states.device), position]
