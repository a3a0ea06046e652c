"""Tables of depth, and of what alignment costs."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from jam.report.labels import label, metric
from jam.report.tables import Where, ends, grid, markdown, number, setting, value, variant, with_interval
from jam.results import select

VARIANT, SETTING = ["loss", "alpha_first", "alpha_last"], ["lambda_first", "lambda_last", "cross"]
MEAN = "mean"  # of all factors
CLOSED, BEST, LAST = "closed form", "closed form, best layers", "closed form, last layers"
PREDICTORS = ("mutual_knn", "unbiased_cka", "cknna")


def depth_table(results: pd.DataFrame) -> str:
    """Of each pair of encoders the layers that CCA aligns best, chosen on validation rows, and what that gains."""
    mine, trends = select(results, experiment="layers"), select(results, experiment="trends", grid="depth", within=None)
    lines = []
    for row in select(mine, condition=BEST, against=None).to_dict("records"):
        pair = {"x": row["x"], "y": row["y"]}
        last, gain = (select(mine, **pair, **of) for of in ({"condition": LAST}, {"condition": BEST, "against": LAST}))
        told = [select(trends, **pair, predictor=name) for name in PREDICTORS]
        lines.append(
            [
                f"{label(row['x'])}, {label(row['y'])}", f"{row['x_layer']}, {row['y_layer']}",
                with_interval(select(mine, **pair, condition=BEST, against=None)), value(last), with_interval(gain),
                *(number(rows["value"].iloc[0], 2) if len(rows) else "–" for rows in told),
            ]
        )  # fmt: skip
    name = metric(select(mine, condition=BEST)["metric"].iloc[0])
    header = ["encoders", "best layers", name, "of the last layers", "gain", *(f"ρ of {metric(m)}" for m in PREDICTORS)]
    return markdown(header, lines)


def depth_trend_table(results: pd.DataFrame) -> str:
    """Mean rank correlation, over pairs of encoders, of frozen alignment with what CCA makes of the layers."""
    mine = select(results, experiment="trends", grid="depth", x=None)
    rows = {f"frozen {metric(name)}": {"predictor": name} for name in PREDICTORS}

    def show(found: pd.DataFrame) -> str:
        row = found.iloc[0]
        return f"{with_interval(found.assign(p=pd.NA), 2)}, null {number(row['null'], 2)}, p {row['p']:.3f}"

    columns: dict[str, Where] = {"over all layers": {"within": None}, "within a layer of x": {"within": "x"}}
    return grid(mine, "mean ρ over pairs of encoders", rows, columns, show)


def pareto_table(results: pd.DataFrame) -> str:
    """Of each loss the λ that aligns best on validation rows, and test scores there, without and with most of it."""
    fronts = select(results, experiment="pareto_fronts")
    cells = select(results, experiment="pareto", condition=None, error=None, split="test", seed=None)
    goal, lines = fronts["goal"].iloc[0], []
    kept = "private" if len(select(cells, metric="private")) else "preservation"
    last = cells[SETTING].drop_duplicates().sort_values(SETTING).iloc[-1].to_dict()
    told_of: dict[str, Where] = {
        goal: {"metric": goal, "direction": "both"},
        kept: {"metric": kept, "direction": "both", **({"label": MEAN} if kept == "private" else {})},
    }
    for key, own in fronts.groupby(VARIANT, sort=False, dropna=False):
        here = select(cells, **{name: None if pd.isna(of) else of for name, of in zip(VARIANT, key, strict=True)})
        best = select(own, metric="best", goal=goal).iloc[0].to_dict()
        chosen: Mapping[str, Any] = {name: best[name] for name in SETTING}
        places = (dict.fromkeys(SETTING, 0), chosen, {**last, "cross": cells["cross"].min()})
        scores = [" · ".join(_one(select(here, **where, **at)) for at in places) for where in told_of.values()]
        volume = select(own, metric="hypervolume", goal=goal, kept=kept)
        lines.append([variant(best), setting(best), *scores, with_interval(volume)])
    most = ends(last["lambda_first"], last["lambda_last"])
    columns = [f"{metric(name)} at λ 0 · best · {most}" for name in told_of]
    return markdown(["loss", f"best {metric(goal)}, validation", *columns, "hypervolume of the front"], lines)


def _one(rows: pd.DataFrame) -> str:
    return number(rows["value"].iloc[0]) if len(rows) else "–"


LOST = {"alignment alone destroys": "destroyed", "reconstruction saves": "saved", "left": "left"}
REFERENCES = {
    "frozen": "frozen",
    "whitened": "whitened",
    "random directions": "projected",
    "before training": "untrained",
}


def private_table(results: pd.DataFrame) -> str:
    """By side and factor: what the frozen layer tells, and what the first loss destroys and reconstruction saves."""
    mine = select(results, experiment="pareto", metric="private", seed=None, split="test")
    first = select(mine, condition="left").iloc[:1]
    own = (
        {} if first.empty else {name: None if pd.isna(first[name].iloc[0]) else first[name].iloc[0] for name in VARIANT}
    )
    rows: dict[str, Where] = {
        f"{side}: {factor}": {"direction": side, "label": factor}
        for side, factor in select(mine, condition="frozen")[["direction", "label"]].itertuples(index=False)
    }
    columns: dict[str, Where] = {name: {"condition": condition} for name, condition in REFERENCES.items()}
    columns |= {name: {"condition": condition, **own} for name, condition in LOST.items()}
    table = grid(mine, "factor", rows, columns, lambda found: with_interval(found, 2))
    if first.empty:
        return table
    loss = first.iloc[0].to_dict()
    return f"{table}\n\n{variant(loss)}; the λ that aligns best: {setting(loss)}."


def losses_table(results: pd.DataFrame) -> str:
    """The same of the mean over factors, by loss and side."""
    mine = select(results, experiment="pareto", metric="private", seed=None, split="test", label=MEAN)
    rows: dict[str, Where] = {}
    for row in select(mine, condition="left").to_dict("records"):
        own = {name: None if pd.isna(row[name]) else row[name] for name in VARIANT}
        rows[f"{variant(row)}, {setting(row)}: {row['direction']}"] = {**own, "direction": row["direction"]}
    columns: dict[str, Where] = {name: {"condition": condition} for name, condition in LOST.items()}
    return grid(mine, "loss, side", rows, columns, with_interval)
