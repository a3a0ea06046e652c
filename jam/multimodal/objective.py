"""Objectives on pairs, composed of parts whose losses are added: which model is "like" which."""

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from jam.encoders.token_loss import masked_token_loss
from jam.losses.con import contrastive_loss
from jam.losses.shared.inputs import normalised
from jam.multimodal.fusion import Language, Matching, language_loss, matching_loss
from jam.multimodal.pairs import Batch
from jam.multimodal.patches import PATCH, mask_patches, patch_loss
from jam.multimodal.towers import ImageTower, TextTower
from jam.pretrain.masked import mask_tokens

if TYPE_CHECKING:
    from transformers import ModernBertForMaskedLM, PreTrainedTokenizerFast

PARTS = {
    "clip": ("itc",),  # Radford et al. 2021, arXiv 2103.00020
    "align": ("itc",),  # Jia et al. 2021, arXiv 2102.05918: the same, on captions of which some are wrong
    "blip": ("itc", "itm", "lm"),  # Li et al. 2022, arXiv 2201.12086
    "flava": ("itc", "mlm", "mim"),  # Singh et al. 2022, arXiv 2112.04482, without its multimodal encoder
}
TEMPERATURE, COLDEST = 0.07, 0.01  # CLIP's, at first and at least


class Objective(nn.Module):
    """Towers and what is trained beside them and thrown away: temperature and heads.

    Args:
        name: one of `PARTS`.
        image: its tower.
        text: its tower.
        words: the text tower's encoder with its head of masked words.
        tokenizer: of the texts.
        generator: of what is masked and of negatives, on the CPU, so that draws are the same on every device.
    """

    def __init__(
        self,
        name: str,
        image: ImageTower,
        text: TextTower,
        words: "ModernBertForMaskedLM",
        tokenizer: "PreTrainedTokenizerFast",
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.parts, self.tokenizer, self.generator = PARTS[name], tokenizer, generator
        self.towers = nn.ModuleDict({"image": image, "text": text})
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / TEMPERATURE)))
        heads: dict[str, Any] = {}
        if "itm" in self.parts:
            heads["itm"] = Matching(text.width, image.width)
        if "lm" in self.parts:
            heads["lm"] = Language(len(tokenizer), tokenizer.model_max_length, text.width, image.width)
        if "mlm" in self.parts:
            heads["mlm"] = words
        if "mim" in self.parts:
            heads["mim"] = nn.Linear(image.width, 3 * PATCH**2)
        self.heads: Any = nn.ModuleDict(heads)

    @property
    def scale(self) -> Tensor:
        """1 / temperature."""
        return self.log_scale.exp().clamp(max=1 / COLDEST)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Loss of each part, in nats (of masked patches: squared standard deviations).

        Language, masked words and masked patches are of the first half of the batch, which is in random order: they
        cost as much as all else.
        """
        images, texts = self.towers["image"](batch.pixels), self.towers["text"](batch.tokens, batch.real)
        found = {"itc": contrastive_loss(images.vector, texts.vector, self.scale, batch.same)}
        half = slice(0, (len(batch.tokens) + 1) // 2)
        tokens, pixels = batch.tokens[half], batch.pixels[half]
        if "itm" in self.heads:
            v, t = normalised(images.vector, texts.vector)
            given = (texts.tokens, batch.real, images.tokens, self.scale * v @ t.T, batch.same)
            found["itm"] = matching_loss(self.heads["itm"], *given, self.generator)
        if "lm" in self.heads:
            found["lm"] = language_loss(self.heads["lm"], tokens, batch.real[half], images.tokens[half])
        if "mlm" in self.heads:
            drawn = mask_tokens(tokens.cpu(), self.tokenizer, self.generator)
            seen, targets = (each.to(tokens.device) for each in drawn)
            loss, count = masked_token_loss(self.heads["mlm"], seen, targets, self.tokenizer.pad_token_id)
            found["mlm"] = loss / max(count, 1)
        if "mim" in self.heads:
            grey, masked = mask_patches(pixels, self.generator)
            found["mim"] = patch_loss(self.heads["mim"], self.towers["image"](grey).tokens, pixels, masked)
        return found
