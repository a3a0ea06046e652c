"""What a gain by alignment is held against: maps of the same features that no true pair has shaped.

Every control is an adapter, so that its rows are unit vectors as latents are.
"""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from jam.align.adapter import Adapter
from jam.align.blocks import Standardise
from jam.align.items import Items
from jam.align.tables import as_tensor
from jam.align.towers import Linear
from jam.fit import Parts, fit, seeded
from jam.params import Tower, Training

FROZEN, SHUFFLED = "frozen", "shuffled"
CONTROLS = (FROZEN, "whitened", "pca", "random", "autoencoder", SHUFFLED)


def shuffled(items: Items, side: str, seed: int) -> Items:
    """Training items of which one side's views, true and false, are another item's: pairs that mean nothing."""
    order = np.random.default_rng(seed).permutation(len(items))
    own = items.sides[side]
    origin = None if own.origin is None else own.origin[order]
    moved = replace(own, true=own.true[order], false=own.false[order], origin=origin)
    return replace(items, sides={**items.sides, side: moved})


def of_matrix(standardise: Standardise, weight: Tensor) -> Adapter:
    """A fixed linear map (d_in, d_latent) of standardised features."""
    adapter = Adapter("linear", *weight.shape)
    adapter.standardise = standardise
    adapter.tower = Linear.from_matrix(weight)
    return adapter.eval()


def whitened(trained: Adapter) -> Adapter:
    """What a trained adapter gives to its tower, and no more."""
    return of_matrix(trained.standardise, torch.eye(trained.config["d_in"]))


def random_map(trained: Adapter, seed: int) -> Adapter:
    """A Gaussian map of the shape of a trained adapter's, of the same inputs."""
    shape = trained.config["d_in"], trained.config["d_latent"]
    return of_matrix(trained.standardise, torch.randn(shape, generator=torch.Generator().manual_seed(seed)))


def principal(features: np.ndarray, width: int) -> Adapter:
    """The ``width`` principal directions of training features (n, d), as long as they are; all if there are fewer."""
    standardise = Standardise(features.shape[1])
    standardise.fit(features)
    rows = standardise(as_tensor(features)).double()
    _, directions = torch.linalg.eigh(rows.T @ rows)
    return of_matrix(standardise, directions.flip(1)[:, :width].float())


def autoencoder(
    features: np.ndarray, validation: np.ndarray, width: int, tower: Tower, training: Training, seed: int
) -> Adapter:
    """JAM's autoencoder trained to reconstruct one side alone, by the schedule of ``training``.

    Args:
        features: (n, d) training rows.
        validation: (v, d), whose reconstruction chooses the epoch.
        width: of the latent, less than d.
        tower: hidden widths, dropout and learning rate.
        training: batches, epochs, patience, weight decay and whitening, of which the first is taken.
        seed: of initial weights, dropout and batches.

    Raises:
        ValueError: the features do not vary, or the latent is no bottleneck.
    """
    generator = np.random.default_rng(seed)
    with seeded(seed, "cpu"):
        options = {"hidden": tower.hidden, "dropout": tower.dropout}
        adapter = Adapter("autoencoder", d_in=features.shape[1], d_latent=width, **options)
        adapter.standardise.fit(features, shrinkage=training.whitening[0])
        optimizer = torch.optim.Adam(
            adapter.tower.parameters(), lr=tower.learning_rate, weight_decay=training.weight_decay[0]
        )
        seen, checked = as_tensor(features), as_tensor(validation)
        steps = math.ceil(len(seen) / training.batch_size)

        def error(rows: Tensor) -> Tensor:
            return functional.mse_loss(adapter.tower.decode(adapter(rows)), adapter.standardise.scaled(rows))

        def batches(_: int) -> Iterator[Tensor]:
            yield from seen[torch.from_numpy(generator.permutation(len(seen)))].split(training.batch_size)

        def step(rows: Tensor, _: int) -> Parts:
            return {"loss": error(rows)}

        @torch.no_grad()
        def validate(_: int, __: list[Parts]) -> float:
            return -float(error(checked))

        fit(
            adapter,
            batches,
            step,
            epochs=training.epochs,
            optimizer=optimizer,
            schedule=torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps * training.epochs),
            clip=[(list(adapter.tower.parameters()), training.clip_norm)],
            validate=validate,
            patience=training.patience,
        )
    return adapter.eval()
