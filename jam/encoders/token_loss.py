"""What language models are trained and judged by: cross-entropies of the tokens that they guess."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from transformers import GPT2LMHeadModel, ModernBertForMaskedLM, PreTrainedTokenizerFast

IGNORED = -100  # target of a token that is not to be guessed


def next_token_loss(model: "GPT2LMHeadModel", batch: Tensor, pad: int) -> tuple[Tensor, int]:
    """Sum of the next-token cross-entropies (nats) of a right-padded batch (b, n), and of how many tokens.

    Padding is neither predicted nor seen: it lies behind every real token, and attention is causal.
    """
    logits = model(input_ids=batch, use_cache=False).logits[:, :-1]
    targets = batch[:, 1:]
    loss = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=pad, reduction="sum")
    return loss, int((targets != pad).sum())


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


def padded(rows: Sequence[Sequence[int]], pad: int) -> Tensor:
    """Token lists as one right-padded tensor (b, longest)."""
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(ids) for ids in rows], batch_first=True, padding_value=pad)
