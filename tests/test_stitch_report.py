"""Tables and figures of models stitched, and of heads handed over, on made-up results."""

from itertools import product

import pandas as pd
import pytest
from matplotlib.figure import Figure

from jam.report import stitch_figures, stitch_tables
from jam.report.style import save
from jam.results import results_table

RECALL = {"metric": "recall", "direction": "x_to_y", "k": 10, "value": 0.4}


def held(kept, against="own", **told):
    return {**RECALL, "value": kept - 1, "against": against, "kept": kept, **told}


@pytest.fixture(scope="module")
def stitch():
    rows = []
    for x, y in product("ab", "ab"):
        told = {"x": x, "y": y}
        if x == y:
            rows.append({**RECALL, **told, "condition": "own", "value": 0.5})
            continue
        for method, count in product(("ridge", "orthogonal", "relative"), (50, 4000)):
            what = {**told, "condition": "stitched", "method": method, "anchors": count}
            share = {"ridge": 0.9, "orthogonal": 0.7, "relative": 0.6}[method] - (0.3 if count == 50 else 0)
            rows += [{**RECALL, **what}, held(share, **what), held(share + 0.05, "own_x", **what)]
        for condition, method, count in (("shuffled", "ridge", 4000), ("unmapped", "identity", None)):
            what = {**told, "condition": condition, "method": method, "anchors": count}
            rows += [{**RECALL, **what}, held(0.02, **what)]
    for low, m in product(range(3), range(3)):
        told = {"x": "a", "y": "b", "x_layer": low, "y_layer": m}
        rows.append(held(1 - 0.2 * abs(low - m), **told, condition="stitched", method="ridge"))
        if low == m:
            for condition, method in (("shuffled", "ridge"), ("untrained", "ridge"), ("untrained", "trained")):
                rows.append(held(0.1, **told, condition=condition, method=method))
        if low in (m, 2):
            rows.append(held(0.95, **told, condition="stitched", method="trained"))
    return results_table("stitch", rows)


@pytest.fixture(scope="module")
def transfer():
    rows = []
    for x, y in (("a", "b"), ("b", "a")):
        for condition, method, count, kept in (
            ("mapped", "ridge", 50, 0.5), ("mapped", "ridge", 4000, 0.8), ("shuffled", "ridge", 4000, 0.0),
            ("labels", None, 50, 0.4), ("labels", None, 4000, 1.0),
        ):  # fmt: skip
            told = {"x": x, "y": y, "condition": condition, "method": method, "anchors": count, "label": "count"}
            told |= {"metric": "balanced_accuracy", "value": 0.25 + kept / 2, "null_mean": 0.25}
            rows += [told, {**told, "against": "own", "kept": kept}]
        told = {"x": x, "y": x, "label": "count", "metric": "balanced_accuracy", "condition": "own"}
        rows.append(told | {"value": 0.75, "null_mean": 0.25})
    return results_table("transfer", rows)


def test_sentences_are_read_off_the_tables(stitch, transfer):
    told = stitch_tables.stitch_sentence(stitch)
    assert "keeps 90% of that model's own R@10 through the map ridge, and 95% of that of its own model" in told
    assert "4,000 unlabelled images" in told
    assert "leave 2%" in told
    told = stitch_tables.transfer_sentence(transfer)
    assert "keeps 80% (count) of what an own head is above chance; an own head is better from 4,000 (count)" in told
    digits = transfer.assign(label="digit", value=transfer["value"].where(transfer["condition"] != "mapped", 0.35))
    told = stitch_tables.transfer_sentence(pd.concat([transfer, digits]))
    assert "keeps 20% (digit) to 80% (count)" in told
    assert "from 50 (digit) to 4,000 (count) labels on" in told


def test_tables_hold_each_number_once(stitch):
    assert "| a | **.500** | .400 |" in stitch_tables.towers_table(stitch, "ridge")
    assert "| stitched, ridge | .60 | .90 | – |" in stitch_tables.conditions_table(stitch)
    assert "| a under b | 1.00 | – | .95 | .10 | .10 | .60 | .95 |" in stitch_tables.layers_table(stitch)


def test_figures_are_drawn_and_of_the_same_bytes_twice(stitch, transfer, tmp_path):
    def made() -> dict[str, Figure]:
        return {
            "layers": stitch_figures.by_layer(stitch, "ridge"),
            "towers": stitch_figures.towers(stitch, "ridge"),
            "anchors": stitch_figures.anchors(stitch, transfer),
        }

    for name, figure in made().items():
        save(figure, tmp_path / f"{name}.png")
    for name, figure in made().items():
        save(figure, tmp_path / "again.png")
        assert (tmp_path / "again.png").read_bytes() == (tmp_path / f"{name}.png").read_bytes()


def test_the_last_layer_under_each_has_a_line_of_its_own(stitch):
    figure = stitch_figures.by_layer(stitch, "ridge")
    [line] = [line for line in figure.axes[1].lines if line.get_label() == stitch_figures.LATE]
    assert list(line.get_xdata()) == [0, 1, 2]
    assert list(line.get_ydata()) == [0.95] * 3
