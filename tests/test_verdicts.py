"""Verdicts: known answers, the error of the first kind, and hypotheses found in results or asked for in one line."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from jam.errors import InputError
from jam.hypotheses import COLUMNS, stated, verdict_table
from jam.metrics.verdicts import REACH, Effect, judge
from jam.params import Hypotheses
from jam.report.reference_figures import verdicts
from jam.report.reference_tables import hypothesis_table
from jam.results import results_table


def effect(value, error=0.01, above=0.0):
    return Effect("gain", value, value - REACH * error, value + REACH * error, above, 100, 5)


@pytest.mark.parametrize(
    ("effects", "outcome"),
    [
        ([effect(0.05), effect(0.04)], "supported"),
        ([effect(0.05), effect(0.0)], "undecided"),  # all must be above
        ([effect(0.0)], "undecided"),
        ([effect(-0.05)], "refuted"),
        ([effect(0.05), effect(-0.05)], "refuted"),
        ([effect(-0.01, 0.004, above=-0.02)], "supported"),  # not much worse
        ([effect(-0.01, 0.02, above=-0.02)], "undecided"),
        ([effect(-0.05, 0.004, above=-0.02)], "refuted"),
        ([effect(-0.01, 0.001)], "refuted"),  # worse than nothing, where nothing is the bound
    ],
)
def test_what_becomes_of_a_hypothesis(effects, outcome):
    assert judge([effects], 0.05)[0].outcome == outcome


def test_p_values_are_those_of_a_normal_distribution_and_are_corrected_for_their_number():
    assert effect(0.02, 0.01).p == pytest.approx(norm.sf(2))
    assert effect(-0.01, 0.01, above=-0.02).p == pytest.approx(norm.sf(1))
    assert (effect(0.01, 0).p, effect(-0.01, 0).p) == (0, 1)
    first, second = judge([[effect(0.018), effect(0.05)], [effect(0.03)]], 0.05)
    assert first.p == pytest.approx(norm.sf(1.8))  # the larger of its two
    assert second.p_holm == pytest.approx(2 * norm.sf(3))
    assert first.p_holm == pytest.approx(norm.sf(1.8))
    both = judge([[effect(0.018)], [effect(0.018)]], 0.05)
    assert [one.outcome for one in both] == ["undecided"] * 2  # .036 each, and .072 for two
    with pytest.raises(ValueError, match="expected at least one effect, all of them finite"):
        judge([[]], 0.05)
    with pytest.raises(ValueError, match="all of them finite"):
        judge([[effect(float("nan"))]], 0.05)


def draws(rng, means, repeats=500, seeds=5, items=400):
    """Estimates of effects (repeats, hypotheses, 2), and their errors over seeds and items as two levels have them."""
    shape = (repeats, *np.shape(means))
    of_items = rng.normal(size=(*shape, items)) + np.asarray(means)[..., None]
    of_seeds = rng.normal(scale=0.02, size=(*shape, seeds))
    value = of_items.mean(axis=-1) + of_seeds.mean(axis=-1)
    error = np.sqrt(of_items.var(axis=-1, ddof=1) / items + of_seeds.var(axis=-1, ddof=1) / seeds)
    return value, error


def supported(means):
    values, errors = draws(np.random.default_rng(0), means)
    effects = [
        [[effect(*of) for of in zip(*both, strict=True)] for both in zip(*draw, strict=True)]
        for draw in zip(values, errors, strict=True)
    ]
    return [[one.outcome for one in judge(hypotheses, 0.05)] for hypotheses in effects]


def test_nothing_is_called_supported_more_often_than_the_level_allows():
    """In 500 draws of three hypotheses, none of which is true as one of its effects is 0; the other is large."""
    false = np.mean(["supported" in outcomes for outcomes in supported([[0.0, 1.0]] * 3)])
    assert 0.01 < false <= 0.07
    assert np.mean(["supported" in outcomes for outcomes in supported([[0.0, 0.0]] * 3)]) <= 0.07


def test_what_is_true_is_found_and_what_is_false_is_refuted():
    outcomes = np.array(supported([[0.3, 0.3], [0.3, -0.3], [0.3, 0.0]]))
    assert (outcomes[:, 0] == "supported").mean() > 0.9
    assert (outcomes[:, 1] == "refuted").mean() > 0.9
    assert (outcomes[:, 2] == "undecided").mean() > 0.9


RULES = Hypotheses.model_validate(
    {
        "level": 0.05,
        "linear": {"subject": "a", "against": "b", "metrics": ["true_recall", "hard_negatives"], "margin": 0.02},
        "mechanism": {"subject": "a", "metric": "unbiased_cka"},
    }
)


def results(**changes):
    shared = {"seeds": 5, "n": 100, "subject": "a"}
    contrast = {**shared, "subject": "b", "against": "a"}
    held = {**shared, "x": "image"}
    rows = [
        ("contrasts", {**contrast, "metric": "true_recall", "value": 0.01, "low": 0.005, "high": 0.015}),
        ("contrasts", {**contrast, "metric": "hard_negatives", "tier": "hard", "value": -0.01, "low": -0.02,
                       "high": 0.0}),
        ("contrasts", {**contrast, "metric": "hard_negatives", "kind": "k", "value": -0.9, "low": -0.9, "high": -0.9}),
        ("reference", {**held, "metric": "unbiased_cka", "reference": "encoder", "condition": "beyond",
                       "against": "shuffled", "value": 0.05, "low": 0.03, "high": 0.07}),
        ("reference", {**held, "metric": "reality_recall", "label": "colour", "condition": "specific",
                       "against": "size", "value": 0.0, "low": -0.01, "high": 0.01} | changes),
    ]  # fmt: skip
    return pd.concat([results_table(name, [row]) for name, row in rows], ignore_index=True)


def test_rules_find_their_rows_and_turn_differences_round(tmp_path):
    found = list(stated(RULES, "image", results()))
    assert [one.id for one in found] == ["H1", "H3"]
    first, second = found[0].effects
    assert (first.value, first.low, first.high, first.above) == (-0.01, -0.015, -0.005, -0.02)
    assert (second.value, second.low) == (0.01, 0)
    table = verdict_table(found, judge([one.effects for one in found], 0.05))
    assert list(table.columns) == list(COLUMNS)
    assert table["verdict"].tolist() == ["supported"] * 2 + ["undecided"] * 2
    told = hypothesis_table(table)
    assert "| **H1**: linear maps suffice | a − b > −0.02 in true_recall and hard_negatives |" in told
    assert told.count("**undecided**") == 1
    lines = [tuple(line.get_xdata()) for line in verdicts(table).axes[0].lines]
    assert (-0.015, -0.005) in lines
    assert (-0.02, -0.02) in lines  # the bound
    assert verdict_table([], []).empty


@pytest.mark.parametrize("changes", [{"condition": "difference"}, {"low": None}])
def test_a_row_that_is_not_there_is_asked_for_in_one_line(changes):
    with pytest.raises(
        InputError, match=r"hypotheses, with − without words, own.*expected one with an interval: .*condition specific"
    ):
        list(stated(RULES, "image", results(**changes)))
