"""From a record of a published set to a row of the pairs table, as the parameters map its columns."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from jam.errors import InputError
from jam.params import HubData
from jam.sources.files import ImageFolder
from jam.sources.rows import Row, RowError, clean_string, quote
from jam.sources.tables import look_up

_CATEGORY = re.compile(r"(replace|swap|add)[_-](obj|att|rel)")  # of SugarCrepe, in a column or in the name of a file
_PARTS = {"obj": "object", "att": "attribute", "rel": "relation"}


def read_image(record: Row, options: HubData, images: ImageFolder | None, table: str) -> tuple[bytes, str]:
    """Bytes of the image as published, out of its cell or by name out of ``images``; and a name for it.

    Raises:
        RowError: no image, or no such file.
        InputError: the column holds text, as it then does in every row.
    """
    columns = options.columns
    if columns.image is None:
        assert images is not None
        file = "/".join(clean_string(look_up(record, path), "file name") for path in columns.file)
        return images.read(file), file
    value = look_up(record, columns.image)
    if isinstance(value, str):
        raise InputError(
            f"{table}: columns.image, {columns.image}, holds text ({quote(value)}), expected embedded images. No web "
            "address is fetched here: take a version of the set whose parquet files hold the images (Conceptual "
            "Captions: pixparse/cc3m-wds at refs/convert/parquet); or, of file names, give columns.file and images"
        )
    cell = value if isinstance(value, dict) else {"bytes": value}
    data = cell.get("bytes")
    if not isinstance(data, bytes):
        raise RowError("no image", f"{columns.image}: got no bytes of an image, expected one embedded")
    return data, cell.get("path") or columns.image


def read_id(record: Row, options: HubData) -> str | None:
    """The id of the image; None when the parameters name no column of them.

    Raises:
        RowError: neither a string nor a whole number.
    """
    path = options.columns.id
    if path is None:
        return None
    value = look_up(record, path)
    return clean_string(str(value) if isinstance(value, int) and not isinstance(value, bool) else value, "id")


def read_sentences(record: Row, options: HubData, table: str) -> Row:
    """Captions, negatives, context and labels of a record; ``table`` may name the kind of its negatives.

    Raises:
        RowError: no caption, an empty one, or one that is no text; likewise a negative.
    """
    columns = options.columns
    labels = [{"name": path, "value": str(value)} for path, value in _cells(record, columns.labels)]
    if options.template is not None:
        captions = [_filled(options.template, labels)]
    else:
        captions = [clean_string(value, "caption") for _, value in _cells(record, columns.captions)]
    if not captions:
        raise RowError("no caption", f"{', '.join(columns.captions)}: got no caption, expected at least one")
    texts = [clean_string(value, "negative") for _, value in _cells(record, columns.negatives)]
    kind = look_up(record, columns.kind) if columns.kind else (_CATEGORY.search(table) or ["given"])[0]
    context = look_up(record, columns.context) if columns.context else None
    beside = len(texts) == len(captions)  # then each negative is of its own caption
    return {
        "captions": captions,
        "negatives": [
            {"kind": _kind(clean_string(kind, "kind of a negative")), "tier": "hard", "text": text, "of": i * beside}
            for i, text in enumerate(texts)
        ],
        "context": None if context is None else clean_string(context, "context"),
        "labels": labels,
    }


def _cells(record: Row, paths: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """What stands at several paths, each with its path."""
    return ((path, value) for path in paths for value in _flat(look_up(record, path)))


def _flat(value: Any) -> Iterator[Any]:
    """The members of lists in lists; a lone value by itself, a null not at all."""
    if isinstance(value, list):
        for item in value:
            yield from _flat(item)
    elif value is not None:
        yield value


def _filled(template: str, labels: Iterable[Row]) -> str:
    for label in labels:
        template = template.replace(f"{{{label['name']}}}", label["value"])
    if re.search(r"{.*?}", template):
        raise RowError("no label", f"{quote(template)}: got no label for the braces, expected one")
    return template


def _kind(category: str) -> str:
    """SugarCrepe's ``replace_obj`` is our ``replace_object``; other kinds keep their names."""
    match = _CATEGORY.match(category)
    return f"{match[1]}_{_PARTS[match[2]]}" if match else category
