"""Tables of what sets spaces on the same sides apart, in Markdown."""

from collections.abc import Mapping, Sequence

import pandas as pd

from jam.report.labels import label, metric
from jam.report.tables import grid, markdown, number, value, with_interval
from jam.results import select

Where = Mapping[str, object]
COMPARED: dict[str, Where] = {
    "true R@1": {"metric": "true_recall"},
    "mAP": {"metric": "average_precision"},
    "fine R@1": {"metric": "fine_recall"},
    "hard negatives": {"metric": "hard_negatives", "tier": "hard"},
    "swaps of digits": {"metric": "hard_negatives", "kind": "swap_digit"},
    "structure kept": {"metric": "preservation"},
    "private factors": {"metric": "private", "label": "mean"},
}


def contrast_table(results: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> str:
    """Differences between spaces, the first of a pair minus the second; a star where Holm's p is ≤ .05."""
    found = select(results, experiment="contrasts")
    columns = {name: where for name, where in COMPARED.items() if len(select(found, **where))}
    lines = []
    for a, b in pairs:
        cells = []
        for where in columns.values():
            row, sign = select(found, subject=a, against=b, **where), 1
            if row.empty:
                row, sign = select(found, subject=b, against=a, **where), -1
            cells.append(_signed(row.iloc[0], sign) if len(row) else "–")
        lines.append([f"{label(a)} − {label(b)}", *cells])
    return markdown(["difference", *columns], lines)


def _signed(row: pd.Series, sign: int) -> str:
    ends = sorted(sign * row[name] for name in ("low", "high"))
    star = "*" if row["p"] <= 0.05 else ""
    return f"{number(sign * row['value'])}{star} [{number(ends[0])}, {number(ends[1])}]"


def kept_table(results: pd.DataFrame, spaces: Sequence[str], sides: tuple[str, str]) -> str:
    """What each space keeps of its sides: neighbours, private factors; beside the frozen layer and its whitening."""
    means = select(results, experiment="evaluate", seed=None, subject=tuple(spaces), against=None)
    columns: dict[str, Where] = {f"structure, {side}": {"metric": "preservation", "x": side} for side in sides}
    columns |= {f"private, {side}": {"metric": "private", "label": "mean", "x": side} for side in sides}
    own = select(means, condition=None)
    rows = {label(space): {"subject": space} for space in spaces}
    table = grid(own, "space", rows, columns, with_interval)
    lines = []
    for condition in ("whitened", "frozen"):
        cells = []
        for where in columns.values():
            if where["metric"] == "preservation":
                alone = select(own, subject=spaces[0], **{**where, "metric": "preservation_whitened"})
                cells.append(number(1.0) if condition == "frozen" else value(alone) if len(alone) else "–")
            else:
                mine = select(means, subject=spaces[0], condition=condition, **where)
                cells.append(value(mine) if len(mine) else "–")
        lines.append(f"| *{condition} features* | " + " | ".join(cells) + " |")
    return "\n".join([table, *lines])


def private_table(results: pd.DataFrame, spaces: Sequence[str], side: str) -> str:
    """What is told of each private factor of one side's views."""
    means = select(results, experiment="evaluate", seed=None, metric="private", x=side, against=None)
    labels = [name for name in dict.fromkeys(means["label"]) if name != "mean"]
    columns: dict[str, Where] = {label(name): {"label": name} for name in labels}
    rows: dict[str, Where] = {
        f"*{condition} features*": {"subject": spaces[0], "condition": condition}
        for condition in ("frozen", "whitened")
    }
    return grid(means, side, rows | {label(space): {"subject": space, "condition": None} for space in spaces}, columns)


def budget_table(results: pd.DataFrame, tried: pd.DataFrame, spaces: Sequence[str]) -> str:
    """What was tried of each method on validation rows, what was kept, and how many parameters that has.

    Args:
        results: of all stages.
        tried: a row an epoch of a training, or a point of a grid: columns space, seed, kept, validation_score and,
            where there are such, configuration and epoch.
        spaces: which.
    """
    parameters = select(results, experiment="evaluate", seed=None, metric="parameters")
    lines = []
    for space in spaces:
        mine = tried[tried["space"] == space]
        one = mine[mine["seed"] == mine["seed"].iloc[0]]
        trained = one["epoch"].notna().any()
        scores = one.groupby("configuration")["validation_score"].max() if trained else one["validation_score"]
        after = "–"
        if trained:
            kept = mine[mine["kept"]]
            best = kept.loc[kept.groupby("seed")["validation_score"].idxmax()]
            after = f"{(best['epoch'] + 1).mean():.1f} of {int(kept['epoch'].max()) + 1}"
        size = select(parameters, subject=space)["value"].sum()
        cells = [str(len(scores)), number(scores.min()), number(scores.median()), number(scores.max()), after]
        lines.append([label(space), *cells, f"{size:,.0f}"])
    header = ["space", "tried", "worst", "median", "best", "epochs until the best", "parameters"]
    return markdown(header, lines)


def fall_table(results: pd.DataFrame) -> str:
    """How far kernel metrics fall when one thing is changed, beside how far the state itself does."""
    found = select(results, experiment="kernels", condition="fall")
    names = list(dict.fromkeys(found["metric"]))
    lines = []
    of = found[["subject", "x", "y"]].drop_duplicates()
    for subject, x, y in of.itertuples(index=False):
        mine = select(found, subject=subject if pd.notna(subject) else None, x=x, y=y)
        title = "the state itself" if x == "state" else label(subject) if pd.notna(subject) else "frozen features"
        for against, what in ((None, title), ("state", f"{title} − the state"), ("frozen", f"{title} − frozen")):
            rows = select(mine, against=against)
            if len(rows):
                lines.append([what, *(with_interval(select(rows, metric=name)) for name in names)])
    return markdown(["share that is lost", *map(metric, names)], lines)
