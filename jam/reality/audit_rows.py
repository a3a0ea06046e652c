"""The scores of the audit as rows of results, and as the table that correlations are taken over."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jam.reality.audit import AUDITED, DONE, OUTCOMES, REFERENCES, Alignment, compared
from jam.reality.audited import NAMED, SEED, UNTRAINED, Audited, Reference
from jam.reality.listed import TRAINED
from jam.reality.tracking import CALIBRATED, PARTIAL, RAW, Name, Table

FORMS = {RAW: "raw", CALIBRATED: "calibrated", PARTIAL: "partial"}
COLUMNS = {"raw": "value", "calibrated": "calibrated", "threshold": "null", "null_mean": "null_mean",
           "partial": "partial"}  # fmt: skip
UNMADE = ("control", "random")  # families that nothing trained


def means(
    things: Sequence[Audited], references: Sequence[Reference], chunks: Sequence[Mapping[str, Alignment]]
) -> dict[tuple[str, str], dict[str, np.ndarray]]:
    """By metric and kind of reference: each field of `Alignment` as its mean over the references that count, (n,).

    NaN where none counts. ``chunks`` are the scores of all things with all references and the state, some at a time.
    """
    counts = [compared(one, references) for one in things]
    found = {}
    for metric in AUDITED:
        whole = {name: np.concatenate([getattr(some[metric], name) for some in chunks]) for name in COLUMNS}
        for kind in REFERENCES:
            held = np.array([one[kind] for one in counts], dtype=np.float64)
            totals = held.sum(axis=1)
            shares = held / np.where(totals > 0, totals, np.nan)[:, None]
            found[metric, kind] = {name: (values * shares).sum(axis=1) for name, values in whole.items()}
    return found


def score_rows(
    things: Sequence[Audited],
    references: Sequence[Reference],
    chunks: Sequence[Mapping[str, Alignment]],
    outcomes: Sequence[Mapping[str, float]],
) -> list[dict[str, Any]]:
    """Rows of results: of every representation its outcomes, width and effective rank, and its scores."""
    shared = [
        {**one.of.told, "encoder": one.encoder, "split": "test", "n": len(one.of.features["test"])} for one in things
    ]
    rows = [
        {**told, "metric": metric, "value": value}
        for told, found in zip(shared, outcomes, strict=True)
        for metric, value in found.items()
    ]
    for (metric, kind), fields in means(things, references, chunks).items():
        for i, told in enumerate(shared):
            if np.isfinite(fields["raw"][i]):
                scores = {COLUMNS[name]: values[i] for name, values in fields.items() if np.isfinite(values[i])}
                rows.append({**told, "metric": metric, "reference": kind, **scores})
    return rows


def table_of(
    things: Sequence[Audited],
    references: Sequence[Reference],
    chunks: Sequence[Mapping[str, Alignment]],
    outcomes: Sequence[Mapping[str, float]],
) -> Table:
    """What correlations are taken over.

    The outcomes are scores too: each ranks like itself, and like the other as far as the two agree. Among all; among
    what is made of trained encoders (neither init nor checkpoints nor controls); and among these at their named layer
    alone, each seed once: which encoder is it?
    """
    scores: dict[Name, np.ndarray] = {
        (metric, kind, form): fields[name]
        for (metric, kind), fields in means(things, references, chunks).items()
        for form, name in FORMS.items()
    }
    scores |= {(name, None, None): np.array([found[name] for found in outcomes]) for name in outcomes[0]}
    condition = np.array([one.of.told["condition"] for one in things])
    made = np.array([one.of.told["family"] not in UNMADE for one in things])
    done = [one.of.told.get("checkpoint") for one in things]
    scores[DONE, None, None] = np.where(made, [TRAINED if at is None else at for at in done], np.nan)
    trained = made & ~np.isin(condition, UNTRAINED)
    among = {"all": np.ones(len(things), bool), "trained": trained, NAMED: trained & np.isin(condition, (NAMED, SEED))}
    encoder, modality = (
        np.array(names, object) for names in zip(*((one.encoder, one.of.modality) for one in things), strict=True)
    )
    told = {name: np.array([found[name] for found in outcomes]) for name in OUTCOMES}
    return Table(encoder, modality, scores, told, among)
