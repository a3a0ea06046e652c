"""The feature store: contents, order, resumption after a kill, and clear failures."""

import errno
import os
import shutil
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
import torch
from test_train import training
from tiny_encoders import contents, random_rows, text_folder, vision_folder, write_rows

from jam.align.rows import join_sides
from jam.align.train import train
from jam.data import schema
from jam.data.images import decode_image
from jam.data.readers import READERS, Reader
from jam.encoders import Encoder
from jam.encoders.manifest import Manifest
from jam.errors import InputError
from jam.features import FeatureStore, extract_features, filling
from jam.features.store import layer_name
from jam.features.views import choose_false
from jam.params import Objective

SPLITS = ("train", "val")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("world")


@pytest.fixture(scope="module")
def rows():
    return {split: random_rows(split, n, seed) for seed, (split, n) in enumerate(zip(SPLITS, (40, 15), strict=True))}


@pytest.fixture(scope="module")
def world(root, rows):
    return write_rows(root / "data", **rows)


@pytest.fixture(scope="module")
def encoders(root):
    folders = {"image": vision_folder(root / "image"), "text": text_folder(root / "text")}
    loaded = {modality: Encoder.load(folder, device="cpu") for modality, folder in folders.items()}
    for encoder in loaded.values():
        encoder.dims  # noqa: B018 - found by encoding an item: before any call is counted
    return loaded


@pytest.fixture
def extract(world, encoders, tmp_path):
    """Features of both splits, or of another world, in a folder of the name given."""

    def extracted(encoder, name="x", folder=world, **options):
        model = encoders[encoder]
        views = folder / "views" / f"{model.modality}.parquet"
        return extract_features(model, views, tmp_path / name, scratch=tmp_path / "s", **options)

    return extracted


def test_every_image_is_encoded_in_order(extract, rows, encoders, tmp_path):
    store = extract("image", batch_size=7)
    images = [decode_image(row["image"]["bytes"]) for split in SPLITS for row in rows[split]]
    assert store.dims == (4, 4, 4, 8, 8)
    assert store.layers == 5
    for layer in range(5):
        assert store.layer(layer).dtype == np.float32
        assert isinstance(store.layer(layer), np.memmap)
        np.testing.assert_allclose(store.layer(layer), encoders["image"].encode(images, layer=layer), atol=1e-5)
    assert store.index["id"].tolist() == [row["id"] for split in SPLITS for row in rows[split]]
    assert store.index["row"].tolist() == list(range(55))
    assert set(store.index["role"]) == {"true"}
    assert store.rows("val", "true")["row"].tolist() == list(range(40, 55))
    assert not list((tmp_path / "s" / "x").iterdir())


def test_any_number_of_threads_prepares_the_same_batches(extract, tmp_path, monkeypatch):
    """As for a GPU: several threads decode photos at one time, of several groups of rows."""
    monkeypatch.setattr(schema, "ROW_GROUP", 7)
    folder = write_rows(tmp_path / "data", train=random_rows("train", 50))
    for threads in (1, 4):
        monkeypatch.setattr(filling, "_threads", lambda encoder, threads=threads: threads)
        store = extract("image", str(threads), folder, batch_size=4)
    assert contents(tmp_path / "1") == contents(tmp_path / "4")
    assert len(np.unique(store.layer(0), axis=0)) == 50


def test_batches_come_in_order_and_no_further_ahead_than_there_are_threads():
    begun = []
    taken = filling._ahead(lambda number: begun.append(number) or {"number": number}, range(20), 3)
    for number in range(20):
        assert next(taken) == {"number": number}
        assert max(begun) <= number + 3
    assert list(taken) == []


def test_every_caption_and_negative_is_encoded_where_the_index_says(extract, rows, encoders):
    store = extract("text", batch_size=16)
    by_id = {row["id"]: row for split in SPLITS for row in rows[split]}
    texts = []
    for line in store.index.itertuples():
        row = by_id[line.id]
        if line.role == "true":
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
    assert store.manifest["truncated"] == 0


def test_equal_texts_go_through_the_encoder_once(extract, rows, monkeypatch):
    seen: Counter = Counter()
    prepare = Encoder.prepare
    monkeypatch.setattr(Encoder, "prepare", lambda self, batch: seen.update(batch) or prepare(self, batch))
    extract("text", batch_size=16)
    texts = {
        t for split in SPLITS for row in rows[split] for t in row["captions"] + [n["text"] for n in row["negatives"]]
    }
    assert set(seen) == texts
    assert set(seen.values()) == {1}


def test_limits_hold_in_their_split_alone(extract, rows):
    store = extract("text", limits={"train": (2, 2)})
    captions = store.rows("train", "true").groupby("id")["k"].agg(list)
    assert captions.to_dict() == {row["id"]: list(range(min(2, len(row["captions"])))) for row in rows["train"]}
    negatives = store.rows("train", "false")
    assert set(negatives.groupby("id").size()) == {2}
    assert set(negatives["tier"]) == {"hard"}
    assert negatives["kind"].value_counts().to_dict() == dict.fromkeys(negatives["kind"].unique(), 20)
    assert negatives["kind"].nunique() == 4
    assert set(store.rows("val", "false").groupby("id").size()) == {5}


def test_chosen_false_views_rotate_and_prefer_hard_ones():
    def chosen(tiers, items, limit):
        """Those of each of some items that have the same tiers."""
        n = len(tiers)
        hard, owner = np.array([tier == "hard" for tier in tiers] * items), np.repeat(np.arange(items), n)
        kept = choose_false(hard, owner, limit)
        assert (np.diff(kept) > 0).all()
        return [(kept[kept // n == item] % n).tolist() for item in range(items)]

    assert chosen(["hard"] * 3, 3, 2) == [[0, 1], [0, 2], [1, 2]]
    mixed = ["easy", "hard", "medium"]
    assert chosen(mixed, 3, 1) == [[1]] * 3
    assert chosen(mixed, 2, 2) == [[0, 1], [0, 1]]
    assert chosen(mixed, 1, 5) == [[0, 1, 2]]
    assert len(choose_false(np.empty(0, bool), np.empty(0, int), 2)) == 0


def test_half_precision_storage(extract):
    full, half = extract("text", "full"), extract("text", "half", dtype="float16")
    np.testing.assert_array_equal(half.layer(1), np.asarray(full.layer(1)).astype(np.float16))


def test_cut_texts_are_counted_row_by_row(extract, tmp_path):
    long = "red " * 100
    folder = write_rows(tmp_path / "data", train=random_rows("t", 4, captions=["blue", long, long], negatives=[]))
    assert extract("text", folder=folder).manifest["truncated"] == 8


# --- resumption -------------------------------------------------------------------------------------------------------


class Interrupted(Exception):
    pass


def stumble(patch, at, then=lambda: None):
    """Make call number ``at`` of `Encoder.pooled_states` fail, after ``then``; the list of calls, one member each."""
    calls, states = [], Encoder.pooled_states

    def stumbling(self, inputs):
        calls.append(1)
        if len(calls) == at:
            then()
            raise Interrupted
        return states(self, inputs)

    patch.setattr(Encoder, "pooled_states", stumbling)
    return calls


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("modality", ["image", "text"])
def test_an_interrupted_run_resumes_to_the_same_bytes(extract, tmp_path, monkeypatch, modality, killed):
    calls = stumble(monkeypatch, 0)
    whole = extract(modality, "whole", batch_size=8)
    batches = len(calls)
    # A kill leaves what the files hold at that very moment, and closes nothing.
    calls = stumble(monkeypatch, 4, lambda: shutil.copytree(tmp_path / "s", tmp_path / "killed"))
    with pytest.raises(Interrupted):
        extract(modality, batch_size=8)
    assert not (tmp_path / "x").exists()
    if killed:
        shutil.rmtree(tmp_path / "s")
        (tmp_path / "killed").rename(tmp_path / "s")
    calls.clear()
    calls.extend([1] * 4)  # past the stumble
    assert contents(extract(modality, batch_size=8).folder) == contents(whole.folder)
    assert len(calls) - 4 == batches - 3  # the three finished batches were not encoded again


def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_torn_journals_and_lost_pages_are_encoded_again(extract, tmp_path, monkeypatch):
    whole = extract("text", "whole", batch_size=8)
    monkeypatch.setattr(filling, "_link", full)
    with pytest.raises(InputError, match="the disk is full") as caught:  # at the very end: all batches are done
        extract("text", batch_size=8)
    assert "\n" not in str(caught.value)
    monkeypatch.undo()
    (work,) = (tmp_path / "s" / "x").iterdir()
    journal = work / "journal-0"
    torn = journal.read_text()[:-3].encode()
    journal.write_bytes(torn + b"\n7 \xff\n-3 4\n3 4.5\n5 6" + bytes(9))
    layer = np.load(work / layer_name(1), mmap_mode="r+")
    layer[5:9] = 0  # as after a power cut: the journal is on the disk, these pages are not
    layer.flush()
    assert contents(extract("text", batch_size=8).folder) == contents(whole.folder)


def test_a_full_disk_is_told_before_any_work(extract, monkeypatch):
    monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr(Encoder, "pooled_states", None)
    with pytest.raises(InputError, match=r"expected room for 0\.\d MB"):
        extract("text")


def test_work_of_other_configurations_is_removed(extract, tmp_path):
    stale, other = tmp_path / "s" / "x" / "0123", tmp_path / "s" / "x-2" / "0123"
    for folder in (stale, other):
        folder.mkdir(parents=True)
        (folder / "journal-0").write_text("\n0 1")
    extract("image")
    assert not stale.exists()
    assert other.exists()  # that of another feature folder is not


def test_the_key_depends_on_all_that_decides_the_bytes(extract, rows, encoders, root, tmp_path, monkeypatch):
    keys = []

    def note(manifest, encoder):
        keys.append(key(manifest, encoder))
        raise Interrupted

    key = filling._key
    monkeypatch.setattr(filling, "_key", note)
    monkeypatch.setitem(encoders, "other", Encoder.load(vision_folder(root / "other", seed=1), device="cpu"))
    for modality, options in (
        ("image", {}),
        ("image", {}),
        ("image", {"batch_size": 3}),
        ("image", {"dtype": "float16"}),
        ("image", {"folder": write_rows(tmp_path / "less", train=rows["train"])}),
        ("image", {"folder": write_rows(tmp_path / "turned", train=rows["val"], val=rows["train"])}),
        ("other", {}),
        ("text", {}),
        ("text", {"limits": {"train": (1, None)}}),
        ("text", {"limits": {"train": (None, 1)}}),
    ):
        with pytest.raises(Interrupted):
            extract(modality, **options)
    assert keys[0] == keys[1]
    assert len(set(keys)) == len(keys) - 1


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
@pytest.mark.parametrize("modality", ["image", "text"])
def test_a_batch_that_does_not_fit_is_halved_and_the_work_goes_on(extract, monkeypatch, modality, error):
    whole = extract(modality, "whole", batch_size=32)
    assert "batch_size_used" not in whole.manifest
    sizes = hungry(monkeypatch, 9, error)
    store = extract(modality, batch_size=32)
    assert sizes[:3] == [32, 16, 8]
    assert max(sizes[3:]) == 8  # later batches begin with what fitted
    assert (store.manifest["batch_size"], store.manifest["batch_size_used"]) == (32, 8)
    assert store.index.equals(whole.index)
    for layer in range(whole.layers):
        np.testing.assert_allclose(store.layer(layer), whole.layer(layer), atol=1e-5)


def test_work_that_ran_out_of_memory_is_taken_up_with_what_fitted(extract, monkeypatch):
    with monkeypatch.context() as patch:
        hungry(patch, 5)
        halved = extract("text", "halved", batch_size=16)
        stumble(patch, 15)
        with pytest.raises(Interrupted):
            extract("text", batch_size=16)
    sizes = hungry(monkeypatch, 100)  # there is memory again
    assert contents(extract("text", batch_size=16).folder) == contents(halved.folder)
    assert max(sizes) == 4


def test_an_item_that_does_not_fit_alone_is_one_line(extract, tmp_path, monkeypatch):
    sizes = hungry(monkeypatch, 0)
    with pytest.raises(InputError, match="tiny-vision: not even one item fits into the memory of cpu") as caught:
        extract("image", batch_size=4)
    assert "\n" not in str(caught.value)
    assert sizes == [4, 2, 1]
    assert not (tmp_path / "x").exists()


def test_other_errors_are_no_lack_of_memory(extract, monkeypatch):
    def broken(self, inputs):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(Encoder, "pooled_states", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        extract("image")


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"batch_size": "8"}, {"batch_size": 1.5}, {"dtype": "int8"}])
def test_bad_arguments_are_named(extract, wrong):
    [(name, value)] = wrong.items()
    with pytest.raises(InputError, match=f"{name}: got {value!r}, expected"):
        extract("text", **wrong)


@pytest.mark.parametrize(("value", "dtype"), [(float("nan"), "float32"), (float("inf"), "float32"), (1e6, "float16")])
def test_features_that_are_not_finite_name_pair_and_layer(extract, tmp_path, monkeypatch, value, dtype):
    states, calls = Encoder.pooled_states, []

    def broken(self, inputs):
        layers = [layer.clone() for layer in states(self, inputs)]
        calls.append(1)
        if len(calls) == 3:
            layers[2][1, 3] = value
        return layers

    monkeypatch.setattr(Encoder, "pooled_states", broken)
    with pytest.raises(InputError, match=f"item 'train-009', true view 0: layer 2 got a NaN or infinity in {dtype}"):
        extract("image", batch_size=4, dtype=dtype)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("modality", "columns", "message"),
    [
        ("image", {"image": {"bytes": None, "path": ""}}, r"item 't-000': got no bytes of an image"),
        ("image", {"image": {"bytes": b"no image", "path": ""}}, r"item 't-000': not an image"),
        ("text", {"captions": ["red", None]}, r"item 't-000': got no content, expected one for its encoder"),
        ("text", {"captions": [], "negatives": []}, r"text\.parquet: no such file"),
    ],
)
def test_bad_views_are_named(extract, tmp_path, modality, columns, message):
    folder = write_rows(tmp_path / "data", train=random_rows("t", 3, **columns))
    with pytest.raises(InputError, match=message):
        extract(modality, folder=folder)


def test_a_fourth_modality_takes_one_reader_and_an_encoder(tmp_path, monkeypatch):
    """Numbers, read as they are, and a linear encoder: features, items and a space like any other."""
    monkeypatch.setitem(READERS, "numbers", Reader(pa.list_(pa.float64()), None, np.array, once=False))
    rng = np.random.default_rng(0)
    numbers, ids = rng.normal(size=(40, 6)), [f"i-{i}" for i in range(40)]
    views = [
        {**schema.TRUE, "row": i, "id": one, "split": "train", "k": 0, "content": list(numbers[i])}
        for i, one in enumerate(ids)
    ]
    schema.write_table(tmp_path / "numbers.parquet", schema.view_schema("numbers"), views)

    class Linear(Encoder):
        def __init__(self):
            self.manifest = Manifest(id="linear", modality="numbers", source="cave", pooling="mean", sha256="")
            self.model = torch.nn.Linear(6, 5)
            self.model.device, self.model.dtype, self.autocast = torch.device("cpu"), torch.float32, False

        dims = (5,)

        def prepare(self, batch):
            return {"x": torch.tensor(np.stack(batch), dtype=torch.float32)}

        def pooled_states(self, inputs):
            return [self.model(inputs["x"]).detach()]

    store = extract_features(Linear(), tmp_path / "numbers.parquet", tmp_path / "x", scratch=tmp_path / "s")
    assert store.layer(0).shape == (40, 5)
    text = rng.normal(size=(40, 7)).astype(np.float32)
    items = join_sides({"numbers": (store.layer(0), store.index), "text": (text, store.index)}, "train")
    objective = Objective(model="linear", loss="con", latent=4, learning_rate=0.01)
    space = train(items, items, objective, training(epochs=1), seed=0)
    assert space["numbers"].encode(store.layer(0)).shape == (40, 4)


def test_reading_checks_what_it_finds(extract, rows, tmp_path):
    with pytest.raises(InputError, match=r"manifest\.json"):
        FeatureStore.load(tmp_path / "none")
    store = extract("image", folder=write_rows(tmp_path / "data", val=rows["val"]))
    with pytest.raises(InputError, match="got layer 5, expected -5 … 4"):
        store.layer(5)
    with pytest.raises(InputError, match="got no false rows of split 'val'"):
        store.rows("val", "false")
    np.save(store.folder / layer_name(0), np.zeros((3, 4), np.float32))
    with pytest.raises(InputError, match=r"layer_0\.npy: expected an array .*\(15, 4\).*got"):
        store.layer(0)
    (store.folder / layer_name(1)).unlink()
    with pytest.raises(InputError, match=r"layer_1\.npy"):
        store.layer(1)
    assert store.layer(2).shape == (15, 4)  # the other layers are still to be had
    for name in ("index.parquet", "manifest.json"):
        (store.folder / name).write_text("{")
        with pytest.raises(InputError, match="is broken"):
            FeatureStore.load(store.folder)
