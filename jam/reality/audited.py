"""Which representations metrics are audited on, and which stand for what a researcher compares with."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jam.align.rows import varies
from jam.align.space import load_adapters
from jam.features.store import FeatureStore
from jam.params import EncoderSpec, Params
from jam.reality.listed import checkpoint, told, variant
from jam.reality.representations import Ids, Representation, encoded, seen, whitened

NAMED, SEED = "named", "seed"
UNTRAINED = ("init", "checkpoint")


@dataclass(frozen=True)
class Audited:
    """A representation, the encoder that it is made of, and all that were at work in it."""

    of: Representation
    encoder: str
    met: frozenset[str]


@dataclass(frozen=True)
class Reference:
    """Test rows (n, d) of a trained encoder at its named layer."""

    encoder: str
    modality: str
    family: str
    rows: np.ndarray


def named_layer(params: Params, name: str, layers: int) -> int:
    """The layer of an encoder's checkpoints and seeds, else the one that ``align`` names, else its last."""
    aligned = {side.encoder: side.layer for side in (params.align.x, params.align.y)}
    own = params.encoders[name].layer
    return own if own is not None else aligned.get(name, layers - 1)


def references(params: Params, features: Path, ids: Ids) -> list[Reference]:
    """Every trained encoder at its named layer; no controls, and no nets that are left as they were drawn."""
    found = []
    for name, spec in params.encoders.items():
        if spec.control or spec.random:
            continue
        store = FeatureStore.load(features / name)
        of = seen(store, named_layer(params, name, store.layers), {"test": ids["test"]}, spec.modality, {})
        found.append(Reference(name, spec.modality, spec.family, of.features["test"]))
    return found


def audited(params: Params, features: Path, spaces: Path, ids: Ids) -> Iterator[Audited]:
    """Every layer of every encoder, under the condition of which it is a case.

    named, layer       the layer that is named, and the others
    whitened           `whitened` (of named)
    seed, init, checkpoint     at the named layer: another seed; before training; after a part of it
    latent             a side of a space of ``kernels.spaces``, of its first seed
    """
    for name, spec in params.encoders.items():
        for of in _of_encoder(params, features, name, spec, ids):
            if varies(of.features["train"]) and varies(of.features["test"]):
                yield Audited(of, name, frozenset([name]))
    sides = (params.align.x, params.align.y)
    for space in params.kernels.spaces:
        seed = params.align.seeds[0]
        adapters = load_adapters(spaces / space / str(seed))
        for side in sides:
            spec = params.encoders[side.encoder]
            frozen = seen(FeatureStore.load(features / side.encoder), side.layer, ids, spec.modality, {})
            what = {"subject": space, "x": side.side, "seed": seed, "condition": "latent", "family": spec.family}
            of = encoded(frozen, adapters[side.side], what)
            yield Audited(of, side.encoder, frozenset(side.encoder for side in sides))


def _of_encoder(params: Params, features: Path, name: str, spec: EncoderSpec, ids: Ids) -> Iterator[Representation]:
    store = FeatureStore.load(features / name)
    named = named_layer(params, name, store.layers)
    for layer in range(store.layers):
        what = told(name, spec, layer, [])
        found = seen(store, layer, ids, spec.modality, {**what, "condition": NAMED if layer == named else "layer"})
        yield found
        if layer == named:
            yield whitened(found, {"condition": "whitened"})
    for percent in spec.checkpoints:
        before = checkpoint(features, name, spec, percent, ids, [])
        yield under(before, UNTRAINED[percent > 0])
    for seed in spec.more_seeds:
        yield under(variant(features / name / f"seeds/{seed}", name, spec, ids, [], seed=seed), SEED)


def under(of: Representation, condition: str) -> Representation:
    """The same under another condition."""
    return Representation({**of.told, "condition": condition}, of.modality, of.features, of.second)
