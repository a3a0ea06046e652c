"""Retrieval of images by captions and of captions by images, exact under ties and never with an n × m matrix."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from jam.errors import InputError
from jam.metrics._rows import (
    Array,
    Groups,
    as_index,
    as_rows,
    cosine_resolution,
    full_precision,
    numbered,
    pair_cosines,
    require_one_space,
    row_norms,
    unit_rows,
)

Ranks = npt.NDArray[np.int64]

TEXT_TILE, IMAGE_TILE = 512, 5120  # tile of the product: 10 MB of scores; counts within it fit int16
_DENSE = 64  # a tile with more than one unsure score in so many is recomputed whole


def retrieval_ranks(images: Array, texts: Array, image_of_text: Array, groups: Groups = None) -> tuple[Ranks, Ranks]:
    """Rank of the right answer for every image and for every caption, by cosine; 1 is best.

    Image to text: 1 + number of other images' captions that score at least as high as the image's best own caption.
    Text to image: 1 + number of other images that score at least as high as the caption's own image. Ties rank
    pessimistically, so collapsed embeddings rank last and not first. Images of one group are one image in this: what
    is right for one of them is right for all, the best of it counts, and none of it competes.

    The single-precision product decides every comparison that its error bound allows; the few that it leaves open are
    decided in double precision, where scores closer than rounding can tell apart are ties. The ranks are therefore
    those of a double-precision comparison, and do not depend on blocks, threads or device. One pass over the product
    serves both directions.

    Args:
        images: (n, d) embeddings; rows are L2-normalised here.
        texts: (m, d) embeddings on the same device; rows are L2-normalised here.
        image_of_text: (m,) row of ``images`` that each caption describes; any order, any count per image.
        groups: (n,) labels of images that share their captions, as where captions name a class; each its own if None,
            and where a label is missing.

    Returns:
        ``(i2t, t2i)``: int64 arrays of shapes (n,) and (m,).

    Raises:
        ValueError: shapes, devices or indices do not fit together.
        InputError: a row is zero or not finite, or an image has no caption, nor has any other of its group.
    """
    x, y = as_rows(images, "images"), as_rows(texts, "texts")
    require_one_space(images=x, texts=y)
    n, m = len(x), len(y)
    owner = as_index(image_of_text, "image_of_text", m, n, x.device)
    x_group = torch.from_numpy(numbered(groups, n)).to(x.device)
    y_group = x_group[owner]
    lonely = (torch.bincount(y_group, minlength=n)[x_group] == 0).nonzero().squeeze(1)
    if len(lonely):
        raise InputError(
            f"image_of_text: image {int(lonely[0])} has no caption, expected at least one for every image "
            f"({len(lonely)} of {n} have none)"
        )
    x_norms, y_norms = row_norms(x, "images"), row_norms(y, "texts")
    # In the order of the groups, the right answers of a tile of captions lie side by side.
    x_order = x_group.argsort(stable=True)
    captions = y_group.argsort(stable=True).split(TEXT_TILE)
    ends = torch.stack([y_group[rows[[0, -1]]] for rows in captions])
    firsts = torch.searchsorted(x_group[x_order], ends[:, 0].contiguous()).tolist()
    lasts = torch.searchsorted(x_group[x_order], ends[:, 1].contiguous(), right=True).tolist()

    best_of_image, best_of_text = (torch.full_like(norms, -torch.inf) for norms in (x_norms, y_norms))
    for rows, first, last in zip(captions, firsts, lasts, strict=True):
        y_units = unit_rows(y[rows], y_norms[rows])
        for columns in x_order[first:last].split(TEXT_TILE):
            cosines = y_units @ unit_rows(x[columns], x_norms[columns]).T
            cosines.masked_fill_(y_group[rows, None] != x_group[columns], -torch.inf)
            best_of_text[rows] = best_of_text[rows].maximum(cosines.amax(dim=1))
            best_of_image[columns] = best_of_image[columns].maximum(cosines.amax(dim=0))

    i2t = torch.ones(n, dtype=torch.int64, device=x.device)
    t2i = torch.ones(m, dtype=torch.int64, device=x.device)
    with full_precision(x.device):
        for left in range(0, n, IMAGE_TILE):
            columns = x_order[left : left + IMAGE_TILE]
            x_tile = x[columns], x_norms[columns]
            x_units = unit_rows(*x_tile, torch.float32)
            for rows, first, last in zip(captions, firsts, lasts, strict=True):
                y_tile = y[rows], y_norms[rows]
                scores = unit_rows(*y_tile, torch.float32) @ x_units.T
                right = slice(max(0, first - left), max(0, last - left))  # of these, what is right does not compete
                scores[:, right].masked_fill_(y_group[rows, None] == x_group[columns[right]], -torch.inf)
                thresholds = best_of_text[rows, None], best_of_image[columns]
                over_text, over_image = _reached(scores, thresholds, y_tile, x_tile)
                t2i[rows] += over_text.sum(dim=1, dtype=torch.int16)
                i2t[columns] += over_image.sum(dim=0, dtype=torch.int16)
    return i2t.cpu().numpy(), t2i.cpu().numpy()


def retrieval_metrics(
    images: Array, texts: Array, image_of_text: Array, ks: Sequence[int] = (1, 5, 10), groups: Groups = None
) -> dict[str, float]:
    """Recall at k, median rank and mean reciprocal rank in both directions, from :func:`retrieval_ranks`.

    Args:
        images: (n, d) embeddings.
        texts: (m, d) embeddings.
        image_of_text: (m,) row of ``images`` that each caption describes.
        ks: cut-offs of the recalls.
        groups: (n,) labels of images that share their captions.

    Returns:
        ``i2t_r1``, ``i2t_r5``, ``i2t_r10`` (shares in [0, 1]), ``i2t_median_rank`` (≥ 1), ``i2t_mrr`` (in (0, 1]), and
        the same with ``t2i_``.

    Raises:
        ValueError: as :func:`retrieval_ranks`, or a cut-off below 1.
        InputError: as :func:`retrieval_ranks`.
    """
    if any(k < 1 for k in ks):
        raise ValueError(f"ks: got {tuple(ks)}, expected cut-offs of at least 1")
    metrics = {}
    for direction, ranks in zip(("i2t", "t2i"), retrieval_ranks(images, texts, image_of_text, groups), strict=True):
        for k in ks:
            metrics[f"{direction}_r{k}"] = float(np.mean(ranks <= k))
        metrics[f"{direction}_median_rank"] = float(np.median(ranks))
        metrics[f"{direction}_mrr"] = float(np.mean(1 / ranks))
    return metrics


def _reached(
    scores: Tensor, thresholds: tuple[Tensor, Tensor], y_tile: tuple[Tensor, Tensor], x_tile: tuple[Tensor, Tensor]
) -> list[Tensor]:
    """Where the cosines of a tile reach each of two thresholds, ties included: (t, i) booleans for each.

    ``scores`` (t, i) are in single precision, −inf where they must not count; ``thresholds`` (t, 1) and (i,) in double;
    ``y_tile`` are the t rows and their norms, ``x_tile`` the i rows of the columns and theirs.
    """
    error = cosine_resolution(x_tile[0].shape[1], torch.float32)
    tie = 2 * cosine_resolution(x_tile[0].shape[1], torch.float64)  # score and threshold are both rounded
    reached = [scores > (threshold + error).float() for threshold in thresholds]
    possible = [scores >= (threshold - error).float() for threshold in thresholds]
    unsure = (reached[0] ^ possible[0]) | (reached[1] ^ possible[1])
    if int(unsure.sum(dim=1, dtype=torch.int16).sum()) * _DENSE <= scores.numel():
        row, column = unsure.nonzero(as_tuple=True)
        exact = pair_cosines(*y_tile, row, *x_tile, column)
        for above, threshold in zip(reached, thresholds, strict=True):
            above[row, column] = exact >= threshold.expand_as(scores)[row, column] - tie
        return reached
    # Many near ties (embeddings close to collapse): a product in double precision costs less than the pairs.
    y_units = unit_rows(*y_tile)
    for left in range(0, scores.shape[1], TEXT_TILE):
        columns = slice(left, left + TEXT_TILE)
        exact = y_units @ unit_rows(x_tile[0][columns], x_tile[1][columns]).T
        for above, threshold in zip(reached, thresholds, strict=True):
            decided = exact >= threshold.expand_as(scores)[:, columns] - tie
            above[:, columns] = torch.where(unsure[:, columns], decided, above[:, columns])
    return reached
