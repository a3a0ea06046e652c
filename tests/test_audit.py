"""The audit of metrics: its correlations, its scores and its stage, where the answers are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import spearmanr
from test_reality_stages import ENCODERS, prepare, ran

from jam.metrics import cca, cka, cknna, cknna_platonic, mutual_knn, rsa, svcca, svcca_platonic
from jam.metrics.clustered import cluster_draws, rank_correlations
from jam.metrics.kernels.nulls import calibrate, permutation_null
from jam.metrics.reality_kernel import partial_out
from jam.reality.audit import ACROSS, AUDITED, STATE, UNLIKE, WITHIN, align, compared
from jam.reality.audited import Audited, Reference
from jam.reality.representations import Representation
from jam.reality.tracking import CALIBRATED, GIVEN, RAW, Table, correlation_rows
from jam.report.audit_figure import audit
from jam.report.audit_table import audit_table
from jam.report.style import save
from jam.results import results_table, select

few = st.integers(-3, 3).map(float)


@given(arrays(float, 7, elements=few), arrays(float, 7, elements=few), arrays(int, 7, elements=st.integers(0, 3)))
def test_correlations_are_scipys_of_the_resample_written_out(x, y, counts):
    rows = np.repeat(np.arange(7), counts)
    found = rank_correlations(x[None], y[None], counts[None].astype(float))[0, 0, 0]
    if len(set(x[rows])) < 2 or len(set(y[rows])) < 2:
        assert np.isnan(found)
    else:
        assert found == pytest.approx(spearmanr(x[rows], y[rows]).statistic, abs=1e-12)


def test_things_without_a_score_take_no_part():
    x, y = np.array([[1.0, np.nan, 2.0, 3.0], [np.nan] * 4]), np.array([[1.0, 9.0, 2.0, 4.0]])
    found = rank_correlations(x, y, np.ones((1, 4)))
    assert found[0, 0, 0] == pytest.approx(1)
    assert np.isnan(found[1])
    with pytest.raises(ValueError, match=r"expected \(·, n\) each"):
        rank_correlations(x, y, np.ones((1, 3)))


def test_clusters_are_drawn_whole_and_as_many_as_there_are():
    labels = ["a", "b", "b", "c", "c", "c"]
    drawn = cluster_draws(labels, 50)
    assert (drawn[:, 1] == drawn[:, 2]).all()
    assert (drawn[:, [0, 1, 3]].sum(axis=1) == 3).all()
    np.testing.assert_array_equal(drawn, cluster_draws(labels, 50))
    with pytest.raises(ValueError, match="resamples: got 0"):
        cluster_draws(labels, 0)


def table(scores, recall, encoder, modality):
    among = {"trained": np.ones(len(recall), bool)}
    return Table(np.array(encoder, object), np.array(modality, object), scores, {"reality_recall": recall}, among)


def one(rows, **where):
    [found] = [row for row in rows if all(row[name] == value for name, value in where.items())]
    return found


def test_what_is_recall_ranks_like_it_and_what_is_shuffled_like_nothing():
    rng = np.random.default_rng(0)
    recall = rng.random(200)
    encoder, modality = np.arange(200) // 5, np.where(np.arange(200) < 100, "image", "text")
    scores = {
        ("mutual_knn", ACROSS, RAW): np.exp(recall), ("mutual_knn", ACROSS, CALIBRATED): np.exp(recall),
        ("cka", ACROSS, RAW): rng.permutation(recall), ("rsa", ACROSS, RAW): -recall,
        ("effective_rank", None, None): rng.random(200),
    }  # fmt: skip
    rows = correlation_rows(table(scores, recall, encoder, modality), 200, 0)
    whole = {"modality": "both", "form": RAW}
    itself = one(rows, metric="mutual_knn", against=None, **whole)
    assert (itself["value"], itself["low"], itself["high"]) == pytest.approx((1, 1, 1))
    assert (itself["n"], itself["encoders"]) == (200, 40)
    assert one(rows, metric="rsa", against=None, **whole)["value"] == pytest.approx(-1)
    shuffled = one(rows, metric="cka", against=None, **whole)
    assert abs(shuffled["value"]) < 0.2
    assert shuffled["low"] < 0 < shuffled["high"]
    assert one(rows, metric="cka", against="mutual_knn", **whole)["high"] < 0
    same = one(rows, metric="mutual_knn", form=CALIBRATED, modality="both", against="raw")
    assert (same["value"], same["low"], same["high"]) == (0, 0, 0)
    assert {row["modality"] for row in rows if row["against"]} == {"both"}


def test_given_effective_rank_is_what_is_left_of_ranks_without_it():
    rng = np.random.default_rng(0)
    rank, recall = rng.random(400), rng.random(400)
    scores = {
        ("cka", ACROSS, RAW): rank + recall, ("mutual_knn", ACROSS, RAW): rng.permutation(rank),
        ("effective_rank", None, None): rank,
    }  # fmt: skip
    rows = correlation_rows(table(scores, rank + 0.5 * recall, np.arange(400), ["image"] * 400), 100, 0)
    x, y, z = (np.argsort(np.argsort(values)).astype(float) for values in (rank + recall, rank + 0.5 * recall, rank))
    left = [values - np.polyval(np.polyfit(z, values, 1), z) for values in (x, y)]
    found = one(rows, metric="cka", form=GIVEN, against=None)
    assert found["value"] == pytest.approx(np.corrcoef(left)[0, 1])
    assert found["low"] < found["value"] < found["high"]
    assert abs(one(rows, metric="mutual_knn", form=GIVEN, against=None)["value"]) < 0.15
    assert one(rows, metric="cka", form=GIVEN, against="mutual_knn")["value"] > 0.5


def test_an_interval_over_encoders_is_wider_than_over_their_layers_taken_for_independent():
    rng = np.random.default_rng(0)
    nets = np.repeat(np.arange(8), 10)
    x, y = (rng.standard_normal(8)[nets] + 0.1 * rng.standard_normal(80) for _ in range(2))
    widths = []
    for clusters in (nets, np.arange(80)):
        [row] = correlation_rows(table({("cka", ACROSS, RAW): x}, y, clusters, ["image"] * 80), 500, 0)
        widths.append(row["high"] - row["low"])
    assert widths[0] > 2 * widths[1]


def test_too_few_encoders_have_no_correlation():
    values = np.arange(4.0)
    assert not correlation_rows(table({("cka", ACROSS, RAW): values}, values, [*"aabb"], ["image"] * 4), 10, 0)


def test_nothing_is_compared_with_encoders_that_were_at_work_in_it():
    references = [Reference(name, modality, family, np.zeros((1, 1))) for name, modality, family in (
        ("a", "image", "labels"), ("b", "image", "contrastive"), ("c", "text", "causal"), ("d", "text", "masked")
    )]  # fmt: skip
    told = Representation({"family": "labels"}, "image", {})

    def names(met):
        counts = compared(Audited(told, "a", frozenset(met)), references)
        return {kind: [*np.array([*"abcd", "truth"])[held]] for kind, held in counts.items()}

    assert names("a") == {ACROSS: ["c", "d"], WITHIN: ["b"], UNLIKE: ["b"], STATE: ["truth"]}
    assert names("ad") == {ACROSS: ["c"], WITHIN: ["b"], UNLIKE: ["b"], STATE: ["truth"]}
    assert names("x")[WITHIN] == ["a", "b"]
    assert names("x")[UNLIKE] == ["b"]


METRICS = {
    "mutual_knn": lambda x, y: mutual_knn(x, y, 5), "cknna": lambda x, y: cknna(x, y, 5),
    "cka": lambda x, y: cka(x, y, unbiased=False), "unbiased_cka": cka, "svcca": svcca, "cca": cca, "rsa": rsa,
    "svcca_platonic": svcca_platonic, "cknna_platonic": lambda x, y: cknna_platonic(x, y, 5),
}  # fmt: skip


@pytest.mark.parametrize("metric", AUDITED)
def test_scores_are_those_of_each_metric_taken_alone(metric):
    rng = np.random.default_rng(0)
    y = rng.standard_normal((60, 6)) + 0.5
    xs = [y @ rng.standard_normal((6, 9)) + noise * rng.standard_normal((60, 9)) for noise in (0.1, 5)]
    held = rng.standard_normal((60, 2))
    found = align(xs, [y, y[::-1].copy()], held, 5, 19, 0)[metric]
    score = METRICS[metric]
    for i, x in enumerate(xs):
        assert found.raw[i, 0] == pytest.approx(score(x, y), abs=1e-5)
        null = permutation_null(lambda order, x=x: score(x, y[order]), 60, 19, 0)
        assert (found.calibrated[i, 0], found.threshold[i, 0]) == pytest.approx(calibrate(score(x, y), null), abs=1e-4)
        assert found.null_mean[i, 0] == pytest.approx(null.mean(), abs=1e-5)
        if metric in ("mutual_knn", "cknna", "cka", "unbiased_cka"):
            assert found.partial[i, 0] == pytest.approx(score(partial_out(x, held), partial_out(y, held)), abs=1e-5)
        else:
            assert np.isnan(found.partial[i, 0])
    assert found.raw[0, 0] > found.raw[1, 0]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit")
    sides = {"side": "image", "encoder": "seen", "layer": 1}, {"side": "text", "encoder": "told", "layer": 0}
    prepare(folder, ENCODERS, sides)
    return ran(folder, "audit")


def test_every_representation_is_scored_and_the_oracle_is_at_the_top(results):
    scores = results[results["outcome"].isna()]
    recall = select(scores, metric="reality_recall")
    conditions = recall.groupby("encoder")["condition"].agg(sorted).to_dict()
    assert conditions["seen"] == ["checkpoint", "init", "latent", "layer", "named", "seed", "whitened"]
    assert conditions["again"] == ["checkpoint", "init", "layer", "named", "seed", "whitened"]
    assert conditions["state"] == conditions["parser"] == ["named", "whitened"]
    assert recall.loc[recall["value"].idxmax(), "encoder"] == "state"
    plain = select(scores, reference="state", condition=("named", "layer", "seed", "init", "checkpoint"))
    for metric in set(AUDITED) - {"cca", "svcca"}:  # of sixty rows and fifty directions these say 1 of anything
        mine = select(plain, metric=metric)
        assert mine.loc[mine["value"].idxmax(), "encoder"] == "state", metric
        assert (mine["calibrated"] <= mine["value"].clip(lower=0)).all()
    # the only encoder of images: there is none of its own modality to compare it with
    assert not len(select(scores, encoder="seen", reference="within"))
    assert len(select(scores, encoder="seen", condition="named", reference="across")) == len(AUDITED)
    assert not len(select(scores, encoder="told", condition="named", reference="unlike"))


def test_correlations_are_told_with_their_numbers_and_shown(results, tmp_path):
    told = results[results["outcome"].notna()]
    assert set(told["modality"]) == {"text"}  # two encoders of images are too few
    itself = select(told, metric="reality_recall", outcome="reality_recall")
    assert itself["value"].tolist() == pytest.approx([1] * len(itself))
    assert set(select(told, among="all")["encoders"]) == {4}
    assert told["value"].between(-2, 2).all()
    save(audit(results), tmp_path / "a.png")
    text = audit_table(results)
    assert text.splitlines()[0].startswith("| rank correlation over")
    assert "| recall of reality |" in text


def test_the_table_of_no_results_is_empty():
    assert audit_table(results_table("audit", [])) == "| score |\n| :-- |"
