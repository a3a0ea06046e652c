"""Maps between models, towers of two models, and image towers cut in two."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.linear_model import RidgeCV
from tiny_encoders import picture, vision_folder
from transformers import ViTConfig, ViTModel
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from jam.compare import resamples
from jam.compare.stitch import halves, layers, maps, towers
from jam.encoders import Encoder
from jam.errors import InputError
from jam.metrics import paired_difference
from jam.metrics.intervals import bootstrap_mean
from jam.params import load_params
from jam.params.stitch import Stitch, Transfer
from jam.pretrain.training import save_cave


def rotated(n=400, d=12, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) * np.linspace(1, 3, d)
    rotation, _ = np.linalg.qr(rng.normal(size=(d, d)))
    return x, 2.5 * x @ rotation + 7 + noise * rng.normal(size=(n, d)), rotation


def cosines(a, b):
    return float((maps.unit_rows(a - a.mean(0)) * maps.unit_rows(b - b.mean(0))).sum(1).mean())


@pytest.mark.parametrize("method", ["orthogonal", "ridge"])
def test_a_planted_rotation_is_recovered(method):
    x, y, _ = rotated(noise=0.3)
    made = maps.fit_map(method, x[:300], y[:300])
    assert cosines(made(x[300:]), y[300:]) > 0.99


def test_the_rotation_and_its_scale_are_exact_without_noise():
    x, y, rotation = rotated()
    made = maps.orthogonal(x, y)
    np.testing.assert_allclose(made.matrix, 2.5 * rotation, atol=1e-10)
    np.testing.assert_allclose(made(x), y, atol=1e-9)


def test_of_other_widths_a_rotation_has_orthonormal_columns():
    x, y, _ = rotated()
    made = maps.orthogonal(x, y[:, :5])
    scale = np.linalg.norm(made.matrix[:, 0])
    np.testing.assert_allclose(made.matrix.T @ made.matrix, scale**2 * np.eye(5), atol=1e-10)
    assert made(x).shape == (400, 5)


def test_ridge_is_that_of_scikit_learn():
    x, y, _ = rotated(noise=5)
    made = maps.ridge(x, y)
    unit = np.square(x - x.mean(0)).sum() / x.shape[1]
    twin = RidgeCV(alphas=np.array(maps.PENALTIES) * unit).fit(x, y)
    np.testing.assert_allclose(made(x), twin.predict(x), atol=1e-8)


def test_the_identity_needs_equal_widths_and_knows_nothing():
    x, y, _ = rotated(n=500)
    found = towers.hits(maps.identity(x, y)(x), y)
    assert found["x_to_y", 10].mean() < 0.1
    with pytest.raises(ValueError, match="got widths 12 and 5"):
        maps.identity(x, y[:, :5])


def test_what_maps_refuse():
    x, y, _ = rotated(n=20)
    with pytest.raises(ValueError, match="map: got 'other'"):
        maps.fit_map("other", x, y)
    with pytest.raises(ValueError, match="expected \\(n, d\\) of the same n"):
        maps.fit_map("ridge", x, y[:10])
    x[3, 2] = np.nan
    with pytest.raises(ValueError, match="NaN or infinity"):
        maps.fit_map("ridge", x, y)
    with pytest.raises(ValueError, match="expected \\(n, 12\\)"):
        maps.orthogonal(y, y)(y[:, :3])


@given(st.integers(0, 99), st.floats(0.1, 10))
@settings(max_examples=20, deadline=None)
def test_relative_coordinates_know_no_rotation_scale_or_offset(seed, scale):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(30, 6))
    rotation, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    y = scale * x @ rotation + rng.normal(size=6)
    np.testing.assert_allclose(maps.relative(x, x[:10]), maps.relative(y, y[:10]), atol=1e-9)
    plain = [
        [np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b) for b in x[:10] - x[:10].mean(0)]
        for a in x - x[:10].mean(0)
    ]
    np.testing.assert_allclose(maps.relative(x, x[:10]), plain, atol=1e-9)


def test_resamples_are_those_of_the_bootstrap_of_all_metrics():
    rng = np.random.default_rng(0)
    a, b = rng.random(70), rng.random(70)
    drawn = resamples.Resamples(np.arange(70), 200, seed=3)
    np.testing.assert_allclose(drawn.mean(a), bootstrap_mean(a, 200, seed=3))
    np.testing.assert_allclose(drawn.difference(a, b), paired_difference(a, b, 200, seed=3), atol=1e-12)
    with pytest.raises(ValueError, match="got 1 and 5"):
        resamples.Resamples([2, 2, 2], 5)


def test_items_of_one_unit_are_drawn_together():
    rng = np.random.default_rng(0)
    units, values = rng.integers(30, size=90), rng.random(90)
    drawn = resamples.Resamples(units, 400, seed=1)
    names = np.array(list(dict.fromkeys(units)))  # as they appear
    picked = names[np.random.default_rng(1).integers(len(names), size=(400, len(names)))]
    twin = [np.concatenate([values[units == unit] for unit in some]).mean() for some in picked]
    assert drawn.mean(values) == pytest.approx((values.mean(), *np.quantile(twin, [0.025, 0.975])))
    thrice = np.repeat(values[:30], 3)  # three items that are one: no more is known than of a third of them
    once, apart = resamples.Resamples(np.arange(30), 400), resamples.Resamples(np.arange(90), 400)
    together = resamples.Resamples(np.repeat(np.arange(30), 3), 400)
    assert together.mean(thrice) == pytest.approx(once.mean(values[:30]))
    assert np.diff(together.mean(thrice)[1:]) > 1.4 * np.diff(apart.mean(thrice)[1:])


def test_a_share_is_of_what_is_above_the_floor_and_of_nothing_it_is_none():
    rng = np.random.default_rng(0)
    own = (rng.random(500) < 0.8).astype(float)
    drawn = resamples.Resamples(np.arange(500), 200)
    assert drawn.share(own, own) == (1, 1, 1)
    half = drawn.share(0.5 * (own + 0.3), own, floor=0.3)
    assert half.value == pytest.approx(0.5 * (own.mean() - 0.3) / (own.mean() - 0.3))
    assert half.low == pytest.approx(0.5)
    assert half.high == pytest.approx(0.5)
    assert drawn.share(own, np.zeros(500)) is None
    assert drawn.share(own, own, floor=0.8) is None


def test_a_recall_of_chance_is_below_its_null_in_19_of_20_cases():
    rng = np.random.default_rng(0)
    found = [(rng.integers(1, 201, 200) <= 10).mean() for _ in range(2000)]
    assert 0.93 < np.mean(np.array(found) <= resamples.recall_null(200, 10)) < 0.98
    assert resamples.recall_null(5, 10) == 1


def two_models(n=300, d=16, seed=0):
    """Two models of one truth: B's space is A's, turned; texts are near the images in each."""
    rng = np.random.default_rng(seed)
    truth = {split: rng.normal(size=(n, d)) for split in ("train", "test")}
    rotation, _ = np.linalg.qr(rng.normal(size=(d, d)))
    found = []
    for name, turn in (("a", np.eye(d)), ("b", rotation)):
        image = {split: (rows + 0.3 * rng.normal(size=rows.shape)) @ turn for split, rows in truth.items()}
        text = (truth["test"] + 0.3 * rng.normal(size=(n, d))) @ turn
        bare = {split: rng.normal(size=(n, d)) for split in truth}
        found.append(towers.Towers(name, image, text, bare))
    return found


def test_towers_of_two_models_work_through_a_map_alone():
    rows = list(
        towers.tower_rows(two_models(), ["orthogonal", "ridge"], [50, 300], resamples.Resamples(np.arange(300), 50), 0)
    )
    told = {
        (row["condition"], row.get("method"), row.get("anchors")): row["value"]
        for row in rows
        if (row["x"], row["y"], row["direction"], row["k"]) in {("a", "b", "x_to_y", 1), ("b", "b", "x_to_y", 1)}
        and "against" not in row
    }
    own = told["own", None, None]
    assert own > 0.8
    assert told["stitched", "orthogonal", 300] > own - 0.1
    assert told["stitched", "relative", 300] > own - 0.15
    for control in (("shuffled", "orthogonal", 300), ("untrained", "orthogonal", 300), ("unmapped", "identity", None)):
        assert told[control] < 0.05
    less = [row for row in rows if row.get("against") == "own" and row["condition"] == "stitched"]
    assert all(row["low"] <= row["value"] <= row["high"] for row in less)
    assert all(row["kept_low"] <= row["kept"] <= row["kept_high"] for row in less)
    assert {row["null"] for row in rows if row["k"] == 1 and "against" not in row} == {3 / 300}
    ours = [row["value"] for row in rows if row.get("against") == "own_x" and (row["x"], row["y"]) == ("a", "b")]
    theirs = [row["value"] for row in rows if row.get("against") == "own" and (row["x"], row["y"]) == ("a", "b")]
    assert len(ours) == len(theirs)
    kept = [row["kept"] for row in less if row["method"] == "orthogonal" and row["anchors"] == 300]
    assert min(kept) > 0.8


def vit_folder(folder, seed=0, width=8):
    torch.manual_seed(seed)
    config = ViTConfig(
        hidden_size=width, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, image_size=16, patch_size=4
    )
    model = ViTModel(config, add_pooling_layer=False)
    for weights in model.parameters():
        weights.data += 0.2 * torch.randn_like(weights)
    processor = ViTImageProcessorPil(size={"height": 16, "width": 16})
    save_cave(folder, model, processor, name="vit", modality="image", recipe={}, pooling="mean")
    return folder


@pytest.mark.parametrize("make", [vit_folder, vision_folder])
def test_the_top_on_the_bottom_is_the_whole_encoder(make, tmp_path):
    encoder = Encoder.load(make(tmp_path / "x"), "cpu")
    images = [picture(np.random.default_rng(seed)) for seed in range(3)]
    whole = encoder.encode(images)
    inputs = encoder.prepare(images)
    for layer in range(halves.layers_of(encoder) + 1):
        states = halves.bottoms(encoder, inputs)[layer]
        with torch.inference_mode():
            np.testing.assert_allclose(halves.top(encoder, states, layer), whole, atol=1e-5)
        assert torch.equal(halves.like(halves.rows_of(states), states), states)


def test_states_are_brought_to_the_places_of_others():
    small, large = torch.arange(8.0).view(1, 2, 2, 2), torch.zeros(1, 5, 4, 4)
    assert halves.fitted_to(small, large).shape == (1, 2, 4, 4)
    assert torch.equal(halves.fitted_to(small, large)[0, 0, :2, :2], torch.zeros(2, 2))
    with pytest.raises(ValueError, match="expected tokens at the same places"):
        halves.fitted_to(small, torch.zeros(1, 16, 5))


def test_text_encoders_are_not_cut(tmp_path):
    from tiny_encoders import text_folder

    with pytest.raises(InputError, match="got gpt2, expected an image encoder of vit or regnet"):
        halves.layers_of(Encoder.load(text_folder(tmp_path / "x"), "cpu"))


def test_a_model_stitched_to_itself_is_itself(tmp_path):
    encoder = Encoder.load(vit_folder(tmp_path / "x"), "cpu")
    images = [picture(np.random.default_rng(seed)) for seed in range(40)]
    states = layers.states_of(encoder, images)
    bottoms = layers.Bottoms([each[:20] for each in states], [each[20:] for each in states])
    texts = encoder.encode(images)  # as if texts said just what images show
    told = layers.Told(texts[:20], texts[20:])
    how = {"methods": ["ridge"], "learning": None, "drawn": resamples.Resamples(np.arange(20), 20), "seed": 0}
    above = layers.Above(encoder, bottoms, told)
    rows = list(layers.layer_rows(bottoms, above, None, **how))
    for layer in range(3):
        [value] = [
            row["value"]
            for row in rows
            if (row.get("x_layer"), row.get("y_layer"), row["condition"]) == (layer, layer, "stitched")
            and (row["direction"], row["k"]) == ("x_to_y", 1)
            and "against" not in row
        ]
        assert value > 0.95
    shuffled = [
        row["value"] for row in rows if row["condition"] == "shuffled" and "against" not in row and row["k"] == 1
    ]
    assert max(shuffled) < 0.4


def test_maps_are_trained_on_the_diagonal_above_an_untrained_bottom_and_from_the_last_layer(tmp_path):
    encoder, bare = (Encoder.load(vit_folder(tmp_path / str(seed), seed), "cpu") for seed in (0, 1))
    images = [picture(np.random.default_rng(seed)) for seed in range(24)]
    a, of_bare = (
        layers.Bottoms([each[:12] for each in states], [each[12:] for each in states])
        for states in (layers.states_of(encoder, images), layers.states_of(bare, images))
    )
    texts = encoder.encode(images)
    above = layers.Above(encoder, a, layers.Told(texts[:12], texts[12:]))
    learning, drawn = (
        layers.Learning(epochs=1, learning_rate=0.001, batch_size=6),
        resamples.Resamples(np.arange(12), 20),
    )
    rows = list(layers.layer_rows(a, above, of_bare, methods=["ridge"], learning=learning, drawn=drawn, seed=0))
    cells = {(row["condition"], row["x_layer"], row["y_layer"]) for row in rows if row.get("method") == "trained"}
    diagonal = [(layer, layer) for layer in range(3)]
    assert cells == {
        *((condition, *way) for condition in ("stitched", "untrained") for way in diagonal),
        ("stitched", 2, 0), ("stitched", 2, 1),
    }  # fmt: skip
    again = list(layers.layer_rows(a, above, of_bare, methods=["ridge"], learning=learning, drawn=drawn, seed=0))
    assert rows == again


def test_a_trained_map_learns_the_task_and_leaves_the_top_alone(tmp_path):
    encoder = Encoder.load(vit_folder(tmp_path / "x"), "cpu")
    images = [picture(np.random.default_rng(seed)) for seed in range(64)]
    states = layers.states_of(encoder, images)[1]
    before = {name: weights.clone() for name, weights in encoder.model.state_dict().items()}
    texts = encoder.encode(images)
    torch.manual_seed(0)
    bad = layers.TokenMap(8, 8)
    start = towers.hits(layers.vectors(bad, encoder, states, 1), texts)["x_to_y", 1].mean()
    learning = layers.Learning(epochs=60, learning_rate=0.02, batch_size=32)
    made = layers.train_map(bad, encoder, states, 1, texts, learning, 0)
    assert towers.hits(layers.vectors(made, encoder, states, 1), texts)["x_to_y", 1].mean() > start + 0.3
    assert all(torch.equal(weights, before[name]) for name, weights in encoder.model.state_dict().items())


def test_anchors_that_no_map_can_be_fitted_on_are_refused():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 50, 8))
    for method in maps.FITS:
        with pytest.raises(ValueError, match="got the same row 50 times in x, expected rows that differ"):
            maps.fit_map(method, np.ones((50, 8)), y)
        with pytest.raises(ValueError, match="of type complex128, expected real numbers"):
            maps.fit_map(method, x + 1j, y)
        with pytest.raises(ValueError, match="expected \\(n, d\\) of the same n from 2"):
            maps.fit_map(method, x[:, :0], y)
        for kind in (torch.tensor, pd.DataFrame, np.ndarray.tolist):
            found, wanted = maps.fit_map(method, kind(x), kind(y)), maps.fit_map(method, x, y)
            np.testing.assert_allclose(found(x), wanted(x), atol=1e-9)


def test_values_are_of_the_items_that_are_drawn():
    drawn = resamples.Resamples(np.arange(30), 20)
    with pytest.raises(ValueError, match="got shape \\(30, 20\\), expected \\(30,\\)"):
        drawn.mean(np.ones((30, 20)))
    with pytest.raises(ValueError, match="expected the same items in both"):
        drawn.difference(np.ones(30), np.ones(1))
    labels = np.arange(30) % 3
    with pytest.raises(ValueError, match="of one type"):
        drawn.kappa([labels.astype(str)], labels)
    with pytest.raises(ValueError, match="NaN or infinity"):
        drawn.kappa([np.where(labels == 0, np.nan, labels)], labels)
    assert drawn.kappa([labels.astype(str)], labels.astype(str)).value == 1


def test_what_cannot_be_stitched_is_refused_before_any_work():
    params = load_params()
    spec = params.stitch["cave"].model_dump(mode="json")
    odd = Stitch.model_validate(spec | {"layers": [{"bottom": "align_like", "top": "clip_a"}]})
    [told] = odd.problems_with("stitch.cave", params.multimodal)
    assert told == "stitch.cave.layers: got align_like under clip_a, a convnet under a vit, expected one architecture"
    for few in ({"anchors": [1]}, {"images": 1}):
        with pytest.raises(ValidationError, match="greater than or equal to 2"):
            Stitch.model_validate(spec | few)
    handed = params.transfer["cave"].model_dump(mode="json")
    for less in ({"batch_size": 1}, {"rows": [1]}, {"labels": ["digit"]}, {"alphas": [0.0]}):
        with pytest.raises(ValidationError, match=next(iter(less))):
            Transfer.model_validate(handed | {"distil": handed["distil"] | less})
