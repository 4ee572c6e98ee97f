"""Rules that turn predicted probabilities into a set of label issues.

Each rule takes labels and out-of-sample probabilities and returns a mask. The pruning rules remove as many
rows as the calibrated confident joint says are wrong; the others look at each row alone. Except for
`low_scores`, no rule flags a row whose given label is the most likely one.
"""

from __future__ import annotations

import warnings

import torch

from tamis.errors import InputError, TamisWarning
from tamis.statistics.confident_joint import confident_guesses, confident_joint, confident_thresholds
from tamis.statistics.latent import calibrate_joint
from tamis.statistics.probabilities import ArrayLike, labelled_probabilities
from tamis.statistics.rounding import round_rows

_SLACK = 1e-6


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
    codes, probs = labelled_probabilities(labels, pred_probs)
    counts = _prune_counts(codes, probs, joint, frac_noise, min_examples_per_class)
    mask = torch.zeros(len(codes), dtype=torch.bool, device=codes.device)
    for k, rows in _rows_by_class(codes, probs.shape[1], min_examples_per_class):
        for j in counts[:, k].nonzero()[:, 0].tolist():
            if j != k:
                margin = probs[rows, j] - probs[rows, k]
                order = margin.argsort(descending=True, stable=True)
                mask[rows[order[: int(counts[j, k])]]] = True
    return mask & ~_is_most_likely(codes, probs)


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
    codes, probs = labelled_probabilities(labels, pred_probs)
    counts = _prune_counts(codes, probs, joint, frac_noise, min_examples_per_class)
    mask = torch.zeros(len(codes), dtype=torch.bool, device=codes.device)
    for k, rows in _rows_by_class(codes, probs.shape[1], min_examples_per_class):
        n_issues = max(len(rows) - int(counts[k, k]), 0)
        order = probs[rows, k].argsort(stable=True)
        mask[rows[order[:n_issues]]] = True
    return mask & ~_is_most_likely(codes, probs)


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
    first = prune_by_noise_rate(
        labels,
        pred_probs,
        joint=joint,
        frac_noise=frac_noise,
        min_examples_per_class=min_examples_per_class,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TamisWarning)  # said once already
        second = prune_by_class(
            labels,
            pred_probs,
            joint=joint,
            frac_noise=frac_noise,
            min_examples_per_class=min_examples_per_class,
        )
    return first & second


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
    return (guesses >= 0) & (guesses != codes) & ~_is_most_likely(codes, probs)


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
    return (probs.argmax(dim=1) != codes) & ~_is_most_likely(codes, probs)


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


def _prune_counts(
    codes: torch.Tensor, probs: torch.Tensor, joint: torch.Tensor | None, frac_noise: float, at_least: int
) -> torch.Tensor:
    """Return (K, K) int64 counts of rows to remove, rows true, columns given; kept rows on the diagonal."""
    if not 0.0 <= frac_noise <= 1.0:
        raise InputError(f"frac_noise is {frac_noise}; legal are numbers in [0, 1]")
    if at_least < 0:
        raise InputError(f"min_examples_per_class is {at_least}; legal are whole numbers from 0 on")
    n_classes = probs.shape[1]
    if joint is None:
        joint = calibrate_joint(
            confident_joint(codes, probs), torch.bincount(codes, minlength=n_classes).cpu()
        )
    if joint.shape != (n_classes, n_classes):
        raise InputError(f"joint has shape {tuple(joint.shape)}; expected ({n_classes}, {n_classes})")
    counts = joint.T.double()
    kept = counts.diagonal().clamp(min=at_least)
    # What the diagonal gains is taken in equal parts from the other entries of the column.
    others = ((counts != 0).sum(dim=0) - 1).clamp(min=1)
    counts = (counts - (kept - counts.diagonal()) / others).clamp(min=0.0).diagonal_scatter(kept)
    reduced = (counts * frac_noise).diagonal_scatter(kept)
    removed = (counts - reduced).sum(dim=0)
    return round_rows(reduced.diagonal_scatter(kept + removed).trunc())


def _rows_by_class(codes: torch.Tensor, n_classes: int, at_least: int) -> list[tuple[int, torch.Tensor]]:
    sizes = torch.bincount(codes, minlength=n_classes).tolist()
    small = [k for k, size in enumerate(sizes) if 0 < size <= at_least]
    if small:
        shown = ", ".join(map(str, small[:10])) + (", ..." if len(small) > 10 else "")
        warnings.warn(
            f"{len(small)} classes have at most {at_least} rows and are left alone: {shown}",
            TamisWarning,
            stacklevel=3,
        )
    blocks = torch.split(codes.argsort(stable=True), sizes)
    return [(k, rows) for k, rows in enumerate(blocks) if len(rows) > at_least]


def _is_most_likely(codes: torch.Tensor, probs: torch.Tensor) -> torch.Tensor:
    given = probs.gather(1, codes[:, None])[:, 0]
    return given + _SLACK >= probs.amax(dim=1)
