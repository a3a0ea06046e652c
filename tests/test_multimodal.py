"""Multimodal models pretrained here: pairs that leak nothing, parts of objectives, towers as encoders."""

import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from jam.data.images import decode_image
from jam.data.schema import View, read_items, read_rows, read_table, write_world
from jam.encoders import Encoder
from jam.encoders.token_loss import IGNORED, masked_token_loss
from jam.errors import InputError
from jam.losses.con import contrastive_loss
from jam.multimodal import drawing
from jam.multimodal.fusion import (
    Language,
    hard_negatives,
    language_loss,
    matching_loss,
)
from jam.multimodal.objective import PARTS
from jam.multimodal.pairs import Pairs, wrong_sources
from jam.multimodal.patches import mask_patches, patch_loss, patches_of
from jam.multimodal.towers import text_model, vit
from jam.multimodal.training import pretrain_pairs, write_towers
from jam.params.multimodal import MultimodalSpec
from jam.pretrain.masked import mask_tokens
from jam.world.build import build_world, pools_of
from jam.world.sets import SETS, set_of
from jam.world.state import STATE_DIM, codes_of, states_of_facts

SPEECH = {"objects": 3, "one_object": 0.08, "synonyms": 0.85, "mention": 0.85, "seed": 3}
WORLD = {"habitats": 20, "nuisance": 1.0, **SPEECH}
VIT = {"architecture": "vit", "width": 16, "layers": 1, "heads": 2}
CONVNET = {"architecture": "convnet", "widths": [16, 16, 16, 16], "depths": [1, 1, 1, 1]}
TEXT = {"width": 16, "layers": 1, "heads": 2}
RECIPE = {"text": TEXT, "latent": 8, "pairs": 48, "batch_size": 16, "learning_rate": 0.01, "weight_decay": 0.05}


def with_states(*given):
    """Pairs, and the states that they were drawn of."""
    states, without = [], drawing._without
    with pytest.MonkeyPatch.context() as patch:

        def noted(*drawn):
            found = without(*drawn)
            states.append(found.states)
            return found

        patch.setattr(drawing, "_without", noted)
        return drawing.draw_pairs(*given, **WORLD), states[0]


@pytest.fixture(scope="module")
def drawn():
    return with_states(300, 3)


@pytest.fixture(scope="module")
def table(drawn, tmp_path_factory):
    path = tmp_path_factory.mktemp("pairs") / "pairs.parquet"
    drawing.write_pairs(path, drawn[0])
    return path


@pytest.fixture(scope="module")
def made(table):
    return pretrain_pairs(
        table, objective="blip", image=VIT, epochs=1, seed=0, checkpoints=(0, 50), **RECIPE
    )  # fmt: skip


# --- pairs ------------------------------------------------------------------------------------------------------------


def test_pairs_share_no_state_scan_or_sentence_with_what_is_tested(drawn, tmp_path):
    sizes = {"pretrain_images": 30, "pretrain_text": 30, "train": 30, "val": 40, "test": 40, "fine": 4, "edits": 3}
    world = build_world(captions=3, **sizes, **WORLD)
    write_world(tmp_path, world.rows, STATE_DIM)
    taken = drawing.sentences(tmp_path, drawing.TESTED)
    told = [view for split in ("val", "test", "fine") for row in world.rows[split] for view in row["captions"]]
    assert {view.content if isinstance(view, View) else view for view in told} <= taken
    assert {one["text"] for split in ("val", "test") for row in world.rows[split] for one in row["negatives"]} <= taken
    free, _ = drawn
    some = frozenset({free[0]["captions"][0], free[7]["captions"][1]})  # sentences that would be drawn otherwise
    known = drawing.tested_states(tmp_path)
    rows, states = with_states(300, 3, taken | some, known)
    assert not {text for row in rows for text in row["captions"]} & (taken | some)
    assert all(len(set(row["captions"])) == 3 for row in rows)
    assert (set_of(states, WORLD["seed"]) == SETS.index("images")).all()
    for split in ("train", "val", "test"):
        assert not set(codes_of(states)) & set(codes_of(world.sets[split].states))
    fine = states_of_facts(np.stack([row["reality"] for row in world.rows["fine"]]))
    assert not set(codes_of(states)) & set(codes_of(fine))
    assert set(codes_of(fine)) <= set(codes_of(known))
    free_states = with_states(300, 3)[1]  # were some of these tested on, others would take their place
    others = with_states(300, 3, (), free_states[:10])[1]
    assert not set(codes_of(others)) & set(codes_of(free_states[:10]))
    allowed = {scan for own in pools_of(WORLD["seed"])["images"] for scan in own}
    paths = [row["image"]["path"].removesuffix(".png").split("-")[1:] for row in rows]
    assert {int(scan) for path in paths for scan in path} <= allowed


def test_the_first_pairs_are_the_same_however_many_are_drawn(drawn):
    assert drawing.draw_pairs(20, 3, **WORLD) == drawn[0][:20]


def test_a_shifted_domain_is_a_world_of_its_own(drawn, tmp_path):
    pairs, states = drawn
    taken = {text for row in pairs for text in row["captions"]}
    told = SPEECH | {"habitats": 0, "nuisance": 2.0}
    rows = drawing.draw_shifted(30, 2, taken, **told)
    drawing.write_shifted(tmp_path, rows)
    read = read_rows(tmp_path, "test")
    assert len(read) == 30
    assert all(len(row["captions"]) == 2 and row["image"] for row in read)
    assert not {text for row in read for text in row["captions"]} & taken
    found = read_items(tmp_path, "test").column("state").to_pylist()
    assert not set(codes_of(states)) & set(codes_of(states_of_facts(np.array(found))))


@pytest.mark.parametrize("wrong", [0.0, 0.3, 1.0])
def test_the_share_of_wrong_captions_is_exact(wrong):
    source = wrong_sources(200, wrong, np.random.default_rng(0))
    assert (source != np.arange(200)).sum() == wrong * 200
    assert sorted(source) == list(range(200))


def test_one_wrong_pair_has_nobody_to_exchange_with():
    with pytest.raises(ValueError, match="at least two"):
        wrong_sources(10, 0.1, np.random.default_rng(0))


def test_wrong_captions_are_those_of_the_other_row(table):
    pairs = Pairs(table, 20, 0.5, np.random.default_rng(1))
    batch = pairs.batch(np.arange(20), np.random.default_rng(0))
    for row, tokens in enumerate(batch.tokens):
        text = pairs.tokenizer.decode(tokens, skip_special_tokens=True)
        own = pairs.captions[pairs.source[row]]
        assert text in [
            pairs.tokenizer.decode(ids, skip_special_tokens=True) for ids in pairs.tokenizer(own)["input_ids"]
        ]


# --- parts ------------------------------------------------------------------------------------------------------------


def test_contrastive_loss_is_its_plain_twin_without_equal_captions():
    torch.manual_seed(0)
    v, t = torch.randn(2, 5, 3)
    same = torch.eye(5, dtype=torch.bool)
    same[1, 3] = same[3, 1] = True
    a, b = v / v.norm(dim=1, keepdim=True), t / t.norm(dim=1, keepdim=True)
    terms = []
    for i in range(5):
        others = [j for j in range(5) if j == i or not same[i, j]]
        for one, two in ((a, b), (b, a)):
            logits = [7.0 * float(one[i] @ two[j]) for j in others]
            terms.append(math.log(sum(map(math.exp, logits))) - 7.0 * float(one[i] @ two[i]))
    assert float(contrastive_loss(v, t, 7.0, same)) == pytest.approx(sum(terms) / len(terms), abs=1e-5)


def test_pairs_of_one_caption_are_the_same_and_no_others(table):
    pairs = Pairs(table, 4, 0.0, np.random.default_rng(0))
    pairs.captions[2] = pairs.captions[0] = pairs.captions[0][:1]
    same = pairs.batch([0, 1, 2, 3], np.random.default_rng(0)).same
    assert same.nonzero().tolist() == [[0, 0], [0, 2], [1, 1], [2, 0], [2, 2], [3, 3]]


def test_hard_negatives_are_false_and_drawn_by_the_softmax_of_their_logits():
    logits = torch.tensor([[9.0, 1.0, 0.0, 9.0], [0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    same = torch.eye(4, dtype=torch.bool)
    same[0, 3] = same[3, 0] = True
    same[2] = True
    generator, drawn = torch.Generator().manual_seed(0), []
    for _ in range(4000):
        rows, columns = hard_negatives(logits, same, generator)
        assert rows.tolist() == [0, 1, 3]  # of row 2 nothing is false
        assert not same[rows, columns].any()
        drawn.append(int(columns[0]))
    assert set(drawn) == {1, 2}
    assert np.mean(np.array(drawn) == 1) == pytest.approx(math.e / (1 + math.e), abs=0.03)


def test_matching_labels_are_one_for_pairs_alone():
    """A judge that knows which text is whose is right; the twins' sum says how many were asked."""
    asked = []

    def judge(texts, real, images):
        right = texts[:, 0, 0] == images[:, 0, 0]
        asked.append(right)
        return torch.where(right, 50.0, -50.0)

    numbers = torch.arange(6.0).view(6, 1, 1)
    given = (numbers, torch.ones(6, 1, dtype=torch.bool), numbers, torch.randn(6, 6), torch.eye(6, dtype=torch.bool))
    loss = matching_loss(judge, *given, torch.Generator().manual_seed(0))
    assert float(loss) == pytest.approx(0, abs=1e-6)
    assert asked[0].tolist() == [True] * 6 + [False] * 12


def language():
    torch.manual_seed(0)
    return Language(words=20, longest=16, width=8, image_width=6), torch.randn(2, 3, 6)


def test_language_loss_is_shifted_once_and_ignores_padding():
    head, images = language()
    tokens = torch.tensor([[1, 7, 8, 2, 0], [1, 9, 2, 0, 0]])
    loss = language_loss(head, tokens, tokens != 0, images)
    terms = []
    for row, length in enumerate((4, 3)):
        alone = head(tokens[row : row + 1, :length], images[row : row + 1])[0].log_softmax(-1).detach()
        terms += [-float(alone[i, tokens[row, i + 1]]) for i in range(length - 1)]
    assert loss.item() == pytest.approx(np.mean(terms), abs=1e-5)
    longer = torch.nn.functional.pad(tokens, (0, 4))
    assert language_loss(head, longer, longer != 0, images).item() == pytest.approx(loss.item(), abs=1e-6)


def test_language_sees_no_later_word_but_the_image():
    head, images = language()
    tokens = torch.tensor([[1, 7, 8, 2]])
    plain, later, other = (
        head(tokens, images[:1]), head(torch.tensor([[1, 7, 9, 5]]), images[:1]), head(tokens, images[1:])
    )  # fmt: skip
    assert torch.allclose(plain[:, :2], later[:, :2], atol=1e-6)
    assert not torch.allclose(plain, other, atol=1e-3)


def test_patches_are_numbered_as_a_vit_numbers_them():
    model, pixels = vit((32, 48), 8, 1, 2), torch.randn(2, 3, 32, 48)
    conv = model.embeddings.patch_embeddings.projection
    seen = model.embeddings.patch_embeddings(pixels)
    assert torch.allclose(patches_of(pixels) @ conv.weight.flatten(1).T + conv.bias, seen, atol=1e-5)


def test_patch_loss_is_of_masked_patches_alone():
    generator = torch.Generator().manual_seed(0)
    pixels, tokens, head = torch.randn(4, 3, 32, 48), torch.randn(4, 24, 5), torch.nn.Linear(5, 192)
    grey, masked = mask_patches(pixels, generator)
    assert masked.sum(dim=1).tolist() == [10] * 4
    assert (patches_of(grey)[masked] == 0).all()
    assert torch.equal(patches_of(grey)[~masked], patches_of(pixels)[~masked])
    loss = patch_loss(head, tokens, pixels, masked)
    elsewhere = tokens + 9 * (~masked).float().unsqueeze(-1)
    assert float(patch_loss(head, elsewhere, pixels, masked)) == float(loss)
    assert float(patch_loss(head, tokens + 1, pixels, masked)) != float(loss)


def test_word_loss_is_of_masked_words_alone(table):
    pairs = Pairs(table, 8, 0.0, np.random.default_rng(0))
    torch.manual_seed(0)
    model, pad = text_model(pairs.tokenizer, TEXT), pairs.tokenizer.pad_token_id
    tokens = pairs.batch(range(8), np.random.default_rng(0)).tokens
    seen, targets = mask_tokens(tokens, pairs.tokenizer, torch.Generator().manual_seed(0))
    loss, count = masked_token_loss(model, seen, targets, pad)
    assert count == (targets != IGNORED).sum()
    assert not (targets[tokens == pad] != IGNORED).any()
    logits = model(input_ids=seen, attention_mask=(seen != pad).long()).logits.log_softmax(-1)
    terms = [-float(logits[i, j, tokens[i, j]]) for i, j in (targets != IGNORED).nonzero().tolist()]
    assert float(loss) == pytest.approx(sum(terms), rel=1e-5)


# --- towers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("objective", "image"), [("clip", CONVNET), ("align", VIT), ("blip", CONVNET), ("flava", VIT)])
def test_every_objective_learns_its_pairs(table, objective, image):
    wrong = {"wrong": 0.25} if objective == "align" else {}
    told = {"objective": objective, "image": image, "seed": 0, **RECIPE, **wrong}
    assert set(PARTS) == {"clip", "align", "blip", "flava"}
    short, long = (pretrain_pairs(table, epochs=epochs, **told).loss for epochs in (1, 6))
    assert long < short


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(("objective", "image"), [("clip", CONVNET), ("blip", VIT), ("flava", VIT)])
def test_a_gpu_learns_what_a_cpu_does(table, objective, image):
    told = {"objective": objective, "image": image, "seed": 0, "epochs": 2, "checkpoints": (50,), **RECIPE}
    here, there = (pretrain_pairs(table, device=device, **told) for device in ("cpu", "cuda"))
    assert there.loss == pytest.approx(here.loss, rel=0.02)
    assert all(weight.device.type == "cpu" for weight in there.towers.state_dict().values())
    assert all(weight.device.type == "cpu" for weight in there.checkpoints[50].values())


def test_equal_seeds_give_equal_bytes_and_others_do_not(made, table, tmp_path):
    told = {"objective": "blip", "image": VIT, "epochs": 1, "checkpoints": (0, 50), **RECIPE}
    again, other = (pretrain_pairs(table, seed=seed, **told) for seed in (0, 1))
    for name, one in (("a", made), ("b", again), ("c", other)):
        write_towers(tmp_path / name, one, name="m", recipe={})
    files = {path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file()}
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file
    weights = "image/model.safetensors"
    assert (tmp_path / "a" / weights).read_bytes() != (tmp_path / "c" / weights).read_bytes()
    assert list(made.checkpoints) == [0, 50]


def test_checkpoint_zero_is_the_model_before_its_training(made, table):
    # Nothing is learned at a rate of all but nothing.
    told = {"objective": "blip", "image": VIT, "epochs": 1, "seed": 0, **RECIPE, "learning_rate": 1e-12}
    still = pretrain_pairs(table, **told).towers.state_dict()
    for name, weight in made.checkpoints[0].items():
        assert torch.allclose(weight, still[name], atol=1e-6), name
    assert any(not torch.equal(weight, made.checkpoints[50][name]) for name, weight in made.checkpoints[0].items())


@pytest.mark.parametrize("image", [VIT, CONVNET])
def test_a_tower_is_an_encoder_whose_last_layer_is_the_vector(table, tmp_path, image):
    made = pretrain_pairs(table, objective="clip", image=image, epochs=1, seed=0, checkpoints=(0,), **RECIPE)
    write_towers(tmp_path, made, name="m", recipe={"objective": "clip"})
    rows = read_table(table).slice(0, 5).to_pylist()
    items = {
        "image": [decode_image(row["image"]["bytes"]) for row in rows],
        "text": [row["captions"][0] for row in rows],
    }
    for modality, some in items.items():
        encoder, tower = Encoder.load(tmp_path / modality, device="cpu"), made.towers[modality]
        inputs = encoder.prepare(some)
        given = (
            (inputs["pixel_values"],) if modality == "image" else (inputs["input_ids"], inputs["attention_mask"] > 0)
        )
        with torch.no_grad():
            vector = tower(*given).vector
        states = encoder.hidden_states(some)
        projection = load_file(tmp_path / modality / "projection.safetensors")["weight"]
        assert torch.allclose(states[-2] @ projection.T, vector, atol=1e-5)
        assert torch.allclose(states[-1], vector, atol=1e-5)
        assert states[-1].shape == (5, 8)
        assert encoder.manifest.projected
        assert "not the model" in encoder.manifest.recipe["miniature"]
        start = Encoder.load(tmp_path / modality / "checkpoints" / "0", device="cpu")
        assert start.manifest.recipe["trained"] == 0
        assert not torch.allclose(start.hidden_states(some)[-1], vector, atol=1e-3)


def test_another_projection_is_refused(made, tmp_path):
    write_towers(tmp_path, made, name="m", recipe={})
    save_file({"weight": torch.zeros(8, 16)}, tmp_path / "text" / "projection.safetensors")
    with pytest.raises(InputError, match=r"projection\.safetensors: got sha256"):
        Encoder.load(tmp_path / "text", device="cpu")


def test_too_few_pairs_are_an_error(table):
    with pytest.raises(InputError, match="got 300 pairs, expected 301"):
        Pairs(table, 301, 0.0, np.random.default_rng(0))


# --- parameters -------------------------------------------------------------------------------------------------------


def section(**changes):
    own = {"objective": "clip", "image": VIT, "epochs": 1, **RECIPE, **changes.pop("pretraining", {})}
    model = {"source": "cave", "reads": "data/multimodal_pairs", "pretraining": own, **changes}
    return {key: value for key, value in model.items() if value}


def test_a_model_that_fits_names_its_variants():
    assert MultimodalSpec.model_validate(section(checkpoints=[0, 50])).variants == ("checkpoints/0", "checkpoints/50")


def test_pairs_are_drawn_of_the_cave_and_as_many_as_are_asked_for():
    spec = MultimodalSpec.model_validate(section())
    assert not list(spec.problems_with("multimodal.m", "cave", 48))
    assert "expected at most the 47" in next(spec.problems_with("multimodal.m", "cave", 47))
    assert "got source cave with dataset.source hub" in next(spec.problems_with("multimodal.m", "hub", 48))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"pretraining": {"wrong": 0.1}}, "wrong: got 0.1 with objective clip"),
        ({"pretraining": {"objective": "align"}}, "wrong: got None with objective align"),
        ({"pretraining": {"objective": "flava", "image": CONVNET}}, "got a convnet with objective flava"),
        ({"pretraining": {"image": VIT | {"widths": [1, 1, 1, 1]}}}, "widths: got"),
        ({"pretraining": {"image": VIT | {"heads": 3}}}, "expected a multiple of the 3 heads"),
        ({"pretraining": {"batch_size": 49}}, "expected at most the 48 pairs"),
        ({"reads": "data/pretrain"}, "expected data/multimodal_pairs"),
        ({"model": "a/b"}, "got model, which source cave makes no use of"),
        ({"source": "hub", "reads": "jam/hub.py"}, "got no 'model'"),
    ],
)
def test_what_does_not_fit_is_told(changes, told):
    with pytest.raises(ValidationError, match=told):
        MultimodalSpec.model_validate(section(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective": "clipp"}, "objective: got 'clipp'"),
        ({"objective": "flava", "image": CONVNET}, "expected a vit"),
        ({"batch_size": 1}, "batch_size: got 1 of"),
        ({"batch_size": 9999}, "batch_size: got 9999 of"),
        ({"wrong": -0.5}, "expected a share from 0 to 1"),
        ({"checkpoints": (0, 1)}, "expected different ones below 100"),
        ({"checkpoints": (0, 150)}, "expected different ones below 100"),
    ],
)
def test_what_a_training_cannot_do_is_refused(table, changes, message):
    told = {"objective": "align", "image": VIT, "epochs": 1, "seed": 0, **RECIPE} | changes
    with pytest.raises(ValueError, match=message):
        pretrain_pairs(table, **told)


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("captions", ["one two"] * 4, "got captions 'one two', expected a list of sentences"),
        ("captions", [["one"]] * 3 + [[""]], r"3: got captions \[''\]"),
        ("captions", [["one"]] * 3 + [[None, "a"]], "3: got captions"),
        ("image", [b"x"] * 4, "0: got no bytes of an image"),
        ("image", [{"bytes": b"x", "path": None}] * 4, "0: "),
    ],
)
def test_pairs_of_another_form_are_refused_by_their_row(table, tmp_path, column, values, message):
    rows = pq.read_table(table).slice(0, 4)
    told = {name: rows.column(name).to_pylist() for name in ("id", "image", "captions")}
    told |= {"id": [str(i) for i in range(4)], column: values}
    pq.write_table(pa.table(told), tmp_path / "t.parquet")
    with pytest.raises(InputError, match=message):
        Pairs(tmp_path / "t.parquet", 4, 0.0, np.random.default_rng(0))


def test_a_model_is_not_written_among_the_files_of_another(made, tmp_path):
    write_towers(str(tmp_path), made, name="m", recipe={})
    with pytest.raises(InputError, match="expected a new one"):
        write_towers(tmp_path, made, name="m", recipe={})
