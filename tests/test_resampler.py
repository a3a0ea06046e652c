"""Adapters that read all tokens: the resampler and its twin, padding, ragged tables, monitors, cost and training."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tiny_encoders import contents, picture, sentence, text_folder, vision_folder
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedTokenizerFast

import jam
from jam.align.items import Items, SideRows
from jam.align.resampler import Attention, MeanPool, Resampler
from jam.align.space import Side, Space, load_adapter
from jam.align.token_adapter import Positions, TokenAdapter
from jam.align.validation import Validation
from jam.encoders import Encoder
from jam.errors import InputError
from jam.evaluation.scores import Key, PerRow
from jam.features.ragged import Ragged, encode_tokens
from jam.params import one_line
from jam.params.resampler import Resampler as Section
from jam.params.resampler import Resampling
from jam.resampler.attended import OTHER, SPECIAL, by_position, by_sort, sort_of, sorts_of
from jam.resampler.cost import multiply_adds
from jam.resampler.monitors import attention, attention_entropy, latent_diversity, monitors
from jam.resampler.rows import GUESS, difference_rows, monitor_rows, score_rows
from jam.resampler.train import Losses, adapters_of, measured, token_adapters, train_tokens, worth
from jam.results import read_results, results_table, write_results

WIDTH, HEADS = 8, 2
REDUCE = {"latents": 3, "depth": 2, "heads": HEADS}


def shaken(module, seed=0):
    """With no parameter left at zero or one, so that each of them matters."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.data += 0.5 * torch.randn(parameter.shape, generator=generator)
    return module.eval()


def resampler(seed=0, **options):
    return shaken(Resampler(WIDTH, **REDUCE, **options), seed)


def batch(lengths=(5, 2, 4), d=WIDTH, seed=0, wide=None):
    """Random tokens, with zeros behind them, and which are real."""
    wide = wide or max(lengths)
    real = torch.arange(wide) < torch.tensor(lengths)[:, None]
    return torch.randn(len(lengths), wide, d, generator=torch.Generator().manual_seed(seed)) * real[:, :, None], real


def sequences(lengths=(5, 2, 4, 1, 7), d=6, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((length, d)).astype(np.float32) for length in lengths]


def adapter(kind="token_linear", reduce=REDUCE, seed=0, **options):
    """From six dimensions to five, its constants measured on tokens that are not standard."""
    made = TokenAdapter(kind, 6, 5, WIDTH, reduce, **options)
    made.standardise.fit(np.concatenate(sequences((60,), seed=9)) @ np.diag([1, 2, 3, 1, 1, 9.0]) + 2, None, 1.0)
    return shaken(made, seed)


def array(parameter):
    return parameter.detach().double().numpy()


def normed(norm, vector):
    return (vector - vector.mean()) / math.sqrt(vector.var() + 1e-5) * array(norm.weight) + array(norm.bias)


def looked_up(layer, queries, keys):
    """Attention by loops over heads and queries: the mixtures, and the weights (heads, queries, keys)."""
    size, both = WIDTH // HEADS, array(layer.key_value.weight)
    mixed, weights = np.zeros((len(queries), WIDTH)), np.zeros((HEADS, len(queries), len(keys)))
    for head in range(HEADS):
        part = slice(head * size, (head + 1) * size)
        for i, query in enumerate(queries):
            asked = (array(layer.query.weight) @ query)[part]
            scores = [math.exp(asked @ (both[:WIDTH] @ key)[part] / math.sqrt(size)) for key in keys]
            for j, (key, score) in enumerate(zip(keys, scores, strict=True)):
                weights[head, i, j] = score / sum(scores)
                mixed[i, part] += weights[head, i, j] * (both[WIDTH:] @ key)[part]
    return [array(layer.out.weight) @ row for row in mixed], weights


def fed(feed, vector):
    norm, widen, _, narrow = feed
    inner = array(widen.weight) @ normed(norm, vector) + array(widen.bias)
    active = np.array([x * (1 + math.erf(x / math.sqrt(2))) / 2 for x in inner])
    return array(narrow.weight) @ active + array(narrow.bias)


def twin(module, tokens):
    """Of the tokens of one item, none of them padding: its latents, and what each layer's take of each key."""
    latents, found = list(array(module.latents)), []
    for layer in module.layers:
        queries = [normed(layer.of_latents, latent) for latent in latents]
        keys = [normed(layer.of_tokens, token) for token in tokens] + (queries if layer.own_keys else [])
        read, weights = looked_up(layer.read, queries, keys)
        latents = [latent + more for latent, more in zip(latents, read, strict=True)]
        if layer.talk is not None:
            inner = [normed(layer.to_talk, latent) for latent in latents]
            told, _ = looked_up(layer.talk, inner, inner)
            latents = [latent + more for latent, more in zip(latents, told, strict=True)]
        latents = [latent + fed(layer.feed, latent) for latent in latents]
        found.append(weights)
    return np.array([normed(module.norm, latent) for latent in latents]), found


OWN_KEYS = pytest.mark.parametrize("own_keys", [False, True])


@pytest.mark.parametrize("self_attention", [False, True])
@OWN_KEYS
def test_latents_and_weights_are_those_of_plain_loops_over_the_real_tokens(self_attention, own_keys):
    module = resampler(self_attention=self_attention, own_keys=own_keys)
    tokens, real = batch()
    with torch.no_grad():
        found, weights = module(tokens, real), module.weights(tokens, real)
    for i, length in enumerate(real.sum(dim=1)):
        latents, shares = twin(module, tokens[i, :length].double().numpy())
        np.testing.assert_allclose(found[i], latents, atol=1e-5)
        for layer, expected in zip(weights, shares, strict=True):
            here = torch.cat([layer[i, :, :, :length], layer[i, :, :, 5:]], dim=2)
            np.testing.assert_allclose(here, expected, atol=1e-5)


@OWN_KEYS
def test_weights_sum_to_one_and_padding_has_none(own_keys):
    tokens, real = batch()
    for weights in resampler(own_keys=own_keys).weights(tokens, real):
        assert weights.shape == (3, HEADS, 3, 5 + 3 * own_keys)
        torch.testing.assert_close(weights.sum(dim=3), torch.ones(3, HEADS, 3), atol=1e-6, rtol=0)
        assert (weights[:, :, :, :5].transpose(1, 3)[~real] == 0).all()
        assert (weights[:, :, :, :5].transpose(1, 3)[real] > 0).all()


def test_weights_are_those_that_forward_mixes_by():
    layer, (keys, real) = shaken(Attention(WIDTH, HEADS)), batch()
    queries, _ = batch((3, 3, 3), seed=1)
    with torch.no_grad():
        values = layer.key_value(keys)[:, :, WIDTH:].unflatten(2, (HEADS, -1))
        mixed = torch.einsum("bhqt,bthd->bqhd", layer.weights(queries, keys, real), values).flatten(2)
        torch.testing.assert_close(layer(queries, keys, real), layer.out(mixed), atol=1e-5, rtol=0)


def test_a_width_that_heads_do_not_divide_is_refused():
    with pytest.raises(ValueError, match="width: got 8, expected a multiple of 3 heads"):
        Resampler(8, latents=2, depth=1, heads=3)


REDUCERS = {
    "resampler": lambda: resampler(),
    "own keys": lambda: resampler(own_keys=True),
    "talking": lambda: resampler(self_attention=True),
    "mean": lambda: shaken(MeanPool(WIDTH)),
    "mean, then an MLP": lambda: shaken(MeanPool(WIDTH, feed=True)),
}


@pytest.mark.parametrize("name", REDUCERS)
def test_more_padding_changes_nothing_whatever_it_holds(name):
    module = REDUCERS[name]().double()
    (tokens, real), (more, still) = batch(wide=5), batch(wide=9)
    more[:, :5] = tokens
    more[~still] = 100.0
    tokens, more = tokens.double(), more.double()
    with torch.no_grad():
        found = module(tokens, real)
        torch.testing.assert_close(module(more, still), found, atol=1e-12, rtol=0)
        alone = torch.cat([module(tokens[i : i + 1, :length]) for i, length in enumerate(real.sum(dim=1))])
        torch.testing.assert_close(found, alone, atol=1e-12, rtol=0)


def test_where_padding_is_not_masked_it_is_read():
    module, trap = resampler(), resampler(masked=False)
    trap.load_state_dict(module.state_dict())
    (tokens, real), (more, still) = batch(wide=5), batch(wide=9)
    more[:, :5] = tokens
    with torch.no_grad():
        assert (trap(more, still) - trap(tokens, real)).abs().amax() > 0.01
        assert (trap(tokens, real) - module(tokens, real)).abs().amax(dim=(1, 2))[1] > 0.01
        torch.testing.assert_close(trap(tokens[:1], real[:1]), module(tokens[:1], real[:1]))


@given(st.lists(st.integers(0, 4), min_size=1, max_size=6), st.sampled_from(["token_linear", "token_mlp", "mean"]))
@settings(max_examples=20, deadline=None)
def test_an_item_is_encoded_the_same_in_any_company(rows, kind):
    made = adapter(reduce=None) if kind == "mean" else adapter(kind)
    table = Ragged.of(sequences())
    np.testing.assert_allclose(made.encode(table[np.array(rows)]), made.encode(table)[rows], atol=1e-6)


def test_a_mean_with_an_mlp_is_a_layer_whose_latents_read_evenly():
    layer, made = resampler(), shaken(MeanPool(WIDTH, feed=True), seed=1)
    made.feed.load_state_dict(layer.layers[0].feed.state_dict())
    tokens, real = batch()
    with torch.no_grad():
        mean = torch.stack([row[kept].mean(dim=0) for row, kept in zip(tokens, real, strict=True)])
        expected = made.norm(mean + layer.layers[0].feed(mean))
        torch.testing.assert_close(made(tokens, real)[:, 0], expected, atol=1e-6, rtol=0)
        plain = MeanPool(WIDTH)
        plain.norm.load_state_dict(made.norm.state_dict())
        torch.testing.assert_close(plain(tokens, real)[:, 0], made.norm(mean), atol=1e-6, rtol=0)
    assert sum(each.numel() for each in made.parameters()) - 2 * WIDTH == sum(
        each.numel() for each in layer.layers[0].feed.parameters()
    )


def test_equal_latents_never_separate_and_are_flagged():
    tokens, real = batch((5, 2, 4, 3))
    target, found = torch.randn(4, WIDTH, generator=torch.Generator().manual_seed(3)), {}
    for start in ("ones", "normal"):
        torch.manual_seed(0)
        module = Resampler(WIDTH, **REDUCE, self_attention=True, own_keys=True)
        if start == "ones":
            module.latents.data.fill_(1)
        optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
        for _ in range(8):
            optimizer.zero_grad()
            (module(tokens, real).mean(dim=1) - target).square().mean().backward()
            optimizer.step()
        found[start] = latent_diversity(module(tokens, real).detach().numpy())
    assert found["ones"] == pytest.approx(0, abs=1e-6)
    assert found["normal"] > 1e-3
    watched = {(start, 0): {("latent_diversity", "x"): value} for start, value in found.items()}
    assert monitor_rows(watched, {"latent_diversity": (1e-3, None)}, 4)["passed"].tolist() == [False, True]


@pytest.mark.parametrize("module", [Resampler(WIDTH, **REDUCE), Resampler(WIDTH, **REDUCE, masked=False), MeanPool(8)])
def test_a_row_of_padding_alone_is_named(module):
    tokens, real = batch((5, 2, 4))
    real[1] = False
    with pytest.raises(ValueError, match="tokens: row 1 is padding alone, expected at least one real token"):
        module(tokens, real)


@given(st.permutations(range(5)))
@settings(max_examples=15, deadline=None)
def test_the_order_of_tokens_means_nothing_without_positions(order):
    module, (tokens, real) = resampler(self_attention=True), batch()
    with torch.no_grad():
        torch.testing.assert_close(module(tokens[:, order], real[:, order]), module(tokens, real), atol=1e-5, rtol=0)


def test_positions_make_the_order_matter():
    made, (tokens,) = adapter(longest=8), sequences((4,))
    assert np.abs(made.encode([tokens]) - made.encode([tokens[::-1]])).max() > 1e-3


def test_positions_of_a_grid_are_those_of_its_rows_and_columns_after_a_cls():
    places = Positions(WIDTH, (2, 3), 64)
    by_hand = torch.stack([places.row[i, 0] + places.column[0, j] for i in range(2) for j in range(3)])
    found = places(torch.zeros(2, 6, WIDTH))
    torch.testing.assert_close(found, by_hand.expand(2, -1, -1))
    with_cls = places(torch.ones(2, 7, WIDTH))
    torch.testing.assert_close(with_cls[:, 0], 1 + places.first.expand(2, -1))
    torch.testing.assert_close(with_cls[:, 1:], 1 + by_hand.expand(2, -1, -1))
    for count in (5, 8):
        with pytest.raises(
            ValueError, match=rf"got {count} in row 0, expected those of a grid of \(2, 3\), perhaps a CLS"
        ):
            places(torch.zeros(1, count, WIDTH))


def test_on_a_grid_the_tokens_of_each_item_are_counted_without_its_padding():
    places = Positions(WIDTH, (2, 3), 64)
    real = torch.arange(8) < torch.tensor([6, 7, 6])[:, None]
    found = places(torch.zeros(3, 8, WIDTH), real)
    torch.testing.assert_close(found[:, :6], torch.stack([places(torch.zeros(1, n, WIDTH))[0, :6] for n in (6, 7, 6)]))
    torch.testing.assert_close(found[1, :7], places(torch.zeros(1, 7, WIDTH))[0])
    with pytest.raises(ValueError, match="tokens: got 5 in row 1, expected those of a grid"):
        places(torch.zeros(2, 6, WIDTH), torch.arange(6) < torch.tensor([6, 5])[:, None])


def test_an_item_with_a_cls_is_encoded_the_same_beside_one_without_and_a_short_one_is_named():
    made = adapter(grid=(2, 3))
    bare, after, short = sequences((6, 7, 5))
    both = made.encode([bare, after])
    np.testing.assert_allclose(both, np.concatenate([made.encode([bare]), made.encode([after])]), atol=1e-6)
    for some in ([bare, short], [after, short], [bare, short, after]):
        with pytest.raises(InputError, match=r"tokens: item 1 has 5, expected those of a grid of \(2, 3\), perhaps a"):
            made.encode(some)


def test_tokens_of_a_sequence_beyond_the_longest_share_the_last_position():
    places = Positions(WIDTH, None, 3)
    found = places(torch.zeros(1, 6, WIDTH))[0]
    assert torch.equal(found, places.place[[0, 1, 2, 2, 2, 2]])
    assert torch.equal(places(torch.zeros(1, 2, WIDTH))[0], places.place[:2])


def test_a_linear_map_is_that_of_standardised_tokens_and_padding_is_not_mapped():
    made, (states, real) = adapter(), batch(d=6)
    with torch.no_grad():
        found = made.tokens(states, real)
        mapped = made.map(made.standardise(states.flatten(0, 1))).unflatten(0, (3, 5)) * real[:, :, None]
        expected = mapped + made.positions.place[:5] + made.modality
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
        expected = made.head(made.reducer(expected, real).mean(dim=1))
        torch.testing.assert_close(made(states, real), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("options", [{}, {"reduce": None}, {"reduce": REDUCE | {"masked": False}}, {"grid": (2, 3)}])
def test_states_without_their_padding_are_read_as_those_with_it(options):
    made = adapter(**options)
    table = Ragged.of(sequences((6, 7, 6) if "grid" in options else (5, 2, 4)))
    (rows, real), (states, same) = ([torch.from_numpy(each) for each in of] for of in (table.flat(), table.padded()))
    assert rows.shape == (int(real.sum()), 6)
    assert torch.equal(real, same)
    with torch.no_grad():
        assert torch.equal(made(rows, real), made(states, real))
        assert torch.equal(made.latents(rows, real), made.latents(states, real))


def test_an_adapter_of_no_such_kind_is_refused():
    with pytest.raises(ValueError, match=r"adapter kind: got 'linear', expected one of \['token_linear', 'token_mlp'"):
        TokenAdapter("linear", 6, 5, WIDTH)


ADAPTERS = {
    "linear": lambda: adapter(),
    "mlp": lambda: adapter("token_mlp", hidden=7),
    "mean": lambda: adapter(reduce=None),
    "own keys": lambda: adapter(reduce=REDUCE | {"own_keys": True, "self_attention": True}),
    "grid": lambda: adapter(grid=(2, 2)),
}


@pytest.mark.parametrize("name", ADAPTERS)
def test_saved_and_loaded_an_adapter_encodes_to_the_same_bytes(name, tmp_path):
    made, tokens = ADAPTERS[name](), sequences((4, 5, 4) if name == "grid" else (5, 2, 4))
    made.save(tmp_path / "a")
    tokens = [each[:4] for each in tokens] if name == "grid" else tokens
    again = load_adapter(tmp_path / "a")
    assert isinstance(again, TokenAdapter)
    assert again.encode(tokens).tobytes() == made.encode(tokens).tobytes()
    assert again.encode_latents(tokens).tobytes() == made.encode_latents(tokens).tobytes()


def test_sides_share_one_reduction_and_head_and_are_loaded_to_encode_as_before(tmp_path):
    x = adapter()
    y = TokenAdapter("token_linear", 4, 5, WIDTH, REDUCE, reducer=x.reducer, head=x.head).eval()
    shared = {id(each) for each in [*x.reducer.parameters(), *x.head.parameters()]}
    assert {id(each) for each in x.parameters()} & {id(each) for each in y.parameters()} == shared
    tokens = {"x": Ragged.of(sequences()), "y": Ragged.of(sequences(d=4))}
    both = {id(each): each.numel() for each in [*x.parameters(), *y.parameters()]}
    assert worth({"x": x, "y": y}, tokens)[Key("parameters", "x", "y")] == sum(both.values())
    space = Space({"x": Side(x), "y": Side(y)}, [("x", "y")])
    space.save(tmp_path / "space")
    again = Space.load(tmp_path / "space")
    for name in "xy":
        assert again[name].encode(tokens[name]).tobytes() == space[name].encode(tokens[name]).tobytes()
    assert list(token_adapters(again)) == ["x", "y"]
    with pytest.raises(InputError, match=r"got sides \['x', 'y'\] that read tokens, expected pooled features"):
        _ = again.adapters


def test_a_space_of_pooled_features_is_still_one(tmp_path):
    features = sequences((9,))[0]
    space = Space({name: Side(jam.Adapter("linear", d_in=6, d_latent=3)) for name in "xy"}, [("x", "y")])
    space.save(tmp_path / "space")
    again = Space.load(tmp_path / "space")
    assert list(again.adapters) == ["x", "y"]
    assert np.array_equal(again["x"].encode(features), space["x"].encode(features))
    with pytest.raises(InputError, match=r"got sides \['x', 'y'\] that read no tokens"):
        token_adapters(again)


def test_encoded_tokens_are_unit_vectors_cut_and_then_normalised():
    made, tokens = adapter(), sequences()
    whole = made.encode(tokens)
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1, atol=1e-6)
    cut = whole[:, :3] / np.linalg.norm(whole[:, :3], axis=1, keepdims=True)
    np.testing.assert_allclose(made.encode(tokens, dims=3), cut, atol=1e-6)
    np.testing.assert_allclose(Side(made).encode(tokens, dims=3), cut, atol=1e-6)
    with pytest.raises(InputError, match="dims: got 6 of a space of 5 dimensions, expected 1 to 5"):
        made.encode(tokens, dims=6)


def test_dropout_is_off_where_tokens_are_encoded_and_training_goes_on_after():
    made, tokens = adapter("token_mlp", dropout=0.5), sequences()
    expected = made.encode(tokens)
    made.train()
    assert np.array_equal(made.encode(tokens), expected)
    assert made.training


def test_tokens_that_do_not_fit_are_refused_and_named():
    made, tokens = adapter(), sequences()
    with pytest.raises(InputError, match=r"tokens: got shape \(5, 4\), expected \(n, 6\)"):
        made.encode(sequences(d=4))
    with pytest.raises(InputError, match=r"tokens: got shape \(0, 6\), expected \(n, 6\) with n at least 1"):
        made.encode(Ragged.of(tokens)[:0])
    tokens[2][1, 0] = np.nan
    for function in (made.encode, made.encode_latents):
        with pytest.raises(InputError, match="tokens: item 2 gives no finite vector, expected finite numbers"):
            function(tokens)


def test_no_sequences_are_refused_as_the_docstring_says():
    with pytest.raises(InputError, match="at least one"):
        adapter().encode([])


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.data())
@settings(max_examples=40, deadline=None)
def test_a_ragged_table_holds_its_sequences_in_any_order(lengths, data):
    parts = sequences(lengths, d=3)
    rows = data.draw(st.lists(st.integers(0, len(parts) - 1), max_size=7))
    table = Ragged.of(parts)
    some, expected = table[np.array(rows, dtype=np.int64)], [parts[row] for row in rows]
    assert len(some) == len(rows)
    assert some.shape == (len(rows), 3)
    assert some.lengths.tolist() == [len(each) for each in expected]
    flat = [token.tolist() for each in expected for token in each]
    assert np.asarray(some).tolist() == flat
    assert table.tokens[some.rows()].tolist() == flat
    apart, present = some.flat()
    assert apart.tolist() == flat
    tokens, real = some.padded()
    assert np.array_equal(present, real)
    assert tokens.dtype == np.float32
    assert tokens.shape == (len(rows), max(map(len, expected), default=0), 3)
    for line, present, each in zip(tokens, real, expected, strict=True):
        assert present.tolist() == [i < len(each) for i in range(len(line))]
        assert line.tolist() == each.tolist() + [[0.0] * 3] * (len(line) - len(each))


def test_a_ragged_table_is_indexed_as_a_table_of_features_is():
    parts = sequences((3, 1, 2, 4), d=2)
    table = Ragged.of(parts)
    for rows in (slice(1, 3), np.array([False, True, True, False]), [1, 2], np.array([1, 2])):
        assert np.array_equal(np.asarray(table[rows]), np.concatenate(parts[1:3]))
    assert np.array_equal(np.asarray(table[[3, 1]][[1, 0]]), np.concatenate([parts[1], parts[3]]))
    assert np.asarray(table, dtype=np.float64).dtype == np.float64


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_batches_hold_each_row_once_by_falling_length(lengths, size):
    batches = list(Ragged.of(sequences(lengths, d=1)).batches(size))
    order = np.concatenate(batches).tolist()
    assert sorted(order) == list(range(len(lengths)))
    assert [lengths[row] for row in order] == sorted(lengths, reverse=True)
    assert all(len(each) == size for each in batches[:-1])


@pytest.mark.parametrize(
    ("odd", "shape"), [(np.zeros((0, 3)), r"\(0, 3\)"), (np.zeros((2, 4)), r"\(2, 4\)"), (np.zeros(3), r"\(3,\)")]
)
def test_what_is_no_sequence_of_tokens_is_named(odd, shape):
    with pytest.raises(InputError, match=rf"tokens: item 1 has shape {shape}, expected \(t, 3\) with t at least 1"):
        Ragged.of([np.zeros((2, 3)), odd])


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    root = tmp_path_factory.mktemp("encoders")
    vision_folder(root / "image")
    text_folder(root / "text", padding_side="left")
    return {name: Encoder.load(root / name, device="cpu") for name in ("image", "text")}


@pytest.mark.parametrize(("name", "layer", "width"), [("image", 2, 4), ("text", 1, 8)])
def test_encoded_tokens_are_those_of_each_item_alone(encoders, name, layer, width):
    model, rng = encoders[name], np.random.default_rng(0)
    items = [picture(rng) if name == "image" else sentence(rng) for _ in range(7)]
    table = encode_tokens(model, items, layer, batch_size=3)
    assert table.shape == (7, width)
    for i, item in enumerate(items):
        states, real = model.token_states(model.prepare([item]), layer)
        assert real.all()
        np.testing.assert_allclose(np.asarray(table[[i]]), states[0].numpy(), atol=1e-5)
    side = Side(TokenAdapter("token_linear", width, 5, WIDTH).eval(), model, layer)
    np.testing.assert_allclose(side.encode(items, batch_size=2), side.adapter.encode(table), atol=1e-5)


def test_a_side_of_tokens_gives_no_vectors_of_no_items(encoders):
    side = Side(TokenAdapter("token_linear", 8, 5, WIDTH), encoders["text"], 1)
    assert side.encode([]).shape == (0, 5)


@OWN_KEYS
def test_attention_that_asks_for_nothing_is_uniform_and_its_entropy_one(own_keys):
    made, table = adapter(reduce=REDUCE | {"own_keys": own_keys}), Ragged.of(sequences())
    assert 0 < attention_entropy(made, table) < 1
    for layer in made.reducer.layers:
        layer.read.query.weight.data.zero_()
    assert attention_entropy(made, table) == pytest.approx(1, abs=1e-6)
    for layer in made.reducer.layers:
        torch.nn.init.normal_(layer.read.query.weight, std=1e4)
    assert attention_entropy(made, table) == pytest.approx(0, abs=1e-3)


def test_entropy_is_the_mean_over_items_of_several_tokens():
    made, parts = adapter(), sequences()
    told = []
    for part in parts:
        if len(part) > 1:
            for weights in made.reducer.weights(made.tokens(torch.from_numpy(part)[None])):
                for shares in weights.detach().double().numpy().reshape(-1, len(part)):
                    told.append(-sum(share * math.log(share) for share in shares) / math.log(len(part)))
    assert attention_entropy(made, Ragged.of(parts)) == pytest.approx(np.mean(told), abs=1e-5)
    assert attention_entropy(made, Ragged.of(sequences((1, 1)))) == 0


def test_diversity_of_latents_is_known_where_they_are_equal_orthogonal_or_opposite():
    equal, orthogonal = np.tile([[3.0, 4.0]], (5, 4, 1)), np.eye(4)[None] * 7
    opposite = np.array([[[1.0, 2.0], [-2.0, -4.0]]])
    assert latent_diversity(equal) == pytest.approx(0, abs=1e-12)
    assert latent_diversity(orthogonal) == pytest.approx(1, abs=1e-12)
    assert latent_diversity(opposite) == pytest.approx(2, abs=1e-12)
    assert latent_diversity(np.concatenate([orthogonal, 0 * orthogonal + 1])) == pytest.approx(0.5, abs=1e-12)


def identity(d, reduce=None):
    """An adapter that changes nothing but by the final LayerNorm."""
    made = TokenAdapter("token_linear", d, d, d, reduce)
    for linear in (made.map, made.head):
        torch.nn.init.eye_(linear.weight)
        linear.bias.data.zero_()
    for added in (made.positions.place, made.modality):
        added.data.zero_()
    return made.eval()


def test_monitors_of_aligned_one_hots_are_those_of_a_simplex():
    """Centred one-hots are its corners: of d of them each two have a cosine of −1 / (d − 1)."""
    corners = np.eye(16, dtype=np.float32)
    tokens = {"x": Ragged.of(list(corners[:, None])), "y": Ragged.of([np.tile(each, (3, 1)) for each in corners])}
    found = monitors({name: identity(16) for name in "xy"}, tokens)
    assert found["diagonal", None] == pytest.approx(1 + 1 / 15, abs=1e-5)
    assert found["alignment", None] == pytest.approx(0, abs=1e-5)
    for name in "xy":
        assert found["norm", name] <= 1e-5
        assert found["uniformity", name] == pytest.approx(-2 * (2 + 2 / 15), abs=1e-4)
    assert {metric for metric, _ in found} == {"diagonal", "alignment", "norm", "uniformity"}
    shifted = {"x": tokens["x"], "y": tokens["y"][np.roll(np.arange(16), 1)]}
    assert monitors({name: identity(16) for name in "xy"}, shifted)["diagonal", None] < 0


def test_monitors_of_resamplers_tell_of_their_latents_and_attention():
    made = {"x": adapter(), "y": adapter(seed=1, reduce=REDUCE | {"latents": 1})}
    tokens = {name: Ragged.of(sequences(seed=seed)) for seed, name in enumerate("xy")}
    found = monitors(made, tokens)
    assert found["latent_diversity", "x"] == latent_diversity(made["x"].encode_latents(tokens["x"]))
    assert found["attention_entropy", "x"] == attention_entropy(made["x"], tokens["x"])
    assert 1 < found["latent_rank", "x"] <= 3
    assert ("latent_diversity", "y") not in found
    made["x"].reducer.latents.data.fill_(1)
    found = monitors(made, tokens)
    assert found["latent_diversity", "x"] == pytest.approx(0, abs=1e-6)
    assert found["latent_rank", "x"] == pytest.approx(1, abs=1e-3)


COSTS = [
    ("token_linear", None, False),
    ("token_linear", None, True),
    ("token_mlp", None, False),
    ("token_linear", REDUCE, False),
    ("token_mlp", REDUCE | {"own_keys": True}, False),
    ("token_linear", REDUCE | {"self_attention": True}, False),
    ("token_linear", REDUCE | {"self_attention": True, "own_keys": True}, False),
]


@pytest.mark.parametrize(("kind", "reduce", "feed"), COSTS)
def test_multiply_adds_are_those_that_torch_counts(kind, reduce, feed):
    made = adapter(kind, reduce, hidden=9 if reduce else None, feed=feed).requires_grad_(False)
    told = {}
    for count in (3, 6, 12):
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            made(torch.zeros(1, count, 6))
        once = 6 * 6 * WIDTH if kind == "token_linear" else 0  # both matrices as one, whatever is read
        told[count] = multiply_adds(made, count)
        assert told[count] == counter.get_total_flops() / 2 - once
    assert told[12] - told[6] == 2 * (told[6] - told[3]) > 0


TURNS = np.random.default_rng(9).standard_normal((2, 4, 6))


def told_twice(n, seed, false=False):
    """Items of four hidden numbers, which each token of either side tells with noise; sequences differ in length."""
    rng = np.random.default_rng(seed)
    states = rng.standard_normal((n, 4))
    sides, rows, none = {}, np.arange(n)[:, None], np.empty((n, 0), np.int64)
    for name, turn in zip("xy", TURNS, strict=True):
        wrong = false and name == "y"
        seen = [
            (state @ turn + 0.3 * rng.standard_normal((rng.integers(2, 6), 6))).astype(np.float32)
            for state in (np.concatenate([states, -states]) if wrong else states)
        ]
        sides[name] = SideRows(Ragged.of(seen), rows, rows + n if wrong else none)
    return Items(sides)


BASE = {
    "width": 16,
    "latents": 3,
    "depth": 1,
    "heads": 2,
    "latent": 12,
    "dims": [4, 12],
    "mrl_weight": 0.7,
    "clip_weight": 1.5,
    "learning_rate": 0.01,
    "weight_decay": 0,
    "whitening": 1,
    "batch_size": 24,
    "epochs": 12,
}
GRIDS = {"x": None, "y": None}


def trained(seed=0, false=False, report=lambda line: None, **changes):
    looks = Validation(told_twice(40, 1, false), [("x", "y")])
    recipe = Resampling.model_validate(BASE | changes)
    return train_tokens(
        told_twice(64, 0, false), looks, recipe, GRIDS, pair=("x", "y"), temperature=0.1, seed=seed, report=report
    )


@pytest.fixture(scope="module")
def lines():
    return []


@pytest.fixture(scope="module")
def space(lines):
    return trained(report=lines.append)


def test_what_both_sides_tell_is_found_in_items_never_seen(space):
    assert space.chosen["validation_recall"] > 0.5
    assert space.doubt is None
    unseen = told_twice(40, 2)
    x, y = (space[name].encode(unseen.sides[name].table) for name in "xy")
    assert np.mean((x @ y.T).argmax(axis=1) == np.arange(40)) > 0.4
    assert space.chosen["epoch"] == space.history["validation_score"].idxmax()
    assert not space["x"].adapter.training
    assert space["x"].adapter.reducer is space["y"].adapter.reducer


def test_history_tells_the_parts_of_the_loss_epoch_by_epoch(space, lines):
    history = space.history
    told = {"loss", "loss_mrl", "loss_clip", "gradient_norm", "alignment", "uniformity", "validation_score"}
    assert told <= set(history)
    assert history["epoch"].tolist() == list(range(12))
    assert history[sorted(told)].notna().all(axis=None)
    np.testing.assert_allclose(history["loss"], 0.7 * history["loss_mrl"] + 1.5 * history["loss_clip"], rtol=1e-5)
    assert history["loss"].iloc[-1] < history["loss"].iloc[0] / 2
    assert history["alignment"].iloc[-1] < history["alignment"].iloc[0]
    last = history.iloc[-1]
    assert len(lines) == 12
    assert lines[-1] == f"epoch 12/12: loss {last['loss']:.3f}, validation score {last['validation_score']:.3f}"


def test_the_same_seed_gives_the_same_bytes_and_another_others(space, tmp_path):
    for name, made in {"a": space, "b": trained(), "c": trained(seed=1)}.items():
        made.save(tmp_path / name)
        if name == "b":
            pd.testing.assert_frame_equal(made.history, space.history, check_exact=True)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert contents(tmp_path / "a") != contents(tmp_path / "c")


def test_false_views_are_learned_from_where_the_loss_takes_them():
    made = trained(false=True, loss="negcon", map="mlp", share=False, epochs=2)
    assert made.chosen["validation_hard_negatives"] > 0.7
    assert made["x"].adapter.reducer is not made["y"].adapter.reducer
    with pytest.raises(ValueError, match="negcon: got items without a hard negative on side y, expected one for each"):
        trained(loss="negcon")


def test_both_parts_of_the_loss_are_those_of_jam_losses():
    losses = Losses.of(Resampling.model_validate(BASE), temperature=0.1)
    a, p = (torch.randn(7, 12, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    parts = losses(a, p, None)
    con = jam.losses.load_loss("con")
    widths = [float(con(a[:, :d], p[:, :d], None, 10.0, None)) for d in (4, 12)]
    assert float(parts["loss_clip"]) == pytest.approx(widths[1], rel=1e-5)
    assert float(parts["loss_mrl"]) == pytest.approx(np.mean(widths), rel=1e-5)
    assert float(parts["loss"]) == pytest.approx(0.7 * np.mean(widths) + 1.5 * widths[1], rel=1e-5)


def test_constants_are_measured_on_the_tokens_of_true_views_alone():
    items = told_twice(20, 0)
    table = items.sides["x"].table
    padded = Ragged(np.concatenate([table.tokens, np.full((9, 6), 1e3, np.float32)]), table.spans)
    some = Items({"x": SideRows(padded, items.sides["x"].true, items.sides["x"].false), "y": items.sides["y"]})
    made = adapters_of(Resampling.model_validate(BASE), measured(some, None), GRIDS)
    np.testing.assert_allclose(made["x"].standardise.mean, table.tokens.mean(axis=0), atol=1e-5)
    assert made["x"].reducer is made["y"].reducer
    assert made["x"].head is made["y"].head
    constant = SideRows(Ragged.of([np.ones((2, 6), np.float32)] * 20), np.arange(20)[:, None], np.empty((20, 0), int))
    with pytest.raises(ValueError, match=r"got a standard deviation of 0\.0, expected finite features"):
        measured(Items({"x": constant, "y": items.sides["y"]}), 1.0)


SECTION = {
    "x": {"side": "image", "encoder": "v", "grid": [4, 6]},
    "y": {"side": "text", "encoder": "t"},
    "seeds": [3, 4],
    "repeated": ["first"],
    "recipe": BASE,
    "variants": {"first": {}, "mean": {"reduce": "mean"}, "deep": {"depth": 2}},
    "bands": {"norm": [None, 0.001]},
    "pooled": "linear",
}


def test_variants_are_the_recipe_with_what_they_change():
    section = Section.model_validate(SECTION)
    assert section.variant("first") == section.recipe
    switches = {"self_attention": False, "own_keys": False, "masked": True}
    assert section.variant("first").reducer == {"latents": 3, "depth": 1, "heads": 2} | switches
    assert section.variant("mean").reducer is None
    assert section.variant("deep").reducer["depth"] == 2
    assert (section.of_seeds("first"), section.of_seeds("deep")) == ((3, 4), (3,))
    assert [side.grid for side in section.sides] == [(4, 6), None]
    assert Resampler(section.recipe.width, **section.recipe.reducer).masked


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"variants": {"first": {}, "odd": {"heads": 5}}},
            r"variants\.odd: width: got 16, expected a multiple of the 5",
        ),
        ({"variants": {"first": {"latent": 8}}}, r"variants\.first: dims: got 12 with a latent of 8, expected at most"),
        (
            {"variants": {"first": {"feed": True}}},
            r"variants\.first: feed: got true with reduce resampler, whose layers",
        ),
        ({"variants": {"first": {"dept": 2}}}, r"variants\.first\.dept: Extra inputs are not permitted"),
        ({"variants": {"first": {"depth": 0}}}, r"variants\.first\.depth: Input should be greater than or equal to 1"),
        ({"variants": {"first": {"dims": [4, 0]}}}, r"variants\.first\.dims\.1: Input should be greater"),
        ({"variants": {"first": {"map": "wide"}}}, r"variants\.first\.map: Input should be 'linear' or 'mlp'"),
        ({"variants": {}}, "^variants: .*at least 1 item"),
        ({"variants": {"a.b": {}}}, r"variants\.a\.b.*should match pattern"),
        ({"repeated": ["none"]}, r"repeated: got \['none'\], expected names among \['first', 'mean', 'deep'\]"),
        ({"pooled": "mean"}, "variants: got 'mean', the name of pooled"),
        ({"y": {"side": "image", "encoder": "t"}}, "got two sides image, expected names of their own"),
        ({"recipe": BASE | {"batch_size": 1}}, r"recipe\.batch_size: input should be greater than or equal to 2"),
        ({"recipe": BASE | {"width": 15}}, "recipe: width: got 15, expected a multiple of the 2 heads"),
        ({"bands": {"norm": [1]}}, r"bands\.norm\.1: field required"),
    ],
)
def test_what_a_section_cannot_be_is_named_by_its_path_in_one_line(change, message):
    with pytest.raises(ValidationError) as caught:
        Section.model_validate(SECTION | change)
    told = one_line(caught.value)
    assert "\n" not in told
    assert pd.Series([told]).str.contains(message).all(), told


def test_encoders_without_tokens_and_unknown_spaces_are_named():
    section = Section.model_validate(SECTION | {"pooled": "none"})
    assert list(section.problems_with("resampler.a", ["v", "t"], ["linear", "none"])) == []
    assert list(section.problems_with("resampler.a", ["v"], ["linear"])) == [
        "resampler.a.y: got 't', expected an encoder among tokens: ['v']",
        "resampler.a.pooled: got 'none', expected one of ['linear']",
    ]


def test_monitors_are_told_with_their_bands_and_whether_they_lie_within():
    watched = {
        ("first", 0): {("norm", "x"): -9.0, ("norm", "y"): 0.5, ("diagonal", None): 200.0},
        ("mean", 1): {("diagonal", None): 0.05, ("entropy", "x"): 0.9, ("latent_rank", "x"): 2.0},
        ("deep", 1): {("diagonal", None): math.nan, ("entropy", "x"): 0.4, ("entropy", "y"): 0.5},
    }
    bands = {"norm": (None, 0.001), "diagonal": (0.1, None), "entropy": (0.5, 0.98), "free": (None, None)}
    rows = monitor_rows(watched, bands, 7)
    table = results_table("resampler", rows)
    assert table["passed"].tolist() == [True, False, True, False, True, pd.NA, False, False, True]
    assert table["x"].fillna("both").tolist() == ["x", "y", "both", "both", "x", "x", "both", "x", "y"]
    assert table["least"].dropna().tolist() == [0.1, 0.1, 0.5, 0.1, 0.5, 0.5]
    assert table["most"].dropna().tolist() == [0.001, 0.001, 0.98, 0.98, 0.98]
    assert table["subject"].tolist() == ["first"] * 3 + ["mean"] * 3 + ["deep"] * 3
    assert table["seed"].tolist() == [0, 0, 0, 1, 1, 1, 1, 1, 1]
    assert set(table["n"]) == {7}


def test_whether_a_monitor_lies_within_is_read_as_it_was_written(tmp_path):
    rows = monitor_rows({("first", 0): {("norm", "x"): 1e-7, ("norm", "y"): 0.5}}, {"norm": (None, 0.001)}, 7)
    write_results(tmp_path / "scores.csv", "resampler", rows)
    assert read_results([tmp_path / "scores.csv"])["passed"].tolist() == [True, False]


def test_scores_are_means_and_the_first_variant_is_compared_with_each_other():
    key, item = Key("recall", "x", "y", "x_to_y", 1), np.arange(6)
    hits = {"first": [1, 1, 1, 1, 1, 0], "mean": [1, 0, 0, 0, 1, 0], "deep": [1, 1, 1, 1, 1, 0]}
    runs = {name: {0: {key: PerRow(np.array(values, float), item)}} for name, values in hits.items()}
    means = results_table("resampler", score_rows(runs, 50, item))
    means = means[means["seed"].isna()].set_index("subject")["value"]
    assert means.to_dict() == pytest.approx({"first": 5 / 6, "mean": 2 / 6, "deep": 5 / 6})
    told = results_table("resampler", difference_rows(runs, 50, item)).set_index("against")
    assert set(told["subject"]) == {"first"}
    assert told["value"].to_dict() == pytest.approx({"mean": 0.5, "deep": 0.0})
    told = results_table("resampler", difference_rows(runs, 50, item, "deep"))
    assert list(zip(told["subject"], told["against"], strict=True)) == [
        *(("first", other) for other in ("mean", "deep")),
        *(("deep", other) for other in ("first", "mean")),
    ]
    assert told["value"].tolist() == pytest.approx([0.5, 0, 0, 0.5])


def test_swaps_are_held_against_a_guess():
    swaps, edits = (Key("hard_negatives", "x", "y", label=name) for name in ("binding", "other"))
    item, rng = np.repeat(np.arange(200), 2), np.random.default_rng(1)
    told = {"none": rng.random(400) < 0.5, "some": rng.random(400) < 0.7}
    runs = {
        name: {seed: {key: PerRow(hits.astype(float), item) for key in (swaps, edits)} for seed in (0, 1)}
        for name, hits in told.items()
    }
    table = results_table("resampler", difference_rows(runs, 200, np.arange(200)))
    found = table[table["against"] == GUESS].set_index("subject")
    assert found["value"].to_dict() == pytest.approx({name: hits.mean() - 0.5 for name, hits in told.items()})
    assert set(found["label"]) == {"binding"}
    assert found["p"]["some"] < 1e-6
    assert found["p"]["none"] > 0.05
    assert found["low"]["none"] < 0 < found["low"]["some"]


def test_worth_counts_parameters_and_multiply_adds_of_a_mean_length():
    made = {"x": adapter(reduce=None), "y": adapter(reduce=None)}
    tokens = {"x": Ragged.of(sequences((2, 4))), "y": Ragged.of(sequences((1, 2)))}
    own = (6 * 8 + 8) + 64 * 8 + 8 + 2 * 8 + (8 * 5 + 5)
    assert worth(made, tokens) == {
        Key("parameters", "x", "y"): 2 * own,
        Key("multiply_adds", "x"): 3 * 6 * 8 + 8 * 5,
        Key("multiply_adds", "y"): 1.5 * 6 * 8 + 8 * 5,
    }


def test_attention_of_each_item_is_that_of_the_item_alone():
    made, parts = adapter(), sequences()
    for found, part in zip(attention(made, Ragged.of(parts)), parts, strict=True):
        alone = made.reducer.weights(made.tokens(torch.from_numpy(part)[None]))[-1][0].mean(dim=0)
        np.testing.assert_allclose(found, alone.detach(), atol=1e-6)


def test_attention_to_own_keys_is_told_of_short_items_as_well():
    made, parts = adapter(reduce=REDUCE | {"own_keys": True}), sequences()
    for found, part in zip(attention(made, Ragged.of(parts)), parts, strict=True):
        alone = made.reducer.weights(made.tokens(torch.from_numpy(part)[None]))[-1][0].mean(dim=0)
        np.testing.assert_allclose(found, alone.detach(), atol=1e-6)


def test_what_latents_take_of_positions_sums_to_one():
    made, parts = adapter(grid=(2, 3)), sequences((6,) * 4)
    rows = pd.DataFrame(by_position(made, Ragged.of(parts)))
    assert rows["key"].tolist() == list("012345") * 3
    assert rows["latent"].tolist() == np.repeat([0, 1, 2], 6).tolist()
    np.testing.assert_allclose(rows.groupby("latent")["value"].sum(), 1, atol=1e-6)
    assert (rows["uniform"] == 1 / 6).all()
    mean = np.mean(attention(made, Ragged.of(parts)), axis=0)
    np.testing.assert_allclose(rows["value"].to_numpy().reshape(3, 6), mean, atol=1e-6)


def test_what_latents_take_of_sorts_of_words_sums_to_one():
    made, parts = adapter(), sequences((3, 2, 4))
    sorts = [["digit", "colour", SPECIAL], ["digit", "digit"], [OTHER, SPECIAL, "digit", "place"]]
    rows = pd.DataFrame(by_sort(made, Ragged.of(parts), sorts))
    assert list(rows["key"].unique()) == ["digit", "colour", "place", OTHER, SPECIAL]
    for column in ("value", "uniform"):
        np.testing.assert_allclose(rows.groupby("latent")[column].sum(), 1, atol=1e-6)
    uniform = rows[rows["latent"] == 0].set_index("key")["uniform"]
    assert uniform["digit"] == pytest.approx((1 / 3 + 1 + 1 / 4) / 3)
    told = attention(made, Ragged.of(parts))
    digits = (told[0][1, 0] + told[1][1].sum() + told[2][1, 2]) / 3
    found = rows[(rows["latent"] == 1) & (rows["key"] == "digit")]["value"].item()
    assert found == pytest.approx(digits, abs=1e-6)


@pytest.mark.parametrize(
    ("word", "sort"),
    [
        ("seven", "digit"),
        ("0", "digit"),
        ("even", "digit"),
        ("numeral", "digit"),
        ("crimson", "colour"),
        ("warm", "colour"),
        ("tiny", "size"),
        ("left", "place"),
        ("upper", "place"),
        ("above", "relation"),
        ("beside", "relation"),
        ("pair", "count"),
        ("and", "a, and, in, of …"),
        ("in", "a, and, in, of …"),
        ("today", OTHER),
        ("nonsense", OTHER),
    ],
)
def test_words_are_sorted_by_what_they_are_about(word, sort):
    assert sort_of(word) == sort


@pytest.mark.parametrize("word", ["the", "a", "of", "to", "on"])
def test_words_that_only_join_others_are_about_nothing(word):
    assert sort_of(word) == "a, and, in, of …"


def test_tokens_are_sorted_by_their_words(encoders):
    found = sorts_of(encoders["text"].processor, "Red SEVEN is left", 64)
    assert found == [SPECIAL, "colour", "digit", OTHER, "place", SPECIAL]


def test_tokens_are_sorted_where_a_space_is_of_the_word():
    words = Tokenizer(models.WordLevel({"red": 0, "Ġseven": 1}, unk_token="red"))
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.post_processor = processors.ByteLevel(trim_offsets=False)
    assert sorts_of(PreTrainedTokenizerFast(tokenizer_object=words), "red seven", 64) == ["colour", "digit"]
