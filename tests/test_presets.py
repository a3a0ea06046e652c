"""Every preset from end to end, `python -m stages.preset X && dvc repro`, on stand-ins from a loopback hub.

The stand-ins have the ids, architectures and depths of the real models and the columns of the real data, and next to no
width. The one change to the presets is the number of epochs: JAM_SLOW=1 runs them as written.
"""

import io
import json
import os
import re
import sys
from itertools import islice, permutations

import huggingface_hub.constants as constants
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from checkout import REPRO, command, new_checkout
from convnet_twins import random_lite
from hub_server import serving
from PIL import Image
from tiny_encoders import WORDS, picture
from tiny_hub import save_tiny
from tiny_towers import save_whole

import jam
from jam.data.images import decode_image
from jam.encoders import Encoder, package
from jam.encoders.hub import hub_manifest
from jam.results import select
from stages.preset import built
from stages.results import all_results

FAMILY = {
    "dinov2-giant": "dinov2_giant", "dinov2": "dinov2", "vit-mae": "mae", "clip-vit": "clip_vision", "vit-base": "vit",
    "bloomz": "bloom", "pythia": "pythia", "Qwen2": "qwen2", "Llama": "llama", "distilbert": "distilbert",
    "bert": "bert", "resnet-18": "resnet18", "gemma-2": "gemma2", "OLMo-2": "olmo2", "all-mpnet": "mpnet",
    "MiniLM": "minilm",
}  # fmt: skip
TOWERS = {"clip-vit": "clip", "align": "align", "blip": "blip", "flava": "flava", "siglip": "siglip"}
STATES = {"layers": "num_hidden_layers", "width": "hidden_size"}
NAMES = {"bloom": {"layers": "n_layer", "width": "hidden_size"}, "distilbert": {"layers": "n_layers", "width": "dim"}}
PHOTOS = 160
LITE2 = (1, 3, 3, 4, 4, 5, 1)  # blocks of each of its stages
FEWEST = 20  # photos of one's own, as the preset promises


def family_of(model):
    return next(family for part, family in FAMILY.items() if part in model)


def layers_of(params, name):
    """How many layers the preset takes the encoder to have: the deepest that it names."""
    named = [side[way] for side in (params["align"], *params["spaces_of_two"].values()) for way in ("x", "y")]
    named += params["sweeps"]["scale"]["x"] + params["sweeps"]["scale"]["y"]
    named += [{"encoder": of, **tokens} for of, tokens in params["tokens"].items()]
    return max([1, *(layer["layer"] for layer in named if layer["encoder"] == name)])


def photos():
    """PNG files and sentences about them, told by two colours, so that there is something to align."""
    rng = np.random.default_rng(0)
    for i in range(PHOTOS):
        image = np.asarray(picture(rng, 20)).copy()
        word = WORDS[i % 2]
        image[:, :10] = (200, 0, 0) if word == "red" else (0, 0, 200)
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        yield buffer.getvalue(), [f"{word} {rng.choice(WORDS)} is left {i}", f"the {word} is {rng.choice(WORDS)} right"]


def parquet(rows):
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


def flickr30k(i, image, captions):
    """A row with the columns of nlphuji/flickr30k, as the hub converted it."""
    return {
        "image": {"bytes": image, "path": f"{i}.jpg"}, "caption": captions, "sentids": [str(i)], "split": "train",
        "img_id": str(i), "filename": f"{i}.jpg",
    }  # fmt: skip


def wit_1024(i, image, captions):
    """A row with the columns of minhuh/prh: caption, description of the page, that of the section or null."""
    text = [captions[0], "A page about other things.", None]
    return {"image": {"bytes": image, "path": None}, "text": text, "origin": f"http://a.org/{i}"}


PUBLISHED = {
    "nlphuji/flickr30k": ("TEST/test/0000.parquet", flickr30k),
    "minhuh/prh": ("data/train-00000-of-00001.parquet", wit_1024),
}


def cifar10(split, each):
    """A file with the columns of uoft-cs/cifar10: so many images of each of ten classes, named in the metadata."""
    rng, rows = np.random.default_rng(len(split)), []
    for i in range(10 * each):
        buffer = io.BytesIO()
        picture(rng, 8).save(buffer, "PNG")
        rows.append({"img": {"bytes": buffer.getvalue(), "path": f"{i}.png"}, "label": i % 10})
    features = {"label": {"names": [*WORDS], "_type": "ClassLabel"}}
    table = pa.Table.from_pylist(rows)
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})}), buffer)
    return buffer.getvalue()


def serve_data(server, params, folder):
    """The data that the preset names: on the hub with the real set's columns, or in the user's folder."""
    if "hub" in params["downstream"]["sources"]:
        files = {f"plain_text/{split}-0.parquet": cifar10(split, each) for split, each in (("train", 30), ("test", 4))}
        server.add(params["downstream"]["hub"]["repo"], files, "datasets")
    if params["dataset"]["source"] == "folder":
        target = folder / params["dataset"]["reads"]
        target.mkdir(parents=True)
        lines = []
        for i, (image, captions) in zip(range(FEWEST), photos(), strict=False):
            (target / f"{i}.png").write_bytes(image)
            lines.append(json.dumps({"file_name": f"{i}.png", "captions": captions}))
        (target / "metadata.jsonl").write_text("\n".join(lines))
        return
    hub = params["dataset"]["hub"]
    name, rows = PUBLISHED[hub["repo"]]
    files = {name: parquet([rows(i, *photo) for i, photo in enumerate(photos())]), "README.md": b"#"}
    server.add(hub["repo"], files, "datasets", hub["revision"])


def widest(params):
    """A width that no adapter and no map of the preset asks more of."""
    asked = [*params["spaces"]["cca"]["components"], *params["spaces"]["procrustes"]["components"]]
    return max(*asked, params["spaces"]["con"]["latent"] + 4)


def serve_models(server, params, scratch):
    """A stand-in for every hub model: as deep as the preset says, wide enough for its latent, of as many patches."""
    grids = {side["encoder"]: side.get("grid") for of in params["resampler"].values() for side in (of["x"], of["y"])}
    for name, spec in params["encoders"].items():
        if spec["source"] != "hub":
            continue
        family = family_of(spec["model"])
        aligned = name in (params["align"]["x"]["encoder"], params["align"]["y"]["encoder"])
        keys = NAMES.get(family, STATES)
        width = widest(params) if aligned else params["spaces"]["con"]["latent"] + 4
        sizes = {keys["width"]: -(-width // 16) * 16, keys["layers"]: layers_of(params, name)}
        if family.startswith("resnet"):
            sizes = {"hidden_sizes": [32, 32, 32, width]}  # wider than the latent of sweeps
        if family.startswith("dinov2"):
            sizes["mlp_ratio"] = 1  # of the same width: less to build, to serve and to read
        if family == "qwen2":
            sizes["tie_word_embeddings"] = True  # as the small ones do
        if grid := grids.get(name):
            sizes |= {"patch_size": 2, "image_size": 2 * grid[0]}
        save_tiny(scratch / name, family, **sizes)
        files = {path.name: path.read_bytes() for path in (scratch / name).iterdir()}
        server.add(spec["model"], files, "models", spec.get("revision", "main"))


def serve_multimodal(server, params, scratch, width=16):
    """A stand-in for every multimodal model of the hub, whole, each tower as deep as the real one."""
    for name, spec in params["multimodal"].items():
        family = next(family for part, family in TOWERS.items() if part in spec["model"])
        save_whole(scratch / name, family, layers=12, scaled=3.1, width=width)
        files = {path.name: path.read_bytes() for path in (scratch / name).iterdir()}
        server.add(spec["model"], files, "models", spec.get("revision", "main"))


def packages(cache, monkeypatch):
    """A cache of packaged encoders: the real MiniLM, and a stand-in for EfficientNet-lite2 of its depth."""
    minilm = package.package_folder(package.package_manifest("minilm"))
    (cache / "jam" / "encoders").mkdir(parents=True)
    (cache / "jam" / "encoders" / minilm.name).symlink_to(minilm)
    monkeypatch.setenv("JAM_CACHE", str(cache))
    weights = random_lite(LITE2, outs=(8, 16, 24, 72, 80, 88, 352))
    monkeypatch.setattr(package, "fetch", lambda files, folder: torch.save(weights, folder / files[0].name))
    package.package_manifest("efficientnet_lite2")


@pytest.mark.parametrize("preset", ["adapters", "paper", "photos", "platonic"])
def test_a_preset_runs_from_end_to_end(preset, tmp_path, monkeypatch):
    folder = new_checkout(tmp_path / "tree", preset)
    text = (folder / "params.yaml").read_text()
    params = yaml.safe_load(text)
    if not os.environ.get("JAM_SLOW"):
        text, changes = re.subn(r"(?m)^  epochs: \d+", "  epochs: 1", text)
        assert changes == 2  # training and sweeps, nothing else
    (folder / "params.yaml").write_text(text)
    packages(tmp_path / "packages", monkeypatch)
    with serving() as (server, address):
        serve_data(server, params, folder)
        serve_models(server, params, tmp_path / "models")
        hub = {
            "HF_ENDPOINT": address, "HF_HUB_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "0",
            "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        command(folder, *REPRO, **hub)

    results = all_results(folder)
    assert set(select(results, experiment="evaluate")["subject"]) == set(params["spaces"])
    assert results["value"].notna().all()  # no cell of a sweep failed
    for name in ("layers", "pareto", "retrieved"):
        assert (folder / "plots" / "figures" / f"{name}.png").is_file()
    for name, spec in params["encoders"].items():
        manifest = json.loads((folder / "data" / "encoders" / name / "encoder.json").read_text())
        assert manifest["id"] == spec["model"] if spec["source"] == "hub" else manifest["source"] == "package"
        features = json.loads((folder / "data" / "features" / name / "manifest.json").read_text())
        if spec["source"] == "hub":
            assert len(features["dims"]) == 1 + layers_of(params, name)
    dataset = json.loads((folder / "metrics" / "tables" / "dataset.json").read_text())
    assert dataset["source"] == params["dataset"]["source"]


PARTS = {"width": 16, "depth": 2, "latents": 8, "epochs": 100}  # into how many


def narrowed(params):
    """Trainings of one epoch and one seed, adapters of tokens and projectors narrower than they are written.

    As written they are for a GPU: 64 latents of width 512 in four layers take minutes a training here. What stays: all
    variants, numbers of tokens, lengths of prefixes, and the latent with its dims.
    """
    params["training"]["epochs"], params["align"]["seeds"] = 1, [0]
    for section in ("resampler", "captions"):
        for entry in params[section].values():
            entry["seeds"] = [0]
            for recipe in (entry["recipe"], *entry["variants"].values()):
                recipe |= {name: max(1, recipe[name] // parts) for name, parts in PARTS.items() if name in recipe}
    return params


@pytest.mark.parametrize(("preset", "target"), [("resampler", "resampler@image_text"), ("caption", "captions@photos")])
def test_a_preset_of_siblings_runs_to_its_target(preset, target, tmp_path, monkeypatch):
    folder, (section, name) = new_checkout(tmp_path / "tree", preset), target.split("@")
    params = yaml.safe_load((folder / "params.yaml").read_text())
    if not os.environ.get("JAM_SLOW"):
        params = narrowed(params)
        (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    cache = {"HF_HUB_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    with serving() as (server, address):
        serve_data(server, params, folder)
        serve_models(server, params, tmp_path / "models")
        hub = {"HF_ENDPOINT": address, "HF_HUB_OFFLINE": "0", **cache}
        command(folder, *REPRO[:5], f"siblings/dvc.yaml:{target}", **hub)

    scores = pd.read_csv(folder / "metrics" / "siblings" / section / name / "scores.csv")
    assert scores["value"].notna().all()
    means, spec = select(scores, seed=None, against=None), params[section][name]
    if section == "resampler":
        assert set(means["subject"]) == {*spec["variants"], spec["pooled"]}
        return
    assert set(select(means, condition="real")["subject"]) == set(spec["variants"])
    photo = tmp_path / "photo.png"
    photo.write_bytes(next(photos())[0])
    monkeypatch.chdir(folder)  # captioners of the pipeline name their models by data/encoders
    monkeypatch.setattr(constants, "HF_HUB_CACHE", cache["HF_HUB_CACHE"])
    for variant in spec["variants"]:
        captioner = jam.Captioner.load(f"data/captions/{name}/{variant}/0", "cpu")
        [told] = captioner.generate([photo])
        assert told
    said = command(folder, sys.executable, "-m", "jam.caption", f"data/captions/{name}", str(photo), **cache)
    path, words = said.split("\t", 1)
    assert path == str(photo)
    assert words.strip()


def test_the_models_of_unireps_are_found_with_both_towers(loopback, tmp_path):
    params = yaml.safe_load(built("unireps"))
    serve_multimodal(loopback, params, tmp_path / "models")
    shown = [decode_image(image) for image, _ in islice(photos(), 3)]
    items = {"image": shown, "text": ["red", "blue is left"]}
    for name, spec in params["multimodal"].items():
        dims = []
        for modality, given in items.items():
            folder = tmp_path / name / modality
            folder.mkdir(parents=True)
            hub_manifest(spec["model"], spec.get("revision", "main"), modality, projected=True).write(folder)
            encoder = Encoder.load(folder, "cpu")
            assert (encoder.manifest.id, encoder.manifest.asked) == (spec["model"], spec.get("revision", "main"))
            assert len(encoder.dims) == 2 + (55 if (name, modality) == ("align", "image") else 12)
            assert np.ptp(encoder.encode(given), axis=0).max() > 0  # something of the items reaches it
            dims.append(encoder.dims[-1])
        assert dims[0] == dims[1]


def test_the_graph_of_unireps_runs_to_its_targets(tmp_path):
    folder = new_checkout(tmp_path / "tree", "unireps")
    params = yaml.safe_load((folder / "params.yaml").read_text())
    if not os.environ.get("JAM_SLOW"):
        params["training"]["epochs"] = 1
        # Random weights hand little on through 55 blocks: what ALIGN's stand-in leaves of an image is lost in float16.
        params["features"]["dtype"] = "float32"
        params["compare"]["photos"]["clusters"] = [4]  # of 16 test photos
        (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    targets = [f"siblings/dvc.yaml:{stage}@photos" for stage in ("stitch", "compare", "extracts")]
    with serving() as (server, address):
        serve_data(server, params, folder)
        serve_models(server, params, tmp_path / "models")
        serve_multimodal(server, params, tmp_path / "models", -(-widest(params) // 16) * 16)  # one is an encoder, too
        hub = {"HF_ENDPOINT": address, "HF_HUB_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "0"}
        command(folder, *REPRO[:5], *targets, OMP_NUM_THREADS="1", **hub)

    metrics, models = folder / "metrics" / "siblings", set(params["multimodal"])
    similarity = pd.read_csv(metrics / "compare" / "photos" / "similarity.csv")
    assert {*similarity["x"], *similarity["y"]} == {*models, "con", "ridge"}
    assert similarity["value"].notna().all()
    claims = pd.read_csv(metrics / "compare" / "photos" / "claims.csv")
    assert {"clip_align", "stitching"} <= set(claims.dropna(subset=["value"])["claim"])
    stitched = select(pd.read_csv(metrics / "stitch" / "photos.csv"), condition="stitched", against=None)
    assert set(zip(stitched["x"], stitched["y"], strict=True)) == set(permutations(models, 2))
    assert (folder / "plots" / "page" / "photos" / "maps.parquet").is_file()
