"""Contrastive pretraining of images: two renderings of one scene attract each other, all other scenes repel.

The loss is NT-Xent on a small projection head that is thrown away, as in SimCLR (Chen et al. 2020, arXiv 2002.05709).
SimCLR makes its two views by distorting one picture, and so never learns what survives no distortion: a crop of a
seven is no other seven. Here the second view is rendered anew from the same scene with other scans, so that what the
views share is the scene and nothing else.

No label enters the loss. Labels only choose which scenes meet in a batch: most meet others that differ from them in
one attribute alone. Among random scenes colours, sizes and heights tell nearly all apart, and digits are never needed.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

TEMPERATURE = 0.1  # so low that the nearest scenes, the neighbours, weigh most
PROJECTED = 128  # width of the projection in which views are compared


class ViewLoss(nn.Module):
    """Projection head and NT-Xent loss over the features of two views."""

    def __init__(self, width: int) -> None:
        super().__init__()
        # Features are positive and so nearly parallel; centred over the batch, they part from the first step.
        self.head = nn.Sequential(
            nn.Linear(width, width, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Linear(width, PROJECTED, bias=False),
            nn.BatchNorm1d(PROJECTED, affine=False),
        )

    def forward(self, features: Tensor, rows: Tensor) -> Tensor:
        """Mean loss of features (2b, d): the first views of b scenes, then their second ones. ``rows`` is not used."""
        first, second = self.head(features).chunk(2)
        return nt_xent(first, second, TEMPERATURE)


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Normalised, temperature-scaled cross-entropy (Chen et al. 2020, eq. 1), in nats.

    Each of the 2b views has to find the other view of its scene among the 2b − 1 that are not itself.

    Args:
        first: (b, d) one view of each scene; its length is of no account.
        second: (b, d) the other view, in the same order.
        temperature: divides the cosines.

    Returns:
        Mean over the 2b views.
    """
    views = F.normalize(torch.cat([first, second]), dim=1)
    cosines = views @ views.T / temperature
    cosines.fill_diagonal_(-torch.inf)
    partner = torch.arange(len(views), device=views.device).roll(len(first))
    return F.cross_entropy(cosines, partner)


def one_attribute_apart(targets: np.ndarray, attributes: Sequence[str]) -> list[np.ndarray]:
    """Groups of two or more rows that differ in one attribute and in nothing else.

    Args:
        targets: (n, labels) class numbers, no row twice.
        attributes: what each label tells; of a scene's two things, both digits are one attribute. So any two rows of a
            group of ``digit`` have other digits on one side or on both, and are alike in colours, sizes and heights.

    Returns:
        Row numbers of each group. A row is in one group an attribute at most.
    """
    groups = []
    for attribute in dict.fromkeys(attributes):
        others = targets[:, [name != attribute for name in attributes]]
        _, group, sizes = np.unique(others, axis=0, return_inverse=True, return_counts=True)
        members = np.split(np.argsort(group, kind="stable"), np.cumsum(sizes)[:-1])
        groups += [rows for rows in members if len(rows) > 1]
    return groups


def neighbour_batches(
    groups: Sequence[np.ndarray], n: int, epochs: int, batch_size: int, rng: np.random.Generator
) -> list[Tensor]:
    """Row numbers of every step, (batch_size,) each: no row comes twice in an epoch, and neighbours come together.

    Each epoch goes through the groups in a new order. A group's rows that no earlier group took come one after the
    other; the rows left over come alone. What so belongs together is shuffled as a whole, then cut into batches.

    Args:
        groups: row numbers of scenes that should meet, see `one_attribute_apart`.
        n: number of rows.
        epochs: passes over the rows; a rest smaller than a batch is left out of each.
        batch_size: rows a step.
        rng: decides who meets whom, and when.
    """
    batches: list[Tensor] = []
    for _ in range(epochs):
        free = np.ones(n, bool)
        together = []
        for i in rng.permutation(len(groups)):
            rows = groups[i][free[groups[i]]]
            if len(rows) > 1:
                free[rows] = False
                together.append(rows)
        together += list(np.flatnonzero(free)[:, None])
        order = np.concatenate([together[i] for i in rng.permutation(len(together))])
        batches += torch.from_numpy(order[: n // batch_size * batch_size]).split(batch_size)
    return batches
