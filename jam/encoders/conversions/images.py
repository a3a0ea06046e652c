"""What the conversions of convnets share."""

from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from jam.encoders.families import quiet

RESAMPLING = {"bilinear": 2, "bicubic": 3}  # as PIL numbers them


def load_strictly(model: PreTrainedModel, weights: dict[str, Tensor], target: Path) -> None:
    """Write ``model`` with ``weights``, every one of them and no other."""
    model.load_state_dict(weights, strict=True)
    with quiet():
        model.save_pretrained(target)


def processor(kind: Any, scaled: int, side: int, resampling: str, mean: list[float], std: list[float]) -> Any:
    """An image processor of torchvision's manner: shorter edge to ``scaled``, the middle ``side`` × ``side``."""
    return kind(
        size={"shortest_edge": scaled},
        crop_size={"height": side, "width": side},
        resample=RESAMPLING[resampling],
        image_mean=mean,
        image_std=std,
    )
