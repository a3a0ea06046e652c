"""What the stage `captions` trains, what it holds that against, and what it keeps."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from jam.caption.bounds import nearest, told_by_probes
from jam.caption.captioner import save_parts
from jam.caption.language import Language
from jam.caption.lora import with_lora
from jam.caption.projector import Projector
from jam.caption.rows import NEAREST, NONE, TEMPLATE, Scored, Truths, score
from jam.caption.said import Said, say_answers, say_captions
from jam.caption.train import Schedule, train_projector
from jam.device import pick_device
from jam.errors import InputError
from jam.features.ragged import Ragged
from jam.params import Captions, Telling, load_params
from stages.caption_inputs import SPLITS, examples_of, inputs_of, sentences_of, source_of, states_of
from stages.common import ENCODERS, say


@dataclass(frozen=True)
class Made:
    """Of a variant and seed: its history, what it says of test items, what that is worth, and what was trained.

    ``language`` is None where it was not changed.
    """

    history: pd.DataFrame
    said: Said
    scored: Scored
    projector: Projector
    language: Language | None


def new_projector(recipe: Telling, inputs: Ragged, language: Language, seed: int) -> Projector:
    """A projector before its training, its constants measured on training inputs."""
    torch.manual_seed(seed)
    shape = {"longest": int(inputs.lengths.max()), "width": recipe.width, "depth": recipe.depth, "heads": recipe.heads}
    d_in, gain = inputs.shape[1], language.mean_norm()
    made = Projector(recipe.projector, d_in, language.width, recipe.k, gain=gain, **shape)
    made.standardise.fit(inputs.tokens, inputs.rows(), recipe.whitening)
    return made.to(language.model.device)


def fit(of: str, name: str, seed: int, test: Truths) -> Made:
    """A variant trained with one seed.

    Raises:
        InputError: the loss does not stay finite.
    """
    spec = load_params().captions[of]
    recipe = spec.variant(name)
    inputs, language = inputs_of(spec, recipe), Language.load(ENCODERS / spec.language, pick_device())
    before = language.fingerprint()
    if recipe.lora:
        language = with_lora(language, recipe.lora, seed)
    projector = new_projector(recipe, inputs["train"], language, seed)
    schedule = Schedule(recipe.learning_rate, recipe.epochs, recipe.batch_size, recipe.noise)
    learned, held = (examples_of(recipe, split, seed) for split in ("train", "val"))
    how: dict[str, Any] = {"seed": seed, "report": lambda line: say(f"{name}, seed {seed}, {line}")}
    try:
        history = train_projector(projector, language, inputs["train"], learned, (inputs["val"], held), schedule, **how)
    except ValueError as error:
        raise InputError(f"captions.{of}.variants.{name}: {error}") from error
    if (after := language.fingerprint()) != before:
        raise InputError(f"captions.{of}: got weights {after} of the frozen model after training, expected {before}")
    if recipe.task == "questions":
        assert test.states is not None  # as the stage has asked
        told = say_answers(projector, language, inputs["test"], test.states)
    else:
        told = say_captions(projector, language, inputs["train"], inputs["test"])
    return Made(history, told, score(told, test), projector, language if recipe.lora else None)


def size(made: Made) -> int:
    """Parameters that were trained, of the projector and of low-rank parts."""
    parts = [*made.projector.parameters(), *(() if made.language is None else made.language.model.parameters())]
    return sum(weights.numel() for weights in parts if weights.requires_grad)


def inputs_once(spec: Captions) -> list[str]:
    """Of each input that is projected, sentences apart, the first variant that has it."""
    inputs = {name: spec.variant(name).input for name in spec.variants}
    return [name for i, name in enumerate(inputs) if inputs[name] not in [*list(inputs.values())[:i], "texts"]]


def bound(of: str, name: str, test: Truths) -> pd.DataFrame:
    """Of the input of a variant what needs no training of a prefix."""
    spec = load_params().captions[of]
    inputs, known = inputs_of(spec, spec.variant(name)), sentences_of("train")
    near = [known[i] for i in nearest(inputs["train"], inputs["test"])]
    found = [test.rows({0: test.scores(near)}, name, NEAREST)]
    states = [some for split in SPLITS if (some := states_of(split)) is not None]
    if states:
        probed = told_by_probes([inputs[split] for split in SPLITS], states)
        found.append(test.rows({0: test.scores(probed)}, name, TEMPLATE))
    return pd.concat(found)


def alone(of: str, test: Truths) -> pd.DataFrame:
    """What the language model says of nothing."""
    name = load_params().captions[of].language
    language = Language.load(ENCODERS / name)
    told = language.say(language.opening(), [""])[0]
    return test.rows({0: test.scores([told] * len(test.references))}, name, NONE)


def keep(folder: Path, of: str, made: dict[tuple[str, int], Made]) -> None:
    """Captioners of all variants that images are enough for."""
    spec = load_params().captions[of]
    for (name, seed), one in made.items():
        recipe = spec.variant(name)
        if recipe.input == "oracle":
            continue
        source = source_of(spec, recipe)
        parts = one.projector, one.language or Language.load(ENCODERS / spec.language)
        told = {"validation_loss": float(one.history["validation_loss"].min()), "captions": recipe.task == "captions"}
        how: dict[str, Any] = {"encoder_name": source.encoder, "language_name": spec.language, "told_of": told}
        save_parts(folder / name / str(seed), recipe.input, source.layer, source.adapter, *parts, **how)
