"""Text encoders that come as plain files: a BERT in ONNX, a table of word vectors."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertModel

from jam.encoders.conversions import onnx_bert, word_table
from jam.encoders.conversions.onnx import read_onnx
from jam.encoders.loading import load_pretrained
from jam.errors import InputError

WORDS = ["<unk>", "<s>", "</s>", "red", "green", "seven", "left"]


def varint(value):
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def field(number, value):
    """A protobuf field: a whole number, text, or bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def tensor(array, name=None):
    kind = 7 if array.dtype == np.int64 else 1
    dims = b"".join(field(1, size) for size in array.shape)
    named = b"" if name is None else field(8, name)
    return dims + field(2, kind) + named + field(9, array.astype({1: "<f4", 7: "<i8"}[kind]).tobytes())


def node(operator, inputs, output, value=None):
    """With a value: a constant, which is an attribute of that name."""
    attribute = b"" if value is None else field(5, field(1, "value") + field(5, tensor(value)) + field(20, 4))
    return field(1, b"".join(field(1, name) for name in inputs) + field(2, output) + field(4, operator) + attribute)


def as_exported(model, without=(), shape="concat", more=b""):
    """A BERT as the exporter writes it: linear weights turned and without their names, found by MatMul and Add.

    ``without`` names weights to leave out; queries are cut into heads by a ``concat`` of numbers, a ``constant``, or by
    nothing. ``more`` begins the graph.
    """
    graph, number = more, 0
    for name, weight in model.state_dict().items():
        if "pooler" in name or "position_ids" in name:
            continue
        array = weight.numpy()
        if name.endswith(".weight") and array.ndim == 2 and "embeddings" not in name:
            number += 1
            if name not in without:
                graph += field(5, tensor(array.T, f"onnx::MatMul_{number}"))
            graph += node("MatMul", ["x", f"onnx::MatMul_{number}"], f"p{number}")
            sides = ["m." + name.replace(".weight", ".bias"), f"p{number}"]
            graph += node("Add", sides if number % 2 else sides[::-1], f"s{number}")
            if "query" in name and shape:
                heads = [model.config.num_attention_heads, model.config.hidden_size // model.config.num_attention_heads]
                if shape == "concat":
                    graph += node("Constant", [], f"h{number}", np.array(heads[:1]))
                    graph += node("Constant", [], f"w{number}", np.array(heads[1:]))
                    graph += node("Concat", ["batch", "length", f"h{number}", f"w{number}"], f"c{number}")
                else:
                    graph += node("Constant", [], f"c{number}", np.array([0, 0, *heads]))
                graph += node("Reshape", [f"s{number}", f"c{number}"], f"r{number}")
        elif name not in without:
            graph += field(5, tensor(array, "m." + name))
    return field(1, 7) + field(7, graph)


@pytest.mark.parametrize("heads", [1, 2, 4, 8])
@pytest.mark.parametrize("shape", ["concat", "constant"])
def test_a_bert_in_onnx_is_that_bert(tmp_path, heads, shape):
    torch.manual_seed(0)
    config = BertConfig(vocab_size=9, hidden_size=64, num_hidden_layers=2, num_attention_heads=heads,
                        intermediate_size=48, max_position_embeddings=11)  # fmt: skip
    model = BertModel(config).eval()
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    (source / "model.onnx").write_bytes(as_exported(model, shape=shape))
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS[3:]]
    (source / "vocab.txt").write_text("\n".join(vocabulary))
    (source / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    onnx_bert.convert(source, target)
    loaded, tokenizer = load_pretrained(target, "text")
    assert loaded.config.num_attention_heads == heads
    ids = torch.tensor([[2, 5, 6, 3]])
    for mine, theirs in zip(
        *(each(input_ids=ids, output_hidden_states=True).hidden_states for each in (loaded, model)), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-6)
    assert tokenizer("red seven")["input_ids"] == [2, 5, 7, 3]
    again = tmp_path / "again"
    again.mkdir()
    onnx_bert.convert(source, again)
    assert (again / "model.safetensors").read_bytes() == (target / "model.safetensors").read_bytes()


TINY = BertConfig(vocab_size=4, hidden_size=32, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)


@pytest.mark.parametrize("content", [b"", b"no onnx", as_exported(BertModel(TINY))[:-100]])
def test_what_is_no_whole_onnx_file_is_one_line(content, tmp_path):
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(InputError, match=r"model\.onnx: got no whole ONNX file") as caught:
        read_onnx(tmp_path / "model.onnx")
    assert "\n" not in str(caught.value)


def converted(content, folder):
    for name in ("source", "target"):
        (folder / name).mkdir()
    (folder / "source" / "model.onnx").write_bytes(content)
    onnx_bert.convert(folder / "source", folder / "target")


@pytest.mark.parametrize(
    "name",
    [
        "embeddings.word_embeddings.weight",
        "embeddings.position_embeddings.weight",
        "embeddings.token_type_embeddings.weight",
        "embeddings.LayerNorm.bias",
        "encoder.layer.0.attention.self.key.weight",
        "encoder.layer.0.attention.self.key.bias",
        "encoder.layer.0.intermediate.dense.weight",
        "encoder.layer.0.intermediate.dense.bias",
        "encoder.layer.0.output.dense.weight",
    ],
)
def test_a_weight_that_is_missing_is_named(tmp_path, name):
    with pytest.raises(InputError, match=rf"^model\.onnx: got no {name}, expected those of a BERT$"):
        converted(as_exported(BertModel(TINY), without=[name]), tmp_path)


def test_a_graph_without_heads_or_of_other_arrays_is_one_line(tmp_path):
    whole = as_exported(BertModel(TINY), shape=None)
    strange = tensor(np.zeros(2), "odd").replace(field(2, 1), field(2, 10))  # half precision
    elsewhere = field(1, 2) + field(2, 1) + field(8, "odd") + field(4, b"\0" * 8)  # floats, not as raw bytes
    for number, (content, message) in enumerate([
        (whole, r"got no width of attention heads, expected one that attention\.self\.query\.bias is reshaped to"),
        (as_exported(BertModel(TINY)).replace(b"query.bias", b"quarry.bia"), "got no width of attention heads"),
        (field(7, field(5, strange)), r"got no whole ONNX file \(odd: type 10, which is not read here\)"),
        (field(7, field(5, elsewhere)), r"got no whole ONNX file \(odd: type 1, no raw data\)"),
        (field(7, b""), r"got no embeddings\.word_embeddings\.weight, expected those of a BERT"),
    ]):  # fmt: skip
        (tmp_path / str(number)).mkdir()
        with pytest.raises(InputError, match=rf"^model\.onnx: {message}") as caught:
            converted(content, tmp_path / str(number))
        assert "\n" not in str(caught.value)


def test_a_constant_that_is_not_read_is_no_fault_of_the_file(tmp_path):
    half = tensor(np.zeros(2)).replace(field(2, 1), field(2, 10))
    constants = field(1, field(2, "a") + field(4, "Constant"))
    constants += field(1, field(2, "b") + field(4, "Constant") + field(5, field(5, half)))
    converted(as_exported(BertModel(TINY), more=constants), tmp_path)


def test_a_table_of_words_is_a_bag_of_words(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    table = torch.randn(len(WORDS), 16)
    save_file({"embedding.weight": table.half()}, source / "table.safetensors")
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(source / "tokenizer.json"))
    word_table.convert(source, target)
    model, processor = load_pretrained(target, "text")
    inputs = processor(["red seven left", "green"], padding=True, return_tensors="pt")
    with torch.inference_mode():
        output = model(**{name: inputs[name] for name in ("input_ids", "attention_mask")}, output_hidden_states=True)
    assert len(output.hidden_states) == 0  # the embedding is the output
    rows = table.half().float()
    np.testing.assert_array_equal(output.last_hidden_state[0].numpy(), rows[[3, 5, 6]].numpy())
    np.testing.assert_array_equal(output.last_hidden_state[1, 0].numpy(), rows[4].numpy())
    assert inputs["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    save_file({"other": table}, source / "table.safetensors")
    with pytest.raises(InputError, match=r"table\.safetensors: got no embedding\.weight"):
        word_table.convert(source, target)
