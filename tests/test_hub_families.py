"""Every family of hub models goes through extraction: a tiny random model of that very architecture.

The twin is the architecture's own class, one item at a time and without padding, pooled by a loop over positions.
"""

import numpy as np
import pytest
import torch
from tiny_encoders import picture, random_rows, sentence, write_rows
from tiny_hub import FAMILIES, direct_model, image_processor, save_tiny

from jam.data.images import decode_image
from jam.encoders import Encoder
from jam.encoders.encoder import LONGEST, precision
from jam.encoders.families import FAMILIES as TABLE
from jam.encoders.families import family_of
from jam.encoders.hub import hub_manifest
from jam.encoders.manifest import Manifest
from jam.errors import InputError
from jam.features import extract_features

COMMIT = "0123456789abcdef0123456789abcdef01234567"
VISION = [name for name, tiny in FAMILIES.items() if tiny.modality == "image"]
TEXT = [name for name, tiny in FAMILIES.items() if tiny.modality == "text"]
RELATIVE = ("llama", "gemma2", "olmo2", "qwen2", "bloom", "pythia")  # positions count from token to token


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A local hub cache without a network, and a function that puts a family into it."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)

    def put(family, side="right"):
        repo = tmp_path / "hub" / f"models--tiny--{family}"
        (repo / "refs").mkdir(parents=True)
        (repo / "refs" / "main").write_text(COMMIT)
        return save_tiny(repo / "snapshots" / COMMIT, family, side)

    return put


def load(tmp_path, family, **options) -> Encoder:
    """By the stages' way: a manifest, written, and an encoder from its folder."""
    manifest = hub_manifest(f"tiny/{family}", "main", FAMILIES[family].modality, **options)
    folder = tmp_path / f"encoder-{len(list(tmp_path.iterdir()))}"
    folder.mkdir()
    manifest.write(folder)
    assert Manifest.read(folder) == manifest
    return Encoder.load(folder, device="cpu")


def twin_states(model, inputs):
    """(layer, position, width) of one item; feature maps with their positions in a row."""
    with torch.no_grad():
        output = model(**inputs, output_hidden_states=True)
    states = [*output.hidden_states[:-1], output.last_hidden_state]
    return [state[0].flatten(1).T if state.dim() == 4 else state[0] for state in states]


def twin_pool(states, pooling, marks):
    rows = [row.double().numpy() for row in states]
    if pooling == "mean":
        return sum(rows[marks:]) / len(rows[marks:])
    return rows[0 if pooling == "cls" else -1]


def close(actual, expected):
    assert len(actual) == len(expected)
    for layer, (got, wanted) in enumerate(zip(actual, expected, strict=True)):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5, err_msg=f"layer {layer}")


def stack(twins, pooling, marks=0):
    """For each layer (item, width)."""
    return [np.stack([twin_pool(states[layer], pooling, marks) for states in twins]) for layer in range(len(twins[0]))]


def extracted(encoder, tmp_path, **columns):
    """Rows of the pairs that were encoded, and every layer of them."""
    rows = random_rows("t", 3, negatives=[], **columns)
    views = write_rows(tmp_path / "data", train=rows) / "views" / f"{encoder.modality}.parquet"
    store = extract_features(encoder, views, tmp_path / "features", scratch=tmp_path / "scratch", batch_size=2)
    return rows, [np.asarray(store.layer(layer)) for layer in range(store.layers)]


@pytest.mark.parametrize("family", VISION)
def test_images(tmp_path, hub, family):
    folder, tiny = hub(family), FAMILIES[family]
    encoder = load(tmp_path, family)
    assert (type(encoder.model).__name__, encoder.manifest.pooling) == (tiny.direct, tiny.pooling)
    model, processor = direct_model(folder, family), image_processor(folder)

    def twin(image):
        inputs = {"pixel_values": processor(image, return_tensors="pt")["pixel_values"]}
        if family == "mae":
            inputs["noise"] = torch.arange(4.0)[None]
        return twin_states(model, inputs)

    rows, layers = extracted(encoder, tmp_path)
    close(layers, stack([twin(decode_image(row["image"]["bytes"])) for row in rows], tiny.pooling, tiny.marks))

    images = [picture(np.random.default_rng(i), 20 + 4 * i) for i in range(3)]
    twins = [twin(image) for image in images]
    maps = len(twins[0][0]) != len(twins[0][-1])
    for pooling in ("mean",) if maps else ("mean", "cls", "last"):
        encoder = load(tmp_path, family, pooling=pooling)
        pooled = encoder.hidden_states(images)
        close([layer.numpy() for layer in pooled], stack(twins, pooling, tiny.marks))
        for first, second in zip(pooled, encoder.hidden_states(images), strict=True):
            assert torch.equal(first, second)  # nothing is drawn at random
        assert (pooled[-1][0] - pooled[-1][1]).abs().max() > 1e-4


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("family", TEXT)
def test_texts(tmp_path, hub, family, side):
    folder, tiny = hub(family, side), FAMILIES[family]
    encoder = load(tmp_path, family)
    assert (type(encoder.model).__name__, encoder.manifest.pooling) == (tiny.direct, tiny.pooling)
    model = direct_model(folder, family)

    def twin(text):
        tokens = encoder.processor(text)["input_ids"]
        if not isinstance(tiny.processor, str):
            begin, end, _ = tiny.processor
            words = [token for token in (begin, *text.split(), end) if token]
            assert tokens == encoder.processor.convert_tokens_to_ids(words)
        return twin_states(model, {"input_ids": torch.tensor([tokens])})

    rows, layers = extracted(encoder, tmp_path)
    close(layers, stack([twin(text) for row in rows for text in row["captions"]], tiny.pooling))

    rng = np.random.default_rng(0)
    texts = [sentence(rng) for _ in range(6)]
    twins = [twin(text) for text in texts]
    for pooling in ("mean", "cls", "last"):
        encoder = load(tmp_path, family, pooling=pooling)
        close([layer.numpy() for layer in encoder.hidden_states(texts)], stack(twins, pooling))
        if family in RELATIVE:
            # Padding on the left, put there by hand; absolute positions would move with it.
            encoder.processor.padding_side = "left"
            close([layer.numpy() for layer in encoder.hidden_states(texts)], stack(twins, pooling))


@pytest.mark.parametrize("family", TEXT)
def test_long_texts_are_cut_to_what_the_model_can_read(tmp_path, hub, family):
    hub(family)
    encoder, long = load(tmp_path, family), " ".join(["red", "blue"] * 2000)
    limits = {"clip_text": 24, "distilbert": 32, "bert": 32, "minilm": 32, "mpnet": 32, "pythia": 48, "bloom": LONGEST}
    cut = load(tmp_path, family, max_tokens=6)
    assert encoder.max_tokens == limits.get(family, encoder.model.config.to_dict().get("max_position_embeddings"))
    assert cut.max_tokens == 6
    assert cut.prepare([long])["input_ids"].shape == (1, 6)
    assert (cut.token_counts([long, "red"]) > 6).tolist() == [True, False]
    if encoder.max_tokens < 100:
        assert np.isfinite(encoder.encode([long])).all()


def test_the_pooled_text_of_clip_is_its_own(tmp_path, hub):
    folder = hub("clip_text")
    encoder, texts = load(tmp_path, "clip_text"), ["red seven", "blue nine is left"]
    with torch.no_grad():
        expected = direct_model(folder, "clip_text")(**encoder.prepare(texts)).pooler_output
    np.testing.assert_allclose(encoder.encode(texts), expected, atol=1e-6)


@pytest.mark.parametrize(("family", "pooling"), [("convnext", "cls"), ("resnet18", "last")])
def test_feature_maps_have_no_token_to_pick(tmp_path, hub, family, pooling):
    hub(family)
    with pytest.raises(InputError, match=f"tiny/{family}: got pooling '{pooling}' for feature maps, expected 'mean'"):
        load(tmp_path, family, pooling=pooling)


def test_what_a_model_cannot_read_is_one_line(tmp_path, hub):
    hub("qwen2")
    with pytest.raises(InputError, match=r"^tiny/qwen2: got no token from the text '', expected at least one[^\n]*$"):
        load(tmp_path, "qwen2").hidden_states(["red", ""])
    folder = hub("bert")
    (folder / "preprocessor_config.json").write_text("{}")
    with pytest.raises(InputError, match=r"found an image processor and a tokenizer; expected modality[^\n]*$"):
        hub_manifest("tiny/bert")
    (folder / "config.json").write_text('{"model_type": "nosuch"}')
    with pytest.raises(InputError, match=r"tiny/bert: transformers does not know it[^\n]*$"):
        load(tmp_path, "bert")


def test_the_manifest_pins_what_was_asked_and_what_was_found(tmp_path, hub):
    folder = hub("minilm")
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 16}')
    manifest = load(tmp_path, "minilm").manifest
    assert (manifest.asked, manifest.revision, manifest.max_tokens) == ("main", COMMIT, 16)


@pytest.mark.parametrize("content", ["", "{", "7", "[1]", '{"max_seq_length": "9"}', '{"max_seq_length": 0}'])
def test_a_broken_length_of_a_sentence_encoder_is_one_line(tmp_path, hub, content):
    path = hub("minilm") / "sentence_bert_config.json"
    path.write_text(content)
    with pytest.raises(InputError, match=rf"hub encoder tiny/minilm: {path}: .*expected a") as caught:
        load(tmp_path, "minilm")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("family", FAMILIES)
def test_half_precision(tmp_path, hub, family):
    hub(family)
    load(tmp_path, family).manifest.write(tmp_path)
    items = [picture(np.random.default_rng(i)) if family in VISION else "red seven is left" for i in range(2)]
    half, full = (Encoder.load(tmp_path, device="cpu", dtype=kind) for kind in ("bfloat16", None))
    assert half.describe()["precision"] == "bfloat16"
    for rough, exact in zip(half.hidden_states(items), full.hidden_states(items), strict=True):
        assert rough.dtype == torch.float32
        assert (rough - exact).norm() < 0.1 * exact.norm()


def test_precision_follows_source_and_device():
    assert precision("hub", "cuda", None) == precision("folder", "cuda", None) == (torch.bfloat16, False)
    assert precision("cave", "cuda", None) == (torch.float32, True)
    for device in ("cpu", "mps"):
        assert precision("hub", device, None) == (torch.float32, False)
    assert precision("hub", "cuda", "float16") == (torch.float16, False)


def test_families_that_are_not_in_the_table():
    import transformers as hf

    assert "qwen3" not in TABLE
    assert family_of(hf.Qwen3Config(architectures=["Qwen3ForCausalLM"])).pooling == "last"
    assert family_of(hf.RobertaConfig(architectures=["RobertaForMaskedLM"])).pooling == "mean"
    assert family_of(hf.RobertaConfig()).pooling == "mean"
