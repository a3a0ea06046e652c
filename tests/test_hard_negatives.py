"""Hard negatives: strict comparison, ties and collapse."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jam.errors import InputError
from jam.metrics import hard_negative_correct


def exact_cosine_order(x, y):
    """sign(cos)·cos²·|x|², exact for small integers: orders y by cosine with one x."""
    dot = sum(a * b for a, b in zip(x, y, strict=True))
    return dot * abs(dot) / sum(b * b for b in y)


@st.composite
def questions(draw):
    d = draw(st.integers(1, 3))
    vector = st.lists(st.integers(-2, 2), min_size=d, max_size=d).filter(any)
    images, positives, negatives = (draw(st.lists(vector, min_size=1, max_size=5)) for _ in range(3))
    q = len(negatives)
    image = draw(st.lists(st.integers(0, len(images) - 1), min_size=q, max_size=q))
    positive = draw(st.lists(st.integers(0, len(positives) - 1), min_size=q, max_size=q))
    return images, positives, negatives, image, positive


@settings(max_examples=150, deadline=None)
@given(questions(), st.sampled_from(["float32", "float64"]))
def test_correct_only_where_the_caption_strictly_wins(question, dtype):
    images, positives, negatives, image, positive = question
    got = hard_negative_correct(*(np.array(part, dtype) for part in question[:3]), image, positive)
    expected = [
        exact_cosine_order(images[i], positives[p]) - exact_cosine_order(images[i], negative) > 1e-9
        for negative, i, p in zip(negatives, image, positive, strict=True)
    ]
    assert got.tolist() == expected


def test_collapsed_embeddings_are_never_right():
    row = np.random.default_rng(0).standard_normal(300).astype(np.float32)
    same = np.tile(row, (50, 1))
    index = np.arange(50)
    assert not hard_negative_correct(same, same, same, index, index).any()
    assert not hard_negative_correct(same, 3 * same, same, index, index).any()


def test_many_negatives_of_one_caption_in_any_order():
    rng = np.random.default_rng(1)
    images, positives, negatives = (rng.standard_normal((n, 16)) for n in (20, 60, 3000))
    image, positive = rng.integers(20, size=3000), rng.integers(60, size=3000)
    got = hard_negative_correct(images, positives, negatives, image, positive)

    def cosine(x, y):
        return (x * y).sum(1) / np.sqrt((x * x).sum(1) * (y * y).sum(1))

    expected = cosine(images[image], positives[positive]) > cosine(images[image], negatives)
    np.testing.assert_array_equal(got, expected)
    assert 0.4 < got.mean() < 0.6


def test_bad_rows_shapes_and_indices_are_named():
    good = np.eye(2)
    with pytest.raises(InputError, match=r"^negatives: row 1 holds NaN"):
        hard_negative_correct(good, good, [[1.0, 0.0], [np.nan, 0.0]], [0, 1], [0, 1])
    with pytest.raises(InputError, match=r"^positives: row 0 is all zeros"):
        hard_negative_correct(good, np.zeros((2, 2)), good, [0, 1], [0, 1])
    with pytest.raises(ValueError, match="images, positives, negatives: got 2 dimensions on cpu, 3 "):
        hard_negative_correct(good, np.eye(3), good, [0, 1], [0, 1])
    with pytest.raises(ValueError, match="positive_of_negative: got indices 0 to 2, expected 0 to 1"):
        hard_negative_correct(good, good, good, [0, 1], [0, 2])
    with pytest.raises(ValueError, match=r"image_of_negative: got torch.int64 of shape \(1,\)"):
        hard_negative_correct(good, good, good, [0], [0, 1])
