"""Result tables in Markdown, built from results."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from jam.report.labels import KINDS, METRICS, MISMATCHES, TIERS, label, metric
from jam.results import select

Where = Mapping[str, Any]
"""Which rows of results, as of `jam.results.select`."""
Show = Callable[[pd.DataFrame], str]


def number(value: float, digits: int = 3) -> str:
    """A number without its leading zero, as tables of recalls have it: .812, 1.000, −.034."""
    text = f"{value:.{digits}f}".replace("-", "−")
    return re.sub(r"^(−?)0\.", r"\1.", text)


def value(rows: pd.DataFrame) -> str:
    """The mean of the rows' values."""
    return number(rows["value"].mean())


def starred(rows: pd.DataFrame) -> str:
    """The value, with a star where it is above its own null (p ≤ .05)."""
    return value(rows) + ("*" if rows["p"].iloc[0] <= 0.05 else "")


def with_interval(rows: pd.DataFrame, digits: int = 3) -> str:
    """``value [low, high]``, or the value alone where there is no interval; a star where p ≤ .05."""
    row = rows.iloc[0]
    star = "*" if pd.notna(row["p"]) and row["p"] <= 0.05 and row["experiment"] == "trends" else ""
    if pd.isna(row["low"]):
        return number(row["value"], digits) + star
    return f"{number(row['value'], digits)}{star} [{number(row['low'], digits)}, {number(row['high'], digits)}]"


def with_deviation(rows: pd.DataFrame) -> str:
    """Mean and deviation over seeds."""
    deviation = rows["value"].std()
    return value(rows) if pd.isna(deviation) else f"{value(rows)} ± {number(deviation)}"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its first column to the left and the others to the right."""
    lines = [header, [":--", *["--:"] * (len(header) - 1)], *rows]
    return "\n".join(map(markdown_row, lines))


def markdown_row(cells: Sequence[str]) -> str:
    """One line of a Markdown table."""
    return "| " + " | ".join(cells) + " |"


def grid(
    results: pd.DataFrame, corner: str, rows: Mapping[str, Where], columns: Mapping[str, Where], show: Show = value
) -> str:
    """A table of which each cell shows the rows of results that are both its line's and its column's; – for none."""
    lines = []
    for name, where in rows.items():
        mine = select(results, **where)
        cells = []
        for of in columns.values():
            found = select(mine, **of)
            cells.append(show(found) if len(found) and pd.notna(found["value"].iloc[0]) else "–")
        lines.append([name, *cells])
    return markdown([corner, *columns], lines)


def _means(results: pd.DataFrame) -> pd.DataFrame:
    return select(results, experiment="evaluate", seed=None)


def _sides(results: pd.DataFrame, space: str) -> list[str]:
    """The sides of a space, in their order."""
    return list(select(_means(results), subject=space, metric="preservation")["x"])


def _recall(k: int, direction: str) -> dict[str, Any]:
    return {"metric": "recall", "k": k, "direction": direction}


def result_table(results: pd.DataFrame, spaces: Sequence[str], most: str = "ceiling") -> str:
    """Retrieval and hard negatives of spaces on two sides x and y, means over seeds with intervals.

    Below stand what guessing reaches and, where there is a space of the name ``most``, what can be reached.

    R@1 of any true answer and on the fine gallery where these are known, else of an item's own.
    """
    x, y = _sides(results, spaces[0])
    known = len(select(_means(results), metric="true_recall"))
    columns: dict[str, Where] = {
        f"{x} → {y} {'true ' * bool(known)}R@1": {
            **_recall(1, "x_to_y"),
            "metric": "true_recall" if known else "recall",
        },
        f"{y} → {x} {'true ' * bool(known)}R@1": {
            **_recall(1, "y_to_x"),
            "metric": "true_recall" if known else "recall",
        },
    }
    if len(select(_means(results), metric="fine_recall")):
        columns |= {
            f"{x} → {y} fine R@1": {"metric": "fine_recall", "direction": "x_to_y"},
            f"{y} → {x} fine R@1": {"metric": "fine_recall", "direction": "y_to_x"},
        }
    columns |= {
        "hard negatives": {"metric": "hard_negatives", "tier": "hard"},
        f"structure kept, {x}": {"metric": "preservation", "x": x},
        f"structure kept, {y}": {"metric": "preservation", "x": y},
    }
    means = select(_means(results), subject=(*spaces, most))
    rows = _by_space(spaces)
    if len(select(means, subject=most)):
        rows[f"*{label(most)}*"] = {"subject": most}
    table = grid(means, "space", rows, columns, with_interval)
    by_chance = [chance(select(means, **where)) for where in columns.values()]
    return table if by_chance[0] is None else f"{table}\n{markdown_row(['*chance*', *map(_shown, by_chance)])}"


def chance(rows: pd.DataFrame) -> float | None:
    """What a guess scores in rows of one metric, by their own null or the registry; None where it is not known."""
    own = rows["null_mean"].dropna() if "null_mean" in rows else rows[:0]
    if len(own):
        return float(own.iloc[0])
    return METRICS[rows["metric"].iloc[0]].chance if len(rows) else None


def _shown(value: float | None) -> str:
    return "–" if value is None else number(value)


def retrieval_table(results: pd.DataFrame, spaces: Sequence[str]) -> str:
    """The finer numbers of retrieval, reconstruction and geometry."""
    x, y = _sides(results, spaces[0])
    columns: dict[str, Where] = {
        "x→y R@1": _recall(1, "x_to_y"),
        "x→y R@5": _recall(5, "x_to_y"),
        "x→y R@10": _recall(10, "x_to_y"),
        "x→y median": {"metric": "median_rank", "direction": "x_to_y"},
        "x→y MRR": {"metric": "mrr", "direction": "x_to_y"},
        "y→x R@1": _recall(1, "y_to_x"),
        "y→x R@5": _recall(5, "y_to_x"),
        "y→x MRR": {"metric": "mrr", "direction": "y_to_x"},
        "x→y mAP": {"metric": "average_precision", "direction": "x_to_y"},
        "y→x mAP": {"metric": "average_precision", "direction": "y_to_x"},
        f"R² {x}": {"metric": "reconstruction_r2", "x": x},
        f"R² {y}": {"metric": "reconstruction_r2", "x": y},
        "modality gap": {"metric": "modality_gap"},
    }
    return grid(_means(results), f"x {x}, y {y}", _by_space(spaces), columns)


def other_spaces_table(results: pd.DataFrame, spaces: Sequence[str]) -> str:
    """Every pair of sides of other spaces: retrieval both ways and hard negatives, with 95 % intervals."""
    means, rows = _means(results), dict[str, Where]()
    for space in spaces:
        pairs = select(means, subject=space, metric="alignment")[["x", "y"]].itertuples(index=False)
        rows |= {f"{label(space)}: {x}, {y}": {"subject": space, "x": x, "y": y} for x, y in pairs}
    columns: dict[str, Where] = {
        "first → second R@1": _recall(1, "x_to_y"),
        "second → first R@1": _recall(1, "y_to_x"),
        "hard negatives of the second": {"metric": "hard_negatives", "tier": "hard"},
    }
    return grid(means, "space and sides", rows, columns, with_interval)


def negatives_table(results: pd.DataFrame, spaces: Sequence[str]) -> str:
    """Hard-negative accuracy by what was changed, and by tier."""
    means = _means(results)
    kinds = [kind for kind in KINDS if len(select(means, kind=kind))]
    columns: dict[str, Where] = {label(kind): {"metric": "hard_negatives", "kind": kind} for kind in kinds}
    tiers = [tier for tier in TIERS if len(select(means, tier=tier))]
    columns |= {f"tier {tier}": {"metric": "hard_negatives", "tier": tier} for tier in tiers}
    rows = _by_space(spaces)
    if len(select(means, subject="blind")):
        rows["*no image, the sentence true of more scenes*"] = {"subject": "blind"}
    return grid(means, "space", rows, columns)


def _by_space(spaces: Sequence[str]) -> dict[str, Where]:
    return {label(space): {"subject": space} for space in spaces}


def encoder_table(results: pd.DataFrame) -> str:
    """Size and held-out quality of every frozen encoder."""
    mine = select(results, experiment="encoders")
    columns: dict[str, Where] = {"parameters": {"metric": "parameters"}}
    columns["width"] = {"metric": "width"}
    columns["perplexity"] = {"metric": "perplexity"}

    def show(rows: pd.DataFrame) -> str:
        row = rows.iloc[0]
        if row["metric"] in ("parameters", "width"):
            return f"{row['value']:,.0f}"
        return number(row["value"], 2 if row["metric"] == "perplexity" else 3)

    names = list(dict.fromkeys(mine["subject"]))
    return grid(mine, "encoder", {label(name): {"subject": name} for name in names}, columns, show)


def detail_table(results: pd.DataFrame, spaces: Sequence[str], metrics: Sequence[str]) -> str:
    """Kernel metrics of matched, hard and easy pairs, before and after alignment."""
    rows: dict[str, Where] = {
        f"{label(space) if space else 'frozen'}, {label(condition)}": {"subject": space, "condition": condition}
        for space in (None, *spaces)
        for condition in MISMATCHES
    }
    return grid(select(results, experiment="kernels"), "x against y", rows, _metrics(metrics))


def _metrics(metrics: Sequence[str]) -> dict[str, Where]:
    return {metric(name): {"metric": name} for name in metrics}


TRAINED: dict[str, Where] = {
    "recall": {"condition": "trained", "metric": "recall"},
    "hard negatives": {"condition": "trained", "metric": "hard_negatives"},
    "structure kept": {"condition": "trained", "metric": "preservation"},
}


def trend_table(results: pd.DataFrame, of: str, predictors: Mapping[str, Where], outcomes: Mapping[str, Where]) -> str:
    """Rank correlations over a grid with 95 % intervals, a star where the permutation test gives p ≤ .05."""
    mine = select(results, experiment="trends", grid=of)
    return grid(mine, "rank correlation of", predictors, outcomes, lambda rows: with_interval(rows, 2))


def frozen_predictors(metrics: Sequence[str], within: bool = False) -> dict[str, Where]:
    """Rows of `trend_table`: frozen alignment by each metric, and the same within one layer of x."""
    rows: dict[str, Where] = {f"frozen {metric(name)}": {"predictor": name, "within": None} for name in metrics}
    if within:
        rows |= {f"frozen {metric(name)}, within a layer of x": {"predictor": name, "within": "x"} for name in metrics}
    return rows


def best_layers_table(results: pd.DataFrame) -> str:
    """The pair of layers that trains best on validation rows, and those that are most alike before any training."""
    mine = select(results, experiment="layers")
    lines = []
    best = select(mine, condition="best of all")
    if len(best):
        found = best.iloc[0]
        told = with_interval(select(best, metric="recall", direction="x_to_y"))
        lines.append(["trained: R@1 x → y, test", str(found["x_layer"]), str(found["y_layer"]), told, "–"])
    for row in select(mine, condition="frozen, best", split="val").to_dict("records"):
        told = f"{number(row['value'])} (p {row['p']:.3f})"
        lines.append([f"frozen: {metric(row['metric'])}, validation", str(row["x_layer"]), str(row["y_layer"]), told,
                      number(row["calibrated"])])  # fmt: skip
    return markdown(["best by", "layer of x", "layer of y", "score", "calibrated"], lines)


def variant(row: Mapping[str, Any]) -> str:
    """``Spread α 0.1→0.9``: a loss, with α where it has one."""
    if pd.isna(row["alpha_first"]):
        return label(row["loss"])
    return f"{label(row['loss'])} α {ends(row['alpha_first'], row['alpha_last'])}"


def ends(first: float, last: float) -> str:
    """``0.5``, or ``0.1→0.9`` of what changes."""
    return f"{first:g}" if first == last else f"{first:g}→{last:g}"


def setting(row: Mapping[str, Any]) -> str:
    """``λ 1→0.1 cross``: how strongly a setting reconstructs."""
    return f"λ {ends(row['lambda_first'], row['lambda_last'])}{' cross' if row['cross'] else ''}"


def fill(text: str, tables: Mapping[str, str]) -> str:
    """Put each table between its markers, ``<!-- table NAME -->`` and ``<!-- end -->``.

    Raises:
        ValueError: a marker names a table that there is not.
    """

    def replace(found: re.Match[str]) -> str:
        name = found[1]
        if name not in tables:
            raise ValueError(f"marker: got table {name!r}, expected one of {sorted(tables)}")
        return f"<!-- table {name} -->\n{tables[name]}\n<!-- end -->"

    return re.sub(r"<!-- table (\w+) -->\n.*?<!-- end -->", replace, text, flags=re.DOTALL)
