"""Distances in hyperbolic space, in the Poincare ball, with finite gradients everywhere."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tamis.errors import InputError
from tamis.statistics.labelled_logits import at_least_float32

_SMALLEST = 1e-15
"""Below it a distance counts as 0: the gradient of the square root has no bound."""


def into_ball(points: Tensor, curvature: float = 1.0) -> Tensor:
    """Return points with those on or beyond the boundary of the ball pulled just inside it.

    Parameters
    ----------
    points : (..., d) float tensor
    curvature : float
        Above 0: the space curves by minus this; the ball has radius ``1 / sqrt(curvature)``.

    Returns
    -------
    (..., d) tensor
        In float32 or better; at most 1 - 1e-5 of the radius from the origin in float32, 1 - 1e-9 in float64.

    Raises
    ------
    InputError
        ``curvature`` is not above 0.

    Examples
    --------
    >>> into_ball(torch.tensor([[0.5, 0.0], [3.0, 4.0]]))
    tensor([[0.5000, 0.0000],
            [0.6000, 0.8000]])
    """
    points = at_least_float32(points)
    furthest = _furthest(points) / _root(curvature)
    lengths = torch.linalg.vector_norm(points, dim=-1, keepdim=True)
    is_outside = lengths > furthest
    return torch.where(is_outside, points * (furthest / lengths.masked_fill(~is_outside, 1.0)), points)


def exp_map_origin(vectors: Tensor, curvature: float = 1.0) -> Tensor:
    """Return the points of the ball that the geodesics from the origin with these velocities reach.

    ``tanh(sqrt(c) |x|) x / (sqrt(c) |x|)`` for curvature -c; the origin stays. Long vectors end just inside
    the boundary, where only their direction is left: lengths of about 1 use the ball best.

    Parameters
    ----------
    vectors : (..., d) float tensor
        Of any length.
    curvature : float
        Above 0.

    Returns
    -------
    (..., d) tensor
        See `into_ball`.

    Raises
    ------
    InputError
        ``curvature`` is not above 0.

    Examples
    --------
    >>> exp_map_origin(torch.tensor([[1.0, 0.0], [0.0, 0.0], [100.0, 0.0]]))
    tensor([[0.7616, 0.0000],
            [0.0000, 0.0000],
            [1.0000, 0.0000]])
    """
    vectors = at_least_float32(vectors)
    lengths = _root(curvature) * torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    # In the limit, a vector of zeros stays what it is.
    is_zero = lengths < _SMALLEST
    safe = lengths.masked_fill(is_zero, 1.0)
    scale = (safe.tanh().clamp_max(_furthest(vectors)) / safe).masked_fill(is_zero, 1.0)
    points: Tensor = vectors * scale
    return points


def geodesic_distances(left: Tensor, right: Tensor, curvature: float = 1.0) -> Tensor:
    """Return the distance of every point of one set from every point of another.

    Parameters
    ----------
    left, right : (A, d) and (B, d) float tensor
        In the ball, as `exp_map_origin` gives them; points on its boundary are pulled inside.
    curvature : float
        Above 0.

    Returns
    -------
    (A, B) tensor
        At least 0; exactly 0, without gradient, between coincident points.

    Raises
    ------
    InputError
        ``curvature`` is not above 0.

    Examples
    --------
    >>> points = torch.tensor([[0.0, 0.0], [0.5, 0.0]])
    >>> geodesic_distances(points, points)
    tensor([[0.0000, 1.0986],
            [1.0986, 0.0000]])
    """
    left, right = into_ball(left, curvature), into_ball(right, curvature)
    with torch.autocast(left.device.type, enabled=False):
        far = torch.cdist(left, right.to(left), compute_mode="donot_use_mm_for_euclid_dist")
    return _distance(far.square(), _room(left, curvature)[:, None] * _room(right, curvature), curvature)


def geodesic_row_distances(left: Tensor, right: Tensor, curvature: float = 1.0) -> Tensor:
    """Return the distance of each point of one set from the point in the same row of another.

    Parameters
    ----------
    left, right : (B, d) float tensor
    curvature : float

    Returns
    -------
    (B,) tensor
        The diagonal of `geodesic_distances`.

    Examples
    --------
    >>> geodesic_row_distances(torch.tensor([[0.0, 0.5]]), torch.tensor([[0.0, -0.5]]))
    tensor([2.1972])
    """
    left, right = into_ball(left, curvature), into_ball(right, curvature)
    squares = (left - right).square().sum(dim=1)
    return _distance(squares, _room(left, curvature) * _room(right, curvature), curvature)


def _distance(squares: Tensor, rooms: Tensor, curvature: float) -> Tensor:
    """Return ``arcosh(1 + 2 c |u - v|^2 / rooms) / sqrt(c)`` without the loss of digits near 1."""
    excess = 2.0 * curvature * squares / rooms
    is_zero = excess < _SMALLEST
    safe = excess.masked_fill(is_zero, 1.0)
    distances = (safe + (safe * (safe + 2.0)).sqrt()).log1p() / _root(curvature)
    return distances.masked_fill(is_zero, 0.0)


def _room(points: Tensor, curvature: float) -> Tensor:
    return 1.0 - curvature * points.square().sum(dim=-1)


def _furthest(points: Tensor) -> float:
    return 1.0 - (1e-9 if points.dtype == torch.float64 else 1e-5)


def _root(curvature: float) -> float:
    if not 0.0 < curvature < math.inf:
        raise InputError(f"curvature is {curvature!r}; expected a finite number above 0")
    return math.sqrt(curvature)
