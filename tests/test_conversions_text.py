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
from jam.encoders.encoder import load_pretrained
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


def tensor(name, array):
    dims = b"".join(field(1, size) for size in array.shape)
    return field(5, dims + field(2, 1) + field(8, name) + field(9, array.astype("<f4").tobytes()))


def node(operator, inputs, output):
    return field(1, b"".join(field(1, name) for name in inputs) + field(2, output) + field(4, operator))


def as_exported(model):
    """A BERT as the exporter writes it: linear weights turned and without their names, found by MatMul and Add."""
    graph, number = b"", 0
    for name, weight in model.state_dict().items():
        if "pooler" in name or "position_ids" in name:
            continue
        array = weight.numpy()
        if name.endswith(".weight") and array.ndim == 2 and "embeddings" not in name:
            number += 1
            graph += tensor(f"onnx::MatMul_{number}", array.T) + node(
                "MatMul", ["x", f"onnx::MatMul_{number}"], f"p{number}"
            )
            sides = ["m." + name.replace(".weight", ".bias"), f"p{number}"]
            graph += node("Add", sides if number % 2 else sides[::-1], f"s{number}")
        else:
            graph += tensor("m." + name, array)
    return field(1, 7) + field(7, graph)


def test_a_bert_in_onnx_is_that_bert(tmp_path):
    torch.manual_seed(0)
    config = BertConfig(vocab_size=9, hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48,
                        max_position_embeddings=11)  # fmt: skip
    model = BertModel(config).eval()
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    (source / "model.onnx").write_bytes(as_exported(model))
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS[3:]]
    (source / "vocab.txt").write_text("\n".join(vocabulary))
    (source / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    onnx_bert.convert(source, target)
    loaded, tokenizer = load_pretrained(target, "text")
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
