"""The objective of DivideMix: MixMatch's two losses, a penalty on the mean prediction, and their ramp."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from tamis.errors import InputError
from tamis.losses.reduction import reduced
from tamis.losses.soft_cross_entropy import soft_cross_entropy
from tamis.statistics.labelled_logits import checked_logits

_SMALLEST = 1e-8
"""Mean probabilities below this count as this in the penalty."""


class MixMatchLosses(NamedTuple):
    """The three terms of a step.

    Attributes
    ----------
    labelled : scalar tensor
        Soft cross-entropy of the labelled rows.
    unlabelled : scalar tensor
        Squared error of the unlabelled rows, the mean over rows and classes.
    penalty : scalar tensor
        Of `uniform_mean_penalty`, over all rows.
    """

    labelled: Tensor
    unlabelled: Tensor
    penalty: Tensor

    def total(self, lambda_u: float) -> Tensor:
        """Return ``labelled + lambda_u * unlabelled + penalty``."""
        return self.labelled + lambda_u * self.unlabelled + self.penalty


def mixmatch_losses(
    logits_x: Tensor,
    targets_x: Tensor,
    logits_u: Tensor | None = None,
    targets_u: Tensor | None = None,
) -> MixMatchLosses:
    """Return the terms of DivideMix's objective on a mixed batch.

    Parameters
    ----------
    logits_x, targets_x : (B, K) float
        Labelled part of the mixed batch; the targets' rows sum to 1.
    logits_u, targets_u : (B', K) float, optional
        Unlabelled part. A part without rows has the loss 0.

    Returns
    -------
    MixMatchLosses
        In float32, for float64 logits in float64; also under autocast.

    Raises
    ------
    InputError
        Shapes that do not belong together, or no row at all.

    Notes
    -----
    The squared error is averaged over classes, as in the authors' code, whose published weights
    ``lambda_u`` belong to that; the paper writes a sum.

    References
    ----------
    .. [1] Li, Socher, Hoi. "DivideMix: Learning with Noisy Labels as Semi-supervised Learning", ICLR 2020,
       equations 9 to 12, and its code.

    Examples
    --------
    >>> logits = torch.tensor([[2.0, 0.0]])
    >>> targets = torch.tensor([[1.0, 0.0]])
    >>> terms = mixmatch_losses(logits, targets, -logits, targets)
    >>> [round(value.item(), 4) for value in terms]
    [0.1269, 0.7758, 0.0]
    >>> weight = linear_rampup(18, warm_up=10, weight=25)
    >>> round(terms.total(weight).item(), 3)
    9.824
    """
    if (logits_u is None) != (targets_u is None):
        raise InputError("of logits_u and targets_u one is missing; pass both or neither")
    labelled = soft_cross_entropy(logits_x, targets_x)
    if logits_u is None or targets_u is None:
        return MixMatchLosses(labelled, torch.zeros_like(labelled), uniform_mean_penalty(logits_x))
    if logits_u.shape != targets_u.shape or logits_u.shape[1:] != logits_x.shape[1:]:
        raise InputError(
            f"logits_u has shape {tuple(logits_u.shape)}, targets_u {tuple(targets_u.shape)}, logits_x"
            f" {tuple(logits_x.shape)}; expected (samples, classes), the same classes"
        )
    squares = (checked_logits(logits_u, "logits_u").softmax(dim=1) - targets_u) ** 2
    # The mean of nothing would be NaN.
    unlabelled = squares.sum() / max(1, squares.numel())
    return MixMatchLosses(labelled, unlabelled, uniform_mean_penalty(torch.cat([logits_x, logits_u])))


def uniform_mean_penalty(logits: Tensor) -> Tensor:
    """Return the divergence of the mean prediction from the uniform distribution.

    It keeps a network from giving all samples to few classes. Not for data whose classes differ much in
    size.

    Parameters
    ----------
    logits : (B, K) float

    Returns
    -------
    scalar tensor, at least 0
        ``sum_c (1/K) log((1/K) / mean_c)``, means clamped at 1e-8.

    Raises
    ------
    InputError
        No matrix, or no rows.

    References
    ----------
    .. [1] Tanaka et al. "Joint Optimization Framework for Learning with Noisy Labels", CVPR 2018, eq. 5.

    Examples
    --------
    >>> uniform_mean_penalty(torch.tensor([[3.0, -3.0], [-3.0, 3.0]])).abs().item() < 1e-6
    True
    """
    probs = checked_logits(logits).softmax(dim=1)
    if not len(probs):
        raise InputError("logits has no rows; the mean prediction needs at least one")
    mean = probs.mean(dim=0).clamp(min=_SMALLEST)
    return -(mean * mean.numel()).log().mean()


def negative_entropy(logits: Tensor) -> Tensor:
    """Return the mean over rows of ``sum_c p_c log p_c``: a confidence penalty for the warm-up.

    Added to the cross-entropy where noise is asymmetric: without it a network is so sure of wrong labels
    that their losses cannot be told from those of right ones.

    Parameters
    ----------
    logits : (B, K) float

    Returns
    -------
    scalar tensor, from -log K to 0

    References
    ----------
    .. [1] Pereyra et al. "Regularizing Neural Networks by Penalizing Confident Output Distributions", 2017.

    Examples
    --------
    >>> negative_entropy(torch.zeros(3, 2)).item()
    -0.693147...
    """
    log_probs = checked_logits(logits).log_softmax(dim=1)
    return reduced((log_probs.exp() * log_probs).sum(dim=1), "mean")


def linear_rampup(epoch: float, *, warm_up: float, weight: float = 1.0, rampup_length: float = 16) -> float:
    """Return a weight that rises from 0 at the end of the warm-up to its full value.

    Parameters
    ----------
    epoch : float
        Epoch plus batch index / batches of the epoch.
    warm_up : float
        Epochs of the warm-up.
    weight : float, default=1
        Full value, ``lambda_u`` in DivideMix.
    rampup_length : float, default=16
        Epochs from 0 to the full value; 0 = at once.

    Returns
    -------
    float

    Raises
    ------
    InputError
        ``rampup_length`` is negative, or a number is NaN.

    Examples
    --------
    >>> linear_rampup(12, warm_up=10, weight=25)
    3.125
    """
    if not rampup_length >= 0 or epoch != epoch or warm_up != warm_up:
        raise InputError(
            f"epoch is {epoch}, warm_up {warm_up}, rampup_length {rampup_length}; expected numbers, the"
            " last at least 0"
        )
    if rampup_length == 0:
        return weight if epoch >= warm_up else 0.0
    return weight * min(1.0, max(0.0, (epoch - warm_up) / rampup_length))
