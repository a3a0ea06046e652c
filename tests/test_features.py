"""The feature store: contents, order, resumption after a kill, and clear failures."""

import errno
import os
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_encoders import contents, pairs_table, text_folder, vision_folder

from jam.data import schema
from jam.data.images import decode_image
from jam.encoders import Encoder
from jam.errors import InputError
from jam.features import FeatureStore, extract_features
from jam.features import extract as module
from jam.features.items import choose_negatives
from jam.features.store import layer_name
from jam.io import read_json

SPLITS = ("train", "val")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Two tables, their rows, and a vision and a text encoder."""
    root = tmp_path_factory.mktemp("world")
    paths = {split: root / f"{split}.parquet" for split in SPLITS}
    rows = {
        split: pairs_table(paths[split], n, seed) for seed, (split, n) in enumerate(zip(SPLITS, (40, 15), strict=True))
    }
    encoders = {
        "vision": Encoder.load(vision_folder(root / "vision"), device="cpu"),
        "text": Encoder.load(text_folder(root / "text"), device="cpu"),
    }
    return paths, rows, encoders, root


def test_every_image_is_encoded_in_order(world, tmp_path):
    paths, rows, encoders, _ = world
    store = extract_features(encoders["vision"], paths, tmp_path / "v", scratch=tmp_path / "s", batch_size=7)
    images = [decode_image(row["image"]["bytes"]) for split in SPLITS for row in rows[split]]
    assert store.dims == (4, 4, 4, 8, 8)
    assert store.layers == 5
    for layer in range(5):
        assert store.layer(layer).dtype == np.float32
        assert isinstance(store.layer(layer), np.memmap)
        np.testing.assert_allclose(store.layer(layer), encoders["vision"].encode(images, layer=layer), atol=1e-5)
    assert store.index["id"].tolist() == [row["id"] for split in SPLITS for row in rows[split]]
    assert store.index["row"].tolist() == list(range(55))
    assert set(store.index["role"]) == {"image"}
    assert store.rows("val", "image")["row"].tolist() == list(range(40, 55))
    assert not (tmp_path / "s" / "v").exists() or not list((tmp_path / "s" / "v").iterdir())


def test_any_number_of_threads_prepares_the_same_batches(world, tmp_path, monkeypatch):
    """As for a GPU: several threads decode photos at one time, of several groups of rows."""
    monkeypatch.setattr(schema, "ROW_GROUP", 7)
    pairs_table(tmp_path / "train.parquet", 50)
    stores = []
    for threads in (1, 4):
        monkeypatch.setattr(module, "_threads", lambda encoder, threads=threads: threads)
        stores.append(
            extract_features(
                world[2]["vision"], {"train": tmp_path / "train.parquet"}, tmp_path / str(threads),
                scratch=tmp_path / "s", batch_size=4,
            )
        )  # fmt: skip
    for layer in range(stores[0].layers):
        assert np.array_equal(stores[0].layer(layer), stores[1].layer(layer))
    assert len(np.unique(stores[0].layer(0), axis=0)) == 50


def test_batches_come_in_order_and_no_further_ahead_than_there_are_threads():
    begun = []
    taken = module._ahead(lambda number: begun.append(number) or {"number": number}, range(20), 3)
    for number in range(20):
        assert next(taken) == {"number": number}
        assert max(begun) <= number + 3
    assert list(taken) == []


def test_every_caption_and_negative_is_encoded_where_the_index_says(world, tmp_path):
    paths, rows, encoders, _ = world
    store = extract_features(encoders["text"], paths, tmp_path / "t", scratch=tmp_path / "s", batch_size=16)
    by_id = {row["id"]: row for split in SPLITS for row in rows[split]}
    texts = []
    for line in store.index.itertuples():
        row = by_id[line.id]
        if line.role == "caption":
            texts.append(row["captions"][line.k])
            assert (line.kind, line.tier, line.of) == ("", "", -1)
        else:
            negative = row["negatives"][line.k]
            texts.append(negative["text"])
            assert (line.kind, line.tier, line.of) == (negative["kind"], negative["tier"], negative["of"])
    assert len(texts) == sum(len(row["captions"]) + len(row["negatives"]) for row in by_id.values())
    assert len(set(texts)) < len(texts)  # equal texts do occur
    for layer in range(3):
        np.testing.assert_allclose(store.layer(layer), encoders["text"].encode(texts, layer=layer), atol=1e-5)
    same = [i for i, text in enumerate(texts) if text == max(texts, key=texts.count)]
    assert (store.layer(-1)[same] == store.layer(-1)[same[0]]).all()  # to the last bit
    assert read_json(tmp_path / "t" / "manifest.json")["truncated"] == 0


def test_equal_texts_go_through_the_encoder_once(world, tmp_path, monkeypatch):
    paths, rows, encoders, _ = world
    seen: Counter = Counter()
    prepare = Encoder.prepare
    monkeypatch.setattr(Encoder, "prepare", lambda self, batch: seen.update(batch) or prepare(self, batch))
    encoders["text"].dims  # noqa: B018 - found by encoding an item: before the count
    seen.clear()
    extract_features(encoders["text"], paths, tmp_path / "t", scratch=tmp_path / "s", batch_size=16)
    texts = {
        t for split in SPLITS for row in rows[split] for t in row["captions"] + [n["text"] for n in row["negatives"]]
    }
    assert set(seen) == texts
    assert set(seen.values()) == {1}


def test_limits_hold_in_their_split_alone(world, tmp_path):
    paths, rows, encoders, _ = world
    store = extract_features(
        encoders["text"],
        paths,
        tmp_path / "t",
        scratch=tmp_path / "s",
        captions_per_pair={"train": 2},
        negatives_per_pair={"train": 2},
    )
    captions = store.rows("train", "caption").groupby("id")["k"].agg(list)
    assert captions.to_dict() == {row["id"]: list(range(min(2, len(row["captions"])))) for row in rows["train"]}
    negatives = store.rows("train", "negative")
    assert set(negatives.groupby("id").size()) == {2}
    assert set(negatives["tier"]) == {"hard"}
    assert negatives["kind"].value_counts().to_dict() == dict.fromkeys(negatives["kind"].unique(), 20)
    assert negatives["kind"].nunique() == 4
    assert set(store.rows("val", "negative").groupby("id").size()) == {5}


def test_chosen_negatives_rotate_and_prefer_hard_ones():
    hard = ["hard"] * 3
    assert [choose_negatives(hard, pair, 2) for pair in range(3)] == [[0, 1], [0, 2], [1, 2]]
    mixed = ["easy", "hard", "medium"]
    assert [choose_negatives(mixed, pair, 1) for pair in range(3)] == [[1]] * 3
    assert [choose_negatives(mixed, pair, 2) for pair in range(2)] == [[0, 1], [0, 1]]
    assert choose_negatives(mixed, 1, None) == choose_negatives(mixed, 1, 5) == [0, 1, 2]
    assert choose_negatives([], 3, 2) == []


def test_half_precision_storage(world, tmp_path):
    paths, _, encoders, _ = world
    full = extract_features(encoders["text"], paths, tmp_path / "full", scratch=tmp_path / "s")
    half = extract_features(encoders["text"], paths, tmp_path / "half", scratch=tmp_path / "s", dtype="float16")
    np.testing.assert_array_equal(half.layer(1), np.asarray(full.layer(1)).astype(np.float16))


def test_cut_texts_are_counted_row_by_row(tmp_path):
    encoder = Encoder.load(text_folder(tmp_path / "e"), device="cpu")
    long = "red " * 100
    pairs_table(tmp_path / "train.parquet", 4, captions=["blue", long, long], negatives=[])
    store = extract_features(encoder, {"train": tmp_path / "train.parquet"}, tmp_path / "t", scratch=tmp_path / "s")
    assert store.manifest["truncated"] == 8


# --- resumption -------------------------------------------------------------------------------------------------------


class Interrupted(Exception):
    pass


def stumble(patch, at):
    """Make call number ``at`` of `Encoder.pooled_states` fail; the list of calls, one member each."""
    calls, states = [], Encoder.pooled_states

    def stumbling(self, inputs):
        calls.append(1)
        if len(calls) == at:
            raise Interrupted
        return states(self, inputs)

    patch.setattr(Encoder, "pooled_states", stumbling)
    return calls


@pytest.mark.parametrize("modality", ["vision", "text"])
def test_an_interrupted_run_resumes_to_the_same_bytes(world, tmp_path, monkeypatch, modality):
    paths, _, encoders, _ = world
    encoder, scratch = encoders[modality], tmp_path / "s"
    extract_features(encoder, paths, tmp_path / "whole", scratch=scratch, batch_size=8)
    whole = contents(tmp_path / "whole")
    calls = stumble(monkeypatch, 4)
    with pytest.raises(Interrupted):
        extract_features(encoder, paths, tmp_path / "x", scratch=scratch, batch_size=8)
    assert not (tmp_path / "x").exists()
    before = len(calls)
    extract_features(encoder, paths, tmp_path / "x", scratch=scratch, batch_size=8)
    resumed = len(calls) - before
    assert contents(tmp_path / "x") == whole

    calls.clear()
    calls.extend([1] * 10)  # past the stumble
    extract_features(encoder, paths, tmp_path / "y", scratch=scratch, batch_size=8)
    assert resumed == len(calls) - 10 - 3  # the three finished batches were not encoded again


def test_torn_journals_and_lost_pages_are_encoded_again(world, tmp_path, monkeypatch):
    paths, _, encoders, _ = world
    arguments = {"scratch": tmp_path / "s", "batch_size": 8}
    whole = extract_features(encoders["text"], paths, tmp_path / "whole", **arguments)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "_link", full)
    with pytest.raises(InputError, match="the disk is full") as caught:  # at the very end: all batches are done
        extract_features(encoders["text"], paths, tmp_path / "x", **arguments)
    assert "\n" not in str(caught.value)
    monkeypatch.undo()
    (work,) = (tmp_path / "s" / "x").iterdir()
    journal = work / "journal-0"
    journal.write_text(journal.read_text()[:-3])
    layer = np.load(work / layer_name(1), mmap_mode="r+")
    layer[5:9] = 0  # as after a power cut: the journal is on the disk, these pages are not
    layer.flush()
    extract_features(encoders["text"], paths, tmp_path / "x", **arguments)
    assert contents(tmp_path / "x") == contents(whole.folder)


def test_a_full_disk_is_told_before_any_work(world, tmp_path, monkeypatch):
    paths, _, encoders, _ = world

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr(Encoder, "pooled_states", None)
    with pytest.raises(InputError, match=r"expected room for 0\.\d MB"):
        extract_features(encoders["text"], paths, tmp_path / "x", scratch=tmp_path / "s")


def test_work_of_other_configurations_is_removed(world, tmp_path):
    paths, _, encoders, _ = world
    stale, other = tmp_path / "s" / "x" / "0123", tmp_path / "s" / "x-2" / "0123"
    for folder in (stale, other):
        folder.mkdir(parents=True)
        (folder / "journal-0").write_text("\n0 1")
    extract_features(encoders["vision"], paths, tmp_path / "x", scratch=tmp_path / "s")
    assert not stale.exists()
    assert other.exists()  # that of another feature folder is not


def test_the_key_depends_on_all_that_decides_the_bytes(world, tmp_path, monkeypatch):
    paths, _, encoders, root = world
    keys = []

    def note(manifest, encoder):
        keys.append(key(manifest, encoder))
        raise Interrupted

    key = module._key
    monkeypatch.setattr(module, "_key", note)
    other = vision_folder(root / "vision-other", seed=1)
    swapped = {"train": paths["val"], "val": paths["train"]}
    for encoder, tables, kwargs in (
        (encoders["vision"], paths, {}),
        (encoders["vision"], paths, {}),
        (encoders["vision"], paths, {"batch_size": 3}),
        (encoders["vision"], paths, {"dtype": "float16"}),
        (encoders["vision"], {"train": paths["train"]}, {}),
        (encoders["vision"], swapped, {}),
        (Encoder.load(other, device="cpu"), paths, {}),
        (encoders["text"], paths, {}),
        (encoders["text"], paths, {"captions_per_pair": {"train": 1}}),
        (encoders["text"], paths, {"negatives_per_pair": {"train": 1}}),
    ):
        with pytest.raises(Interrupted):
            extract_features(encoder, tables, tmp_path / "x", scratch=tmp_path / "s", **kwargs)
    assert keys[0] == keys[1]
    assert len(set(keys)) == len(keys) - 1


def test_a_killed_process_resumes_to_the_same_bytes(world, tmp_path):
    paths, _, encoders, root = world
    script = textwrap.dedent(
        """
        import os, signal, sys
        from jam.encoders import Encoder
        from jam.features import extract_features
        train, val, encoder, out, scratch, last = sys.argv[1:]
        states, left = Encoder.pooled_states, iter(range(int(last)))
        def killed(self, inputs):
            if next(left, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)
            return states(self, inputs)
        Encoder.pooled_states = killed
        tables = {"train": train, "val": val}
        extract_features(Encoder.load(encoder, device="cpu"), tables, out, scratch=scratch, batch_size=4)
        """
    )
    arguments = [str(paths["train"]), str(paths["val"]), str(root / "text"), str(tmp_path / "x"), str(tmp_path / "s")]

    def run(last):
        return subprocess.run([sys.executable, "-c", script, *arguments, str(last)], cwd=Path(__file__).parents[1])

    assert run(6).returncode == -signal.SIGKILL
    (journal,) = (tmp_path / "s").glob("x/*/journal-0")
    assert len(journal.read_text().split()) == 2 * 5  # one call told the widths
    assert not (tmp_path / "x").exists()
    assert run(10**6).returncode == 0
    whole = extract_features(encoders["text"], paths, tmp_path / "whole", scratch=tmp_path / "s", batch_size=4)
    assert contents(tmp_path / "x") == contents(whole.folder)


# --- memory -----------------------------------------------------------------------------------------------------------


def hungry(monkeypatch, fits, error=torch.OutOfMemoryError):
    """Let no more than ``fits`` items through the encoder at once; the sizes asked for, as they come."""
    states, sizes = Encoder.pooled_states, []

    def limited(self, inputs):
        sizes.append(len(next(iter(inputs.values()))))
        if sizes[-1] > fits:
            raise error("CUDA out of memory. Tried to allocate 2.00 GiB.\nand more")
        return states(self, inputs)

    monkeypatch.setattr(Encoder, "pooled_states", limited)
    return sizes


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError])
@pytest.mark.parametrize("modality", ["vision", "text"])
def test_a_batch_that_does_not_fit_is_halved_and_the_work_goes_on(world, tmp_path, monkeypatch, modality, error):
    paths, _, encoders, _ = world
    arguments = {"scratch": tmp_path / "s", "batch_size": 32}
    whole = extract_features(encoders[modality], paths, tmp_path / "whole", **arguments)
    assert "batch_size_used" not in whole.manifest
    sizes = hungry(monkeypatch, 9, error)
    store = extract_features(encoders[modality], paths, tmp_path / "x", **arguments)
    assert sizes[:3] == [32, 16, 8]
    assert max(sizes[3:]) == 8  # later batches begin with what fitted
    assert (store.manifest["batch_size"], store.manifest["batch_size_used"]) == (32, 8)
    assert store.index.equals(whole.index)
    for layer in range(whole.layers):
        np.testing.assert_allclose(store.layer(layer), whole.layer(layer), atol=1e-5)


def test_work_that_ran_out_of_memory_is_taken_up_with_what_fitted(world, tmp_path, monkeypatch):
    paths, _, encoders, _ = world
    arguments = {"scratch": tmp_path / "s", "batch_size": 16}
    with monkeypatch.context() as patch:
        hungry(patch, 5)
        halved = extract_features(encoders["text"], paths, tmp_path / "halved", **arguments)
    with monkeypatch.context() as patch:
        hungry(patch, 5)
        stumble(patch, 15)
        with pytest.raises(Interrupted):
            extract_features(encoders["text"], paths, tmp_path / "x", **arguments)
    with monkeypatch.context() as patch:
        sizes = hungry(patch, 100)  # there is memory again
        extract_features(encoders["text"], paths, tmp_path / "x", **arguments)
        assert max(sizes) == 4
    assert contents(tmp_path / "x") == contents(halved.folder)


def test_an_item_that_does_not_fit_alone_is_one_line(world, tmp_path, monkeypatch):
    paths, _, encoders, _ = world
    encoders["vision"].dims  # noqa: B018 - found by encoding an item
    sizes = hungry(monkeypatch, 0)
    with pytest.raises(InputError, match="tiny-vision: not even one item fits into the memory of cpu") as caught:
        extract_features(encoders["vision"], paths, tmp_path / "x", scratch=tmp_path / "s", batch_size=4)
    assert "\n" not in str(caught.value)
    assert sizes[-3:] == [4, 2, 1]
    assert not (tmp_path / "x").exists()


def test_other_errors_are_no_lack_of_memory(world, tmp_path, monkeypatch):
    paths, _, encoders, _ = world

    def broken(self, inputs):
        raise RuntimeError("shapes do not match")

    encoders["vision"].dims  # noqa: B018 - found by encoding an item
    monkeypatch.setattr(Encoder, "pooled_states", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        extract_features(encoders["vision"], paths, tmp_path / "x", scratch=tmp_path / "s")


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "dtype"), [(float("nan"), "float32"), (float("inf"), "float32"), (1e6, "float16")])
def test_features_that_are_not_finite_name_pair_and_layer(world, tmp_path, monkeypatch, value, dtype):
    paths, _, encoders, _ = world
    states, calls = Encoder.pooled_states, []

    def broken(self, inputs):
        layers = [layer.clone() for layer in states(self, inputs)]
        calls.append(1)
        if len(calls) == 3:
            layers[2][1, 3] = value
        return layers

    monkeypatch.setattr(Encoder, "pooled_states", broken)
    with pytest.raises(InputError, match=f"pair 'train-009', image: layer 2 got a NaN or infinity in {dtype}"):
        extract_features(encoders["vision"], paths, tmp_path / "x", scratch=tmp_path / "s", batch_size=4, dtype=dtype)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("modality", "columns", "message"),
    [
        ("vision", {"image": None}, r"pair 't-000': got no image"),
        ("vision", {"image": {"bytes": b"no image", "path": ""}}, r"pair 't-000': not an image"),
        ("text", {"captions": []}, r"t-000: got no caption"),
    ],
)
def test_bad_pairs_are_named(world, tmp_path, modality, columns, message):
    encoder = world[2][modality]
    pairs_table(tmp_path / "t.parquet", 3, **columns)
    with pytest.raises(InputError, match=message):
        extract_features(encoder, {"train": tmp_path / "t.parquet"}, tmp_path / "x", scratch=tmp_path / "s")


def test_reading_checks_what_it_finds(world, tmp_path):
    paths, _, encoders, _ = world
    with pytest.raises(InputError, match=r"manifest\.json"):
        FeatureStore.load(tmp_path / "none")
    store = extract_features(encoders["vision"], {"val": paths["val"]}, tmp_path / "v", scratch=tmp_path / "s")
    with pytest.raises(InputError, match="got layer 5, expected -5 … 4"):
        store.layer(5)
    with pytest.raises(InputError, match="got no caption rows of split 'val'"):
        store.rows("val", "caption")
    np.save(store.folder / layer_name(0), np.zeros((3, 4), np.float32))
    with pytest.raises(InputError, match=r"layer_00\.npy: expected an array .*\(15, 4\).*got"):
        store.layer(0)
    (store.folder / layer_name(1)).unlink()
    with pytest.raises(InputError, match=r"layer_01\.npy"):
        store.layer(1)
    assert store.layer(2).shape == (15, 4)  # the other layers are still to be had
    for name in ("index.parquet", "manifest.json"):
        (store.folder / name).write_text("{")
        with pytest.raises(InputError, match="is broken"):
            FeatureStore.load(store.folder)
