"""What is chosen by, on what budget, and what chance makes of as many looks."""

import warnings

import numpy as np
import pytest
from test_train import OBJECTIVES, training, world

import jam
from jam.align.adapter import Adapter
from jam.align.closed_form import fit_closed_form
from jam.align.setting import Setting, first, listed, one_by_one
from jam.align.train import train
from jam.align.validation import DRAWS, Validation


def looks(n, number):
    """Validation rows after a number of looks by random adapters, and the last of those."""
    rows = Validation(world(n, 0), [("image", "text")])
    for _ in range(number):
        adapters = {"image": Adapter("linear", 14, 3), "text": Adapter("linear", 12, 3)}
        rows.scores(adapters)
    return rows, adapters


def test_many_looks_at_nothing_are_told_from_a_discovery():
    """Among 50 random spaces the best has a recall that one alone would hardly reach; chance keeps account of it."""
    few, many = (looks(30, number)[0] for number in (1, 50))
    once, often = (rows.chance(looks(30, 1)[1])["validation_null"] for rows in (few, many))
    assert often > once + 0.03
    rows, adapters = looks(30, 20)
    assert rows.chance(adapters)["validation_p"] > 0.05


def test_chance_of_one_look_is_that_of_a_permutation():
    """Of unrelated views each has one chance in n to be the nearest, whatever the space."""
    rows, adapters = looks(50, 1)
    assert rows._best.mean() == pytest.approx(1 / 50, abs=0.01)
    assert len(rows._best) == DRAWS
    told = rows.chance(adapters)
    assert 1 / (1 + DRAWS) <= told["validation_p"] <= 1


def test_what_belongs_together_is_far_from_chance_and_shuffled_pairs_are_not():
    pairs, validation = world(300, 1), world(40, 2)
    space = train(pairs, validation, OBJECTIVES["linear"], training(), seed=0)
    assert space.chosen["validation_p"] == 1 / (1 + DRAWS)
    assert space.chosen["validation_null"] < 0.2 < space.chosen["validation_recall"]
    assert space.doubt is None
    rng = np.random.default_rng(0)
    seen, told = rng.normal(size=(120, 14)), rng.normal(size=(120, 12))
    with pytest.warns(UserWarning, match=r"space: got a recall of .* nothing was aligned that these rows can tell"):
        space = jam.train_space({"image": seen, "text": told}, epochs=4)
    assert space.chosen["validation_p"] > 0.05


def test_settings_are_tried_one_by_one_and_the_best_is_kept():
    values = {"whitening": (None, 1.0, 0.1), "alpha": (None,), "latent": (2, 4), "dropout": (None,),
              "weight_decay": (0.0, 0.1)}  # fmt: skip

    def score(setting: Setting) -> float:
        return (setting.whitening == 1.0) + (setting.latent == 4) - setting.weight_decay

    runs = one_by_one(values, lambda setting: setting, score)
    assert len(runs) == 1 + 2 + 1 + 1
    assert runs[0][0] == Setting(1.0, None, 4, None, 0.0)
    assert [setting.weight_decay for setting, _ in runs].count(0.1) == 1
    assert first(values) == Setting(None, None, 2, None, 0.0)


def test_every_setting_that_is_listed_is_tried_and_told():
    objective = OBJECTIVES["con"].model_copy(update={"latent": (4, 8), "dropout": (0.0, 0.5)})
    schedule = training(whitening=(None, 1.0), weight_decay=(0.0, 1.0), epochs=2)
    space = train(world(100, 1), world(40, 2), objective, schedule, seed=0)
    told = space.history.drop_duplicates("trial")
    assert len(told) == 1 + 4 * 1
    assert set(told["latent"]) == {4, 8}
    assert set(told["dropout"]) == {0.0, 0.5}
    kept = {name: space.chosen[name] for name in ("whitening", "latent", "dropout", "weight_decay")}
    best = space.history.loc[space.history["validation_score"].idxmax()]
    assert kept["latent"] == best["latent"] == space["image"].adapter.config["d_latent"]
    assert kept["dropout"] == space["image"].adapter.config["dropout"]
    assert len(listed(objective, schedule)["latent"]) == 2


def photos(n, seed):
    """A few strong shared directions, strong ones of each side's own, and small noise in hundreds; 3 captions each."""
    maps, rng = np.random.default_rng(1), np.random.default_rng(seed)
    state, who = rng.normal(size=(n, 12)) * np.arange(1, 13) ** -0.3, np.repeat(np.arange(n), 3)

    def side(rows: np.ndarray, width: int) -> np.ndarray:
        shared, own = maps.normal(size=(12, width)), maps.normal(size=(12, width))
        noise = 0.7 * rng.normal(size=(len(rows), width))
        return (rows @ shared + rng.normal(size=rows.shape) @ own + noise).astype(np.float32)

    return {"image": side(state, 300), "text": side(state[who], 200)}, {"image": np.arange(n), "text": who}


def test_defaults_hold_where_a_whitening_for_many_pairs_learns_few_rows_by_heart():
    """160 things: as the cave whitens it is chance; by default a closed form is kept, and is as good as ridge alone."""
    (sides, ids), (unseen, whose) = photos(160, 0), photos(100, 5)

    def recall(space: jam.Space) -> float:
        scores = jam.retrieval_metrics(*(space[name].encode(unseen[name]) for name in unseen), whose["text"])
        return (scores["i2t_r1"] + scores["t2i_r1"]) / 2

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        as_in_the_cave = jam.train_space(sides, ids=ids, latent=64, whitening=0.1, epochs=6, dropout=0.1,
                                         weight_decay=1e-4)  # fmt: skip
    by_default = jam.train_space(sides, ids=ids, epochs=20)
    assert recall(as_in_the_cave) < 0.1
    assert by_default.chosen["loss"] in ("ridge", "cca")
    assert by_default.chosen["validation_p"] < 0.05
    assert recall(by_default) > 0.6


def test_a_closed_form_and_a_training_share_one_record_of_looks():
    rows = Validation(world(40, 2), [("image", "text")])
    fit_closed_form("cca", world(200, 1), rows, {"components": [2, 4, 6], "shrinkage": [0.1, 1.0]})
    after_six = rows._best.copy()
    train(world(200, 1), rows, OBJECTIVES["linear"], training(epochs=3), seed=0)
    assert (rows._best >= after_six).all()
    assert rows._best.sum() > after_six.sum()
