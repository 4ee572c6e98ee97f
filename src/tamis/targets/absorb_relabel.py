"""MixFix: the selected set grows by confident predictions that agree, and by corrected labels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tamis.errors import InputError
from tamis.targets.one_hot import checked_codes
from tamis.targets.pseudo_labels import confident_predictions


class Absorbed(NamedTuple):
    """What the next epoch is trained on.

    Attributes
    ----------
    labels : (N,) int64 tensor
        Given labels, with the relabelled ones replaced.
    selected : (N,) bool tensor
        Samples to train on.
    """

    labels: Tensor
    selected: Tensor


def absorb_and_relabel(
    probs: Tensor | npt.ArrayLike,
    labels: Tensor | npt.ArrayLike,
    keep: Tensor | npt.ArrayLike,
    *,
    theta_r: float = 0.8,
    theta_r2: float = 0.8,
) -> Absorbed:
    """Choose training labels and samples for the next epoch from predictions on all samples.

    A sample is absorbed where the prediction agrees with its label at a probability of at least ``theta_r``,
    relabelled where it disagrees at ``theta_r2`` or more. Both sets are made anew each time from the
    original labels: pass those, never the labels of an earlier call. Where classes are large and the network
    is sure early, relabelling can follow its mistakes; instance-dependent noise was published without it
    (``theta_r2 = 1.01``).

    Parameters
    ----------
    probs : (N, K) float, rows sum to 1
        Predictions without augmentation, in eval mode.
    labels : (N,) int
        Original labels; -1 = unlabelled.
    keep : (N,) bool
        First selection; it stays selected, but may be relabelled.
    theta_r, theta_r2 : float, default=0.8
        Above 1: never.

    Returns
    -------
    Absorbed
        On the device of ``probs``.

    Raises
    ------
    InputError
        Shapes do not match, values that are no probabilities, labels out of range, a threshold that is NaN.

    Notes
    -----
    Choices of ours: where the given label is one of several most likely classes, it is the prediction; a kept
    sample without a label is selected only once it is relabelled.

    References
    ----------
    .. [1] Feng, Tzimiropoulos, Patras. "CLIPCleaner: Cleaning Noisy Labels with CLIP", ACM Multimedia 2024,
       and its code.

    Examples
    --------
    >>> probs = [[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]]
    >>> found = absorb_and_relabel(probs, [0, 1, 0, 0], [False, False, True, False])
    >>> found.labels.tolist(), found.selected.tolist()
    ([0, 0, 0, 0], [True, True, True, False])
    """
    if np.isnan(theta_r) or np.isnan(theta_r2):
        raise InputError(f"theta_r is {theta_r}, theta_r2 {theta_r2}; expected numbers, above 1 = never")
    predicted = confident_predictions(probs)
    confidence = predicted.confidence
    given = checked_codes(labels, predicted.n_classes, n_samples=len(confidence)).to(confidence.device)
    is_kept = torch.as_tensor(keep, device=confidence.device)
    if is_kept.shape != given.shape or is_kept.dtype != torch.bool:
        raise InputError(
            f"keep has shape {tuple(is_kept.shape)} and dtype {is_kept.dtype}; expected a mask, shape"
            f" ({len(given)},), bool"
        )
    agrees = predicted.given_probs(given) == confidence
    is_relabelled = ~agrees & (confidence >= theta_r2)
    is_absorbed = agrees & (confidence >= theta_r)
    current = torch.where(is_relabelled, predicted.labels, given)
    return Absorbed(current, (is_kept | is_absorbed | is_relabelled) & (current >= 0))
