"""Label quality scores: how well a given label agrees with out-of-sample predicted probabilities.

Every score lies in [0, 1], 0 = surely wrong, 1 = surely right.
"""

from __future__ import annotations

import numpy as np
import torch

from tamis.statistics.confident_joint import ConfidentThresholds
from tamis.statistics.probabilities import ArrayLike, labelled_probabilities
from tamis.statistics.quality_formulas import QualityMethod, adjusted, block_scores


def self_confidence(labels: ArrayLike, pred_probs: ArrayLike) -> torch.Tensor:
    """Return the predicted probability of the given label.

    Parameters
    ----------
    labels : (n,) int, class codes 0..K-1
    pred_probs : (n, K) float, rows sum to 1, out of sample

    Returns
    -------
    (n,) float tensor in [0, 1], 0 = surely wrong, 1 = surely right

    Raises
    ------
    InputError
        Labels out of range, logits, NaN, rows that do not sum to one within 1e-3.

    References
    ----------
    .. [1] Northcutt, Jiang, Chuang. "Confident Learning: Estimating Uncertainty in Dataset Labels",
       JAIR 70, 2021.

    Examples
    --------
    >>> self_confidence([0, 1], [[0.75, 0.25], [0.875, 0.125]])
    tensor([0.7500, 0.1250], dtype=torch.float64)
    """
    return _scored("self_confidence", labels, pred_probs)


def normalized_margin(labels: ArrayLike, pred_probs: ArrayLike) -> torch.Tensor:
    """Return the margin of the given label over the most likely other class, mapped to [0, 1].

    ``(q[given] - max of the others + 1) / 2``: 1/2 where the given label ties with another class. With a
    single class there is no other, and the score is 1. Parameters and errors as for `self_confidence`.

    Returns
    -------
    (n,) float tensor in [0, 1], 0 = surely wrong, 1 = surely right

    Examples
    --------
    >>> normalized_margin([0, 1], [[0.75, 0.25], [0.875, 0.125]])
    tensor([0.7500, 0.1250], dtype=torch.float64)
    """
    return _scored("normalized_margin", labels, pred_probs)


def confidence_weighted_entropy(
    labels: ArrayLike, pred_probs: ArrayLike, *, compat: bool = False
) -> torch.Tensor:
    """Return a score that falls with the entropy of the prediction, the more the less it supports the label.

    With ``z = H(q) / log K / max(q[given], 1e-6)`` the score is ``log(1 + z) / max(z, 1e-6)``.

    Parameters
    ----------
    labels : (n,) int, class codes 0..K-1
    pred_probs : (n, K) float, rows sum to 1, out of sample
    compat : bool, default=False
        Keep the value of the reference implementation for z < 1e-6; see Notes.

    Returns
    -------
    (n,) float tensor in [0, 1], 0 = surely wrong, 1 = surely right

    Raises
    ------
    InputError
        As for `self_confidence`.

    Notes
    -----
    For a fully confident prediction z is 0, and the floor in the denominator makes the published score 0
    even where the prediction agrees with the label, although its limit for z -> 0 is 1. Here such rows get
    the limit where the given label is the most likely class; a confident contradiction keeps 0.

    References
    ----------
    .. [1] Kuan, Mueller. "Model-agnostic label quality scoring to detect real-world label errors",
       ICML DataPerf workshop, 2022.

    Examples
    --------
    >>> confidence_weighted_entropy([0, 0], [[1.0, 0.0], [0.0, 1.0]])
    tensor([1., 0.], dtype=torch.float64)
    >>> confidence_weighted_entropy([0, 0], [[1.0, 0.0], [0.0, 1.0]], compat=True)
    tensor([0., 0.], dtype=torch.float64)
    """
    return _scored("confidence_weighted_entropy", labels, pred_probs, compat=compat)


def adjust_probabilities(
    labels: ArrayLike, pred_probs: ArrayLike, thresholds: torch.Tensor | None = None
) -> torch.Tensor:
    """Take the model's average confidence in each class out of the probabilities.

    Each column loses its class's threshold, the largest threshold is added to all, and rows are divided by
    their sum: ``q - t + max t``. A class that the model predicts with little confidence is then no longer
    suspected as a whole. Give the result to `self_confidence` or `normalized_margin` for their adjusted
    versions; it is not meant for the entropy score.

    Parameters
    ----------
    labels : (n,) int, class codes 0..K-1
    pred_probs : (n, K) float, rows sum to 1, out of sample
    thresholds : (K,) float tensor, optional
        By default `tamis.statistics.confident_joint.confident_thresholds` of the same data.

    Returns
    -------
    (n, K) float64 tensor, rows sum to 1

    Raises
    ------
    InputError
        As for `self_confidence`.

    Examples
    --------
    >>> adjust_probabilities([0, 1], [[0.75, 0.25], [0.5, 0.5]])
    tensor([[0.6000, 0.4000],
            [0.4000, 0.6000]], dtype=torch.float64)
    """
    codes, probs = labelled_probabilities(labels, pred_probs)
    if thresholds is None:
        thresholds = ConfidentThresholds(probs.shape[1]).add_checked(codes, probs).values
    values = adjusted(probs.double().cpu().numpy(), thresholds.cpu().numpy().astype(np.float64))
    return torch.from_numpy(values).to(probs.device)


def _scored(
    method: QualityMethod, labels: ArrayLike, pred_probs: ArrayLike, *, compat: bool = False
) -> torch.Tensor:
    codes, probs = labelled_probabilities(labels, pred_probs)
    block = probs.detach().cpu().contiguous().numpy()
    scores = block_scores(block, codes.cpu().numpy(), method, compat=compat)
    return torch.from_numpy(scores).to(device=probs.device, dtype=probs.dtype)
