"""Tables and figures of models compared say what the results say."""

import compare_made_up as made
import numpy as np
import pandas as pd
import pytest

from jam.report import compare_figures, compare_maps_figure, compare_report, compare_tables, compare_when_figures
from jam.report.style import save


@pytest.fixture(scope="module")
def similar():
    return made.similar()


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_table_has_every_two_models_once_with_all_measures_and_the_ceiling(similar):
    header, _, *lines = compare_tables.similar_table(similar, "image", made.MODELS[:3]).splitlines()
    assert [cells(line)[0] for line in lines] == [
        "CLIP-like – CLIP-like, seed 1",
        "CLIP-like – ALIGN-like",
        "CLIP-like, seed 1 – ALIGN-like",
    ]
    assert cells(header)[1:] == [
        *("CKA (unbiased)", "RSA", "mutual kNN", "cosine after a rotation"),
        *("predictability, R² →", "predictability, R² ←", "ceiling of CKA"),
    ]
    assert {cells(line)[-1] for line in lines} == {".950"}
    assert "–" not in [cell for line in lines for cell in cells(line)[1:]]


def test_a_matrix_is_symmetric_but_of_what_has_a_direction(similar):
    rows = compare_tables.finals(similar, "image")
    names = compare_tables.models_of(rows)
    assert tuple(names) == made.MODELS
    found = compare_figures.square(rows, names, "rsa")
    np.testing.assert_array_equal(found, found.T)
    assert (found.diagonal() == 1).all()
    directed = compare_figures.square(rows, names, "predictability")
    mine = rows[(rows["metric"] == "predictability") & (rows["x"] == "clip_a") & (rows["y"] == "blip_like")]
    by_way = mine.set_index("direction")["value"]
    assert directed[0, 3] == by_way["x_to_y"]
    assert directed[3, 0] == by_way["y_to_x"]


def test_what_was_not_measured_is_a_gap_and_not_a_zero(similar):
    rows = compare_tables.finals(similar, "image")
    left = rows[~((rows["x"] == "clip_a") & (rows["y"] == "con"))]
    assert np.isnan(compare_figures.square(left, made.MODELS, "rsa")[0, 5])


@pytest.mark.parametrize(
    ("low", "high", "told"),
    [(0.82, 0.92, ".82 to .92"), (0.9, np.inf, "≥ .90"), (0.9, 1.0, "≥ .90"), (-np.inf, 0.05, "≤ .05"),
     (pd.NA, 0.05, "≤ .05"), (0.9, pd.NA, "≥ .90")],
)  # fmt: skip
def test_ranges_of_claims(low, high, told):
    assert compare_tables.claimed({"claimed_low": low, "claimed_high": high}) == told


def test_every_claim_has_its_line_and_what_became_of_it():
    claims = made.claims()
    lines = [cells(line) for line in compare_tables.claims_table(claims).splitlines()[2:]]
    own = claims[claims["metric"].fillna("unbiased_cka") == "unbiased_cka"]
    assert [line[3].strip("*") for line in lines] == own["outcome"].tolist()
    assert lines[1][2] == ".950 [.930, .970], 3 pairs from .94 to .96, 3 of which hold, n = 1,000"
    assert "pairs" not in lines[0][2]
    assert [line[4] for line in lines] == [".87, holds", *["–"] * (len(lines) - 1)]
    assert lines[-1][2] == "–"


def test_factors_tell_slope_interval_and_p_or_leave_an_endless_interval_out():
    table = compare_tables.factors_table(made.factors(), "image")
    lines = table.splitlines()[2:]
    assert cells(lines[0])[0] == "the same objective (p ≥ .0020)"
    assert all("[" in cell and "β" in cell and "p =" in cell for cell in cells(lines[0])[1:])
    assert not any("[" in cell for cell in cells(lines[3])[1:])
    assert cells(lines[-1]) == ["*R² of all together*", *[".60"] * 5]


def test_tests_of_measures_are_told_with_chance_and_models_are_put_together():
    lines = compare_tables.measures_table(made.tests()).splitlines()[2:]
    assert cells(lines[0])[:2] == ["nearer layers are more alike: share in order (image)", ".90 (.50), 2 models"]
    assert cells(lines[1])[1] == ".90 (.50); p = .004"


def test_clusters_tell_of_models_modalities_and_what_is_known():
    lines = compare_tables.clusters_table(made.clusters()).splitlines()[2:]
    names = [cells(line)[0] for line in lines]
    assert names == [
        *("two models' images", "two models' texts", "images of one, texts of one"),
        *("images and habitat", "images and count"),
    ]
    mine = made.clusters()
    mine = mine[(mine["clusters"] == 10) & (mine["modality"] == "text")]["value"].astype(float)
    assert cells(lines[1])[1].startswith(f"{mine.mean():.3f}"[1:])


def test_trainings_are_compared_at_the_same_point_alone():
    rows = made.when()
    odd = rows[rows["condition"] == "training"].assign(y_checkpoint=0, value=9.0)
    odd = odd[odd["checkpoint"] != 0]
    assert compare_tables.training_table(pd.concat([rows, odd])) == compare_tables.training_table(rows)


def test_trainings_and_clusters_are_of_the_models_that_are_named():
    rows = made.when()
    lines = compare_tables.training_table(rows, ["clip_a", "clip_b"]).splitlines()[2:]
    assert [cells(line)[0] for line in lines] == [
        "image towers, one architecture, 1 pair", "text towers, one architecture, 1 pair",
    ]  # fmt: skip
    clusters = made.clusters()
    odd = clusters.assign(x="con", value=9.0)
    both = pd.concat([clusters, odd])
    assert compare_tables.clusters_table(both, ["clip_a", "blip_like"]) == compare_tables.clusters_table(clusters)


def test_depths_are_paired_with_the_nearest():
    mine = made.when()
    mine = mine[(mine["condition"] == "depth") & (mine["x"] == "clip_a") & (mine["y"] == "clip_b")]
    curve = compare_when_figures._by_depth(mine[mine["modality"] == "image"])
    np.testing.assert_allclose(curve.index, [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(np.diff(curve["value"]), -0.3 / 4)


def test_all_figures_and_tables_come_of_the_tables_of_the_stage():
    found = {"similarity": made.similar(), "when": made.when(), "trajectory": made.paths(), "factors": made.factors()}
    found |= {
        "measures": made.tests(),
        "noise": pd.DataFrame(),
        "clusters": made.clusters(),
        "claims": made.claims(),
    }
    assert set(found) == set(compare_report.TABLES)
    figures = compare_report.compare_figure_set(found, made.MODELS[:3])
    names = ("image", "text", "depth", "trajectories", "when", "factors", "claims")
    assert list(figures) == [f"compare_{name}" for name in names]
    assert all("–" not in table for name, table in compare_report.compare_table_set(found, made.MODELS[:3]).items()
               if name in ("compare_across", "compare_training"))  # fmt: skip
    shown = [text.get_text() for text in figures["compare_trajectories"].legends[0].get_texts()]
    assert shown == ["CLIP-like", "CLIP-like, seed 1", "ALIGN-like", "other models", "at init"]


@pytest.mark.parametrize(
    "draw",
    [
        lambda: compare_figures.matrices(made.similar(), "image", made.MODELS[:3]),
        lambda: compare_figures.factors(made.factors()),
        lambda: compare_figures.claims(made.claims()),
        lambda: compare_when_figures.depth(made.when(), made.claims()),
        lambda: compare_when_figures.trajectories(made.paths()),
    ],
)
def test_figures_are_drawn(tmp_path, draw):
    save(draw(), tmp_path / "one.png")
    assert (tmp_path / "one.png").stat().st_size > 10_000


def test_a_figure_has_a_panel_for_each_scale_that_was_run():
    figure = compare_when_figures.when(made.when(), {"data": "pairs seen", "capacity": "width"})
    assert [axis.get_title(loc="left") for axis in figure.axes] == [
        *("over training", "in another domain", "over pairs seen, with the same models"),
    ]


def test_maps_have_a_panel_a_model_and_a_colour_for_the_largest_groups():
    rng = np.random.default_rng(0)
    told = [("clip_a", "image"), ("con", "image"), ("clip_a", "text")]
    parts = [
        pd.DataFrame({"model": model, "modality": modality, "id": [str(i) for i in range(60)]}).assign(
            a=rng.normal(size=60), b=rng.normal(size=60), share_a=0.2, share_b=0.1, agreement=0.5
        )
        for model, modality in told
    ]
    groups = {str(i): "abcdefg"[min(i // 8, 6)] for i in range(60)}
    figure = compare_maps_figure.maps(pd.concat(parts), groups, "habitat")
    assert [axis.get_title(loc="left") for axis in figure.axes if axis.axison] == [
        *("CLIP-like: .50", "Con: .50", "CLIP-like: .50"),
    ]
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert shown == ["habitat g", "habitat a", "habitat b", "habitat c", "habitat d", "others"]
