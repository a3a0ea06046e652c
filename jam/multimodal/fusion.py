"""Parts of objectives in which one modality reads the other: matching and language, as BLIP has them.

Matching (ITM): does this text belong to this image? Language (LM): which word comes next, given the image? Both are
those of BLIP (Li et al. 2022, arXiv 2201.12086, section 3.2) in miniature: one small transformer each, on top of the
towers' last states or of word embeddings of its own, and thrown away afterwards. BLIP's share weights instead.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jam.encoders.pooling import pool

HEADS = 4


class Matching(nn.Module):
    """Each text state reads the image tokens, and their mean makes one logit.

    States are of a tower that has related words to one another, so the block has no attention among them.
    """

    def __init__(self, text_width: int, image_width: int) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(text_width), nn.LayerNorm(text_width)
        self.cross = nn.MultiheadAttention(text_width, HEADS, kdim=image_width, vdim=image_width, batch_first=True)
        self.inner = nn.Sequential(
            nn.Linear(text_width, 2 * text_width), nn.GELU(), nn.Linear(2 * text_width, text_width)
        )
        self.head = nn.Linear(text_width, 1)

    def forward(self, texts: Tensor, real: Tensor, images: Tensor) -> Tensor:
        """Logits (b,) that each text, states (b, n, d), belongs to each image, tokens (b, t, d′)."""
        states = texts + self.cross(self.before(texts), images, images, need_weights=False)[0]
        states = states + self.inner(self.between(states))
        logits: Tensor = self.head(pool(states, real, "mean")).squeeze(1)
        return logits


def matching_loss(
    matching: Matching,
    texts: Tensor,
    real: Tensor,
    images: Tensor,
    logits: Tensor,
    same: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """Binary cross-entropy of pairs and of hard negatives, in nats.

    Each image is shown a false text, and each text a false image, drawn by the softmax of its contrastive logits over
    those that are false of it (Li et al. 2021, ALBEF, arXiv 2107.07651, section 3.2).

    Args:
        matching: gives the logits.
        texts: (b, n, d) states of the texts.
        real: (b, n) which tokens are no padding.
        images: (b, t, d′) tokens of the images.
        logits: (b, b) contrastive logits, images in rows.
        same: (b, b) pairs of one caption, which is false of neither.
        generator: of the draws, on the CPU.
    """
    drawn = logits.detach().cpu()
    text_of, image_of = (hard_negatives(one, same.cpu(), generator) for one in (drawn, drawn.T))
    (with_text, text), (with_image, image) = text_of, image_of
    whole = torch.arange(len(texts))
    t, v = torch.cat([whole, text, with_image]), torch.cat([whole, with_text, image])
    labels = matching_labels(len(whole), len(t)).to(texts.device)
    return F.binary_cross_entropy_with_logits(matching(texts[t], real[t], images[v]), labels)


def matching_labels(true: int, count: int) -> Tensor:
    """1 of the first, which are pairs, and 0 of all others, (count,)."""
    return (torch.arange(count) < true).float()


def hard_negatives(logits: Tensor, same: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """For each row one column that is not the same, drawn by the softmax of its logits (b, b).

    Returns:
        Rows and their columns; rows of which all columns are the same are left out.
    """
    allowed = ~(same | torch.eye(len(logits), dtype=torch.bool))
    rows = torch.nonzero(allowed.any(dim=1)).squeeze(1)
    chances = logits.masked_fill(~allowed, -torch.inf)[rows].softmax(dim=1)
    return rows, torch.multinomial(chances, 1, generator=generator).squeeze(1)


class Language(nn.Module):
    """A causal decoder with cross-attention to image tokens; input and output embeddings are one matrix."""

    def __init__(self, words: int, longest: int, width: int, image_width: int) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(words, width), nn.Embedding(longest, width)
        for table in (self.words, self.places):
            nn.init.normal_(table.weight, std=width**-0.5)
        self.image = nn.Linear(image_width, width)
        self.decoder = nn.TransformerDecoderLayer(
            width, HEADS, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, images: Tensor) -> Tensor:
        """Logits (b, n, words) of the token after each of (b, n), given image tokens (b, t, d′)."""
        n = tokens.shape[1]
        states = self.words(tokens) + self.places(torch.arange(n, device=tokens.device))
        later = torch.ones(n, n, dtype=torch.bool, device=tokens.device).triu(1)
        decoded = self.decoder(states, self.image(images), tgt_mask=later)
        logits: Tensor = self.norm(decoded) @ self.words.weight.T
        return logits


def language_loss(language: Language, tokens: Tensor, real: Tensor, images: Tensor) -> Tensor:
    """Mean cross-entropy (nats) of each token given those before it and the image.

    Neither ``<bos>`` nor padding is guessed. Padding lies behind every real token, and attention is causal, so no real
    token sees it.
    """
    targets = real[:, 1:]
    logits = language(tokens[:, :-1], images)[targets]
    return F.cross_entropy(logits, tokens[:, 1:][targets])
