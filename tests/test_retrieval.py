"""Retrieval against loops in exact integer arithmetic, tied scores, collapse, and bad input."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jam.errors import InputError
from jam.metrics import retrieval, retrieval_metrics, retrieval_ranks


def exact_order(x, y):
    """A number that orders the cosines of integer vectors exactly: sign(cos)·cos²."""
    dot = sum(a * b for a, b in zip(x, y, strict=True))
    squared = Fraction(dot * dot, sum(a * a for a in x) * sum(b * b for b in y))
    return squared if dot >= 0 else -squared


def loop_ranks(images, texts, image_of_text, groups=None):
    """The definition, by plain loops over integer vectors."""
    groups = range(len(images)) if groups is None else groups
    score = [[exact_order(image, text) for text in texts] for image in images]
    right = [[groups[i] == groups[image_of_text[t]] for t in range(len(texts))] for i in range(len(images))]

    def rank(cells):
        best = max(score[i][t] for i, t in cells if right[i][t])
        return 1 + sum(score[i][t] >= best for i, t in cells if not right[i][t])

    i2t = [rank([(i, t) for t in range(len(texts))]) for i in range(len(images))]
    t2i = [rank([(i, t) for i in range(len(images))]) for t in range(len(texts))]
    return i2t, t2i


@st.composite
def worlds(draw):
    """Small-integer embeddings (ties abound), captions in any order and in unequal numbers."""
    n, d = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    image_of_text = draw(st.permutations([*range(n), *draw(st.lists(st.integers(0, n - 1), max_size=8))]))
    vector = st.lists(st.integers(-2, 2), min_size=d, max_size=d).filter(any)
    images = draw(st.lists(vector, min_size=n, max_size=n))
    texts = draw(st.lists(vector, min_size=len(image_of_text), max_size=len(image_of_text)))
    return images, texts, image_of_text


@settings(max_examples=150, deadline=None)
@given(worlds(), st.sampled_from(["float16", "float32", "float64", "int64"]), st.booleans(), st.data())
def test_ranks_equal_the_definition_also_where_scores_tie(world, dtype, dense, data):
    images, texts, image_of_text = world
    labels = st.lists(st.integers(0, 2), min_size=len(images), max_size=len(images))
    groups = data.draw(st.none() | labels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retrieval, "TEXT_TILE", 2)  # several tiles, the last ones partial
        patch.setattr(retrieval, "IMAGE_TILE", 3)
        patch.setattr(retrieval, "_DENSE", 10**6 if dense else 0)
        i2t, t2i = retrieval_ranks(np.array(images, dtype), np.array(texts, dtype), image_of_text, groups)
    expected_i2t, expected_t2i = loop_ranks(images, texts, image_of_text, groups)
    assert i2t.tolist() == expected_i2t
    assert t2i.tolist() == expected_t2i


def correlated(n, per_image, d, seed, noise=2.0):
    rng = np.random.default_rng(seed)
    images = rng.standard_normal((n, d))
    image_of_text = rng.permutation(np.repeat(np.arange(n), per_image))
    texts = images[image_of_text] + noise * rng.standard_normal((n * per_image, d))
    return images.astype(np.float32), texts.astype(np.float32), image_of_text


@pytest.mark.parametrize("seed", range(3))
def test_single_precision_product_gives_the_ranks_of_double_precision(seed):
    images, texts, image_of_text = correlated(300, 3, 24, seed)
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (images.astype(float), texts.astype(float))]
    scores = unit[0] @ unit[1].T
    own = np.where(image_of_text == np.arange(300)[:, None], scores, -np.inf)
    other = np.where(image_of_text == np.arange(300)[:, None], -np.inf, scores)
    i2t, t2i = retrieval_ranks(images, texts, image_of_text)
    np.testing.assert_array_equal(i2t, 1 + (other >= own.max(axis=1, keepdims=True)).sum(axis=1))
    np.testing.assert_array_equal(t2i, 1 + (other >= own.max(axis=0)).sum(axis=0))


def test_scores_closer_than_single_precision_are_still_ordered():
    # The second image is the caption itself up to 1e-9 in angle, the first up to 2e-9: equal in float32.
    angles = np.array([2e-9, 1e-9, 0.5]) ** 0.5
    images = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    texts = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    _, t2i = retrieval_ranks(images, texts, [0, 1, 2])
    assert t2i.tolist() == [2, 1, 1]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_collapsed_embeddings_score_zero(seed, dtype):
    rng = np.random.default_rng(seed)
    n, per_image, d = 333, 5, int(rng.integers(2, 200))
    images = np.tile(rng.standard_normal(d).astype(dtype), (n, 1))
    texts = np.tile(rng.standard_normal(d).astype(dtype), (n * per_image, 1))
    metrics = retrieval_metrics(images, texts, np.arange(n * per_image) % n)
    for direction, last in (("i2t", (n - 1) * per_image + 1), ("t2i", n)):
        assert [metrics[f"{direction}_r{k}"] for k in (1, 5, 10)] == [0, 0, 0]
        assert metrics[f"{direction}_median_rank"] == last
        assert metrics[f"{direction}_mrr"] == pytest.approx(1 / last)


def test_recall_at_one_needs_a_strict_win():
    # The trap: counting only scores above the right one would call both of these rows rank 1.
    metrics = retrieval_metrics([[1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [1.0, 0.0]], [0, 1])
    assert metrics["i2t_r1"] == metrics["t2i_r1"] == 0


def test_own_captions_never_compete_with_each_other():
    # Image 0 has two perfect captions; its rank counts other images' captions only.
    images = np.eye(2)
    texts = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    i2t, t2i = retrieval_ranks(images, texts, [0, 1, 0])
    assert i2t.tolist() == [1, 1]
    assert t2i.tolist() == [1, 1, 1]


def test_captions_that_name_a_class_are_right_for_every_image_of_it():
    # Two captions, each repeated over 50 images of its class: paired alone, equal captions compete with each other.
    rng = np.random.default_rng(0)
    classes = np.repeat([0, 1], 50)
    images, texts = np.eye(4)[classes] + 0.1 * rng.standard_normal((100, 4)), np.eye(4)[classes]
    assert retrieval_metrics(images, texts, np.arange(100))["i2t_r1"] == 0
    found = retrieval_metrics(images, texts, np.arange(100), groups=[f"class {c}" for c in classes])
    assert found["i2t_r1"] == found["t2i_r1"] == 1


def test_images_without_a_label_are_groups_of_their_own():
    images, texts, image_of_text = correlated(30, 2, 4, 0)
    labels = [None] * 10 + [float("nan")] * 10 + ["a"] * 10
    expected = retrieval_ranks(images, texts, image_of_text, [*range(20), *[20] * 10])
    found = retrieval_ranks(images, texts, image_of_text, labels)
    assert [ranks.tolist() for ranks in found] == [ranks.tolist() for ranks in expected]
    assert retrieval_ranks(np.eye(3), np.eye(2, 3), [0, 1], [0, 1, 1])[0].tolist() == [1, 1, 2]  # the third: by group


def test_metrics_of_known_ranks():
    # Four images fan out from one direction, and all four captions lie in it: the captions see their images at ranks
    # 1, 2, 3, 4, and every image sees four equal captions.
    angles = np.radians([0, 10, 20, 40])
    images = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    metrics = retrieval_metrics(images, np.tile([[1.0, 0.0]], (4, 1)), [0, 1, 2, 3], ks=(1, 2))
    t2i = {"t2i_r1": 0.25, "t2i_r2": 0.5, "t2i_median_rank": 2.5, "t2i_mrr": (1 + 1 / 2 + 1 / 3 + 1 / 4) / 4}
    i2t = {"i2t_r1": 0.0, "i2t_r2": 0.0, "i2t_median_rank": 4.0, "i2t_mrr": 0.25}
    assert metrics == pytest.approx(i2t | t2i)


def test_one_image_is_always_first():
    metrics = retrieval_metrics(np.array([[3.0, 4.0]]), np.array([[-1.0, 0.0], [0.0, 2.0]]), np.array([0, 0]))
    assert all(value == 1.0 for value in metrics.values())


@settings(max_examples=50, deadline=None)
@given(worlds(), st.randoms(use_true_random=False))
def test_order_of_captions_and_scale_of_rows_do_not_matter(world, random):
    images, texts, image_of_text = (np.array(part) for part in world)
    order = np.array(random.sample(range(len(texts)), len(texts)))
    i2t, t2i = retrieval_ranks(images, texts, image_of_text)
    again_i2t, again_t2i = retrieval_ranks(images * 4.0, texts[order] * 0.25, image_of_text[order])
    np.testing.assert_array_equal(again_i2t, i2t)
    np.testing.assert_array_equal(again_t2i, t2i[order])


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_very_small_and_very_large_rows(scale):
    images, texts, image_of_text = correlated(50, 2, 8, 0)
    expected = retrieval_ranks(images, texts, image_of_text)
    got = retrieval_ranks(images * np.float32(scale), texts, image_of_text)
    # Scaling by a power of ten rounds the rows, so near ties may move by a place.
    assert np.abs(got[0] - expected[0]).max() <= 1
    assert np.abs(got[1] - expected[1]).max() <= 1


def test_numpy_torch_and_read_only_memory_map_agree(tmp_path, recwarn):
    images, texts, image_of_text = correlated(40, 2, 8, 1)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    expected = retrieval_metrics(images, texts, image_of_text)
    parameter = torch.nn.Parameter(torch.from_numpy(texts))
    assert retrieval_metrics(torch.from_numpy(images), parameter, torch.from_numpy(image_of_text)) == expected
    assert retrieval_metrics(mapped, texts.copy(order="F"), image_of_text.astype(np.int32)) == expected
    assert not recwarn.list


def test_caller_settings_for_reduced_precision_do_not_matter():
    images, texts, image_of_text = correlated(200, 1, 32, 2)
    expected = retrieval_ranks(images, texts, image_of_text)
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            got = retrieval_ranks(images, texts, image_of_text)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    np.testing.assert_array_equal(got, expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_gives_the_same_ranks():
    images, texts, image_of_text = correlated(700, 3, 64, 3)
    images[::7], texts[::5] = images[0], texts[0]
    expected = retrieval_ranks(images, texts, image_of_text)
    got = retrieval_ranks(torch.from_numpy(images).cuda(), torch.from_numpy(texts).cuda(), image_of_text)
    np.testing.assert_array_equal(got[0], expected[0])
    np.testing.assert_array_equal(got[1], expected[1])


def test_bad_rows_are_named():
    good = np.eye(3)
    for value in (0.0, np.nan, np.inf):
        bad = np.eye(3)
        bad[1] = value
        with pytest.raises(InputError, match=r"^images: row 1 (is all zeros|holds NaN)"):
            retrieval_ranks(bad, good, [0, 1, 2])
        with pytest.raises(InputError, match=r"^texts: row 1 (is all zeros|holds NaN)"):
            retrieval_ranks(good, bad, [0, 1, 2])


def test_image_without_caption_is_named():
    with pytest.raises(InputError, match="image 1 has no caption"):
        retrieval_ranks(np.eye(3), np.eye(3), [0, 2, 2])


@pytest.mark.parametrize(
    ("images", "texts", "image_of_text", "message"),
    [
        (np.ones(3), np.eye(3), [0, 1, 2], r"images: got shape \(3,\)"),
        (np.eye(3), np.ones((0, 3)), [], r"texts: got shape \(0, 3\)"),
        (np.eye(3), np.eye(4), [0, 1, 2, 2], "images, texts: got 3 dimensions on cpu, 4 dimensions on cpu"),
        (np.eye(3), np.eye(3), [0, 1], r"image_of_text: got torch.int64 of shape \(2,\)"),
        (np.eye(3), np.eye(3), [0.0, 1.0, 2.0], "image_of_text: got torch.float64"),
        (np.eye(3), np.eye(3), [0, 1, 3], "image_of_text: got indices 0 to 3, expected 0 to 2"),
        (np.eye(3), np.eye(3), [-1, 1, 2], "image_of_text: got indices -1 to 2"),
    ],
)
def test_wrong_shapes_and_indices_are_named(images, texts, image_of_text, message):
    with pytest.raises(ValueError, match=message):
        retrieval_ranks(images, texts, image_of_text)


def test_cut_off_below_one_is_an_error():
    with pytest.raises(ValueError, match="ks: got"):
        retrieval_metrics(np.eye(2), np.eye(2), [0, 1], ks=(0, 1))
