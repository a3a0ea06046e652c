"""Training on two arrays, for those who bring features of their own."""

import numpy as np
import torch

from jam.config import Objective, Training
from jam.pairing import Pairs
from jam.training import Report, Trained, quiet, train


def train_adapters(
    images: np.ndarray,
    texts: np.ndarray,
    negatives: np.ndarray | None = None,
    *,
    model: str = "autoencoder",
    latent: int = 256,
    hidden: tuple[int, ...] = (512,),
    learning_rate: float = 3e-3,
    epochs: int = 10,
    batch_size: int = 128,
    validation: float = 0.1,
    seed: int = 0,
    device: torch.device | str = "cpu",
    report: Report = quiet,
) -> Trained:
    """Align two arrays of frozen features, row for row; Con, or NegCon where hard negatives are given.

    Args:
        images: (n, d_v) float features, memory maps too.
        texts: (n, d_t) features of the matching texts.
        negatives: (n, d_t) features of texts that are false of the images, one each.
        model: ``autoencoder``, ``linear`` or ``mlp``.
        latent: width of the shared space; of an autoencoder less than d_v and d_t.
        hidden: of the autoencoder.
        learning_rate: of Adam.
        epochs: at most; the best on the validation rows is kept.
        batch_size: pairs a step.
        validation: share of the rows kept out of training, by which the epoch is chosen.
        seed: of the split, the weights, the batches and dropout.
        device: where to train.
        report: called with a line after each epoch.

    Returns:
        The adapters (`Trained.image`, `Trained.text`), the curve and what was chosen.

    Raises:
        ValueError: shapes that do not match, fewer than four rows, features that are constant or not finite, a latent
            that is no bottleneck.
    """
    n = len(images)
    shapes = [tuple(array.shape) for array in (images, texts, negatives) if array is not None]
    if any(len(shape) != 2 or shape[0] != n for shape in shapes) or len({shape[1] for shape in shapes[1:]}) != 1:
        raise ValueError(f"arrays: got shapes {shapes}, expected (n, d_v), (n, d_t) and, of negatives, (n, d_t)")
    kept = round(validation * n)
    if not 2 <= kept <= n - 2:
        raise ValueError(f"validation: got {kept} of {n} rows, expected at least 2 and at least 2 left to train on")
    order = np.random.default_rng(seed).permutation(n)
    table = texts if negatives is None else np.concatenate([texts, negatives])

    def pairs(rows: np.ndarray) -> Pairs:
        false = np.empty((len(rows), 0), np.int64) if negatives is None else n + rows[:, None]
        return Pairs(images, table, rows, rows[:, None], false)

    options = {"hidden": hidden, "dropout": 0.1, "reconstruction": (1.0, 0.1)} if model == "autoencoder" else {}
    objective = Objective.model_validate(
        {"model": model, "loss": "con" if negatives is None else "negcon", "latent": latent,
         "learning_rate": learning_rate, **options}
    )  # fmt: skip
    schedule = Training(
        batch_size=batch_size, epochs=epochs, patience=epochs, weight_decay=1e-4, clip_norm=1.0, temperature=0.07,
        learn_temperature=False, whitening=0.1, captions="sample",
    )  # fmt: skip
    rest, held_out = pairs(np.sort(order[kept:])), pairs(np.sort(order[:kept]))
    return train(rest, held_out, objective, schedule, seed=seed, device=device, report=report)
