"""Tables as the stage `compare` writes them, of models and numbers that are made up, for tests of the report."""

import numpy as np
import pandas as pd

MODELS = ("clip_a", "clip_b", "align_like", "blip_like", "flava_like", "con")
LAYERS = {"image": 5, "text": 4}
MEASURES = {"unbiased_cka": 0.0, "rsa": -0.05, "mutual_knn": -0.4, "procrustes_cosine": -0.1, "predictability": 0.05}


def table(rows):
    """Rows as they are read back."""
    return pd.DataFrame(rows).assign(experiment="compare").convert_dtypes()


def row(**told):
    """A row with an interval around its value."""
    value = told["value"]
    return {"low": value - 0.02, "high": value + 0.02, "null": 0.004, "ceiling": 0.95, "p": 0.01, "n": 1000, **told}


def similar():
    """Every two models' last layers, in each modality and across."""
    rng, rows = np.random.default_rng(0), []
    sides = [(modality, name) for modality in LAYERS for name in MODELS]
    for i, (modality, x) in enumerate(sides):
        for y_modality, y in sides[i + 1 :]:
            base = 0.75 if modality == y_modality else 0.35
            told = {"x": x, "y": y, "modality": modality, "y_modality": y_modality, "final": True, "depth": 1.0}
            told |= {"checkpoint": 100, "y_checkpoint": 100}
            for metric, shift in MEASURES.items():
                for direction in ("x_to_y", "y_to_x") if metric == "predictability" else (None,):
                    value = base + shift + rng.uniform(-0.15, 0.15)
                    rows.append(row(metric=metric, direction=direction, value=value, y_depth=1.0, **told))
    return table(rows)


def when():
    """Over depth, training, domains and one scale."""
    rng, rows = np.random.default_rng(1), []
    pairs = [(x, y) for i, x in enumerate(MODELS[:3]) for y in MODELS[i + 1 : 3]]
    for modality, layers in LAYERS.items():
        for x, y in pairs:
            told = {"x": x, "y": y, "modality": modality, "y_modality": modality, "metric": "unbiased_cka"}
            height = rng.uniform(-0.1, 0.1)
            for a in range(layers):
                for b in range(layers):
                    depth, y_depth = a / (layers - 1), b / (layers - 1)
                    value = 0.85 - 0.3 * depth - 0.5 * abs(depth - y_depth) + height
                    of = {"x_layer": a, "y_layer": b, "depth": depth, "y_depth": y_depth}
                    rows.append(row(condition="depth", value=value, **of, **told))
            for at in (0, 10, 30, 100):
                value = 0.3 + 0.4 * np.log1p(at) / np.log1p(100) + height
                of = {"checkpoint": at, "y_checkpoint": at, "label": "one architecture"}
                rows.append(row(condition="training", value=value, **of, **told))
            rows.append(row(condition="own domain", value=0.7 + height, **told))
            rows.append(row(condition="shifted", value=0.5 + height, **told))
        for level in (2000, 8000):
            told = {"x": "clip_few", "y": "clip_b", "modality": modality, "y_modality": modality}
            rows.append(row(condition="data", level=level, value=0.5 + level / 4e4, metric="unbiased_cka", **told))
    return table(rows)


def paths():
    """Two coordinates of every checkpoint."""
    rows = []
    for modality in LAYERS:
        for turn, name in enumerate(MODELS):
            for at in (0, 10, 30, 100) if name != "con" else (100,):
                angle, far = 2 * np.pi * turn / len(MODELS), 0.2 + 0.8 * at / 100
                for dimension, value in enumerate((far * np.cos(angle), far * np.sin(angle + at / 100))):
                    told = {"subject": name, "modality": modality, "checkpoint": at, "dimension": dimension}
                    rows.append({**told, "value": value, "explained": (0.5, 0.2)[dimension], "negative": 0.01})
    return table(rows)


def factors():
    """Slopes of four factors."""
    rng, rows = np.random.default_rng(2), []
    for modality in LAYERS:
        for metric in MEASURES:
            for factor in ("objective", "data", "architecture", "seed"):
                value = rng.uniform(-0.05, 0.3)
                told = {"modality": modality, "metric": metric, "factor": factor, "value": value}
                told |= {"low": value - 0.1, "high": value + 0.1 if factor != "seed" else np.inf}
                told |= {"standardised": 2 * value, "p": 0.01 if value > 0.15 else 0.4, "smallest_p": 0.002}
                rows.append({**told, "explained": 0.6, "models": 6, "n": 15, "null": 0.1})
    return table(rows)


def tests():
    """The measures themselves."""
    rows = []
    for modality in LAYERS:
        for metric in MEASURES:
            for condition, label in (("layers", "conformity"), ("seeds", "auprc"), ("width", "rank_correlation")):
                for subject in ("clip_a", "blip_like") if condition == "layers" else (None,):
                    told = {"modality": modality, "metric": metric, "condition": condition, "label": label}
                    told |= {"subject": subject, "value": 0.9, "null": 0.7, "null_mean": 0.5, "p": 0.004, "n": 20}
                    told["smallest_p"] = 0.067 if condition == "seeds" else 0.0005
                    rows.append(told)
    return table(rows)


def clusters():
    """Agreement of clusterings with each other and with what is known."""
    rng, rows = np.random.default_rng(3), []
    for k in (10, 20):
        for x, y in (("image", "image"), ("text", "text"), ("image", "text")):
            for _ in range(4):
                told = {"x": "clip_a", "y": "blip_like", "modality": x, "y_modality": y, "label": None}
                rows.append(row(**told, clusters=k, metric="ami", value=rng.uniform(0.2, 0.5)))
        for name in ("habitat", "count"):
            told = {"x": "clip_a", "y": None, "modality": "image", "y_modality": None, "label": name}
            rows.append(row(**told, clusters=k, metric="ami", value=rng.uniform(0.1, 0.3)))
    return table(rows)


def claims():
    """One of each outcome."""

    def of(claim, text, start, end, outcome, **told):
        return {"claim": claim, "text": text, "claimed_low": start, "claimed_high": end, "outcome": outcome, **told}

    measured = {"modality": "image", "metric": "unbiased_cka", "n": 1000}
    return table(
        [
            of("clip_align", "CLIP and ALIGN: CKA 0.87 (final layer)", 0.82, 0.92, "does not hold",
               **measured, value=0.55, low=0.52, high=0.58, pairs=1, holding=0, least=0.55, most=0.55),
            of("cnn_cnn", "within the CNN family: CKA > 0.90", 0.90, np.inf, "holds",
               **measured, value=0.95, low=0.93, high=0.97, pairs=3, holding=3, least=0.94, most=0.96),
            of("early_layers", "early layers: CKA 0.4 to 0.6", 0.4, 0.6, "undecided",
               **measured, value=0.61, low=0.58, high=0.64, pairs=10, holding=1, least=0.2, most=0.9),
            of("final_layers", "final layers: CKA > 0.85", 0.85, np.inf, "undecided",
               **measured, value=0.85, low=0.83, high=0.87, pairs=10, holding=4, least=0.7, most=0.95),
            of("stitching_less", "stitching loses < 5 %", -np.inf, 0.05, "not measured yet"),
            of("clip_align", "CLIP and ALIGN: CKA 0.87 (final layer)", 0.82, 0.92, "holds",
               **{**measured, "metric": "printed_cka"},
               value=0.87, low=0.86, high=0.88, pairs=1, holding=1, least=0.87, most=0.87),
            of("merging", "merging keeps 90 to 95 %", 0.90, 0.95, "not measured yet"),
        ]
    )  # fmt: skip
