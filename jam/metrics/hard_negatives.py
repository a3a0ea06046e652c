"""Hard negatives: does an image prefer its caption to a sentence that is almost the same, and false?"""

import numpy as np
import numpy.typing as npt
import torch

from jam.metrics._rows import (
    Array,
    as_index,
    as_rows,
    cosine_resolution,
    pair_cosines,
    require_one_space,
    row_norms,
)


def hard_negative_correct(
    images: Array, positives: Array, negatives: Array, image_of_negative: Array, positive_of_negative: Array
) -> npt.NDArray[np.bool_]:
    """Whether cos(image, caption) > cos(image, negative), for every negative (Hsieh et al. 2023, SugarCrepe).

    The comparison is strict and made in double precision; scores that rounding cannot tell apart are ties, and a tie
    is wrong: collapsed embeddings score 0.

    Args:
        images: (n, d) embeddings; rows are L2-normalised here, as are the others.
        positives: (m, d) embeddings of true captions.
        negatives: (q, d) embeddings of false sentences.
        image_of_negative: (q,) row of ``images`` that each negative is false of.
        positive_of_negative: (q,) row of ``positives`` that it competes with.

    Returns:
        (q,) booleans.

    Raises:
        ValueError: shapes, devices or indices do not fit together.
        InputError: a row is zero or not finite.
    """
    a, p, q = as_rows(images, "images"), as_rows(positives, "positives"), as_rows(negatives, "negatives")
    require_one_space(images=a, positives=p, negatives=q)
    image = as_index(image_of_negative, "image_of_negative", len(q), len(a), a.device)
    positive = as_index(positive_of_negative, "positive_of_negative", len(q), len(p), a.device)
    a_norms, p_norms, q_norms = row_norms(a, "images"), row_norms(p, "positives"), row_norms(q, "negatives")
    every = torch.arange(len(q), device=q.device)
    right = pair_cosines(a, a_norms, image, p, p_norms, positive)
    wrong = pair_cosines(a, a_norms, image, q, q_norms, every)
    correct: npt.NDArray[np.bool_] = (right - wrong > 2 * cosine_resolution(a.shape[1], right.dtype)).cpu().numpy()
    return correct
