"""Adaptive retrieval: few dimensions make a shortlist of the gallery, all of them put it in order."""

from collections.abc import Iterator

import numpy as np

from jam.align.adapter import truncated
from jam.errors import InputError

BLOCK = 2**22  # numbers of shortlisted vectors at a time


def shortlisted(
    queries: np.ndarray, gallery: np.ndarray, dims: int, shortlist: int, small: np.ndarray | None = None
) -> np.ndarray:
    """The nearest of the gallery to each query, by cosine, among those that the first ``dims`` coordinates put first.

    Args:
        queries: (n, d) unit vectors of a space.
        gallery: (m, d) likewise.
        dims: by which all of the gallery is compared, 1 … d.
        shortlist: how many of the nearest by these are compared by all coordinates; all where there are no more.
        small: `truncated` of the gallery to ``dims``, where it is at hand, as it is where many queries come.

    Returns:
        (n,) rows of the gallery.

    Raises:
        InputError: there are not so many dimensions, or the shortlist has no place.
    """
    if shortlist < 1:
        raise InputError(f"shortlist: got {shortlist}, expected at least 1")
    few = truncated(gallery, dims) if small is None else small
    found = [
        _best(some, truncated(some, dims), gallery, few, shortlist) for some in _blocks(queries, gallery, shortlist)
    ]
    return np.concatenate(found) if found else np.empty(0, np.int64)


def _best(some: np.ndarray, cut: np.ndarray, gallery: np.ndarray, few: np.ndarray, shortlist: int) -> np.ndarray:
    """The nearest row of the gallery to each of some queries (b, d), whose first coordinates are ``cut``, (b,)."""
    if shortlist >= len(gallery):
        return (some @ gallery.T).argmax(axis=1)
    rows = np.argpartition(-(cut @ few.T), shortlist - 1, axis=1)[:, :shortlist]
    exact = (gallery[rows] @ some[:, :, None])[:, :, 0]
    return np.take_along_axis(rows, exact.argmax(axis=1)[:, None], axis=1)[:, 0]


def _blocks(queries: np.ndarray, gallery: np.ndarray, shortlist: int) -> Iterator[np.ndarray]:
    step = max(1, BLOCK // (min(shortlist, len(gallery)) * gallery.shape[1] + len(gallery)))
    return (queries[start : start + step] for start in range(0, len(queries), step))


def multiply_adds(m: int, d: int, dims: int, shortlist: int) -> int:
    """Products and sums that one query costs in a gallery of m vectors of d dimensions: m · dims + shortlist · d."""
    return m * dims + min(shortlist, m) * d
