"""Training on two arrays, for those who bring features of their own."""

from collections.abc import Sequence
from numbers import Integral, Real

import numpy as np
import torch
from pydantic import ValidationError

from jam.config import Objective, Training, one_line
from jam.device import pick_device
from jam.errors import InputError
from jam.labels import Labels, equal_rows
from jam.metrics._rows import Array, Groups, as_rows, numbered
from jam.pairing import Pairs
from jam.training import Report, Trained, quiet, train


def train_adapters(
    images: Array,
    texts: Array,
    negatives: Array | None = None,
    *,
    groups: Groups = None,
    model: str = "autoencoder",
    latent: int = 256,
    hidden: tuple[int, ...] = (512,),
    learning_rate: float = 3e-3,
    epochs: int = 10,
    batch_size: int = 128,
    whitening: float | Sequence[float | None] | None = (None, 10.0, 1.0, 0.1),
    validation: float = 0.1,
    seed: int = 0,
    device: torch.device | str = "cpu",
    report: Report = quiet,
) -> Trained:
    """Align two arrays of frozen features, row for row; Con, or NegCon where hard negatives are given.

    Rows of one group are never split between training and validation. No text is a negative of an image that it is
    true of, and all such are right answers in validation: texts of the image's group, and texts equal to one of these.
    Texts are equal if their rows are, to within rounding.

    Args:
        images: (n, d_v) features of any kind that the metrics take: numpy (memory maps too), torch, a table, lists.
        texts: (n, d_t) features of the matching texts.
        negatives: (n, d_t) features of texts that are false of the images, one each.
        groups: (n,) labels; rows of one label are one thing, such as the five captions of a photo, its row repeated. A
            missing label (NaN, None) is its own. Without, rows of images that are equal to within rounding are a group.
        model: ``autoencoder``, ``linear`` or ``mlp``.
        latent: width of the shared space; of an autoencoder less than d_v and d_t.
        hidden: of the autoencoder.
        learning_rate: of Adam.
        epochs: at most; the best on the validation rows is kept.
        batch_size: pairs a step.
        whitening: how far the directions of the inputs are evened out: shrinkage in units of the mean variance, None
            for not at all. Of several the best on the validation rows is kept, one training each; a small one finds
            what is told in directions of little variance, but learns few rows by heart.
        validation: share of the groups kept out of training, two at least, by which epoch and whitening are chosen.
        seed: of the split, the weights, the batches and dropout.
        device: where to train.
        report: called with a line after each epoch.

    Returns:
        The adapters (`Trained.image`, `Trained.text`), the curve and what was chosen.

    Raises:
        ValueError: shapes that do not match; fewer than four groups (without ``groups``, different images), or a share
            of them that leaves fewer than two to train on; features that do not vary; a latent that is no bottleneck.
        InputError: a row that is not finite, named with its side; an option out of range; a device that is not there.
    """
    options = {"hidden": hidden, "dropout": 0.1, "reconstruction": (1.0, 0.1)} if model == "autoencoder" else {}
    try:
        objective = Objective.model_validate(
            {"model": model, "loss": "con" if negatives is None else "negcon", "latent": latent,
             "learning_rate": learning_rate, **options}
        )  # fmt: skip
        schedule = Training(
            batch_size=batch_size, epochs=epochs, patience=epochs, weight_decay=1e-4, clip_norm=1.0, temperature=0.07,
            learn_temperature=False, whitening=whitening, captions="sample",  # type: ignore[arg-type]
        )  # fmt: skip
    except ValidationError as error:
        raise InputError(one_line(error)) from None
    if not isinstance(validation, Real) or not 0 < validation < 1 or not isinstance(seed, Integral) or seed < 0:
        raise ValueError(
            f"validation, seed: got {validation!r}, {seed!r}, expected a share and an integer of at least 0"
        )
    device = pick_device(str(device))

    sides = {"images": _table(images, "images"), "texts": _table(texts, "texts")}
    if negatives is not None:
        sides["negatives"] = _table(negatives, "negatives")
    n, shapes = len(sides["images"]), [table.shape for table in sides.values()]
    if any(shape[0] != n for shape in shapes) or len({shape[1] for shape in shapes[1:]}) != 1:
        raise ValueError(f"arrays: got shapes {shapes}, expected (n, d_v), (n, d_t) and, of negatives, (n, d_t)")
    image_table = sides.pop("images")
    text_table = np.concatenate(list(sides.values())) if len(sides) > 1 else sides["texts"]

    things, wordings = equal_rows({"images": image_table}), equal_rows(sides)
    if groups is not None:
        things = numbered(groups, n)
    count = int(things.max()) + 1
    kept = max(2, round(validation * count))
    if count - kept < 2:
        raise ValueError(
            f"validation: got {kept} of {count} groups or different images, expected at least 2 and at least 2 left to "
            "train on"
        )
    held_out = np.isin(things, np.random.default_rng(seed).permutation(count)[:kept])
    repeated = count < n or wordings.max() + 1 < len(wordings)

    def pairs(rows: np.ndarray) -> Pairs:
        captions = rows[:, None]
        false = np.empty((len(rows), 0), np.int64) if negatives is None else n + captions
        labels = Labels.of(things[rows], wordings, captions) if repeated else None
        return Pairs(image_table, text_table, rows, captions, false, labels)

    rest = pairs(np.flatnonzero(~held_out))
    return train(rest, pairs(np.flatnonzero(held_out)), objective, schedule, seed=seed, device=device, report=report)


def _table(values: Array, name: str) -> np.ndarray:
    """Rows as the metrics take them, in numpy; a memory map stays one."""
    rows = as_rows(values, name)
    if isinstance(values, np.memmap) and values.dtype.kind == "f":
        return values
    table: np.ndarray = (rows.float() if rows.dtype == torch.bfloat16 else rows).cpu().numpy()
    return table
