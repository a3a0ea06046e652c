"""The random twin of a model: the same architecture before any training, a baseline for what training brings."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
DEVIATION, NOTHING = 0.02, 1e-6
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def random_twin(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """A new model of the class and the configuration of ``model``, its weights drawn from ``seed``.

    They are drawn on the CPU in float32, as transformers initialises that architecture, with three exceptions:

    - Convolutions of a network with batch norms are drawn as of He et al. 2015 (arXiv 1502.01852). Batch norms that
      never saw a batch do nothing, and with the initialisations of transformers (EfficientNet: all weights, those of
      the batch norms too, of deviation 0.02) nothing of the image would reach the last layers.
    - Where the configuration says a deviation of nothing (BLIP: 1e-10), 0.02 takes its place, as in its kin.
    - A weight that is one number throughout in ``model`` is no trained one, and stays: the open gates of an
      EfficientNet-Lite, the positions of a bag of words.

    Args:
        model: trained; it is left as it is.
        seed: same seed, same bytes, with one version of torch and transformers.

    Returns:
        The twin, on the CPU, in evaluation mode. The state of the random number generator is as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = copy.deepcopy(model.config)
        if getattr(config, "initializer_range", DEVIATION) < NOTHING:
            config.initializer_range = DEVIATION
        twin: PreTrainedModel = type(model)(config)
        layers = list(twin.modules())
        if any(isinstance(layer, BATCH_NORMS) for layer in layers):
            for layer in layers:
                if isinstance(layer, CONVOLUTIONS):
                    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                    if layer.bias is not None:
                        nn.init.zeros_(layer.bias)
                elif isinstance(layer, BATCH_NORMS):
                    layer.reset_parameters()  # scale 1, shift 0, mean 0, variance 1
    trained = dict(model.named_parameters())
    with torch.no_grad():
        for name, weight in twin.named_parameters():
            if (value := trained[name]).numel() > 1 and bool((value == value.flatten()[0]).all()):
                weight.copy_(value)
    return twin.eval()
