"""A whole small world, read back from its files: nothing leaks, and all that is said is true or false as told."""

import io
import json
import os
import subprocess
import sys
from collections import Counter, defaultdict

import numpy as np
import pyarrow.parquet as pq
import pytest
from claim_twin import plainly_true
from PIL import Image

import jam.world.files
from jam.data.schema import read_items, read_table
from jam.world.build import build_world, presence_labels
from jam.world.claims import Scenes
from jam.world.edits import KINDS, STATE_KINDS, edit_states
from jam.world.files import write_cave
from jam.world.gallery import fine_gallery
from jam.world.image import PRIVATE, share_scans
from jam.world.lexicon import ADVERBS, FRAMES, WORDS
from jam.world.parser import parse
from jam.world.sets import SETS
from jam.world.state import codes_of, counts_of, factors, facts, scene_of, state_of, states_of_facts

SIZES = {"pretrain_images": 150, "pretrain_text": 200, "train": 200, "val": 120, "test": 120}
OPTIONS = {
    **SIZES, "captions": 3, "fine": 6, "edits": 8, "habitats": 20, "objects": 3, "one_object": 0.1,
    "synonyms": 0.85, "mention": 0.85, "nuisance": 1.0, "seed": 0,
}  # fmt: skip
HELD_OUT = ("val", "test")
WORLD_FILES = ("items.parquet", "relevance.parquet", "views/image.parquet", "views/text.parquet")
# Where a caption names one thing in the common words, sentences of different sets meet often
MEETING = OPTIONS | {"pretrain_text": 1500, "captions": 6, "mention": 0.01, "synonyms": 1.0, "fine": 0}


class Files:
    """What is on disk, and the world that it was written from."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "pretrain").mkdir(parents=True)
        built = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(jam.world.files, "build_world", lambda **told: built.append(build_world(**told)) or built[0])
            self.summary, self.blind = write_cave(folder, folder / "pretrain", **OPTIONS)
        [self.world] = built
        self.items = {row["id"]: row for row in read_table(folder / "items.parquet").to_pylist()}
        self.images = read_table(folder / "views/image.parquet").to_pylist()
        self.texts = read_table(folder / "views/text.parquet").to_pylist()
        self.pretrain = read_table(folder / "pretrain/images.parquet").to_pylist()
        self.documents = read_table(folder / "pretrain/text.parquet").to_pylist()
        self.relevance = read_table(folder / "relevance.parquet").to_pylist()
        states = states_of_facts([row["state"] for row in self.items.values()])
        self.states = dict(zip(self.items, states, strict=True))
        self.scenes = {name: scene_of(state) for name, state in self.states.items()}

    def of(self, split, role=None):
        return [line for line in self.texts if line["split"] == split and role in (None, line["role"])]

    def codes(self, split):
        return set(codes_of(np.stack([self.states[k] for k, row in self.items.items() if row["split"] == split])))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return Files(tmp_path_factory.mktemp("world"))


# --- nothing leaks ----------------------------------------------------------------------------------------------------


def test_no_scene_is_in_two_sets(files):
    codes = {name: set(codes_of(part.states).tolist()) for name, part in files.world.sets.items()}
    assert set(codes) == set(SETS)
    assert sum(map(len, codes.values())) == len(set().union(*codes.values()))
    assert all(codes[split] == files.codes(split) for split in ("train", *HELD_OUT))


def scans_of(images):
    return {scan for image in images for scan in image["path"].removesuffix(".png").split("-")[1:]}


def test_no_handwriting_is_in_two_sets(files):
    scans = {
        split: scans_of(line["content"] for line in files.images if line["split"] == split)
        for split in ("train", *HELD_OUT, "fine")
    }
    scans["images"] = scans_of(row["image"] for row in files.pretrain)
    known = {name: found for name, found in scans.items() if name != "fine"}
    assert all(len(found) > 40 for found in known.values())
    assert sum(map(len, known.values())) == len(set().union(*known.values()))
    assert scans["fine"].isdisjoint(scans["images"] | scans["train"] | scans["val"])


def sentences(world):
    """Of each set all sentences, true and false ones."""
    found = {"documents": {text for row in world.documents for text in row["captions"]}}
    for split, rows in world.rows.items():
        found[split] = {view.content for row in rows for view in row["captions"]}
        found[split] |= {negative["text"] for row in rows for negative in row["negatives"]}
    return found


@pytest.mark.parametrize("few_words", [False, True])
def test_no_sentence_of_a_held_out_item_is_trained_on_or_held_out_elsewhere(files, few_words):
    """True and false ones of either side; within a set a sentence may come again."""
    found = sentences(build_world(**MEETING) if few_words else files.world)
    assert found["documents"] & found["train"] or not few_words, "sentences do meet where they may"
    trained = found["documents"] | found["train"]
    for split in set(found) - {"documents", "train"}:
        assert not found[split] & trained, split
    assert not found["val"] & (found["test"] | found.get("fine", set()))


# --- what is said -----------------------------------------------------------------------------------------------------


def test_files_hold_the_world_that_was_drawn(files):
    sizes = {"train": 200, "val": 120, "test": 120, "fine": 6 * 9}
    assert Counter(row["split"] for row in files.items.values()) == sizes
    for split, rows in files.world.rows.items():
        assert [row["id"] for row in rows] == read_items(files.folder, split)["id"].to_pylist()
        told = [(line["id"], line["content"]) for line in files.of(split, "true")]
        assert told == [(row["id"], view.content) for row in rows for view in row["captions"]]
    for split in ("train", *HELD_OUT):
        drawn = files.world.sets[split]
        np.testing.assert_array_equal([files.states[row["id"]] for row in files.world.rows[split]], drawn.states)
        contexts = [files.items[row["id"]]["context"] for row in files.world.rows[split]]
        told = zip(drawn.habitat, counts_of(drawn.states), strict=True)
        assert contexts == [f"{habitat}|{count}" for habitat, count in told]


def test_every_true_caption_is_read_and_true_of_its_scene(files):
    for line in files.texts:
        if line["role"] == "true":
            assert Scenes(files.states[line["id"]][None]).true(parse(line["content"]))[0], line["content"]
    for document, state in zip(files.documents, files.world.sets["documents"].states, strict=True):
        assert len(set(document["captions"])) == 3
        assert all(plainly_true(parse(text), scene_of(state)) for text in document["captions"])


def test_every_false_caption_is_read_and_false_of_its_scene(files):
    false = [line for line in files.texts if line["role"] == "false"]
    assert {line["kind"] for line in false} == {*KINDS, "scene"}
    for line in false:
        assert not plainly_true(parse(line["content"]), files.scenes[line["id"]]), line["content"]
        assert line["tier"] == ("easy" if line["kind"] == "scene" else "hard")
        assert line["private"] == []
    for split in ("train", *HELD_OUT):
        kinds = defaultdict(list)
        for line in files.of(split, "false"):
            kinds[line["id"]].append(line["kind"])
        assert len(kinds) == SIZES[split]
        assert all(len(set(found)) == len(found) and "scene" in found for found in kinds.values())
        most = max(map(len, kinds.values()))
        assert most == (9 if split == "test" else 4)
        # Single replacements are always possible
        assert split != "test" or all({"replace_digit", "replace_place"} <= set(found) for found in kinds.values())


def test_dense_captions_are_true_of_their_state_alone(files):
    rng, everything = np.random.default_rng(0), np.stack(list(files.states.values()))
    scenes = Scenes(everything)
    dense = [line for line in files.texts if line["form"] == "dense"]
    assert len(dense) == 120 + 54
    for line in dense:
        state, claim = files.states[line["id"]], parse(line["content"])
        np.testing.assert_array_equal(scenes.true(claim), (everything == state).all(axis=1))
        assert not Scenes(np.stack([other for _, other in edit_states(state, rng)])).true(claim).any()


def test_captions_without_colour_name_none_and_else_all(files):
    colours = {word for words in WORDS["colour"] for word in words} | {"warm", "cool"}
    for line in files.texts:
        if line["form"] == "no_colour":
            mentions, scene = parse(line["content"]).mentions, files.scenes[line["id"]]
            assert not colours & set(line["content"].replace(",", "").split())
            told = {(*mention.digit, *mention.size, *mention.cell) for mention in mentions}
            assert told == {(thing.digit, thing.size, cell) for cell, thing in scene.items()}


def test_relevance_is_what_plain_python_finds(files):
    expected = set()
    for split in HELD_OUT:
        partial = [line for line in files.of(split, "true") if line["form"] == "partial"]
        names = [name for name, row in files.items.items() if row["split"] == split]
        for line in partial:
            claim = parse(line["content"])
            true = [name for name in names if plainly_true(claim, files.scenes[name])]
            assert line["id"] in true
            expected |= {(split, line["id"], line["k"], name) for name in true}
    found = [tuple(row.values()) for row in files.relevance]
    assert len(found) == len(set(found))
    assert set(found) == expected
    assert len(found) > 720 * 1.05, "some captions are true of other items too"


# --- forms and what is private ----------------------------------------------------------------------------------------


def test_forms_of_texts_and_images(files):
    for split in ("train", *HELD_OUT, "fine"):
        forms = Counter(line["form"] for line in files.of(split, "true"))
        images = Counter(line["form"] for line in files.images if line["split"] == split)
        if split in ("train", "val"):
            assert forms == {"partial": 3 * SIZES[split]}
            assert images == {"": SIZES[split]}
        elif split == "fine":
            assert forms == {"dense": 54}
            assert images == {"": 54}
        else:
            assert forms == {"partial": 360, "dense": 120, "no_colour": 120}
            assert images == {"": 120, "again": 120}
    order = ["partial", "partial", "partial", "dense", "no_colour"]
    assert [line["form"] for line in files.texts if line["id"] == "test-00000"][:5] == order


def test_what_is_private_is_told_of_every_true_view(files):
    for line in files.images:
        told = {one["name"]: one["value"] for one in line["private"]}
        assert set(told) == set(PRIVATE)
        assert all(value in PRIVATE[name] for name, value in told.items())
    for line in files.texts:
        if line["role"] == "true":
            told = {one["name"]: one["value"] for one in line["private"]}
            frame = FRAMES[int(told["frame"])]
            assert set(told) == {"frame", "tense", "adverb"}
            assert all(part in line["content"] for part in frame.text.split("{}"))
            assert told["tense"] == frame.tense
            words = set(line["content"].split())
            assert told["adverb"] in words or (told["adverb"] == "none" and not words & set(ADVERBS))


def test_renderings_of_one_scene_share_nothing_private(files):
    """They are drawn independently: the second view of an item has other scans, mostly, and other grounds."""
    pairs = defaultdict(list)
    for line in files.images:
        if line["split"] == "test":
            pairs[line["id"]].append(line)
    for name in PRIVATE:
        values = [
            [next(p["value"] for p in line["private"] if p["name"] == name) for line in two] for two in pairs.values()
        ]
        same = np.mean([first == second for first, second in values])
        chance = 0.7**2 + 2 * 0.15**2 if name == "bar" else 1 / len(PRIVATE[name])
        assert abs(same - chance) < 5 * np.sqrt(chance * (1 - chance) / 120), name
    assert np.mean([a["content"]["path"] == b["content"]["path"] for a, b in pairs.values()]) < 0.05


def test_labels_to_pretrain_on_tell_what_is_there_and_bind_nothing(files):
    states = files.world.sets["images"].states
    assert [row["labels"] for row in files.pretrain] == presence_labels(states)
    for row, state in zip(files.pretrain, states, strict=True):
        things = list(scene_of(state).values())
        told = {one["name"]: one["value"] for one in row["labels"]}
        assert told["count"] == str(len(things))
        assert [told[f"digit_{d}"] == "yes" for d in range(10)] == [d in {t.digit for t in things} for d in range(10)]
        assert (told["colour_red"] == "yes") == any(thing.colour == 0 for thing in things)
        assert len(told) == 1 + 10 + 8 + 2
    # Two scenes whose digits have exchanged their colours have the same labels
    one, other = ([0, 1 + a, 0, 0, 1 + b, 0] for a, b in ((0 * 16 + 0, 1 * 16 + 2), (0 * 16 + 2, 1 * 16 + 0)))
    first, second = presence_labels(np.array([one, other], np.uint8))
    assert first == second


# --- the fine gallery -------------------------------------------------------------------------------------------------


def groups_of(files):
    found = defaultdict(list)
    for row in files.items.values():
        if row["split"] == "fine":
            found[row["context"]].append(row)
    return found


def test_a_group_is_a_test_scene_and_its_edits_which_are_nowhere_else(files):
    groups = groups_of(files)
    known = set().union(*(codes_of(part.states).tolist() for part in files.world.sets.values()))
    seen = []
    assert len(groups) == 6
    for rows in groups.values():
        base, *edits = [files.states[row["id"]] for row in rows]
        kinds = [row["labels"][0]["value"] for row in rows]
        assert len(edits) == 8
        assert kinds[0] == "none"
        assert int(codes_of(base[None])[0]) in files.codes("test")
        assert counts_of(base[None])[0] > 1
        codes = codes_of(np.stack(edits)).tolist()
        assert not known & set(codes)
        possible = {(kind, other.tobytes()) for kind, other in edit_states(base, np.random.default_rng(0))}
        states = {other for _, other in possible}
        assert all(edit.tobytes() in states for edit in edits)
        assert all(kind in STATE_KINDS for kind in kinds[1:])
        assert max(Counter(kinds).values()) <= 2, "about equally many of each kind"
        assert len(set(codes)) == 8
        seen.append(rows[0]["state"])
    assert len({tuple(state) for state in seen}) == 6


def test_edits_that_are_taken_are_left_out_and_scenes_with_too_few_others_too(files):
    states = files.world.sets["test"].states
    pool = share_scans({"test": 1.0}, np.random.default_rng(0))["test"]
    options = {"groups": 3, "edits": 6, "seed": 0, "nuisance": 1.0}
    base, other = (state for state in states[counts_of(states) == 2][:2])
    edits = [edit for _, edit in edit_states(base, np.random.default_rng(0))]
    rows = fine_gallery(np.stack([base, other, base]), np.stack(edits[6:]), pool, **options)
    assert [row["context"] for row in rows] == ["fine-0000"] * 7 + ["fine-0001"] * 7
    found = states_of_facts([row["reality"] for row in rows[1:7]])
    assert {state.tobytes() for state in found} == {edit.tobytes() for edit in edits[:6]}
    rows = fine_gallery(np.stack([base, other]), np.stack(edits[5:]), pool, **options)
    assert len(rows) == 7
    np.testing.assert_array_equal(states_of_facts([rows[0]["reality"]])[0], other)


def words(text):
    """Words of a caption, both articles as one."""
    return ["a" if word == "an" else word for word in text.replace(",", " ,").replace(":", " :").split()]


PLACE_WORDS = {word for name in ("row", "column") for values in WORDS[name] for word in values}
WORDS_OF = {name: {word for values in WORDS[name] for word in values} for name in ("digit", "colour", "size")}
WORDS_OF["place"] = PLACE_WORDS


def test_captions_of_a_group_differ_in_the_edited_words_alone(files):
    caption = {line["id"]: line for line in files.of("fine", "true")}
    seen = set()
    for base, *edits in groups_of(files).values():
        told = words(caption[base["id"]]["content"])
        for row in edits:
            line, kind = caption[row["id"]], row["labels"][0]["value"]
            change, name = kind.split("_")
            changed = [pair for pair in zip(told, words(line["content"]), strict=True) if pair[0] != pair[1]]
            if kind == "swap_place":  # two things have changed places: each is told in the other's turn
                assert all(any(set(pair) <= told_by for told_by in WORDS_OF.values()) for pair in changed)
            else:
                assert all(set(pair) <= WORDS_OF[name] for pair in changed), (kind, changed)
                most = 2 if change == "swap" or name == "place" else 1
                assert 1 <= len(changed) <= most, (kind, changed)
            assert line["private"] == caption[base["id"]]["private"]
            seen.add(kind)
    assert seen >= {"replace_place", "swap_digit", "swap_colour"}


def test_images_of_a_group_differ_in_the_edited_cells_alone(files):
    seen = {line["id"]: line for line in files.images if line["split"] == "fine"}
    for base, *edits in groups_of(files).values():
        first, state = seen[base["id"]], files.states[base["id"]]
        for row in edits:
            one, other = (np.asarray(Image.open(io.BytesIO(v["content"]["bytes"]))) for v in (first, seen[row["id"]]))
            cells = (one != other).any(axis=2).reshape(2, 16, 3, 16).any(axis=(1, 3)).ravel()
            np.testing.assert_array_equal(cells <= (state != files.states[row["id"]]), True)
            assert cells.any()
            assert seen[row["id"]]["private"] == first["private"]


# --- files ------------------------------------------------------------------------------------------------------------


def test_the_summary_counts_what_is_in_the_files(files):
    sets = files.summary["sets"]
    assert {name: part["rows"] for name, part in sets.items()} == {
        "images": 150, "documents": 200, "train": 200, "val": 120, "test": 120, "fine": 54,
    }  # fmt: skip
    for name, part in files.world.sets.items():
        assert sets[name]["scenes"] == len(set(codes_of(part.states).tolist()))
        assert sets[name]["one_object"] == sum(np.count_nonzero(state) == 1 for state in part.states)
    for split in ("train", *HELD_OUT, "fine"):
        assert sets[split]["captions"] == Counter(line["form"] for line in files.of(split, "true"))
        kinds = Counter(line["kind"] for line in files.of(split, "false"))
        assert sets[split].get("negatives", {}) == kinds
    for split in HELD_OUT:
        many = Counter((row["id"], row["k"]) for row in files.relevance if row["split"] == split)
        assert sets[split]["true_of"]["mean"] == pytest.approx(np.mean(list(many.values())), abs=1e-3)
        assert sets[split]["true_of"]["median"] == np.median(list(many.values()))
        assert sets[split]["own_ceiling"] == pytest.approx(np.mean([1 / n for n in many.values()]), abs=1e-4)
    told = [words(line["content"]) for line in files.texts if line["role"] == "true"]
    told += [words(text) for row in files.documents for text in row["captions"]]
    assert files.summary["caption_words_max"] == max(map(len, told))
    assert files.summary["caption_words_mean"] == pytest.approx(np.mean([len(line) for line in told]), abs=1e-3)
    assert files.summary["vocabulary"] == len({word for line in told for word in line}) + 1  # "an"
    assert json.loads(json.dumps(files.summary)) == files.summary


def test_a_blind_guess_is_counted_by_kind(files):
    """Against counting in the files themselves: the sentence that is true of more training scenes."""
    scenes = Scenes(files.world.sets["train"].states)
    texts = {(line["id"], line["k"]): line["content"] for line in files.of("test", "true")}
    scores = defaultdict(list)
    for line in files.of("test", "false"):
        if line["tier"] == "hard":
            true, false = (
                int(scenes.true(parse(text)).sum()) for text in (texts[line["id"], line["of"]], line["content"])
            )
            scores[line["kind"]].append(1.0 if true > false else 0.5 if true == false else 0.0)
    assert {row["kind"]: row["value"] for row in files.blind} == {
        kind: pytest.approx(np.mean(found)) for kind, found in scores.items()
    }
    assert all(row["low"] <= row["value"] <= row["high"] for row in files.blind)


def test_the_same_world_is_written_as_the_same_bytes(files, tmp_path):
    (tmp_path / "pretrain").mkdir()
    assert write_cave(tmp_path, tmp_path / "pretrain", **OPTIONS) == (files.summary, files.blind)
    for name in (*WORLD_FILES, "pretrain/images.parquet", "pretrain/text.parquet"):
        assert (tmp_path / name).read_bytes() == (files.folder / name).read_bytes(), name


def test_all_files_load_with_datasets(files, tmp_path):
    """In a process of its own, as the library fixes its cache folder when it is imported."""
    script = """
import json, sys
from datasets import Image, load_dataset
for name in sys.argv[2:]:
    table = load_dataset("parquet", data_files=f"{sys.argv[1]}/{name}", split="train")
    images = [key for key, feature in table.features.items() if isinstance(feature, Image)]
    sizes = sorted({row[key].size for row in table for key in images})
    row = {key: value for key, value in table[len(table) - 1].items() if key not in images}
    print(json.dumps([len(table), images, sizes, row]))
"""
    environment = os.environ | {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    names = (*WORLD_FILES, "pretrain/images.parquet", "pretrain/text.parquet")
    command = [sys.executable, "-c", script, files.folder, *names]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = dict(zip(names, map(json.loads, done.stdout.splitlines()[-len(names) :]), strict=True))
    for name, (rows, images, sizes, last) in found.items():
        table = pq.read_table(files.folder / name)
        assert rows == len(table)
        assert images == {"views/image.parquet": ["content"], "pretrain/images.parquet": ["image"]}.get(name, [])
        assert sizes == ([[48, 32]] if images else [])
        assert last == {key: table[key][-1].as_py() for key in last}


def test_more_captions_leave_scenes_images_and_the_fine_gallery_alone(files):
    more = build_world(**OPTIONS | {"captions": 5})
    assert [row["image"] for row in more.images] == [row["image"] for row in files.pretrain]
    for split, rows in files.world.rows.items():
        for row, other in zip(rows, more.rows[split], strict=True):
            assert all(np.array_equal(row[name], other[name]) for name in ("id", "image", "context", "reality"))
    assert more.rows["fine"] == files.world.rows["fine"]
    for name, part in files.world.sets.items():
        np.testing.assert_array_equal(more.sets[name].states, part.states)
    assert {len(row["captions"]) for row in more.documents} == {5}


@pytest.mark.parametrize(
    "options", [{"habitats": 0, "seed": 1}, {"objects": 2, "nuisance": 0.0, "fine": 0}, {"captions": 1}]
)
def test_other_worlds_can_be_built(options, tmp_path):
    small = OPTIONS | dict.fromkeys(SIZES, 40) | options
    (tmp_path / "pretrain").mkdir()
    summary, _ = write_cave(tmp_path, tmp_path / "pretrain", **small)
    states = states_of_facts(np.stack(read_table(tmp_path / "items.parquet")["state"].to_pylist()))
    assert counts_of(states).max() == small["objects"]
    assert ("fine" in summary["sets"]) == bool(small["fine"])
    contexts = {context.split("|")[0] for context in read_items(tmp_path, "train")["context"].to_pylist()}
    assert contexts == {"0"} if small["habitats"] == 0 else len(contexts) > 1
    assert {line["k"] for line in read_table(tmp_path / "relevance.parquet").to_pylist()} == set(
        range(small["captions"])
    )


def test_the_uniform_world_has_other_scenes_but_the_same_language():
    world = build_world(**OPTIONS | {"habitats": 0})
    np.testing.assert_allclose(world.habitats.pmi(), 0, atol=1e-13)
    states = np.concatenate([part.states for part in world.sets.values()])
    assert len(set(codes_of(states).tolist())) > 0.95 * len(states), "all but no scene comes twice"
    digits = factors(states)["digits"].sum(axis=0)
    assert abs(digits / digits.sum() - 0.1).max() < 0.02
    np.testing.assert_array_equal(facts(states[:1]), facts(state_of(scene_of(states[0]))[None]))
