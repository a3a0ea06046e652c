"""The nodes and the arrays of an ONNX file, read without the onnx package: protobuf is a list of tagged fields.

Source: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto, whose field numbers stand below.
"""

from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jam.errors import InputError

GRAPH = 7  # of ModelProto
NODE, INITIALIZER = 1, 5  # of GraphProto
INPUT, OUTPUT, OPERATOR, ATTRIBUTE = 1, 2, 4, 5  # of NodeProto
VALUE = 5  # of AttributeProto: a tensor
DIMS, KIND, NAME, RAW = 1, 2, 8, 9  # of TensorProto
KINDS = {1: "<f4", 6: "<i4", 7: "<i8", 9: "?", 11: "<f8"}

Fields = dict[int, list[int | memoryview]]


@dataclass(frozen=True)
class Node:
    """One operation of the graph, by the names of its tensors."""

    operator: str
    inputs: list[str]
    outputs: list[str]


def read_onnx(path: Path) -> tuple[list[Node], dict[str, np.ndarray]]:
    """Nodes in the order of the graph, and its arrays by name: initialisers, and the outputs of its constants.

    Raises:
        InputError: no ONNX file, one cut short, or an array of another kind or in another place than is read here.
    """
    try:
        graph = _fields(_one(_fields(memoryview(path.read_bytes())), GRAPH))
        arrays = dict(_named(_fields(_bytes(part))) for part in graph[INITIALIZER])
        nodes = []
        for part in graph[NODE]:
            fields = _fields(_bytes(part))
            nodes.append(node := _node(fields))
            if node.operator == "Constant" and node.outputs:
                with suppress(ValueError, IndexError):  # a constant of another kind; who needs it will miss it
                    value = _one(_fields(_one(fields, ATTRIBUTE)), VALUE)
                    arrays[node.outputs[0]] = _array(_fields(value), node.outputs[0])
        return nodes, arrays
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path.name}: got no whole ONNX file ({error}), expected a graph with its weights") from error


def _node(fields: Fields) -> Node:
    inputs, outputs = ([_text(value) for value in fields[number]] for number in (INPUT, OUTPUT))
    return Node(_text(_one(fields, OPERATOR)), inputs, outputs)


def _named(fields: Fields) -> tuple[str, np.ndarray]:
    name = _text(_one(fields, NAME))
    return name, _array(fields, name)


def _array(fields: Fields, name: str) -> np.ndarray:
    shape: list[int] = []
    for dim in fields[DIMS]:  # packed, or one field each
        shape += [dim] if isinstance(dim, int) else _packed(dim)
    [kind] = fields[KIND]
    if not fields[RAW] or kind not in KINDS:
        raise ValueError(f"{name}: type {kind}, {'no raw data' if not fields[RAW] else 'which is not read here'}")
    return np.frombuffer(_one(fields, RAW), KINDS[int(kind)]).reshape(shape)


def _fields(data: memoryview) -> Fields:
    """Field number → its values in order: whole numbers, or bytes."""
    found: Fields = defaultdict(list)
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        value: int | memoryview
        if wire == 0:
            value, at = _varint(data, at)
        else:
            size = {1: 8, 5: 4}.get(wire)
            if size is None:
                if wire != 2:
                    raise ValueError(f"wire type {wire}")
                size, at = _varint(data, at)
            value, at = data[at : at + size], at + size
            if at > len(data):
                raise ValueError("cut short")
        found[number].append(value)
    return found


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at


def _packed(data: memoryview) -> list[int]:
    values, at = [], 0
    while at < len(data):
        value, at = _varint(data, at)
        values.append(value)
    return values


def _bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise TypeError("a number where a message belongs")
    return value


def _one(fields: Fields, number: int) -> memoryview:
    return _bytes(fields[number][0])


def _text(value: int | memoryview) -> str:
    return bytes(_bytes(value)).decode()
