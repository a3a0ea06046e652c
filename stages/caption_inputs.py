"""What the stage `captions` reads: of images and sentences what a projector is given, in every split."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from jam.align.adapter import AnyAdapter
from jam.align.space import load_adapter
from jam.caption.captioner import projected, single
from jam.caption.targets import captions, joined, questions, whole
from jam.caption.train import Examples
from jam.data.schema import VIEWS, read_table
from jam.encoders import Encoder
from jam.errors import InputError
from jam.features.ragged import Ragged
from jam.features.store import of_form
from jam.params import Captions, Telling, load_params
from jam.params.resampler import TokenSide
from jam.world.state import States, facts, scene_of, states_of_facts
from stages.common import ENCODERS, SPACES, TOKEN_SPACES, WORLD
from stages.inputs import load_items, load_states
from stages.token_inputs import load_token_items

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Source:
    """Where inputs come from: the images' encoder, an adapter, None of tokens and pooled features, and the layer."""

    encoder: str
    adapter: AnyAdapter | None
    layer: int


def states_of(split: str) -> States | None:
    """The scenes of a split, (n, 6); None where the data does not tell them."""
    found = load_states(split) if load_params().dataset.source == "cave" else None
    return None if found is None else states_of_facts(found)


def require_states(of: str) -> None:
    """InputError where a variant asks for the true state and there is none."""
    spec = load_params().captions[of]
    asking = [name for name in spec.variants if spec.variant(name).input == "oracle"]
    asking += [name for name in spec.variants if spec.variant(name).task == "questions"]
    if asking and states_of("test") is None:
        raise InputError(
            f"captions.{of}.variants: got {asking}, which need the true state, with dataset.source "
            f"{load_params().dataset.source}; expected input other than oracle and task captions"
        )


def source_of(spec: Captions, recipe: Telling) -> Source:
    """The part of the first seed that makes inputs of images."""
    params = load_params()
    if recipe.input in ("z", "texts"):
        seed, x = params.space(spec.space).seeds[0], params.align.x
        return Source(x.encoder, load_adapter(SPACES / spec.space / str(seed) / x.side), x.layer)
    if recipe.input == "pooled":
        return Source(params.align.x.encoder, None, params.align.x.layer)
    layer = params.tokens[spec.image].layer
    if recipe.input != "latents":
        return Source(spec.image, None, layer)
    of = params.resampler[spec.latents.resampler]
    folder = TOKEN_SPACES / spec.latents.resampler / spec.latents.variant / str(of.seeds[0]) / of.x.side
    return Source(spec.image, load_adapter(folder), layer)


def inputs_of(spec: Captions, recipe: Telling) -> dict[str, Ragged]:
    """What is projected, by split, in the order of the items; of ``texts`` that of the test split is of images."""
    found = {split: _of_images(spec, recipe, split) for split in SPLITS}
    if recipe.input == "texts":
        found |= {split: _of_texts(spec, split) for split in ("train", "val")}
    return found


def _of_images(spec: Captions, recipe: Telling, split: str) -> Ragged:
    if recipe.input == "oracle":
        states = states_of(split)
        assert states is not None  # as the stage has asked
        return single(facts(states))
    params, adapter = load_params(), source_of(spec, recipe).adapter
    if recipe.input in ("z", "texts", "pooled"):
        x = params.align.x
        side = load_items([x], split).sides[x.side]
        kind = "pooled" if recipe.input == "pooled" else "z"
        return projected(kind, adapter, np.array(side.table[side.true[:, 0]]))
    items: Any = load_token_items([TokenSide(side="image", encoder=spec.image)], split).sides["image"]
    return projected(recipe.input, adapter, items.table[items.true[:, 0]])


def sentences_of(split: str) -> list[str]:
    """One sentence of each item of a split: one that says all, drawn anew, or else the first that the data has."""
    states, rng = states_of(split), np.random.default_rng(SPLITS.index(split))
    if states is None:
        return [told[0] for told in references(split)]
    return [whole(scene_of(state), rng) for state in states]


def examples_of(recipe: Telling, split: str, seed: int) -> Examples:
    """What is to be said of the items of a split."""
    states = states_of(split)
    if recipe.input == "texts":  # the inputs are made of these sentences, which are to be said again
        told = sentences_of(split)
        return Examples(np.arange(len(told)), [""] * len(told), told)
    if states is None:
        texts = references(split)
        rows = np.repeat(np.arange(len(texts)), [len(some) for some in texts])
        return Examples(rows, [""] * len(rows), [text for some in texts for text in some])
    return joined(list(questions(states, seed).values())) if recipe.task == "questions" else captions(states, seed)


def _of_texts(spec: Captions, split: str) -> Ragged:
    """Sentences in the space, through its side of texts."""
    params = load_params()
    y, seed = params.align.y, params.space(spec.space).seeds[0]
    encoder = Encoder.load(ENCODERS / y.encoder, device="cpu")
    told = encoder.encode(sentences_of(split), params.features.batch_size, y.layer)
    return projected("z", load_adapter(SPACES / spec.space / str(seed) / y.side), told)


def references(split: str, form: str | None = None) -> list[list[str]]:
    """True sentences of each item of a split that the data has, of a form, or else in that of its first."""
    index = read_table(WORLD / VIEWS / "text.parquet").to_pandas()
    mine = of_form(index[(index["split"] == split) & (index["role"] == "true")], form)
    return [list(some) for _, some in mine.groupby("id", sort=False)["content"]]
