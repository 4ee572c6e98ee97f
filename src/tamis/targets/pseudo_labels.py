"""Pseudo labels: a model's own predictions as labels, where it is sure enough."""

from __future__ import annotations

from typing import NamedTuple

import numpy.typing as npt
import torch
from torch import Tensor

from tamis.errors import InputError

_SLACK = 1e-3
"""Probabilities may be off by this much, as sums of half precision are."""


class PseudoLabels(NamedTuple):
    """Labels that a model gives.

    Attributes
    ----------
    labels : (N,) int64 tensor
        Most likely class, the first of equal ones; -1 where the model is not sure enough.
    confidence : (N,) float tensor
        Probability of the most likely class.
    """

    labels: Tensor
    confidence: Tensor


def pseudo_labels(probs: Tensor | npt.ArrayLike, *, threshold: float | None = None) -> PseudoLabels:
    """Return the most likely class of every sample whose probability reaches a threshold.

    Parameters
    ----------
    probs : (N, K) float, rows sum to 1
        Predictions of the newest model, without augmentation.
    threshold : float, optional
        Least probability; without one every sample gets a label.

    Returns
    -------
    PseudoLabels

    Raises
    ------
    InputError
        Values that are no probabilities, or a threshold that is no number.

    References
    ----------
    .. [1] Lee. "Pseudo-Label: The Simple and Efficient Semi-Supervised Learning Method for Deep Neural
       Networks", ICML 2013 workshop.

    Examples
    --------
    >>> pseudo_labels([[0.9, 0.1], [0.4, 0.6]], threshold=0.7).labels
    tensor([ 0, -1])
    """
    predicted = confident_predictions(probs)
    if threshold is None:
        return PseudoLabels(predicted.labels, predicted.confidence)
    if threshold != threshold:
        raise InputError(f"threshold is {threshold}; expected a number, above 1 = no pseudo labels")
    is_sure = predicted.confidence >= threshold
    return PseudoLabels(torch.where(is_sure, predicted.labels, -1), predicted.confidence)


class ConfidentPredictions(NamedTuple):
    """The most likely class of every sample, with the probabilities it was taken from."""

    labels: Tensor
    confidence: Tensor
    probs: Tensor

    @property
    def n_classes(self) -> int:
        """Columns of the matrix."""
        return self.probs.shape[1]

    def given_probs(self, labels: Tensor) -> Tensor:
        """Return the probability of each given label; -1 where there is none."""
        columns = labels.clamp(min=0)[:, None]
        return torch.where(labels >= 0, self.probs.gather(1, columns)[:, 0], -1.0)


def confident_predictions(probs: Tensor | npt.ArrayLike) -> ConfidentPredictions:
    """Return the most likely class of every row, after a look at the values.

    Raises
    ------
    InputError
        No float matrix, NaN, or numbers outside [0, 1].
    """
    matrix = torch.as_tensor(probs).detach()
    if matrix.ndim != 2 or matrix.shape[1] == 0 or not matrix.is_floating_point():
        raise InputError(
            f"probs has shape {tuple(matrix.shape)} and dtype {matrix.dtype}; expected probabilities,"
            " shape (samples, classes)"
        )
    confidence, labels = matrix.max(dim=1)
    # NaN fails every comparison, and max() hands it on.
    is_legal = (confidence <= 1 + _SLACK) & (matrix.amin(dim=1) >= -_SLACK)
    if not bool(is_legal.all()):
        row = int((~is_legal).nonzero()[0, 0])
        raise InputError(
            f"probs row {row} is not in [0, 1] (largest entry {float(confidence[row]):g}); expected"
            " probabilities: softmax of the logits, from a model that has not diverged"
        )
    return ConfidentPredictions(labels, confidence, matrix)
