"""Scoring adapters: outcomes against plain loops, intervals that hold what they should."""

import numpy as np
import pandas as pd
import pytest
import torch

from jam.evaluation import PerRow, evaluate, summarise
from jam.models import Adapter
from jam.models.towers import Linear
from jam.pairing import Pairs


def identity_adapter(dim):
    adapter = Adapter("linear", dim, dim)
    adapter.tower = Linear.from_matrix(torch.eye(dim))
    return adapter


@pytest.fixture
def case():
    """Three images on the axes; captions near their own image, and negatives at known places."""
    images = np.eye(3, dtype=np.float32)
    texts = np.array(
        [[1, 0.1, 0], [0.1, 1, 0], [0.2, 0, 1], [0, 1, 0.1], [1, 0, 0], [0, 0.1, 1], [0, 0, 1]], dtype=np.float32
    )
    captions = np.array([[0, -1], [1, 3], [2, -1]])
    pairs = Pairs(images, texts, np.arange(3), captions, np.empty((3, 0), dtype=np.int64))
    negatives = pd.DataFrame(
        [(0, 4, 0, "replace_object", "hard"), (1, 5, 1, "swap_attribute", "hard"), (2, 4, 2, "scene", "easy")],
        columns=["image", "row", "caption_row", "kind", "tier"],
    )
    return pairs, negatives


def test_outcomes_are_those_of_a_plain_reading(case):
    pairs, negatives = case
    outcomes = evaluate(identity_adapter(3), identity_adapter(3), pairs, negatives, k=1)
    assert outcomes["i2t_r1", ""].values.tolist() == [True, True, True]
    assert outcomes["t2i_r1", ""].values.tolist() == [True] * 4
    assert outcomes["t2i_r1", ""].image.tolist() == [0, 1, 1, 2]
    # image 0 prefers the false sentence (1, 0, 0) to its caption (1, .1, 0)
    assert outcomes["negatives_by_tier", "hard"].values.tolist() == [False, True]
    assert outcomes["negatives_by_kind", "replace_object"].values.tolist() == [False]
    assert outcomes["negatives_by_tier", "easy"].values.tolist() == [True]
    unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)  # noqa: E731
    first = unit(pairs.texts[[0, 1, 2]])
    assert outcomes["alignment", ""] == pytest.approx(np.mean(np.sum((np.eye(3) - first) ** 2, axis=1)))
    assert ("reconstruction_r2", "image") not in outcomes  # a linear adapter has no decoder
    # of three orthogonal images the two others tie for the one place: each counts half, before and after
    assert outcomes["preservation", "image"].values.tolist() == [0.5] * 3


def test_a_mean_weighs_observations_and_its_interval_resamples_images():
    outcome = PerRow(np.array([1.0, 0.0, 0.0, 0.0]), np.array([0, 1, 1, 1]))
    table = summarise({0: {("m", ""): outcome}}, n=2, resamples=4000)
    mean = table[table["seed"] == "mean"].iloc[0]
    assert mean["value"] == 0.25
    # Draws of two images: (0,0) → 1, (0,1) → 1/4, (1,1) → 0; quantiles at 2.5 and 97.5 % are the extremes.
    assert (mean["low"], mean["high"]) == (0.0, 1.0)
    assert mean["interval"] == "bootstrap over images"


def test_the_interval_covers_seeds_and_images_and_shrinks_with_their_number():
    rng = np.random.default_rng(0)

    def width(seeds, n):
        runs = {s: {("m", ""): PerRow(rng.random(n) < 0.5, np.arange(n))} for s in range(seeds)}
        mean = summarise(runs, n=n, resamples=500).query("seed == 'mean'").iloc[0]
        assert mean["low"] < mean["value"] < mean["high"]
        return mean["high"] - mean["low"]

    assert width(3, 4000) < 0.5 * width(3, 400)


def test_metrics_without_rows_have_a_t_interval_over_seeds():
    table = summarise({s: {("gap", ""): value} for s, value in enumerate([1.0, 2.0, 3.0])}, n=5, resamples=10)
    mean = table[table["seed"] == "mean"].iloc[0]
    assert mean["value"] == 2
    assert mean["high"] - 2 == pytest.approx(4.302653 / np.sqrt(3), rel=1e-5)  # t(.975, 2) · s / √n
    assert table[table["seed"] != "mean"]["value"].tolist() == [1, 2, 3]
