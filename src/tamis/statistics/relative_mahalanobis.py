"""Mahalanobis distance to trusted classes, relative to the distance to a background."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch

from tamis.errors import InputError
from tamis.statistics.class_scatter import ClassScatter
from tamis.statistics.class_sums import as_codes
from tamis.statistics.probabilities import ArrayLike
from tamis.statistics.row_blocks import feature_block
from tamis.types import FloatArray

Rows = FloatArray | torch.Tensor

_SINGULAR = 1e-14
"""A feature of which no larger share, per feature, is left beside the others depends on them."""

_SMALLEST_REST = 1e-12
"""What is left of a scatter without a row that is nearly all of it: distances stay finite."""


@dataclass(frozen=True)
class Gaussians:
    """One covariance and several means; `gaussians` makes them.

    Attributes
    ----------
    count : int
        Rows that they were fitted to.
    counts : (K,) int64 tensor
        The same by class.
    centre : (d,) float64 tensor
        Subtracted before whitening.
    whitening : (d, d) float64 tensor
        W with ``W' W`` = inverse of (scatter + count * epsilon * I).
    white_means : (K, d) float64 tensor
    """

    count: int
    counts: torch.Tensor
    centre: torch.Tensor
    whitening: torch.Tensor
    white_means: torch.Tensor

    def whitened(self, rows: torch.Tensor) -> torch.Tensor:
        """Return (n, d) float64 rows in coordinates in which squared lengths are distances / count."""
        return (rows - self.centre) @ self.whitening.T


def gaussians(state: ClassScatter, epsilon: float, *, pooled: bool = False) -> Gaussians:
    """Return the Gaussians of a state: a mean for each class and the covariance within classes.

    Parameters
    ----------
    state : ClassScatter
        At least one row.
    epsilon : float
        Added to the diagonal of the covariance (divisor n), in the units of the squared features.
    pooled : bool
        One mean and the covariance of all rows instead, whatever their class.

    Raises
    ------
    InputError
        No rows, a negative or infinite ``epsilon``, or a covariance that is singular with it.
    """
    if not 0 <= epsilon < math.inf:
        raise InputError(f"epsilon is {epsilon}; expected a finite number of at least 0")
    if state.count == 0:
        raise InputError("there is no row to fit a Gaussian to; call partial_fit first")
    scatter = (state.total if pooled else state.within).clone()
    scatter.diagonal().add_(state.count * epsilon)
    # As a correlation matrix, so that the units of single features do not matter.
    spread = scatter.diagonal().sqrt()
    lower, failed = torch.linalg.cholesky_ex(scatter / torch.outer(spread, spread))
    # Rounding may let a singular matrix pass.
    if int(failed) or not bool(lower.diagonal().square().min() > _SINGULAR * len(lower)):
        raise InputError(
            f"the covariance is singular with epsilon {epsilon:g}: fewer rows than features, or features "
            "that depend on each other; raise epsilon"
        )
    identity = torch.eye(len(lower), dtype=torch.float64, device=state.device)
    whitening = torch.linalg.solve_triangular(lower, identity, upper=False) / spread
    means = state.mean[None] if pooled else state.means
    counts = state.counts.sum()[None] if pooled else state.counts
    return Gaussians(state.count, counts, state.mean, whitening, (means - state.mean) @ whitening.T)


def usual_epsilon(state: ClassScatter, share: float = 1e-3) -> float:
    """Return ``share`` of the mean variance of the features, or 1 where they are constant.

    Raises
    ------
    InputError
        ``share`` is negative or infinite.

    Examples
    --------
    >>> usual_epsilon(ClassScatter(1, 2).partial_fit([[0.0, 0.0], [2.0, 0.0]]))
    0.0005
    """
    if not 0 <= share < math.inf:
        raise InputError(f"shrinkage is {share}; expected a finite number of at least 0, such as 1e-3")
    variance = float(state.total.diagonal().mean()) / max(1, state.count)
    return share * variance if variance > 0 else 1.0


def relative_mahalanobis(
    features: Rows,
    trusted: ClassScatter,
    background: ClassScatter | None = None,
    *,
    epsilon: float | None = None,
) -> torch.Tensor:
    """Return how much farther each row is from the trusted data than from the background.

    ``min over classes k of (x - m_k)' S^-1 (x - m_k)  -  (x - m_bg)' S_bg^-1 (x - m_bg)``

    Parameters
    ----------
    features : (n, d) float
        Finite. Rows that ``trusted`` has not seen.
    trusted : ClassScatter
        One class, or several that share a covariance.
    background : ClassScatter, optional
        A broad set; its classes are ignored. By default all trusted rows regardless of their class.
    epsilon : float, optional
        Added to the diagonals of both covariances; by default a thousandth of the mean variance of the
        background. With 0 the scores do not change under any invertible linear map of the features.

    Returns
    -------
    (n,) float64 tensor
        Larger = farther from the trusted data. To drop rows, see `beyond_quantile`.

    Raises
    ------
    InputError
        Shapes do not fit, or a covariance is singular.

    References
    ----------
    .. [1] Ren et al. "A Simple Fix to Mahalanobis Distance for Improving Near-OOD Detection",
       arXiv 2106.09022, 2021.

    Examples
    --------
    >>> generator = torch.Generator().manual_seed(0)
    >>> near, wide = (torch.randn(500, 2, generator=generator) * spread for spread in (1, 5))
    >>> state, background = (ClassScatter(1, 2).partial_fit(rows) for rows in (near, wide))
    >>> scores = relative_mahalanobis(torch.tensor([[0.0, 0.5], [4.0, 4.0]]), state, background)
    >>> bool(scores[0] < 1), bool(scores[1] > 20)
    (True, True)
    """
    background = trusted if background is None else background
    epsilon = usual_epsilon(background) if epsilon is None else epsilon
    inside, around = gaussians(trusted, epsilon), gaussians(background, epsilon, pooled=True)
    rows = feature_block(features, len(inside.centre), trusted.device)
    is_present = (inside.counts > 0).nonzero()[:, 0]
    white = inside.whitened(rows)
    nearest = torch.cdist(white, inside.white_means[is_present]).square().amin(dim=1) * inside.count
    return nearest - around.whitened(rows).square().sum(dim=1) * around.count


def beyond_quantile(scores: torch.Tensor, clean_scores: torch.Tensor, rate: float) -> torch.Tensor:
    """Return which scores are larger than all but a share ``rate`` of the scores of clean rows.

    Parameters
    ----------
    scores : (n,) float tensor
    clean_scores : (m,) float tensor
        Of rows known to be right, not seen by the fit: ``rate`` of rows like them will be dropped.
    rate : float in [0, 1]

    Returns
    -------
    (n,) bool tensor

    Raises
    ------
    InputError
        ``rate`` is outside [0, 1], or there are no clean scores.

    Examples
    --------
    >>> beyond_quantile(torch.tensor([1.0, 9.5]), torch.arange(11.0), rate=0.1)
    tensor([False,  True])
    """
    if not 0 <= rate <= 1 or len(clean_scores) == 0:
        raise InputError(f"rate is {rate} of {len(clean_scores)} clean scores; expected 0 to 1 of at least 1")
    return scores > torch.quantile(clean_scores, 1 - rate)


class Distances(NamedTuple):
    """Squared distances of every row.

    Attributes
    ----------
    given : (n,) float64 tensor
        To the given class; infinite where it has no (other) member.
    rival, rival_class : (n,) float64 and int64 tensors
        To the nearest other class; infinite, and the given class, where there is none.
    background : (n,) float64 tensor
    """

    given: torch.Tensor
    rival: torch.Tensor
    rival_class: torch.Tensor
    background: torch.Tensor


def class_distances(
    features: Rows,
    labels: ArrayLike,
    inside: Gaussians,
    around: Gaussians,
    *,
    leave_one_out: bool = False,
    class_block: int = 4096,
) -> Distances:
    """Return the distances of labelled rows to their class, the nearest other class and the background.

    Parameters
    ----------
    features : (n, d) float
    labels : (n,) int codes 0..K-1
    inside, around : Gaussians
        Of the classes and, pooled, of the background.
    leave_one_out : bool
        The rows are among those that both were fitted to: each is taken out of means and covariances
        (``epsilon`` stays in sum what it was) before its distances are measured, in closed form.
    class_block : int
        Classes at a time; changes no result by more than rounding.
    """
    rows = feature_block(features, len(inside.centre), str(inside.centre.device))
    codes = as_codes(labels, len(rows), len(inside.counts), device=rows.device)
    white = inside.whitened(rows)
    away = white - inside.white_means[codes]  # (n, d)
    leverage = away.square().sum(dim=1)
    n = inside.counts[codes].double()
    # Without the row: its deviation from the mean grows, the scatter loses an outer product.
    growth = n / (n - 1) if leave_one_out else torch.ones_like(n)
    growth = torch.where(torch.isfinite(growth), growth, 1.0)
    is_out = leave_one_out & (n > 1)
    lost = torch.where(is_out, growth / (1 - growth * leverage).clamp(min=_SMALLEST_REST), 0.0)
    scale = inside.count - int(leave_one_out)
    given = scale * growth.square() * (leverage + lost * leverage.square())
    given = torch.where(n > int(leave_one_out), given, math.inf)

    rival, rival_class = torch.full_like(given, math.inf), codes.clone()
    for start in range(0, len(inside.counts), class_block):
        means = inside.white_means[start : start + class_block]
        distance = torch.cdist(white, means, compute_mode="use_mm_for_euclid_dist").square()
        if leave_one_out:
            along = (white * away).sum(dim=1, keepdim=True) - away @ means.T
            distance += lost[:, None] * along.square()
        distance[:, inside.counts[start : start + class_block] == 0] = math.inf
        own = ((codes >= start) & (codes < start + len(means))).nonzero()[:, 0]
        distance[own, codes[own] - start] = math.inf
        value, place = distance.min(dim=1)
        is_nearer = scale * value < rival
        rival = torch.where(is_nearer, scale * value, rival)
        rival_class = torch.where(is_nearer, place + start, rival_class)
    return Distances(given, rival, rival_class, _background(rows, around, leave_one_out))


def _background(rows: torch.Tensor, around: Gaussians, leave_one_out: bool) -> torch.Tensor:
    """Return the distances to the background, where asked for without the row itself."""
    leverage = around.whitened(rows).square().sum(dim=1)
    if not leave_one_out or around.count < 2:
        return around.count * leverage
    growth = around.count / (around.count - 1)
    rest = (1 - growth * leverage).clamp(min=_SMALLEST_REST)
    return (around.count - 1) * growth**2 * leverage / rest
