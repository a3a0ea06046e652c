"""Figures: the same table gives the same bytes, and what is drawn is what the table holds."""

import numpy as np
import pandas as pd
import pytest

from jam.report import figures, sweep_figures
from jam.report.labels import LABELS, METRICS
from jam.report.style import SERIES, looks, save
from jam.report.tables import grid, other_spaces_table, pareto_table, result_table, trend_table
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
    drawn = sweep_figures.scale_maps(results_table("scale", rows))
    axis = drawn.axes[0]
    assert [text.get_text() for text in axis.get_yticklabels()] == ["b", "a"]
    assert [text.get_text() for text in axis.texts] == [".00", ".01", ".02", ".10", ".11", ".12"]


def test_tables_read_results_and_show_a_dash_where_there_is_none():
    table = result_table(evaluated(), SPACES)
    assert table.splitlines()[0].startswith("| space | image → text R@1 | text → image R@1 | hard negatives |")
    assert "| Con | .600 [.580, .620] | .600 [.580, .620] | .600 [.580, .620] |" in table
    assert "| Spread: image, text | .700 [.680, .720] |" in other_spaces_table(evaluated(), ["spread"])
    assert grid(evaluated(), "", {"con": {"subject": "con"}}, {"none": {"metric": "mrr"}}).endswith("| con | – |")


def test_trends_and_fronts_are_told_by_their_columns():
    row = {"grid": "scale", "predictor": "quality", "predictor_side": "x", "metric": "recall", "condition": "trained"}
    rows = [{**row, "value": 0.5, "low": 0.1, "high": 0.9, "p": 0.04}, {**row, "grid": "layers", "value": 0.9}]
    predictors = {"quality of x": {"predictor": "quality", "predictor_side": "x"}}
    told = trend_table(results_table("trends", rows), "scale", predictors, {"recall": {"metric": "recall"}})
    assert told.endswith("| quality of x | .50* [.10, .90] |")
    front = {"loss": "spread", "alpha_first": 0.1, "alpha_last": 0.9, "goal": "recall"}
    rows = [{**front, "metric": "hypervolume", "value": 0.3, "low": 0.2, "high": 0.4, "seeds": 3}]
    rows.append({**front, "metric": "on_front", "value": 1, "lambda_first": 1, "lambda_last": 0.1, "cross": 1})
    assert "| Spread α 0.1→0.9 | .300 [.200, .400] | λ 1→0.1 cross |" in pareto_table(
        results_table("pareto_fronts", rows)
    )


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
