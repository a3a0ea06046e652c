"""Pairs as trainings want them: pixels, tokens of captions, and which caption goes with which image."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from jam.data.images import decode_image
from jam.data.schema import read_table
from jam.encoders.token_loss import padded
from jam.errors import InputError
from jam.pretrain.text import word_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True)
class Batch:
    """Some pairs.

    Attributes:
        pixels: (b, 3, h, w) in [−1, 1].
        tokens: (b, n) right-padded, framed by ``<bos>`` and ``<eos>``.
        real: (b, n) which of them are no padding.
        same: (b, b) whether two pairs have one and the same caption, so that either is true of both images.
    """

    pixels: Tensor
    tokens: Tensor
    real: Tensor
    same: Tensor


class Pairs:
    """Pairs in memory.

    Attributes:
        pixels: (n, 3, h, w) uint8.
        tokenizer: of the words of these captions.
        source: (n,) the row whose captions go with each image: its own, unless they are wrong.
    """

    def __init__(self, path: str | Path, count: int, wrong: float, rng: np.random.Generator) -> None:
        """Read the first ``count`` pairs of a table; of the share ``wrong`` the captions are another pair's.

        Raises:
            InputError: fewer pairs, one without image or caption, what is no list of sentences, or images of different
                sizes.
        """
        rows = read_table(path, ["id", "image", "captions"]).slice(0, count).to_pylist()
        if len(rows) < count:
            raise InputError(f"{path}: got {len(rows)} pairs, expected {count} to pretrain on")
        for row in rows:
            if not row["image"] or not row["captions"]:
                raise InputError(f"{path}: {row['id']}: expected an image and a caption in every row to pretrain on")
            told = row["captions"]
            if not isinstance(told, list) or not all(isinstance(text, str) and text.strip() for text in told):
                raise InputError(f"{path}: {row['id']}: got captions {told!r}, expected a list of sentences")
        pixels = [_pixels(path, row) for row in rows]
        if len(sizes := {image.shape for image in pixels}) > 1:
            raise InputError(f"{path}: got images of the shapes {sorted(sizes)}, expected one")
        self.pixels = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()
        self.captions: list[list[str]] = [row["captions"] for row in rows]
        texts = [text for own in self.captions for text in own]
        self.tokenizer: PreTrainedTokenizerFast = word_tokenizer(texts, mask=True)
        self._tokens = dict(zip(texts, self.tokenizer(texts)["input_ids"], strict=True))
        self.source = wrong_sources(count, wrong, rng)

    def __len__(self) -> int:
        return len(self.captions)

    def batch(self, rows: Sequence[int] | np.ndarray, rng: np.random.Generator) -> Batch:
        """The pairs of some rows, of each one of its captions."""
        told = [self.captions[self.source[row]] for row in rows]
        texts = [own[int(rng.integers(len(own)))] for own in told]
        tokens = padded([self._tokens[text] for text in texts], self.tokenizer.pad_token_id)
        _, group = np.unique(texts, return_inverse=True)
        return Batch(
            scaled(self.pixels[torch.as_tensor(rows)]),
            tokens,
            tokens != self.tokenizer.pad_token_id,
            torch.from_numpy(group[:, None] == group),
        )


def _pixels(path: str | Path, row: dict[str, Any]) -> np.ndarray:
    if not isinstance(row["image"], dict) or not row["image"].get("bytes"):
        raise InputError(f"{path}: {row['id']}: got no bytes of an image, expected a column of `datasets.Image`")
    try:
        return np.asarray(decode_image(row["image"]["bytes"]))
    except InputError as error:
        raise InputError(f"{path}: {row['id']}: {error}") from error


def scaled(pixels: Tensor) -> Tensor:
    """(b, 3, h, w) uint8 → float32 in [−1, 1], as the image processor of the tower does."""
    return (pixels.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def wrong_sources(count: int, wrong: float, rng: np.random.Generator) -> np.ndarray:
    """The row that each row has its captions of, (n,): another one for exactly round(``wrong`` · n), else itself.

    Those chosen exchange captions among themselves in one cycle, so that every caption still occurs once. They stay
    wrong over the whole training, as in ALIGN's uncurated pairs (Jia et al. 2021, arXiv 2102.05918, section 3). That a
    caption happens to be true of its new image, too, is not ruled out.

    Raises:
        ValueError: no share from 0 to 1, or exactly one is to be wrong, which has nobody to exchange with.
    """
    if not 0 <= wrong <= 1:
        raise ValueError(f"wrong: got {wrong}, expected a share from 0 to 1")
    chosen = rng.permutation(count)[: round(wrong * count)]
    if len(chosen) == 1:
        raise ValueError(f"wrong: got {wrong}, one of {count} pairs; expected none or at least two, as they exchange")
    source = np.arange(count)
    source[chosen] = np.roll(chosen, 1)
    return source
