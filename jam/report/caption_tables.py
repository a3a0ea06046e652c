"""Tables of captions, in Markdown."""

import pandas as pd

from jam.report.labels import label
from jam.report.tables import Where, grid, number, with_interval
from jam.results import select

CONDITIONS = {
    "real": "", "shuffled": "another image's prefix", "mean": "the mean prefix", "none": "no prefix",
    "nearest": "nearest training sentence", "template": "linear probes and a template",
}  # fmt: skip
SCORES: dict[str, Where] = {
    "exact scene": {"metric": "exact_scene"}, "binding error": {"metric": "binding_error"},
    "misbound of those with all words right": {"metric": "misbound"}, "a thing repeated": {"metric": "repeated"},
    "wrong words that are in the scene": {"metric": "misplaced", "label": None},
    "hallucinations": {"metric": "hallucination"}, "omissions": {"metric": "omission"},
    "no sentence": {"metric": "unparseable"}, "distinct": {"metric": "distinct"},
    "BLEU-4": {"metric": "bleu"}, "CIDEr-D": {"metric": "cider_d"},
}  # fmt: skip
FAULTS = (
    "binding error", "misbound of those with all words right", "a thing repeated", "wrong words that are in the scene",
    "hallucinations",
)  # fmt: skip
FEWEST = 10  # captions or wrong words that a share is told of
ATTRIBUTES = ("digit", "colour", "size", "cell")


def means_of(results: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds, no differences."""
    return select(results, experiment="captions", seed=None, against=None)


def bounds_table(results: pd.DataFrame) -> str:
    """The first variant beside all that bounds it, what probes of the other inputs know, and the oracle."""
    means = means_of(results)
    first = select(means, condition="real")["subject"].iloc[0]
    rows: dict[str, Where] = {
        f"{label(first)}{', ' * bool(told)}{told}": {"subject": first, "condition": name}
        for name, told in CONDITIONS.items()
        if name != "none" and len(select(means, subject=first, condition=name))
    }
    alone = select(means, condition="none")
    rows[f"{label(alone['subject'].iloc[0])}, no prefix"] = {"condition": "none"}
    others = [name for name in dict.fromkeys(select(means, condition="template")["subject"]) if name != first]
    for name in sorted(others, key=lambda name: name == "oracle"):
        rows[f"{_known(name)}, {CONDITIONS['template']}"] = {"subject": name, "condition": "template"}
    for name in ("oracle", "oracle_lora"):
        if len(select(means, subject=name)):
            rows[_known(name)] = {"subject": name, "condition": "real"}
    columns = {name: where for name, where in SCORES.items() if len(select(means, **where))}
    return grid(means, "sentences of", rows, columns, _share)


def _known(name: str) -> str:
    """What is given of an image; of the oracle, that it is none."""
    told = "*the true state instead of the image*"
    return {"oracle": told, "oracle_lora": f"{told}, with LoRA"}.get(name, label(name))


def _share(rows: pd.DataFrame) -> str:
    """With its interval, but none where nothing or all was seen; of captions that have all words right, of how many."""
    metric, n = rows["metric"].iloc[0], rows["n"].iloc[0]
    if metric in ("misbound", "misplaced") and n < FEWEST:
        return "–"
    constant = rows["value"].iloc[0] in (0, 1) and rows["low"].iloc[0] == rows["high"].iloc[0]
    return (number(rows["value"].iloc[0]) if constant else with_interval(rows)) + f" of {n}" * (metric == "misbound")


def variants_table(results: pd.DataFrame) -> str:
    """Each variant: exact scenes, how far above another image's prefix, binding errors, and what is said truly."""
    found = select(results, experiment="captions", seed=None, kind=None)
    means = select(found, against=None)
    names = dict.fromkeys(select(means, condition="real", metric=("exact_scene", "cider_d"))["subject"])
    own, gap = {"condition": "real"}, {"against": "shuffled", "metric": "exact_scene"}
    columns: dict[str, Where] = {
        "exact scene": {**own, "metric": "exact_scene"}, "− shuffled": gap,
        **{name: {**own, **SCORES[name]} for name in FAULTS},
        **{f"{name} said truly": {**own, "metric": "said_recall", "label": name} for name in ATTRIBUTES},
        "distinct": {**own, "metric": "distinct"}, "CIDEr-D": {**own, "metric": "cider_d"},
    }  # fmt: skip
    columns = {name: where for name, where in columns.items() if len(select(found, **where))}
    rows: dict[str, Where] = {label(name): {"subject": name} for name in names}
    lines = grid(found, "prefix of", rows, columns, _share).splitlines()
    sizes = grid(means, "", rows, {"trained parameters": {**own, "metric": "parameters"}}, _whole).splitlines()
    seeds = grid(means, "", rows, {"seeds": {**own, "metric": ("exact_scene", "cider_d")}}, _seeds).splitlines()
    ends = [[line[line.index("|", 1) + 1 :] for line in part] for part in (sizes, seeds)]
    return "\n".join(a + b + c for a, b, c in zip(lines, *ends, strict=True))


def _whole(rows: pd.DataFrame) -> str:
    return f"{rows['value'].iloc[0]:,.0f}"


def _seeds(rows: pd.DataFrame) -> str:
    return str(rows["seeds"].iloc[0])


def answers_table(results: pd.DataFrame) -> str:
    """Answers to questions by kind, with the image's own prefix and with another's."""
    means = select(means_of(results), metric="answer")
    if means.empty:
        return "No questions were asked."
    rows: dict[str, Where] = {}
    for name in dict.fromkeys(means["subject"]):
        for condition in ("real", "shuffled"):
            told = CONDITIONS[condition]
            rows[f"{label(name)}{', ' * bool(told)}{told}"] = {"subject": name, "condition": condition}
    columns: dict[str, Where] = {}
    for kind in dict.fromkeys(means["kind"]):
        columns[kind] = {"kind": kind, "label": None}
        parts = dict.fromkeys(select(means, kind=kind)["label"].dropna())
        columns |= {f"{kind}: {part}": {"kind": kind, "label": part} for part in parts if len(parts) > 1}
    return grid(means, "answers", rows, columns, with_interval)
