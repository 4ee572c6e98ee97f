"""Estimates of what cannot be seen: joint, prior and noise rates, from the confident joint."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import numpy as np

from tamis.errors import InputError
from tamis.statistics.rounding import whole_rows
from tamis.types import FloatArray, IntArray

if TYPE_CHECKING:
    import torch

PriorMethod: TypeAlias = Literal["cnt", "eqn", "marginal", "marginal_ps"]

_SMALLEST_PRIOR = 1e-6
_SMALLEST_AGREEING_PRIOR = 1e-5
_LARGEST_RATE = 0.9999
_TINY = 1e-100


class LatentEstimates(NamedTuple):
    """What the counts say about the true labels.

    Attributes
    ----------
    prior : (K,) float64 tensor
        P(true class), sums to 1.
    noise_matrix : (K, K) float64 tensor
        P(given = row | true = column), columns sum to 1 (zero where a class never occurs).
    inverse_noise_matrix : (K, K) float64 tensor
        P(true = row | given = column), columns sum to 1 (zero for a class that is never given).
    """

    prior: torch.Tensor
    noise_matrix: torch.Tensor
    inverse_noise_matrix: torch.Tensor


def scaled_counts(joint: FloatArray | IntArray, label_counts: IntArray) -> FloatArray:
    """Return counts scaled so that each row sums to its label's count, not yet rounded.

    Parameters
    ----------
    joint : (K, K) array, rows given
    label_counts : (K,) int array

    Returns
    -------
    (K, K) float64 array
        In the memory order of ``joint``; the row of an absent class is zero.

    Examples
    --------
    >>> scaled_counts(np.array([[3, 1], [0, 2]]), np.array([8, 4]))
    array([[6., 2.],
           [0., 4.]])
    """
    scaled: FloatArray = joint.T / np.clip(joint.sum(axis=1), _TINY, None)
    scaled *= label_counts
    scaled /= np.clip(scaled.T.sum(), _TINY, None)
    scaled *= label_counts.sum()
    return scaled.T


def calibrate_joint(
    counts: torch.Tensor, label_counts: torch.Tensor, *, rounded: bool = True, compat: bool = False
) -> torch.Tensor:
    """Scale the confident joint so that it covers every sample and each row sums to its label's count.

    Parameters
    ----------
    counts : (K, K) int tensor
        From `tamis.statistics.confident_joint.confident_joint`, rows given.
    label_counts : (K,) int tensor
        How often each label is given.
    rounded : bool, default=True
        Whole numbers (int64), as the pruning rules need them; False keeps the float64 shares, better for
        estimates.
    compat : bool, default=False
        Break ties in rounding as the reference implementation does; see
        `tamis.statistics.rounding.round_rows`.

    Returns
    -------
    (K, K) int64 or float64 tensor
        Row a sums to ``label_counts[a]``; the row of an absent class is zero.

    Raises
    ------
    InputError
        Shapes do not match, or there are no labels.

    Examples
    --------
    >>> import torch
    >>> calibrate_joint(torch.tensor([[3, 1], [0, 2]]), torch.tensor([8, 4]))
    tensor([[6, 2],
            [0, 4]])
    """
    _check_counts(counts, label_counts)
    import torch

    # Column by column in memory, as the reference counts: equal shares then round alike.
    raw = np.asfortranarray(counts.cpu().numpy())
    scaled = scaled_counts(raw, label_counts.cpu().numpy())
    values = whole_rows(np.ascontiguousarray(scaled), compat=compat) if rounded else scaled
    return torch.from_numpy(values).to(counts.device)


def joint_distribution(calibrated: torch.Tensor) -> torch.Tensor:
    """Return the (K, K) float64 joint P(given = row, true = column) of calibrated counts.

    Examples
    --------
    >>> import torch
    >>> joint_distribution(torch.tensor([[6, 2], [0, 6]]))
    tensor([[0.4286, 0.1429],
            [0.0000, 0.4286]], dtype=torch.float64)
    """
    return calibrated.double() / calibrated.double().sum()


def expected_errors(calibrated: torch.Tensor) -> int:
    """Return the number of wrong labels that calibrated counts imply: N (1 - trace of the joint), rounded.

    Examples
    --------
    >>> import torch
    >>> expected_errors(torch.tensor([[6, 2], [0, 4]]))
    2
    """
    total = float(calibrated.double().sum())
    return round(total * (1.0 - float(joint_distribution(calibrated).trace())))


def estimate_latent(
    calibrated: torch.Tensor, label_counts: torch.Tensor, *, prior_method: PriorMethod = "cnt"
) -> LatentEstimates:
    """Estimate the prior of the true classes and the noise rates in both directions.

    Parameters
    ----------
    calibrated : (K, K) tensor
        From `calibrate_joint`, rounded or not.
    label_counts : (K,) int tensor
    prior_method : {"cnt", "eqn", "marginal", "marginal_ps"}, default="cnt"
        With M the noise matrix, V its inverse and p(s) the shares of the given labels: ``"cnt"``
        V[b, b] / M[b, b] p(s = b); ``"eqn"`` solves M p = p(s); ``"marginal"`` column sums of the counts;
        ``"marginal_ps"`` V p(s). All are clipped to [1e-6, 1] and made to sum to 1.

    Raises
    ------
    InputError
        Shapes do not match, there are no labels, or the method is unknown.

    References
    ----------
    .. [1] Northcutt, Jiang, Chuang. "Confident Learning: Estimating Uncertainty in Dataset Labels",
       JAIR 70, 2021.

    Examples
    --------
    >>> import torch
    >>> estimate_latent(torch.tensor([[6, 2], [0, 4]]), torch.tensor([8, 4])).noise_matrix
    tensor([[1.0000, 0.3333],
            [0.0000, 0.6667]], dtype=torch.float64)
    """
    _check_counts(calibrated, label_counts)
    if prior_method not in _PRIORS:
        raise InputError(f"prior_method is {prior_method!r}; legal are {', '.join(map(repr, _PRIORS))}")
    joint = calibrated.double()
    given = label_counts.to(device=joint.device, dtype=joint.dtype)
    given = given / given.sum()
    noise = joint / joint.sum(dim=0, keepdim=True).clamp(min=_TINY)
    inverse = (joint / joint.sum(dim=1, keepdim=True).clamp(min=_TINY)).T
    prior = _PRIORS[prior_method](joint, noise, inverse, given)
    return LatentEstimates(_clip_prior(prior), _clip_rates(noise), _clip_rates(inverse))


def agreeing_estimates(estimates: LatentEstimates, label_counts: torch.Tensor) -> LatentEstimates:
    """Make prior and noise rates agree: three times, the inverse and the prior by turns, then the rates.

    With M the noise matrix, V its inverse, p the prior and p(s) the shares of the given labels, the turns are
    V = (M p)^T / p(s) with p = V[b, b] / M[b, b] p(s = b), five times, then M = (V p(s))^T / p.

    Parameters
    ----------
    estimates : LatentEstimates
    label_counts : (K,) int tensor

    Returns
    -------
    LatentEstimates
        The prior is at least 1e-5 before it is made to sum to 1.

    Examples
    --------
    >>> import torch
    >>> counts = torch.tensor([8, 4])
    >>> agreeing_estimates(estimate_latent(torch.tensor([[6, 2], [0, 4]]), counts), counts).prior
    tensor([0.5000, 0.5000], dtype=torch.float64)
    """
    prior, noise, inverse = estimates
    given = label_counts.to(device=prior.device, dtype=prior.dtype)
    given = given / given.sum()
    for _ in range(3):
        for _ in range(5):
            inverse = _clip_rates((noise * prior).T / given.clamp(min=_TINY))
            prior = _clip_prior(_by_counting(noise, noise, inverse, given))
        noise = _clip_rates((inverse * given).T / prior.clamp(min=_TINY))
    return LatentEstimates(
        _clip_prior(prior, _SMALLEST_AGREEING_PRIOR), _clip_rates(noise), _clip_rates(inverse)
    )


def _by_counting(
    joint: torch.Tensor, noise: torch.Tensor, inverse: torch.Tensor, given: torch.Tensor
) -> torch.Tensor:
    return inverse.diagonal() / noise.diagonal().clamp(min=_TINY) * given


def _by_equation(
    joint: torch.Tensor, noise: torch.Tensor, inverse: torch.Tensor, given: torch.Tensor
) -> torch.Tensor:
    import torch

    # The pseudo-inverse also serves a class that never occurs, whose column is zero.
    pseudo_inverse: torch.Tensor = torch.linalg.pinv(noise)
    return pseudo_inverse @ given


def _by_marginal(
    joint: torch.Tensor, noise: torch.Tensor, inverse: torch.Tensor, given: torch.Tensor
) -> torch.Tensor:
    return joint.sum(dim=0) / joint.sum()


def _by_inverse(
    joint: torch.Tensor, noise: torch.Tensor, inverse: torch.Tensor, given: torch.Tensor
) -> torch.Tensor:
    return inverse @ given


_PRIORS: dict[str, Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "cnt": _by_counting,
    "eqn": _by_equation,
    "marginal": _by_marginal,
    "marginal_ps": _by_inverse,
}


def _clip_prior(prior: torch.Tensor, smallest: float = _SMALLEST_PRIOR) -> torch.Tensor:
    clipped = prior.clamp(min=smallest, max=1.0)
    return clipped / clipped.sum()


def _clip_rates(matrix: torch.Tensor) -> torch.Tensor:
    clipped = matrix.clamp(min=0.0, max=_LARGEST_RATE).diagonal_scatter(matrix.diagonal())
    return clipped / clipped.sum(dim=0, keepdim=True).clamp(min=_TINY)


def _check_counts(counts: torch.Tensor, label_counts: torch.Tensor) -> None:
    n_classes = len(label_counts)
    if counts.shape != (n_classes, n_classes):
        raise InputError(
            f"the counts have shape {tuple(counts.shape)} but label_counts has {n_classes} classes; "
            f"expected ({n_classes}, {n_classes})"
        )
    if int(label_counts.sum()) < 1:
        raise InputError("label_counts is zero everywhere; at least one labelled row is needed")
