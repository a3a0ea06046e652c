"""EfficientNet-Lite and torchvision's MobileNetV2, written plainly: weights and pixels give logits.

Batch norm, ReLU6 and padding are spelled out; no line is shared with transformers or with the conversions.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

Weights = dict[str, Tensor]
Shapes = dict[str, tuple[int, ...]]


def norm(x: Tensor, weights: Weights, name: str, eps: float) -> Tensor:
    mean, variance, scale, shift = (
        weights[f"{name}.{kind}"][:, None, None] for kind in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (variance + eps).sqrt() * scale + shift


def relu6(x: Tensor) -> Tensor:
    return x.clamp(0, 6)


def same(x: Tensor, weight: Tensor, stride: int = 1, groups: int = 1) -> Tensor:
    """TensorFlow's padding "same": the larger half of it right and below."""
    total = [max((-(-size // stride) - 1) * stride + weight.shape[-1] - size, 0) for size in x.shape[2:]]
    down, right = total
    x = F.pad(x, (right // 2, right - right // 2, down // 2, down - down // 2))
    return F.conv2d(x, weight, stride=stride, groups=groups)


def lite_strides(repeats: tuple[int, ...]) -> list[int]:
    stages = zip((1, 2, 2, 2, 1, 2, 1), repeats, strict=True)
    return [stride if i == 0 else 1 for stride, count in stages for i in range(count)]


def efficientnet_lite(weights: Weights, x: Tensor, repeats: tuple[int, ...]) -> Tensor:
    x = relu6(norm(same(x, weights["_conv_stem.weight"], 2), weights, "_bn0", 1e-3))
    for number, stride in enumerate(lite_strides(repeats)):
        name, before = f"_blocks.{number}", x
        if f"{name}._expand_conv.weight" in weights:
            x = relu6(norm(same(x, weights[f"{name}._expand_conv.weight"]), weights, f"{name}._bn0", 1e-3))
        x = same(x, weights[f"{name}._depthwise_conv.weight"], stride, groups=x.shape[1])
        x = relu6(norm(x, weights, f"{name}._bn1", 1e-3))
        x = norm(same(x, weights[f"{name}._project_conv.weight"]), weights, f"{name}._bn2", 1e-3)
        if stride == 1 and x.shape == before.shape:
            x = x + before
    x = relu6(norm(same(x, weights["_conv_head.weight"]), weights, "_bn1", 1e-3))
    return F.linear(x.mean((2, 3)), weights["_fc.weight"], weights["_fc.bias"])


def mobilenet_strides() -> list[int]:
    stages = zip((1, 2, 2, 2, 1, 2, 1), (1, 2, 3, 4, 3, 3, 1), strict=True)
    return [stride if i == 0 else 1 for stride, count in stages for i in range(count)]


def mobilenet_v2(weights: Weights, x: Tensor) -> Tensor:
    def layer(x: Tensor, convolution: str, normalised: str, stride: int = 1, groups: int = 1) -> Tensor:
        weight = weights[f"{convolution}.weight"]
        x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2, groups=groups)
        return norm(x, weights, normalised, 1e-5)

    x = relu6(layer(x, "features.0.0", "features.0.1", 2))
    for number, stride in enumerate(mobilenet_strides(), start=1):
        name, before, part = f"features.{number}.conv", x, 0
        if number > 1:
            x, part = relu6(layer(x, f"{name}.0.0", f"{name}.0.1")), 1
        x = relu6(layer(x, f"{name}.{part}.0", f"{name}.{part}.1", stride, groups=x.shape[1]))
        x = layer(x, f"{name}.{part + 1}", f"{name}.{part + 2}")
        if stride == 1 and x.shape == before.shape:
            x = x + before
    x = relu6(layer(x, "features.18.0", "features.18.1"))
    return F.linear(x.mean((2, 3)), weights["classifier.1.weight"], weights["classifier.1.bias"])


def drawn(shapes: Shapes, norms: dict[str, int]) -> Weights:
    """Random weights that keep the states of order one, and running statistics far from none."""
    torch.manual_seed(0)
    weights = {name: torch.randn(shape) / math.prod(shape[1:]) ** 0.5 for name, shape in shapes.items()}
    for name, width in norms.items():
        weights |= {f"{name}.weight": 1 + torch.rand(width), f"{name}.bias": torch.randn(width)}
        weights |= {f"{name}.running_mean": torch.randn(width) / 4, f"{name}.running_var": 0.5 + torch.rand(width)}
        weights[f"{name}.num_batches_tracked"] = torch.tensor(7)
    return weights


def random_lite(repeats: tuple[int, ...], outs: tuple[int, ...] = (8, 16, 24, 32, 40, 48, 56)) -> Weights:
    """Weights of a narrow Lite, of the package's names; stem and head are of the full width."""
    kernels = (3, 3, 5, 3, 5, 5, 3)
    shapes: Shapes = {"_conv_stem.weight": (32, 3, 3, 3), "_conv_head.weight": (1280, outs[-1], 1, 1)}
    norms, width, number = {"_bn0": 32, "_bn1": 1280}, 32, 0
    for stage, count in enumerate(repeats):
        for _ in range(count):
            name, wide = f"_blocks.{number}", width * (6 if stage else 1)
            if stage:
                shapes[f"{name}._expand_conv.weight"] = (wide, width, 1, 1)
                norms[f"{name}._bn0"] = wide
            shapes[f"{name}._depthwise_conv.weight"] = (wide, 1, kernels[stage], kernels[stage])
            shapes[f"{name}._project_conv.weight"] = (outs[stage], wide, 1, 1)
            norms |= {f"{name}._bn1": wide, f"{name}._bn2": outs[stage]}
            width, number = outs[stage], number + 1
    return drawn(shapes | {"_fc.weight": (5, 1280), "_fc.bias": (5,)}, norms)


def random_mobilenet() -> Weights:
    """Weights of torchvision's names and widths, for five classes."""
    shapes: Shapes = {
        "features.0.0.weight": (32, 3, 3, 3),
        "features.18.0.weight": (1280, 320, 1, 1),
    }
    norms, width, number = {"features.0.1": 32, "features.18.1": 1280}, 32, 1
    for out, count in zip((16, 24, 32, 64, 96, 160, 320), (1, 2, 3, 4, 3, 3, 1), strict=True):
        for _ in range(count):
            name, wide, part = f"features.{number}.conv", width, 0
            if number > 1:
                wide, part = 6 * width, 1
                shapes[f"{name}.0.0.weight"] = (wide, width, 1, 1)
                norms[f"{name}.0.1"] = wide
            shapes |= {f"{name}.{part}.0.weight": (wide, 1, 3, 3), f"{name}.{part + 1}.weight": (out, wide, 1, 1)}
            norms |= {f"{name}.{part}.1": wide, f"{name}.{part + 2}": out}
            width, number = out, number + 1
    return drawn(shapes | {"classifier.1.weight": (5, 1280), "classifier.1.bias": (5,)}, norms)
