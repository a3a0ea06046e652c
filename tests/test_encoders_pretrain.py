"""Pretraining from scratch on one modality, and the quality of what comes out."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tiny_encoders import WORDS, png, pretraining_table, random_rows, write_rows
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

from jam.data.schema import read_rows
from jam.encoders import Encoder
from jam.encoders.token_loss import IGNORED, masked_token_loss
from jam.errors import InputError
from jam.features import FeatureStore, extract_features
from jam.features.perplexity import perplexity
from jam.pretrain.contrastive import nt_xent
from jam.pretrain.distortions import BRIGHTNESS, COLOUR, CUT, cut_out, distorted, photometric, shift
from jam.pretrain.masked import HIDDEN, MASKED, mask_tokens
from jam.pretrain.text import pretrain_text, word_tokenizer
from jam.pretrain.training import save_cave, warm_up_then_cosine
from jam.pretrain.vision import pretrain_vision

INK = {"red": (230, 30, 30), "green": (30, 230, 30), "blue": (30, 30, 230)}
STEPS = {"batch_size": 16, "learning_rate": 5e-3, "weight_decay": 0.05}
VISION = STEPS | {"objective": "labels", "widths": (8, 8, 8, 16), "epochs": 15, "learning_rate": 1e-2}
TEXT = STEPS | {"objective": "causal", "width": 32, "layers": 2, "heads": 2, "epochs": 20}
MASK = TEXT | {"objective": "masked"}


def colored_squares(name, n, seed=0, **columns):
    """Pictures with a coloured square left and right, a true sentence, and labels."""
    rng, rows = np.random.default_rng(seed), []
    for i in range(n):
        left, right = rng.choice(list(INK), 2)
        pixels = rng.integers(0, 40, (16, 16, 3), dtype=np.uint8)
        pixels[4:12, 1:7], pixels[4:12, 9:15] = INK[left], INK[right]
        row = {
            "id": f"{name}-{i}",
            "image": {"bytes": png(Image.fromarray(pixels)), "path": ""},
            "captions": [f"Left is {left}, right is {right}", f"right is {right}, left is {left}"][:: (-1) ** i],
            "negatives": [],
            "context": "",
            "labels": [{"name": "left_color", "value": left}, {"name": "right_color", "value": right}],
            "reality": [0.0],
        }
        rows.append(row | columns)
    return rows


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    """A world of three splits, and a table to pretrain on, ``images.parquet``."""
    root = tmp_path_factory.mktemp("squares")
    pretraining_table(root / "images.parquet", colored_squares("images", 160))
    sizes = {"train": 80, "val": 40, "test": 40}
    return write_rows(
        root, **{name: colored_squares(name, n, seed) for seed, (name, n) in enumerate(sizes.items(), start=1)}
    )


def pretrained(images, recipe, folder, **changes):
    """What a training gives, and its folder."""
    pretrain, modality = (pretrain_vision, "image") if "widths" in recipe else (pretrain_text, "text")
    made = pretrain(images, **recipe | changes)
    save_cave(folder, made.model, made.processor, name="e", modality=modality, recipe=recipe)
    return made, folder


def probed(folder, world, scratch) -> tuple[Encoder, FeatureStore, dict[str, float]]:
    encoder = Encoder.load(folder, device="cpu")
    views = world / "views" / f"{encoder.modality}.parquet"
    store = extract_features(encoder, views, scratch / "features", scratch=scratch / "scratch")
    return encoder, store, probes(store, world)


def probes(store, world) -> dict[str, float]:
    """Label → accuracy on test items of a linear classifier of the last layer, fitted on training items."""
    x = {split: store.layer(-1)[store.rows(split, "true")["row"]] for split in ("train", "test")}
    labels = {}
    for split in x:
        told = {row["id"]: row["labels"] for row in read_rows(world, split)}
        labels[split] = [{label["name"]: label["value"] for label in told[i]} for i in store.rows(split, "true")["id"]]
    found = {}
    for name in labels["train"][0]:
        y = {split: [row[name] for row in rows] for split, rows in labels.items()}
        found[name] = (
            make_pipeline(StandardScaler(), RidgeClassifier()).fit(x["train"], y["train"]).score(x["test"], y["test"])
        )
    return found


def folders_equal(first, second):
    names = sorted(path.name for path in first.iterdir())
    assert names == sorted(path.name for path in second.iterdir())
    contents = [(first / name).read_bytes() for name in names]
    assert not any(str(first).encode() in content for content in contents)  # nothing tells where it was made
    return contents == [(second / name).read_bytes() for name in names]


# --- vision -----------------------------------------------------------------------------------------------------------


def test_pretrained_vision_reads_unseen_images(squares, tmp_path):
    made, folder = pretrained(squares / "images.parquet", VISION, tmp_path / "a")
    assert made.loss < 2 * math.log(3) / 2  # two labels of three values, at chance ln 3 each
    encoder, store, accuracy = probed(folder, squares, tmp_path)
    assert list(accuracy) == ["left_color", "right_color"]
    assert min(accuracy.values()) > 0.9
    rows = {split: read_rows(squares, split) for split in ("train", "val", "test")}
    others = {
        split: [row | {"labels": other["labels"]} for row, other in zip(mine, reversed(mine), strict=True)]
        for split, mine in rows.items()
    }
    turned = write_rows(tmp_path / "turned", **others)
    at_random = probes(store, turned)
    assert max(at_random.values()) < 0.6  # the labels of other images
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8))
    # In memory and from the folder: the same features, preprocessing included.
    direct = made.model((image.permute(2, 0, 1)[None] / 127.5) - 1).pooler_output.flatten(1)
    np.testing.assert_allclose(encoder.encode([Image.fromarray(image.numpy())]), direct.detach(), atol=1e-5)


def test_shift_moves_each_image_and_repeats_its_edge():
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    batch = torch.cat([ramp, ramp.transpose(2, 3)], dim=1).repeat(64, 1, 1, 1)
    shifted = shift(batch, 2, torch.Generator().manual_seed(0))
    moves = set()
    for image in shifted:
        right, down = int(image[0, 0, 4]) - 4, int(image[1, 4, 0]) - 4
        expected = (torch.arange(8) + right).clamp(0, 7).float()
        assert torch.equal(image[0], expected.expand(8, 8))
        assert torch.equal(image[1], (torch.arange(8) + down).clamp(0, 7).float()[:, None].expand(8, 8))
        moves.add((right, down))
    assert {move for pair in moves for move in pair} == {-2, -1, 0, 1, 2}


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        (20, {"image": None}, "t-0: got no image"),
        (20, {"labels": []}, "t-0: got labels"),
        (5, {}, "got 5 images, expected at least one batch of 16"),
    ],
)
def test_vision_needs_a_batch_of_images_and_labels(tmp_path, rows, columns, message):
    with pytest.raises(InputError, match=message):
        pretrain_vision(pretraining_table(tmp_path / "t.parquet", colored_squares("t", rows, **columns)), **VISION)


# --- contrastive ------------------------------------------------------------------------------------------------------

VIEWS = STEPS | {"objective": "contrastive", "widths": (16, 16, 16, 16), "epochs": 25}
SENTENCES = STEPS | {"objective": "contrastive", "width": 32, "layers": 2, "heads": 2, "epochs": 15}


def test_contrastive_images_find_their_other_view(tmp_path):
    rng, rows = np.random.default_rng(0), []
    for i in range(160):  # patches of colour, other ones in each
        pixels = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8).repeat(4, axis=0).repeat(4, axis=1)
        rows.append(
            random_rows(f"p{i}", 1, labels=[])[0] | {"image": {"bytes": png(Image.fromarray(pixels)), "path": ""}}
        )
    made, folder = pretrained(pretraining_table(tmp_path / "t.parquet", rows), VIEWS, tmp_path / "e")
    assert made.loss < math.log(2 * VIEWS["batch_size"] - 1) - 0.4  # chance: one of 31 views; no label is needed
    assert len(Encoder.load(folder, device="cpu").dims) == 5


def test_contrastive_texts_learn_what_sentences_of_a_document_share(squares, tmp_path):
    accuracy = {}
    for name, changes in (("hardly", {"epochs": 1, "learning_rate": 1e-9}), ("trained", {})):
        made, folder = pretrained(squares / "images.parquet", SENTENCES, tmp_path / name, **changes)
        accuracy[name] = np.mean(list(probed(folder, squares, tmp_path / f"{name}-probed")[2].values()))
    assert made.loss < math.log(2 * SENTENCES["batch_size"] - 1) - 0.5  # of nine different things
    assert accuracy["trained"] > max(accuracy["hardly"] - 0.02, 0.6)  # chance 1/3


def test_contrastive_texts_need_two_sentences_of_a_document(tmp_path):
    pretraining_table(tmp_path / "t.parquet", random_rows("t", 20, captions=["red is red"]))
    with pytest.raises(InputError, match="got 0 documents of two sentences or more, expected at least one batch of 16"):
        pretrain_text(tmp_path / "t.parquet", **SENTENCES)


def test_nt_xent_by_hand():
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((2, 5, 4))
    views = [view / np.linalg.norm(view) for view in (*first, *second)]
    total = 0.0
    for i, view in enumerate(views):
        score = {j: math.exp(view @ other / 0.3) for j, other in enumerate(views) if j != i}
        total -= math.log(score[(i + 5) % 10] / sum(score.values()))
    got = nt_xent(torch.tensor(first), torch.tensor(second) * 7, 0.3)
    assert got.item() == pytest.approx(total / 10)


def test_distortions_by_hand():
    generator = torch.Generator().manual_seed(0)
    batch = torch.rand(200, 3, 32, 48, generator=generator) * 2 - 1
    cut = cut_out(batch, generator)
    gone = (cut != batch).any(dim=1)
    assert (gone.sum(dim=(1, 2)) == CUT * CUT).all()  # one square of each, wherever
    assert len({tuple(image.nonzero()[0].tolist()) for image in gone}) > 150
    assert (cut[gone[:, None].expand_as(cut)] == -0.7).all()
    gains = (photometric(batch * 0.2 - 0.6, generator) + 1) / (batch * 0.2 + 0.4)
    each = gains.flatten(2)
    assert torch.allclose(each, each[:, :, :1].expand_as(each), atol=1e-5)  # one gain an image and colour
    assert float(gains.min()) >= (1 - BRIGHTNESS) * (1 - COLOUR) - 1e-5
    assert float(gains.max()) <= (1 + BRIGHTNESS) * (1 + COLOUR) + 1e-5
    tilt = each[:, :, 0] / each[:, :, 0].mean(dim=1, keepdim=True)
    assert 0.05 < float((tilt - 1).abs().max()) <= 2 * COLOUR
    assert float(photometric(batch, generator).max()) <= 1
    first, again = (distorted(batch, 2, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first, again)


# --- checkpoints ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", [VIEWS, SENTENCES, VISION, TEXT, MASK], ids=str)
def test_checkpoints_are_the_encoder_as_it_was_then_and_change_nothing(squares, tmp_path, recipe):
    short = recipe | {"epochs": 2}
    pretrain = pretrain_vision if "widths" in recipe else pretrain_text
    plain, kept = (pretrain(squares / "images.parquet", **short, checkpoints=at) for at in ((), (0, 50)))
    for name, weight in plain.model.state_dict().items():
        assert torch.equal(weight, kept.model.state_dict()[name]), name
    assert list(kept.checkpoints) == [0, 50]
    modality = "image" if "widths" in recipe else "text"
    told = {"name": "e", "modality": modality, "recipe": short}
    save_cave(tmp_path / "e", kept.model, kept.processor, **told, checkpoints=kept.checkpoints)
    item = [Image.new("RGB", (16, 16), (200, 30, 30))] if modality == "image" else ["left is red"]
    then = [
        Encoder.load(tmp_path / "e" / at, device="cpu").encode(item) for at in ("checkpoints/0", "checkpoints/50", "")
    ]
    assert not np.allclose(then[0], then[1])
    assert not np.allclose(then[1], then[2])
    untrained = pretrain(squares / "images.parquet", **short | {"learning_rate": 1e-12, "weight_decay": 0.0})
    save_cave(tmp_path / "u", untrained.model, untrained.processor, **told)
    if modality == "text":  # batch norms of a convnet follow the images even without learning
        np.testing.assert_allclose(Encoder.load(tmp_path / "u", device="cpu").encode(item), then[0], atol=1e-5)


# --- text -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def language_model(squares, tmp_path_factory):
    return pretrained(squares / "images.parquet", TEXT, tmp_path_factory.mktemp("text") / "t")


@pytest.fixture(scope="module")
def masked_model(squares, tmp_path_factory):
    return pretrained(squares / "images.parquet", MASK, tmp_path_factory.mktemp("masked") / "m")


def test_pretrained_text_predicts_unseen_sentences(language_model, squares, tmp_path):
    _, folder = language_model
    # 8 tokens a sentence with the end, of which order (1 of 2) and two colours (1 of 3 each) are free.
    texts = [f"Left is {a}, right is {b}" for a in INK for b in INK]
    texts += [f"right is {b}, left is {a}" for a in INK for b in INK]
    quality = perplexity(folder, texts, batch_size=4)
    assert quality["unknown"] == 0
    assert quality["perplexity"] == pytest.approx(math.exp((math.log(2) + 2 * math.log(3)) / 8), rel=0.1)
    assert perplexity(folder, ["left is mauve"])["unknown"] == 1 / 4
    encoder, _, accuracy = probed(folder, squares, tmp_path)
    assert encoder.dims == (32, 32, 32)
    assert np.mean(list(accuracy.values())) > 0.5


def test_a_document_that_says_it_again_is_predicted_from_what_it_said(language_model):
    made, _ = language_model
    tokenizer = made.processor
    sentences = tokenizer(["left is red, right is blue", "right is blue, left is red"], add_special_tokens=False)
    first, again = sentences["input_ids"]
    document = [tokenizer.bos_token_id, *first, tokenizer.eos_token_id, *again]
    with torch.no_grad():
        probability = made.model(torch.tensor([document])).logits[0].softmax(dim=-1)
    blue = document.index(tokenizer.convert_tokens_to_ids("blue"), len(first) + 2)
    assert probability[blue - 1, document[blue]] > 0.8  # 1 in 3 from grammar alone


def test_word_tokenizer():
    tokenizer = word_tokenizer(["Red seven, blue nine", "red"])
    assert tokenizer.convert_ids_to_tokens(range(5)) == ["<pad>", "<bos>", "<eos>", "<unk>", "red"]
    ids = tokenizer("SEVEN,red mauve")["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids) == ["<bos>", "seven", ",", "red", "<unk>", "<eos>"]


def test_text_needs_captions(tmp_path):
    pretraining_table(tmp_path / "t.parquet", random_rows("t", 3, captions=[]))
    with pytest.raises(InputError, match="got no captions"):
        pretrain_text(tmp_path / "t.parquet", **TEXT)
    with pytest.raises(ValueError, match="expected a multiple of 3 heads"):
        pretrain_text(tmp_path / "t.parquet", **TEXT | {"heads": 3})
    pretraining_table(tmp_path / "t.parquet", random_rows("t", 3, captions=[" "]))
    with pytest.raises(InputError, match="got captions without a word"):
        pretrain_text(tmp_path / "t.parquet", **TEXT)


# --- text, masked -----------------------------------------------------------------------------------------------------


def test_masked_text_guesses_unseen_sentences(masked_model, squares, tmp_path):
    made, folder = masked_model
    texts = [f"Left is {a}, right is {b}" for a in INK for b in INK]
    quality = perplexity(folder, texts)
    assert quality["unknown"] == 0
    # Of 7 tokens only the two colours (1 of 3 each) are not settled by the others.
    assert quality["perplexity"] == pytest.approx(math.exp(2 * math.log(3) / 7), rel=0.15)
    encoder, _, accuracy = probed(folder, squares, tmp_path)  # through AutoModel: the head is dropped, and nothing else
    assert np.mean(list(accuracy.values())) > 0.5
    assert encoder.dims == (32, 32, 32)
    assert encoder.describe()["architecture"] == "ModernBertModel"
    with torch.no_grad():
        inputs = made.processor("left is red", return_tensors="pt")
        state = made.model.model(**inputs).last_hidden_state.mean(dim=1)
    np.testing.assert_allclose(encoder.encode(["left is red"]), state, atol=1e-5)


def test_a_share_of_words_is_masked_and_nothing_else():
    tokenizer = word_tokenizer(WORDS, mask=True)
    assert tokenizer.convert_ids_to_tokens(range(5)) == ["<pad>", "<bos>", "<eos>", "<unk>", "<mask>"]
    batch = torch.randint(5, len(tokenizer), (400, 20), generator=torch.Generator().manual_seed(0))
    batch[:, 0], batch[:, 12], batch[:, 13:] = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
    seen, targets = mask_tokens(batch, tokenizer, torch.Generator().manual_seed(1))
    guessed = targets != IGNORED
    assert not guessed[:, 0].any()
    assert not guessed[:, 12:].any()
    assert guessed[:, 1:12].float().mean().item() == pytest.approx(MASKED, abs=0.02)
    assert torch.equal(targets[guessed], batch[guessed])
    assert torch.equal(seen[~guessed], batch[~guessed])
    hidden = seen[guessed] == tokenizer.mask_token_id
    assert hidden.float().mean().item() == pytest.approx(HIDDEN, abs=0.04)
    changed = seen[guessed][~hidden] != batch[guessed][~hidden]
    assert changed.float().mean().item() == pytest.approx(0.5 * (1 - 1 / len(WORDS)), abs=0.1)
    assert int(seen[guessed][~hidden].min()) >= 5
    again = mask_tokens(batch, tokenizer, torch.Generator().manual_seed(1))
    assert torch.equal(again[0], seen)
    assert torch.equal(again[1], targets)


def test_masked_loss_counts_masked_positions_alone_and_padding_never(masked_model):
    made, folder = masked_model
    mask = made.processor.mask_token_id
    inputs = torch.tensor([[1, 5, mask, 7, 2], [1, mask, 2, 0, 0]])
    targets = torch.tensor([[IGNORED, IGNORED, 6, 7, IGNORED], [IGNORED, 8, IGNORED, IGNORED, IGNORED]])
    with torch.no_grad():
        loss, count = masked_token_loss(made.model, inputs, targets, pad=0)
        logs = [made.model(row[row != 0][None]).logits[0].log_softmax(dim=-1) for row in inputs]  # without padding
    assert count == 3
    assert loss.item() == pytest.approx(-(logs[0][2, 6] + logs[0][3, 7] + logs[1][1, 8]).item(), rel=1e-4)
    encoder = Encoder.load(folder, device="cpu")
    texts = ["left is red", "right is blue, left is green"]
    for state, alone in zip(encoder.hidden_states(texts), encoder.hidden_states(texts[:1]), strict=True):
        torch.testing.assert_close(state[:1], alone, atol=1e-5, rtol=1e-4)


# --- all objectives ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", [VISION, VIEWS, TEXT, MASK, SENTENCES], ids=str)
def test_same_seed_same_bytes_and_another_seed_others(squares, tmp_path, recipe):
    state = torch.get_rng_state()
    images = squares / "images.parquet"
    for name, seed in (("a", 1), ("deep/b", 1), ("c", 2)):
        pretrained(images, recipe, tmp_path / name, epochs=1, seed=seed)
    assert folders_equal(tmp_path / "a", tmp_path / "deep" / "b")
    assert not folders_equal(tmp_path / "a", tmp_path / "c")
    assert torch.equal(torch.get_rng_state(), state)  # the caller's generator is left alone


@pytest.mark.parametrize("masked", [False, True])
def test_perplexity_by_hand(language_model, masked_model, masked):
    folder = (masked_model if masked else language_model)[1]
    model = (AutoModelForMaskedLM if masked else AutoModelForCausalLM).from_pretrained(folder).eval()
    tokenizer = Encoder.load(folder, device="cpu").processor
    texts, loss, count = ["left is red", "right is blue, left is green", "is mauve"], 0.0, 0
    for text in texts:
        ids = tokenizer(text)["input_ids"]
        for i in range(1, len(ids) - masked):  # <eos> is no guess of a masked model
            given = [*ids[:i], tokenizer.mask_token_id, *ids[i + 1 :]] if masked else ids[:i]
            with torch.no_grad():
                logs = model(torch.tensor([given])).logits[0, i if masked else -1].log_softmax(dim=-1)
            loss, count = loss - logs[ids[i]].item(), count + 1
    assert perplexity(folder, texts)["perplexity"] == pytest.approx(math.exp(loss / count), rel=1e-4)


# --- schedule ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 2, 5, 10, 97])
def test_learning_rate_rises_then_falls_and_never_stops_short(steps):
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=2.0)
    schedule = warm_up_then_cosine(optimizer, steps, 0.1)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    peak = rates.index(max(rates))
    assert max(rates) == 2.0
    assert peak == max(1, round(0.1 * steps)) - 1
    assert all(a < b for a, b in pairwise(rates[: peak + 1]))
    assert all(a > b > 0 for a, b in pairwise(rates[peak:]))
