"""What the stage `reference` reads, trains and measures, in processes of their own. Not a stage of the graph."""

from collections.abc import Mapping

import numpy as np

from jam.align.adapter import Adapter
from jam.align.items import Items
from jam.align.rows import one_row_each
from jam.align.space import Space
from jam.align.train import train
from jam.data.schema import first_views as first_contents
from jam.encoders import Encoder
from jam.errors import InputError
from jam.evaluation.private import TRAIN
from jam.features.store import layer_name, read_layer
from jam.params import Ablated, Reference, Side, load_params
from jam.reference.ablation import first_views, told, without
from jam.reference.controls import autoencoder, shuffled
from jam.world.sentence import article
from jam.world.state import factors, states_of_facts
from stages.chosen import chosen
from stages.common import ENCODERS, FEATURES, WORLD
from stages.inputs import first_views as first_features
from stages.inputs import layer_path, load_items, load_states


def reference_rows(spec: Reference, split: str) -> np.ndarray:
    """The reference's features (n, d) of the first views of a split.

    Raises:
        InputError: it has no features, or not of the items of the sides that ``align`` names.
    """
    folder = FEATURES / spec.encoder
    path = folder / layer_name(spec.layer) if spec.seed is None else folder / f"seeds/{spec.seed}" / layer_name(0)
    if not path.is_file():
        raise InputError(f"{path}: no such layer; expected features of the reference (run its features stage first)")
    (table, index), (_, order) = read_layer(path), read_layer(layer_path(load_params().align.x))
    rows, ids = one_row_each(index, split), order["id"].loc[one_row_each(order, split)]
    if index["id"].loc[rows].tolist() != ids.tolist():
        raise InputError(f"{path}: its items of split {split} are not those of align.x, expected the same in order")
    return np.array(table[rows])


def fitted(name: str, items: Items, validation: Items, seed: int) -> dict[str, Adapter]:
    """Adapters by side, trained as those of a space on other items."""
    objective, configuration = chosen(name)
    space: Space = train(items, validation, *configuration.of(objective, load_params().training), seed=seed)
    return space.adapters


def trained_on_shuffled(name: str, seed: int) -> dict[str, Adapter]:
    """A space whose training items have another item's texts."""
    sides = (load_params().align.x, load_params().align.y)
    items, validation = (load_items(sides, split) for split in ("train", "val"))
    return fitted(name, shuffled(items, sides[1].side, seed), validation, seed)


def autoencoded(side: Side, width: int, seed: int) -> Adapter:
    """An autoencoder of the first views of one side alone."""
    params = load_params()
    assert params.reference is not None
    train_rows, validation = (first_features(side, split) for split in ("train", "val"))
    return autoencoder(train_rows, validation, width, params.reference.autoencoder, params.training, seed)


def wordless(split: str) -> np.ndarray:
    """Features of the first captions of a split without the ablated words, (n, d), made as those of all others."""
    params = load_params()
    assert params.reference is not None
    assert params.reference.ablated is not None
    y, words = params.align.y, params.reference.ablated.words
    _, index = read_layer(layer_path(y))
    ids = index["id"].loc[one_row_each(index, split)].tolist()
    captions = first_contents(WORLD, params.encoders[y.encoder].modality, ids)
    texts = [without(captions[name], words, article) for name in ids]
    some = list(dict.fromkeys(texts))
    place = {text: row for row, text in enumerate(some)}
    encoded = Encoder.load(ENCODERS / y.encoder).encode(some, params.features.batch_size, y.layer)
    return encoded[[place[text] for text in texts]]


def recalled(spec: Ablated, texts: Mapping[str, np.ndarray] | None, seed: int) -> dict[str, np.ndarray]:
    """What the images of a space tell of each attribute, where it was trained on first captions, see `told`.

    Args:
        spec: what is ablated.
        texts: split → features (n, d) of the captions without words; None for the captions as they are.
        seed: of the training.
    """
    params = load_params()
    x, y = params.align.x, params.align.y
    items = {
        split: first_views(
            load_items((x, y), split), y.side, first_features(y, split) if texts is None else texts[split]
        )
        for split in ("train", "val")
    }
    adapter = fitted(spec.space, items["train"], items["val"], seed)[x.side]
    latents, known = {}, {}
    for split in ("train", "val", "test"):
        latents[split] = adapter.encode(first_features(x, split)[: TRAIN if split == "train" else None])
        states = load_states(split)
        assert states is not None
        known[split] = factors(states_of_facts(states[: len(latents[split])]))
    names = (spec.attribute, *spec.against)
    return told(latents, {name: {split: known[split][name] for split in known} for name in names})
