"""Hyperbolic distances: by hand, properties of a metric, finite gradients at the edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tamis.errors import InputError
from tamis.statistics.hyperbolic import (
    exp_map_origin,
    geodesic_distances,
    geodesic_row_distances,
    into_ball,
)


def points(seed=0, n=6, d=3, scale=1.0):
    return exp_map_origin(scale * torch.tensor(np.random.default_rng(seed).normal(size=(n, d))))


def test_by_hand():
    vectors = torch.tensor([[3.0, 4.0], [0.0, 0.0]], dtype=torch.float64) / 10
    mapped = exp_map_origin(vectors)
    torch.testing.assert_close(mapped[0], math.tanh(0.5) * torch.tensor([0.6, 0.8]).double())
    assert mapped[1].tolist() == [0, 0]
    # Through the origin distances add: 2 artanh of each length.
    line = torch.tensor([[0.0], [0.5], [-0.8]], dtype=torch.float64)
    far = geodesic_distances(line, line)
    assert far[0].tolist() == pytest.approx([0, 2 * math.atanh(0.5), 2 * math.atanh(0.8)])
    assert far[1, 2].item() == pytest.approx(2 * math.atanh(0.5) + 2 * math.atanh(0.8))


@given(st.integers(0, 1000), st.floats(0.01, 3.0), st.integers(1, 5))
def test_it_is_a_metric(seed, scale, d):
    ball = points(seed, d=d, scale=scale)
    far = geodesic_distances(ball, ball)
    torch.testing.assert_close(far, far.T)
    assert (far.diagonal() == 0).all()
    assert (far + torch.eye(6) > 0).all()
    assert (far[:, None, :] <= far[:, :, None] + far[None, :, :] + 1e-9).all()
    torch.testing.assert_close(geodesic_row_distances(ball, ball.flip(0)), far.flip(1).diagonal())


def test_from_the_origin_and_near_it():
    ball = points()
    lengths = ball.norm(dim=1)
    origin = torch.zeros(1, 3, dtype=torch.float64)
    torch.testing.assert_close(geodesic_distances(origin, ball)[0], 2 * lengths.atanh())
    small = points(scale=1e-4)
    torch.testing.assert_close(
        geodesic_distances(small, small), 2 * torch.cdist(small, small), rtol=1e-6, atol=1e-12
    )


def test_invariant_to_rotation_and_curvature_is_a_scale():
    vectors = torch.tensor(np.random.default_rng(0).normal(size=(6, 3)))
    ball = exp_map_origin(vectors)
    turn = torch.linalg.qr(vectors[:3])[0]
    far = geodesic_distances(ball, ball)
    torch.testing.assert_close(geodesic_distances(ball @ turn, ball @ turn), far)
    # A ball of radius 1 / sqrt(c) is a scaled copy: lengths divide by sqrt(c).
    for curvature in (0.25, 4.0):
        root = math.sqrt(curvature)
        scaled = exp_map_origin(vectors / root, curvature)
        torch.testing.assert_close(scaled, ball / root)
        torch.testing.assert_close(geodesic_distances(scaled, scaled, curvature), far / root)
        rows = geodesic_row_distances(scaled, scaled.flip(0), curvature)
        torch.testing.assert_close(rows, geodesic_row_distances(ball, ball.flip(0)) / root)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_edges_stay_finite(dtype):
    vectors = torch.tensor([[0.0, 0.0], [1e-30, 0.0], [0.5, 0.5], [0.5, 0.5], [9e3, 0.0], [0.0, -6e4]])
    vectors = vectors.to(dtype).requires_grad_()
    ball = exp_map_origin(vectors)
    far = geodesic_distances(ball, ball)
    assert far.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert far.isfinite().all()
    assert (ball.norm(dim=1) < 1).all()
    assert far[2, 3] == 0
    (far.sum() + (-far).exp().sum() + geodesic_row_distances(ball, ball.flip(0)).sum()).backward()
    assert vectors.grad.isfinite().all()
    outside = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.1, 0.0]], dtype=dtype).requires_grad_()
    found = geodesic_distances(outside, outside)
    assert found.isfinite().all()
    found.sum().backward()
    assert outside.grad.isfinite().all()
    assert torch.equal(into_ball(outside)[2], outside[2].to(found.dtype))


def test_gradients():
    ball = points(n=4).requires_grad_()
    other = points(1, n=3)
    assert torch.autograd.gradcheck(lambda each: geodesic_distances(each, other), ball)
    vectors = torch.tensor(np.random.default_rng(0).normal(size=(4, 3))).requires_grad_()
    assert torch.autograd.gradcheck(lambda each: exp_map_origin(each, 0.7), vectors)


def test_no_points():
    nothing = torch.zeros(0, 3)
    assert exp_map_origin(nothing).shape == (0, 3)
    assert geodesic_distances(nothing, torch.zeros(2, 3)).shape == (0, 2)


def test_curvature_is_checked():
    for curvature in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(InputError, match="curvature is"):
            exp_map_origin(torch.ones(1, 2), curvature)
        with pytest.raises(InputError, match="curvature is"):
            geodesic_distances(torch.zeros(1, 2), torch.zeros(1, 2), curvature)
