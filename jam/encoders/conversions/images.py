"""What the conversions of convnets share."""

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from jam.encoders.families import quiet
from jam.errors import InputError

RESAMPLING = {"bilinear": 2, "bicubic": 3}  # as PIL numbers them


def tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.pth``; InputError where it holds other objects, which are never unpickled."""
    try:
        weights: dict[str, Tensor] = torch.load(path, weights_only=True, map_location="cpu")
    except UnpicklingError as error:
        raise InputError(f"{path.name}: got pickled objects, expected tensors alone") from error
    return weights


def save_with(weights: dict[str, Tensor], model: PreTrainedModel, target: Path) -> None:
    """Write ``model`` with all of ``weights`` and no other; RuntimeError where one is missing or too many."""
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
