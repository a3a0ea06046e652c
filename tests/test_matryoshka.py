"""Several widths in one loss, vectors cut to the first of them, and shortlists made by few."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional

import jam
from jam.align.adapter import truncated
from jam.align.items import Items, SideRows
from jam.align.objective import aligning
from jam.align.train import train
from jam.errors import InputError
from jam.losses import load_loss, matryoshka
from jam.losses.shared.nested import with_full
from jam.params import Objective, Training
from jam.report.matryoshka_figure import dims_curve
from jam.report.matryoshka_tables import adaptive_table, dims_table
from jam.results import results_table
from jam.widths.curve import Questions, first, mean_outcomes, principal, principal_axes, random
from jam.widths.shortlist import multiply_adds, shortlisted

OPTIONS = {"alpha": 0.3, "neighbours": 1, "context": None}


def latents(n=7, d=12, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(n, d, generator=generator, dtype=torch.float64) for _ in range(3)]


def value(loss, given, same=None):
    return float(loss(*given, 9.0, same, **OPTIONS))


def mask(n=7, m=14, seed=1):
    return torch.rand(n, m, generator=torch.Generator().manual_seed(seed)) < 0.3


def twin(name, given, dims, weights=None, same=None):
    """As sentence-transformers' MatryoshkaLoss: shrink every embedding, normalise it, add up the weighted losses."""
    total = 0.0
    for place, d in enumerate(dims):
        cut = [functional.normalize(each[..., :d], p=2, dim=-1) for each in given]
        total += (1 if weights is None else weights[place]) * value(load_loss(name), cut, same)
    return total


@pytest.mark.parametrize("name", ["con", "negcon", "spread"])
@pytest.mark.parametrize(("dims", "weights"), [([2, 4, 12], None), ([12, 3, 8], [0.5, 2.0, 1.0])])
def test_it_is_the_sum_of_the_loss_at_every_width(name, dims, weights):
    same = mask() if name != "con" else mask()[:, :7]
    given, loss = latents(), load_loss(name)
    expected = twin(name, given, dims, weights, same)
    assert value(matryoshka(loss, dims, weights, reduce="sum"), given, same) == pytest.approx(expected, abs=1e-6)
    assert value(matryoshka(loss, dims, weights), given, same) == pytest.approx(expected / 3, abs=1e-6)
    assert value(matryoshka(loss, [12]), given, same) == value(loss, given, same)
    both = 0.7 * twin(name, given, dims, None, same) / 3 + 1.5 * value(loss, given, same)
    assert value(with_full(loss, dims, 12, 0.7, 1.5), given, same) == pytest.approx(both, abs=1e-6)


def test_latents_are_cut_and_then_normalised():
    given = latents()
    normalised_first = [functional.normalize(each, dim=1) for each in given[:2]]
    a, p = (each[:, :4] for each in normalised_first)
    logits = 9.0 * a @ p.T  # of vectors that are shorter than 1
    target = torch.arange(7)
    wrong = (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2
    right = value(matryoshka(load_loss("con"), [4]), given)
    assert abs(right - float(wrong)) > 0.01
    assert right == pytest.approx(twin("con", given, [4]), abs=1e-12)


def test_an_equal_caption_is_no_negative_at_any_width():
    a, p, q = latents()
    p[1] = p[0]
    same = torch.zeros(7, 7, dtype=torch.bool)
    same[0, 1] = same[1, 0] = True
    for d in (2, 12):
        masked = [load_loss("con")(a[:1, :d], p[:1, :d], q, 9.0, None)]  # alone: nothing to choose from
        loss = matryoshka(load_loss("con"), [d])
        two = loss(a[:2], p[:2], q, 9.0, same[:2, :2])
        assert float(two) == pytest.approx(float(masked[0]), abs=1e-12)
        assert float(loss(a[:2], p[:2], q, 9.0, None)) > 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([],), "dims: got []"),
        (([4, 4],), "each positive and once"),
        (([0],), "each positive and once"),
        (([2, 4], [1.0]), "weights: got 1 for 2 dims"),
        (([2], None, "max"), "reduce: got 'max'"),
    ],
)
def test_what_is_no_list_of_widths_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message.replace("[", r"\[")):
        matryoshka(load_loss("con"), *arguments)
    with pytest.raises(ValueError, match="dims: got 13 of latents of width 12"):
        value(matryoshka(load_loss("con"), [2, 13]), latents())


NESTED = {
    "model": "linear",
    "loss": "con",
    "latent": 8,
    "learning_rate": 0.01,
    "dims": [2, 8],
    "mrl_weight": 1,
    "clip_weight": 1,
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dims": []}, "at least 1 item"),
        ({"dims": [16]}, "dims: got 16 with a latent of 8, expected at most as many"),
        ({"configurations": [{"latent": 4}]}, "dims: got 8 with a latent of 4"),
        ({"dims": [2, 2]}, "expected each once"),
        ({"clip_weight": None}, "dims, mrl_weight, clip_weight: got some of them"),
        ({"dims": None}, "dims, mrl_weight, clip_weight: got some of them"),
    ],
)
def test_dims_of_an_objective_fit_its_latent(change, message):
    with pytest.raises(ValueError, match=message):
        Objective.model_validate(NESTED | change)
    given = latents(d=8)
    loss = aligning(Objective.model_validate(NESTED), 8)
    expected = twin("con", given, [2, 8]) / 2 + value(load_loss("con"), given)
    assert value(loss, given) == pytest.approx(expected, abs=1e-6)


def world(n=300, seed=0):
    """Items of which two sides tell twelve things, four of them loudly, in rotated coordinates."""
    rng, turns = np.random.default_rng(seed), np.random.default_rng(9)
    state = rng.standard_normal((n, 12)) * np.repeat([1.0, 0.3], [4, 8])
    sides, none = {}, np.empty((n, 0), np.int64)
    for name in "xy":
        turn, _ = np.linalg.qr(turns.standard_normal((12, 12)))
        seen = (state + 0.1 * rng.standard_normal((n, 12))) @ turn
        sides[name] = SideRows(seen.astype(np.float32), np.arange(n)[:, None], none)
    return Items(sides)


TRAINING = Training.model_validate(
    {
        "criterion": "recall",
        "batch_size": 60,
        "epochs": 20,
        "patience": 20,
        "weight_decay": 0,
        "clip_norm": 1,
        "temperature": 0.1,
        "learn_temperature": False,
        "whitening": [None],
        "captions": "sample",
    }
)


def test_first_coordinates_of_a_trained_space_do_more_than_those_of_a_plain_one():
    nested = Objective.model_validate(NESTED | {"learning_rate": 0.03, "latent": 12, "dims": [4, 12]})
    plain = nested.model_copy(update={"dims": None, "mrl_weight": None, "clip_weight": None})
    test = world(100, seed=3)
    asked = Questions.of(("x", "y"), test, None, pd.DataFrame())
    found = {}
    for name, objective in (("nested", nested), ("plain", plain)):
        space = train(world(), world(seed=1), objective, TRAINING, seed=0)
        vectors = asked.vectors({side: space[side].adapter for side in "xy"})
        answers = {d: asked.answers(first(vectors, d)) for d in (4, 12)}
        found[name] = {d: np.mean([one.values.mean() for one in told.values()]) for d, told in answers.items()}
    assert found["nested"][4] > found["plain"][4] + 0.15
    assert found["nested"][12] > found["plain"][12] - 0.02


def test_an_adapter_and_a_side_encode_to_fewer_dimensions():
    adapter = jam.Adapter("linear", d_in=6, d_latent=5)
    features = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
    whole = adapter.encode(features)
    cut = whole[:, :3] / np.linalg.norm(whole[:, :3], axis=1, keepdims=True)
    for found in (adapter.encode(features, dims=3), jam.Side(adapter).encode(features, dims=3), truncated(whole, 3)):
        np.testing.assert_allclose(found, cut, atol=1e-6)
    assert np.array_equal(adapter.encode(features, dims=5), whole)
    assert truncated(whole, None) is whole
    for dims in (0, 6, -1):
        with pytest.raises(InputError, match=f"dims: got {dims} of a space of 5 dimensions, expected 1 to 5"):
            adapter.encode(features, dims=dims)
        with pytest.raises(InputError, match=f"dims: got {dims}"):
            truncated(whole, dims)


def unit(n, d, seed):
    vectors = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_a_shortlist_holds_the_nearest_by_few_dimensions_and_is_ordered_by_all():
    queries, gallery = unit(20, 8, 0), unit(50, 8, 1)
    exact = (queries @ gallery.T).argmax(axis=1)
    few = truncated(queries, 3) @ truncated(gallery, 3).T
    assert np.array_equal(shortlisted(queries, gallery, 3, 1), few.argmax(axis=1))
    for whole in (
        shortlisted(queries, gallery, 3, 50),
        shortlisted(queries, gallery, 3, 99),
        shortlisted(queries, gallery, 8, 5),
    ):
        assert np.array_equal(whole, exact)
    by_hand = [max(np.argsort(-few[i])[:10], key=lambda j, i=i: queries[i] @ gallery[j]) for i in range(20)]
    assert np.array_equal(shortlisted(queries, gallery, 3, 10), by_hand)
    assert np.array_equal(shortlisted(queries, gallery, 3, 10, truncated(gallery, 3)), by_hand)
    assert shortlisted(queries[:0], gallery, 3, 10).shape == (0,)
    assert multiply_adds(50, 8, 3, 10) == 150 + 80
    assert multiply_adds(50, 8, 3, 99) == 150 + 400
    with pytest.raises(InputError, match="shortlist: got 0"):
        shortlisted(queries, gallery, 3, 0)


def asked_of_six():
    """Six items of two sides with false views of two kinds of y."""
    rng = np.random.default_rng(0)
    rows, none = np.arange(6)[:, None], np.empty((6, 0), np.int64)
    sides = {name: SideRows(rng.standard_normal((12, 5)).astype(np.float32), rows, none) for name in "xy"}
    kinds = ["swap_colour", "replace_digit", "replace_colour", "replace_colour", "replace_colour", "swap_colour"]
    negatives = pd.DataFrame(
        {"item": range(6), "row": range(6, 12), "true_row": range(6), "kind": kinds, "tier": "hard"}
    )
    vectors = {"x": unit(6, 5, 1), "y": unit(6, 5, 2), "true": unit(6, 5, 2), "false": unit(6, 5, 3)}
    return Questions.of(("x", "y"), Items(sides), None, negatives), vectors


def test_answers_are_told_by_what_asks_for_binding():
    asked, vectors = asked_of_six()
    answers = {
        (key.metric, key.direction, key.kind, key.tier, key.label): one for key, one in asked.answers(vectors).items()
    }
    assert ("recall", "x_to_y", None, None, None) in answers  # what else is true is not known
    right = (vectors["x"] * vectors["true"]).sum(1) > (vectors["x"] * vectors["false"]).sum(1)
    told = {label: answers["hard_negatives", None, None, None, label].values.mean() for label in ("binding", "other")}
    assert told["binding"] == pytest.approx(right[[0, 5]].mean())
    assert told["other"] == pytest.approx((right[1] + right[[2, 3, 4]].mean()) / 2)  # both kinds the same


def test_other_ways_to_few_dimensions_are_the_space_itself_at_all_of_them():
    asked, vectors = asked_of_six()
    axes = principal_axes([vectors["x"], vectors["y"]])
    np.testing.assert_allclose(axes.T @ axes, np.eye(5), atol=1e-12)
    variances = np.mean([np.var(vectors[side] @ axes, axis=0, ddof=1) for side in "xy"], axis=0)
    assert np.all(np.diff(variances) <= 1e-9)
    whole = asked.answers(vectors)
    for turned in (principal(vectors, axes, 5), random(vectors, 5, (0, 1)), first(vectors, 5)):
        for key, outcome in asked.answers(turned).items():
            assert np.array_equal(outcome.values, whole[key].values)
    two, four = (random(vectors, d, (0, 1))["x"] for d in (2, 4))
    assert np.array_equal(two, four[:, :2])
    draws = [asked.answers(random(vectors, 2, (0, draw))) for draw in range(2)]
    for key, outcome in mean_outcomes(draws).items():
        np.testing.assert_allclose(outcome.values, (draws[0][key].values + 1.0 * draws[1][key].values) / 2)
    hits = asked.shortlisted(vectors, 2, 6)
    assert all(np.array_equal(outcome.values, whole[key].values) for key, outcome in hits.items())


def told():
    """Results of two methods at two widths, and a shortlist."""
    rows = []
    for method, dims in (("matryoshka", 2), ("matryoshka", 4), ("separate", 2), ("separate", 4)):
        base = {"subject": "nested", "x": "image", "y": "text", "method": method, "dims": dims, "value": dims / 10}
        ends = {"low": dims / 10 - 0.05, "high": dims / 10 + 0.05}
        rows += [base | ends | {"metric": "true_recall", "k": 1, "direction": way} for way in ("x_to_y", "y_to_x")]
        rows += [base | ends | {"metric": "hard_negatives", "label": name} for name in ("binding", "other")]
        if method == "matryoshka":
            rows.append(
                base | ends | {"metric": "true_recall", "k": 1, "against": "separate", "p": 0.01, "value": 0.02}
            )
    short = {"subject": "nested", "x": "image", "y": "text", "method": "matryoshka", "dims": 2, "shortlist": 5}
    for way, n in (("x_to_y", 300), ("y_to_x", 100)):
        rows.append(short | {"metric": "true_recall", "k": 1, "direction": way, "value": 0.33, "low": 0.3, "high": 0.4})
        rows.append(short | {"metric": "multiply_adds", "direction": way, "value": n * 2 + 20, "n": n})
    return results_table("matryoshka", rows)


def test_tables_and_figure_show_what_results_hold():
    lines = dims_table(told(), "nested").splitlines()
    assert lines[0] == "| dimensions | 2 | 4 |"
    assert "| R@1: Matryoshka | .200 | .400 |" in lines
    assert "| R@1: Matryoshka − trained for the width | .020* [.150, .250] | .020* [.350, .450] |" in lines
    lines = adaptive_table(told(), "nested").splitlines()
    assert lines[2] == "| 5 by 2 | .330 [.300, .400] | 620 | .330 [.300, .400] | 220 |"
    assert lines[3] == "| *all by 4* | .400 [.350, .450] | 1,200 | .400 [.350, .450] | 400 |"
    axes = dims_curve(told(), "nested").axes
    assert [axis.get_title(loc="left") for axis in axes][:2] == ["true R@1, image → text", "true R@1, text → image"]
    assert [round(float(y), 3) for y in axes[0].lines[0].get_ydata()] == [0.2, 0.4]
