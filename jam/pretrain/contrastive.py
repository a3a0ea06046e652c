"""Contrastive pretraining: two views of one thing attract each other, those of all other things in the batch repel.

The loss is NT-Xent on a small projection head that is thrown away, as in SimCLR (Chen et al. 2020, arXiv 2002.05709).
What the views are is each modality's own affair: two distortions of an image, two captions of a document.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TEMPERATURE = 0.1  # so low that the nearest of the others weigh most
PROJECTED = 128  # width of the projection in which views are compared


class ViewLoss(nn.Module):
    """Projection head and NT-Xent loss over the features of two views."""

    def __init__(self, width: int) -> None:
        super().__init__()
        # Features of a convnet are positive and so nearly parallel; centred over the batch, they part at once.
        self.head = nn.Sequential(
            nn.Linear(width, width, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Linear(width, PROJECTED, bias=False),
            nn.BatchNorm1d(PROJECTED, affine=False),
        )

    def forward(self, features: Tensor, rows: Tensor | None = None) -> Tensor:
        """Mean loss of features (2b, d): the first views of b things, then their second ones. ``rows`` is not used."""
        first, second = self.head(features).chunk(2)
        return nt_xent(first, second, TEMPERATURE)


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Normalised, temperature-scaled cross-entropy (Chen et al. 2020, eq. 1), in nats.

    Each of the 2b views has to find the other view of its thing among the 2b − 1 that are not itself.

    Args:
        first: (b, d) one view of each thing; its length is of no account.
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
