"""A sentence encoder in ONNX as a BertModel: its weights under their names, those of matrix products turned back.

The exporter folds a linear layer into MatMul and Add and transposes its weight, which loses its name; the bias keeps
its own, and so names both. How many heads there are stands in no weight, but in the shape that queries are cut into.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from jam.encoders.conversions.onnx import Node, read_onnx
from jam.encoders.conversions.weights import write_model
from jam.errors import InputError

WORDS = "embeddings.word_embeddings.weight"
QUERY = "attention.self.query.bias"


def bert_of(path: Path) -> tuple[dict[str, Tensor], int]:
    """Weights of the BERT in an ONNX file, by their names in PyTorch, and the width of its attention heads.

    Raises:
        InputError: no whole ONNX file, or none of a BERT.
    """
    nodes, arrays = read_onnx(path)
    pairs = [node for node in nodes if len(node.inputs) == 2 and node.outputs]
    factors = {node.outputs[0]: node.inputs[1] for node in pairs if node.operator == "MatMul"}
    weights = {name: array for name, array in arrays.items() if name.endswith((".weight", ".bias"))}
    for node in pairs:
        if node.operator != "Add":
            continue
        for product, bias in (node.inputs, node.inputs[::-1]):
            if bias.endswith(".bias") and (factor := factors.get(product)) in arrays:
                weights[bias.removesuffix("bias") + "weight"] = arrays[factor].T
    words = next((name for name in weights if name.endswith(WORDS)), None)
    if words is None:
        raise InputError(f"{path.name}: got no {WORDS}, expected those of a BERT")
    prefix = words.removesuffix(WORDS)
    named = {name.removeprefix(prefix): torch.tensor(array) for name, array in weights.items()}
    return named, _head_width(path, nodes, arrays)


def _head_width(path: Path, nodes: list[Node], arrays: Mapping[str, np.ndarray]) -> int:
    """The last number of the shape into which the first layer's queries are reshaped."""
    made = {name: node for node in nodes for name in node.outputs}
    queries = {name for name, node in made.items() if any(given.endswith(QUERY) for given in node.inputs)}
    for node in nodes:
        if node.operator == "Reshape" and len(node.inputs) == 2 and node.inputs[0] in queries:
            last = node.inputs[1]
            if last in made and made[last].operator == "Concat":  # batch and length of the inputs, heads, width
                last = made[last].inputs[-1]
            if last in arrays and arrays[last].size and (width := int(arrays[last].flat[-1])) > 0:
                return width
    raise InputError(f"{path.name}: got no width of attention heads, expected one that {QUERY} is reshaped to")


def convert(source: Path, target: Path) -> None:
    """From ``model.onnx``; the files of the tokenizer beside it are kept as they are.

    Raises:
        InputError: no whole ONNX file, none of a BERT, or weights that are missing.
    """
    from transformers import BertConfig, BertModel

    path = source / "model.onnx"
    weights, head = bert_of(path)

    def shape(name: str) -> torch.Size:
        if name not in weights:
            raise InputError(f"{path.name}: got no {name}, expected those of a BERT")
        return weights[name].shape

    words, width = shape(WORDS)
    if width % head:
        raise InputError(f"{path.name}: got states of {width} and heads of {head}, expected a multiple")
    config = BertConfig(
        vocab_size=words,
        hidden_size=width,
        num_attention_heads=width // head,
        num_hidden_layers=sum(name.endswith(QUERY) for name in weights),
        intermediate_size=shape("encoder.layer.0.intermediate.dense.bias")[0],
        max_position_embeddings=shape("embeddings.position_embeddings.weight")[0],
        type_vocab_size=shape("embeddings.token_type_embeddings.weight")[0],
    )
    model = BertModel(config)
    # The exporter leaves out the pooling head, which no output needs: zeros, so that nothing is drawn at random.
    pooler = {name: torch.zeros_like(tensor) for name, tensor in model.state_dict().items() if "pooler." in name}
    for name in model.state_dict():
        if name not in pooler:
            shape(name)
    write_model(target, model, pooler | weights)
    for other in source.iterdir():
        if other != path:
            shutil.copyfile(other, target / other.name)
