"""Tables of models compared, in Markdown."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from jam.report.labels import label, metric
from jam.report.reference_tables import small
from jam.report.tables import Where, grid, markdown, markdown_row, number, with_interval
from jam.results import select

TRAINED = 100  # per cent
PRINTED = "printed_cka"
MEASURES = ("unbiased_cka", "rsa", "mutual_knn", "procrustes_cosine", "predictability")
FACTORS = {
    "objective": "the same objective", "data": "the same data", "architecture": "the same architecture",
    "partner": "the same other tower", "seed": "the same seed",
}  # fmt: skip
TESTS = {
    "layers": "nearer layers are more alike",
    "seeds": "a recipe's other seed before other recipes",
    "noise": "by the share of wrong captions",
}


def finals(similar: pd.DataFrame, modality: str | None = None, other: str | None = None) -> pd.DataFrame:
    """Rows of models at the layers that stand for them, after training.

    Args:
        similar: as the stage `compare` writes similarities.
        modality: of x alone; all if None.
        other: of y; that of x if None.
    """
    found = select(similar, final=True, checkpoint=TRAINED, y_checkpoint=TRAINED)
    if modality is not None:
        found = select(found, modality=modality, y_modality=other or modality)
    return found


def models_of(rows: pd.DataFrame) -> list[str]:
    """The models of some rows of one modality, in the order in which they are compared."""
    return list(dict.fromkeys([*rows["x"], *rows["y"]]))


def similar_table(similar: pd.DataFrame, modality: str, models: Sequence[str]) -> str:
    """Every two of some models: all measures with intervals, and how alike two seeds of one recipe are by CKA.

    Args:
        similar: as the stage `compare` writes similarities.
        modality: whose towers.
        models: which, in the order of ``x`` before ``y``.
    """
    mine = select(finals(similar, modality), x=tuple(models), y=tuple(models))
    rows: dict[str, Where] = {
        f"{label(x)} – {label(y)}": {"x": x, "y": y} for x, y in mine[["x", "y"]].drop_duplicates().to_numpy()
    }
    columns: dict[str, Where] = {metric(name): {"metric": name} for name in MEASURES[:-1]}
    columns |= {
        f"{metric(MEASURES[-1])} {arrow}": {"metric": MEASURES[-1], "direction": way}
        for arrow, way in (("→", "x_to_y"), ("←", "y_to_x"))
    }
    lines = grid(mine, f"{modality} towers", rows, columns, with_interval).splitlines()
    told = grid(mine, "", rows, {"ceiling of CKA": {"metric": MEASURES[0]}}, _ceiling).splitlines()
    return "\n".join(a + b[b.index("|", 1) + 1 :] for a, b in zip(lines, told, strict=True))


def _ceiling(rows: pd.DataFrame) -> str:
    known = rows["ceiling"].dropna() if "ceiling" in rows else rows["value"][:0]
    return number(known.iloc[0]) if len(known) else "–"


def across_table(similar: pd.DataFrame, models: Sequence[str], name: str = "unbiased_cka") -> str:
    """Images of each model down, texts of each across, by one measure: the diagonal is a model's own two towers."""
    mine = select(finals(similar, "image", "text"), metric=name)
    rows: dict[str, Where] = {f"images of {label(one)}": {"x": one} for one in models}
    columns: dict[str, Where] = {label(one): {"y": one} for one in models}
    return grid(mine, f"{metric(name)} with texts of", rows, columns, with_interval)


def claims_table(claims: pd.DataFrame) -> str:
    """A line a claim and modality: what is claimed, what is measured (CKA; of stitching the share that is lost), and
    what the formula printed with it gives.
    """
    own = claims[claims["metric"].ne(PRINTED).fillna(True)]  # a claim that nobody measured has no metric
    lines = []
    for row in own.to_dict("records"):
        what = row["text"] + (f" ({row['modality']})" if pd.notna(row.get("modality")) else "")
        other = select(claims, claim=row["claim"], modality=row["modality"], metric=PRINTED)
        lines.append(
            [
                what, claimed(row), _measured(row) if pd.notna(row.get("value")) else "–", f"**{row['outcome']}**",
                f"{number(other['value'].iloc[0], 2)}, {other['outcome'].iloc[0]}" if len(other) else "–",
            ]
        )  # fmt: skip
    return markdown(["claim", "range", "measured", "holds?", "by the printed formula"], lines)


def claimed(row: "pd.Series | dict[str, object]") -> str:
    """The range of a claim: ``.75 to .80``, ``≥ .90``, ``≤ .05``."""
    low, high = (float(row[name]) if pd.notna(row[name]) else np.nan for name in ("claimed_low", "claimed_high"))  # type: ignore[arg-type]
    if not np.isfinite(high) or high >= 1:
        return f"≥ {number(low, 2)}"
    return f"≤ {number(high, 2)}" if not np.isfinite(low) else f"{number(low, 2)} to {number(high, 2)}"


def _measured(row: dict[str, object]) -> str:
    """``.812 [.790, .830], 12 pairs from .55 to .93, 3 of which hold, n = 1,000``."""
    text = with_interval(pd.DataFrame([{"p": None, "experiment": "compare", **row}]))
    pairs = row.get("pairs")
    if pd.notna(pairs) and int(str(pairs)) > 1:
        text += f", {pairs} pairs"
        if pd.notna(row.get("least")):
            text += f" from {number(float(str(row['least'])), 2)} to {number(float(str(row['most'])), 2)}"
            text += f", {row['holding']} of which {'holds' if row['holding'] == 1 else 'hold'}"
    return text + (f", n = {int(str(row['n'])):,}" if pd.notna(row.get("n")) else "")


def factors_table(factors: pd.DataFrame, modality: str) -> str:
    """What sharing a factor adds to similarity, the others held constant: ``slope [interval]; β standardised; p``.

    p is that of permuting models; beside each factor stands the smallest that so many models can give. Where there are
    several sets of models, one stands below the other.
    """
    mine = select(factors, modality=modality)
    mine = mine.assign(label=mine["label"].fillna("all") if "label" in mine else "all")
    columns: dict[str, Where] = {metric(name): {"metric": name} for name in MEASURES if name in set(mine["metric"])}
    lines: list[str] = []
    for cast in dict.fromkeys(mine["label"]):
        some, who = select(mine, label=cast), "" if cast == "all" else f", {cast} models alone"
        rows: dict[str, Where] = {}
        for name in dict.fromkeys(some["factor"]):
            least = select(some, factor=name)["smallest_p"].dropna()
            told = f" (p ≥ {number(least.iloc[0], 4)})" if len(least) else ""
            rows[FACTORS.get(name, label(name)) + who + told] = {"factor": name}
        part = grid(some, f"{modality} towers", rows, columns, _slope).splitlines()
        explained = [_first(select(some, **where), "explained") for where in columns.values()]
        lines += [*(part if not lines else part[2:]), markdown_row([f"*R² of all together{who}*", *explained])]
    return "\n".join(lines)


def _slope(rows: pd.DataFrame) -> str:
    row = rows.iloc[0]
    text = number(row["value"], 2)
    if np.isfinite([float(row["low"]), float(row["high"])]).all():
        text += f" [{number(row['low'], 2)}, {number(row['high'], 2)}]"
    return f"{text}; β {number(row['standardised'], 2)}; p {_p(row['p'])}"


def _p(p: float) -> str:
    return small(p) if p < 0.0005 else f"= {number(p)}"


def _first(rows: pd.DataFrame, column: str) -> str:
    known = rows[column].dropna() if column in rows else rows["value"][:0]
    return number(known.iloc[0], 2) if len(known) else "–"


def measures_table(tests: pd.DataFrame) -> str:
    """The measures themselves where the answer is known: a line a test, ``score (by chance); p``."""
    rows: dict[str, Where] = {}
    for modality, condition, name in tests[["modality", "condition", "label"]].drop_duplicates().to_numpy():
        question = TESTS.get(condition, f"the further apart in {label(condition)}, the less alike")
        told = f"{question}: {label(name)} ({modality}{_least_p(tests, modality, condition, name)})"
        rows[told] = {"modality": modality, "condition": condition, "label": name}
    columns: dict[str, Where] = {metric(name): {"metric": name} for name in MEASURES if name in set(tests["metric"])}
    return grid(tests, "test", rows, columns, _tested)


def _least_p(tests: pd.DataFrame, modality: str, condition: str, name: str) -> str:
    """The smallest p that so many models can give, where it is no smaller than what is printed."""
    least = float(select(tests, modality=modality, condition=condition, label=name)["smallest_p"].max())
    return f", p ≥ {number(least)}" if least >= 0.001 else ""


def noise_table(noise: pd.DataFrame) -> str:
    """How alike models are that were told wrong captions: a line for every two shares of them, a mean over pairs."""
    rows: dict[str, Where] = {}
    shares = noise[["level", "y_level"]].astype(float)
    noise = noise.assign(level=shares.min(axis=1), y_level=shares.max(axis=1))  # whichever of the two is x
    for modality in dict.fromkeys(noise["modality"]):
        here = finals(noise, modality, modality)
        for low, high in sorted(set(zip(here["level"], here["y_level"], strict=True))):
            told = f"{modality} towers, {100 * low:.0f} % and {100 * high:.0f} %"
            rows[told] = {"modality": modality, "y_modality": modality, "level": low, "y_level": high}
    columns: dict[str, Where] = {metric(name): {"metric": name} for name in MEASURES if name in set(noise["metric"])}
    return grid(noise, "captions of another image", rows, columns, lambda some: number(some["value"].mean(), 2))


def _tested(rows: pd.DataFrame) -> str:
    value, chance, p = (float(rows[name].mean()) for name in ("value", "null_mean", "p"))
    if len(rows) > 1:  # of several models, each with a p of its own
        return f"{number(value, 2)} ({number(chance, 2)}), {len(rows)} models"
    return f"{number(value, 2)} ({number(chance, 2)}); p {_p(p)}"


def clusters_table(clusters: pd.DataFrame, models: Sequence[str] | None = None) -> str:
    """Agreement of clusterings: of every two models, of models' images with texts, and with what is known of a scene.

    Means over models, or pairs of them; in brackets the lowest and the highest.

    Args:
        clusters: as the stage `compare` writes them.
        models: of these alone.
    """
    if models is not None:
        here = clusters["y"].isna() | clusters["y"].isin(list(models))
        clusters = clusters[here & clusters["x"].isin(list(models))]
    known = clusters["label"].notna()
    columns: dict[str, Where] = {
        f"{k} clusters": {"clusters": k} for k in sorted(clusters["clusters"].dropna().unique())
    }
    alike, told = clusters[~known], clusters[known]
    rows: dict[str, Where] = {}
    for x, y in alike[["modality", "y_modality"]].drop_duplicates().to_numpy():
        name = f"two models' {x}s" if x == y else f"{x}s of one, {y}s of one"
        rows[name] = {"modality": x, "y_modality": y, "label": None}
    for x, name in told[["modality", "label"]].drop_duplicates().to_numpy():
        rows[f"{x}s and {label(name)}"] = {"modality": x, "label": name}
    return grid(clusters, "adjusted mutual information", rows, columns, _spread)


def _spread(rows: pd.DataFrame) -> str:
    values = rows["value"].astype(float)
    text = number(values.mean())
    return text if len(values) == 1 else f"{text} ({number(values.min(), 2)} to {number(values.max(), 2)})"


def through_training(when: pd.DataFrame, name: str, models: Sequence[str] | None = None) -> pd.DataFrame:
    """Rows of two models after the same share of their training, of the pairs that were compared at every share.

    Args:
        when: as the stage `compare` writes what similarity hangs on.
        name: the measure.
        models: pairs of these alone. Encoders of one size and seed begin as one and the same net, and are better left
            out of a mean.
    """
    mine = select(when, condition="training", metric=name)
    if models is not None:
        mine = select(mine, x=tuple(models), y=tuple(models))
    mine = mine[(mine["checkpoint"] == mine["y_checkpoint"]) & (mine["modality"] == mine["y_modality"])]
    known = mine.groupby(["modality", "x", "y"])["checkpoint"].transform("nunique")
    return mine[known == mine["checkpoint"].nunique()]


def training_table(when: pd.DataFrame, models: Sequence[str] | None = None, name: str = "unbiased_cka") -> str:
    """How alike different models are after each share of their training: the mean over pairs, and their range.

    A line for pairs that see images by one architecture, and one for others.
    """
    mine = through_training(when, name, models)
    rows: dict[str, Where] = {}
    for one, built in mine[["modality", "label"]].drop_duplicates().sort_values(["modality", "label"]).to_numpy():
        pairs = len(select(mine, modality=one, label=built)[["x", "y"]].drop_duplicates())
        told = f"{one} towers, {built}, {pairs} {'pairs' if pairs > 1 else 'pair'}"
        rows[told] = {"modality": one, "label": built}
    columns: dict[str, Where] = {f"{at} %": {"checkpoint": at} for at in sorted(mine["checkpoint"].dropna().unique())}
    return grid(mine, f"{metric(name)} of two models after", rows, columns, _spread)
