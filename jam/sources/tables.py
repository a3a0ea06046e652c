"""Published tables read row by row: parquet by row groups, and the JSON that small sets come in.

A cell is named by its path in a row: names and list positions joined by dots. A name after a list is taken of each
member, so ``sentences.raw`` is the list of the ``raw`` of all sentences, and ``tested_labels.0`` the first label.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jam.errors import InputError
from jam.sources.rows import Row, RowError, quote

BATCH = 64  # rows in memory at a time, beside the row group that the parquet reader holds


@dataclass(frozen=True)
class Table:
    """One file of rows.

    Attributes:
        name: what messages call it.
        path: where it lies; ``.parquet``, ``.json`` (a list of objects, or an object of them) or ``.jsonl``.
    """

    name: str
    path: Path

    def rows(self, wanted: Mapping[str, str]) -> Iterator[Row]:
        """The rows, in order, with the top-level columns of the wanted cells; class labels are given by their names.

        Args:
            wanted: path of a cell → the parameter that names it.

        Raises:
            InputError: the file cannot be read, or lacks a column.
        """
        if self.path.suffix == ".parquet":
            return self._parquet_rows(wanted)
        if self.path.suffix in (".json", ".jsonl"):
            return self._json_rows(wanted)
        raise InputError(f"{self.name}: got a {self.path.suffix or 'nameless'} file, expected parquet, json or jsonl")

    def _parquet_rows(self, wanted: Mapping[str, str]) -> Iterator[Row]:
        try:
            with pq.ParquetFile(self.path) as file:
                schema = file.schema_arrow
                columns = self._columns(wanted, schema.names)
                classes = _class_names(schema)
                for batch in file.iter_batches(batch_size=BATCH, columns=columns):
                    for row in batch.to_pylist():
                        yield {name: _named(value, name, classes) for name, value in row.items()}
        except (pa.ArrowException, OSError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise InputError(f"{self.name}: expected a parquet file, got: {reason}") from error

    def _json_rows(self, wanted: Mapping[str, str]) -> Iterator[Row]:
        try:
            text = self.path.read_text(encoding="utf-8-sig")
            if self.path.suffix == ".jsonl":
                rows: Any = [json.loads(line) for line in text.split("\n") if line.strip()]
            else:
                rows = json.loads(text)
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{self.name}: expected JSON, got: {' '.join(str(error).split())}") from error
        rows = list(rows.values()) if isinstance(rows, dict) else rows  # SugarCrepe: {"0": {…}, "1": {…}}
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise InputError(f"{self.name}: got JSON of another kind, expected a list of objects or an object of them")
        columns = self._columns(wanted, list(dict.fromkeys(name for row in rows for name in row)))
        for row in rows:
            yield {name: row.get(name) for name in columns}

    def _columns(self, wanted: Mapping[str, str], present: Sequence[str]) -> list[str]:
        """The top-level columns of the wanted cells, each once."""
        columns = []
        for path, parameter in wanted.items():
            name = path if path in present else path.split(".")[0]
            if name not in present:
                raise InputError(
                    f"{self.name}: no column {quote(name)}, as {parameter} says; expected one of the columns that "
                    f"there are: {', '.join(present)}"
                )
            columns.append(name)
        return list(dict.fromkeys(columns))


def _class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Names of the classes of the columns of type ClassLabel, which ``datasets`` stores as integers."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {name: feature["names"] for name, feature in features.items() if feature.get("_type") == "ClassLabel"}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}


def _named(value: Any, column: str, classes: Mapping[str, Sequence[str]]) -> Any:
    if column in classes and isinstance(value, int):
        names = classes[column]
        return names[value] if 0 <= value < len(names) else None  # −1 is "not labelled"
    return value


def look_up(row: Row, path: str) -> Any:
    """The cell of a row at a path; None where something on the way is null.

    Raises:
        RowError: the path leads nowhere.
    """
    if path in row:
        return row[path]
    value: Any = row
    for part in path.split("."):
        value = _step(value, part, path)
    return value


def _step(value: Any, part: str, path: str) -> Any:
    if value is None:
        return None
    if isinstance(value, list) and not part.isdigit():
        return [_step(item, part, path) for item in value]
    try:
        return value[int(part)] if isinstance(value, list) else value[part]
    except (KeyError, IndexError, TypeError):
        raise RowError("missing cell", f"{path}: got no {quote(part)} there, expected one") from None
