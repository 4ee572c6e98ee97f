"""Rules that turn predicted probabilities into a set of label issues.

Each rule takes labels and out-of-sample probabilities and returns a mask. The pruning rules remove as many
rows as the calibrated confident joint says are wrong; the others look at each row alone. Except for
`low_scores`, no rule flags a row whose given label is the most likely one.

`tamis.detectors.label_issues.find_label_issues` is the door to all of them on arrays.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from tamis.errors import InputError
from tamis.statistics.confident_joint import confident_guesses, confident_joint, confident_thresholds
from tamis.statistics.labelled_rows import LabelledRows, survey
from tamis.statistics.latent import calibrate_joint
from tamis.statistics.probabilities import ArrayLike, labelled_probabilities
from tamis.statistics.prune_counts import check_pruning, checked_joint, removal_counts
from tamis.statistics.pruning import Pruning, by_class, by_noise_rate, warn_of_small_classes
from tamis.types import BoolArray


def prune_by_noise_rate(
    labels: ArrayLike,
    pred_probs: ArrayLike,
    *,
    joint: torch.Tensor | None = None,
    frac_noise: float = 1.0,
    min_examples_per_class: int = 1,
) -> torch.Tensor:
    """Flag, for every pair of classes, as many rows as the joint counts, by largest margin.

    For given class k and other class j these are the rows of k with the largest ``q[j] - q[k]``.

    Parameters
    ----------
    labels : (n,) int, class codes 0..K-1
    pred_probs : (n, K) float, rows sum to 1, out of sample
    joint : (K, K) tensor, optional
        Calibrated counts, rows given, columns true; by default those of the confident joint of the data.
    frac_noise : float in [0, 1], default=1
        Share of the counted wrong labels to flag.
    min_examples_per_class : int, default=1
        Classes with at most this many rows are left alone, with a warning; in larger ones so many stay.

    Returns
    -------
    (n,) bool tensor

    Raises
    ------
    InputError
        Bad labels or probabilities, a joint of another size, or parameters out of range.

    Warns
    -----
    TamisWarning
        A class has at most ``min_examples_per_class`` rows.

    References
    ----------
    .. [1] Northcutt, Jiang, Chuang. "Confident Learning: Estimating Uncertainty in Dataset Labels",
       JAIR 70, 2021, section 3.2.

    Examples
    --------
    >>> probs = [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.9, 0.1]]
    >>> prune_by_noise_rate([0, 0, 1, 1, 1], probs)
    tensor([False, False, False, False,  True])
    """
    return _pruned(by_noise_rate, labels, pred_probs, joint, frac_noise, min_examples_per_class)


def prune_by_class(
    labels: ArrayLike,
    pred_probs: ArrayLike,
    *,
    joint: torch.Tensor | None = None,
    frac_noise: float = 1.0,
    min_examples_per_class: int = 1,
) -> torch.Tensor:
    """Flag, for every class, as many rows as the joint counts off the diagonal, by lowest self-confidence.

    Parameters, errors and warnings as for `prune_by_noise_rate`.

    Returns
    -------
    (n,) bool tensor

    Examples
    --------
    >>> probs = [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.9, 0.1]]
    >>> prune_by_class([0, 0, 1, 1, 1], probs)
    tensor([False, False, False, False,  True])
    """
    return _pruned(by_class, labels, pred_probs, joint, frac_noise, min_examples_per_class)


def prune_by_both(
    labels: ArrayLike,
    pred_probs: ArrayLike,
    *,
    joint: torch.Tensor | None = None,
    frac_noise: float = 1.0,
    min_examples_per_class: int = 1,
) -> torch.Tensor:
    """Flag what both `prune_by_noise_rate` and `prune_by_class` flag.

    Parameters, errors and warnings as for `prune_by_noise_rate`.

    Returns
    -------
    (n,) bool tensor

    Examples
    --------
    >>> probs = [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.9, 0.1]]
    >>> prune_by_both([0, 0, 1, 1, 1], probs)
    tensor([False, False, False, False,  True])
    """

    def both(pruning: Pruning) -> BoolArray:
        return by_noise_rate(pruning) & by_class(pruning)

    return _pruned(both, labels, pred_probs, joint, frac_noise, min_examples_per_class)


def off_diagonal(labels: ArrayLike, pred_probs: ArrayLike) -> torch.Tensor:
    """Flag rows that are confidently predicted as another class than the given one.

    Parameters
    ----------
    labels : (n,) int, class codes 0..K-1
    pred_probs : (n, K) float, rows sum to 1, out of sample

    Returns
    -------
    (n,) bool tensor

    Raises
    ------
    InputError
        Bad labels or probabilities.

    Examples
    --------
    >>> off_diagonal([0, 0, 1], [[0.9, 0.1], [0.1, 0.9], [0.2, 0.8]])
    tensor([False,  True, False])
    """
    codes, probs = labelled_probabilities(labels, pred_probs)
    guesses = confident_guesses(probs, confident_thresholds(codes, probs))
    return (guesses >= 0) & (guesses != codes) & _is_suspect(codes, probs)


def predicted_neq_given(labels: ArrayLike, pred_probs: ArrayLike) -> torch.Tensor:
    """Flag rows whose most likely class is not the given one; parameters as for `off_diagonal`.

    Returns
    -------
    (n,) bool tensor

    Examples
    --------
    >>> predicted_neq_given([0, 0], [[0.6, 0.4], [0.4, 0.6]])
    tensor([False,  True])
    """
    codes, probs = labelled_probabilities(labels, pred_probs)
    return (probs.argmax(dim=1) != codes) & _is_suspect(codes, probs)


def low_scores(scores: torch.Tensor, count: int) -> torch.Tensor:
    """Flag the ``count`` rows with the lowest scores; among equal ones the first.

    With the number of rows that `off_diagonal` flags, and self-confidence or the normalised margin as the
    scores, these are the rules known as low self-confidence and low normalised margin.

    Parameters
    ----------
    scores : (n,) float tensor, lower = more suspicious
    count : int, 0 to n

    Returns
    -------
    (n,) bool tensor

    Raises
    ------
    InputError
        ``count`` is not in 0..n.

    Examples
    --------
    >>> low_scores(torch.tensor([0.3, 0.1, 0.2]), 2)
    tensor([False,  True,  True])
    """
    if not 0 <= count <= len(scores):
        raise InputError(f"count is {count}; legal are 0..{len(scores)}, the number of rows")
    mask = torch.zeros(len(scores), dtype=torch.bool, device=scores.device)
    mask[scores.argsort(stable=True)[:count]] = True
    return mask


def argmax_confusion(labels: ArrayLike, pred_probs: ArrayLike) -> torch.Tensor:
    """Count pairs of given label and most likely class: the plain confusion matrix, rows given.

    Calibrated (`tamis.statistics.latent.calibrate_joint`), it can stand in for the confident joint.

    Returns
    -------
    (K, K) int64 tensor

    Examples
    --------
    >>> argmax_confusion([0, 0, 1], [[0.9, 0.1], [0.1, 0.9], [0.2, 0.8]])
    tensor([[1, 1],
            [0, 1]])
    """
    codes, probs = labelled_probabilities(labels, pred_probs)
    n_classes = probs.shape[1]
    flat = codes * n_classes + probs.argmax(dim=1)
    return torch.bincount(flat, minlength=n_classes**2).view(n_classes, n_classes).cpu()


def _pruned(
    rule: Callable[[Pruning], BoolArray],
    labels: ArrayLike,
    pred_probs: ArrayLike,
    joint: torch.Tensor | None,
    frac_noise: float,
    at_least: int,
) -> torch.Tensor:
    check_pruning(frac_noise, at_least)
    codes, probs = labelled_probabilities(labels, pred_probs)
    rows = LabelledRows(codes, probs)
    if joint is None:
        joint = calibrate_joint(confident_joint(codes, probs), torch.from_numpy(rows.label_counts))
    given_joint = checked_joint(joint.cpu().numpy(), rows.n_classes)
    counts = removal_counts(given_joint, frac_noise=frac_noise, min_examples_per_class=at_least)
    warn_of_small_classes(rows.label_counts, at_least, stacklevel=4)
    mask = rule(Pruning(rows, survey(rows), counts, at_least, compat=False))
    return torch.from_numpy(mask).to(codes.device)


def _is_suspect(codes: torch.Tensor, probs: torch.Tensor) -> torch.Tensor:
    is_supported = survey(LabelledRows(codes, probs)).is_supported
    return torch.from_numpy(np.logical_not(is_supported)).to(codes.device)
