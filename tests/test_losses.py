"""Every loss against a twin that writes out its explicit pairs, and the identities between them."""

import itertools
import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from jam.losses import contrastive_loss, negcon_loss, spread_loss, spread_terms

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def latents(n, d, seed, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(n, d, generator=generator, dtype=torch.float64).to(dtype) for _ in range(3)]


def unit(x):
    return (x.double() / x.double().norm(dim=1, keepdim=True)).tolist()


def dot(x, y):
    return sum(a * b for a, b in zip(x, y, strict=True))


def mean(values):
    return sum(values) / len(values)


def counted(i, same, m):
    """The candidates of row i, of m: its own, and those that are not true of it."""
    return [j for j in range(m) if j == i or not same[i][j]]


def choice(scores, i, same):
    """−log of the share of candidate i among those that are counted."""
    return math.log(sum(math.exp(scores[j]) for j in counted(i, same, len(scores)))) - scores[i]


def text_to_image(a, p, s, same):
    n = len(a)
    images = [[same[j][i] for j in range(n)] for i in range(n)]
    return mean([choice([s * dot(p[i], image) for image in a], i, images) for i in range(n)])


def con_twin(a, p, q, s, same):
    image_to_text = mean([choice([s * dot(a[i], text) for text in p], i, same) for i in range(len(a))])
    return (image_to_text + text_to_image(a, p, s, same)) / 2


def negcon_terms_twin(a, p, q, s, same):
    return [choice([s * dot(a[i], text) for text in p + q], i, same) for i in range(len(a))]


def negcon_twin(a, p, q, s, same):
    return (mean(negcon_terms_twin(a, p, q, s, same)) + text_to_image(a, p, s, same)) / 2


def spread_terms_twin(a, p, q, s, neighbours, same, context):
    n = len(a)
    coarse, fine = [], []
    for i in range(n):
        score = [math.exp(s * dot(a[i], c)) for c in p + q]
        everything = counted(i, same, 2 * n)
        inside = {i} | {n + i} & set(everything)
        inside |= set(sorted(set(everything) & set(range(n)) - {i}, key=lambda j: -dot(p[i], p[j]))[:neighbours])
        inside |= {j for j in range(n) if context[i][j]} & set(everything)
        in_context = sum(score[j] for j in inside)
        coarse.append(-math.log(in_context / sum(score[j] for j in everything)))
        fine.append(-math.log(score[i] / in_context))
    return coarse, fine


def spread_twin(a, p, q, s, same, alpha, neighbours, context):
    coarse, fine = spread_terms_twin(a, p, q, s, neighbours, same, context)
    image_to_text = mean([(1 - alpha) * c + alpha * f for c, f in zip(coarse, fine, strict=True)])
    return (image_to_text + text_to_image(a, p, s, same)) / 2


def true_of_others(n, seed, share=0.4):
    """Whether text j of [p; q] is true of image i too, at random; one's own text j = i may be said to be or not."""
    return torch.rand(n, 2 * n, generator=torch.Generator().manual_seed(seed)) < share


ALONE = [[False] * 12] * 6


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [1.0, 1 / 0.07])
@pytest.mark.parametrize("same", [None, true_of_others(6, 1), true_of_others(6, 3, 1.0)])
def test_losses_equal_their_explicit_pairs(dtype, scale, same):
    a, p, q = latents(6, 5, seed=1, dtype=dtype)  # of any length
    twins = (unit(a), unit(p), unit(q), scale, ALONE if same is None else same.tolist())
    tolerance = {"rel": 1e-12} if dtype == torch.float64 else {"rel": 1e-5}
    square = None if same is None else same[:, :6]
    assert contrastive_loss(a, p, scale, square).item() == pytest.approx(con_twin(*twins), **tolerance)
    assert negcon_loss(a, p, q, scale, same).item() == pytest.approx(negcon_twin(*twins), **tolerance)
    alike = torch.tensor([0, 1, 0, 0, 2, 1])
    alike = alike[:, None] == alike
    for alpha, neighbours in [(0.0, 0), (0.2, 0), (0.5, 1), (1.0, 0), (0.3, 2), (0.3, 5)]:
        for context in (None, alike):
            twin = spread_twin(*twins, alpha, neighbours, ALONE if context is None else context.tolist())
            found = spread_loss(a, p, q, scale, alpha, neighbours, same, context)
            assert found.item() == pytest.approx(twin, **tolerance)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(2, 9), d=st.integers(2, 6), seed=st.integers(0, 999), scale=st.floats(0.1, 100), data=st.data())
def test_coarse_plus_fine_is_negcon_whatever_the_context(n, d, seed, scale, data):
    a, p, q = latents(n, d, seed)
    same = data.draw(st.sampled_from([None, true_of_others(n, seed)]))
    coarse, fine = spread_terms(a, p, q, scale, data.draw(st.integers(0, n - 1)), same)
    told = torch.zeros(n, 2 * n, dtype=torch.bool) if same is None else same
    expected = negcon_terms_twin(unit(a), unit(p), unit(q), scale, told.tolist())
    torch.testing.assert_close(coarse + fine, torch.tensor(expected, dtype=torch.float64))
    assert (coarse >= -1e-12).all()
    assert (fine >= -1e-12).all()


def test_the_spread_numerator_is_the_samples_own_context_only():
    # Code in circulation averages the numerator over every row and column; moving another image's
    # caption must leave this image's in-context sum alone, so its fine term must not move.
    a, p, q = latents(5, 4, seed=3)
    _, before = spread_terms(a, p, q, 10.0)
    moved = p.clone()
    moved[4] = -p[4]
    _, after = spread_terms(a, moved, q, 10.0)
    torch.testing.assert_close(after[:4], before[:4], rtol=0, atol=0)
    assert not torch.allclose(after[4], before[4])


def test_uniform_candidates_cost_the_logarithm_of_their_number():
    same = torch.ones(8, 4)
    assert contrastive_loss(same, same, 14.0).item() == pytest.approx(math.log(8))
    assert negcon_loss(same, same, same, 14.0).item() == pytest.approx((math.log(16) + math.log(8)) / 2)
    coarse, fine = spread_terms(same, same, same, 14.0)
    torch.testing.assert_close(coarse, torch.full((8,), math.log(8)))
    torch.testing.assert_close(fine, torch.full((8,), math.log(2)))


def test_losses_are_finite_at_the_extremes_with_finite_gradients():
    a = torch.eye(4).requires_grad_()
    everything = torch.ones(4, 8, dtype=torch.bool)  # nothing left to tell apart
    for p, same in itertools.product((torch.eye(4), -torch.eye(4)), (None, everything)):
        for loss in (
            contrastive_loss(a, p, 100.0, same if same is None else same[:, :4]),
            negcon_loss(a, p, -p, 100.0, same),
            spread_loss(a, p, -p, 100.0, alpha=0.2, neighbours=1, same=same),
        ):
            (gradient,) = torch.autograd.grad(loss, a)
            assert torch.isfinite(loss)
            assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("loss", [contrastive_loss, negcon_loss, spread_loss])
def test_gradients_are_those_of_finite_differences_for_the_temperature_too(loss):
    inputs = [x.requires_grad_() for x in latents(4, 3, seed=9)]
    scale = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    needed = inputs[:2] if loss is contrastive_loss else inputs
    assert torch.autograd.gradcheck(loss, (*needed, scale))


@pytest.mark.parametrize("neighbours", [0, 2])
def test_texts_that_are_true_of_no_other_image_leave_the_losses_to_the_bit(neighbours):
    a, p, q = latents(6, 5, seed=4)
    own = torch.eye(6, 12, dtype=torch.bool)
    assert torch.equal(contrastive_loss(a, p, 9.0, own[:, :6]), contrastive_loss(a, p, 9.0))
    assert torch.equal(negcon_loss(a, p, q, 9.0, own), negcon_loss(a, p, q, 9.0))
    assert torch.equal(spread_loss(a, p, q, 9.0, 0.3, neighbours, own), spread_loss(a, p, q, 9.0, 0.3, neighbours))


A, P, Q = latents(4, 3, seed=0)
LOG_SCALE = math.log(0.07)
WRONG = [
    *((contrastive_loss, (A, P, s), "logit_scale: got -2.659") for s in (LOG_SCALE, torch.tensor(LOG_SCALE))),
    (contrastive_loss, (A, P, nn.Parameter(torch.tensor(LOG_SCALE))), "logit_scale: got -2.659"),
    *((negcon_loss, (A, P, Q, s), "expected s") for s in (0.0, math.nan, math.inf, torch.tensor(0.0))),
    (spread_loss, (A, P, Q, torch.ones(3)), "logit_scale: got shape (3,)"),  # which a product would broadcast
    (contrastive_loss, (A[:0], P[:0], 1.0), "shapes [(0, 3), (0, 3)]"),
    (contrastive_loss, (A, P[:3], 1.0), "shapes [(4, 3), (3, 3)]"),
    (negcon_loss, (A, P, Q[:, :2], 1.0), "shapes [(4, 3), (4, 3), (4, 2)]"),
    (contrastive_loss, (A, P, 1.0, torch.eye(4)), "same: got torch.float32 of shape (4, 4)"),
    (contrastive_loss, (A, P, 1.0, torch.ones(4, 8).bool()), "of shape (4, 8), expected booleans of shape (4, 4)"),
    (spread_loss, (A, P, Q, 1.0, 1.5), "alpha: got 1.5"),
    (spread_loss, (A, P, Q, 1.0, 0.5, 4), "neighbours: got 4"),
]


@pytest.mark.parametrize(("loss", "arguments", "message"), WRONG)
def test_wrong_arguments_are_named(loss, arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        loss(*arguments)
