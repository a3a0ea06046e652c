"""Adapters: the published architecture, the geometry-keeping standardisation, saving, and the closed forms."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save
from torch import nn

from jam.align import Adapter
from jam.align.blocks import Standardise, SwiGLU
from jam.errors import InputError
from jam.losses.cca import cca
from jam.losses.procrustes import procrustes
from jam.losses.ridge import ridge

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
    axes = torch.linalg.qr(torch.randn(4, 4).double())[0]
    x = torch.as_tensor(rng.normal(size=(5000, 4)) * [10.0, 1.0, 0.1, 1e-4]) @ axes
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


def test_encoding_does_not_depend_on_the_batch_nor_on_the_kind_of_array(tmp_path):
    adapter = Adapter("mlp", 6, 3)
    features = rng.integers(-8, 8, size=(11, 6)) / 8  # the same numbers in every precision
    np.save(tmp_path / "f.npy", features.astype(np.float16))
    expected = adapter.encode(features)
    np.testing.assert_allclose(adapter.encode(features, batch_size=4), expected, rtol=1e-4, atol=1e-6)
    tensor = torch.tensor(features)
    for same in (
        np.load(tmp_path / "f.npy", mmap_mode="r"), features[::-1][::-1], np.asfortranarray(features),
        features.tolist(), pd.DataFrame(features), tensor.bfloat16(), tensor.half(), tensor.float().requires_grad_(),
    ):  # fmt: skip
        np.testing.assert_array_equal(adapter.encode(same), expected)
    adapter.train()  # dropout must not reach an encoding
    np.testing.assert_array_equal(adapter.encode(features), expected)
    assert adapter.training


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.safetensors", None),
        ("model.safetensors", -20),
        ("model.safetensors", save({"standardise.mean": torch.zeros(4)})),
        ("model.safetensors", save({"weight": torch.zeros(4)})),
        ("config.json", None),
        ("config.json", -5),
        ("config.json", b"[1]"),
        ("config.json", b"\xff\xfe"),
        ("config.json", b'{"kind": "linear", "d_in": 4}'),
        ("config.json", b'{"kind": "linear", "d_in": 5, "d_latent": 2}'),  # shapes of other widths
        ("config.json", b'{"kind": "linear", "d_in": -4, "d_latent": 2}'),
        ("config.json", b'{"kind": ["linear"], "d_in": 4, "d_latent": 2}'),
        ("config.json", b'{"kind": "autoencoder", "d_in": 4, "d_latent": 2, "hidden": "abc"}'),
    ],
)
def test_a_damaged_or_missing_adapter_is_one_clear_line(tmp_path, name, content):
    """The content of a file, or how many of its bytes are left."""
    Adapter("linear", 4, 2).save(tmp_path / "a")
    file = tmp_path / "a" / name
    old = file.read_bytes()
    file.unlink()
    if content:
        file.write_bytes(old[:content] if isinstance(content, int) else content)
    with pytest.raises(InputError, match=r"a: (the adapter cannot be read: .|no adapter here)") as caught:
        Adapter.load(tmp_path / "a")
    assert "\n" not in str(caught.value)


def test_saving_replaces_an_adapter_and_nothing_else(tmp_path, monkeypatch):
    folder = tmp_path / "mine" / "adapter"
    for d_latent in (2, 3):
        Adapter("linear", 4, d_latent).save(folder)
    assert Adapter.load(folder).config["d_latent"] == 3
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    monkeypatch.chdir(folder)
    for path in ("..", ".", "", tmp_path / "mine", tmp_path / "mine" / "notes.txt"):
        with pytest.raises(InputError, match="expected"):
            Adapter("linear", 4, 2).save(path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        "adapter", "config.json", "mine", "model.safetensors", "notes.txt",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["autoencoder", "linear", "mlp"])
def test_an_encoding_is_finite_or_its_row_is_named(kind):
    adapter = Adapter(kind, 6, 3)
    for bad in (np.nan, np.inf, -np.inf):
        features = rng.normal(size=(9, 6)).astype(np.float32)
        features[7, 2] = bad
        with pytest.raises(InputError, match=r"features: row 7 gives no finite vector \(1 of 9 rows\)"):
            adapter.encode(features, batch_size=4)
    assert adapter.training  # as it was
    with pytest.raises(ValueError, match=r"got shape \(3, 5\), expected \(n, 6\)"):
        adapter.encode(np.zeros((3, 5)))
    with pytest.raises(ValueError, match=r"got shape \(0, 6\)"):
        adapter.encode(np.zeros((0, 6)))


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


@pytest.mark.parametrize("fit", [lambda x, y: procrustes(x, y, components=3), lambda x, y: cca(x, y, 3, 0.1)])
def test_the_signs_of_eigen_and_singular_vectors_do_not_reach_the_maps(fit, monkeypatch):
    """As from another machine: every direction that eigh and svd give is turned round at random."""
    x, y = centred(80, 6, 1), centred(80, 5, 2)
    x[:, :3] += y[:, :3]
    expected, draws = fit(x, y), np.random.default_rng(3)

    def turned_eigh(matrix, solve=np.linalg.eigh):
        values, vectors = solve(matrix)
        return values, vectors * draws.choice([-1, 1], len(values))

    def turned_svd(matrix, solve=np.linalg.svd):
        u, values, vt = solve(matrix)
        signs = draws.choice([-1, 1], len(values))
        u[:, : len(values)] *= signs
        vt[: len(values)] *= signs[:, None]
        return u, values, vt

    monkeypatch.setattr(np.linalg, "eigh", turned_eigh)
    monkeypatch.setattr(np.linalg, "svd", turned_svd)
    for _ in range(8):
        for found, wanted in zip(fit(x, y), expected, strict=True):
            np.testing.assert_allclose(found, wanted, atol=1e-9)
    assert (expected[1][np.abs(expected[1]).argmax(axis=0), range(3)] > 0).all()


def test_double_precision_far_from_zero_keeps_its_signal(tmp_path):
    """Centred before it is rounded: at 1e8 single precision has steps of 8."""
    x = rng.normal(size=(50, 6))
    near, far = Adapter("linear", 6, 3), Adapter("linear", 6, 3)
    far.load_state_dict(near.state_dict())
    near.standardise.fit(x.astype(np.float32), shrinkage=None)
    far.standardise.fit(x + 1e8, shrinkage=None)
    np.testing.assert_allclose(far.encode(x + 1e8), near.encode(x), atol=1e-5)
    far.save(tmp_path / "far")
    np.testing.assert_array_equal(Adapter.load(tmp_path / "far").encode(x + 1e8), far.encode(x + 1e8))
