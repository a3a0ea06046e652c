"""Towers: an encoder of one modality, and the linear projection of its pooled last state into the shared space."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jam.encoders.pooling import pool
from jam.pretrain.masked import masked_model
from jam.pretrain.vision import GROUP_WIDTH

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PATCH = 8  # pixels each way, of a ViT
EXPANSION = 2  # width of the feed-forward layers over that of the states
TOGETHER = 32  # texts that go through the tower in one pass, those of about equal length


class Seen(NamedTuple):
    """What a tower makes of b items.

    Attributes:
        tokens: (b, t, d) last states of all tokens, patches or positions of the last map; zero on padding.
        vector: (b, latent) in the shared space, not normalised.
    """

    tokens: Tensor
    vector: Tensor


class ImageTower(nn.Module):
    """A ViT or RegNet over pixels (b, 3, h, w) in [−1, 1], mean-pooled over patches or positions."""

    def __init__(self, model: Any, width: int, latent: int) -> None:
        super().__init__()
        self.model, self.width = model, width
        self.projection = projection(width, latent)

    def forward(self, pixels: Tensor) -> Seen:
        """States of patches or positions, and vectors."""
        states = self.model(pixel_values=pixels).last_hidden_state
        if states.dim() == 4:
            tokens = states.flatten(2).transpose(1, 2)
        else:
            tokens = states[:, 1:]  # without CLS, which no loss is put on
        return Seen(tokens, self.projection(tokens.mean(dim=1)))


class TextTower(nn.Module):
    """A ModernBERT over right-padded tokens (b, n), mean-pooled over those that are real."""

    def __init__(self, model: Any, width: int, latent: int) -> None:
        super().__init__()
        self.model, self.width = model, width
        self.projection = projection(width, latent)

    def forward(self, tokens: Tensor, real: Tensor) -> Seen:
        """States of tokens, and vectors; which are ``real`` is (b, n)."""
        lengths = real.sum(dim=1)
        order = lengths.argsort(stable=True)
        states, pooled = [], []
        for rows in order.split(TOGETHER):
            longest = int(lengths[rows].max())
            batch, mask = tokens[rows, :longest], real[rows, :longest]
            state = self.model(input_ids=batch, attention_mask=mask.long()).last_hidden_state
            pooled.append(pool(state, mask, "mean"))
            states.append(F.pad(state * mask.unsqueeze(-1), (0, 0, 0, tokens.shape[1] - longest)))
        back = order.argsort()
        return Seen(torch.cat(states)[back], self.projection(torch.cat(pooled)[back]))


def projection(width: int, latent: int) -> nn.Linear:
    """Into the shared space, without a bias; initialised as CLIP's, with standard deviation width^−½."""
    linear = nn.Linear(width, latent, bias=False)
    nn.init.normal_(linear.weight, std=width**-0.5)
    return linear


def image_model(size: Sequence[int], options: Mapping[str, Any]) -> tuple[Any, int]:
    """A new image encoder of random weights for images of a size (h, w), and the width of its last states.

    ``options`` are those of `jam.params.multimodal.ImageTower`.
    """
    if options["architecture"] == "vit":
        return vit(size, options["width"], options["layers"], options["heads"]), options["width"]
    from transformers import RegNetConfig, RegNetModel

    widths, depths = list(options["widths"]), list(options["depths"])
    config = RegNetConfig(
        embedding_size=widths[0],
        hidden_sizes=widths,
        depths=depths,
        groups_width=GROUP_WIDTH,
        layer_type="y",
        downsample_in_first_stage=False,
    )
    return cast(Any, RegNetModel(config)), widths[-1]


def vit(size: Sequence[int], width: int, layers: int, heads: int) -> Any:
    """A new ViT (Dosovitskiy et al. 2021, arXiv 2010.11929) on patches of `PATCH` pixels each way."""
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(
        image_size=list(size),
        patch_size=PATCH,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=EXPANSION * width,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=width**-0.5,  # as of the text encoders: 0.02 is for wide models
    )
    return ViTModel(config, add_pooling_layer=False)


def text_model(tokenizer: "PreTrainedTokenizerFast", options: Mapping[str, Any]) -> Any:
    """A new ModernBERT with its head of masked words, whose ``model`` is the encoder alone."""
    width = options["width"]
    return masked_model(tokenizer, width, options["layers"], options["heads"], EXPANSION * width)


def image_processor(size: Sequence[int]) -> Any:
    """Images to pixels in [−1, 1], as `jam.multimodal.pairs.scaled` does."""
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    height, width = size
    return ViTImageProcessorPil(
        size={"height": height, "width": width}, image_mean=[0.5] * 3, image_std=[0.5] * 3, do_convert_rgb=True
    )
