"""From similarities to answers: rows of results on when, how and why models are alike, and whether measures are right.

All take the table of similarities with x and y by the keys of representations, and the representations.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, product
from math import inf, nextafter
from typing import Any

import numpy as np
import pandas as pd

from jam.compare.analysis import (
    CLAIMS,
    Claim,
    Measured,
    classical_mds,
    distances,
    graded,
    judge,
    layer_order,
    mrqap,
    pooled,
    same,
    separation,
)
from jam.compare.analysis.grounding import Grounded
from jam.compare.cast import FACTORS, TRAINED, Rep, similarity_matrix
from jam.errors import InputError

Row = dict[str, Any]
CKA, LOST, NOISE = "unbiased_cka", "lost", "noise"
ONE, TWO = "one architecture", "two architectures"
FEWEST = 4  # models of a test over pairs of them
INTERVAL = "mean over pairs, and of their jackknives over items"
MEASURES = (CKA, "rsa", "mutual_knn", "procrustes_cosine", "predictability")
MODALITIES = ("image", "text")
THIRDS = {"early_layers": (-inf, 1 / 3), "middle_layers": (1 / 3, 2 / 3), "final_layers": (nextafter(1, 0), 1.0)}
"""Of the claims on depth beyond which depth, and to which; of final layers the last alone."""


def finals(reps: Sequence[Rep], modality: str) -> list[Rep]:
    """The representations that stand for the models."""
    return [rep for rep in reps if rep.modality == modality and rep.final and rep.checkpoint == TRAINED]


def layers_of(reps: Sequence[Rep], model: str, modality: str) -> list[Rep]:
    """The layers of a trained model, in their order."""
    return [rep for rep in reps if (rep.model, rep.modality, rep.checkpoint) == (model, modality, TRAINED)]


def casts(reps: Sequence[Rep], modality: str) -> dict[str, list[Rep]]:
    """Models over which tests are made: ``all``, and ``multimodal`` ones alone where there are others."""
    models = [rep for rep in finals(reps, modality) if rep.kind != "space"]
    alone = [rep for rep in models if rep.kind == "multimodal"]
    found = {"all": models} | ({"multimodal": alone} if len(alone) < len(models) else {})
    return {name: some for name, some in found.items() if len(some) >= FEWEST}


def matched_layers(reps: Sequence[Rep], x: str, y: str, modality: str) -> list[tuple[Rep, Rep]]:
    """Layers of two models at the same depth: of each of the one with fewer layers the nearest of the other."""
    of = {name: layers_of(reps, name, modality) for name in (x, y)}
    few, many = (x, y) if len(of[x]) <= len(of[y]) else (y, x)
    pairs = (
        [(a, min(of[many], key=lambda b: (round(abs(b.depth - a.depth), 9), b.layer))) for a in of[few]]
        if of[many]
        else []
    )
    return pairs if few == x else [(b, a) for a, b in pairs]


def linear_pairs(reps: Sequence[Rep], layered: Sequence[str]) -> list[tuple[Rep, Rep]]:
    """Of what linear measures are taken: models, of two with every layer the layers at one depth, and of one with it.

    A measure that is fitted for each pair takes more time than one that is not.
    """
    ends = [finals(reps, modality) for modality in MODALITIES]
    pairs = [*combinations(ends[0], 2), *combinations(ends[1], 2), *product(*ends)]
    for modality in MODALITIES:
        for one, other in combinations(layered, 2):
            pairs += matched_layers(reps, one, other, modality)
        for name in layered:
            pairs += combinations(layers_of(reps, name, modality), 2)
    return list({(x.key, y.key): (x, y) for x, y in pairs}.values())


class Lookup:
    """Rows of a table of similarities by their two keys, in whichever order."""

    def __init__(self, table: pd.DataFrame) -> None:
        self.rows: dict[frozenset[str], list[Row]] = {}
        for row in table.to_dict("records"):
            self.rows.setdefault(frozenset((row["x"], row["y"])), []).append({str(k): v for k, v in row.items()})

    def __call__(self, x: Rep, y: Rep) -> list[Row]:
        """All measures of a pair, none where it was not compared."""
        return self.rows.get(frozenset((x.key, y.key)), [])


def when_rows(
    table: pd.DataFrame,
    reps: Sequence[Rep],
    layered: Sequence[str],
    scales: Mapping[str, tuple[Mapping[str, float], Sequence[str]]],
) -> pd.DataFrame:
    """When are models alike? Rows of the table, x and y still keys, each under the question that it answers.

    Conditions: ``depth``, layers of two models at the same depth; ``training``, two models after the same part of it,
    and a model with its own end, ``label`` whether one architecture sees the images of both; the name of a scale,
    models of it with those that it is held against, ``level`` its number.
    """
    found, look = [], Lookup(table)
    for modality in MODALITIES:
        here = [rep for rep in reps if rep.modality == modality]
        for x, y in combinations(layered, 2):
            found += [{**row, "condition": "depth"} for pair in matched_layers(here, x, y, modality)
                      for row in look(*pair)]  # fmt: skip
        ends = {rep.model: rep for rep in finals(here, modality)}
        stages = [rep for rep in here if rep.checkpoint < TRAINED]
        trained = [ends[name] for name in dict.fromkeys(rep.model for rep in stages) if name in ends]
        pairs = [pair for pair in combinations([*stages, *trained], 2) if pair[0].checkpoint == pair[1].checkpoint]
        pairs += [(rep, ends[rep.model]) for rep in stages if rep.model in ends]
        found += [{**row, "condition": "training", "label": _together(*pair)} for pair in pairs for row in look(*pair)]
        for name, (levels, against) in scales.items():
            for model, level in levels.items():
                others = [other for other in against if other != model and {model, other} <= set(ends)]
                found += [
                    {**row, "condition": name, "level": level}
                    for other in others
                    for row in look(ends[model], ends[other])
                ]
    return pd.DataFrame(found)


def _together(x: Rep, y: Rep) -> str:
    """Whether the images' sides of two models are built alike: of texts those of their partners."""
    built = [rep.factors["architecture" if rep.modality == "image" else "partner"] for rep in (x, y)]
    return ONE if built[0] == built[1] else TWO


def trajectory_rows(table: pd.DataFrame, reps: Sequence[Rep]) -> Iterator[Row]:
    """How do models get there? Those with checkpoints, and all ends, as points of a plane: PCA of their kernels."""
    for modality in MODALITIES:
        points = [rep for rep in reps if rep.modality == modality and rep.final]
        if len(points) < 3:
            continue
        plane = classical_mds(distances(similarity_matrix(table, [rep.key for rep in points], CKA)))
        for rep, place in zip(points, plane.points, strict=True):
            for dimension, value in enumerate(place):
                yield {
                    "subject": rep.model, "modality": modality, "checkpoint": rep.checkpoint, "metric": CKA,
                    "condition": "trajectory", "dimension": dimension, "value": float(value), "n": len(points),
                    "explained": float(plane.explained[dimension]), "negative": plane.negative,
                }  # fmt: skip


def factor_rows(table: pd.DataFrame, reps: Sequence[Rep], orders: int, seed: int) -> Iterator[Row]:
    """Why are they alike? What having a factor in common adds, factors that tell nothing of these models left out.

    A regression adds factors up. Where they do not add up (nets of one architecture and quite different objectives) it
    is another one over other models: hence `casts`, ``label`` names which.
    """
    for modality, (cast, models) in ((m, one) for m in MODALITIES for one in casts(reps, m).items()):
        shared = {name: same([rep.factors[name] for rep in models]) for name in FACTORS}
        shared = dict(_telling(shared))
        for metric in MEASURES if shared else ():
            similarity = similarity_matrix(table, [rep.key for rep in models], metric)
            for one in mrqap(similarity, shared, orders, seed):
                ends = [end if np.isfinite(end) else None for end in (one.low, one.high)]
                yield {
                    "modality": modality, "metric": metric, "condition": "factors", "label": cast, "factor": one.name,
                    "value": one.value, "low": ends[0], "high": ends[1],
                    "interval": "MRQAP inverted, over models", "standardised": one.standardised, "p": one.p,
                    "smallest_p": one.smallest_p, "null": one.null, "explained": one.explained, "models": one.n,
                    "n": one.n * (one.n - 1) // 2,
                }  # fmt: skip


def _telling(factors: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Of factors those that vary, and that those before them do not tell in full."""
    kept: list[Any] = []
    for name, matrix in factors.items():
        above = matrix[np.triu_indices(len(matrix), 1)]
        columns = np.column_stack([np.ones(len(above)), *kept, above])
        if np.linalg.matrix_rank(columns) == columns.shape[1]:
            kept.append(above)
            yield name, matrix


def measure_rows(
    table: pd.DataFrame,
    reps: Sequence[Rep],
    layered: Sequence[str],
    scales: Mapping[str, Mapping[str, float]],
    orders: int,
    seed: int,
) -> Iterator[Row]:
    """Are measures right where the answer is known? Seeds of one recipe, layers of one network, levels of a scale."""
    for modality, metric in product(MODALITIES, MEASURES):
        models = casts(reps, modality).get("all", [])
        recipes, told = [rep.recipe for rep in models], {"modality": modality, "metric": metric}
        if 1 < len(set(recipes)) < len(recipes):
            matrix = similarity_matrix(table, [rep.key for rep in models], metric)
            yield from _grounded(separation(matrix, recipes, orders, seed), {**told, "condition": "seeds"})
        for name in layered:
            layers = layers_of(reps, name, modality)
            if len(layers) > 2:
                matrix = similarity_matrix(table, [rep.key for rep in layers], metric)
                where = {**told, "condition": "layers", "subject": name}
                yield from _grounded(layer_order(matrix, orders, seed), where)
        for name, levels in scales.items():
            some = [rep for rep in models if rep.model in levels]
            places = [levels[rep.model] for rep in some]
            if len(some) > 2 and len({abs(a - b) for a, b in combinations(places, 2)}) > 1:
                matrix = similarity_matrix(table, [rep.key for rep in some], metric)
                yield from _grounded(graded(matrix, places, orders, seed), {**told, "condition": name})


def noise_rows(
    table: pd.DataFrame, reps: Sequence[Rep], wrong: Mapping[str, float], orders: int, seed: int
) -> Iterator[Row]:
    """Are models that were told as many wrong captions more alike than others, and the less the further apart?

    Args:
        table: similarities of these models.
        reps: the same recipe but for seed and the share of wrong captions, of each share several.
        wrong: model → the share.
        orders: of the models.
        seed: of these.
    """
    for modality, metric in product(MODALITIES, MEASURES):
        models = finals(reps, modality)
        levels = [wrong[rep.model] for rep in models]
        matrix = similarity_matrix(table, [rep.key for rep in models], metric)
        found = [*separation(matrix, levels, orders, seed), *graded(matrix, levels, orders, seed)]
        yield from _grounded(found, {"modality": modality, "metric": metric, "condition": NOISE})


def _grounded(some: Sequence[Grounded], told: Row) -> Iterator[Row]:
    for one in some:
        yield {
            **told, "label": one.name, "value": one.value, "null": one.null, "null_mean": one.null_mean, "p": one.p,
            "smallest_p": one.smallest_p, "n": one.n, "models": one.models,
        }  # fmt: skip


def claim_rows(
    table: pd.DataFrame,
    reps: Sequence[Rep],
    pairs: Mapping[Any, Sequence[tuple[str, str]]],
    lost: Mapping[str, Sequence[Measured]],
) -> Iterator[Row]:
    """Every stated number beside what was measured, by CKA and by the form of it that is printed with the numbers.

    Args:
        table: similarities.
        reps: of which.
        pairs: claim → pairs of models that it speaks of.
        lost: claim about stitching → shares of the own score that towers stitched have lost.

    Raises:
        InputError: pairs of a claim that nobody states.
    """
    look = Lookup(table)
    if odd := set(pairs) - set(CLAIMS):
        raise InputError(f"claims: got {sorted(odd)}, expected some of {list(CLAIMS)}")
    for name, claim in CLAIMS.items():
        bounds = [end if np.isfinite(end) else None for end in (claim.low, claim.high)]
        told = {"claim": name, "text": claim.text, "claimed_low": bounds[0], "claimed_high": bounds[1],
                "condition": claim.kind}  # fmt: skip
        rows: list[Row] = []
        if (one := pooled(lost.get(name, ()))) is not None:
            rows.append(_measured(claim, one, lost[name], {"metric": LOST, "interval": "bootstrap"}))
        for modality in claim.modalities if claim.kind in ("similarity", "depth") else ():
            for metric in (CKA, "printed_cka"):
                measured = [
                    Measured(*(row[end] for end in ("value", "low", "high", "n")))
                    for x, y in pairs.get(name, ())
                    for pair in _spoken_of(name, reps, x, y, modality)
                    for row in look(*pair)
                    if row["metric"] == metric
                ]
                if (one := pooled(measured)) is not None:
                    what = {"modality": modality, "metric": metric, "interval": INTERVAL}
                    rows.append(_measured(claim, one, measured, what))
        for row in rows or [{"outcome": judge(claim, None)}]:
            yield {**told, **row}


def _measured(claim: Claim, one: Measured, some: Sequence[Measured], told: Row) -> Row:
    """A row of what was measured of a claim, the mean of some measurements."""
    values = [each.value for each in some]
    ends = {"value": one.value, "low": one.low, "high": one.high, "n": one.n}
    holding = sum(judge(claim, each) == "holds" for each in some)
    found = {
        "pairs": len(some),
        "holding": holding,
        "outcome": judge(claim, one),
        "least": min(values),
        "most": max(values),
    }
    return {**told, **ends, **found}


def _spoken_of(claim: str, reps: Sequence[Rep], x: str, y: str, modality: str) -> list[tuple[Rep, Rep]]:
    """The layers of two models that a claim is on."""
    if claim in THIRDS:
        low, high = THIRDS[claim]
        pairs = matched_layers(reps, x, y, modality)
        return [(a, b) for a, b in pairs if low < (a.depth + b.depth) / 2 <= high]
    ends = {rep.model: rep for rep in finals(reps, modality)}
    return [(ends[x], ends[y])] if x in ends and y in ends else []
