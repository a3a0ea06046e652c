"""Tables of how many pairs it takes, of the law, and of what size, objective, stage and seed of encoders do."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from jam.report.labels import label, metric
from jam.report.tables import grid, markdown, number, with_interval
from jam.results import columns_of, select

Where = Mapping[str, Any]
MODALITIES = {"image": "images", "text": "texts", "both": "both"}
OBJECTIVES = {
    "labels": "labels", "contrastive": "contrastive", "causal": "next word", "masked": "masked words",
}  # fmt: skip
TRUE: Where = {"metric": "true_recall"}


def _of(results: pd.DataFrame, experiment: str) -> pd.DataFrame:
    """The rows of an experiment with all of its columns, where there are none too."""
    return select(results, experiment=experiment).reindex(columns=list(columns_of(experiment)))


def pairs_table(results: pd.DataFrame) -> str:
    """True R@1 by number of pairs: means over trained couples by method, differences of methods, then controls."""
    mine = select(_of(results, "pairs"), **TRUE)
    ns = sorted(int(n) for n in select(mine, condition=("mean", "control"))["pairs"].dropna().unique())
    rows: dict[str, Where] = {
        label(name): {"condition": "mean", "method": name}
        for name in dict.fromkeys(select(mine, condition="mean")["method"])
    }
    gaps = select(mine, condition="difference")[["method", "against"]].drop_duplicates()
    rows |= {
        f"{label(a)} − {label(b)}": {"condition": "difference", "method": a, "against": b}
        for a, b in gaps.itertuples(index=False)
    }
    controls = select(mine, condition="control", method="cca")[["subject", "x", "y"]].drop_duplicates()
    for subject, x, y in controls.itertuples(index=False):
        where = {"condition": "control", "method": "cca"}
        if pd.notna(subject):
            rows[f"*CCA, {control(subject)}*"] = {**where, "subject": subject}
        else:
            rows[f"*CCA, {label(x)} × {label(y)}*"] = {**where, "subject": None, "x": x, "y": y}
    return grid(mine, "pairs", rows, {f"{n:,}": {"pairs": n} for n in ns}, with_interval)


def control(subject: str) -> str:
    """What readers see for a control of the grid."""
    known = {"shuffled": "pairs shuffled: chance", "init": "nets at init"}
    return known.get(subject, f"{label(subject)} × trained")


def curves_table(results: pd.DataFrame) -> str:
    """True R@1 of the couples that are named, by method and number of pairs."""
    mine = select(_of(results, "pairs"), condition="curve", **TRUE)
    ns = sorted(int(n) for n in mine["pairs"].unique())
    rows = {
        f"{label(x)} × {label(y)}, {label(method)}": {"x": x, "y": y, "method": method}
        for x, y, method in mine[["x", "y", "method"]].drop_duplicates().itertuples(index=False)
    }
    return grid(mine, "encoders and method", rows, {f"{n:,}": {"pairs": n} for n in ns}, with_interval)


def law_table(results: pd.DataFrame) -> str:
    """Out-of-sample R² of what is known beforehand, on couples of encoders that were left out."""
    mine = select(_of(results, "pairs"), condition="law")
    ns = sorted(int(n) for n in mine["pairs"].dropna().unique())
    shown = ns if len(ns) < 3 else [ns[0], ns[len(ns) // 2], ns[-1]]
    columns: dict[str, Where] = {
        f"R² of R@1 with {n:,} pairs": {"metric": "r2", "foretold": "true_recall", "pairs": n} for n in shown
    }
    if shown:
        last = {"foretold": "true_recall", "pairs": shown[-1]}
        columns[f"rank correlation, {shown[-1]:,} pairs"] = {"metric": "rank_correlation", **last}
    columns["R² of pairs needed"] = {"metric": "r2", "foretold": "pairs_needed"}
    rows = {predictor(name): {"predictor": name} for name in dict.fromkeys(mine["predictor"])}
    table = grid(mine, "known beforehand", rows, columns, lambda found: with_interval(found, 2))
    needed = select(_of(results, "pairs"), condition="mean", metric="pairs_needed").to_dict("records")
    told = [f"{label(row['method'])} {whole(row)}" for row in needed]
    lines = [f"Pairs until 90 % of R@1 at the last: {'; '.join(told)}."] if told else []
    crossed = select(_of(results, "pairs"), condition="curve_crossing").to_dict("records")
    crossings = [
        f"{label(row['x'])} × {label(row['y'])}: {label(row['against'])} passes {label(row['method'])} at {whole(row)}"
        for row in crossed
    ]
    lines += [f"Crossings: {'; '.join(crossings)}."] if crossings else []
    if len(formula := select(_of(results, "pairs"), condition="formula")):
        parts = [f"({with_interval(formula[i : i + 1], 2)}){term(name)}" for i, name in enumerate(formula["predictor"])]
        lines.append(f"log odds of R@1 = {' + '.join(parts)}.")
    return "\n\n".join([table, *lines])


def term(name: str) -> str:
    """What a coefficient multiplies, as a formula has it."""
    if name == "constant":
        return ""
    of = name.removeprefix("log ")
    return f" · log {of if of == 'pairs' else metric(of)}"


def whole(row: Mapping[str, Any]) -> str:
    """A number of pairs with its interval."""
    return f"{row['value']:,.0f} [{row['low']:,.0f}, {row['high']:,.0f}]"


def predictor(name: str) -> str:
    """What readers see for something known beforehand."""
    first, *rest = name.split(",")
    known = f"raw {metric(first)}" if first in ("mutual_knn", "unbiased_cka", "cknna", "svcca", "cca") else first
    for key in ("mutual_knn", "unbiased_cka"):
        known = known.replace(f"{key} and", f"raw {metric(key)} and")
    return ",".join([known, *rest])


def effect(row: Mapping[str, Any]) -> str:
    """What readers see for an effect of encoders."""
    level, reference = (OBJECTIVES.get(str(row[name]), row[name]) for name in ("level", "reference"))
    if row["effect"] == "size":
        return "a step of size" + ("" if pd.isna(row["level"]) else f", {level}")
    if row["effect"] == "objective":
        return f"{level} − {reference}"
    return f"trained − at {reference} %" if row["effect"] == "stage" else "second seed − first"


def effects_table(results: pd.DataFrame) -> str:
    """Effects on what alignment brings and on raw alignment, a star where the test gives p ≤ .05."""
    mine = select(_of(results, "scale"), interval="inverted permutation test")
    outcomes = list(dict.fromkeys(mine["metric"]))
    lines = []
    for _, rows in mine.groupby(["modality", "effect", "level", "reference"], sort=False, dropna=False):
        of = {row["metric"]: row for row in rows.to_dict("records")}
        first = next(iter(of.values()))
        cells = [effect_cell(of[name]) if name in of else "–" for name in outcomes]
        lines.append([f"{MODALITIES.get(first['modality'], first['modality'])}: {effect(first)}", *cells,
                      f"{first['n']}", f"{first['smallest_p']:.2g}".removeprefix("0")])  # fmt: skip
    return markdown(["effect", *map(metric, outcomes), "encoders", "smallest p"], lines)


def effect_cell(row: Mapping[str, Any]) -> str:
    """An effect with its interval; unbounded where the design can refuse nothing."""
    star = "*" if row["p"] <= 0.05 else ""
    ends = ["∞" if pd.isna(row[end]) else number(row[end]) for end in ("low", "high")]
    told = " (unbounded)" if ends == ["∞", "∞"] else f" [{ends[0]}, {ends[1]}]"
    return f"{number(row['value'])}{star}{told}"


def stands_table(results: pd.DataFrame) -> str:
    """Whether the closed form ranks couples as JAM's trainings do."""
    mine = select(_of(results, "trends"), grid="scale")
    rows = {f"CCA, {metric(name)}": {"predictor": name} for name in dict.fromkeys(mine["predictor"])}
    shown = {"rank correlation with R@1 of JAM's trainings": {"metric": "recall"}}
    return grid(mine, "closed form", rows, shown, lambda found: with_interval(found, 2))
