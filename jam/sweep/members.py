"""Which representations take part in the grid of encoder pairs, and their features: one view an item."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from jam.data.schema import RELEVANCE, read_items, read_table
from jam.errors import InputError
from jam.features.store import FeatureStore
from jam.params import EncoderSpec, Params
from jam.sweep.closed import Answers, Rows

Ids = Mapping[str, npt.NDArray[np.object_]]
TRAINED = 100  # per cent of its training
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Member:
    """One representation of one modality.

    Attributes:
        name: of the encoder.
        seed: of its pretraining.
        checkpoint: per cent of its training.
        control: outside of all trends: nothing was trained, or not here.
        folder: of its features.
        layer: there.
        number: of that layer in the encoder.
        spec: of the encoder.
    """

    name: str
    seed: int
    checkpoint: int
    control: bool
    folder: Path
    layer: int
    number: int
    spec: EncoderSpec

    @property
    def trained(self) -> bool:
        """Whether it takes part in trends over encoders."""
        return not self.control and self.checkpoint == TRAINED

    @property
    def first(self) -> bool:
        """Whether it is of its encoder's first seed."""
        return self.seed == self.spec.seed

    @property
    def width(self) -> int:
        """Of its features."""
        return FeatureStore.load(self.folder).dims[self.layer]

    def rows(self, ids: Ids) -> Rows:
        """Its features of the items (ids by split), the first view of each.

        Raises:
            InputError: an item without a view.
        """
        table, places = FeatureStore.load(self.folder).layer(self.layer), self._places()
        found = {}
        for split in SPLITS:
            at = places[split].reindex(ids[split])
            if at.isna().any():
                raise InputError(f"{self.folder}: an item of split {split} has no row, expected a view of each item")
            found[split] = np.asarray(table[at.to_numpy().astype(np.int64)])
        return Rows(**found)

    def train_ids(self) -> npt.NDArray[np.object_]:
        """The training items that it has features of, in their order."""
        return self._places()["train"].index.to_numpy()

    def _places(self) -> dict[str, pd.Series]:
        lines = FeatureStore.load(self.folder).index
        first = lines[(lines["role"] == "true") & (lines["k"] == 0) & (lines["form"] == lines["form"].iloc[0])]
        parts = {split: first[first["split"] == split] for split in SPLITS}
        return {split: pd.Series(part.index, index=part["id"].to_numpy()) for split, part in parts.items()}


def members(params: Params, features: Path, names: Sequence[str]) -> list[Member]:
    """Every encoder of one modality with its seeds and checkpoints, those that trends are over first.

    Trends are over encoders that were pretrained here; where there are none, over all that are no controls.
    """
    named = {side.encoder: side.layer for side in (params.align.x, params.align.y)}
    found = []
    own = any(params.encoders[name].source == "cave" for name in names)
    for name in names:
        spec, folder = params.encoders[name], features / name
        layer = spec.layer
        if layer is None:
            layer = named.get(name, FeatureStore.load(folder).layers - 1)
        control = spec.random or (spec.source != "cave" if own else spec.source == "control")
        found.append(Member(name, spec.seed, TRAINED, control, folder, layer, layer, spec))
        for seed in spec.more_seeds:
            found.append(Member(name, seed, TRAINED, control, folder / f"seeds/{seed}", 0, layer, spec))
        for at in spec.checkpoints:
            found.append(Member(name, spec.seed, at, control, folder / f"checkpoints/{at}", 0, layer, spec))
    return sorted(found, key=lambda one: (one.control, one.checkpoint != TRAINED))


def shared_ids(world: Path, some: Sequence[Member]) -> Ids:
    """Of each split the items that all have features of: further seeds have those of the first training items alone."""
    ids = {split: read_items(world, split, ["id"]).column("id").to_numpy() for split in SPLITS}
    for one in some:
        ids["train"] = ids["train"][np.isin(ids["train"].astype(str), one.train_ids().astype(str))]
    return ids


def answers_of(world: Path, ids: Ids, swapped: bool) -> Answers:
    """Which caption is true of which image, images down; ``swapped``: captions down."""
    path = world / RELEVANCE
    if not path.is_file():
        return Answers(None, None)
    told = read_table(path).to_pandas()
    told = told[told["k"] == 0]
    found = {}
    for split in ("val", "test"):
        mine = told[told["split"] == split]
        place = pd.Series(np.arange(len(ids[split])), index=ids[split])
        right = np.zeros((len(place), len(place)), np.bool_)
        right[place[mine["true_of"]].to_numpy(), place[mine["id"]].to_numpy()] = True
        found[split] = right.T if swapped else right
    return Answers(**found)


def couples(xs: Sequence[Member], ys: Sequence[Member]) -> Iterator[tuple[int, int, str]]:
    """Which member meets which, by place, and why: ``trained`` both, ``control`` of one, ``init`` both, ``stage``."""
    for i, x in enumerate(xs):
        for j, y in enumerate(ys):
            if x.checkpoint == y.checkpoint == TRAINED:
                yield i, j, "trained" if x.trained and y.trained else "control"
            elif x.checkpoint == y.checkpoint == 0:
                yield i, j, "init"
            elif (x.checkpoint < TRAINED and y.trained) or (y.checkpoint < TRAINED and x.trained):
                yield i, j, "stage"
