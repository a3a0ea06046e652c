"""Masked language modelling: words that were left out are guessed from what stands on both sides of them.

The objective is that of BERT (Devlin et al. 2019, arXiv 1810.04805), without its second one, next-sentence prediction.
The network is ModernBERT (Warner et al. 2024, arXiv 2412.13663): normalised before each block as GPT-2 is, so that few
steps suffice, and with rotary positions, so that a sentence reads alike wherever in its document it stands.
"""

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from transformers import ModernBertForMaskedLM, PreTrainedTokenizerFast

MASKED = 0.25  # share of the words to guess; more than BERT's 0.15, as Wettig et al. 2023 advise (arXiv 2202.08005)
HIDDEN, REPLACED = 0.8, 0.1  # of these, share that <mask> stands for, and share that another word does; else unchanged
IGNORED = -100  # target of a token that is not to be guessed


def masked_model(
    tokenizer: "PreTrainedTokenizerFast", width: int, layers: int, heads: int, inner: int
) -> "ModernBertForMaskedLM":
    """A new ModernBERT of random weights; ``inner`` is the width of its feed-forward layers."""
    from transformers import ModernBertConfig, ModernBertForMaskedLM

    rotary = {"rope_type": "default", "rope_theta": 10_000.0}
    return ModernBertForMaskedLM(
        ModernBertConfig(
            vocab_size=len(tokenizer),
            max_position_embeddings=tokenizer.model_max_length,
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            intermediate_size=inner,
            layer_types=["full_attention"] * layers,  # texts are short: every token may look at every other
            rope_parameters={"full_attention": rotary, "sliding_attention": rotary},
            initializer_range=width**-0.5,  # as of the causal model
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            cls_token_id=tokenizer.bos_token_id,
            sep_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def mask_tokens(
    batch: Tensor, tokenizer: "PreTrainedTokenizerFast", generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Leave words out of a padded batch (b, n), other ones at each call.

    Returns:
        What the model sees, (b, n), and what it has to guess, (b, n): the word that was there, else ``IGNORED``.
        Padding and the marks of begin and end stay as they are.
    """
    special = torch.tensor(tokenizer.all_special_ids)
    chance, fate = torch.rand(2, *batch.shape, generator=generator)
    chosen = (chance < MASKED) & ~torch.isin(batch, special)
    words = torch.randint(len(special), len(tokenizer), batch.shape, generator=generator)  # special tokens come first
    seen = torch.where(fate < HIDDEN, tokenizer.mask_token_id, torch.where(fate < HIDDEN + REPLACED, words, batch))
    return torch.where(chosen, seen, batch), torch.where(chosen, batch, IGNORED)


def masked_token_loss(model: "ModernBertForMaskedLM", inputs: Tensor, targets: Tensor, pad: int) -> tuple[Tensor, int]:
    """Sum of the cross-entropies (nats) of the tokens to guess, and of how many; both (b, n) as of `mask_tokens`."""
    logits = model(input_ids=inputs, attention_mask=(inputs != pad).long()).logits
    loss = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED, reduction="sum")
    return loss, int((targets != IGNORED).sum())


def leave_one_out_loss(
    model: "ModernBertForMaskedLM", ids: list[int], tokenizer: "PreTrainedTokenizerFast"
) -> tuple[Tensor, int]:
    """Pseudo-log-likelihood of one text with its signs turned (Salazar et al. 2020, arXiv 1910.14659), in nats.

    Each token between ``<bos>`` and ``<eos>`` is masked in turn and guessed from all the others; their sum and number.
    """
    inner = torch.arange(1, len(ids) - 1)
    copies = torch.tensor(ids).repeat(len(inner), 1)  # one for each token
    targets = torch.full_like(copies, IGNORED)
    turn = torch.arange(len(inner))
    targets[turn, inner] = copies[turn, inner]
    copies[turn, inner] = tokenizer.mask_token_id
    return masked_token_loss(model, copies, targets, tokenizer.pad_token_id)
