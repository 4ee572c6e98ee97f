"""Barlow Twins loss: by hand, against loops in numpy, properties, edges."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tamis.errors import InputError
from tamis.losses.barlow_twins import BarlowTwinsLoss, barlow_twins_loss, cross_correlation

VIEW = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)


def views(seed=0, b=12, d=5):
    rng = np.random.default_rng(seed)
    first = torch.tensor(rng.normal(size=(b, d)), requires_grad=True)
    return first, first.detach() + 0.5 * torch.tensor(rng.normal(size=(b, d)))


def slow(first, second, weight, scale, eps):
    first, second = first.detach().numpy(), second.detach().numpy()
    one, other = ((view - view.mean(0)) / np.sqrt(view.var(0) + eps) for view in (first, second))
    total = 0.0
    for i in range(first.shape[1]):
        for j in range(first.shape[1]):
            entry = (one[:, i] * other[:, j]).mean()
            total += (entry - 1.0) ** 2 if i == j else weight * entry**2
    return scale * total


def test_by_hand():
    v = 1.0 / (1.0 + 1e-5)
    loss = barlow_twins_loss(VIEW, VIEW)
    assert loss.item() == pytest.approx((2 / 32) * (v - 1.0) ** 2, rel=1e-9)
    # Two dimensions that say the same: both off-diagonal entries are 1.
    same = VIEW[:, [0, 0]]
    assert barlow_twins_loss(same, same, eps=1e-12).item() == pytest.approx(2 * 3.9e-3 / 32, rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_against_loops_and_correlation(seed):
    first, second = views(seed)
    expected = slow(first, second, 0.02, 0.5, 1e-3)
    found = barlow_twins_loss(first, second, off_diagonal_weight=0.02, scale=0.5, eps=1e-3)
    assert found.item() == pytest.approx(expected, rel=1e-12)
    module = BarlowTwinsLoss(off_diagonal_weight=0.02, scale=0.5, eps=1e-3)
    assert module(first, second).item() == found.item()
    both = np.corrcoef(first.detach().numpy().T, second.numpy().T)[:5, 5:]
    np.testing.assert_allclose(cross_correlation(first, second, eps=1e-14).detach(), both, atol=1e-12)


def test_gradient():
    first, second = views(b=6, d=3)
    assert torch.autograd.gradcheck(lambda view: barlow_twins_loss(view, second), (first,))


def test_properties():
    first, second = views()
    loss = barlow_twins_loss(first, second, eps=1e-12).item()
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    assert barlow_twins_loss(first[order], second[order], eps=1e-12).item() == pytest.approx(loss, rel=1e-10)
    assert barlow_twins_loss(second, first, eps=1e-12).item() == pytest.approx(loss, rel=1e-10)
    scales, shifts = torch.rand(2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) + 0.1
    moved = barlow_twins_loss(first * scales + shifts, second, eps=1e-12).item()
    assert moved == pytest.approx(loss, rel=1e-6)
    flips = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0], dtype=torch.float64)
    assert barlow_twins_loss(first * flips, second * flips, eps=1e-12).item() == pytest.approx(
        loss, rel=1e-10
    )


def test_a_constant_dimension_costs_one_and_has_a_finite_gradient():
    constant = torch.cat((VIEW[:, :1], torch.full((4, 1), 7.0, dtype=torch.float64)), 1).requires_grad_()
    loss = barlow_twins_loss(constant, constant, scale=1.0)
    assert loss.item() == pytest.approx(1.0, abs=1e-6)
    loss.backward()
    assert torch.isfinite(constant.grad).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_and_autocast_compute_in_float32(dtype):
    first, second = (view.detach().to(dtype) for view in views())
    full = barlow_twins_loss(first.float(), second.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = barlow_twins_loss(first, second)
    assert half.dtype == torch.float32
    assert half.item() == full.item()


@pytest.mark.parametrize(
    ("first", "second", "arguments", "message"),
    [
        (VIEW[:1], VIEW[:1], {}, "at least 2"),
        (VIEW, VIEW[:3], {}, "one shape"),
        (VIEW.long(), VIEW.long(), {}, "float tensors"),
        (VIEW, VIEW, {"scale": -1.0}, "scale -1"),
        (VIEW, VIEW, {"eps": 0.0}, "eps is 0"),
    ],
)
def test_refusals(first, second, arguments, message):
    with pytest.raises(InputError, match=message):
        barlow_twins_loss(first, second, **arguments)
