"""Pretraining from scratch on one modality, and the quality of what comes out."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.linear_model import RidgeClassifier
from tiny_encoders import WORDS, png, pretraining_table, random_rows, write_rows
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

from jam.data.cave.build import write_cave
from jam.data.cave.scenes import attribute_of_label, scene_labels, scene_of_code
from jam.data.schema import read_rows, read_table
from jam.encoders import Encoder
from jam.encoders.cave import save_cave, warm_up_then_cosine
from jam.encoders.pretrain_masked import HIDDEN, MASKED, mask_tokens
from jam.encoders.pretrain_text import pretrain_text, word_tokenizer
from jam.encoders.pretrain_views import neighbour_batches, nt_xent, one_attribute_apart
from jam.encoders.pretrain_vision import _class_numbers, _shift, pretrain_vision
from jam.encoders.token_loss import IGNORED, masked_token_loss
from jam.errors import InputError
from jam.features import FeatureStore, extract_features
from jam.features.quality import PENALTIES, layer_probes, perplexity, ridge_probes

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
    return encoder, store, layer_probes(store, world)


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
    assert list(accuracy) == ["color"]
    assert accuracy["color"] > 0.9
    turned = write_rows(
        tmp_path / "turned", **{s: list(reversed(read_rows(squares, s))) for s in ("train", "val", "test")}
    )
    at_random = layer_probes(store, turned)
    assert at_random["color"] < 0.6  # the labels of other images
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8))
    # In memory and from the folder: the same features, preprocessing included.
    direct = made.model((image.permute(2, 0, 1)[None] / 127.5) - 1).pooler_output.flatten(1)
    np.testing.assert_allclose(encoder.encode([Image.fromarray(image.numpy())]), direct.detach(), atol=1e-5)


def test_shift_moves_each_image_and_repeats_its_edge():
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    batch = torch.cat([ramp, ramp.transpose(2, 3)], dim=1).repeat(64, 1, 1, 1)
    shifted = _shift(batch, torch.Generator().manual_seed(0))
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


# --- vision, contrastive ----------------------------------------------------------------------------------------------

VIEWS = STEPS | {"objective": "contrastive", "widths": (16, 16, 16, 16), "epochs": 12}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    sizes = {"train": 300, "val": 60, "test": 120, "pretrain_images": 400, "pretrain_text": 1}
    write_cave(root, root, **sizes, captions=1, one_object=0.1, seed=0)
    return root


def test_contrastive_vision_reads_unseen_images(world, tmp_path):
    accuracy = {}
    for name, changes in (("hardly", {"epochs": 1, "learning_rate": 1e-9}), ("trained", {})):
        made, folder = pretrained(world / "images.parquet", VIEWS, tmp_path / name, **changes)
        accuracy[name] = probed(folder, world, tmp_path / f"{name}-probed")[2]
    assert made.loss < math.log(2 * VIEWS["batch_size"] - 1) / 2  # chance: one of 31 views
    assert accuracy["trained"]["color"] > accuracy["hardly"]["color"] + 0.1
    assert accuracy["trained"]["height"] > 0.6  # chance 0.33


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


def test_neighbours_differ_in_one_attribute(world):
    table = read_table(world / "images.parquet", ["id", "labels"])
    labels = table.column("labels").to_pylist()
    targets, classes = _class_numbers(world, table.column("id").to_pylist(), labels)
    attributes = [attribute_of_label(name) for name in classes]
    assert set(attributes) == {"count", "digit", "color", "size", "height"}

    def differ(a, b):
        pairs = zip(labels[a], labels[b], strict=True)
        return {attribute_of_label(one["name"]) for one, other in pairs if one["value"] != other["value"]}

    groups = one_attribute_apart(targets.numpy(), attributes)
    found = {(a, b) for group in groups for a in group.tolist() for b in group.tolist() if a < b}
    assert found == {(a, b) for a in range(400) for b in range(a + 1, 400) if len(differ(a, b)) == 1}
    assert found

    batches = neighbour_batches(groups, 400, 3, 16, np.random.default_rng(0))
    assert len(batches) == 3 * 25
    epochs = torch.cat(batches).reshape(3, 400)
    assert all(sorted(epoch.tolist()) == list(range(400)) for epoch in epochs)  # so no scene is twice in a batch
    assert not torch.equal(epochs[0], epochs[1])
    met = np.mean(
        [any((min(a, b), max(a, b)) in found for b in rows.tolist()) for rows in batches for a in rows.tolist()]
    )
    shuffled = np.random.default_rng(0).permutation(400).reshape(-1, 16)
    by_chance = np.mean([any((min(a, b), max(a, b)) in found for b in rows) for rows in shuffled for a in rows])
    assert met > 5 * by_chance
    assert len(neighbour_batches([], 10, 1, 4, np.random.default_rng(0))) == 2


def test_contrastive_vision_needs_views_of_different_scenes(tmp_path):
    def scenes(name, codes, side=16):
        rng, rows = np.random.default_rng(0), []
        for i, code in enumerate(codes):
            image = Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8))
            row = {"id": f"s-{i}", "image": {"bytes": png(image), "path": ""}, "captions": [], "negatives": []}
            rows.append(row | {"context": "", "labels": scene_labels(scene_of_code(code)), "reality": None})
        return pretraining_table(tmp_path / name, rows)

    images = scenes("images.parquet", range(1, 21))
    with pytest.raises(InputError, match=r"views.parquet: no such file"):
        pretrain_vision(images, **VIEWS)
    scenes("views.parquet", range(1, 20))
    with pytest.raises(InputError, match=r"views.parquet: got other ids than .*images.parquet"):
        pretrain_vision(images, **VIEWS)
    scenes("views.parquet", range(1, 21), side=8)
    with pytest.raises(InputError, match=r"s-0: got an image of \(8, 8\) pixels, expected all of \(16, 16\)"):
        pretrain_vision(images, **VIEWS)
    scenes("images.parquet", [*range(1, 20), 7])
    scenes("views.parquet", [*range(1, 20), 7])
    with pytest.raises(InputError, match="s-19: got the labels of an earlier row"):
        pretrain_vision(images, **VIEWS)


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
    assert accuracy["color"] > 0.5


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
    assert accuracy["color"] > 0.5
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


@pytest.mark.parametrize("recipe", [VISION, VIEWS, TEXT, MASK], ids=lambda recipe: recipe["objective"])
def test_same_seed_same_bytes_and_another_seed_others(squares, world, tmp_path, recipe):
    state = torch.get_rng_state()
    images = (world if recipe == VIEWS else squares) / "images.parquet"
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


# --- quality ----------------------------------------------------------------------------------------------------------


def test_ridge_probes_agree_with_scikit_learn():
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((6, 3))
    features = {split: rng.standard_normal((n, 6)) for split, n in (("train", 300), ("val", 200), ("test", 200))}
    value = {split: (x @ weights + rng.standard_normal((len(x), 3))).argmax(axis=1) for split, x in features.items()}
    labels = {split: [{"shape": WORDS[i]} for i in y] for split, y in value.items()}
    mean, deviation = features["train"].mean(axis=0), features["train"].std(axis=0, ddof=1)
    x = {split: (array - mean) / deviation for split, array in features.items()}
    best = (-1.0, 0.0)
    for penalty in PENALTIES:
        fitted = RidgeClassifier(alpha=penalty).fit(x["train"], value["train"])
        scores = fitted.score(x["val"], value["val"]), fitted.score(x["test"], value["test"])
        best = max(best, scores, key=lambda score: score[0])
    assert ridge_probes(features, labels) == {"shape": pytest.approx(best[1])}
    assert 0.5 < best[1] < 1


def test_layer_probes_of_unlabelled_items_are_empty(language_model, tmp_path):
    splits = {split: random_rows(split, 5, labels=[]) for split in ("train", "val", "test")}
    assert probed(language_model[1], write_rows(tmp_path / "data", **splits), tmp_path)[2] == {}


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
