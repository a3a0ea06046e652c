"""Figures: the same table gives the same bytes, and what is drawn is what the table holds."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from jam.report import figures, sweep_figures
from jam.report.labels import LABELS, METRICS
from jam.report.style import SERIES, looks, save
from jam.report.tables import grid, other_spaces_table, result_table, trend_table
from jam.results import results_table

SPACES = ("con", "spread")


def evaluated():
    rows = []
    for i, space in enumerate(SPACES):
        value = 0.6 + 0.1 * i
        shared = {"subject": space, "x": "image", "value": value, "low": value - 0.02, "high": value + 0.02}
        for told in (
            {"metric": "recall", "k": 1, "direction": "x_to_y", "y": "text"},
            {"metric": "recall", "k": 1, "direction": "y_to_x", "y": "text"},
            {"metric": "hard_negatives", "tier": "hard", "y": "text"},
            {"metric": "hard_negatives", "kind": "swap_attribute", "y": "text"},
            {"metric": "alignment", "y": "text"},
            {"metric": "preservation", "k": 5},
            {"metric": "preservation", "k": 5, "x": "text"},
        ):
            rows += [{**shared, **told}, {**shared, **told, "seed": 0, "value": 0.123}]
    return results_table("evaluate", rows)


def test_the_figure_of_spaces_shows_each_value_and_interval(tmp_path):
    drawn = figures.spaces(evaluated(), SPACES, ("image", "text"))
    lines = {tuple(np.round(np.array(line.get_xdata(), float), 3)) for line in drawn.axes[0].lines}
    assert {(0.6,), (0.58, 0.62), (0.7,), (0.68, 0.72)} <= lines
    save(drawn, tmp_path / "a.png")
    save(figures.spaces(evaluated(), SPACES, ("image", "text")), tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_chance_is_drawn_and_told_where_it_is_known():
    known = evaluated().assign(null_mean=0.05)
    known["null_mean"] = known["null_mean"].where((known["metric"] == "recall") & known["seed"].isna())
    drawn = figures.spaces(known, SPACES, ("image", "text"))
    at = [[line.get_xdata()[0] for line in axis.lines if line.get_linestyle() == ":"] for axis in drawn.axes]
    assert at == [[0.05], [0.05], [0.5]]
    assert result_table(known, SPACES).endswith("| *chance* | .050 | .050 | .500 | – | – |")
    assert "chance" not in result_table(evaluated(), SPACES)  # results of before it was kept


def test_hard_negatives_are_drawn_by_kind():
    drawn = figures.hard_negatives(evaluated(), SPACES)
    heights = {float(np.round(line.get_ydata()[0], 3)) for line in drawn.axes[0].lines}
    assert {0.6, 0.7} <= heights


def test_names_have_looks_of_their_own_and_labels():
    assert len({colour for colour, _ in SERIES}) == len({marker for _, marker in SERIES}) == len(SERIES)
    assert len(set(looks(list("abcdefgh")).values())) == 8
    assert looks(["a", "b"])["a"] == SERIES[0]
    assert all(metric.label for metric in METRICS.values())
    assert len(set(LABELS.values())) == len(LABELS)


def test_a_map_holds_the_means_in_the_order_of_the_grid_and_frames_the_best():
    rows = [
        {"x": x, "y": y, "metric": "recall", "direction": "both", "split": "test", "value": 0.1 * i + 0.01 * j}
        for i, x in enumerate(("b", "a"))
        for j, y in enumerate(("z", "c", "k"))
    ]
    rows += [{**row, "seed": 0, "value": 9.0} for row in rows]  # a single seed is not what is shown
    where = {"metric": "recall", "direction": "both", "split": "test"}
    panel = sweep_figures._map(results_table("layers", rows), ("x", "y"), where)
    drawn = sweep_figures.heatmaps({"": panel}, ("x", "y"))
    axis = drawn.axes[0]
    assert [text.get_text() for text in axis.get_yticklabels()] == ["b", "a"]
    assert [text.get_text() for text in axis.texts] == [".00", ".01", ".02", ".10", ".11", ".12"]


def test_numbers_are_legible_on_the_colour_of_their_cell():
    """Of a map of one cell or of equal ones the colour map gives the darkest."""
    for values in ([[0.3]], [[0.3, 0.3]], [[0.0, 1.0]]):
        drawn = sweep_figures.heatmaps({"": pd.DataFrame(values)}, ("x", "y"))
        image = drawn.axes[0].images[0]
        for text, value in zip(drawn.axes[0].texts, values[0], strict=True):
            light = np.mean(image.cmap(image.norm(value))[:3])
            assert text.get_color() == ("black" if light > 0.5 else "white")


def test_maps_stay_narrow_enough_for_a_page():
    columns = [f"λ {i}→0.1 cross" for i in range(7)]
    drawn = sweep_figures.heatmaps({"a": pd.DataFrame(np.eye(7), columns=columns)} | {"b": pd.DataFrame(np.eye(7))},
                                   ("loss", "reconstruction"))  # fmt: skip
    assert drawn.get_figwidth() < 10
    assert drawn.axes[1].get_xticklabels()[0].get_text() == "λ 0→0.1\ncross"


def test_layers_tell_their_splits_and_what_is_framed():
    cell = {"x": "v", "y": "t", "x_layer": 1, "y_layer": 2, "value": 0.5}
    # fmt: off
    rows = [{**cell, "metric": "recall", "direction": "both", "split": "test"},
            {**cell, "metric": "mutual_knn", "condition": "frozen", "split": "val"},
            {**cell, "metric": "recall", "direction": "x_to_y", "split": "test", "condition": "best of all"}]
    # fmt: on
    drawn = sweep_figures.layers(results_table("layers", rows))
    assert [axis.get_title(loc="left") for axis in drawn.axes] == [
        "trained: R@1, own captions alone, test",
        "frozen: mutual kNN, validation",
    ]
    assert "framed: the pair of layers with the highest recall on validation rows" in drawn.get_supxlabel()


def test_the_mean_curve_ends_where_the_first_training_stops():
    """The mean of those that go on would jump."""
    lengths = {0: 3, 1: 5}
    rows = [{"space": "con", "seed": seed, "epoch": epoch, "validation_score": 0.1 * (seed + epoch)}
            for seed, epochs in lengths.items() for epoch in range(epochs)]  # fmt: skip
    axis = figures.training_curves(pd.DataFrame(rows), ["con"]).axes[0]
    assert [len(line.get_xdata()) for line in axis.lines] == [3, 5, 3]
    assert axis.lines[-1].get_ydata() == pytest.approx([0.05, 0.15, 0.25])


def encoded(width, height):
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, "PNG")
    return {"bytes": buffer.getvalue()}


def test_captions_of_tall_and_of_wide_photos_are_inside_the_figure():
    sizes = [(40, 90), (90, 40), (50, 50), (20, 80), (80, 20)]
    rows = [{"image": encoded(*size), "captions": ["a long caption of many words " * 4],
             "negatives": [{"tier": "hard", "of": 0, "text": "a false one " * 9}]} for size in sizes]  # fmt: skip
    drawn = figures.samples(rows)
    drawn.canvas.draw()
    for text in (text for axis in drawn.axes for text in axis.texts):
        box = text.get_window_extent()
        assert drawn.bbox.containsx(box.x0)
        assert drawn.bbox.containsx(box.x1)
        assert drawn.bbox.containsy(box.y0)
        assert drawn.bbox.containsy(box.y1)


def test_a_contact_sheet_names_its_space():
    found = pd.DataFrame([{"space": "con", "seed": "2", "id": "a", "caption": "red", "rank": "1", "of": "9",
                           "place_1": "a", "place_2": "b"}])  # fmt: skip
    drawn = figures.retrieved(found, {"a": encoded(4, 4), "b": encoded(4, 4)})
    assert [text.get_text() for text in drawn.texts] == [
        "test images nearest to a caption, its own framed\nCon, the best on validation rows"
    ]


def test_tables_read_results_and_show_a_dash_where_there_is_none():
    table = result_table(evaluated(), SPACES)
    assert table.splitlines()[0].startswith("| space | image → text R@1 | text → image R@1 | hard negatives |")
    assert "| Con | .600 [.580, .620] | .600 [.580, .620] | .600 [.580, .620] |" in table
    assert "| Spread: image, text | .700 [.680, .720] |" in other_spaces_table(evaluated(), ["spread"])
    assert grid(evaluated(), "", {"con": {"subject": "con"}}, {"none": {"metric": "mrr"}}).endswith("| con | – |")


def test_trends_are_told_by_their_columns():
    row = {"grid": "scale", "predictor": "quality", "predictor_side": "x", "metric": "recall", "condition": "trained"}
    rows = [{**row, "value": 0.5, "low": 0.1, "high": 0.9, "p": 0.04}, {**row, "grid": "layers", "value": 0.9}]
    predictors = {"quality of x": {"predictor": "quality", "predictor_side": "x"}}
    told = trend_table(results_table("trends", rows), "scale", predictors, {"recall": {"metric": "recall"}})
    assert told.endswith("| quality of x | .50* [.10, .90] |")


def test_a_figure_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    class Broken:
        def savefig(self, *args, **kwargs):
            raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        save(Broken(), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_results_hold_the_schema_and_come_back_as_they_were(tmp_path):
    from jam.results import read_results, select, write_results

    written = write_results(tmp_path / "a.csv", "evaluate", evaluated())
    assert (tmp_path / "a.csv").read_text().splitlines()[0].startswith("experiment,subject,seed,x,y,metric,direction,k")
    again = read_results([tmp_path / "a.csv"])
    pd.testing.assert_frame_equal(again, written, check_like=True)
    assert again["k"].dtype == "Int64"
    assert len(select(again, subject="con", seed=None, metric="recall", k=1)) == 2
    assert len(select(again, subject=SPACES, kind="swap_attribute", nowhere=None)) == 4
    with pytest.raises(ValueError, match=r"evaluate: got columns \['loss'\]"):
        results_table("evaluate", [{"loss": "con"}])
    with pytest.raises(ValueError, match="evaluate: "):
        results_table("evaluate", [{"k": "many"}])
    (tmp_path / "b.csv").write_text("a,b\n1,2\n")
    for name, message in (("b", "expected a table of results"), ("c", "no such file; run the stage")):
        with pytest.raises(ValueError, match=message):
            read_results([tmp_path / f"{name}.csv"])
