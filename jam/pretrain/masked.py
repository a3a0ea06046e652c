"""Masked language modelling: words that were left out are guessed from what stands on both sides of them.

The objective is that of BERT (Devlin et al. 2019, arXiv 1810.04805), without its second one, next-sentence prediction.
The network is ModernBERT (Warner et al. 2024, arXiv 2412.13663): normalised before each block as GPT-2 is, so that few
steps suffice, and with rotary positions, so that a sentence reads alike wherever in its document it stands.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from jam.encoders.token_loss import IGNORED

if TYPE_CHECKING:
    from transformers import ModernBertForMaskedLM, PreTrainedTokenizerFast

MASKED = 0.25  # share of the words to guess; more than BERT's 0.15, as Wettig et al. 2023 advise (arXiv 2202.08005)
HIDDEN, REPLACED = 0.8, 0.1  # of these, share that <mask> stands for, and share that another word does; else unchanged


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
