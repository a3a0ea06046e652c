"""Tables of adapters that read all tokens, in Markdown."""

from collections.abc import Mapping

import pandas as pd

from jam.report.labels import label, metric
from jam.report.tables import Where, grid, markdown, number, value, with_interval
from jam.results import select

MONITORS = (
    "norm", "diagonal", "gradient_norm", "attention_entropy", "latent_diversity", "latent_rank", "alignment",
    "uniformity",
)  # fmt: skip
GUESS = "guess"  # of `jam.resampler.rows`
ASKED: Mapping[str, Where] = {
    "R@1 (mean of both ways)": {"metric": ("true_recall", "recall")},
    "hard negatives": {"metric": "hard_negatives", "tier": "hard"},
    "swaps": {"metric": "hard_negatives", "label": "binding"},
    "other edits": {"metric": "hard_negatives", "label": "other"},
}


def variants_table(results: pd.DataFrame) -> str:
    """Each variant: retrieval both ways, hard negatives, its size, and what reading an item of either side costs.

    A star at swaps: p ≤ .05 against a guess.
    """
    means = select(results, seed=None, against=None)
    recall = select(means, **ASKED["R@1 (mean of both ways)"])
    x, y = recall["x"].iloc[0], recall["y"].iloc[0]
    columns: dict[str, Where] = {
        f"{x} → {y} R@1": {"metric": ("true_recall", "recall"), "direction": "x_to_y"},
        f"{y} → {x} R@1": {"metric": ("true_recall", "recall"), "direction": "y_to_x"},
        **{name: ASKED[name] for name in ("hard negatives", "swaps")},
    }
    guessed = select(results, against=GUESS).set_index("subject")["p"]
    swaps = means["label"] == ASKED["swaps"]["label"]
    means = means.assign(p=means["subject"].map(guessed).where(swaps).astype(float))
    rows: dict[str, Where] = {label(name): {"subject": name} for name in dict.fromkeys(means["subject"])}
    lines = grid(means, "variant", rows, columns, _starred).splitlines()
    costs = {"parameters": {"metric": "parameters"}} | {
        f"multiply-adds, {side}": {"metric": "multiply_adds", "x": side} for side in (x, y)
    }
    told = grid(means, "variant", rows, costs, _whole).splitlines()
    seeds = grid(means, "variant", rows, {"seeds": columns["hard negatives"]}, _seeds).splitlines()
    return "\n".join(
        one + two[two.index("|", 1) + 1 :] + three[three.index("|", 1) + 1 :]
        for one, two, three in zip(lines, told, seeds, strict=True)
    )


def _whole(rows: pd.DataFrame) -> str:
    return f"{rows['value'].iloc[0]:,.0f}"


def _seeds(rows: pd.DataFrame) -> str:
    return str(rows["seeds"].iloc[0])


def differences_table(results: pd.DataFrame) -> str:
    """The first variant, and the pooled space, minus each other, paired on items; a star where Holm's p is ≤ .05."""
    found = results[results["against"].notna() & (results["against"] != GUESS)]
    pairs = found[["subject", "against"]].drop_duplicates().itertuples(index=False)
    rows: dict[str, Where] = {f"{label(a)} − {label(b)}": {"subject": a, "against": b} for a, b in pairs}
    return grid(found, "difference", rows, ASKED, _starred)


def _starred(rows: pd.DataFrame) -> str:
    star = "*" if pd.notna(p := rows["p"].iloc[0]) and p <= 0.05 else ""
    return with_interval(rows).replace(" [", f"{star} [", 1)


def monitors_table(results: pd.DataFrame) -> str:
    """What is watched of each variant, the mean over seeds: ✗ where one lies outside of its band, ✓ elsewhere."""
    watched = results[results["seed"].notna() & results["metric"].isin(MONITORS)]
    columns = {}
    for name in MONITORS:
        for side in dict.fromkeys(select(watched, metric=name)["x"].fillna("")):
            title = metric(name) + (f", {side}" if side else "")
            columns[title] = {"metric": name, "x": side or None}
    lines = grid(watched, "variant", {label(name): {"subject": name} for name in dict.fromkeys(watched["subject"])},
                 columns, _passed).splitlines()  # fmt: skip
    bands = [_band(select(watched, **where)) for where in columns.values()]
    return "\n".join([*lines, "| *band* | " + " | ".join(bands) + " |"])


def _passed(rows: pd.DataFrame) -> str:
    told = rows["passed"].dropna()
    mark = "" if told.empty else " ✓" if told.all() else " ✗"
    return (value(rows) if abs(rows["value"].mean()) >= 5e-4 else f"{rows['value'].mean():.0e}") + mark


def _band(rows: pd.DataFrame) -> str:
    least, most = (rows[end].dropna() for end in ("least", "most"))
    ends = [f"≥ {number(each)}" for each in least[:1]] + [f"≤ {number(each)}" for each in most[:1]]
    return ", ".join(ends) or "–"


def attention_table(attention: pd.DataFrame) -> str:
    """Of each sort of word the latent that reads it most, and what the one that reads it least takes of it."""
    words = attention[~attention["key"].str.isdigit()]
    lifts = words.assign(lift=words["value"] / words["uniform"])
    least = lifts.groupby("key")["lift"].min()
    best = lifts.sort_values("lift", ascending=False).groupby("key", sort=False).head(1)
    rows = [
        [
            row["key"],
            f"{int(row['latent'])}",
            number(row["value"]),
            number(row["uniform"]),
            f"{row['lift']:.1f}",
            f"{least[row['key']]:.1f}",
        ]
        for row in best.to_dict("records")
    ]
    header = ["sort of word", "latent that reads it most", "share of its attention", "share of tokens", "times"]
    return markdown([*header, "times, of the latent that reads it least"], rows)
