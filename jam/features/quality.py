"""How good a frozen encoder is on data that it never saw: what its features tell, and how well it predicts text."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from jam.data.schema import SPLITS, read_items
from jam.encoders.loading import load_pretrained
from jam.encoders.manifest import Manifest
from jam.encoders.token_loss import leave_one_out_loss, next_token_loss, padded
from jam.features.store import FeatureStore

PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0)


def layer_probes(store: FeatureStore, world: str | Path, layer: int = -1, train_rows: int = 4000) -> dict[str, float]:
    """What a linear probe reads from one layer of stored features about scenes that the encoder never saw.

    Item i gives its view number i modulo the number of its true views that are stored.

    Args:
        store: features of views of the items.
        world: folder of the items, of which ``train`` fits the probe, ``val`` chooses its penalty, ``test`` scores it.
        layer: which; the last by default.
        train_rows: the first rows of ``train``; the other splits are taken whole.

    Returns:
        Label → accuracy in [0, 1] on test rows; nothing where the items have no labels.
    """
    features: dict[str, np.ndarray] = {}
    labels: dict[str, list[dict[str, str]]] = {}
    for split in SPLITS:
        rows = read_items(world, split, ["labels"]).column("labels").to_pylist()
        limit = train_rows if split == "train" else len(rows)
        if not all(rows[:limit]):
            return {}
        labels[split] = [{label["name"]: label["value"] for label in row} for row in rows[:limit]]
        index = store.index[(store.index["split"] == split) & (store.index["role"] == "true")]
        groups = [group["row"].to_numpy() for _, group in index.groupby("id", sort=False)][:limit]
        features[split] = np.array(store.layer(layer)[[group[i % len(group)] for i, group in enumerate(groups)]])
    return ridge_probes(features, labels)


def ridge_probes(
    features: Mapping[str, np.ndarray], labels: Mapping[str, Sequence[Mapping[str, str]]]
) -> dict[str, float]:
    """Accuracy of linear classifiers fitted in closed form: one-against-rest ridge regression for each label.

    Far cheaper than `jam.metrics.probes.fit_probe`, and a little weaker: all labels and penalties share one
    eigendecomposition. Of each label, the penalty that does best on validation rows is the one scored on test rows.

    Args:
        features: ``train``, ``val`` and ``test`` → (n, d).
        labels: the same → for each row, label name → value.

    Returns:
        Label name → accuracy on test rows, in [0, 1].
    """
    train = torch.as_tensor(features["train"], dtype=torch.float64)
    mean, deviation = train.mean(dim=0), train.std(dim=0)
    deviation = torch.where(deviation > 0, deviation, 1.0)
    x = {split: (torch.as_tensor(features[split], dtype=torch.float64) - mean) / deviation for split in SPLITS}
    eigenvalues, vectors = torch.linalg.eigh(x["train"].T @ x["train"])
    accuracy = {}
    for name in sorted(labels["train"][0]):
        values = sorted({row[name] for split in SPLITS for row in labels[split]})
        y = {split: torch.tensor([values.index(row[name]) for row in labels[split]]) for split in SPLITS}
        targets = F.one_hot(y["train"], len(values)).double()
        offset = targets.mean(dim=0)
        projected = vectors.T @ (x["train"].T @ (targets - offset))
        scores: list[tuple[float, float]] = []
        for penalty in PENALTIES:
            weights = vectors @ (projected / (eigenvalues.clamp(min=0) + penalty)[:, None])
            right = {split: (x[split] @ weights + offset).argmax(dim=1) == y[split] for split in ("val", "test")}
            scores.append((right["val"].double().mean().item(), right["test"].double().mean().item()))
        accuracy[name] = max(scores, key=lambda score: score[0])[1]
    return accuracy


def perplexity(folder: str | Path, texts: Sequence[str], batch_size: int = 250) -> dict[str, float]:
    """How well a cave language model predicts texts that it never saw.

    A causal model predicts each token, end of text included, from those before it. A masked model has no such
    likelihood; its figure is the pseudo-perplexity of Salazar et al. 2020 (arXiv 1910.14659): each token, end of text
    not included, from all others. It is lower than the other kind for the same texts, so compare within an objective.

    Args:
        folder: of a text encoder pretrained here.
        texts: at least one.
        batch_size: texts a forward pass of a causal model; a masked one takes the copies of one text at a time.

    Returns:
        ``perplexity`` a token, of the kind that fits the model, and ``unknown``, the share of tokens that are unseen
        words.
    """
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

    masked = Manifest.read(Path(folder)).recipe["objective"] == "masked"
    auto_class = AutoModelForMaskedLM if masked else AutoModelForCausalLM
    model: Any
    model, tokenizer = load_pretrained(Path(folder), "text", auto_class)
    model.eval()
    tokens = sorted(tokenizer(list(texts), truncation=True)["input_ids"], key=len)
    loss, count = 0.0, 0
    with torch.inference_mode():
        for start in range(0, len(tokens), 1 if masked else batch_size):
            if masked:
                summed, predicted = leave_one_out_loss(model, tokens[start], tokenizer)
            else:
                batch = padded(tokens[start : start + batch_size], tokenizer.pad_token_id)
                summed, predicted = next_token_loss(model, batch, tokenizer.pad_token_id)
            loss, count = loss + summed.item(), count + predicted
    unknown = sum(ids.count(tokenizer.unk_token_id) for ids in tokens)
    return {"perplexity": float(np.exp(loss / count)), "unknown": unknown / count}
