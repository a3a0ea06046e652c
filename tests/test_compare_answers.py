"""From layers of models to answers: what is measured of which pairs, and rows of results on when, how and why."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from jam.compare.analysis import Measured
from jam.compare.answers import (
    MEASURES,
    casts,
    claim_rows,
    factor_rows,
    finals,
    linear_pairs,
    matched_layers,
    measure_rows,
    noise_rows,
    trajectory_rows,
    when_rows,
)
from jam.compare.calls import How, calls_of
from jam.compare.cast import Rep, expanded, similarity_matrix
from jam.compare.concepts import cluster_table
from jam.compare.similarity import with_ceilings
from jam.errors import InputError
from jam.params import Compare, MultimodalSpec, load_params
from jam.report.compare_tables import noise_table
from jam.results import results_table

SIZES = {"train": 120, "val": 40, "test": 60}
HOW = How(k=5, permutations=19, folds=4, resamples=50, seed=0)
LAYERED = ("a", "b")
SCALES = {"width": ({"a": 1.0, "b": 2.0, "c": 4.0}, ("d",))}


def rows_of(noise, seed, d=6):
    """A random linear view of the same items, and noise of its own."""
    items, own = np.random.default_rng(0), np.random.default_rng(seed)
    weights = own.standard_normal((4, d))
    return {
        split: items.standard_normal((n, 4)) @ weights + noise * own.standard_normal((n, d))
        for split, n in SIZES.items()
    }


def rep(model, modality, layer, layers, seed, recipe=None, **more):
    objective = "itc" if model in "abc" else "labels"
    factors = {
        "objective": objective,
        "data": "pairs",
        "architecture": "cnn" if model in "ac" else "vit",
        "partner": "the same",
        "seed": model,
    }
    noise = 0.3 + 0.3 * (layers - 1 - layer) + (modality == "text")
    rows = rows_of(noise, seed)
    return Rep(model, modality, layer, layer / max(1, layers - 1), layer == layers - 1, factors, recipe or model, rows,
               **more)  # fmt: skip


@pytest.fixture(scope="module")
def cast():
    """Of a and b all layers, and of a its beginning; c is b's recipe once more; e is made of d's features."""
    reps = []
    for place, modality in enumerate(("image", "text")):
        start = 100 * place
        reps += [rep("a", modality, layer, 3, start + layer) for layer in range(3)]
        reps += [rep("b", modality, layer, 4, start + 10 + layer, "twins") for layer in range(4)]
        reps += [rep("a", modality, 2, 3, start + 30, checkpoint=0)]
        reps += [rep("c", modality, 3, 4, start + 40, "twins"), rep("d", modality, 0, 1, start + 50)]
        reps += [rep("e", modality, 0, 1, start + 60, kind="space")]
    return reps


@pytest.fixture(scope="module")
def table(cast):
    parts = [function(*arguments) for _, function, *arguments in calls_of(cast, LAYERED, None, HOW)]
    return with_ceilings(pd.concat(parts, ignore_index=True), {one.key: one.rerun for one in cast})


def test_every_pair_that_is_asked_for_is_measured_once(cast, table):
    who = table[["x", "y", "metric", "direction"]]
    assert not who.duplicated().any()
    for metric in MEASURES:
        keys = [one.key for one in finals(cast, "image")]
        assert len(keys) == 5
        matrix = similarity_matrix(table, keys, metric)
        np.testing.assert_allclose(matrix, matrix.T)
        assert (np.diag(matrix) == 1).all()
        across = table[(table["metric"] == metric) & table["x"].isin(keys) & table["y"].str.contains("text")]
        assert across[["x", "y"]].drop_duplicates().shape[0] == 25  # images of one with texts of another
    start = table[table["x"].str.contains("at 0") | table["y"].str.contains("at 0")]
    assert set(start["metric"]) == {"unbiased_cka"}
    with pytest.raises(ValueError, match="were not compared"):
        similarity_matrix(table, [cast[0].key, cast[0].key + "?"], "rsa")
    assert len(linear_pairs(cast, LAYERED)) == len({(x.key, y.key) for x, y in linear_pairs(cast, LAYERED)})


def test_ceilings_are_those_of_the_rerun(cast, table):
    told = expanded(table, cast)
    here = told[(told["metric"] == "unbiased_cka") & (told["modality"] == "image") & told["final"]]
    here = here[(here["y_modality"] == "image") & (here["checkpoint"] == 100) & (here["y_checkpoint"] == 100)]
    pairs = here.set_index(["x", "y"])
    assert pairs.loc[("a", "b"), "ceiling"] == pytest.approx(pairs.loc[("b", "c"), "value"])
    assert np.isnan(pairs.loc[("b", "c"), "ceiling"])
    assert np.isnan(pairs.loc[("a", "d"), "ceiling"])


def test_layers_are_matched_by_depth(cast):
    pairs = [(x.layer, y.layer) for x, y in matched_layers(cast, "a", "b", "image")]
    assert pairs == [(0, 0), (1, 1), (2, 3)]  # halfway lies between two, the first of equals
    assert [(x.layer, y.layer) for x, y in matched_layers(cast, "b", "a", "image")] == [(0, 0), (1, 1), (3, 2)]
    assert matched_layers(cast, "a", "nobody", "image") == []


def test_when(cast, table):
    found = expanded(when_rows(table, cast, LAYERED, SCALES), cast)
    found = results_table("compare", found)
    assert set(found["condition"]) == {"depth", "training", "width"}
    own = found[(found["condition"] == "training") & (found["modality"] == "image")]
    assert set(own["label"]) == {"one architecture"}
    assert set(zip(own["x"], own["checkpoint"], own["y_checkpoint"], strict=True)) <= {("a", 0, 100), ("a", 100, 0)}
    width = found[(found["condition"] == "width") & (found["metric"] == "unbiased_cka")]
    assert sorted(width[width["modality"] == "text"]["level"]) == [1, 2, 4]
    depth = found[(found["condition"] == "depth") & (found["metric"] == "rsa") & (found["modality"] == "image")]
    assert len(depth) == 3


def test_trajectories_begin_at_checkpoints(cast, table):
    found = pd.DataFrame(trajectory_rows(table, cast))
    assert set(found["dimension"]) == {0, 1}
    assert set(found[found["subject"] == "a"]["checkpoint"]) == {0, 100}
    assert found[found["modality"] == "image"]["n"].unique() == [6]
    results_table("compare", found)


def test_factors_and_measures_are_of_models_alone(cast, table):
    found = results_table("compare", pd.DataFrame(factor_rows(table, cast, 24, 0)))
    assert set(found["models"]) == {4}  # e is made of others' features
    assert set(found["label"]) == {"all"}  # there are no others than multimodal ones
    assert set(found["factor"]) == {"objective", "architecture"}  # data and seeds tell none of these apart
    assert set(found["metric"]) == set(MEASURES)
    told = results_table(
        "compare", pd.DataFrame(measure_rows(table, cast, LAYERED, {"width": SCALES["width"][0]}, 24, 0))
    )
    assert set(told["condition"]) == {"seeds", "layers", "width"}
    assert set(told[told["condition"] == "layers"]["subject"]) == {"a", "b"}
    assert (told["value"].abs() <= 1).all()


def test_multimodal_models_have_a_regression_of_their_own(cast, table):
    """With an encoder of a quite different objective among them, and without."""
    others = [replace(one, kind="encoder") if one.model == "d" else one for one in cast]
    assert {name: len(some) for name, some in casts(others, "image").items()} == {"all": 4}  # three are too few
    more = [replace(one, kind="multimodal") if one.model == "e" else one for one in others]
    assert {name: len(some) for name, some in casts(more, "image").items()} == {"all": 5, "multimodal": 4}
    found = pd.DataFrame(factor_rows(table, more, 24, 0))
    assert found.groupby("label")["models"].unique().map(list).to_dict() == {"all": [5], "multimodal": [4]}


def section(**changes):
    base = {
        "models": ["a", "b"], "encoders": ["v"], "spaces": ["con"], "every_layer": ["a"], "clusters": [2], "k": 3,
        "permutations": 19, "orders": 19, "folds": 2, "resamples": 9, "seed": 0,
        "shown": {"items": 9, "side": 8, "neighbours": 2},
    }  # fmt: skip
    return Compare.model_validate({**base, **changes})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"encoders": ["a"]}, "got .'a'. more than once"),
        ({"every_layer": ["c"]}, "every_layer: got .'c'."),
        ({"scales": {"width": {"levels": {"a": 1, "c": 2}, "against": ["b"]}}}, "scales.width: got .'c'."),
        ({"claims": {"cnn_cnn": [["a", "a"]]}}, "a model with itself"),
        ({"shown": {"items": 2, "side": 8, "neighbours": 2}}, "expected fewer"),
    ],
)
def test_the_section_names_what_does_not_fit(changes, said):
    with pytest.raises(ValidationError, match=said):
        section(**changes)


def test_the_section_knows_whose_names_it_has():
    told = list(section().problems_with("compare.cave", ["a"], ["v"], ["con"]))
    assert told == ["compare.cave.models: got ['b'], expected names among ['a']"]


def test_claims(cast, table):
    pairs = {"clip_align": [("a", "b"), ("a", "c")], "early_layers": [("a", "b")], "final_layers": [("a", "nobody")]}
    pairs |= {"stitching": [("a", "b")], "stitching_less": [("a", "b")]}  # of which no similarity speaks
    lost = {"stitching": [Measured(0.3, 0.2, 0.4, 60)]}
    found = results_table("compare", pd.DataFrame(claim_rows(table, cast, pairs, lost)))
    told = found[(found["claim"] == "clip_align") & (found["metric"] == "unbiased_cka")].set_index("modality")
    assert told.loc["image", "pairs"] == 2
    assert told.loc["image", "holding"] <= 2
    assert told.loc["image", "least"] <= told.loc["image", "value"] <= told.loc["image", "most"]
    assert set(found[found["claim"] == "clip_align"]["metric"]) == {"unbiased_cka", "printed_cka"}
    [told_lost] = found[found["claim"] == "stitching"].to_dict("records")
    assert (told_lost["metric"], told_lost["outcome"], told_lost["value"]) == ("lost", "does not hold", 0.3)
    early = [(x, y) for x, y in matched_layers(cast, "a", "b", "image") if 0 < (x.depth + y.depth) / 2 <= 1 / 3]
    early.append(matched_layers(cast, "a", "b", "image")[0])  # a layer is of one third alone
    rows = found[(found["claim"] == "early_layers") & (found["metric"] == "unbiased_cka")].set_index("modality")
    assert rows.loc["image", "pairs"] == len(early)
    rest = found.set_index("claim")["outcome"]
    assert rest["final_layers"] == rest["stitching_less"] == rest["merging"] == "not measured yet"
    with pytest.raises(InputError, match="claims"):
        list(claim_rows(table, cast, {"other": []}, {}))


def test_clusters_of_models_and_of_what_is_known(cast):
    ends = finals(cast, "image")
    labels = {"half": np.repeat([0, 1], 30)}
    options = {"permutations": 19, "folds": 4, "seed": 0}
    found = results_table("compare", cluster_table(ends, labels, (2, 3), None, options))
    assert len(found) == 2 * (10 + 5)
    known = found[found["label"].notna()]
    assert known["y"].isna().all()
    assert set(known["label"]) == {"half"}
    assert len(cluster_table(ends[:1], {}, (2,), None, options)) == 0


@pytest.fixture(scope="module")
def noisy():
    """Two models a level: of six things they see four, of the nearest level three of the same, of the far one two."""
    things = {split: np.random.default_rng(7).standard_normal((n, 6)) for split, n in SIZES.items()}
    reps, wrong = [], {}
    for place, level in enumerate((0.0, 0.5, 1.0)):
        for which in "ab":
            name, seed = f"{which}{place}", len(wrong)
            wrong[name] = level
            for modality in ("image", "text"):
                turn = np.linalg.qr(np.random.default_rng(seed).standard_normal((60, 4)))[0].T
                rows = {split: of[:, place : place + 4] @ turn for split, of in things.items()}
                reps.append(Rep(name, modality, 0, 1.0, True, {}, name, rows))
    return reps, wrong


def test_measures_find_the_share_of_wrong_captions_that_was_put_there(noisy):
    reps, wrong = noisy
    calls = list(calls_of(reps, (), None, HOW, "noise"))
    assert {name[0] for name, *_ in calls} == {"noise"}
    table = pd.concat([function(*arguments) for _, function, *arguments in calls], ignore_index=True)
    found = results_table("compare", pd.DataFrame(noise_rows(table, reps, wrong, 720, 0)))
    assert set(found["condition"]) == {"noise"}
    assert set(found["metric"]) == set(MEASURES)
    assert (found["models"] == 6).all()
    apart = found[found["label"].isin(["auprc", "conformity"])]
    assert (apart["value"] == 1).all()
    assert (apart["p"] < 0.1).all()
    ordered = found[found["label"] == "rank_correlation"]
    assert (ordered["value"] > 0.9).all()

    told = expanded(table, reps)
    told = told.assign(level=told["y"].map(wrong), y_level=told["x"].map(wrong))  # in whichever order
    lines = noise_table(results_table("compare", told)).splitlines()[2:]
    assert len(lines) == 2 * 6
    ends = [float(line.split("|")[2]) for line in lines[:3]]
    assert lines[0].startswith("| image towers, 0 % and 0 % |")
    assert ends[0] == 1
    assert ends[0] > ends[1] > ends[2]  # none, half and all wrong


def test_two_levels_are_told_apart_though_all_others_are_equally_far(noisy):
    reps, wrong = noisy
    some = [one for one in reps if wrong[one.model] != 0.5]
    table = pd.concat([call[1](*call[2:]) for call in calls_of(some, (), None, HOW)], ignore_index=True)
    found = pd.DataFrame(noise_rows(table, some, wrong, 24, 0))
    assert set(found["label"]) == {"auprc", "conformity", "rank_correlation"}


def test_models_of_a_noise_test_differ_in_seed_and_share_alone():
    params = load_params()
    spec, models = params.compare["cave"], dict(params.multimodal)

    def problems(*names):
        return list(spec.model_copy(update={"noise": names}).problems_with("compare.cave", models, (), ()))[2:]

    assert sum(1 + len(models[name].more_seeds) for name in spec.noise) == 6
    assert problems(*spec.noise) == []
    assert problems() == []
    assert "more than seed and wrong" in problems("right", "half", "align_like")[0]
    assert "got ['nobody']" in problems("right", "half", "nobody")[0]
    assert "[0.0, 0.0] of wrong captions, expected two at least, one of them twice" in problems("right")[0]
    models["found"] = MultimodalSpec(source="hub", reads="jam/hub.py", model="a/b")
    assert "trained here" in problems("right", "half", "found")[0]
    models = {name: of.model_copy(update={"more_seeds": ()}) for name, of in params.multimodal.items()}
    assert "[0.0, 0.5]" in problems("right", "half")[0]
