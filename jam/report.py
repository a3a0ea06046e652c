"""Result tables in Markdown, built from the tidy table of all results."""

import re
from collections.abc import Callable, Sequence

import pandas as pd

from jam.plots import NEGATIVE_KINDS, label


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
    found = set(results.loc[results["metric"] == "negatives_by_kind", "group"])
    kinds = [kind for kind in NEGATIVE_KINDS if kind in found]
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


def detail_table(results: pd.DataFrame, subjects: Sequence[str], metrics: Sequence[str]) -> str:
    """Kernel metrics of matched, hard and easy pairs, before and after alignment."""
    mine = results[results["table"] == "kernels"].set_index(["subject", "metric"])
    rows = []
    for subject in subjects:
        for condition in ("matched", "hard", "easy"):
            scores = mine.loc[f"{subject} ~ {condition}"]["value"]
            rows.append([f"{label(subject)}, {label(condition)}", *(number(scores[metric]) for metric in metrics)])
    return markdown(["images against texts", *(label(metric) for metric in metrics)], rows)


def reality_table(results: pd.DataFrame, subjects: Sequence[str], metrics: Sequence[str]) -> str:
    """Kernel alignment with the true state, a star where it is above its own null (p ≤ .05)."""
    mine = results[results["table"] == "kernels"].set_index(["subject", "metric"])
    rows = []
    for subject in subjects:
        scores = mine.loc[f"{subject} ~ reality"]
        rows.append([subject, *(_starred(scores.loc[metric]) for metric in metrics)])
    return markdown(["representation", *(label(metric) for metric in metrics)], rows)


OUTCOMES = {
    "test_recall": "recall", "test_hard_negatives": "hard negatives", "test_preservation": "structure kept",
    "raw mutual_knn": "raw mutual kNN", "raw unbiased_cka": "raw CKA", "reality mutual_knn": "mutual kNN with reality",
    "reality unbiased_cka": "CKA with reality", "reality svcca": "SVCCA with reality",
}  # fmt: skip


def trend_table(trends: pd.DataFrame, predictors: Sequence[str], outcomes: Sequence[str]) -> str:
    """Rank correlations with 95 % intervals, a star where the permutation test gives p ≤ .05.

    Args:
        trends: columns predictor, outcome, value, low, high, p_value.
        predictors: the rows.
        outcomes: the columns, keys of ``OUTCOMES``.
    """
    found = {(row["predictor"], row["outcome"]): row for _, row in trends.iterrows()}

    def cell(predictor: str, outcome: str) -> str:
        row = found.get((predictor, outcome))
        if row is None or pd.isna(row["value"]):
            return "–"
        star = "*" if row["p_value"] <= 0.05 else ""
        return f"{number(row['value'], 2)}{star} [{number(row['low'], 2)}, {number(row['high'], 2)}]"

    rows = [[_predictor(name), *(cell(name, outcome) for outcome in outcomes)] for name in predictors]
    return markdown(["rank correlation of", *(OUTCOMES[outcome] for outcome in outcomes)], rows)


def _predictor(name: str) -> str:
    """``raw mutual_knn, within …`` → ``raw mutual kNN, within …``; ``image quality`` → ``vision encoder's quality``."""
    if not name.startswith("raw "):
        return name.replace("image", "vision encoder's").replace("text", "text encoder's")
    metric, comma, rest = name.removeprefix("raw ").partition(",")
    return f"raw {label(metric)}{comma}{rest}"


def scale_table(cells: pd.DataFrame, score: str) -> str:
    """A score of every pair of encoders: vision encoders down, text encoders across, means over seeds."""
    means = cells.groupby(["image", "text"], sort=False)[score].mean().unstack(sort=False)
    spread = cells.groupby(["image", "text"], sort=False)[score].std().unstack(sort=False)
    rows = [
        [str(image), *(_with_deviation(means.loc[image, text], spread.loc[image, text]) for text in means.columns)]
        for image in means.index
    ]
    return markdown(["", *map(str, means.columns)], rows)


def _with_deviation(mean: float, deviation: float) -> str:
    if pd.isna(mean):
        return "–"
    return number(mean) if pd.isna(deviation) else f"{number(mean)} ± {number(deviation)}"


def encoder_reality_table(raw: pd.DataFrame, encoders: pd.DataFrame, metrics: Sequence[str]) -> str:
    """Kernel alignment of the encoders of the scale study with the true state, beside their held-out quality."""
    mine = raw[raw["right"] == "reality"].set_index(["left", "metric"])
    quality = encoders.set_index("encoder")["quality"]
    rows = [
        [str(name), number(quality[name]), *(with_interval(mine.loc[(name, m)]) for m in metrics)]
        for name in quality.index
    ]
    return markdown(["encoder", "quality", *(label(metric) for metric in metrics)], rows)


def pareto_table(fronts: pd.DataFrame) -> str:
    """Hypervolume of each loss's front, with t-intervals over seeds, and what is on the front."""
    rows = []
    for variant, mine in fronts.groupby("variant", sort=False):
        row = mine.set_index("alignment")
        cells = [with_interval(row.loc[name].rename({"hypervolume": "value"})) for name in ("recall", "hard_negatives")]
        rows.append([_variant(str(variant)), *cells, str(row.loc["recall", "front"])])
    return markdown(["loss", "hypervolume, recall", "hypervolume, hard negatives", "on the front of recall"], rows)


def _variant(name: str) -> str:
    loss, _, rest = name.partition(" ")
    return f"{label(loss)} {rest}".strip()


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
