"""Which rows belong together, with unequal numbers of captions."""

import numpy as np
import pandas as pd
import pytest
import torch

from jam.errors import InputError
from jam.pairing import Pairs, draw, pair_rows, pool_rows


def indices():
    images = pd.DataFrame({"id": ["b", "a", "z"], "split": ["train", "train", "test"], "role": "image", "tier": ""})
    texts = pd.DataFrame(
        [
            ("a", "train", "caption", ""),
            ("a", "train", "negative", "hard"),
            ("b", "train", "caption", ""),
            ("b", "train", "caption", ""),
            ("b", "train", "negative", "easy"),
            ("b", "train", "negative", "hard"),
            ("z", "test", "caption", ""),
        ],
        columns=["id", "split", "role", "tier"],
    )
    return images, texts


def test_rows_are_joined_on_the_id_in_the_order_of_the_images():
    image_index, text_index = indices()
    images, texts = np.arange(6.0).reshape(3, 2), np.arange(14.0).reshape(7, 2)
    pairs = pair_rows(images, image_index, texts, text_index, "train")
    assert pairs.image_rows.tolist() == [0, 1]
    assert pairs.caption_rows.tolist() == [[2, 3], [0, -1]]
    assert pairs.negative_rows.tolist() == [[5], [1]]  # hard ones only
    assert pairs.has_negatives
    rows, image_of_text = pairs.flat_captions()
    assert rows.tolist() == [2, 3, 0]
    assert image_of_text.tolist() == [0, 0, 1]
    np.testing.assert_allclose(pairs.mean_captions(), [texts[2:4].mean(axis=0), texts[0]])
    test = pair_rows(images, image_index, texts, text_index, "test")
    assert not test.has_negatives
    assert len(test) == 1


def test_features_of_different_tables_are_refused():
    image_index, text_index = indices()
    with pytest.raises(InputError, match=r"train: 1 ids have an image or captions but not both \(first: a\)"):
        pair_rows(
            np.ones((3, 2)), image_index, np.ones((7, 2)), text_index[text_index["id"] != "a"].reset_index(), "train"
        )


def test_an_image_without_a_caption_is_refused():
    with pytest.raises(ValueError, match="an image without a caption"):
        Pairs(np.ones((1, 2)), np.ones((1, 2)), np.array([0]), np.array([[-1]]), np.empty((1, 0), int))


def test_pooling_leaves_out_what_is_missing():
    table = torch.tensor([[1.0, -8.0], [3.0, -4.0], [100.0, 100.0]])
    rows = torch.tensor([[0, 1, -1], [1, -1, -1]])
    torch.testing.assert_close(pool_rows(table, rows, "mean"), torch.tensor([[2.0, -6.0], [3.0, -4.0]]))
    torch.testing.assert_close(pool_rows(table, rows, "max"), torch.tensor([[3.0, -4.0], [3.0, -4.0]]))


def test_drawing_is_uniform_over_the_members_that_exist():
    rows = np.tile([[7, 8, 9, -1], [5, -1, -1, -1]], (3000, 1))
    drawn = draw(rows, np.random.default_rng(0)).reshape(-1, 2)
    values, counts = np.unique(drawn[:, 0], return_counts=True)
    assert values.tolist() == [7, 8, 9]
    assert counts.min() > 900
    assert (drawn[:, 1] == 5).all()
