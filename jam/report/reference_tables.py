"""Tables in Markdown of gains with the reference and the true state, of what words cause, and of the verdicts."""

import pandas as pd

from jam.report.labels import label, metric
from jam.report.tables import Where, grid, markdown, number, with_interval
from jam.results import select

REFERENCES = {"encoder": "the reference encoder", "state": "the true state"}
CONTROLS = {
    "frozen": "nothing done", "whitened": "whitening", "pca": "PCA", "random": "random map",
    "autoencoder": "autoencoder", "shuffled": "shuffled pairs",
}  # fmt: skip


def gain_table(results: pd.DataFrame, reference: str) -> str:
    """How much nearer to a reference spaces are than the best control, which is named where it is not the same for all.

    Args:
        results: of all stages.
        reference: one of `REFERENCES`.
    """
    mine = select(results, experiment="reference", reference=reference, condition="beyond_best")
    rows: dict[str, Where] = {
        f"{side}, {metric(name)}": {"x": side, "metric": name}
        for side in dict.fromkeys(mine["x"]) for name in dict.fromkeys(mine["metric"])
    }  # fmt: skip
    columns: dict[str, Where] = {label(name): {"subject": name} for name in dict.fromkeys(mine["subject"])}

    def show(found: pd.DataFrame) -> str:
        return f"{with_interval(found)} ({CONTROLS[found['against'].iloc[0]]})"

    return grid(mine, f"gain with {REFERENCES[reference]} beyond the best control", rows, columns, show)


def control_table(results: pd.DataFrame) -> str:
    """Alignment with the reference encoder before and after, the gain, and that of each control, of the first space."""
    mine = select(results, experiment="reference", reference="encoder", seed=None)
    if mine.empty:
        return grid(mine, "side", {}, {})
    mine = select(mine, subject=mine["subject"].iloc[0])
    rows: dict[str, Where] = {
        f"{side}, {metric(name)}": {"x": side, "metric": name}
        for side in dict.fromkeys(mine["x"]) for name in dict.fromkeys(mine["metric"])
    }  # fmt: skip
    columns: dict[str, Where] = {name: {"condition": name} for name in ("frozen", "aligned", "gain")}
    controls = set(select(mine, condition="control")["against"])
    columns |= {
        f"gain by {told}": {"condition": "control", "against": name}
        for name, told in CONTROLS.items() if name in controls
    }  # fmt: skip
    return grid(mine, label(mine["subject"].iloc[0]), rows, columns, lambda found: with_interval(found))


def ablation_table(results: pd.DataFrame) -> str:
    """What images of a space tell of each attribute with and without the words for one of them in the captions."""
    mine = select(results, experiment="reference", metric="reality_recall")
    rows: dict[str, Where] = {label(name): {"label": name} for name in dict.fromkeys(mine["label"])}
    columns: dict[str, Where] = {
        name.replace("_", " "): {"condition": name}
        for name in ("with_words", "without_words", "difference", "specific")
    }
    table = grid(mine, "held-out R² of", rows, columns, lambda found: with_interval(found))
    return table.replace("| specific |", "| more than of the others |")


def small(p: float) -> str:
    """A p value, which three digits may not tell from nothing."""
    return number(p) if p >= 0.0005 else "< .001"


def hypothesis_table(verdicts: pd.DataFrame) -> str:
    """A line a hypothesis: its rule, what was found, the corrected p value and the verdict."""
    lines = []
    for (name, statement, rule), mine in verdicts.groupby(["id", "statement", "rule"], sort=False):
        effects = [
            f"{row['effect']}: {number(row['value'])} [{number(row['low'])}, {number(row['high'])}]"
            for row in mine.to_dict("records")
        ]
        first = mine.iloc[0]
        sizes = " and ".join(f"{n:,}" for n in dict.fromkeys(mine["n"]))
        told = f"{len(effects)} effects, {first['seeds']} seeds, n = {sizes}"
        lines.append(
            [f"**{name}**: {statement}", rule, f"{'; '.join(effects)} ({told})", small(first["p_holm"]),
             f"**{first['verdict']}**"]
        )  # fmt: skip
    return markdown(["hypothesis", "rule", "found", "p (Holm)", "verdict"], lines)
