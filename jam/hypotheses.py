"""The three hypotheses: what each says, and which rows of results its rule looks at."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from jam.errors import InputError
from jam.metrics.verdicts import Effect, Verdict
from jam.params import Hypotheses
from jam.results import select

COLUMNS = (
    "id", "statement", "rule", "effect", "value", "low", "high", "above", "p_effect", "p", "p_holm", "verdict", "seeds",
    "n",
)  # fmt: skip


@dataclass(frozen=True)
class Hypothesis:
    """What is claimed, by which rule it is judged, and the effects that the rule looks at."""

    id: str
    statement: str
    rule: str
    effects: tuple[Effect, ...]


def stated(rules: Hypotheses, side: str, results: pd.DataFrame) -> Iterator[Hypothesis]:
    """Those that the section ``hypotheses`` states.

    Args:
        rules: the section.
        side: which is held against the reference: that of ``align.x``.
        results: of experiments ``contrasts``, ``reference`` and ``downstream``.

    Raises:
        InputError: a row that a rule looks at is not there.
    """
    reference: dict[str, Any] = {"experiment": "reference", "x": side}
    if one := rules.linear:
        yield Hypothesis(
            "H1",
            "linear maps suffice",
            f"{one.subject} − {one.against} > −{one.margin} in {' and '.join(one.metrics)}",
            tuple(_contrast(results, one.subject, one.against, metric, one.margin) for metric in one.metrics),
        )
    if two := rules.performant:
        nearer = {**reference, "subject": two.subject, "metric": two.metric, "reference": "encoder"}
        task = f"{two.data}: {two.label}"
        probe = {
            "experiment": "downstream",
            "metric": "probe_difference",
            "subject": two.subject,
            "x": side,
            "against": "before",
        }
        yield Hypothesis(
            "H2",
            "what is aligned comes near to what performs, and performs as before",
            f"gain in {two.metric} with the reference beyond the best control > 0 and probe on {task} after − "
            f"before > −{two.margin}",
            (
                _effect(results, "gain beyond the best control", 0.0, **nearer, condition="beyond_best"),
                _effect(results, f"probe on {task}, after − before", -two.margin, **probe, label=task, seed=None),
            ),
        )
    if three := rules.mechanism:
        nearer = {**reference, "subject": three.subject, "metric": three.metric, "reference": "encoder"}
        yield Hypothesis(
            "H3",
            "what is gained comes from what pairs say",
            f"gain in {three.metric} with true − with shuffled pairs > 0 and what words teach of their own attribute − "
            "of others > 0",
            (
                _effect(results, "gain beyond shuffled pairs", 0.0, **nearer, condition="beyond", against="shuffled"),
                _effect(results, "with − without words, own − others", 0.0, **reference, condition="specific"),
            ),
        )


def verdict_table(found: Sequence[Hypothesis], verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """A row an effect, with the verdict on its hypothesis; columns as `COLUMNS`."""
    rows: list[dict[str, Any]] = []
    for one, verdict in zip(found, verdicts, strict=True):
        shared = {"id": one.id, "statement": one.statement, "rule": one.rule, "verdict": verdict.outcome}
        for effect in one.effects:
            told = asdict(effect) | {"effect": effect.name, "p_effect": effect.p}
            rows.append({**shared, **told, "p": verdict.p, "p_holm": verdict.p_holm})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _contrast(results: pd.DataFrame, subject: str, against: str, metric: str, margin: float) -> Effect:
    """The difference of two spaces, turned round where results have it the other way."""
    tier = "hard" if metric == "hard_negatives" else None
    where = {"experiment": "contrasts", "metric": metric, "tier": tier, "kind": None}
    name = f"{metric}: {subject} − {against}"
    if len(select(results, subject=subject, against=against, **where)):
        return _effect(results, name, -margin, subject=subject, against=against, **where)
    turned = _effect(results, name, -margin, subject=against, against=subject, **where)
    return Effect(name, -turned.value, -turned.high, -turned.low, -margin, turned.n, turned.seeds)


def _effect(results: pd.DataFrame, name: str, above: float, **where: Any) -> Effect:
    found = select(results, **where)
    if len(found) != 1 or found[["value", "low", "high"]].isna().any(axis=None):
        told = ", ".join(f"{key} {value}" for key, value in where.items() if value is not None)
        raise InputError(f"hypotheses, {name}: got {len(found)} rows of results, expected one with an interval: {told}")
    row = found.iloc[0]
    value, low, high = (float(row[key]) for key in ("value", "low", "high"))
    units = row.get("units")  # images of one scan or scene are no independent draws
    return Effect(name, value, low, high, above, int(row["n"] if pd.isna(units) else units), int(row["seeds"]))
