"""How well a frozen language model predicts text that it never saw."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jam.encoders.loading import load_pretrained
from jam.encoders.manifest import Manifest
from jam.encoders.token_loss import leave_one_out_loss, next_token_loss, padded


def perplexity(folder: str | Path, texts: Sequence[str], batch_size: int = 250) -> dict[str, float]:
    """How well a cave language model predicts texts that it never saw.

    A causal model predicts each token, end of text included, from those before it. A masked model has no such
    likelihood; its figure is the pseudo-perplexity of Salazar et al. 2020 (arXiv 1910.14659): each token, end of text
    not included, from all others. It is lower than the other kind for the same texts, so compare within an objective.

    Args:
        folder: of a text encoder pretrained here.
        texts: at least one.
        batch_size: texts a forward pass of a causal model; a masked one takes the copies of one text at a time.

    Returns:
        ``perplexity`` a token, of the kind that fits the model, and ``unknown``, the share of tokens that are unseen
        words.
    """
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

    masked = Manifest.read(Path(folder)).recipe["objective"] == "masked"
    auto_class = AutoModelForMaskedLM if masked else AutoModelForCausalLM
    model: Any
    model, tokenizer = load_pretrained(Path(folder), "text", auto_class)
    model.eval()
    tokens = sorted(tokenizer(list(texts), truncation=True)["input_ids"], key=len)
    loss, count = 0.0, 0
    with torch.inference_mode():
        for start in range(0, len(tokens), 1 if masked else batch_size):
            if masked:
                summed, predicted = leave_one_out_loss(model, tokens[start], tokenizer)
            else:
                batch = padded(tokens[start : start + batch_size], tokenizer.pad_token_id)
                summed, predicted = next_token_loss(model, batch, tokenizer.pad_token_id)
            loss, count = loss + summed.item(), count + predicted
    unknown = sum(ids.count(tokenizer.unk_token_id) for ids in tokens)
    return {"perplexity": float(np.exp(loss / count)), "unknown": unknown / count}
