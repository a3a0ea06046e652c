"""Tables in Markdown of what labels are told before and after alignment, and of cosines of images and texts."""

import pandas as pd

from jam.report.labels import label, metric
from jam.report.tables import Where, grid, markdown, markdown_row, number, with_interval
from jam.results import select

BALANCED = "zero_shot_balanced"


def conditions(means: pd.DataFrame) -> dict[str, Where]:
    """Rows of a task: the frozen layer, what its whitening alone does, and each space; one whitening if all agree."""
    spaces = list(dict.fromkeys(select(means, condition="after")["subject"].dropna()))
    rows: dict[str, Where] = {"frozen layer": {"condition": "before", "subject": None}}
    if spaces:
        rows[f"whitened, as {label(spaces[0])} does"] = {"condition": "whitened", "subject": spaces[0]}
    return rows | {label(name): {"condition": "after", "subject": name} for name in spaces}


def methods(means: pd.DataFrame) -> dict[str, Where]:
    """Columns: by which method labels are told."""
    found: dict[str, Where] = {metric("probe"): {"metric": "probe"}}
    found |= {f"{k}-NN": {"metric": "knn", "k": k} for k in select(means, metric="knn")["k"].unique()}
    for shots in select(means, metric="few_shot")["shots"].unique():
        found[f"{shots} {'example' if shots == 1 else 'examples'} a class"] = {"metric": "few_shot", "shots": shots}
    if len(select(means, metric="zero_shot")):
        found[metric("zero_shot")] = {"metric": "zero_shot"}
    return found


def downstream_table(results: pd.DataFrame) -> str:
    """Accuracy before and after alignment by task and method; what the probe gains, paired on test images."""
    means = select(results, experiment="downstream", seed=None, split="test")
    columns = methods(means)
    columns.pop(metric("zero_shot"), None)
    columns["probe, after − before"] = {"metric": "probe_difference", "against": "before"}
    columns["probe, after − whitened"] = {"metric": "probe_difference", "against": "whitened"}
    lines: list[str] = []
    header = rule = ""
    for task in dict.fromkeys(select(means, metric="probe")["label"]):
        mine = select(means, label=task)
        told_of = mine.assign(condition=mine["condition"].fillna("after"))  # differences are of what is after
        rows = {f"{task}, {name}": where for name, where in conditions(mine).items()}
        header, rule, *body = grid(told_of, "task", rows, columns, with_interval).split("\n")
        first = select(mine, metric="probe", condition="before").iloc[0]
        told = [f"chance {number(first['null_mean'])}", f"majority {number(first['majority'])}"]
        told += [f"at best {number(first['ceiling'])}"] if pd.notna(first["ceiling"]) else []
        units = f"n {first['n']:,} images of {first['units']:,} units"
        lines += [*body, markdown_row([f"*{task}: {', '.join(told)}; {units}*", *[""] * len(columns)])]
    return "\n".join([header, rule, *lines]) if lines else "No labelled images were read."


def zero_shot_table(results: pd.DataFrame) -> str:
    """Accuracy by prompts after alignment; before it there is none, as features of images and texts have no cosine."""
    means = select(results, experiment="downstream", seed=None, metric=("zero_shot", BALANCED))
    if means.empty:
        return "Nothing was sought by prompts."
    tasks = list(dict.fromkeys(means["label"]))
    columns: dict[str, Where] = {task: {"label": task} for task in tasks}
    spaces = list(dict.fromkeys(means["subject"]))
    rows: dict[str, Where] = {label(name): {"subject": name, "metric": "zero_shot"} for name in spaces}
    rows |= {f"{label(name)}, mean over classes": {"subject": name, "metric": BALANCED} for name in spaces}
    told = {task: select(means, label=task).iloc[0] for task in tasks}
    undefined = markdown_row(["*frozen layers: undefined*", *["–"] * len(tasks)])
    below = [
        markdown_row([name, *(number(told[task][column]) for task in tasks)])
        for name, column in (("*chance*", "null_mean"), ("*majority class*", "majority"))
    ]
    return "\n".join([grid(means, "space", rows, columns, with_interval), undefined, *below])


def similarity_table(results: pd.DataFrame) -> str:
    """d′ of matched and mismatched cosines before and after alignment, its null and the paired difference."""
    means = select(results, experiment="downstream", seed=None)
    found = select(means, metric="d_prime")
    lines = []
    for row in found.to_dict("records"):
        subject = None if pd.isna(row["subject"]) else row["subject"]
        name = f"before: frozen layers, {row['label']}" if subject is None else f"after: {label(subject)}"
        gained = select(means, metric="d_prime_difference", subject=subject)
        difference = with_interval(gained, 2) if subject and len(gained) else "–"
        own = with_interval(select(found, subject=subject), 2)
        lines.append([name, own, number(row["null"], 2), difference, str(row["seeds"]), f"{row['n']:,}"])
    header = [
        "cosines of images and texts",
        metric("d_prime"),
        "95 % of shuffled pairs",
        "after − before",
        "seeds",
        "n",
    ]
    return markdown(header, lines)
