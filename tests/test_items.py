"""Which rows belong together, with unequal numbers of captions."""

import numpy as np
import pandas as pd
import pytest
import torch

from jam.align.items import Items, SideRows
from jam.align.rows import join_sides
from jam.align.tables import draw, pool_rows
from jam.errors import InputError


def indices():
    images = pd.DataFrame(
        {"id": ["b", "a", "z"], "split": ["train", "train", "test"], "role": "true", "k": 0, "tier": "", "of": -1}
    )
    texts = pd.DataFrame(
        [
            ("a", "train", "true", 0, "", -1),
            ("a", "train", "false", 0, "hard", 0),
            ("b", "train", "true", 0, "", -1),
            ("b", "train", "true", 1, "", -1),
            ("b", "train", "false", 0, "easy", 0),
            ("b", "train", "false", 1, "hard", 1),
            ("z", "test", "true", 0, "", -1),
        ],
        columns=["id", "split", "role", "k", "tier", "of"],
    )
    return images, texts


def test_rows_are_joined_on_the_id_in_the_order_of_the_images():
    image_index, text_index = indices()
    images, texts = np.arange(6.0).reshape(3, 2), np.arange(14.0).reshape(7, 2)
    tables = {"image": (images, image_index), "text": (texts, text_index)}
    items = join_sides(tables, "train")
    assert items.sides["image"].true.tolist() == [[0], [1]]
    told = items.sides["text"]
    assert told.true.tolist() == [[2, 3], [0, -1]]
    assert told.false.tolist() == [[5], [1]]  # hard ones only
    assert told.origin.tolist() == [[3], [0]]  # the captions that they were made from
    item, false, origin = told.negatives()
    assert (item.tolist(), false.tolist(), origin.tolist()) == ([0, 1], [5, 1], [3, 0])
    assert told.has_false
    assert not items.sides["image"].has_false
    rows, item = told.flat()
    assert rows.tolist() == [2, 3, 0]
    assert item.tolist() == [0, 0, 1]
    np.testing.assert_allclose(told.mean(), [texts[2:4].mean(axis=0), texts[0]])
    np.testing.assert_array_equal(items.sides["image"].mean(), images[:2])
    test = join_sides(tables, "test")
    assert not test.sides["text"].has_false
    assert len(test) == 1
    turned = join_sides(dict(reversed(tables.items())), "train")  # any side may give the order
    assert turned.sides["text"].true.tolist() == [[0, -1], [2, 3]]
    assert turned.sides["image"].true.tolist() == [[1], [0]]


def test_features_of_different_tables_are_refused():
    image_index, text_index = indices()
    less = text_index[text_index["id"] != "a"].reset_index()
    with pytest.raises(InputError, match=r"train: 1 ids have a row of image or of text but not both \(first: a\)"):
        join_sides({"image": (np.ones((3, 2)), image_index), "text": (np.ones((7, 2)), less)}, "train")


def test_an_item_without_a_view_and_sides_of_unequal_length_are_refused():
    one, none = np.array([[0]]), np.empty((1, 0), int)
    with pytest.raises(ValueError, match="text: got an item without a view"):
        Items({"image": SideRows(one, one, none), "text": SideRows(one, np.array([[-1]]), none)})
    with pytest.raises(ValueError, match="expected equal numbers"):
        Items({"image": SideRows(one, one, none), "text": SideRows(one, np.zeros((2, 1), int), none[[0, 0]])})


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
