"""Captions of a frozen language model: its loss and sentences, the prefix, what sentences are worth, and bounds."""

import math
import re
import sys
from copy import deepcopy
from itertools import pairwise, permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sacrebleu
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from states import draw
from tiny_encoders import contents, picture, vision_folder
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

import jam
from jam.align.space import load_adapter
from jam.align.token_adapter import TokenAdapter
from jam.caption.__main__ import captioner_of, images_of, main
from jam.caption.answers import answer_scores
from jam.caption.bounds import flat, nearest, read, told_by_probes
from jam.caption.captioner import Captioner, projected, save_parts, several, single
from jam.caption.language import MOST, Language
from jam.caption.lora import load_lora, with_lora, without_lora
from jam.caption.marks import marked
from jam.caption.ngrams import bleu, cider_d
from jam.caption.projector import KINDS, Projector
from jam.caption.rows import REAL, SHUFFLED, Truths, real_scores, score, shuffled_scores, variant_tables
from jam.caption.said import Said, others, say_answers, say_captions
from jam.caption.scenes import SAID, is_misbound, matched, mentions_of, scene_scores, template, things_of
from jam.caption.targets import WHAT, WHERE, captions, joined, questions, whole
from jam.caption.train import Examples, Schedule, prefixes, sentences, train_projector
from jam.encoders import Encoder
from jam.encoders.token_loss import next_token_loss, padded
from jam.errors import InputError
from jam.evaluation.scores import Key, PerRow
from jam.features.ragged import Ragged, encode_tokens
from jam.params import Captions, load_params, one_line
from jam.params.captions import Telling
from jam.pretrain.text import causal_model, word_tokenizer
from jam.pretrain.training import save_cave
from jam.results import read_results, results_table, select, write_results
from jam.world.claims import Scenes
from jam.world.grammar import draw_plan, speak
from jam.world.habitats import Habitats
from jam.world.lexicon import WORDS
from jam.world.parser import parse
from jam.world.state import CELLS, STATE_DIM, Thing, facts, scene_of, state_of

PROMPTS = ["", "there is in the top left", "there is a large", "there is"]
ANSWERS = [
    "there is a large red seven in the top left and in the bottom right a small blue two",
    "a small green one",
    "blue two in the top middle",
    "in the bottom right a white six and a large cyan zero in the top right",
]


@pytest.fixture(scope="module")
def language():
    """A tiny GPT-2 that has learned a little of how sentences go on and end; no test changes it."""
    states = draw(300, 0)
    told = [*captions(states, 0).answers, *ANSWERS, *(template(scene_of(state)) for state in states)]
    tokenizer = word_tokenizer(told)
    torch.manual_seed(0)
    model = causal_model(tokenizer, 16, 1, 2, 32)
    ids = sorted((tokenizer(text)["input_ids"] for text in told), key=len)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    for step in range(60):
        start = 8 * (step * 7 % (len(ids) // 8))
        batch = padded(ids[start : start + 8], tokenizer.pad_token_id)
        total, count = next_token_loss(model, batch, tokenizer.pad_token_id)
        optimizer.zero_grad()
        (total / count).backward()
        optimizer.step()
    model.zero_grad()
    return Language.of(model, tokenizer)


def fresh(language):
    """A copy that may be changed."""
    return Language.of(deepcopy(language.model), deepcopy(language.tokenizer))


def drawn_prefix(language, k):
    drawn = torch.randn(len(ANSWERS), k, language.width, generator=torch.Generator().manual_seed(0))
    return language.mean_norm() * drawn / language.width**0.5


def ids_of(language, text):
    return language.tokenizer(text, add_special_tokens=False)["input_ids"]


def one_line_of(call, match, error=InputError):
    with pytest.raises(error, match=match) as caught:
        call()
    assert "\n" not in str(caught.value)


# --- the language model -----------------------------------------------------------------------------------------------


def plain_loss(language, prefix, prompt, answer):
    """Of one sentence alone, position by position: −log softmax at the position before each token to be said."""
    start = [language.tokenizer.bos_token_id, *ids_of(language, prompt)]
    end = [*ids_of(language, answer), language.tokenizer.eos_token_id]
    table = language.model.get_input_embeddings().weight
    states = torch.cat([prefix, table[torch.tensor(start + end)]])
    logits = language.model(inputs_embeds=states[None]).logits[0].double()
    total = 0.0
    for i, token in enumerate(end):
        told = logits[len(prefix) + len(start) + i - 1]
        total += math.log(sum(math.exp(x) for x in told.tolist())) - float(told[token])
    return total


@pytest.mark.parametrize("k", [0, 1, 4])
@pytest.mark.parametrize("prompts", [[""] * 4, PROMPTS], ids=["none", "some"])
def test_the_loss_is_that_of_a_plain_loop_over_the_tokens_of_answers_and_their_ends(language, k, prompts):
    prefix = drawn_prefix(language, k)
    found, count = language.loss(prefix, prompts, ANSWERS)
    expected = [plain_loss(language, *each) for each in zip(prefix, prompts, ANSWERS, strict=True)]
    assert float(found) == pytest.approx(sum(expected), rel=1e-5)
    assert count == sum(len(ids_of(language, answer)) + 1 for answer in ANSWERS)


def test_a_longer_neighbour_changes_nothing(language):
    prefix = drawn_prefix(language, 2)
    together, _ = language.loss(prefix, PROMPTS, ANSWERS)
    alone = [language.loss(prefix[i : i + 1], PROMPTS[i : i + 1], ANSWERS[i : i + 1])[0] for i in range(len(ANSWERS))]
    assert float(together) == pytest.approx(float(sum(alone)), rel=1e-5)


@pytest.mark.parametrize("pad", ["<eos>", "<unk>", "two"])
def test_which_token_stands_for_padding_changes_neither_loss_nor_sentences(language, pad):
    other, prefix = fresh(language), drawn_prefix(language, 2)
    other.tokenizer.pad_token = pad
    for config in (other.model.config, other.model.generation_config):
        config.pad_token_id = other.tokenizer.pad_token_id
    (expected, count), (found, same) = (each.loss(prefix, PROMPTS, ANSWERS) for each in (language, other))
    assert (float(found), same) == (float(expected), count)  # the ends among them, though they be the padding's
    assert other.say(prefix, PROMPTS) == language.say(prefix, PROMPTS)


def test_without_a_beginning_of_its_own_the_prefix_alone_tells_the_first_token(language):
    bare = fresh(language)
    bare.tokenizer.bos_token = None
    assert (bare.start(), language.start()) == ([], [language.tokenizer.bos_token_id])
    prefix = drawn_prefix(language, 1)[:1]
    found, count = bare.loss(prefix, [""], ["two"])
    ids = [*ids_of(bare, "two"), bare.tokenizer.eos_token_id]
    logits = bare.model(inputs_embeds=torch.cat([prefix, bare.embed(torch.tensor([ids]))], dim=1)).logits[0]
    expected = -sum(logits[i].log_softmax(0)[token] for i, token in enumerate(ids))
    assert (float(found), count) == (pytest.approx(float(expected), rel=1e-5), 2)


def test_prompt_and_answer_have_the_tokens_of_the_whole_sentence():
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.train_from_iterator(
        ANSWERS, trainers.BpeTrainer(vocab_size=300, special_tokens=["<eos>"], show_progress=False)
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<eos>")
    language = Language(None, tokenizer)
    ids = tokenizer("there is a large red seven")["input_ids"]
    assert language.start("there is") + language.end("there is", "a large red seven") == [*ids, 0]
    assert language.end("", "there is a large red seven") == [*ids, 0]


def plainly_said(language, prefix, prompt):
    """One sentence, all of it read again for each word; and whether the model ended it."""
    table, told = language.model.get_input_embeddings().weight, []
    states = torch.cat([prefix, table[torch.tensor(language.start(prompt), dtype=torch.long)]])
    while len(told) < MOST:
        token = int(language.model(inputs_embeds=states[None]).logits[0, -1].argmax())
        if token == language.tokenizer.eos_token_id:
            break
        told.append(token)
        states = torch.cat([states, table[token][None]])
    return language.tokenizer.decode(told, skip_special_tokens=True), len(told) < MOST


def test_sentences_are_those_of_a_plain_loop_one_by_one_and_end(language):
    prefix, ended = drawn_prefix(language, 3), []
    together = language.say(prefix, PROMPTS)
    for i, (text, prompt) in enumerate(zip(together, PROMPTS, strict=True)):
        assert language.say(prefix[i : i + 1], [prompt]) == [text]
        plain, ends = plainly_said(language, prefix[i], prompt)
        assert text == plain
        ended.append(ends)
    assert any(ended)
    assert len(set(together)) > 1
    assert all(len(text.split()) <= 4 for text in language.say(prefix, PROMPTS, most=4))


def test_without_a_prefix_it_goes_on_from_the_prompt_alone(language):
    none = torch.zeros(2, 0, language.width)
    assert language.say(none, ["there is", ""]) == [plainly_said(language, none[0], p)[0] for p in ("there is", "")]


def test_a_language_model_is_frozen_and_known_by_its_weights(language):
    assert not language.trains
    assert not language.lora
    assert not language.model.training
    other = fresh(language)
    assert other.fingerprint() == language.fingerprint()
    next(iter(other.model.parameters()))[0, 0] += 1e-3
    assert other.fingerprint() != language.fingerprint()
    norms = language.model.get_input_embeddings().weight.norm(dim=1)
    assert language.mean_norm() == pytest.approx(float(norms.mean()), rel=1e-6)


class Parrot:
    """Says given tokens, whatever the prefix."""

    def __init__(self, ids):
        self.ids, self.table = ids, torch.nn.Embedding(5, 4)

    def get_input_embeddings(self):
        return self.table

    def generate(self, **_):
        return torch.tensor([self.ids])


def test_what_is_said_word_for_word_has_the_highest_score(language):
    text = next(text for text in captions(draw(50, 0), 0).answers if "," in text)
    parrot = Language(Parrot(ids_of(language, text)), language.tokenizer)
    assert bleu(parrot.say(torch.zeros(1, 1, 4), [""]), [[text]]) == pytest.approx(1)


# --- projector --------------------------------------------------------------------------------------------------------


def projector(kind="linear", d_in=6, d_out=16, k=3, seed=0, **options):
    torch.manual_seed(seed)
    options = {"width": 8, "heads": 2, "depth": 2, "longest": 5} | options
    return Projector(kind, d_in, d_out, k, **options).eval()


def tokens(lengths=(5, 5), wide=5, d=6, seed=0):
    """Random vectors, on padding too, and which are real."""
    drawn = torch.randn(len(lengths), 5, d, generator=torch.Generator().manual_seed(seed))
    more = 7 * torch.ones(len(lengths), wide - 5, d)
    return torch.cat([drawn, more], dim=1), torch.arange(wide) < torch.tensor(lengths)[:, None]


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_new_prefix_is_as_long_as_the_models_own_embeddings(kind):
    states, real = tokens([5] * 20)
    for gain in (0.3, 4.0):
        prefix = projector(kind, d_out=32, gain=gain)(states, real)
        assert prefix.shape == (20, 3, 32)
        assert float(prefix.norm(dim=2).mean()) == pytest.approx(gain, rel=5e-4)  # of which LayerNorm's ε takes some
    with_mask, without = projector(kind)(states, real), projector(kind)(states)
    torch.testing.assert_close(with_mask, without, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", ["transformer", "resampler"])
@torch.no_grad()
def test_padding_is_not_read(kind):
    module = projector(kind)
    narrow, wide = (module(*tokens((3, 5), wide)) for wide in (5, 9))
    torch.testing.assert_close(narrow, wide, atol=1e-6, rtol=0)
    states, _ = tokens((3, 5))
    torch.testing.assert_close(narrow[:1], module(states[:1, :3]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_a_map_of_fixed_length_refuses_another_one(kind):
    module = projector(kind)
    for states, real in (tokens((5, 5), 9), tokens((3, 5))):
        one_line_of(
            lambda states=states, real=real: module(states, real), f"{kind}: got .* expected 5 of each", ValueError
        )
    one_line_of(lambda: module(tokens()[0][:, :4]), f"{kind}: got 4 vectors an item at most", ValueError)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_of_padding_alone_is_refused(kind):
    one_line_of(lambda: projector(kind)(*tokens((5, 0))), "row 1 is padding alone", ValueError)


def test_an_unknown_kind_of_projector_is_refused():
    one_line_of(lambda: projector("quadratic"), "projector: got 'quadratic', expected one of", ValueError)


@pytest.mark.parametrize("kind", KINDS)
def test_a_projector_is_kept_byte_for_byte(kind, tmp_path):
    module = projector(kind, gain=2.0)
    module.standardise.fit(tokens([5] * 10)[0].flatten(0, 1) + 3, None, 1.0)
    module.save(tmp_path / "a")
    loaded = Projector.load(tmp_path / "a")
    loaded.save(tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert torch.equal(loaded(*tokens()), module(*tokens()))
    assert not loaded.training


def test_a_projector_of_features_in_double_precision_is_kept_too(tmp_path):
    module, states = projector(), tokens()[0].double() + 1e8
    module.standardise.fit(states.flatten(0, 1), None, 1.0)
    module.save(tmp_path / "a")
    assert torch.equal(Projector.load(tmp_path / "a")(states), module(states))


# --- training ---------------------------------------------------------------------------------------------------------


def of_states(n=24, seed=0):
    states = draw(n, seed)
    return single(facts(states)), captions(states, seed)


def trained(
    language, held=None, seed=0, epochs=3, learning_rate=0.02, noise=0.0, inputs=None, answer=None, report=print
):
    torch.manual_seed(0)
    made = Projector("linear", STATE_DIM, language.width, 2, longest=1, gain=language.mean_norm())
    known, told = of_states()
    told = Examples(told.rows, told.prompts, [answer] * len(told)) if answer else told
    schedule = Schedule(learning_rate, epochs, 8, noise)
    how = {"seed": seed, "report": report}
    return made, train_projector(made, language, inputs or known, told, held or of_states(12, 1), schedule, **how)


def cost(language, module, inputs, told):
    """Nats a token."""
    with torch.no_grad():
        total, count = language.loss(prefixes(module, inputs)[told.rows], told.prompts, told.answers)
    return float(total) / count


def test_training_a_projector_leaves_the_language_model_as_it_was(language):
    before, lines = language.fingerprint(), []
    module, history = trained(language, report=lines.append)
    assert language.fingerprint() == before
    assert all(weights.grad is None and not weights.requires_grad for weights in language.model.parameters())
    assert not language.model.training
    assert list(history) == ["epoch", "loss", "validation_loss"]
    assert history["loss"].iloc[-1] < history["loss"].iloc[0] - 0.05
    assert cost(language, module, *of_states()) < cost(language, trained(language, epochs=1)[0], *of_states())
    assert len(lines) == 3
    assert lines[-1].startswith("epoch 3/3: loss ")


def test_training_on_z_leaves_the_files_and_the_weights_of_the_space_as_they_were(language, tmp_path):
    made = jam.Adapter("linear", d_in=STATE_DIM, d_latent=5)
    states = draw(24, 0)
    made.standardise.fit(torch.from_numpy(facts(states)))
    made.save(tmp_path / "space")
    before, adapter = contents(tmp_path / "space"), load_adapter(tmp_path / "space")
    inputs = projected("z", adapter, facts(states).astype(np.float32))
    weights = {name: value.clone() for name, value in adapter.state_dict().items()}
    told, schedule = captions(states, 0), Schedule(0.02, 2, 8)
    module = projector("linear", 5, language.width, longest=1)
    train_projector(module, language, inputs, told, (inputs, told), schedule, seed=0)
    save_parts(tmp_path / "kept", "z", LAYER, adapter, module, language)
    assert contents(tmp_path / "space") == before
    assert all(torch.equal(value, weights[name]) for name, value in adapter.state_dict().items())
    assert {f"adapter/{name}": content for name, content in before.items()}.items() <= contents(
        tmp_path / "kept"
    ).items()


def test_the_best_epoch_is_kept(language):
    held = of_states(12, 1)
    module, history = trained(language, held, epochs=4, answer="two two two", learning_rate=0.1)
    best = history["validation_loss"]
    assert best.idxmin() < len(best) - 1
    assert best.max() - best.min() > 0.01
    assert cost(language, module, *held) == pytest.approx(best.min(), rel=1e-5)


def test_the_same_seed_gives_the_same_bytes_with_noise_too(language, tmp_path):
    for noise in (0.0, 0.5):
        for name, seed in (("a", 0), ("b", 0), ("c", 1)):
            trained(language, seed=seed, noise=noise, epochs=1)[0].save(tmp_path / f"{name}{noise}")
    told = {path.name: contents(path) for path in tmp_path.iterdir()}
    for noise in (0.0, 0.5):
        assert told[f"a{noise}"] == told[f"b{noise}"] != told[f"c{noise}"]
    assert told["a0.0"] != told["a0.5"]


def test_a_loss_that_is_not_finite_ends_the_training_in_one_line(language):
    inputs = single(np.full((24, STATE_DIM), np.nan, np.float32))
    one_line_of(lambda: trained(language, inputs=inputs), "epoch 0: got a loss of nan", ValueError)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=30), st.integers(1, 7))
@settings(max_examples=30, deadline=None)
def test_batches_hold_each_example_once_and_equal_lengths_together(lengths, size):
    some = Examples(np.arange(len(lengths)), [""] * len(lengths), ["two " * length for length in lengths])
    for rng in (None, np.random.default_rng(0)):
        parts = list(some.batches(size, rng))
        assert sorted(np.concatenate(parts)) == list(range(len(lengths)))
        assert all(len(part) <= size for part in parts)
        ends = sorted((min(of), max(of)) for part in parts if (of := [lengths[i] for i in part]))
        assert all(a[1] <= b[0] for a, b in pairwise(ends))


def test_sentences_and_prefixes_do_not_depend_on_the_batch(language):
    module, (inputs, _) = projector("linear", STATE_DIM, language.width, longest=1), of_states(5)
    prefix = prefixes(module, inputs)
    torch.testing.assert_close(prefixes(module, inputs, batch_size=2), prefix, atol=1e-6, rtol=0)
    assert sentences(language, prefix, ["there is"] * 5, 2) == language.say(prefix, ["there is"] * 5)


# --- scenes -----------------------------------------------------------------------------------------------------------


def worth(told, *scenes):
    found = scene_scores(told, np.stack([state_of(scene) for scene in scenes]))
    return {
        (key.metric, key.label): float(np.mean(one.values)) if isinstance(one, PerRow) else one
        for key, one in found.items()
    }


def assert_worth(told, scenes, **expected):
    """Of each metric named its value: the same of all labels, or by label."""
    found = worth(told, *scenes)
    assert set(expected) <= {metric for metric, _ in found}
    for (metric, label), value in found.items():
        wanted = expected.get(metric, value)
        assert value == pytest.approx(wanted.get(label, value) if isinstance(wanted, dict) else wanted), (metric, label)


RIGHT = {
    "exact_scene": 1, "binding_error": 0, "unparseable": 0, "omission": 0, "hallucination": 0, "said_recall": 1,
    "said_precision": 1,
}  # fmt: skip
RIGHT |= {"misbound": 0, "misplaced": 0, "repeated": 0}
RED_SEVEN, BLUE_TWO, GREEN_NINE = Thing(7, 0, 1), Thing(2, 5, 0), Thing(9, 3, 1)
TWO = {0: RED_SEVEN, 5: BLUE_TWO}
SEVEN, SECOND = "a large red seven in the top left", "a small blue two in the bottom right"


def of_habitats(n=150):
    rng = np.random.default_rng(3)
    return Habitats.drawn(4, 3, 0.2, rng).draw(n, rng)[0]


@pytest.mark.parametrize("make", [draw, lambda n, _: of_habitats(n)], ids=["uniform", "habitats"])
def test_what_is_to_be_said_is_read_back_and_exact(make):
    states = make(150, 1)
    scenes = [scene_of(state) for state in states]
    for told in (captions(states, 0).answers, [template(scene) for scene in scenes]):
        assert_worth(told, scenes, **RIGHT)
        assert all(parse(text).count is None and not parse(text).relations for text in told)
        assert all(Scenes(state[None]).true(parse(text))[0] for state, text in zip(states, told, strict=True))


def test_things_are_told_in_the_order_of_their_cells():
    for state in draw(40, 2):
        told = [min(mention.cell) for mention in parse(whole(scene_of(state), np.random.default_rng(0))).mentions]
        assert told == sorted(scene_of(state))


def test_swapped_colours_are_a_binding_error_and_nothing_else():
    swapped = template({0: RED_SEVEN._replace(colour=5), 5: BLUE_TWO._replace(colour=0)})
    shares = {"digit": 1, "size": 1, "cell": 1, "colour": 0}
    expected = RIGHT | {"exact_scene": 0, "binding_error": 1, "said_recall": shares, "said_precision": shares}
    expected |= {"misbound": 1, "misplaced": {None: 1, "colour": 1}}
    assert_worth([swapped], [TWO], **expected)


def test_swapped_places_are_a_binding_error_and_other_values_are_none():
    assert is_misbound(parse(template({5: RED_SEVEN, 0: BLUE_TWO})).mentions, things_of(TWO))
    for other in ({0: RED_SEVEN._replace(colour=2), 5: BLUE_TWO}, {1: RED_SEVEN, 5: BLUE_TWO}, {0: RED_SEVEN}, TWO):
        assert not is_misbound(parse(template(other)).mentions, things_of(TWO))


def test_of_wrong_words_those_that_another_thing_has_are_misplaced():
    told = template({0: RED_SEVEN._replace(colour=5, size=0), 5: BLUE_TWO._replace(colour=2, digit=4)})
    expected = {None: 2 / 4, "colour": 1 / 2, "size": 1, "digit": 0, "cell": 0}  # the second has no blue left
    assert_worth([told], [TWO], misplaced=expected, misbound=0, repeated=0)
    more = template({**TWO, 1: RED_SEVEN})  # a third thing, of which all but the place is in the scene
    assert_worth([more], [TWO], misplaced={None: 3 / 4, "digit": 1, "colour": 1, "size": 1, "cell": 0}, repeated=1)
    open_to_more = f"there is {SEVEN} and a small warm two in the bottom right"  # which is red, as the other thing
    assert_worth([open_to_more], [TWO], misplaced={None: 1, "colour": 1})


def test_a_thing_is_repeated_where_it_is_said_more_often_than_it_is_there():
    twice = f"there is {SEVEN} and a large red seven in the bottom right"
    assert_worth([twice], [TWO], repeated=1)
    assert_worth([twice], [{0: RED_SEVEN, 5: RED_SEVEN}], **RIGHT)
    assert_worth([twice], [{0: BLUE_TWO}], repeated=1)
    assert_worth([f"there is {SEVEN} and a large red number in the bottom right"], [TWO], repeated=0)
    assert_worth([f"there is {SECOND} and {SEVEN}", "two two two"], [{0: BLUE_TWO}] * 2, repeated=0)


def test_binding_errors_are_told_among_captions_with_the_right_words():
    swapped = template({5: RED_SEVEN, 0: BLUE_TWO})
    told = [template(TWO), swapped, swapped, template({0: RED_SEVEN}), "two two two"]
    assert_worth(told, [TWO] * 5, misbound=2 / 3, binding_error=2 / 5)
    found = scene_scores(told, np.stack([state_of(TWO)] * 5))
    assert list(found[Key("misbound", "image")].item) == [0, 1, 2]


def test_a_missing_thing_is_an_omission_and_an_additional_one_is_a_hallucination():
    missing = RIGHT | {"exact_scene": 0, "omission": 1 / 2, "said_recall": 1 / 2}
    assert_worth([f"there is {SEVEN}"], [TWO], **missing)
    more = RIGHT | {"exact_scene": 0, "hallucination": 1 / 3, "said_precision": 2 / 3}
    more["misplaced"] = {None: 1 / 4, "size": 1}  # the nine is large, as the seven
    assert_worth([template({**TWO, 1: GREEN_NINE})], [TWO], **more)
    another = RIGHT | {"exact_scene": 0, "omission": 1 / 2, "hallucination": 1 / 2}
    shares = {"digit": 1 / 2, "colour": 1, "size": 1, "cell": 1}
    told = template({0: RED_SEVEN, 5: BLUE_TWO._replace(digit=3)})
    assert_worth([told], [TWO], **another | {"said_recall": shares, "said_precision": shares})


def test_a_digit_said_twice_is_no_hallucination_and_said_once_no_omission():
    twice = f"there is {SEVEN} and a large red seven in the bottom right"
    assert_worth([twice], [TWO], hallucination=0, omission=1 / 2, repeated=1)
    assert_worth([f"there is {SEVEN}"], [{0: RED_SEVEN, 5: RED_SEVEN}], hallucination=0, omission=0, exact_scene=0)


def test_right_words_of_things_that_are_alike_cannot_be_misbound():
    swapped = template({5: RED_SEVEN, 0: BLUE_TWO})
    found = scene_scores(
        [f"there is {SEVEN}", template({0: RED_SEVEN, 5: RED_SEVEN}), swapped],
        np.stack([state_of(scene) for scene in ({0: RED_SEVEN}, {0: RED_SEVEN, 5: RED_SEVEN}, TWO)]),
    )
    assert list(found[Key("misbound", "image")].item) == [2]
    assert list(found[Key("exact_scene", "image")].values) == [1, 1, 0]


def test_garbage_omits_all_and_makes_nothing_up():
    garbage = ["two two two", "", "there is", f"there is {SEVEN}, {SECOND}, {SEVEN} and {SECOND}"]
    assert all(mentions_of(text) is None for text in garbage)
    expected = {"unparseable": 1, "omission": 1, "hallucination": 0, "exact_scene": 0, "binding_error": 0}
    assert_worth(garbage, [TWO] * 4, **expected, said_recall=0)
    mixed = {"unparseable": 1 / 2, "omission": 1 / 2, "hallucination": 0, "said_recall": 1 / 2, "said_precision": 1}
    assert_worth(["two two two", template(TWO)], [TWO] * 2, **mixed)  # what says nothing has no share of what is said


@pytest.mark.parametrize(
    ("text", "unsaid"),
    [
        ("there is a red seven in the top left", "size"),
        ("there is a large warm seven in the top left", None),
        ("there is a large red seven in the top row", None),
        ("there is a large red number in the top left", "digit"),
        ("there is a large red odd figure in the top left", None),
        ("there is a large red seven", "cell"),
    ],
)
def test_a_caption_that_leaves_something_open_is_true_but_not_exact(text, unsaid):
    recall = {name: float(name != unsaid) for name in SAID}
    expected = RIGHT | {"exact_scene": 0, "said_recall": recall}
    expected["said_precision"] = {name: recall[name] for name in SAID if name != unsaid}
    if "seven" not in text:
        expected["omission"] = 1  # by digits
    assert_worth([text], [{0: RED_SEVEN}], **expected)
    assert Scenes(state_of({0: RED_SEVEN})[None]).true(parse(text))[0]


@pytest.mark.parametrize(
    "text", [f"there is {SEVEN} below {SECOND}", f"there is a trio of things: {SEVEN} and {SECOND}"]
)
def test_a_false_caption_is_not_exact(text):
    assert not Scenes(state_of(TWO)[None]).true(parse(text))[0]
    assert_worth([text], [TWO], exact_scene=0)


def truths(mention, thing):
    """How much a mention says truly of a thing; plain."""
    allowed = mention._asdict()
    return sum(len(allowed[name]) < SAID[name] and thing[name] in allowed[name] for name in SAID)


@given(st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_mentions_are_matched_with_things_for_the_most_truths(seed):
    rng = np.random.default_rng(seed)
    scenes = [scene_of(state) for state in draw(2, seed)]
    said = [mention for scene in scenes for mention in parse(speak(scene, draw_plan(scene, rng))).mentions]
    mentions = [said[i] for i in rng.permutation(len(said))[: rng.integers(1, 4)]]
    things = things_of(scenes[0])
    found = matched(mentions, things)
    assert len(found) == len({a for a, _ in found}) == len({b for _, b in found}) == min(len(mentions), len(things))
    orders = permutations([*things, *[None] * len(mentions)], len(mentions))
    most = max(sum(truths(*pair) for pair in zip(mentions, order, strict=True) if pair[1]) for order in orders)
    assert sum(truths(mentions[a], things[b]) for a, b in found) == most


def test_the_first_of_equal_matches_is_taken_and_nothing_matches_nothing():
    things = things_of({0: RED_SEVEN, 4: RED_SEVEN})
    seven = parse("there is a red seven").mentions
    assert matched(seven, things) == [(0, 0)]
    assert matched([*seven, *seven], things) == [(0, 0), (1, 1)]
    assert matched(parse("there is a red seven in the bottom middle and a red seven").mentions, things) == [
        (0, 1),
        (1, 0),
    ]
    assert matched([*seven, *seven, *seven], things) == [(0, 0), (1, 1)]
    assert matched([], things) == []


def test_of_equal_captions_one_is_distinct():
    for n in (1, 4):
        assert_worth([template(TWO)] * n, [TWO] * n, distinct=1 / n)
    assert_worth([template(TWO), template({0: RED_SEVEN})], [TWO] * 2, distinct=1)


# --- n-grams ----------------------------------------------------------------------------------------------------------

SENTENCE = st.lists(st.sampled_from("abcd"), min_size=1, max_size=9).map(" ".join)


@st.composite
def corpus(draw_of):
    """Sentences near their references, so that n-grams are shared."""
    n, many = draw_of(st.integers(1, 4)), draw_of(st.integers(1, 3))
    references = [[draw_of(SENTENCE) for _ in range(many)] for _ in range(n)]
    told = [draw_of(st.one_of(SENTENCE, st.sampled_from(some), st.just(some[0] + " a b"))) for some in references]
    return told, references


@given(corpus())
@settings(max_examples=50, deadline=None)
def test_bleu_is_that_of_sacrebleu(drawn):
    told, references = drawn
    streams = [list(stream) for stream in zip(*references, strict=True)]
    expected = sacrebleu.corpus_bleu(told, streams, tokenize="none", smooth_method="none", force=True).score / 100
    assert bleu(told, references) == pytest.approx(expected, abs=1e-9)


def test_bleu_knows_its_ends():
    assert bleu(["a b c d e"], [["x", "a b c d e"]]) == pytest.approx(1)
    assert bleu(["a b c d"], [["a b c d e"]]) == pytest.approx(math.exp(1 - 5 / 4))
    for told in ("", "a b c", "x y z w"):
        assert bleu([told], [["a b c d"]]) == 0
    assert bleu(["a b c d"], [["a b c d e", "a b c"]]) == pytest.approx(1)  # of two as near the shorter counts


def test_cider_is_as_computed_by_hand():
    """Two images, so that idf is log 2 of what one has and 0 of "a", which both have; divided by log 2 all along.

    First sentence against "a b": (b) = (b), (ab) = (ab), no runs of three: (1 + 1) / 4.
    Against "b b d": b 1 of 2, and d alone there: 1·2 / (1·√5); (ab) in none of (bb), (bd): 0; one word of difference.
    Second against "c a": c 2 of 1, clipped: 1·1 / (2·1); (cc), (ca) of (ca): 1·1 / (√2·1); one word of difference.
    """
    told, references = ["a b", "c c a"], [["a b", "b b d"], ["c a"]]
    shorter = math.exp(-1 / 72)
    first = 10 * (2 / 4 + shorter * 2 / math.sqrt(5) / 4) / 2
    second = 10 * shorter * (1 / 2 + 1 / math.sqrt(2)) / 4
    assert cider_d(told, references) == pytest.approx([first, second])


def test_cider_is_ten_at_best_and_zero_without_a_common_word():
    references = [["a b c d e"], ["f g h i j"], ["k l m n o"]]
    assert cider_d(["a b c d e", "x y z", ""], references) == pytest.approx([10, 0, 0])
    assert cider_d(["a b c d e"], [["a b c d e"]]) == [0]  # of one image every word is in all: nothing tells it


@pytest.mark.parametrize("more", [0, 1, 3, 12])
def test_cider_of_another_length_is_penalised(more):
    """After the five words of the reference so many others, all of them rare: a run is shared or in one alone."""
    found = cider_d(["a b c d e" + " x" * more, "f"], [["a b c d e"], ["f g h i j"]])[0]
    words, total = [*"abcde", *"x" * more], 0.0
    for n in range(1, 5):
        times = pd.Series([" ".join(words[i : i + n]) for i in range(5 + more - n + 1)]).value_counts()
        total += math.sqrt(6 - n) / math.sqrt((times**2).sum())
    assert found == pytest.approx(10 * math.exp(-(more**2) / 72) * total / 4)


# --- questions --------------------------------------------------------------------------------------------------------

NAMES = {WHAT: ("digit", "colour", "size"), WHERE: ("cell",)}


def test_answers_to_questions_are_true_of_the_scene():
    states = draw(150, 3)
    asked = questions(states, 0)
    assert list(asked) == [WHAT, WHERE]
    assert list(asked[WHAT].rows) == list(range(150))
    for kind, some in asked.items():
        for row, prompt, answer in zip(some.rows, some.prompts, some.answers, strict=True):
            [mention] = parse(f"{prompt} {answer}").mentions
            assert Scenes(states[[row]]).true(parse(f"{prompt} {answer}"))[0]
            assert all(len(getattr(mention, name)) == 1 for name in SAID)
            place = parse(f"{prompt} a number" if kind == WHAT else prompt).mentions[0]
            assert (len(place.cell) == 1) == (kind == WHAT)
            assert (len(place.digit) == 1) == (kind == WHERE)
    again, other = questions(states, 0), questions(states, 1)
    assert again[WHAT].prompts == asked[WHAT].prompts != other[WHAT].prompts


def test_nobody_is_asked_where_a_thing_is_that_is_there_twice():
    scenes = [{0: RED_SEVEN, 3: RED_SEVEN}, {0: RED_SEVEN, 3: RED_SEVEN, 4: BLUE_TWO}, TWO]
    states = np.stack([state_of(scene) for scene in scenes])
    asked = [questions(states, seed) for seed in range(12)]
    found = [(row, prompt) for one in asked for row, prompt in zip(one[WHERE].rows, one[WHERE].prompts, strict=True)]
    for row, prompt in found:
        [mention] = parse(prompt).mentions
        assert (row, min(mention.digit)) in {(1, 2), (2, 2), (2, 7)}
    assert {row for row, _ in found} == {1, 2}
    assert all(len(one[WHAT]) == 3 for one in asked)


def test_of_scenes_of_equal_things_alone_nobody_is_asked_where():
    assert len(questions(state_of({0: RED_SEVEN, 3: RED_SEVEN})[None], 0)[WHERE]) == 0


def answered(kind, asked, answers):
    found = answer_scores(kind, asked, answers)
    assert all(key.metric == "answer" and key.kind == kind for key in found)
    assert all(list(one.item) == list(asked.rows) for one in found.values())
    return {key.label: float(one.values.mean()) for key, one in found.items()}


def with_another(answer, name):
    """An answer with one word of another value."""
    words, values = answer.split(), WORDS[name]
    place, value = next((i, v) for i, word in enumerate(words) for v, some in enumerate(values) if word in some)
    words[place] = values[(value + 1) % len(values)][0]
    return " ".join(words)


@pytest.mark.parametrize("kind", [WHAT, WHERE])
def test_right_answers_count_one_and_wrong_ones_lower_what_is_wrong(kind):
    asked, right = questions(draw(40, 4), 0)[kind], dict.fromkeys((None, *NAMES[kind]), 1)
    assert answered(kind, asked, asked.answers) == right
    for name, label in [("row", "cell")] if kind == WHERE else [(name, name) for name in NAMES[kind]]:
        wrong = [with_another(answer, name) for answer in asked.answers]
        assert answered(kind, asked, wrong) == right | {None: 0, label: 0}
    for unreadable in ("two two", "there is a red seven"):
        assert answered(kind, asked, [unreadable] * len(asked)) == dict.fromkeys(right, 0)
    half = len(asked) // 2
    mixed = [*asked.answers[:half], *[""] * (len(asked) - half)]
    assert answered(kind, asked, mixed) == pytest.approx(dict.fromkeys(right, half / len(asked)))


def test_an_answer_that_leaves_something_open_is_not_right():
    asked = Examples(np.array([0]), ["there is in the top left"], ["a large red seven"])
    assert answered(WHAT, asked, ["a large warm seven"]) == {None: 0, "digit": 1, "colour": 0, "size": 1}
    assert answered(WHAT, asked, ["a red seven"]) == {None: 0, "digit": 1, "colour": 1, "size": 0}


def test_joined_questions_are_all_of_them():
    asked = questions(draw(9, 0), 0)
    both = joined(list(asked.values()))
    assert list(both.rows) == [*asked[WHAT].rows, *asked[WHERE].rows]
    assert both.prompts == [*asked[WHAT].prompts, *asked[WHERE].prompts]
    assert both.answers == [*asked[WHAT].answers, *asked[WHERE].answers]


# --- bounds -----------------------------------------------------------------------------------------------------------


def sequences(lengths, d=3, seed=0):
    rng = np.random.default_rng(seed)
    return Ragged.of([rng.standard_normal((length, d)).astype(np.float32) for length in lengths])


@pytest.mark.parametrize("lengths", [[1] * 30, [4] * 30, [1, 2, 5] * 10], ids=["vectors", "equal", "ragged"])
def test_the_nearest_of_the_same_inputs_is_the_input_itself(lengths):
    inputs = sequences(lengths)
    assert list(nearest(inputs, inputs)) == list(range(30))
    assert flat([inputs])[0].shape == (30, 3 * lengths[0] if len(set(lengths)) == 1 else 3)


def test_the_nearest_is_that_of_a_plain_loop():
    train, test = sequences([2] * 20, seed=1), sequences([2] * 9, seed=2)
    known, asked = (np.array([one.ravel() for one in each.padded()[0]]) for each in (train, test))
    centre = known.mean(axis=0)

    def cosine(a, b):
        return (a - centre) @ (b - centre) / np.linalg.norm(a - centre) / np.linalg.norm(b - centre)

    assert list(nearest(train, test)) == [max(range(20), key=lambda i, a=a: cosine(a, known[i])) for a in asked]


def test_the_nearest_is_found_where_only_the_test_items_are_equally_long():
    train, test = sequences([1, 2, 5], seed=1), sequences([2, 2], seed=2)
    assert nearest(train, test).shape == (2,)


def test_linear_probes_of_the_true_state_say_all_of_it():
    states = [draw(n, seed) for seed, n in enumerate((500, 60, 100))]
    told = told_by_probes([single(facts(some)) for some in states], states)
    assert_worth(told, [scene_of(state) for state in states[2]], **RIGHT)
    blind = told_by_probes(
        [single(np.random.default_rng(0).standard_normal((len(some), 4))) for some in states], states
    )
    assert worth(blind, *(scene_of(state) for state in states[2]))["exact_scene", None] < 0.1


def test_readings_of_facts_are_one_to_three_things():
    states = draw(50, 5)
    noisy = facts(states) + np.random.default_rng(0).uniform(-0.4, 0.4, (50, STATE_DIM))
    assert np.array_equal(read(noisy), states)
    many = read(np.random.default_rng(1).standard_normal((200, STATE_DIM)) + np.linspace(-2, 2, 200)[:, None])
    assert set(np.count_nonzero(many, axis=1)) == {1, 2, 3}
    slots = np.zeros((2, CELLS, STATE_DIM // CELLS))
    slots[:, :, 0] = [[0.1, 0.3, 0.2, 0, -1, 0.2], [0.6, 0.5, 0.9, 0.8, 0.4, 0.7]]
    here = read(slots.reshape(2, -1)) > 0
    assert [list(np.flatnonzero(row)) for row in here] == [[1], [2, 3, 5]]


# --- low-rank parts ---------------------------------------------------------------------------------------------------


def test_new_low_rank_parts_change_nothing(language):
    prefix = drawn_prefix(language, 2)
    changed = with_lora(fresh(language), 2, seed=0)
    assert changed.lora
    assert changed.trains
    assert lost(changed) == lost(language)
    assert changed.say(prefix, PROMPTS) == language.say(prefix, PROMPTS)
    assert changed.fingerprint() == language.fingerprint()
    asking = [name for name, weights in changed.model.named_parameters() if weights.requires_grad]
    assert asking
    assert all("lora_" in name for name in asking)


@torch.no_grad()
def lost(language):
    return float(language.loss(drawn_prefix(language, 2), PROMPTS, ANSWERS)[0])


def parts(language):
    return {name: weights.clone() for name, weights in language.model.state_dict().items() if "lora_" in name}


def test_trained_low_rank_parts_change_sentences_and_not_the_model_itself(language, tmp_path):
    changed = with_lora(fresh(language), 2, seed=0)
    trained(changed, learning_rate=0.05)
    before, after = lost(language), lost(changed)
    assert abs(before - after) > 0.1
    assert changed.say(drawn_prefix(language, 2), PROMPTS) != language.say(drawn_prefix(language, 2), PROMPTS)
    assert changed.fingerprint() == language.fingerprint()
    kept, base = parts(changed), without_lora(changed)
    assert not base.lora
    assert not base.trains
    assert base.fingerprint() == language.fingerprint()
    assert base.model.state_dict().keys() == language.model.state_dict().keys()
    assert lost(base) == before
    assert kept
    assert all(torch.equal(weights, kept[name]) for name, weights in parts(changed).items())
    assert lost(changed) == after
    assert without_lora(language) is language
    changed.model.save_pretrained(tmp_path / "lora")
    loaded = load_lora(fresh(language), tmp_path / "lora")
    assert lost(loaded) == after
    assert not loaded.trains


def test_low_rank_parts_and_projector_are_the_same_bytes_again(language):
    found = []
    for _ in range(2):
        changed = with_lora(fresh(language), 2, seed=0)
        trained(changed, epochs=1)
        found.append(parts(changed))
    assert all(torch.equal(weights, found[1][name]) for name, weights in found[0].items())


def test_the_language_model_given_has_no_low_rank_parts_afterwards(language):
    base = fresh(language)
    with_lora(base, 2, seed=0)
    assert not base.lora
    assert not base.trains


def test_without_peft_one_line_names_the_extra(language, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    extra = r"got no package peft, expected it: pip install 'jam-align\[lora\]'"
    one_line_of(lambda: with_lora(fresh(language), 2, 0), f"lora: {extra}")
    one_line_of(lambda: load_lora(fresh(language), tmp_path), extra)


# --- captioner --------------------------------------------------------------------------------------------------------

LAYER = 2
ADAPTERS = {
    "z": lambda: jam.Adapter("linear", d_in=4, d_latent=5),
    "texts": lambda: jam.Adapter("linear", d_in=4, d_latent=5),
    "latents": lambda: TokenAdapter("token_linear", 4, 5, 8, {"latents": 3, "depth": 1, "heads": 2}, grid=(4, 4)),
    "tokens": lambda: None,
    "pooled": lambda: None,
}


@pytest.fixture(scope="module")
def vision(tmp_path_factory):
    return Encoder.load(vision_folder(tmp_path_factory.mktemp("captioner") / "vision"), device="cpu")


@pytest.fixture(scope="module")
def photos():
    rng = np.random.default_rng(0)
    return [picture(rng) for _ in range(5)]


def captioner(vision, language, photos, kind="z"):
    """An untrained one whose sentences differ from image to image."""
    torch.manual_seed(0)
    adapter = ADAPTERS[kind]()
    read = vision.encode(photos, layer=LAYER) if kind == "pooled" else encode_tokens(vision, photos, LAYER)
    if adapter is not None:
        read = adapter.read(vision, photos, LAYER, 64)
        adapter.standardise.fit(read.tokens if isinstance(read, Ragged) else read)
    inputs = projected(kind, adapter, read)
    longest = int(inputs.lengths.max())
    made = Projector("linear", inputs.shape[1], language.width, 2, longest=longest, gain=3 * language.mean_norm())
    made.standardise.fit(inputs.tokens, None, 0.1)
    return Captioner(vision, LAYER, kind, adapter, made.eval(), language)


@pytest.mark.parametrize(
    ("kind", "lora"), [("z", False), ("texts", False), ("latents", False), ("tokens", True), ("pooled", False)]
)
def test_a_captioner_that_was_kept_says_the_same(vision, language, photos, kind, lora, tmp_path):
    if lora:
        language = with_lora(fresh(language), 2, seed=0)
        for name, weights in language.model.named_parameters():
            if "lora_B" in name:
                weights.data.normal_(generator=torch.Generator().manual_seed(0))
    made = captioner(vision, language, photos, kind)
    told = made.generate(photos)
    assert len(set(told)) > 1
    assert made.generate(photos, batch_size=2) == told
    made.save(tmp_path / "kept")
    loaded = jam.Captioner.load(tmp_path / "kept", device="cpu")
    assert loaded.generate(photos) == told
    assert loaded.language.lora == lora
    begun = loaded.generate(photos, "there is in the top left")
    prefix = prefixes(made.projector, projected(kind, made.adapter, given_to(made, photos)))
    assert begun == language.say(prefix, ["there is in the top left"] * 5)
    loaded.save(tmp_path / "again")
    assert jam.Captioner.load(tmp_path / "again", device="cpu").generate(photos) == told


def given_to(made, photos):
    if made.adapter is not None:
        return made.adapter.read(made.encoder, photos, LAYER, 64)
    return (
        made.encoder.encode(photos, layer=LAYER)
        if made.kind == "pooled"
        else encode_tokens(made.encoder, photos, LAYER)
    )


@pytest.fixture(scope="module")
def kept(vision, language, photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept") / "captioner"
    captioner(vision, language, photos).save(folder)
    return folder


@pytest.fixture
def moved(kept, tmp_path):
    """A copy of a captioner, to be spoilt."""
    for name, content in contents(kept).items():
        (tmp_path / "moved" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "moved" / name).write_bytes(content)
    return tmp_path / "moved"


def test_of_no_images_nothing_is_said(kept):
    assert Captioner.load(kept, device="cpu").generate([]) == []


def test_one_image_in_place_of_a_list_is_told_in_one_line(vision, language, photos, folder):
    made = captioner(vision, language, photos)
    for one in (photos[0], folder / "b.png", str(folder / "b.png")):
        one_line_of(lambda one=one: made.generate(one), "items: got .*, expected a list of PIL images or pathlib.Path")


def test_a_prompt_that_the_language_model_cannot_read_is_told_in_one_line(vision, language, photos, kept, folder):
    made = captioner(vision, language, photos)
    one_line_of(lambda: made.generate(photos, "there is a purple zebra"), r"prompt: got \['zebra'\], expected words")
    room = language.model.config.n_positions - made.projector.k - MOST
    long = " ".join(["red"] * room)  # and the beginning of a text before it
    message = f"prompt: got {room + 1} tokens, expected at most {room}, as of"
    one_line_of(lambda: made.generate(photos, long), message)
    assert len(made.generate(photos[:1], " ".join(["red"] * (room - 1)))) == 1
    arguments = [str(kept), str(folder / "b.png"), "--device", "cpu", "--prompt", long]
    one_line_of(lambda: main(arguments), f"^caption: {message}", SystemExit)


def test_a_sentence_beyond_the_positions_is_not_learned_from(language):
    long = " ".join(["red"] * language.model.config.n_positions)
    one_line_of(lambda: language.loss(drawn_prefix(language, 1)[:1], [""], [long]), "sentences: got .* tokens after a")


def test_a_changed_language_model_is_refused(moved):
    path = moved / "language" / "model.safetensors"
    weights = load_file(path)
    next(iter(weights.values()))[0] += 1e-3
    save_file(weights, path, {"format": "pt"})
    one_line_of(
        lambda: Captioner.load(moved), "got a language model with weights .*, which the projector was trained in"
    )


def test_what_is_no_captioner_is_told_in_one_line(moved):
    one_line_of(lambda: Captioner.load(moved / "projector"), "no captioner here, expected captioner.json")
    (moved / "captioner.json").write_text('{"input": "z", "layer": 2}')
    one_line_of(lambda: Captioner.load(moved), "got no encoder, fingerprint, language, expected those of a captioner")


def test_a_folder_of_other_things_is_not_overwritten(vision, language, photos, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    one_line_of(lambda: captioner(vision, language, photos).save(tmp_path / "mine"), "a folder of other things")
    assert contents(tmp_path / "mine") == {"notes.txt": b"mine"}


@pytest.mark.parametrize(("kind", "of"), [("z", "tokens"), ("latents", "z"), ("latents", "tokens"), ("tokens", "z")])
def test_what_an_adapter_does_not_give_is_not_projected(kind, of):
    got = {"tokens": "no adapter", "z": "an adapter of kind linear"}[of]
    one_line_of(lambda: projected(kind, ADAPTERS[of](), np.zeros((2, 4), np.float32)), f"input: got '{kind}' of {got}")


def test_vectors_are_sequences_of_one_or_of_several():
    vectors = np.arange(24.0).reshape(4, 3, 2)
    assert np.array_equal(several(vectors).padded()[0], vectors)
    assert np.array_equal(single(vectors[:, 0]).padded()[0], vectors[:, :1])
    assert np.array_equal(several(vectors)[[2]].padded()[0], vectors[[2]])


# --- by hand ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(photos, tmp_path):
    """Two images, and something else."""
    (tmp_path / "images" / "more").mkdir(parents=True)
    photos[0].save(tmp_path / "images" / "b.png")
    photos[1].save(tmp_path / "images" / "more" / "a.png")
    (tmp_path / "images" / "notes.txt").write_text("none")
    return tmp_path / "images"


def test_files_and_folders_are_captioned_by_hand(kept, photos, folder, capsys):
    expected = Captioner.load(kept, device="cpu").generate(photos[:2])
    main([str(kept), str(folder), "--device", "cpu"])
    told = capsys.readouterr()
    paths = [folder / "b.png", folder / "more" / "a.png"]
    assert told.out.splitlines() == [f"{path}\t{text}" for path, text in zip(paths, expected, strict=True)]
    assert told.err == f"captioner: {kept}\n"
    main([str(kept), str(paths[1]), "--prompt", "there is", "--device", "cpu"])
    [begun] = Captioner.load(kept, device="cpu").generate(photos[1:2], "there is")
    assert capsys.readouterr().out == f"{paths[1]}\tthere is {begun}\n"


def test_what_cannot_be_captioned_by_hand_is_told_in_one_line(kept, folder, tmp_path):
    (tmp_path / "empty").mkdir()
    for arguments, message in (
        ([kept, tmp_path / "none.png"], "none.png: no such file, expected an image or a folder of images"),
        ([kept, tmp_path / "empty"], "empty: got no image in it, expected some"),
        ([tmp_path / "empty", folder], "empty: got no captioner in it, expected captioner.json"),
        ([tmp_path / "none", folder], "none: got no captioner in it"),
        ([kept, folder / "notes.txt"], "notes.txt"),
    ):
        one_line_of(lambda given=arguments: main([*map(str, given)]), f"^caption: .*{message}", SystemExit)
    assert images_of([folder / "b.png", folder]) == [folder / "b.png", folder / "b.png", folder / "more" / "a.png"]


def test_of_several_captioners_the_best_of_whole_captions_is_taken(
    vision, language, photos, folder, capsys, monkeypatch
):
    """As the pipeline keeps them: encoder and language model by name."""
    root = folder.parent
    monkeypatch.chdir(root)
    vision.save(root / "data" / "encoders" / "vision_x")
    how = {"name": "text_x", "modality": "text", "recipe": {}}
    save_cave(root / "data" / "encoders" / "text_x", fresh(language).model, language.tokenizer, **how)
    told = {"a/0": (0.5, True), "b/0": (0.3, True), "b/1": (0.4, True), "questions/0": (0.1, False)}
    for number, (name, (loss, whole_captions)) in enumerate(told.items()):
        made = captioner(vision, language, photos[number:])
        how = {"validation_loss": loss, "captions": whole_captions}
        parts_of = made.kind, LAYER, made.adapter, made.projector, language, "vision_x", "text_x", how
        save_parts(root / "captions" / name, *parts_of)
    assert captioner_of(root / "captions") == root / "captions" / "b" / "0"
    assert captioner_of(root / "captions" / "questions" / "0") == root / "captions" / "questions" / "0"
    main(["captions", str(folder / "b.png"), "--device", "cpu"])
    expected = captioner(vision, language, photos[1:]).generate(photos[:1])
    out = capsys.readouterr()
    assert (out.out, out.err) == (f"{folder / 'b.png'}\t{expected[0]}\n", f"captioner: {Path('captions/b/0')}\n")
    name = Path("captions/questions/0")
    message = f"got captioners that were taught answers .* name one itself: {name}$"
    one_line_of(lambda: main(["captions/questions", str(folder / "b.png")]), message, SystemExit)


# --- what is said, as rows --------------------------------------------------------------------------------------------


@given(st.integers(2, 60), st.integers(0, 99))
def test_no_item_is_its_own_other_and_each_is_the_other_of_one(n, seed):
    found = others(n, seed)
    assert sorted(found) == list(range(n))
    assert (found != np.arange(n)).all()


def test_all_that_is_said_is_said_of_the_prefixes_of_test_items(language):
    states = draw(6, 0)
    inputs = single(facts(states))
    module = projector("linear", STATE_DIM, language.width, longest=1, gain=3 * language.mean_norm())
    prefix, train = prefixes(module, inputs), single(facts(draw(9, 1)))
    told = say_captions(module, language, train, inputs)
    assert told.captions == language.say(prefix, [""] * 6)
    assert told.mean == language.say(prefixes(module, train).mean(dim=0, keepdim=True), [""])[0]
    told, swapped = say_answers(module, language, inputs, states), others(6)
    for kind, asked in questions(states, 0).items():
        assert told.asked[kind].prompts == asked.prompts
        for i, (row, prompt) in enumerate(zip(asked.rows, asked.prompts, strict=True)):
            assert told.answers[kind][i] == language.say(prefix[[row]], [prompt])[0]
            assert told.shuffled[kind][i] == language.say(prefix[[swapped[row]]], [prompt])[0]


N = 12


@pytest.fixture(scope="module")
def truths_of():
    states = draw(N, 6)
    return Truths(states, [[text] for text in captions(states, 1).answers], np.arange(N) // 2, 30)


@pytest.fixture(scope="module")
def runs(truths_of):
    """Two variants that say whole captions, the first with two seeds, and one that answers."""
    own = captions(truths_of.states, 2).answers
    partly = [*own[:8], "two two", *own[:3]]
    asked = questions(truths_of.states, 0)
    answers = {kind: some.answers for kind, some in asked.items()}
    wrong = {kind: some.answers[::-1] for kind, some in asked.items()}
    return {
        "tokens": {0: Said(own, own[0]), 1: Said(partly, own[1])},
        "z": {0: Said(partly, own[2])},
        "questions": {0: Said(asked=asked, answers=answers, shuffled=wrong)},
    }


def table_of(runs, truths):
    scored = {name: {seed: score(said, truths) for seed, said in seeds.items()} for name, seeds in runs.items()}
    return pd.concat(variant_tables(scored, truths), ignore_index=True)


def test_rows_of_variants_are_results(runs, truths_of, tmp_path):
    table = table_of(runs, truths_of).assign(split="test")
    told = results_table("captions", table)
    write_results(tmp_path / "scores.csv", "captions", table)
    assert len(read_results([tmp_path / "scores.csv"])) == len(told)
    own = select(told, against=None)
    assert set(own["condition"]) == {"real", "shuffled", "mean"}
    assert set(select(own, condition="mean")["subject"]) == {"tokens", "z"}
    exact = select(own, subject="tokens", condition=REAL, metric="exact_scene")
    assert list(select(exact, seed=None)["value"]) == [pytest.approx((1 + 8 / 12) / 2)]
    assert list(select(own, subject="questions", condition=REAL, metric="answer", seed=None)["value"]) == [1] * 6


def test_shuffled_rows_are_those_of_permuted_captions(runs, truths_of):
    table = table_of(runs, truths_of)
    told = runs["z"][0].captions
    permuted = [told[i] for i in others(N)]
    expected = truths_of.scores(permuted)
    assert expected[Key("bleu", "image")] == bleu(permuted, truths_of.references)
    for key, one in expected.items():
        where = {"subject": "z", "condition": SHUFFLED, "metric": key.metric, "label": key.label, "seed": 0}
        [value] = select(table, **where)["value"]
        assert value == pytest.approx(np.mean(one.values) if isinstance(one, PerRow) else one)
    answers = runs["questions"][0]
    for kind, asked in answers.asked.items():
        for key, one in answer_scores(kind, asked, answers.shuffled[kind]).items():
            where = {"subject": "questions", "condition": SHUFFLED, "kind": kind, "label": key.label, "seed": 0}
            assert list(select(table, **where)["value"]) == [pytest.approx(one.values.mean())]


def test_differences_are_those_of_the_means(runs, truths_of):
    table = table_of(runs, truths_of)

    def mean(name, score):
        return np.mean(
            [score(said, truths_of)[Key("exact_scene", "image")].values.mean() for said in runs[name].values()]
        )

    for pair, expected in {
        ("tokens", SHUFFLED): mean("tokens", real_scores) - mean("tokens", shuffled_scores),
        ("tokens", "z"): mean("tokens", real_scores) - mean("z", real_scores),
    }.items():
        [value] = select(table, subject=pair[0], against=pair[1], metric="exact_scene")["value"]
        assert value == pytest.approx(expected)
    assert select(table, subject="tokens", against="questions").empty
    assert not select(table, subject="questions", against=SHUFFLED, metric="answer").empty


def test_p_is_corrected_for_all_differences_of_a_kind(runs, truths_of):
    runs = {**runs, "pooled": {0: Said(runs["z"][0].captions[::-1], "")}}
    scored = {name: {seed: real_scores(said, truths_of) for seed, said in runs[name].items()} for name in runs}
    pairs = [("tokens", "z"), ("tokens", "pooled")]
    both = select(truths_of.differences(scored, pairs), metric="cider_d")
    alone = [select(truths_of.differences({n: scored[n] for n in p}, [p]), metric="cider_d")["p"].item() for p in pairs]
    assert both["p"].min() > 1.5 * min(alone)  # the least is doubled; draws are others
    table = table_of(runs, truths_of)
    against = select(table, subject="tokens", metric="cider_d", against=("z", "pooled"))
    assert list(against["p"]) == pytest.approx(list(both["p"]), rel=1e-6)


def test_n_is_of_each_seed_and_the_least_of_a_mean(runs, truths_of):
    table = table_of(runs, truths_of)
    rows = select(table, subject="tokens", condition=REAL, metric="misbound").sort_values("seed")
    counts = [len(real_scores(said, truths_of)[Key("misbound", "image")].values) for said in runs["tokens"].values()]
    assert counts[0] != counts[1]
    assert list(rows["n"]) == [*counts, min(counts)]


def test_where_scenes_are_not_known_n_grams_alone_are_scored(truths_of):
    plain = Truths(None, truths_of.references, truths_of.units, 5)
    own = [some[0] for some in truths_of.references]
    assert {key.metric for key in plain.scores(own)} == {"cider_d", "bleu"}
    assert plain.scores(own)[Key("bleu", "image")] == pytest.approx(1)


# --- marks ------------------------------------------------------------------------------------------------------------


def test_right_and_wrong_words_of_a_caption_are_marked():
    text = "there is a large blue seven in the top left and in the top middle a tiny azure odd figure"
    found = marked(text, state_of(TWO))
    assert [word for word, _ in found] == text.split()
    right, wrong = ({word for word, mark in found if mark is of} for of in (True, False))
    assert right == {"large", "seven", "top", "left", "tiny", "azure"}
    assert wrong == {"blue", "top", "middle", "odd", "figure"}
    assert [mark for word, mark in found if word == "top"] == [True, False]
    assert {word for word, mark in found if mark is None} == {"there", "is", "a", "in", "the", "and"}
    assert dict(marked("there is a red number in the top left", state_of(TWO)))["number"] is None  # names no digit


def test_a_true_caption_has_no_wrong_word_and_one_of_more_things_marks_those_that_are_there():
    for state in draw(40, 7):
        marks = [mark for _, mark in marked(whole(scene_of(state), np.random.default_rng(0)), state)]
        assert False not in marks
        assert marks.count(True) == 5 * np.count_nonzero(state)  # digit, colour, size, row and column
    found = marked(template(TWO), state_of({5: BLUE_TWO}))
    assert [word for word, mark in found if mark] == ["small", "blue", "two", "bottom", "right"]


@pytest.mark.parametrize("text", ["two red two", "there is a red seven and", "", "red"])
def test_what_is_no_sentence_has_no_marks(text):
    assert marked(text, state_of(TWO)) == [(word, None) for word in text.split()]


def test_what_is_no_sentence_as_a_whole_has_no_marks():
    text = f"there is {SEVEN} today and {SECOND}"
    assert mentions_of(text) is None
    assert {mark for _, mark in marked(text, state_of(TWO))} == {None}


# --- parameters -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def params():
    return load_params(Path(__file__).parent.parent / "params.yaml")


@pytest.fixture(scope="module")
def entry(params):
    return params.captions["cave"].model_dump(exclude_defaults=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"variants": {}}, "variants: .*at least 1 item"),
        ({"variants": {"a": {}, "b": {"projector": "odd"}}}, r"variants\.b\.projector: Input should be 'linear'"),
        ({"variants": {"b": {"kk": 3}}}, r"variants\.b\.kk: Extra inputs are not permitted"),
        ({"variants": {"b": {"k": 0}}}, r"variants\.b\.k: Input should be greater than or equal to 1"),
        ({"variants": {"b": {"width": 30}}}, r"variants\.b: width: got 30, expected a multiple of the 4 heads"),
        ({"variants": {"b": {"input": "texts"}}}, r"variants\.b: noise: got 0\.0 with input texts"),
        ({"variants": {"b": {"noise": 0.3}}}, r"variants\.b: noise: got 0\.3 with input tokens"),
        ({"repeated": ["none"]}, r"repeated: got \['none'\], expected names among"),
        ({"seeds": []}, "seeds: .*at least 1 item"),
        ({"image": "a/b"}, "image: .*pattern"),
    ],
)
def test_what_does_not_fit_is_named_by_its_path_in_one_line(entry, change, message):
    with pytest.raises(ValidationError) as caught:
        Captions.model_validate({**entry, "repeated": [], **change})
    told = one_line(caught.value)
    assert "\n" not in told
    assert re.match(message, told, re.IGNORECASE)


def test_a_variant_is_the_recipe_but_for_its_changes(params):
    spec = params.captions["cave"]
    assert spec.variant("tokens") == spec.recipe
    changed = spec.recipe.model_dump() | {"input": "texts", "noise": 0.3}
    assert spec.variant("text_alone") == Telling.model_validate(changed)
    assert spec.of_seeds("tokens") == spec.seeds == (0, 1)
    assert spec.of_seeds("oracle") == (0,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"image": "text_l"},
            "captions.cave.image: got 'text_l', expected an encoder among tokens: ['vision_l', 'minilm']",
        ),
        ({"space": "none"}, "captions.cave.space: got 'none', expected one of ['con', 'linear']"),
        ({"latents": {"resampler": "none", "variant": "shared"}}, "captions.cave.latents: got none, shared, expected"),
        ({"latents": {"resampler": "image_text", "variant": "none"}}, "captions.cave.latents: got image_text, none"),
        ({"image": "minilm"}, "captions.cave.latents: got image_text, shared, expected a variant of an entry of "),
    ],
)
def test_names_of_other_sections_are_known(params, entry, change, message):
    def problems(changes):
        spec = Captions.model_validate({**entry, **changes})
        names = ["vision_l", "minilm"], ["con", "linear"]
        return list(spec.problems_with("captions.cave", params.encoders, *names, params.resampler))

    assert problems({}) == []
    assert problems(change)[0].startswith(message)
