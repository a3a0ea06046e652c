"""Reading features: a folder of layers, each a memory map, and the index of their rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from jam.errors import InputError
from jam.io import read_json

Role = Literal["true", "false"]
MANIFEST = "manifest.json"
INDEX = "index.parquet"


def layer_name(layer: int) -> str:
    """File name of a layer."""
    return f"layer_{layer}.npy"


def read_layer(path: str | Path, form: str | None = None) -> tuple[np.ndarray, pd.DataFrame]:
    """One layer (rows, d) as a memory map, by its file, and the lines of its index that are `of_form`."""
    layer = np.load(path, mmap_mode="r", allow_pickle=False)
    return layer, of_form(pq.read_table(Path(path).with_name(INDEX)).to_pandas(), form)


def of_form(index: pd.DataFrame, form: str | None = None) -> pd.DataFrame:
    """The lines of an index whose views are of one form: the one named, or else that of its first line.

    Views of several forms (a caption that says all, a second rendering) are never taken for one another. Where a side
    has no view of the form named, its first form is taken.
    """
    found = index[index["form"] == form]
    return found if len(found) else index[index["form"] == index["form"].iloc[0]]


@dataclass(frozen=True)
class FeatureStore:
    """Features on disk.

    Attributes:
        folder: where they lie.
        manifest: ``encoder`` (its description), ``rows``, ``dims``, ``dtype``, ``truncated`` and how they were made.
        index: one line a row of the layers, the columns of `jam.data.schema.VIEW`; `jam.align.rows` joins sides on it.
    """

    folder: Path
    manifest: Mapping[str, Any]
    index: pd.DataFrame

    @classmethod
    def load(cls, folder: str | Path) -> "FeatureStore":
        """Open a folder; layers are mapped only when they are asked for.

        Raises:
            InputError: the folder lacks its manifest or index, or they are broken.
        """
        folder = Path(folder)
        for name in (MANIFEST, INDEX):
            if not (folder / name).is_file():
                raise InputError(
                    f"{folder}: expected a feature folder with {name}, found none (run the features stage)"
                )
        try:
            return cls(folder, read_json(folder / MANIFEST), pq.read_table(folder / INDEX).to_pandas())
        except (OSError, ValueError) as error:
            raise InputError(f"{folder}: {MANIFEST} or {INDEX} is broken ({error}); run the features stage") from error

    @property
    def layers(self) -> int:
        """How many layers there are."""
        return len(self.dims)

    @property
    def dims(self) -> tuple[int, ...]:
        """Width of each layer."""
        return tuple(self.manifest["dims"])

    def layer(self, layer: int) -> np.ndarray:
        """Memory map of one layer, (rows, d), read-only; a negative number counts from the last.

        Raises:
            InputError: there is no such layer, or its file is missing or not what the manifest says.
        """
        if not -self.layers <= layer < self.layers:
            raise InputError(f"{self.folder}: got layer {layer}, expected {-self.layers} … {self.layers - 1}")
        layer %= self.layers
        path = self.folder / layer_name(layer)
        expected = (self.manifest["rows"], self.dims[layer]), self.manifest["dtype"]
        try:
            mapped: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: expected an array {expected}, got: {error}") from error
        if (got := (mapped.shape, str(mapped.dtype))) != expected:
            raise InputError(f"{path}: expected an array {expected}, got {got}")
        return mapped

    def rows(self, split: str, role: Role) -> pd.DataFrame:
        """The lines of the index of one split and role, in row order.

        Raises:
            InputError: there are none.
        """
        found = self.index[(self.index["split"] == split) & (self.index["role"] == role)]
        if found.empty:
            present = sorted(set(zip(self.index["split"], self.index["role"], strict=True)))
            raise InputError(f"{self.folder}: got no {role} rows of split {split!r}, expected one of {present}")
        return found
