"""A table of token embeddings as a model without a layer: the mean of its states is the mean of the embeddings."""

from pathlib import Path

import torch
from safetensors.torch import load_file

from jam.encoders.conversions.weights import write_model
from jam.errors import InputError
from jam.io import read_json, write_json

LONGEST = 512  # tokens of a text


def convert(source: Path, target: Path) -> None:
    """From ``table.safetensors`` and ``tokenizer.json``.

    OPT adds positions to embeddings, and nothing else; its kind with the normalisation after each block has none at
    the end. So with no block and with positions of zero, its only state is the table, exactly: x + 0 = x.
    """
    from transformers import OPTConfig, OPTModel, PreTrainedTokenizerFast

    table = load_file(source / "table.safetensors").get("embedding.weight")
    if table is None:
        raise InputError("table.safetensors: got no embedding.weight, expected a table of token embeddings")
    words, width = table.shape
    config = OPTConfig(
        vocab_size=words,
        hidden_size=width,
        word_embed_proj_dim=width,
        ffn_dim=width,
        num_attention_heads=1,
        num_hidden_layers=0,
        max_position_embeddings=LONGEST,
        do_layer_norm_before=False,
        pad_token_id=2,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = OPTModel(config)
    weights = {name: torch.zeros_like(tensor) for name, tensor in model.state_dict().items()}
    weights["decoder.embed_tokens.weight"] = table.float()
    tokenizer = read_json(source / "tokenizer.json")
    tokenizer["post_processor"] = None  # WordLlama adds no mark of begin, which would move every mean
    write_json(target / "tokenizer.json", tokenizer)
    processor = PreTrainedTokenizerFast(
        tokenizer_file=str(target / "tokenizer.json"),
        unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="</s>", model_max_length=LONGEST,
    )  # fmt: skip
    write_model(target, model, weights, processor)
