"""Retrieval of images by captions and of captions by images, exact under ties and never with an n × m matrix."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from jam.errors import InputError
from jam.metrics._rows import (
    Array,
    as_index,
    as_rows,
    cosine_resolution,
    full_precision,
    pair_cosines,
    require_one_space,
    row_norms,
    unit_rows,
)
from jam.metrics.kernels.inputs import Groups, group_codes

Ranks = npt.NDArray[np.int64]

TEXT_TILE, IMAGE_TILE = 512, 5120  # tile of the product: 10 MB of scores; counts within it fit int16
_DENSE = 64  # a tile with more than one unsure score in so many is recomputed whole


def retrieval_ranks(images: Array, texts: Array, image_of_text: Array, groups: Groups = None) -> tuple[Ranks, Ranks]:
    """Rank of the right answer for every image and for every caption, by cosine; 1 is best.

    Image to text: 1 + number of other images' captions that score at least as high as the image's best own caption.
    Text to image: 1 + number of other images that score at least as high as the caption's own image. Ties rank
    pessimistically, so collapsed embeddings rank last and not first.

    The single-precision product decides every comparison that its error bound allows; the few that it leaves open are
    decided in double precision, where scores closer than rounding can tell apart are ties. The ranks are therefore
    those of a double-precision comparison, and do not depend on blocks, threads or device. One pass over the product
    serves both directions.

    Args:
        images, texts: (n, d) and (m, d) embeddings on one device; rows are L2-normalised here.
        image_of_text: (m,) row of ``images`` that each caption describes; any order, any count per image.
        groups: (n,) labels of images. To a caption of any image of a group all images of it are right answers, and to
            an image all of the group's captions: copies of one photo, or images of one class that share a sentence.
            Right answers do not compete with each other. None, NaN: an image is its own group.

    Returns:
        ``(i2t, t2i)``: int64 arrays of shapes (n,) and (m,).

    Raises:
        ValueError: shapes, devices or indices do not fit together.
        InputError: a row is zero or not finite, or an image has no caption.
    """
    x, y = as_rows(images, "images"), as_rows(texts, "texts")
    require_one_space(images=x, texts=y)
    n, m = len(x), len(y)
    owner = as_index(image_of_text, "image_of_text", m, n, x.device)
    captions = torch.bincount(owner, minlength=n)
    if (captions == 0).any():
        lonely = (captions == 0).nonzero().squeeze(1)
        raise InputError(
            f"image_of_text: image {int(lonely[0])} has no caption, expected at least one for every image "
            f"({len(lonely)} of {n} have none)"
        )
    x_norms, y_norms = row_norms(x, "images"), row_norms(y, "texts")

    group = group_codes(groups, n, x.device)
    if group is None:
        own = pair_cosines(y, y_norms, torch.arange(m, device=y.device), x, x_norms, owner)
        best = own.new_full((n,), -torch.inf).scatter_reduce_(0, owner, own, "amax")
    else:
        own, best = _best_of_groups(x, x_norms, group, y, y_norms, group[owner])
    i2t = torch.ones(n, dtype=torch.int64, device=x.device)
    t2i = torch.ones(m, dtype=torch.int64, device=x.device)
    with full_precision(x.device):
        for left in range(0, n, IMAGE_TILE):
            columns = slice(left, left + IMAGE_TILE)
            x_tile = x[columns], x_norms[columns]
            x_units = unit_rows(*x_tile, torch.float32)
            for top in range(0, m, TEXT_TILE):
                rows = slice(top, top + TEXT_TILE)
                y_tile = y[rows], y_norms[rows]
                scores = unit_rows(*y_tile, torch.float32) @ x_units.T
                # An image's own captions compete in neither direction, nor do those of its group.
                if group is None:
                    inside = ((owner[rows] >= left) & (owner[rows] < left + len(x_units))).nonzero().squeeze(1)
                    scores[inside, owner[rows][inside] - left] = -torch.inf
                else:
                    scores.masked_fill_(group[owner[rows], None] == group[columns], -torch.inf)
                over_own, over_best = _reached(scores, (own[rows, None], best[columns]), y_tile, x_tile)
                t2i[rows] += over_own.sum(dim=1, dtype=torch.int16)
                i2t[columns] += over_best.sum(dim=0, dtype=torch.int16)
    return i2t.cpu().numpy(), t2i.cpu().numpy()


def retrieval_metrics(
    images: Array, texts: Array, image_of_text: Array, ks: Sequence[int] = (1, 5, 10), groups: Groups = None
) -> dict[str, float]:
    """Recall at k, median rank and mean reciprocal rank in both directions, from :func:`retrieval_ranks`.

    Args:
        images, texts, image_of_text, groups: as in :func:`retrieval_ranks`.
        ks: cut-offs of the recalls.

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


def _best_of_groups(
    x: Tensor, x_norms: Tensor, x_group: Tensor, y: Tensor, y_norms: Tensor, y_group: Tensor
) -> tuple[Tensor, Tensor]:
    """The largest cosine with a row of its own group on the other side, for each row of y and of x, exactly."""
    own, best = torch.full_like(y_norms, -torch.inf), torch.full_like(x_norms, -torch.inf)
    x_order, y_order = x_group.argsort(stable=True), y_group.argsort(stable=True)
    groups = int(x_group.max()) + 1
    x_parts = x_order.split(torch.bincount(x_group, minlength=groups).tolist())
    y_parts = y_order.split(torch.bincount(y_group, minlength=groups).tolist())
    for images, texts in zip(x_parts, y_parts, strict=True):
        for columns in images.split(TEXT_TILE):
            units = unit_rows(x[columns], x_norms[columns])
            for rows in texts.split(TEXT_TILE):
                cosines = unit_rows(y[rows], y_norms[rows]) @ units.T
                own[rows] = torch.maximum(own[rows], cosines.amax(1))
                best[columns] = torch.maximum(best[columns], cosines.amax(0))
    return own, best


def _reached(
    scores: Tensor, thresholds: tuple[Tensor, Tensor], y_tile: tuple[Tensor, Tensor], x_tile: tuple[Tensor, Tensor]
) -> list[Tensor]:
    """Where the cosines of a tile reach each of two thresholds, ties included.

    Args:
        scores: (t, i) cosines in single precision, −inf where they must not count.
        thresholds: cosines in double precision, (t, 1) and (i,).
        y_tile: the t rows of the tile and their norms.
        x_tile: the i rows of the tile's columns and their norms.

    Returns:
        (t, i) booleans for each threshold.
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
