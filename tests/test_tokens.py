"""Ragged tokens: what they are, that padding never reaches them, resumption, sharing, and clear failures."""

import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_encoders import contents, random_rows, text_folder, vision_folder, write_rows

from jam.data.images import decode_image
from jam.distributed import beside
from jam.encoders import Encoder
from jam.errors import InputError
from jam.features import TokenStore, extract_features, extract_tokens, ragged
from jam.features.tokens import SPANS
from jam.features.views import Views
from jam.parallel import in_processes


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A world of two splits, and an encoder of each kind of padding."""
    root = tmp_path_factory.mktemp("tokens")
    write_rows(root / "data", train=random_rows("train", 30, 0), val=random_rows("val", 11, 1))
    vision_folder(root / "image")
    text_folder(root / "text")
    text_folder(root / "bert", "bert")
    text_folder(root / "left", padding_side="left")
    return root


def extracted(root, name, out, layer=1, **options):
    model = Encoder.load(root / name, device="cpu")
    views = root / "data" / "views" / f"{model.modality}.parquet"
    return model, extract_tokens(model, views, out, layer=layer, scratch=f"{out}-scratch", **options)


@pytest.mark.parametrize("name", ["text", "bert", "left"])
def test_tokens_are_those_of_each_text_alone(root, name, tmp_path):
    """The twin: every text by itself, with nothing to pad."""
    model, store = extracted(root, name, tmp_path / "x", dtype="float32", batch_size=7)
    texts = contents_of(root, "text")
    assert len(store.index) == len(store.spans) == len(texts)
    for (start, end), text in zip(store.spans, texts, strict=True):
        states, real = model.token_states(model.prepare([text]), 1)
        assert real.all()
        np.testing.assert_allclose(store.tokens[start:end], states[0].numpy(), atol=1e-5)
    spans = dict(zip(texts, map(tuple, store.spans), strict=True))
    assert len(set(texts)) < len(texts)
    assert [spans[text] for text in texts] == list(map(tuple, store.spans))  # equal texts share theirs
    assert len(store.tokens) == sum(end - start for start, end in spans.values())


def test_positions_of_an_image_count_row_by_row(root, tmp_path):
    model, store = extracted(root, "image", tmp_path / "x", dtype="float32", layer=2)
    batch = model.prepare([image for _, image in zip(range(3), images_of(root), strict=False)])
    states = model.model(**batch, output_hidden_states=True).hidden_states[2]
    assert states.shape[2:] == (4, 4)
    for row in range(3):
        start, end = store.spans[row]
        assert end - start == 16
        np.testing.assert_allclose(store.tokens[start + 4 * 2 + 3], states[row, :, 2, 3].detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("name", ["image", "text", "bert", "left"])
def test_their_mean_is_the_pooled_state(root, name, tmp_path):
    model, store = extracted(root, name, tmp_path / "x", dtype="float32", layer=2)
    views = root / "data" / "views" / f"{model.modality}.parquet"
    pooled = extract_features(model, views, tmp_path / "pooled", scratch=tmp_path / "s").layer(2)
    tokens, real = store.sequences.padded()
    assert (tokens[~real] == 0).all()
    means = tokens.sum(axis=1) / real.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(means, pooled, atol=1e-5)


@given(st.lists(st.integers(0, 40), max_size=9))
@settings(max_examples=30, deadline=None)
def test_padded_rows_hold_their_tokens_in_any_order(stored, rows):
    tokens, real = stored.sequences[np.array(rows, dtype=np.int64)].padded()
    lengths = [int(np.diff(stored.spans[row])[0]) for row in rows]
    assert tokens.shape == (len(rows), max(lengths, default=0), stored.tokens.shape[1])
    assert real.sum(axis=1).tolist() == lengths
    for row, line, length in zip(rows, tokens, lengths, strict=True):
        np.testing.assert_array_equal(line[:length], stored.tokens[slice(*stored.spans[row])].astype(np.float32))


def test_pages_that_were_read_are_given_back_beyond_a_budget(stored, monkeypatch):
    given_back = []
    monkeypatch.setattr(ragged, "release", lambda *maps: given_back.extend(maps))
    kept, _ = stored.sequences[[1, 0]].padded()
    assert not given_back
    monkeypatch.setattr(ragged, "BUDGET", 0)
    again, _ = stored.sequences[[1, 0]].padded()
    assert isinstance(given_back[0], np.memmap)
    assert given_back[0] is stored.tokens
    np.testing.assert_array_equal(again, kept)


@pytest.fixture(scope="module")
def stored(root):
    return extracted(root, "text", root / "stored")[1]


def test_killed_and_taken_up_it_ends_with_the_same_bytes(root, tmp_path):
    _, whole = extracted(root, "text", tmp_path / "x", batch_size=4)
    expected = contents(tmp_path / "x")
    assert whole.tokens.dtype == np.float16
    shutil.rmtree(tmp_path / "x")

    def dies(items, total, label):
        for number, item in enumerate(items):
            if number == 5:
                raise KeyboardInterrupt
            yield item

    with pytest.raises(KeyboardInterrupt):
        extracted(root, "text", tmp_path / "x", batch_size=4, progress=dies)
    assert not (tmp_path / "x").exists()
    done = []
    extracted(root, "text", tmp_path / "x", batch_size=4, progress=lambda items, total, _: done.append(total) or items)
    assert contents(tmp_path / "x") == expected
    assert done == [len(plan(root, 4)) - 5]


def plan(root, batch_size):
    model = Encoder.load(root / "text", device="cpu")
    views = Views(root / "data" / "views" / "text.parquet", "text", {})
    return views.plan(model, batch_size)


def part(root, name, out, path, rank):
    with beside(path, rank, 2) as world:
        extracted(root, name, out, world=world)
    return rank


@pytest.mark.parametrize("name", ["image", "text"])
def test_processes_that_share_the_batches_write_the_same_bytes(root, name, tmp_path):
    extracted(root, name, tmp_path / "alone" / "x")
    calls = [(root, name, tmp_path / "two" / "x", str(tmp_path / "store"), rank) for rank in range(2)]
    (tmp_path / "two").mkdir()
    assert sorted(in_processes(part, calls, 2)) == [0, 1]
    assert contents(tmp_path / "two" / "x") == contents(tmp_path / "alone" / "x")


def test_what_cannot_be_is_said_in_one_line(root, tmp_path, monkeypatch):
    def refused(match, call):
        with pytest.raises(InputError, match=match) as caught:
            call()
        assert "\n" not in str(caught.value)

    refused("layer: got 3, expected a whole number of 0 … 2", lambda: extracted(root, "text", tmp_path / "a", layer=3))
    refused("dtype: got 'int8'", lambda: extracted(root, "text", tmp_path / "a", dtype="int8"))
    real = Encoder.token_states
    huge = lambda self, inputs, layer: (real(self, inputs, layer)[0] * 1e6, real(self, inputs, layer)[1])  # noqa: E731
    monkeypatch.setattr(Encoder, "token_states", huge)
    refused("item 'train-.*layer 1 got a NaN or infinity in float16", lambda: extracted(root, "text", tmp_path / "a"))
    monkeypatch.setattr(Encoder, "token_states", real)
    assert not (tmp_path / "a").exists()
    refused("expected tokens with manifest.json, found none", lambda: TokenStore.load(tmp_path / "none"))
    extracted(root, "text", tmp_path / "b")
    np.save(tmp_path / "b" / SPANS, np.zeros((2, 2), dtype=np.int64))
    refused("got .*, expected spans, lines and tokens", lambda: TokenStore.load(tmp_path / "b"))


def contents_of(root, modality):
    return pq.read_table(root / "data" / "views" / f"{modality}.parquet").column("content").to_pylist()


def images_of(root):
    return [decode_image(cell["bytes"]) for cell in contents_of(root, "image")]
