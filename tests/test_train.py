"""The training loop on two noisy views of one small latent world, and the traps of such loops."""

import dataclasses

import numpy as np
import pytest
import torch

from jam.align import tables
from jam.align.closed_form import fit_closed_form
from jam.align.items import Items, SideRows
from jam.align.setting import first, listed
from jam.align.tables import Mapped
from jam.align.train import train
from jam.align.validation import Validation
from jam.params import Objective, Training

OBJECTIVES = {
    "con": Objective(
        model="autoencoder", loss="con", latent=8, hidden=[16], dropout=0.0, learning_rate=0.01,
        reconstruction=(1.0, 0.1),
    ),
    "negcon": Objective(model="autoencoder", loss="negcon", latent=8, hidden=[16], dropout=0.1, learning_rate=0.01),
    "spread": Objective(model="autoencoder", loss="spread", latent=8, hidden=[16], learning_rate=0.01, alphas=[0.2]),
    "linear": Objective(model="linear", loss="con", latent=8, learning_rate=0.01),
    "mlp": Objective(model="mlp", loss="con", latent=8, expansion=2, learning_rate=0.01),
}  # fmt: skip


def training(**changes):
    values = {
        "criterion": "mean", "batch_size": 32, "epochs": 12, "patience": 12, "weight_decay": 1e-4, "clip_norm": 1.0,
        "temperature": 0.07,
        "learn_temperature": False, "whitening": None, "captions": "sample",
    }  # fmt: skip
    return Training(**{**values, **changes})


def world(n, seed, captions=2, negatives=1):
    """Images and captions as two linear views of a state; a negative tells a state with one value flipped."""
    maps = np.random.default_rng(0)
    see, tell = maps.normal(size=(6, 14)), maps.normal(size=(6, 12))
    rng = np.random.default_rng(seed)
    state = rng.choice([-1.0, 1.0], size=(n, 6)) * rng.uniform(0.5, 1.5, size=(n, 6))
    flipped = state.copy()
    flipped[np.arange(n), rng.integers(0, 6, n)] *= -1
    told = [state] * captions + [flipped] * negatives
    texts = np.concatenate([each @ tell + 0.1 * rng.normal(size=(n, 12)) for each in told]).astype(np.float32)
    images = (state @ see + 0.1 * rng.normal(size=(n, 14))).astype(np.float32)
    rows = np.arange(len(texts)).reshape(-1, n).T
    shown = SideRows(images, np.arange(n)[:, None], np.empty((n, 0), int))
    return Items({"image": shown, "text": SideRows(texts, rows[:, :captions], rows[:, captions:])})


def of_tables(items, **given):
    """The same items, of other tables."""
    sides = {name: dataclasses.replace(side, table=given[name]) for name, side in items.sides.items()}
    return dataclasses.replace(items, sides=sides)


def scores_of(space, items, criterion="mean"):
    adapters = {name: side.adapter for name, side in space.sides.items()}
    return Validation(items, space.pairs, criterion).scores(adapters)


def recall(space, items):
    return scores_of(space, items)["validation_recall"]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_learns_to_retrieve_unseen_pairs(name):
    pairs, validation, unseen = world(400, 1), world(60, 2), world(60, 3)
    trained = train(pairs, validation, OBJECTIVES[name], training(), seed=0)
    assert recall(trained, unseen) > 0.8
    assert not trained["image"].adapter.training


@pytest.mark.parametrize("captions", ["sample", "mean"])
def test_features_larger_than_memory_train_to_the_same_bytes(captions, tmp_path, monkeypatch):
    """Rows of large memory maps are read some at a time, and their pages given back."""
    monkeypatch.setattr(Mapped, "HUGE", 100)
    monkeypatch.setattr(Mapped, "BUDGET", 700)
    given_back = []
    monkeypatch.setattr(tables, "release", lambda table: given_back.append(table))
    pairs, validation = world(100, 1), world(40, 2)
    on_disk = {}
    for name, side in pairs.sides.items():
        np.save(tmp_path / f"{name}.npy", side.table)
        on_disk[name] = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
    runs = [
        train(items, validation, OBJECTIVES["negcon"], training(epochs=2, captions=captions), seed=0)
        for items in (pairs, of_tables(pairs, **on_disk))
    ]
    for name in on_disk:
        one, two = (run[name].adapter.state_dict() for run in runs)
        assert all(torch.equal(value, two[key]) for key, value in one.items())
    parts = -(-32 // 7) * 3 + 1  # of 32 rows, 7 at a time, and of the last batch of 4
    assert sum(table is on_disk["image"] for table in given_back) == 2 * parts


@pytest.mark.parametrize("pooling", ["sample", "mean", "max"])
def test_captions_may_be_pooled_in_feature_space(pooling):
    trained = train(world(200, 1), world(60, 2), OBJECTIVES["con"], training(captions=pooling), seed=0)
    assert trained.chosen["validation_recall"] > 0.5


@pytest.mark.parametrize("name", ["con", "spread"])
def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(name):
    pairs, validation = world(100, 1), world(40, 2)
    runs = [train(pairs, validation, OBJECTIVES[name], training(epochs=2), seed=seed) for seed in (0, 0, 1)]
    states = [run["image"].adapter.state_dict()["tower.encoder.1.weight"].numpy().tobytes() for run in runs]
    assert states[0] == states[1] != states[2]
    assert runs[0].history.equals(runs[1].history)


def test_the_best_epoch_is_kept_and_its_scores_are_those_of_the_adapters():
    validation = world(40, 2)
    # A rate this high overshoots, so that the last epoch is not the best one.
    objective = OBJECTIVES["con"].model_copy(update={"learning_rate": 0.1})
    trained = train(world(100, 1), validation, objective, training(epochs=15, patience=3), seed=0)
    scores = trained.history["validation_score"]
    assert trained.chosen["epoch"] == int(scores.argmax())
    assert trained.chosen["validation_score"] == scores.max()
    assert scores_of(trained, validation)["validation_score"] == scores.max()


def test_early_stopping_counts_epochs_since_the_best_across_epochs():
    # Nothing is learned at this rate, so the first epoch stays the best; a counter reset each epoch never stops.
    objective = OBJECTIVES["con"].model_copy(update={"learning_rate": 1e-12})
    trained = train(world(100, 1), world(40, 2), objective, training(epochs=50, patience=3), seed=0)
    assert len(trained.history) == 1 + 3


def test_the_reconstruction_weight_falls_linearly():
    trained = train(world(100, 1), world(40, 2), OBJECTIVES["con"], training(epochs=4), seed=0)
    np.testing.assert_allclose(trained.history["reconstruction_weight"], [1.0, 0.7, 0.4, 0.1])


def test_without_reconstruction_the_features_are_not_kept():
    kept = OBJECTIVES["con"].model_copy(update={"reconstruction": (1.0, 1.0)})
    pairs, validation = world(200, 1), world(40, 2)
    losses = [
        train(pairs, validation, objective, training(epochs=20), seed=0).history["loss_reconstruction"].iloc[-1]
        for objective in (kept, kept.model_copy(update={"reconstruction": (0.0, 0.0)}))
    ]
    assert losses[0] < 0.6 < 0.9 < losses[1]


def test_cross_reconstruction_lets_one_modality_be_decoded_from_the_other():
    pairs, validation, unseen = world(400, 1), world(40, 2), world(60, 3)
    errors = []
    for weight in (0.0, 1.0):
        objective = OBJECTIVES["con"].model_copy(update={"cross_reconstruction": weight, "reconstruction": (1.0, 1.0)})
        trained = train(pairs, validation, objective, training(epochs=15), seed=0)
        image, text = (trained[name].adapter for name in ("image", "text"))
        v, t = (torch.as_tensor(side.table[side.true[:, 0]]) for side in unseen.sides.values())
        v, from_text = image.standardise.scaled(v), image.tower.decode(text(t))
        errors.append((from_text - v).square().mean().item())
    assert errors[1] < 0.8 * errors[0]


def test_a_learnable_temperature_moves_and_stays_below_its_clamp():
    pairs, validation = world(200, 1), world(40, 2)
    fixed = train(pairs, validation, OBJECTIVES["con"], training(epochs=3), seed=0)
    np.testing.assert_allclose(fixed.history["logit_scale"], 1 / 0.07, rtol=1e-5)
    learned = train(pairs, validation, OBJECTIVES["con"], training(epochs=3, learn_temperature=True), seed=0)
    assert (learned.history["logit_scale"].diff().dropna().abs() > 1e-3).all()
    hot = OBJECTIVES["con"].model_copy(update={"learning_rate": 0.5})
    clamped = train(pairs, validation, hot, training(epochs=8, learn_temperature=True, temperature=0.0101), seed=0)
    assert clamped.history["logit_scale"].max() <= 100.0 * (1 + 1e-6)


def test_the_best_alpha_is_chosen_on_validation_rows():
    objective = OBJECTIVES["spread"].model_copy(update={"alphas": ((1.0, 1.0), (0.2, 0.2))})
    trained = train(world(200, 1), world(60, 2), objective, training(epochs=4), seed=0)
    best = trained.history.groupby("alpha")["validation_score"].max()
    assert set(best.index) == {0.2, 1.0}
    assert trained.chosen["alpha"][0] == best.idxmax()


@pytest.mark.parametrize("n", [2, 33, 63, 64])
def test_a_last_batch_of_any_size_is_trained_on(n):
    trained = train(world(n, 1), world(20, 2), OBJECTIVES["spread"], training(epochs=1), seed=0)
    assert np.isfinite(trained.history["loss_align"]).all()


def test_features_may_be_memory_maps_of_half_precision(tmp_path):
    pairs = world(100, 1)
    for name, side in pairs.sides.items():
        np.save(tmp_path / f"{name}.npy", side.table.astype(np.float16))
    mapped = {name: np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in pairs.sides}
    trained = train(of_tables(pairs, **mapped), world(40, 2), OBJECTIVES["negcon"], training(), seed=0)
    assert trained.chosen["validation_recall"] > 0.5


def test_missing_negatives_and_broken_features_are_named():
    bare = world(50, 1, negatives=0)
    with pytest.raises(ValueError, match="negcon: got items without a hard negative on side text"):
        train(bare, world(20, 2), OBJECTIVES["negcon"], training(), seed=0)
    broken = world(50, 1)
    broken.sides["image"].table[7, 3] = np.nan
    with pytest.raises(ValueError, match="expected finite features"):
        train(broken, world(20, 2), OBJECTIVES["con"], training(), seed=0)


@pytest.mark.parametrize(
    ("method", "grid"),
    [
        ("ridge", {"penalty": [1e-3, 1e3]}),
        ("procrustes", {"components": [2, 12]}),
        ("cca", {"components": [6], "shrinkage": [1e-3, 10.0]}),
    ],
)
def test_closed_forms_retrieve_and_choose_on_validation_rows(method, grid):
    pairs, validation, unseen = world(400, 1), world(60, 2), world(60, 3)
    fitted = fit_closed_form(method, pairs, validation, grid)
    assert len(fitted.history) == np.prod([len(values) for values in grid.values()])
    assert fitted.chosen["validation_score"] == fitted.history["validation_score"].max()
    chance = 1 / 60
    assert recall(fitted, unseen) > 5 * chance
    if method != "procrustes":  # which may only rotate, and the two views are no rotations of each other
        assert recall(fitted, unseen) > 0.8


def three_sides(n, seed):
    """`world` with a third side: of two views more of the same state."""
    items = world(n, seed)
    state = items.sides["image"].table @ np.linalg.pinv(np.random.default_rng(0).normal(size=(6, 14)))
    heard = np.concatenate([state, state]) @ np.random.default_rng(1).normal(size=(6, 10))
    heard += 0.1 * np.random.default_rng(seed).normal(size=heard.shape)
    sound = SideRows(
        heard.astype(np.float32), np.stack([np.arange(n), n + np.arange(n)], axis=1), np.empty((n, 0), int)
    )
    return Items({**items.sides, "sound": sound})


def test_three_sides_are_aligned_in_one_space_and_each_finds_the_others():
    items, validation, unseen = three_sides(400, 1), three_sides(60, 2), three_sides(60, 3)
    space = train(items, validation, OBJECTIVES["con"], training(), seed=0)
    assert space.pairs == (("image", "text"), ("image", "sound"), ("text", "sound"))
    directions = {f"validation_{x}_to_{y}" for x, y in space.pairs} | {f"validation_{y}_to_{x}" for x, y in space.pairs}
    assert directions < set(space.history)
    adapters = {name: side.adapter for name, side in space.sides.items()}
    scores = Validation(unseen, space.pairs).scores(adapters)
    assert min(scores.values()) > 0.7
    # A pair that is left out is aligned through the side in the middle.
    star = train(
        items, validation, OBJECTIVES["con"], training(), pairs=[("image", "text"), ("image", "sound")], seed=0
    )
    adapters = {name: side.adapter for name, side in star.sides.items()}
    assert Validation(unseen, [("text", "sound")]).scores(adapters)["validation_recall"] > 0.5


@pytest.mark.parametrize("name", ["con", "negcon", "spread"])
def test_the_loss_of_a_space_is_the_sum_over_its_pairs_and_a_third_side_leaves_two_as_they_are(name):
    from jam.align.objective import Joint
    from jam.losses import load_loss

    items, objective, pairs = three_sides(32, 1), OBJECTIVES[name], [("image", "text"), ("sound", "text")]
    joint = Joint(objective, training(), first(listed(objective, training())), items, pairs, 0).eval()
    true = {side: torch.as_tensor(rows.table[rows.true[:, 0]]) for side, rows in items.sides.items()}
    false = {"text": torch.as_tensor(items.sides["text"].table[items.sides["text"].false[:, 0]])}
    align, rebuild = joint(*joint.standardised(true, false), true, {}, alpha=0.3)
    z = {side: joint.adapters[side](views) for side, views in true.items()}
    q, options = joint.adapters["text"](false["text"]), {"alpha": 0.3, "neighbours": 0, "context": None}
    loss = load_loss(objective.loss)
    apart = [loss(z[x], z["text"], q, 1 / 0.07, None, **options) for x in ("image", "sound")]
    torch.testing.assert_close(align, sum(apart))
    scaled = {side: joint.adapters[side].standardise.scaled(views) for side, views in true.items()}
    errors = [(joint.adapters[s].tower.decode(z[s]) - scaled[s]).square().mean() for s in true]
    torch.testing.assert_close(rebuild, sum(errors) / 3)


def test_what_is_chosen_by_is_recall_hard_negatives_or_both(monkeypatch):
    """Against plain loops, with several true views an item, each false one made from one of them."""
    items = world(40, 2, captions=3, negatives=2)
    text = items.sides["text"]
    origin = np.random.default_rng(0).integers(0, 3, text.false.shape)
    origin = np.take_along_axis(text.true, origin, axis=1)
    origin[3, 1] = -1  # that view has no features
    items = dataclasses.replace(items, sides={**items.sides, "text": dataclasses.replace(text, origin=origin)})
    space = train(items, items, OBJECTIVES["con"], training(epochs=1), seed=0)
    found = {criterion: scores_of(space, items, criterion) for criterion in ("recall", "hard_negatives", "mean")}
    a, p = (space[name].encode(items.sides[name].table) for name in ("image", "text"))
    right = [
        a[i] @ p[origin[i, m]] > a[i] @ p[text.false[i, m]] for i in range(40) for m in range(2) if origin[i, m] >= 0
    ]
    assert found["mean"]["validation_hard_negatives"] == pytest.approx(np.mean(right))
    recalls = [found["mean"][f"validation_{way}"] for way in ("image_to_text", "text_to_image")]
    assert found["recall"]["validation_score"] == pytest.approx(np.mean(recalls))
    assert found["hard_negatives"]["validation_score"] == pytest.approx(np.mean(right))
    assert found["mean"]["validation_score"] == pytest.approx((np.mean(recalls) + np.mean(right)) / 2)
    bare = scores_of(space, world(40, 2, negatives=0), "hard_negatives")
    assert bare["validation_score"] == bare["validation_recall"]
    assert "validation_hard_negatives" not in bare


def test_a_closed_form_may_choose_its_whitening():
    """What both sides tell lies in directions of little variance, beside one of much: whitening finds it."""
    items, validation = world(400, 1), world(60, 2)

    def drowned(items):
        seen = items.sides["image"]
        loud = 50 * np.random.default_rng(len(items)).normal(size=(len(seen.table), 1)) @ np.ones((1, 14))
        table = (seen.table + loud).astype(np.float32)
        return dataclasses.replace(items, sides={**items.sides, "image": dataclasses.replace(seen, table=table)})

    one, several = (
        fit_closed_form("procrustes", drowned(items), drowned(validation), {"components": [6]}, whitening)
        for whitening in ((None,), (None, 1e-3))
    )
    assert several.chosen["whitening"] == 1e-3
    assert len(several.history) == 2
    assert several.chosen["validation_score"] > one.chosen["validation_score"]
