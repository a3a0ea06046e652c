"""From tasks and saved spaces to results, tables and figures."""

import numpy as np
import pandas as pd
import pytest
import torch

from jam.align.adapter import Adapter
from jam.align.space import Side, Space
from jam.downstream.probing import Spoken, probe_table
from jam.downstream.similar import cosines_before, similarity_tables
from jam.downstream.tasks import Part, Task
from jam.params.downstream import Downstream
from jam.report import downstream_figures
from jam.report.downstream_tables import downstream_table, similarity_table, zero_shot_table
from jam.results import results_table, select
from tests.test_labelled import SECTION

D, CLASSES = 12, np.array(["ant", "bee", "cow", "dog"])
SEEDS = (0, 3)
OPTIONS = Downstream.model_validate(
    SECTION | {"neighbours": 5, "shots": [1, 5], "draws": 4, "prompts": {"label": ["a {}", "the {}"]}}
)


def part(n, seed):
    number = np.arange(n) % len(CLASSES)
    features = 5 * np.eye(D)[number] + 2 * np.random.default_rng(seed).normal(size=(n, D))
    return Part(features.astype(np.float32), CLASSES[number], np.arange(n) // 2)


@pytest.fixture(scope="module")
def spaces(tmp_path_factory):
    """A space that maps nothing away, of two seeds; both sides alike."""
    folder, found = tmp_path_factory.mktemp("spaces"), {}
    for seed in SEEDS:
        adapter = Adapter("linear", D, D)
        for weights in adapter.tower.parameters():
            weights.data = torch.eye(D) if weights.ndim == 2 else torch.zeros(D)
        Space({"image": Side(adapter), "text": Side(adapter)}, [("image", "text")]).save(folder / str(seed))
        found[seed] = folder / str(seed)
    return {"linear": found}


@pytest.fixture(scope="module")
def results(spaces):
    task = Task("folder", "label", part(200, 0), part(60, 1), words={name: name for name in CLASSES.tolist()})
    way = dict(zip(CLASSES.tolist(), 5 * np.eye(D, dtype=np.float32), strict=False))
    texts = {f"{article} {name}": vector for name, vector in way.items() for article in ("a", "the")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAM_WORKERS", "1")
        table = probe_table([task], "image", spaces, Spoken("text", texts), OPTIONS, 50)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, D)).astype(np.float32)
    pair, true = (x, x + 0.3 * rng.normal(size=x.shape).astype(np.float32)), np.eye(40, dtype=bool)
    before = cosines_before({"test": pair}, true, OPTIONS.penalties)
    rows, drawn = similarity_tables(("image", "text"), before, pair, true, spaces, np.arange(40), OPTIONS, 50)
    return results_table("downstream", pd.concat([table, pd.DataFrame(rows)], ignore_index=True)), drawn


def test_every_number_has_its_interval_its_rows_and_its_seeds(results):
    table, _ = results
    means = select(table, seed=None)
    assert means[["value", "low", "high", "n", "seeds", "units", "interval"]].notna().all(axis=None)
    assert (means["low"] <= means["value"] + 1e-9).all()
    assert (means["value"] <= means["high"] + 1e-9).all()
    plain = select(means, metric=("probe", "knn", "few_shot", "zero_shot"))
    assert plain[["null_mean", "majority"]].notna().all(axis=None)
    assert set(plain["null_mean"]) == {0.25}
    assert set(select(plain, condition="after")["seeds"]) == {2}
    assert set(select(plain, metric="few_shot")["shots"]) == {1, 5}
    assert set(select(plain, metric="probe")["condition"]) == {"before", "whitened", "after"}
    assert set(select(plain, metric="zero_shot")["condition"]) == {"after"}  # before it, there is no cosine
    assert select(table, metric="d_prime", subject="linear")["seed"].dropna().tolist() == list(SEEDS)


def test_a_difference_is_after_minus_before(results):
    means = select(results[0], seed=None)
    for metric in ("probe", "knn"):
        for earlier in ("before", "whitened"):
            after, then = (select(means, metric=metric, condition=name)["value"].item() for name in ("after", earlier))
            where = {"subject": "linear", "label": "folder: label", "x": "image", "against": earlier}
            found = select(means, metric=f"{metric}_difference", **where)
            assert found["value"].item() == pytest.approx(after - then)
    after, before = (select(means, metric="d_prime", condition=name)["value"].item() for name in ("after", "before"))
    assert select(means, metric="d_prime_difference")["value"].item() == pytest.approx(after - before)
    assert before > select(means, metric="d_prime", condition="before")["null"].item()


def test_tables_show_what_results_hold(results):
    table, _ = results
    value, balanced = (
        select(table, metric=name, seed=None)["value"].item() for name in ("zero_shot", "zero_shot_balanced")
    )
    assert value == pytest.approx(balanced)  # the classes are of one size
    told = zero_shot_table(table)
    assert f"{value:.3f}".lstrip("0") in told
    assert "*frozen layers: undefined*" in told
    lines = downstream_table(table).split("\n")
    header = "| task | linear probe | 5-NN | 1 example a class | 5 examples a class |"
    assert lines[0] == f"{header} probe, after − before | probe, after − whitened |"
    assert [line.split("|")[1].strip() for line in lines[2:]] == [
        "folder: label, frozen layer", "folder: label, whitened, as linear, Con does", "folder: label, linear, Con",
        "*folder: label: chance .250, majority .250; n 60 images of 30 units*",
    ]  # fmt: skip
    assert "before: frozen layers, as they are" in similarity_table(table)
    none = results_table("downstream", [])
    assert downstream_table(none) == "No labelled images were read."
    assert zero_shot_table(none) == "Nothing was sought by prompts."


def test_figures_show_each_value(results):
    table, drawn = results
    figure = downstream_figures.downstream(table)
    assert [axis.get_title(loc="left") for axis in figure.axes[:5]] == [
        "linear probe", "5-NN", "1 example a class", "5 examples a class", "by prompts",
    ]  # fmt: skip
    shown = {round(float(x), 3) for line in figure.axes[0].lines for x in line.get_xdata()}
    means = select(table, metric="probe", seed=None)
    assert {round(float(value), 3) for value in means["value"]} <= shown
    figure = downstream_figures.similarity(drawn, table)
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert titles[0].startswith("before (as they are)\nd′ ")
    assert titles[1].startswith("after, linear, Con\nd′ ")
