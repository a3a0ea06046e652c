"""Result tables in Markdown, built from the tidy table of all results."""

import re
from collections.abc import Callable, Sequence

import pandas as pd

from jam.plots import label


def number(value: float, digits: int = 3) -> str:
    """A number without its leading zero, as tables of recalls have it: .812, 1.000, −.034."""
    text = f"{value:.{digits}f}".replace("-", "−")
    return re.sub(r"^(−?)0\.", r"\1.", text)


def with_interval(row: pd.Series) -> str:
    """``value [low, high]``, or the value alone where there is no interval."""
    if pd.isna(row["low"]):
        return number(row["value"])
    return f"{number(row['value'])} [{number(row['low'])}, {number(row['high'])}]"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its first column to the left and the others to the right."""
    lines = [header, [":--", *["--:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def result_table(results: pd.DataFrame, methods: Sequence[str]) -> str:
    """Retrieval and hard negatives of every method on test rows, means over seeds with 95 % intervals."""
    columns = {
        "image → text R@1": ("i2t_r1", ""),
        "text → image R@1": ("t2i_r1", ""),
        "hard negatives": ("negatives_by_tier", "hard"),
        "structure kept, image": ("preservation", "image"),
        "structure kept, text": ("preservation", "text"),
    }
    return _by_method(results, methods, columns)


def retrieval_table(results: pd.DataFrame, methods: Sequence[str]) -> str:
    """The finer numbers of retrieval, reconstruction and geometry."""
    columns = {
        "i→t R@5": ("i2t_r5", ""),
        "i→t R@10": ("i2t_r10", ""),
        "i→t median": ("i2t_median_rank", ""),
        "i→t MRR": ("i2t_mrr", ""),
        "t→i R@5": ("t2i_r5", ""),
        "t→i MRR": ("t2i_mrr", ""),
        "R² image": ("reconstruction_r2", "image"),
        "R² text": ("reconstruction_r2", "text"),
        "modality gap": ("modality_gap", ""),
    }
    return _by_method(results, methods, columns, intervals=False)


def negatives_table(results: pd.DataFrame, methods: Sequence[str]) -> str:
    """Hard-negative accuracy by what was changed, and by tier."""
    kinds = ("replace_object", "replace_attribute", "swap_attribute", "replace_relation")
    columns = {label(kind).replace("\n", " "): ("negatives_by_kind", kind) for kind in kinds}
    columns |= {f"tier {tier}": ("negatives_by_tier", tier) for tier in ("easy", "medium", "hard")}
    return _by_method(results, methods, columns, intervals=False)


def _by_method(
    results: pd.DataFrame, methods: Sequence[str], columns: dict[str, tuple[str, str]], intervals: bool = True
) -> str:
    means = results[(results["table"] == "evaluate") & (results["seed"] == "mean")].fillna({"group": ""})
    means = means.set_index(["subject", "metric", "group"])
    cell: Callable[[pd.Series], str] = with_interval if intervals else lambda row: number(row["value"])
    rows = [
        [
            label(method),
            *(cell(means.loc[(method, *key)]) if (method, *key) in means.index else "–" for key in columns.values()),
        ]
        for method in methods
    ]
    return markdown(["method", *columns], rows)


def encoder_table(results: pd.DataFrame, names: Sequence[str]) -> str:
    """Size and held-out quality of every frozen encoder."""
    mine = results[results["table"] == "encoders"].set_index(["subject", "metric"])["value"]
    columns = {
        "parameters": "parameters",
        "digit": "probe_digit",
        "colour": "probe_color",
        "size": "probe_size",
        "height": "probe_height",
        "perplexity": "perplexity",
    }

    def cell(name: str, metric: str) -> str:
        if (name, metric) not in mine.index:
            return "–"
        value = float(mine[name, metric])
        return f"{value:,.0f}" if metric == "parameters" else number(value, 3 if metric != "perplexity" else 2)

    return markdown(
        ["encoder", *columns], [[name, *(cell(name, metric) for metric in columns.values())] for name in names]
    )


KERNELS = ("mutual_knn", "unbiased_cka", "cknna", "svcca", "cca", "rsa")


def detail_table(results: pd.DataFrame, subjects: Sequence[str]) -> str:
    """Kernel metrics of matched, hard and easy pairs, before and after alignment."""
    mine = results[results["table"] == "kernels"].set_index(["subject", "metric"])
    rows = []
    for subject in subjects:
        for condition in ("matched", "hard", "easy"):
            scores = mine.loc[f"{subject} ~ {condition}"]["value"]
            rows.append([f"{label(subject)}, {label(condition)}", *(number(scores[metric]) for metric in KERNELS)])
    return markdown(["images against texts", *(label(metric) for metric in KERNELS)], rows)


def reality_table(results: pd.DataFrame, subjects: Sequence[str]) -> str:
    """Kernel alignment with the true state, a star where it is above its own null (p ≤ .05)."""
    mine = results[results["table"] == "kernels"].set_index(["subject", "metric"])
    rows = []
    for subject in subjects:
        scores = mine.loc[f"{subject} ~ reality"]
        rows.append([subject, *(_starred(scores.loc[metric]) for metric in KERNELS)])
    return markdown(["representation", *(label(metric) for metric in KERNELS)], rows)


def _starred(row: pd.Series) -> str:
    return number(row["value"]) + ("*" if row["p_value"] <= 0.05 else "")


def fill(text: str, tables: dict[str, str]) -> str:
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
