"""torchvision's MobileNetV2 as that of transformers: the same network, by other names.

https://docs.pytorch.org/vision/stable/models/generated/torchvision.models.mobilenet_v2.html
"""

import re
from pathlib import Path

from transformers import MobileNetV2Config, MobileNetV2ForImageClassification
from transformers.models.mobilenet_v2.image_processing_pil_mobilenet_v2 import MobileNetV2ImageProcessorPil

from jam.encoders.conversions.images import processor, save_with, tensors

SCALED, SIDE = 256, 224
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]  # of ImageNet

# Where each part of torchvision's lies, by what follows ``features``; the first block has no expansion.
PARTS = (
    (r"0\.(0|1)", "conv_stem.first_conv", 0),
    (r"1\.conv\.0\.(0|1)", "conv_stem.conv_3x3", 0),
    (r"1\.conv\.(1|2)", "conv_stem.reduce_1x1", 1),
    (r"(?P<block>\d+)\.conv\.0\.(0|1)", "layer.{}.expand_1x1", 0),
    (r"(?P<block>\d+)\.conv\.1\.(0|1)", "layer.{}.conv_3x3", 0),
    (r"(?P<block>\d+)\.conv\.(2|3)", "layer.{}.reduce_1x1", 2),
    (r"18\.(0|1)", "conv_1x1", 0),
)


def convert(source: Path, target: Path) -> None:
    """Convert the one file ``….pth``: its numbers unchanged, its logits within rounding."""
    [path] = source.glob("*.pth")
    weights = tensors(path)
    config = MobileNetV2Config(tf_padding=False, layer_norm_eps=1e-5)
    config.num_labels = len(weights["classifier.1.weight"])
    model = MobileNetV2ForImageClassification(config)
    save_with({_renamed(name): weight for name, weight in weights.items()}, model, target)
    processor(MobileNetV2ImageProcessorPil, SCALED, SIDE, "bilinear", MEAN, STD).save_pretrained(target)


def _renamed(name: str) -> str:
    """The name of a weight in transformers."""
    where, kind = name.rsplit(".", 1)
    if where == "classifier.1":
        return f"classifier.{kind}"
    for pattern, part, first in PARTS:
        if found := re.fullmatch(rf"features\.{pattern}", where):
            block = int(found.groupdict().get("block", 2)) - 2  # blocks 0 and 1 are the stem there
            convolves = int(where.rsplit(".", 1)[1]) == first
            return f"mobilenet_v2.{part.format(block)}.{'convolution' if convolves else 'normalization'}.{kind}"
    return name  # unknown: refused when it is loaded
