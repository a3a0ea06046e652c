"""Adapters: the published architecture, the geometry-keeping standardisation, saving, and the closed forms."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from jam.errors import InputError
from jam.models import Adapter
from jam.models.blocks import Standardise, SwiGLU
from jam.models.closed_form import cca, procrustes, ridge

rng = np.random.default_rng(0)


def test_the_autoencoder_has_the_published_layers_in_order():
    tower = Adapter("autoencoder", 768, 256, hidden=(512, 512, 512), dropout=0.1).tower
    kinds = [type(layer) for layer in tower.encoder]
    assert kinds == [nn.LayerNorm, nn.Linear, SwiGLU, nn.Dropout] * 3 + [nn.Linear]
    widths = [(layer.in_features, layer.out_features) for layer in tower.encoder if isinstance(layer, nn.Linear)]
    assert widths == [(768, 1024), (512, 1024), (512, 1024), (512, 256)]
    mirrored = [(layer.in_features, layer.out_features) for layer in tower.decoder if isinstance(layer, nn.Linear)]
    assert mirrored == [(256, 1024), (512, 1024), (512, 1024), (512, 768)]
    assert {layer.p for layer in tower.encoder if isinstance(layer, nn.Dropout)} == {0.1}


def test_a_latent_that_is_no_bottleneck_is_refused():
    with pytest.raises(ValueError, match="d_latent 256, expected fewer than its d_in 256"):
        Adapter("autoencoder", 256, 256)


def test_swiglu_is_the_value_times_silu_of_the_gate():
    x = torch.tensor([[2.0, -3.0, 0.0, 1.0]])
    sigmoid = 1 / (1 + np.exp(-1.0))
    torch.testing.assert_close(SwiGLU()(x), torch.tensor([[0.0, -3.0 * sigmoid]], dtype=torch.float32))


@settings(max_examples=25, deadline=None)
@given(shift=st.floats(-100, 100), spread=st.floats(0.01, 100))
def test_standardising_keeps_the_geometry_and_has_unit_mean_square(shift, spread):
    x = torch.as_tensor(rng.normal(shift, spread, size=(64, 5)))
    layer = Standardise(5)
    layer.fit(x)
    torch.testing.assert_close(layer(x), layer.scaled(x), rtol=1e-3, atol=1e-4)
    z = layer.scaled(x).double()
    assert z.mean(dim=0).abs().max() < 1e-3
    assert z.square().mean().item() == pytest.approx(1, rel=1e-3)
    distances, standardised = torch.pdist(x), torch.pdist(z)
    torch.testing.assert_close(standardised / standardised.mean(), distances / distances.mean(), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(layer.unscaled(layer.scaled(x)).double(), x, rtol=1e-4, atol=1e-3 * spread)


def test_whitening_makes_directions_alike_and_shrinks_noise():
    x = (
        torch.as_tensor(rng.normal(size=(5000, 4)) * [10.0, 1.0, 0.1, 1e-4])
        @ torch.linalg.qr(torch.randn(4, 4).double())[0]
    )
    layer = Standardise(4)
    layer.fit(x, shrinkage=1e-4)
    covariance = torch.cov(layer(x).T.double())
    mean_variance = torch.cov(x.T).trace() / 4
    expected = torch.tensor([1e-8, 0.01, 1.0, 100.0])
    expected = expected / (expected + 1e-4 * mean_variance)
    torch.testing.assert_close(covariance, torch.diag(expected).double(), rtol=0.1, atol=0.02)


@pytest.mark.parametrize("bad", [torch.ones(8, 3), torch.full((8, 3), torch.nan)])
def test_features_that_do_not_vary_are_refused(bad):
    with pytest.raises(ValueError, match="expected finite features that vary"):
        Standardise(3).fit(bad)


@pytest.mark.parametrize(
    ("kind", "options"),
    [("autoencoder", {"hidden": [7, 6], "dropout": 0.5}), ("linear", {}), ("mlp", {"expansion": 3, "dropout": 0.2})],
)
def test_saving_and_loading_gives_the_same_adapter(tmp_path, kind, options):
    adapter = Adapter(kind, 9, 4, **options)
    features = rng.normal(size=(10, 9)).astype(np.float32)
    adapter.standardise.fit(torch.as_tensor(features))
    expected = adapter.encode(features)
    adapter.save(tmp_path / "adapter")
    assert sorted(path.name for path in (tmp_path / "adapter").iterdir()) == ["config.json", "model.safetensors"]
    loaded = Adapter.load(tmp_path / "adapter")
    np.testing.assert_array_equal(loaded.encode(features), expected)
    np.testing.assert_allclose(np.linalg.norm(expected, axis=1), 1, rtol=1e-5)
    if kind == "autoencoder":
        np.testing.assert_array_equal(loaded.autoencode(features), adapter.autoencode(features))
    else:
        with pytest.raises(ValueError, match="expected one with a decoder"):
            loaded.autoencode(features)


def test_encoding_does_not_depend_on_the_batch_nor_on_the_array_type(tmp_path):
    adapter = Adapter("mlp", 6, 3)
    features = rng.normal(size=(11, 6)).astype(np.float16)
    np.save(tmp_path / "f.npy", features)
    expected = adapter.encode(features)
    np.testing.assert_allclose(adapter.encode(features, batch_size=4), expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(adapter.encode(np.load(tmp_path / "f.npy", mmap_mode="r")), expected)
    np.testing.assert_array_equal(adapter.encode(torch.as_tensor(features)), expected)
    adapter.train()  # dropout must not reach an encoding
    np.testing.assert_array_equal(adapter.encode(features), expected)
    assert adapter.training


def test_a_damaged_or_missing_adapter_is_one_clear_line(tmp_path):
    with pytest.raises(InputError, match="no adapter here"):
        Adapter.load(tmp_path)
    Adapter("linear", 4, 2).save(tmp_path / "a")
    weights = tmp_path / "a" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-20])
    with pytest.raises(InputError, match="cannot be read"):
        Adapter.load(tmp_path / "a")
    Adapter("linear", 4, 2).save(tmp_path / "b")
    (tmp_path / "b" / "config.json").write_text(json.dumps({"kind": "linear", "d_in": 5, "d_latent": 2}))
    with pytest.raises(InputError, match="cannot be read") as caught:
        Adapter.load(tmp_path / "b")
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=r"got shape \(3, 5\), expected \(n, 4\)"):
        Adapter("linear", 4, 2).encode(np.zeros((3, 5)))


def centred(n, d, seed):
    x = np.random.default_rng(seed).normal(size=(n, d))
    return x - x.mean(axis=0)


def test_ridge_satisfies_its_normal_equations_and_shrinks():
    x, y = centred(50, 6, 1), centred(50, 4, 2)
    w, identity = ridge(x, y, penalty=0.3)
    np.testing.assert_allclose(x.T @ (x @ w - y) + 0.3 * 50 * w, 0, atol=1e-10)
    np.testing.assert_array_equal(identity, np.eye(4))
    assert np.linalg.norm(ridge(x, y, penalty=100.0)[0]) < np.linalg.norm(w)


def test_procrustes_recovers_a_rotation():
    x = centred(60, 5, 3) * np.array([5.0, 4, 3, 2, 1])
    rotation = np.linalg.qr(np.random.default_rng(4).normal(size=(5, 5)))[0]
    y = x @ rotation
    a, b = procrustes(x, y, components=5)
    np.testing.assert_allclose(x @ a, y @ b, atol=1e-9)
    np.testing.assert_allclose(a.T @ a, np.eye(5), atol=1e-9)
    with pytest.raises(ValueError, match="components: got 6, expected 1 to 5"):
        procrustes(x, y, components=6)


def test_cca_finds_the_shared_directions_and_weights_them_by_their_correlation():
    shared = centred(4000, 2, 5)
    noise_x, noise_y = centred(4000, 3, 6), centred(4000, 2, 7)
    mix = np.random.default_rng(8)
    x = np.hstack([shared, noise_x]) @ mix.normal(size=(5, 5))
    y = np.hstack([shared + 0.5 * centred(4000, 2, 9), noise_y]) @ mix.normal(size=(4, 4))
    a, b = cca(x, y, components=4, shrinkage=1e-9)
    u, v = x @ a, y @ b
    correlations = [np.corrcoef(u[:, i], v[:, i])[0, 1] for i in range(4)]
    np.testing.assert_allclose(correlations[:2], np.sqrt(1 / 1.25), atol=0.02)  # cor(s, s + noise/2)
    assert max(np.abs(correlations[2:])) < 0.1
    # the columns are canonical variates scaled by their correlation: uncorrelated, deviation = correlation
    np.testing.assert_allclose(u.T @ u / len(u), np.diag(np.square(correlations)), atol=1e-6)
