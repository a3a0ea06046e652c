"""Features whose content is known: controls beside frozen encoders, of which nothing was ever trained.

``bag_of_words``  how often each word of the training captions stands in a caption: all that needs no reading
``parser``        what a caption claims, as far as it tells (see `jam.world.ceiling`): all that reading can give
``state``         the true state of an item, and what stands in each cell taken together: all there is to know of it
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from jam.data.schema import ITEMS, VIEW, VIEWS, read_table
from jam.errors import InputError
from jam.features.store import INDEX, MANIFEST, FeatureStore, layer_name
from jam.features.views import Limits, kept_rows
from jam.io import atomic_folder, file_sha256, write_json
from jam.world.ceiling import claim_features
from jam.world.parser import parse
from jam.world.state import bound, states_of_facts


def control_features(control: str, world: str | Path, modality: str, out: str | Path, limits: Limits) -> FeatureStore:
    """Write a control's features of the views of a modality, one layer, in the place of an encoder's.

    Args:
        control: one of `CONTROLS`.
        world: folder of items and views.
        modality: of the views.
        out: the feature folder.
        limits: see `jam.features.extract_features`.

    Raises:
        InputError: the world's state or language is not that of the embedded world.
    """
    world, out = Path(world), Path(out)
    path = world / VIEWS / f"{modality}.parquet"
    lines = read_table(path, list(VIEW) if control == "state" else [*VIEW, "content"])
    kept = kept_rows(lines, limits)
    views = lines.take(kept).to_pandas().assign(row=np.arange(len(kept)))
    features = CONTROLS[control](views, world)
    with atomic_folder(out) as part:
        np.save(part / layer_name(0), features)
        index = lines.select(list(VIEW)).take(kept).combine_chunks()
        pq.write_table(index.set_column(0, "row", [views["row"].to_numpy()]), part / INDEX, compression="zstd")
        told = {"id": control, "modality": modality, "source": "control", "sha256": ""}
        facts = {"encoder": told, "views": file_sha256(path), "dtype": "float32", "rows": len(features)}
        write_json(part / MANIFEST, {**facts, "dims": [features.shape[1]], "truncated": 0})
    return FeatureStore.load(out)


def bag_of_words(views: pd.DataFrame, world: Path) -> np.ndarray:
    """Counts (n, words) of the words of the true training captions."""
    trained = views[(views["split"] == "train") & (views["role"] == "true")]["content"]
    words = {word: i for i, word in enumerate(sorted({word for text in trained for word in _words(text)}))}
    counts = np.zeros((len(views), len(words)), np.float32)
    for row, text in enumerate(views["content"]):
        for word in _words(text):
            if word in words:
                counts[row, words[word]] += 1
    return counts


def parsed(views: pd.DataFrame, world: Path) -> np.ndarray:
    """What each caption claims, (n, d)."""
    return claim_features([parse(text) for text in views["content"]])


def state(views: pd.DataFrame, world: Path) -> np.ndarray:
    """The true state of each view's item, with products, (n, d)."""
    items = read_table(world / ITEMS, ["id", "state"])
    if items.column("state").null_count:
        raise InputError(f"{world}: got items without a state, expected those of the embedded world for this control")
    vectors = np.array(items.column("state").to_pylist(), np.float32)
    place = pd.Series(np.arange(len(vectors)), index=items.column("id").to_pylist())
    mine = vectors[place[views["id"]].to_numpy()]
    return np.concatenate([mine, bound(states_of_facts(mine))], axis=1)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


CONTROLS: Mapping[str, Callable[[pd.DataFrame, Path], np.ndarray]] = {
    "bag_of_words": bag_of_words,
    "parser": parsed,
    "state": state,
}
