"""Figures: the same table gives the same bytes, and what is drawn is what the table holds."""

import numpy as np
import pandas as pd
import pytest

from jam import plots


def evaluated():
    rows = []
    for i, method in enumerate(("con", "spread")):
        for metric, group in (
            ("i2t_r1", ""),
            ("t2i_r1", ""),
            ("negatives_by_tier", "hard"),
            ("negatives_by_kind", "swap_attribute"),
        ):
            value = 0.6 + 0.1 * i
            rows.append((method, metric, group, "mean", value, value - 0.02, value + 0.02))
    return pd.DataFrame(rows, columns=["method", "metric", "group", "seed", "value", "low", "high"])


def test_the_objectives_figure_shows_each_value_and_interval(tmp_path):
    figure = plots.objectives(evaluated(), ["con", "spread"])
    drawn = {tuple(np.round(line.get_xdata(), 3)) for line in figure.axes[0].lines}
    assert {(0.6,), (0.58, 0.62), (0.7,), (0.68, 0.72)} <= drawn
    plots.save(figure, tmp_path / "a.png")
    plots.save(plots.objectives(evaluated(), ["con", "spread"]), tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_hard_negatives_are_drawn_by_kind():
    figure = plots.hard_negatives(evaluated(), ["con", "spread"], ["swap_attribute"])
    heights = {float(np.round(line.get_ydata()[0], 3)) for line in figure.axes[0].lines}
    assert {0.6, 0.7} <= heights


def test_every_method_has_its_own_colour_and_marker():
    assert len(set(plots.COLOURS.values())) == len(plots.COLOURS)
    assert len(set(plots.MARKERS.values())) == len(plots.MARKERS)
    assert set(plots.MARKERS) == set(plots.COLOURS) <= set(plots.LABELS)


def test_a_figure_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    class Broken:
        def savefig(self, *args, **kwargs):
            raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        plots.save(Broken(), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
