"""A captioner of one's own images and sentences, and language models that packages carry."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from tiny_encoders import contents, picture, text_folder, vision_folder

import jam
from benchmarks.smollm2 import measured
from jam.caption import packages
from jam.caption.language import Language
from jam.errors import InputError
from jam.pretrain.text import causal_model, word_tokenizer

ROOT = Path(__file__).parent.parent
WORDS = ("red", "blue", "seven", "two")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A tiny encoder of images and a tiny language model, in the Hugging Face layout."""
    root = tmp_path_factory.mktemp("own")
    vision_folder(root / "vision")
    text_folder(root / "text")
    tokenizer = word_tokenizer([f"a {word} thing" for word in WORDS])
    model = causal_model(tokenizer, 16, 1, 2, 32)
    for part in (model, tokenizer):
        part.save_pretrained(root / "language")
    return root


@pytest.fixture(scope="module")
def photos():
    rng = np.random.default_rng(0)
    return [picture(rng, 20) for _ in range(12)]


CAPTIONS = [[f"a {WORDS[i % 4]} thing", f"a {WORDS[(i + 1) % 4]} thing"] for i in range(12)]


def trained(root, photos, captions=CAPTIONS, **options):
    how = {"encoder": root / "vision", "language": root / "language", "epochs": 2, "k": 2, "width": 16, **options}
    return jam.train_captioner(photos, captions, **how)


@pytest.mark.parametrize("options", [{}, {"tokens": True, "projector": "resampler"}, {"lora": 2}], ids=str)
def test_it_is_trained_saved_and_loaded(root, photos, options, tmp_path):
    before = Language.load(root / "language").fingerprint()
    captioner = trained(root, photos, **options)
    told = captioner.generate(photos[:3])
    assert len(told) == 3
    assert captioner.language.fingerprint() == before
    captioner.save(tmp_path / "kept")
    assert jam.Captioner.load(tmp_path / "kept").generate(photos[:3]) == told
    assert captioner.generate(photos[:3]) == told  # saving has changed nothing


def test_the_same_seed_gives_the_same_bytes(root, photos, tmp_path):
    for name in "ab":
        trained(root, photos).projector.save(tmp_path / name)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


@pytest.mark.parametrize(
    ("captions", "options", "message"),
    [
        (CAPTIONS[:5], {}, "got 5 of 12 images"),
        ([*CAPTIONS[:-1], []], {}, "got 12 of 12 images, 1 of them without a sentence"),
        (CAPTIONS, {"encoder": "text"}, "of text, expected one of images"),
        (CAPTIONS, {"language": "none"}, "none"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(root, photos, captions, options, message):
    options = {name: root / value for name, value in options.items()}
    with pytest.raises(InputError, match=message) as caught:
        trained(root, photos, captions, **options)
    assert "\n" not in str(caught.value)


def test_nine_photos_are_too_few(root, photos):
    with pytest.raises(InputError, match="at least 10 images"):
        trained(root, photos[:9], CAPTIONS[:9])


def test_the_lines_of_the_readme_run(root, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = re.search(r"```python\n(captioner = .*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    assert "smollm2" in packages.LANGUAGES
    lines = lines.replace('"efficientnet_lite2"', "encoder").replace('"smollm2"', "language")
    names = {"encoder": root / "vision", "language": root / "language", "photos": photos, "captions": CAPTIONS}
    exec(lines, {"jam": jam, **names})
    assert (tmp_path / "my-captioner" / "captioner.json").is_file()


def test_a_language_model_that_no_package_has_is_told_in_one_line():
    with pytest.raises(InputError, match=r"language: got 'nothing', expected one of \['smollm2'\]"):
        packages.packaged_language("nothing")


def test_gguf_is_asked_for_before_the_download(monkeypatch, tmp_path):
    monkeypatch.setenv("JAM_CACHE", str(tmp_path))
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    with pytest.raises(InputError, match=r"pip install 'jam-align\[gguf\]'"):
        packages.packaged_language("smollm2")
    assert not any(tmp_path.iterdir())


def test_what_a_packaged_model_says_of_a_folder_of_photos_is_measured(root, photos, tmp_path):
    lines = []
    for number, (photo, told) in enumerate(zip(photos * 2, CAPTIONS * 2, strict=True)):
        photo.rotate(90 * (number // 12)).save(tmp_path / f"{number}.png")
        lines.append(json.dumps({"file_name": f"{number}.png", "captions": told}))
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    told = measured(tmp_path, "a", 1, 2, str(root / "vision"), root / "language")
    assert told[0] == "17 photos learned from, 7 tested on, 1 captions a photo, 2 epochs"
    assert told[4] == "weights of the language model the same: True"
    assert len(told) == 5 + 7


@pytest.mark.registry
@pytest.mark.skipif("JAM_REGISTRY" not in os.environ, reason="downloads 98 MB from the package index")
def test_smollm2_of_the_package_index_speaks_english():
    language = Language.load(packages.packaged_language("smollm2"))
    prefix = language.model.get_input_embeddings().weight[:0][None]
    assert "Paris" in language.say(prefix, ["The capital of France is"], most=8)[0]
