"""The closed forms over a grid of encoder pairs, how many pairs it takes, and laws on encoders that were left out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jam.align.closed_form import fit_closed_form
from jam.align.items import Items, SideRows
from jam.metrics.law import crossing, foretell, judged, logit, pairs_to, share_of
from jam.sweep import closed
from jam.sweep.closed import SETTINGS, Answers, Principal, Rows, align, cross_covariance, hits, maps

NS = (125, 250, 500, 1000)


def two_sides(n=260, widths=(12, 9), seed=0):
    """Two noisy views of one latent, and rows of three splits of each."""
    rng = np.random.default_rng(seed)
    latent = rng.standard_normal((3 * n, 6))
    sides = []
    for d in widths:
        mix = rng.standard_normal((6, d)) * rng.uniform(0.2, 3, d)
        x = (latent @ mix + 0.6 * rng.standard_normal((len(latent), d)) + 5).astype(np.float32)
        sides.append(Rows(*np.split(x, 3)))
    return sides


def own_items(x, y, split, n=None):
    tables = [getattr(side, split)[:n] for side in (x, y)]
    rows = np.arange(len(tables[0]))[:, None]
    return Items({name: SideRows(table, rows, rows[:, :0]) for name, table in zip("xy", tables, strict=True)})


@pytest.mark.parametrize("method", list(SETTINGS))
@pytest.mark.parametrize("widths", [(12, 9), (7, 11)])
def test_a_closed_form_equals_that_of_a_space(method, widths, monkeypatch):
    """The plain twin fits by loops over settings on raw coordinates; scores of every setting must be the same."""
    x, y = two_sides(widths=widths)
    n = 200
    px, py = Principal.of(x, n), Principal.of(y, n)
    for setting in SETTINGS[method]:
        grid = {name: [min(value, *widths) if name == "components" else value]
                for name, value in setting.items() if name != "whitening"}  # fmt: skip
        twin = fit_closed_form(
            method, own_items(x, y, "train", n), own_items(x, y, "val"), grid, [setting.get("whitening")], "recall"
        )
        a, b = (twin.sides[name].adapter.encode(side.test) for name, side in (("x", x), ("y", y)))
        ours = maps(method, setting, px, py, cross_covariance(px, py))
        p, q = px.test @ ours[0], py.test @ ours[1]
        cosines = [u @ v.T for u, v in ((unit(a), unit(b)), (unit(p), unit(q)))]
        np.testing.assert_allclose(cosines[0], cosines[1], atol=2e-4)
        monkeypatch.setattr(closed, "SETTINGS", {method: [setting]})
        cell = align(method, px, py, Answers(None, None))
        assert cell.validation == pytest.approx(twin.chosen["validation_recall"], abs=0.006)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_pairs_that_are_broken_score_chance_and_more_pairs_score_more():
    x, y = two_sides(n=400)
    few, many = (align("cca", Principal.of(x, n), Principal.of(y, n), Answers(None, None)) for n in (12, 400))
    assert many.own.mean() > few.own.mean() + 0.1
    order = np.random.default_rng(0).permutation(400)
    broken = align("cca", Principal.of(x, 400), Principal.of(y, 400), Answers(None, None), order)
    assert broken.own.mean() < 0.02


def test_a_hit_is_true_where_the_nearest_is_a_right_answer():
    a = np.eye(3, dtype=np.float32)
    b = a[[1, 0, 2]]  # the nearest of 0 is 1, and the other way round
    right = np.eye(3, dtype=bool)
    right[0, 1] = True
    own, true = hits(a, b, right)
    assert own.tolist() == [[False, False, True], [False, False, True]]
    assert true.tolist() == [[True, False, True], [False, True, True]]
    assert all((one == own).all() for one in hits(a, b, None))


def test_how_many_pairs_it_takes_is_interpolated_in_log_n():
    scores = [[0.1, 0.2, 0.3, 0.4], [0.4, 0.4, 0.4, 0.4], [0.1, 0.3, 0.2, 0.5], [0.0, 0.1, 0.1, 0.2]]
    found = pairs_to(0.5, NS, scores, [0.5, 0.4, 0.6, 0.9])
    assert found[0] == pytest.approx(250 * 2**0.5)  # .25 is half way from 250 to 500
    assert found[1] == pytest.approx(125)  # there from the start
    assert found[2] == pytest.approx(250)  # what is lost again with more pairs counts
    assert np.isnan(found[3])  # .45 is never reached


@given(st.lists(st.floats(0.01, 1), min_size=4, max_size=4), st.floats(0.1, 1), st.floats(0.1, 10))
def test_how_many_pairs_it_takes_is_monotone_and_has_no_unit(scores, share, unit_of):
    best = max(scores)
    n = pairs_to(share, NS, scores, best)
    assert NS[0] <= n <= NS[-1]
    assert pairs_to(share / 2, NS, scores, best) <= n
    assert pairs_to(share, NS, np.array(scores) * unit_of, best * unit_of) == pytest.approx(n, rel=1e-6)


def test_methods_cross_where_their_difference_changes_its_sign():
    assert crossing(NS, [-1, -1, 1, 2]) == pytest.approx(250 * 2**0.5)
    assert crossing(NS, [-1, 1, -1, 1]) == pytest.approx(500 * 2**0.5)  # for the last time
    assert np.isnan(crossing(NS, [1, 2, 3, 4]))
    assert np.isnan(crossing(NS, [[1, 1, 1, 1]])).all()


ROWS, COLUMNS = [name for name in "abcdef" for _ in (0, 1)], [name for name in "uvwxyz" for _ in (0, 1)]


def planted(noise, seed=0):
    rng = np.random.default_rng(seed)
    known = rng.standard_normal((12, 12, 1))
    return known, share_of(-1 + 0.8 * known[..., 0] + noise * rng.standard_normal((12, 12)))


def test_a_planted_law_is_found_on_encoders_that_were_left_out():
    known, outcome = planted(0.05)
    found = foretell(known, outcome, ROWS, COLUMNS, logit, share_of)
    r2, rho = judged(found, ROWS, COLUMNS, 100, 0)
    assert r2.value > 0.98
    assert r2.low > 0.95
    assert rho.value > 0.98


def test_noise_foretells_nothing():
    _, outcome = planted(0.05)
    for seed in range(5):
        noise = np.random.default_rng(100 + seed).standard_normal((12, 12, 1))
        assert foretell(noise, outcome, ROWS, COLUMNS, logit, share_of).r2() <= 0.02
    constant = foretell(np.zeros((12, 12, 1)), outcome, ROWS, COLUMNS)
    assert constant.r2() == pytest.approx(0)


def test_what_belongs_to_an_encoder_alone_does_not_help_where_it_is_left_out():
    """An effect of each encoder, which a fit that saw its other seed or its other cells would foretell."""
    rng = np.random.default_rng(3)
    effect = np.repeat(rng.standard_normal(6), 2)
    outcome = effect[:, None] + np.repeat(rng.standard_normal(6), 2)[None]
    which = np.stack(np.meshgrid(np.arange(12.0), np.arange(12.0), indexing="ij"), axis=2)
    assert foretell(which, outcome, ROWS, COLUMNS).r2() < 0.3


def test_log_odds_and_back():
    shares = np.array([0.001, 0.3, 0.999])
    np.testing.assert_allclose(share_of(logit(shares)), shares)
    assert np.isfinite(logit([0.0, 1.0])).all()
