"""The table of the audit: which score of alignment ranks representations as their recall and precision do."""

import pandas as pd

from jam.report.labels import metric
from jam.report.tables import Where, grid, number, with_interval
from jam.results import select

ORDER = (
    "unbiased_cka", "cka", "mutual_knn", "cknna", "rsa", "cca", "svcca", "cknna_platonic", "svcca_platonic",
)  # fmt: skip
TRIVIAL = ("effective_rank", "width", "reality_recall", "precision")
REFERENCES = {
    "across": "the other modality", "within": "the same modality", "unlike": "the same modality,\nother objective",
}  # fmt: skip


def audit_table(results: pd.DataFrame) -> str:
    """Rank correlations with recall and precision over what is made of trained encoders, means over modalities.

    Of raw scores with references of the other modality and of the same, and for comparison of what needs none; with
    intervals over encoders, and the paired difference to mutual kNN.
    """
    mine = select(results, experiment="audit")
    if mine.empty:
        return grid(mine, "score", {}, {})
    mine = mine[mine["outcome"].notna() & (mine["form"].isna() | mine["form"].isin(["raw", "given_rank"]))]
    if mine.empty:
        return grid(mine, "score", {}, {})
    mine = select(mine, modality=whole_of(mine))
    present = set(mine["metric"])
    rows: dict[str, Where] = {metric(name): {"metric": name} for name in (*ORDER, *TRIVIAL) if name in present}
    columns: dict[str, Where] = {}
    for outcome, what in (("reality_recall", "recall"), ("precision", "precision")):
        here = {"outcome": outcome, "among": "trained", "against": None, "form": "raw"}
        columns[f"{what}: across"] = {**here, "reference": "across"}
        columns[f"{what}: minus mutual kNN"] = {**here, "reference": "across", "against": "mutual_knn"}
        if outcome == "reality_recall":
            columns[f"{what}: across, given effective rank"] = {**here, "reference": "across", "form": "given_rank"}
        columns[f"{what}: within"] = {**here, "reference": "within"}
        columns[f"{what}: within, other objective"] = {**here, "reference": "unlike"}
        columns[f"{what}: across, named layers"] = {**here, "reference": "across", "among": "named"}
    # What compares with nothing stands where scores across modalities do.
    mine = mine.assign(reference=mine["reference"].fillna("across"), form=mine["form"].fillna("raw"))

    def show(found: pd.DataFrame) -> str:
        row = found.iloc[0]
        plain = row["reference"] != "across" or row["among"] == "named"
        return number(row["value"], 2) if plain else with_interval(found, 2)

    return grid(mine, f"rank correlation over {_counted(mine)}", rows, columns, show)


def audit_sides_table(results: pd.DataFrame) -> str:
    """The same of raw scores for each modality by itself: across from here to there, within by kin of its own."""
    mine = select(results, experiment="audit", among="trained", against=None, form="raw")
    present = set(mine["metric"])
    rows: dict[str, Where] = {metric(name): {"metric": name} for name in ORDER if name in present}
    columns: dict[str, Where] = {
        f"{what}: {reference}, {modality}s": {"outcome": outcome, "reference": reference, "modality": modality}
        for outcome, what in (("reality_recall", "recall"), ("precision", "precision"))
        for reference in ("across", "within")
        for modality in dict.fromkeys(mine["modality"])
        if modality != "both"
    }
    return grid(mine, "rank correlation", rows, columns, lambda found: with_interval(found, 2))


def whole_of(rows: pd.DataFrame) -> str:
    """What stands for all modalities: the mean of both, or the one that there is."""
    names = list(rows["modality"])
    return "both" if "both" in names else str(names[0])


def _counted(mine: pd.DataFrame) -> str:
    """How many representations of how many encoders."""
    row = select(mine, among="trained").iloc[0] if len(select(mine, among="trained")) else mine.iloc[0]
    return f"{row['n']} representations of {row['encoders']} encoders"
