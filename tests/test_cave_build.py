import io
import itertools
import re

import numpy as np
import pytest
from cave_parser import read
from PIL import Image
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from jam.data.cave.build import PRETRAIN, SCAN_SHARES, SETS, _streams, build_cave, second_views, split_scans, write_cave
from jam.data.cave.render import scan_digits
from jam.data.cave.scenes import LABELS, REALITY_DIM, reality_of, scene_labels, scene_of_labels
from jam.data.schema import SPLITS, items_schema, read_table, view_schema
from jam.params import CaveData

SIZES = {"train": 150, "val": 60, "test": 40, "pretrain_images": 80, "pretrain_text": 100}
WORLD = SIZES | {"captions": 3, "one_object": 0.2, "seed": 3}


@pytest.fixture(scope="module")
def cave():
    return build_cave(**WORLD)


def scenes_of(name, rows):
    """Scenes of a set as hashable tuples; those of the text set by reading its sentences."""
    if name == "pretrain_text":
        found = [read(row["captions"][0])[0] for row in rows]
        return [(scene.get("left"), scene.get("right")) for scene in found]
    return [tuple(scene_of_labels(row["labels"])) for row in rows]


def scans_of(rows):
    return {int(scan) for row in rows for scan in re.findall(r"\d+", row["image"]["path"])}


def digits_shown(row):
    return [str(scan_digits()[int(scan)]) for scan in re.findall(r"\d+", row["image"]["path"])]


def test_sizes_ids_share_of_single_things_and_no_scene_twice(cave):
    assert tuple(cave) == SETS
    assert {name: len(rows) for name, rows in cave.items()} == SIZES
    ids = [row["id"] for rows in cave.values() for row in rows]
    assert len(set(ids)) == len(ids)
    scenes = {name: scenes_of(name, rows) for name, rows in cave.items()}
    for name, found in scenes.items():
        assert sum(None in scene for scene in found) == round(0.2 * SIZES[name])
    assert len({scene for found in scenes.values() for scene in found}) == len(ids)


def test_single_things_are_shared_in_proportion_when_they_run_out():
    sizes = {"train": 1000, "val": 50, "test": 50, "pretrain_images": 10, "pretrain_text": 10}
    cave = build_cave(**sizes, captions=1, one_object=0.9, seed=0)
    alone = {name: sum(None in scene for scene in scenes_of(name, rows)) for name, rows in cave.items()}
    assert alone == {"pretrain_images": 7, "pretrain_text": 7, "train": 750, "val": 37, "test": 37}


def test_no_scan_is_shared_and_every_scan_fits_its_digit(cave):
    pools = split_scans(np.random.default_rng(0))
    everything = [scan for pool in pools.values() for scans in pool.values() for scan in scans]
    assert sorted(everything) == list(range(1797))
    for name, pool in pools.items():
        for digit, scans in pool.items():
            of_digit = np.flatnonzero(scan_digits() == int(digit))
            assert set(scans) <= set(of_digit)
            assert len(scans) == pytest.approx(SCAN_SHARES[name] * len(of_digit), abs=1)
    used = [scans_of(cave[name]) for name in SETS if name != "pretrain_text"]
    assert all(one.isdisjoint(other) for one, other in itertools.combinations(used, 2))
    for row in cave["val"] + cave["pretrain_images"]:
        assert digits_shown(row) == [digit for digit in row["context"].split("|") if digit != "none"]


def test_pairs_are_described_by_all_their_columns(cave):
    for split in SPLITS:
        for row in cave[split]:
            scene = scene_of_labels(row["labels"])
            assert row["reality"] == reality_of(scene).tolist()
            assert row["labels"] == scene_labels(scene)
            assert row["context"] == "|".join(thing.digit if thing else "none" for thing in scene)
            assert len(set(row["captions"])) == 3
            for caption in row["captions"]:
                assert read(caption)[0] == {side: tuple(scene.thing(side)) for side in scene.sides}


def test_pretraining_sets_are_unpaired(cave):
    for row in cave["pretrain_images"]:
        assert row["image"] is not None
        assert row["captions"] == row["negatives"] == []
        assert [label["name"] for label in row["labels"]] == list(LABELS)
    for row in cave["pretrain_text"]:
        assert row["image"] is None
        assert row["reality"] is None
        assert row["labels"] == row["negatives"] == []
        assert row["context"] == ""
        scenes = [read(caption)[0] for caption in row["captions"]]
        assert scenes.count(scenes[0]) == 3  # one scene, told in different words
        assert len(set(row["captions"])) == 3


def test_second_views_show_the_same_scenes_in_other_scans(cave):
    first = cave["pretrain_images"]
    second = second_views(first, seed=3)
    pools = split_scans(_streams(3)[1])["pretrain_images"]
    allowed = {scan for pool in pools.values() for scan in pool}
    assert scans_of(first) <= allowed
    for row, view in zip(first, second, strict=True):
        assert {k: v for k, v in row.items() if k != "image"} == {k: v for k, v in view.items() if k != "image"}
        assert digits_shown(view) == digits_shown(row)
        assert scans_of([view]) <= allowed - scans_of([row])
    grounds = [  # top right corners: ground and noise are drawn anew, so nothing but the scene is shared
        [np.asarray(Image.open(io.BytesIO(row["image"]["bytes"])))[:2, -2:].mean() for row in rows]
        for rows in (first, second)
    ]
    assert abs(np.corrcoef(grounds)[0, 1]) < 0.4
    assert second_views(first, seed=3) == second


def test_images_decode_and_are_all_different(cave):
    images = [row["image"]["bytes"] for name in SETS if name != "pretrain_text" for row in cave[name]]
    assert len(set(images)) == len(images)
    for png in images[::10]:
        image = Image.open(io.BytesIO(png))
        assert (image.format, image.mode, image.size) == ("PNG", "RGB", (32, 32))


def test_negatives_of_each_tier(cave):
    def facts(scene):
        return {(side, i, word) for side, thing in scene.items() for i, word in enumerate(thing)}

    for split in SPLITS:
        inside = {caption for row in cave[split] for caption in row["captions"]}
        elsewhere = {scene for name in SETS if name != split for scene in scenes_of(name, cave[name])}
        made_up = 0
        for row in cave[split]:
            truth = read(row["captions"][0])[0]
            by_tier = {}
            for negative in row["negatives"]:
                assert read(negative["text"])[0] != truth
                by_tier.setdefault(negative["tier"], []).append(negative)
            assert set(by_tier) == {"easy", "medium", "hard"}
            (medium,), (easy,) = by_tier["medium"], by_tier["easy"]
            assert (medium["kind"], medium["of"], easy["kind"], easy["of"]) == ("scene", 0, "scene", 0)
            near = read(medium["text"])[0]
            assert 2 * len(facts(truth) & facts(near)) >= max(len(facts(truth)), len(facts(near)))
            assert easy["text"] in inside
            if medium["text"] not in inside:
                made_up += 1
                assert (near.get("left"), near.get("right")) not in elsewhere
        assert made_up < len(cave[split]) / 2
    assert made_up > 0  # the small test split needs some


def test_words_alone_do_not_betray_a_hard_negative(cave):
    """A bag-of-words classifier fitted on train must not tell captions from their edits on held-out rows."""

    def texts_and_truth(rows):
        hard = [(row, negative) for row in rows for negative in row["negatives"] if negative["tier"] == "hard"]
        texts = [text for row, negative in hard for text in (row["captions"][negative["of"]], negative["text"])]
        return texts, [1, 0] * len(hard)

    texts, truth = texts_and_truth(cave["train"])
    bags = CountVectorizer(token_pattern=r"\w+", ngram_range=(1, 2))
    model = LogisticRegression(C=0.1).fit(bags.fit_transform(texts), truth)
    texts, truth = texts_and_truth(cave["val"] + cave["test"])
    scores = model.decision_function(bags.transform(texts)).reshape(-1, 2)
    assert abs(np.mean(scores[:, 0] > scores[:, 1]) - 0.5) < 0.1


def test_images_do_not_depend_on_the_number_of_captions(cave):
    fewer = build_cave(**WORLD | {"captions": 1})
    for name in SETS:
        assert [row["image"] for row in fewer[name]] == [row["image"] for row in cave[name]]


def test_files_are_byte_identical_and_follow_the_schema(tmp_path):
    sizes = {"train": 12, "val": 6, "test": 5, "pretrain_images": 7, "pretrain_text": 9}
    summaries = [
        write_cave(
            tmp_path / f"{run}/world", tmp_path / f"{run}/pretrain", **sizes, captions=2, one_object=0.1, seed=seed
        )
        for run, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    schemas = {"world/items": items_schema(REALITY_DIM)}
    schemas |= {f"world/views/{name}": view_schema(name) for name in ("image", "text")}
    schemas |= {f"pretrain/{name}": schema for name, schema in PRETRAIN.items()}
    for name, schema in schemas.items():
        file = f"{name}.parquet"
        first, again, other = ((tmp_path / run / file).read_bytes() for run in "abc")
        assert first == again
        assert first != other
        found = read_table(tmp_path / "a" / file).schema
        assert found.equals(schema)
        assert found.metadata == schema.metadata
    images, views = (read_table(tmp_path / f"a/pretrain/{name}.parquet") for name in ("images", "views"))
    assert images.column("id").equals(views.column("id"))
    assert summaries[0] == summaries[1]

    sets = summaries[0]["sets"]
    assert {name: counts["rows"] for name, counts in sets.items()} == sizes
    assert (sets["train"]["scenes"], sets["train"]["captions"]) == (12, 24)
    assert sets["train"]["negatives_by_tier"]["easy"] == sets["train"]["negatives_by_tier"]["medium"] == 12
    assert sum(sets["val"]["negatives_by_kind"].values()) == sum(sets["val"]["negatives_by_tier"].values())
    assert sets["pretrain_text"] == {"rows": 9, "captions": 18}
    assert 10 < summaries[0]["caption_words_mean"] < 20


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"val": 1}, "val\n.*greater than or equal to 2"),
        ({"pretrain_text": 0}, "pretrain_text\n"),
        ({"train": 150_000}, "got 150280 rows .* at most 120000 different scenes"),
        ({"captions": 7}, "captions\n.*less than or equal to 6"),
        ({"one_object": float("nan")}, "one_object\n"),
    ],
)
def test_a_world_that_cannot_be_is_refused(bad, message):
    sizes = {name: value for name, value in WORLD.items() if name != "seed"}
    with pytest.raises(ValueError, match=message):
        CaveData.model_validate(sizes | bad)
