"""A sentence encoder in ONNX as a BertModel: its weights under their names, those of matrix products turned back.

The exporter folds a linear layer into MatMul and Add and transposes its weight, which loses its name; the bias keeps
its own, and so names both.
"""

import shutil
from pathlib import Path

import torch
from torch import Tensor

from jam.encoders.conversions.onnx import read_onnx
from jam.encoders.conversions.weights import write_model
from jam.errors import InputError

HEAD = 32  # width of an attention head in the MiniLMs of 384


def weights_of(path: Path) -> dict[str, Tensor]:
    """Weights of the BERT in an ONNX file, by their names in PyTorch."""
    nodes, arrays = read_onnx(path)
    factors = {node.outputs[0]: node.inputs[1] for node in nodes if node.operator == "MatMul"}
    weights = {name: array for name, array in arrays.items() if name.endswith((".weight", ".bias"))}
    for node in nodes:
        if node.operator != "Add":
            continue
        for product, bias in (node.inputs, node.inputs[::-1]):
            if bias.endswith(".bias") and (factor := factors.get(product)) in arrays:
                weights[bias.removesuffix("bias") + "weight"] = arrays[factor].T
    words = next((name for name in weights if name.endswith("embeddings.word_embeddings.weight")), None)
    if words is None:
        raise InputError(f"{path.name}: got no word_embeddings.weight, expected those of a BERT")
    prefix = words.removesuffix("embeddings.word_embeddings.weight")
    return {name.removeprefix(prefix): torch.tensor(array) for name, array in weights.items()}


def convert(source: Path, target: Path) -> None:
    """From ``model.onnx``; the files of the tokenizer beside it are kept as they are."""
    from transformers import BertConfig, BertModel

    weights = weights_of(source / "model.onnx")
    words, width = weights["embeddings.word_embeddings.weight"].shape
    config = BertConfig(
        vocab_size=words,
        hidden_size=width,
        num_attention_heads=width // HEAD,
        num_hidden_layers=sum(name.endswith("attention.self.query.bias") for name in weights),
        intermediate_size=len(weights["encoder.layer.0.intermediate.dense.bias"]),
        max_position_embeddings=len(weights["embeddings.position_embeddings.weight"]),
        type_vocab_size=len(weights["embeddings.token_type_embeddings.weight"]),
    )
    model = BertModel(config)
    # The exporter leaves out the pooling head, which no output needs: zeros, so that nothing is drawn at random.
    pooler = {name: torch.zeros_like(tensor) for name, tensor in model.state_dict().items() if "pooler." in name}
    write_model(target, model, pooler | weights)
    for path in source.iterdir():
        if path.name != "model.onnx":
            shutil.copyfile(path, target / path.name)
