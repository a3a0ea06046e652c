"""Tables of models stitched, and of heads and students across models, in Markdown."""

from collections.abc import Mapping

import pandas as pd

from jam.report.labels import label
from jam.report.tables import Where, grid, number, with_interval
from jam.results import select

K = 10  # of the recalls that are told: of small models the first rank is nearly empty


def whole(results: pd.DataFrame) -> pd.DataFrame:
    """Rows of whole towers, both ways of the recall that is told."""
    rows = select(results, metric="recall", k=K)
    return rows[rows["x_layer"].isna() & rows["y_layer"].isna()] if "x_layer" in rows else rows


def most(rows: pd.DataFrame) -> pd.DataFrame:
    """Those with most anchors, and those that have none to count."""
    return rows[rows["anchors"].isna() | (rows["anchors"] == rows["anchors"].max())]


def kept(rows: pd.DataFrame) -> str:
    """The share of the own score that is left, the mean of the rows."""
    found = rows["kept"].dropna()
    return number(found.mean(), 2) if len(found) else "–"


def towers_table(results: pd.DataFrame, method: str) -> str:
    """Every image tower (rows) with every text tower (columns): recall both ways in the mean, a model's own in bold."""
    rows = most(whole(select(results, against=None)))
    names = list(dict.fromkeys(select(rows, condition="own")["x"]))
    asked = pd.concat([select(rows, condition="own"), select(rows, condition="stitched", method=method)])
    lines: dict[str, Where] = {label(name): {"x": name} for name in names}
    return grid(asked, "images of ↓, texts of →", lines, {label(name): {"y": name} for name in names}, _own)


def _own(rows: pd.DataFrame) -> str:
    told = number(rows["value"].mean())
    return f"**{told}**" if rows["condition"].iloc[0] == "own" else told


def conditions_table(results: pd.DataFrame) -> str:
    """What is left of the own score through each map and each control, the mean over pairs of models, by anchors."""
    rows = whole(select(results, against="own"))
    counts = sorted(int(each) for each in rows["anchors"].dropna().unique())
    columns: dict[str, Where] = {f"{count:,} anchors": {"anchors": count} for count in counts}
    columns["no map"] = {"anchors": None}
    named = rows.drop_duplicates(["condition", "method"])[["condition", "method"]].itertuples(index=False)
    lines: dict[str, Where] = {
        f"{label(condition)}, {label(method)}": {"condition": condition, "method": method}
        for condition, method in named
    }
    return grid(rows, "share of the own recall that is left", lines, columns, kept)


def layers_table(results: pd.DataFrame) -> str:
    """Of each pair of towers what is left of the top's own recall: at the same layers, with controls, and last under
    first; means over both ways, and over layers where several are meant.
    """
    rows = select(results, metric="recall", k=K, against="own")
    rows = rows[rows["x_layer"].notna() & rows["y_layer"].notna()]
    same, last = rows["x_layer"] == rows["y_layer"], rows.groupby(["x", "y"])["x_layer"].transform("max")
    late = (rows["x_layer"] == last) & (rows["y_layer"] == 0)
    rows = rows.assign(label="").mask(~(same | late)).dropna(how="all")
    rows.loc[same, "label"], rows.loc[late, "label"] = "same", "late"
    columns: dict[str, Where] = {
        f"same layers, {label(method)}": {"label": "same", "condition": "stitched", "method": method}
        for method in ("ridge", "orthogonal", "trained")
    }
    columns |= {
        "anchors shuffled": {"label": "same", "condition": "shuffled"},
        "untrained bottom, trained map": {"label": "same", "condition": "untrained", "method": "trained"},
        "last under first, ridge": {"label": "late", "condition": "stitched", "method": "ridge"},
        "last under first, trained": {"label": "late", "condition": "stitched", "method": "trained"},
    }
    pairs = rows.drop_duplicates(["x", "y"])[["x", "y"]].itertuples(index=False)
    lines: dict[str, Where] = {f"{label(x)} under {label(y)}": {"x": x, "y": y} for x, y in pairs}
    return grid(rows, "share of the own recall that is left", lines, columns, kept)


def transfer_table(results: pd.DataFrame) -> str:
    """Balanced accuracy of heads by attribute: own, through maps of most anchors, controls; means over models."""
    rows = most(select(results, metric="balanced_accuracy", against=None))
    names = list(dict.fromkeys(rows["label"]))
    told: Mapping[str, Where] = {
        "own head, all labels": {"condition": "own"},
        **{
            f"another's head, {label(name)}": {"condition": "mapped", "method": name}
            for name in select(rows, condition="mapped")["method"].dropna().unique()
        },
        "anchors shuffled": {"condition": "shuffled"},
        "no map": {"condition": "unmapped"},
    }
    lines = grid(rows, "head", told, {label(name): {"label": name} for name in names}).splitlines()
    chance = [number(float(select(rows, label=name)["null_mean"].iloc[0])) for name in names]
    return "\n".join([*lines, "| *chance* | " + " | ".join(chance) + " |"])


def students_table(results: pd.DataFrame) -> str:
    """Students by labels that they have: accuracy, how often they say what the teacher says, and Cohen's κ of that."""
    rows = select(results, metric=("accuracy", "agreement", "kappa"), against=None)
    columns: dict[str, Where] = {"accuracy": {"metric": "accuracy"}, "agreement": {"metric": "agreement"},
                                 "κ": {"metric": "kappa"}}  # fmt: skip
    lines: dict[str, Where] = {}
    for name in dict.fromkeys(rows["label"]):
        lines[f"{label(name)}: teacher"] = {"label": name, "condition": "teacher"}
        mine = select(rows, label=name)
        for count in sorted(mine["anchors"].dropna().unique()):
            for condition in ("taught", "untaught", "mistaught"):
                what: Where = {"label": name, "condition": condition, "anchors": int(count)}
                lines[f"{label(name)}, {int(count):,} labels: {label(condition)}"] = what
    return grid(rows, "student", lines, columns, with_interval)


def stitch_sentence(results: pd.DataFrame) -> str:
    """What to do in practice, from the numbers: which map, how many anchors, what is lost."""
    rows = select(whole(results), condition="stitched", against="own")
    means = rows.groupby(["method", "anchors"])["kept"].mean()
    method, _ = means.idxmax()
    best, curve = means.max(), means[method].sort_index()
    enough = int(curve.index[(curve >= 0.95 * best).to_numpy().argmax()])
    control = rows_of(results, "shuffled")
    images = select(whole(results), condition="stitched", against="own_x", method=method, anchors=curve.index[-1])
    return (
        f"An image tower with another model's text tower keeps {best:.0%} of that model's own R@{K} through the map "
        f"{label(str(method))}, and {images['kept'].mean():.0%} of that of its own model; {enough:,} unlabelled images "
        f"that both have seen give 95 % of what {int(curve.index[-1]):,} give. Shuffled, they leave {control:.0%}."
    )


def rows_of(results: pd.DataFrame, condition: str) -> float:
    """The mean share that a control leaves."""
    return float(select(whole(results), condition=condition, against="own")["kept"].mean())


def transfer_sentence(results: pd.DataFrame) -> str:
    """What to do in practice, from the numbers: what is lost, and from how many labels on an own head is better.

    Shares are those of means over models: every model hands its head on as often as it is handed one.
    """
    rows = select(results, metric="balanced_accuracy", against=None)
    rows = rows.assign(above=rows["value"] - rows["null_mean"])
    own = select(rows, condition="own").groupby("label")["above"].mean()
    mapped, few = (
        select(rows, condition=condition).groupby([*by, "label"])["above"].mean().unstack() / own
        for condition, by in (("mapped", ["method", "anchors"]), ("labels", ["anchors"]))
    )
    method, anchors = mapped.mean(axis=1).idxmax()
    kept = mapped.loc[(method, anchors)]
    enough = {name: few.index[few[name] > kept[name]].min() for name in few if (few[name] > kept[name]).any()}
    worth = "no own head of the labels tried is better"
    if enough:
        worth = f"an own head is better from {_ends(enough, '{:,.0f}')} labels on"
    return (
        f"Another model's head, through the map {label(str(method))} of {int(anchors):,} unlabelled images that both "
        f"have seen, keeps {_ends(kept.to_dict(), '{:.0%}')} of what an own head is above chance; {worth}."
    )


def _ends(values: Mapping[str, float], form: str) -> str:
    """The least and the most of some values, with what they are of."""
    told = [f"{form.format(values[name])} ({label(name)})" for name in sorted(values, key=lambda name: values[name])]
    return told[0] if len(told) == 1 else f"{told[0]} to {told[-1]}"
