"""What stages read and write of layers and adapters, by the names of params.yaml."""

from pathlib import Path

import numpy as np
import pandas as pd

from jam.config import Layer, Params
from jam.errors import InputError
from jam.io import write_json
from jam.pairing import Pairs, pair_rows
from jam.training import Trained
from stages.common import FEATURES


def layer_path(layer: Layer) -> Path:
    """The file of one layer of frozen features."""
    return FEATURES / layer.encoder / f"layer_{layer.layer}.npy"


def load_layer(layer: Layer) -> tuple[np.ndarray, pd.DataFrame]:
    """One layer of frozen features as a memory map, and the table that says what each of its rows is.

    Raises:
        InputError: there is no such layer.
    """
    path = layer_path(layer)
    folder = path.parent
    if not path.is_file():
        found = sorted(file.stem.removeprefix("layer_") for file in folder.glob("layer_*.npy"))
        raise InputError(f"{path}: no such layer; {layer.encoder} has layers {found} (run its features stage first)")
    return np.load(path, mmap_mode="r"), pd.read_parquet(folder / "index.parquet")


def load_pairs(params: Params, split: str) -> Pairs:
    """The two layers that ``align`` names, joined, for one split."""
    return pair_rows(*load_layer(params.align.image), *load_layer(params.align.text), split)


def save_adapters(folder: Path, trained: Trained, params: Params) -> None:
    """Write both adapters, and ``layers.json``: of which encoder's which layer the features were."""
    trained.image.save(folder / "image")
    trained.text.save(folder / "text")
    write_json(folder / "layers.json", params.align.model_dump(include={"image", "text"}))
