"""Which representations of a run are held against reality, and what each is called in results."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jam.align.space import load_adapters
from jam.features.store import FeatureStore
from jam.params import EncoderSpec, Params
from jam.reality.representations import Ids, Representation, encoded, seen, whitened

TRAINED = 100  # per cent
CEILINGS = ("state", "parser")  # the controls that tell all that can be told, of images and of texts


def listed(
    params: Params, features: Path, spaces: Path, chosen: Mapping[str, int], ids: Ids
) -> Iterator[Representation]:
    """Everything that stands still, each under the conditions that it meets.

    best      at the layer that is most like other modalities, of every encoder
    aligned   at the layer that ``align`` names
    kept      at the layer of its checkpoints and further seeds
    seed, init, whitened, latent     another seed; before training; `whitened` (of best); a side of a space
    """
    named = {side.encoder: side.layer for side in (params.align.x, params.align.y)}
    for name, spec in params.encoders.items():
        store = FeatureStore.load(features / name)
        layers = {"best": chosen[name], "aligned": named.get(name), "kept": spec.layer}
        for layer in dict.fromkeys(layer for layer in layers.values() if layer is not None):
            conditions = [condition for condition, at in layers.items() if at == layer]
            found = seen(store, layer, ids, spec.modality, told(name, spec, layer, conditions))
            yield found
            if "best" in conditions:
                yield whitened(found, {"condition": ["whitened"]})
        for seed in spec.more_seeds:
            yield variant(features / name / f"seeds/{seed}", name, spec, ids, ["seed"], seed=seed)
        if 0 in spec.checkpoints:
            yield checkpoint(features, name, spec, 0, ids, ["init"])
    for space in params.kernels.spaces:
        adapters, seed = load_adapters(spaces / space / str(params.align.seeds[0])), params.align.seeds[0]
        for side in (params.align.x, params.align.y):
            spec = params.encoders[side.encoder]
            frozen = seen(FeatureStore.load(features / side.encoder), side.layer, ids, spec.modality, {})
            what = {"subject": space, "x": side.side, "seed": seed, "condition": ["latent"]}
            yield encoded(frozen, adapters[side.side], what)


def checkpoint(
    features: Path, name: str, spec: EncoderSpec, percent: int, ids: Ids, conditions: list[str]
) -> Representation:
    """An encoder after so much of its training, at the layer of its checkpoints."""
    if percent < TRAINED:
        return variant(features / name / f"checkpoints/{percent}", name, spec, ids, conditions, checkpoint=percent)
    layer = spec.layer or 0
    return seen(FeatureStore.load(features / name), layer, ids, spec.modality, told(name, spec, layer, conditions))


def told(name: str, spec: EncoderSpec, layer: int | None, conditions: list[str]) -> dict[str, Any]:
    """Columns of results of an encoder as it is after training."""
    trained = TRAINED if spec.checkpoints else None
    return {"x": name, "x_layer": layer, "family": spec.family, "checkpoint": trained, "condition": conditions}


def ceilings(params: Params) -> dict[str, str]:
    """Modality → the control whose scores are its ceilings."""
    return {spec.modality: name for name, spec in params.encoders.items() if spec.control in CEILINGS}


def variant(folder: Path, name: str, spec: EncoderSpec, ids: Ids, conditions: list[str], **more: Any) -> Representation:
    """A folder of one layer, `EncoderSpec.layer` of the encoder."""
    what = told(name, spec, spec.layer, conditions) | more
    return seen(FeatureStore.load(folder), 0, ids, spec.modality, what)


def through_training(params: Params, features: Path, ids: Ids) -> Iterator[Representation]:
    """Every encoder with checkpoints, at each of them and at the end."""
    for name, spec in params.encoders.items():
        for percent in (*spec.checkpoints, TRAINED) if spec.checkpoints else ():
            yield checkpoint(features, name, spec, percent, ids, ["training"])


def still(params: Params, features: Path, ids: Ids) -> Iterator[Representation]:
    """Every encoder and control without checkpoints, at the layer that ``align`` names, else at its last."""
    named = {side.encoder: side.layer for side in (params.align.x, params.align.y)}
    for name, spec in params.encoders.items():
        if not spec.checkpoints:
            store = FeatureStore.load(features / name)
            layer = named.get(name, store.layers - 1)
            yield seen(store, layer, ids, spec.modality, told(name, spec, layer, ["still"]))
