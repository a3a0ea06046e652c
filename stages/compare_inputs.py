"""What the stage `compare` reads: layers of multimodal models, of encoders and of spaces, on the same items."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from jam.align.rows import one_row_each, varies
from jam.align.space import load_adapters
from jam.compare.cast import FACTORS, TRAINED, Rep
from jam.data.schema import read_items
from jam.encoders.manifest import SEEDS
from jam.features.store import FeatureStore, of_form
from jam.params import Compare, EncoderSpec, MultimodalSpec, Params
from jam.params.multimodal import TOWERS
from jam.reality.audited import named_layer
from jam.reality.representations import Ids, seen
from jam.reality.truth import TRAIN
from stages.common import FEATURES, SPACES, WORLD
from stages.multimodal_inputs import tower


def item_ids() -> dict[str, np.ndarray]:
    """Of the items that all models have features of, by split."""
    found = {split: read_items(WORLD, split, ["id"]).column("id").to_numpy() for split in ("train", "val", "test")}
    return {**found, "train": found["train"][:TRAIN]}


def known_labels(cave: bool) -> dict[str, np.ndarray]:
    """What is known of test items, by name: the habitat and the number of things of the cave, else the context."""
    told = read_items(WORLD, "test", ["context"]).to_pandas()["context"]
    if told.isna().any() or told.nunique() < 2:
        return {}
    if not cave:
        return {"context": told.to_numpy()}
    parts = told.str.split("|", expand=True)
    return {name: parts[i].to_numpy() for i, name in enumerate(("habitat", "count")) if parts[i].nunique() > 1}


def read_reps(params: Params, spec: Compare, ids: Ids) -> list[Rep]:
    """All that is compared; layers that do not vary are left out."""
    found: list[Rep] = []
    for name in spec.models:
        found += _of_multimodal(name, params.multimodal[name], spec, ids)
    for name in spec.encoders:
        found += _of_encoder(params, name, params.encoders[name], spec, ids)
    for name in spec.spaces:
        found += _of_space(params, name, ids)
    return list(filter(_varies, found))


def _varies(rep: Rep) -> bool:
    return all(varies(rows) for rows in rep.rows.values())


def read_noisy(params: Params, spec: Compare, ids: Ids) -> list[Rep]:
    """Models of several shares of wrong captions, at the vector of their own space."""
    return [
        rep for name in spec.noise for rep in _of_multimodal(name, params.multimodal[name], spec, ids)
        if rep.final and rep.checkpoint == TRAINED and _varies(rep)
    ]  # fmt: skip


def wrong_captions(params: Params, spec: Compare) -> dict[str, float]:
    """The share of wrong captions by model of ``noise``, of all seeds."""
    return {
        again: of.pretraining.wrong or 0.0
        for name in spec.noise if (of := params.multimodal[name]).pretraining is not None
        for again in (name, *(_of_seed(name, seed) for seed in of.more_seeds))
    }  # fmt: skip


def _of_seed(name: str, seed: int) -> str:
    """What a model is called that was trained from a further seed."""
    return f"{name}_seed{seed}"


def _layers(folder: Path, modality: str, layers: Sequence[int], final: int, ids: Ids, **told: Any) -> Iterator[Rep]:
    """Some layers of a folder of features."""
    store = FeatureStore.load(folder)
    for layer in layers:
        rows = seen(store, layer, ids, modality, {}).features
        depth = layer / max(1, store.layers - 1)
        yield Rep(modality=modality, layer=layer, depth=depth, final=layer == final, rows=rows, **told)


def _of_multimodal(name: str, model: MultimodalSpec, spec: Compare, ids: Ids) -> Iterator[Rep]:
    for modality in TOWERS:
        made, of = spec.made.get(name), model.pretraining
        if made is not None:
            factors = {**made.model_dump(), "seed": str(made.seed), "partner": made.architecture}
            recipe = f"{name} {made}"
        elif of is None:
            factors, recipe = dict.fromkeys(FACTORS, name), name
        else:
            towers = {"image": of.image.architecture, "text": "transformer"}
            factors = {"objective": of.objective, "data": f"{of.pairs} pairs, {of.wrong or 0} wrong",
                       "architecture": towers.pop(modality), "partner": next(iter(towers.values())),
                       "seed": str(model.seed)}  # fmt: skip
            recipe = of.model_dump_json()
        told: dict[str, Any] = {"model": name, "factors": factors, "recipe": recipe}
        last = FeatureStore.load(tower(name, modality)).layers - 1
        layers = range(last + 1) if name in spec.every_layer else [last]
        for rep in _layers(tower(name, modality), modality, layers, last, ids, **told):
            if rep.final and (folder := tower(name, modality, "shifted")).is_dir():
                store = FeatureStore.load(folder)
                index = of_form(store.index)
                rep = replace(rep, shifted=np.array(store.layer(last)[one_row_each(index, "test")]))
            yield rep
        for at in model.checkpoints:
            folder = tower(name, modality, f"checkpoints/{at}")
            yield from _layers(folder, modality, [last], last, ids, checkpoint=at, **told)
        for seed in model.more_seeds:
            again = {**told, "model": _of_seed(name, seed), "factors": {**factors, "seed": str(seed)}}
            yield from _layers(tower(name, modality, f"{SEEDS}/{seed}"), modality, [last], last, ids, **again)


def _of_encoder(params: Params, name: str, encoder: EncoderSpec, spec: Compare, ids: Ids) -> Iterator[Rep]:
    of, modality = encoder.image or encoder.text, encoder.modality
    objective = name if of is None else of.objective
    architecture = name if of is None else ("convnet" if encoder.image else "transformer")
    data = name if of is None else f"{modality}s alone"
    factors = {"objective": objective, "data": data, "architecture": architecture, "seed": str(encoder.seed)}
    if name in spec.made:
        factors = {**spec.made[name].model_dump(), "seed": str(spec.made[name].seed)}
    factors["partner"] = "none"
    recipe = name if of is None else of.model_dump_json()
    told: dict[str, Any] = {"model": name, "factors": factors, "recipe": recipe, "kind": "encoder"}
    layers = FeatureStore.load(FEATURES / name).layers
    final = named_layer(params, name, layers)
    some = range(layers) if name in spec.every_layer else [final]
    yield from _layers(FEATURES / name, modality, some, final, ids, **told)
    alone: dict[str, Any] = {"layer": final, "depth": final / max(1, layers - 1), "final": True}  # the one layer kept
    for at in encoder.checkpoints:
        for rep in _layers(FEATURES / name / f"checkpoints/{at}", modality, [0], 0, ids, checkpoint=at, **told):
            yield replace(rep, **alone)
    for seed in encoder.more_seeds:
        again = {**told, "model": _of_seed(name, seed), "factors": {**factors, "seed": str(seed)}}
        for rep in _layers(FEATURES / name / f"{SEEDS}/{seed}", modality, [0], 0, ids, **again):
            yield replace(rep, **alone)


def _of_space(params: Params, name: str, ids: Ids) -> Iterator[Rep]:
    """Both sides of a space on the sides of `align`, of its first seed."""
    seed = params.space(name).seeds[0]
    adapters = load_adapters(SPACES / name / str(seed))
    for side in (params.align.x, params.align.y):
        modality = params.encoders[side.encoder].modality
        frozen = seen(FeatureStore.load(FEATURES / side.encoder), side.layer, ids, modality, {})
        rows = {split: adapters[side.side].encode(of) for split, of in frozen.features.items()}
        factors = {"objective": params.spaces[name].loss, "data": "items", "architecture": f"on {side.encoder}",
                   "seed": str(seed)}  # fmt: skip
        yield Rep(name, modality, 0, 1.0, True, factors, f"space {name}", rows, kind="space")
