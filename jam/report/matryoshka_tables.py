"""Tables of a space at fewer dimensions, in Markdown."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from jam.report.labels import label
from jam.report.tables import grid, markdown, value, with_interval
from jam.results import columns_of, select

Where = Mapping[str, Any]
ASKED: dict[str, Where] = {
    "R@1": {"metric": ("true_recall", "recall")},
    "swaps": {"metric": "hard_negatives", "label": "binding"},
    "other edits": {"metric": "hard_negatives", "label": "other"},
}


def curve(results: pd.DataFrame, space: str) -> pd.DataFrame:
    """What is told of a space by dimensions, without adaptive retrieval."""
    mine = select(results, experiment="matryoshka", subject=space)
    return select(mine.reindex(columns=list(columns_of("matryoshka"))), shortlist=None)


def dims_table(results: pd.DataFrame, space: str) -> str:
    """The dims curve: R@1 (mean of both ways) and hard negatives of the space, and how far it is above each other."""
    mine = curve(results, space)
    dims = sorted(int(d) for d in mine["dims"].dropna().unique())
    columns: dict[str, Where] = {f"{d}": {"dims": d} for d in dims}
    methods = list(dict.fromkeys(mine["method"]))
    lines: list[str] = []
    for what, where in ASKED.items():
        own = select(mine, against=None, **where)
        if own.empty:
            continue
        rows = {f"{what}: {label(name)}": {"method": name} for name in methods}
        lines += grid(own, "dimensions", rows, columns, value).splitlines()[0 if not lines else 2 :]
        differences = select(mine, **where)
        for other in methods[1:]:
            cells = [_difference(select(differences, against=other, dims=d)) for d in dims]
            lines.append(f"| {what}: {label(methods[0])} − {label(other)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _difference(rows: pd.DataFrame) -> str:
    if rows.empty:
        return "–"
    star = "*" if rows["p"].iloc[0] <= 0.05 else ""
    return with_interval(rows).replace(" [", f"{star} [", 1)


def adaptive_table(results: pd.DataFrame, space: str) -> str:
    """Adaptive retrieval: R@1 each way with its cost, beside all comparisons at full width."""
    mine = select(results, experiment="matryoshka", subject=space, against=None)
    mine = mine.reindex(columns=list(columns_of("matryoshka")))
    short = mine[mine["shortlist"].notna()]
    ways = [(way, "{} → {}".format(*sides)) for way, sides in _ways(mine).items()]
    methods = list(dict.fromkeys(short["method"]))
    header = ["shortlist"]
    for _, title in ways:
        header += [*(f"{title} R@1, {label(method)}" for method in methods), f"{title}, multiply-adds a query"]
    lines = []
    for dims, k in (
        short[["dims", "shortlist"]].drop_duplicates().sort_values(["shortlist", "dims"]).itertuples(index=False)
    ):
        cells = [f"{k} by {dims}"]
        for way, _ in ways:
            here = select(short, dims=dims, shortlist=k, direction=way)
            cells += [with_interval(select(here, method=name, **ASKED["R@1"])) for name in methods]
            cells.append(f"{select(here, metric='multiply_adds')['value'].iloc[0]:,.0f}")
        lines.append(cells)
    return markdown(header, [*lines, _all(mine, ways, methods)])


def _ways(mine: pd.DataFrame) -> dict[str, tuple[str, str]]:
    row = mine[mine["direction"].notna()].iloc[0]
    return {"x_to_y": (row["x"], row["y"]), "y_to_x": (row["y"], row["x"])}


def _all(mine: pd.DataFrame, ways: list[tuple[str, str]], methods: list[str]) -> list[str]:
    """Everything compared by all dimensions that are scored."""
    whole = select(mine, shortlist=None, **ASKED["R@1"])
    full = int(whole["dims"].max())
    cells = [f"*all by {full}*"]
    costs = select(mine, metric="multiply_adds")
    for way, _ in ways:
        here = select(whole, dims=full, direction=way)
        cells += [with_interval(select(here, method=name)) for name in methods]
        cells.append(f"{int(select(costs, direction=way)['n'].iloc[0]) * full:,}")
    return cells
