"""Retrieval where several answers are right, and it is known which: a caption is true of more than one image."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from jam.metrics._rows import Array, as_rows, cosine_resolution, require_one_space, row_norms, unit_rows

BLOCK = 2**23  # cosines at a time


def relevant_first(queries: Array, gallery: Array, relevant: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Whether the nearest of the gallery, by cosine, is a right answer to each query.

    The comparison is made in double precision; scores that rounding cannot tell apart are ties, and a tie with a wrong
    answer is wrong: collapsed embeddings score 0.

    Args:
        queries: (n, d) embeddings; rows are L2-normalised here, as are the others.
        gallery: (m, d) embeddings on the same device.
        relevant: (n, m) booleans, which of the gallery answer which query.

    Returns:
        (n,) booleans; false where nothing is relevant.

    Raises:
        ValueError: shapes or devices do not fit together.
        InputError: a row is zero or not finite.
    """
    found = [
        scores.masked_fill(~right, -torch.inf).amax(dim=1) > scores.masked_fill(right, -torch.inf).amax(dim=1) + tie
        for scores, right, tie in _blocks(queries, gallery, relevant)
    ]
    hits: npt.NDArray[np.bool_] = torch.cat(found).cpu().numpy()
    return hits


def average_precision(queries: Array, gallery: Array, relevant: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Average precision of each query: the mean, over its right answers, of the share of right ones down to there.

    Ties are broken against the right answers. Its mean is the mAP of information retrieval (Manning et al. 2008, §8.4).

    Args:
        queries, gallery, relevant: as of `relevant_first`.

    Returns:
        (n,) in [0, 1]; NaN where nothing is relevant.

    Raises:
        ValueError, InputError: as `relevant_first`.
    """
    found = []
    for scores, right, tie in _blocks(queries, gallery, relevant):
        own, mine = (scores - tie).cpu().numpy(), right.cpu().numpy()
        wrong = np.sort(scores.masked_fill(right, -torch.inf).cpu().numpy(), axis=1)
        found += [_precision(-np.sort(-of[here]), others) for of, here, others in zip(own, mine, wrong, strict=True)]
    return np.array(found)


def _precision(right: npt.NDArray[np.float64], wrong: npt.NDArray[np.float64]) -> float:
    """Of right answers in falling and of all wrong ones in rising order; the former are -inf where they are right."""
    hits = np.arange(1, len(right) + 1)
    ahead = len(wrong) - np.searchsorted(wrong, right, side="left")
    return float(np.mean(hits / (hits + ahead))) if len(right) else np.nan


def _blocks(queries: Array, gallery: Array, relevant: npt.ArrayLike) -> Iterator[tuple[Tensor, Tensor, float]]:
    """Cosines of some queries with all of the gallery, which of these are right, and how far apart ties may be."""
    x, y = as_rows(queries, "queries"), as_rows(gallery, "gallery")
    require_one_space(queries=x, gallery=y)
    right = torch.as_tensor(np.asarray(relevant), dtype=torch.bool, device=x.device)
    if right.shape != (len(x), len(y)):
        raise ValueError(f"relevant: got shape {tuple(right.shape)}, expected {(len(x), len(y))}")
    a, b = unit_rows(x, row_norms(x, "queries")), unit_rows(y, row_norms(y, "gallery"))
    tie = 2 * cosine_resolution(x.shape[1], torch.float64)
    rows = torch.arange(len(x), device=x.device).split(max(1, BLOCK // len(y)))
    return ((a[some] @ b.T, right[some], tie) for some in rows)
