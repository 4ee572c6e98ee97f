"""The confident joint: counts of (given label, confidently predicted label), and what follows from them.

Two passes over the data. The first averages, per class, the probability of the given label: the threshold
above which a prediction of that class counts as confident. The second counts pairs. Both keep a state that
does not grow with the number of samples and that can be merged; the sums are kept as whole numbers, so that
one block, many blocks and any order of merging give the same thresholds to the last bit.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import torch

from tamis.errors import InputError, NotFittedError
from tamis.statistics.confident_rows import ABSENT, SMALLEST_THRESHOLD, block_guesses
from tamis.statistics.probabilities import ArrayLike, labelled_probabilities

# A probability is kept as two whole numbers of 2**-30 and 2**-60: exact sums for up to 2**33 rows.
_STEP = 2**30


class ConfidentThresholds:
    """Mean out-of-sample probability of the given label, per class: the first pass.

    Parameters
    ----------
    n_classes : int

    References
    ----------
    .. [1] Northcutt, Jiang, Chuang. "Confident Learning: Estimating Uncertainty in Dataset Labels",
       JAIR 70, 2021, section 3.1.

    Examples
    --------
    >>> first = ConfidentThresholds(2).partial_fit([0, 1], [[0.9, 0.1], [0.4, 0.6]])
    >>> second = ConfidentThresholds(2).partial_fit([0], [[0.7, 0.3]])
    >>> first.merge(second).values
    tensor([0.8000, 0.6000], dtype=torch.float64)
    """

    def __init__(self, n_classes: int) -> None:
        self.n_classes = _checked_count(n_classes)
        self.label_counts = torch.zeros(n_classes, dtype=torch.int64)
        self._coarse = torch.zeros(n_classes, dtype=torch.int64)
        self._fine = torch.zeros(n_classes, dtype=torch.int64)

    def partial_fit(self, labels: ArrayLike, pred_probs: ArrayLike) -> Self:
        """Add one block of rows: ``labels`` (n,) int in 0..K-1, ``pred_probs`` (n, K)."""
        return self.add_checked(*_checked_block(labels, pred_probs, self.n_classes))

    def add_checked(self, codes: torch.Tensor, probs: torch.Tensor) -> Self:
        """Add a block that `labelled_probabilities` returned, without checking it again."""
        given = probs.gather(1, codes[:, None])[:, 0].double() * _STEP
        coarse = given.floor()
        fine = ((given - coarse) * _STEP).floor()
        self.label_counts += torch.bincount(codes, minlength=self.n_classes).cpu()
        self._coarse += _sum_by_class(coarse, codes, self.n_classes)
        self._fine += _sum_by_class(fine, codes, self.n_classes)
        return self

    def merge(self, other: ConfidentThresholds) -> Self:
        """Add what another state has seen; the order of merging does not matter."""
        _check_same_classes(self.n_classes, other.n_classes)
        self.label_counts += other.label_counts
        self._coarse += other._coarse
        self._fine += other._fine
        return self

    @property
    def values(self) -> torch.Tensor:
        """(K,) float64 thresholds; 2 for a class without samples, never below 2e-6."""
        sums = (self._coarse.double() + self._fine.double() / _STEP) / _STEP
        means = (sums / self.label_counts.clamp(min=1)).clamp(min=SMALLEST_THRESHOLD)
        return torch.where(self.label_counts > 0, means, float(ABSENT))


class ConfidentJointCounts:
    """Counts of (given label, confidently predicted label): the second pass.

    Parameters
    ----------
    thresholds : (K,) float tensor
        From `ConfidentThresholds.values`.

    Examples
    --------
    >>> counts = ConfidentJointCounts(torch.tensor([0.8, 0.6]))
    >>> counts.partial_fit([0, 1, 0], [[0.9, 0.1], [0.4, 0.6], [0.1, 0.9]]).counts
    tensor([[1, 1],
            [0, 1]])
    """

    def __init__(self, thresholds: torch.Tensor) -> None:
        if thresholds.ndim != 1 or not bool((thresholds > 0).all()):
            raise InputError(
                f"thresholds has shape {tuple(thresholds.shape)} and must be (K,) positive numbers; "
                "take them from ConfidentThresholds.values"
            )
        self.thresholds = thresholds.cpu()
        self.n_classes = len(thresholds)
        self.label_counts = torch.zeros(self.n_classes, dtype=torch.int64)
        self._pairs = torch.zeros(self.n_classes, self.n_classes, dtype=torch.int64)

    def partial_fit(self, labels: ArrayLike, pred_probs: ArrayLike) -> Self:
        """Add one block of rows: ``labels`` (n,) int in 0..K-1, ``pred_probs`` (n, K)."""
        return self.add_checked(*_checked_block(labels, pred_probs, self.n_classes))

    def add_checked(self, codes: torch.Tensor, probs: torch.Tensor) -> Self:
        """Add a block that `labelled_probabilities` returned, without checking it again."""
        guesses = confident_guesses(probs, self.thresholds)
        is_counted = guesses >= 0
        flat = codes[is_counted] * self.n_classes + guesses[is_counted]
        self._pairs += torch.bincount(flat, minlength=self.n_classes**2).view_as(self._pairs).cpu()
        self.label_counts += torch.bincount(codes, minlength=self.n_classes).cpu()
        return self

    def merge(self, other: ConfidentJointCounts) -> Self:
        """Add what another state has seen; both must have the same thresholds."""
        _check_same_classes(self.n_classes, other.n_classes)
        if not torch.equal(self.thresholds, other.thresholds):
            raise InputError(
                "the states have other thresholds; merge the first pass before the second begins"
            )
        self._pairs += other._pairs
        self.label_counts += other.label_counts
        return self

    @property
    def counts(self) -> torch.Tensor:
        """(K, K) int64, rows given, columns confidently predicted; the diagonal is at least 1."""
        if int(self.label_counts.sum()) == 0:
            raise NotFittedError("no rows have been counted; call partial_fit first")
        diagonal = self._pairs.diagonal().clamp(min=1)
        return self._pairs.diagonal_scatter(diagonal)


def confident_thresholds(labels: ArrayLike, pred_probs: ArrayLike) -> torch.Tensor:
    """Return the mean probability of the given label per class.

    Parameters
    ----------
    labels : (n,) int, class codes 0..K-1
    pred_probs : (n, K) float, rows sum to 1, out of sample

    Returns
    -------
    (K,) float64 tensor
        2 for a class without samples, never below 2e-6.

    Raises
    ------
    InputError
        See `tamis.statistics.probabilities.labelled_probabilities`.

    Examples
    --------
    >>> confident_thresholds([0, 0], [[0.9, 0.1], [0.7, 0.3]])
    tensor([0.8000, 2.0000], dtype=torch.float64)
    """
    codes, probs = labelled_probabilities(labels, pred_probs)
    return ConfidentThresholds(probs.shape[1]).add_checked(codes, probs).values


def confident_guesses(pred_probs: torch.Tensor, thresholds: torch.Tensor) -> torch.Tensor:
    """Return the confidently predicted class of every row, -1 where there is none.

    A class is confident where its probability is at most 1e-6 below its threshold. One confident class is the
    guess; among several the guess is the most likely of **all** classes.

    Parameters
    ----------
    pred_probs : (n, K) float tensor, rows sum to 1
    thresholds : (K,) float tensor

    Returns
    -------
    (n,) int64 tensor

    Notes
    -----
    The paper takes the most likely of the confident classes; the reference implementation takes the most
    likely of all, which differs where that class misses its own, higher threshold. The latter is done here.

    Examples
    --------
    >>> probs = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.1, 0.9]])
    >>> confident_guesses(probs, torch.tensor([0.8, 0.7]))
    tensor([ 0, -1,  1])
    """
    block = pred_probs.detach().cpu().contiguous().numpy()
    bounds = thresholds.cpu().numpy().astype(np.float64)  # float32 is compared in float64
    guesses = torch.from_numpy(block_guesses(block, block.argmax(axis=1), bounds))
    return torch.where(guesses < pred_probs.shape[1], guesses, -1).to(pred_probs.device)


def confident_joint(
    labels: ArrayLike, pred_probs: ArrayLike, thresholds: torch.Tensor | None = None
) -> torch.Tensor:
    """Count pairs of given label and confidently predicted label.

    Parameters
    ----------
    labels : (n,) int, class codes 0..K-1
    pred_probs : (n, K) float, rows sum to 1, out of sample
    thresholds : (K,) float tensor, optional
        By default `confident_thresholds` of the same data.

    Returns
    -------
    (K, K) int64 tensor
        Rows given, columns predicted, diagonal at least 1. Rows without a confident class are not counted.

    Examples
    --------
    >>> confident_joint([0, 0, 1], [[0.9, 0.1], [0.1, 0.9], [0.2, 0.8]])
    tensor([[1, 1],
            [0, 1]])
    """
    codes, probs = labelled_probabilities(labels, pred_probs)
    if thresholds is None:
        thresholds = ConfidentThresholds(probs.shape[1]).add_checked(codes, probs).values
    return ConfidentJointCounts(thresholds).add_checked(codes, probs).counts


def _checked_count(n_classes: int) -> int:
    if n_classes < 1:
        raise InputError(f"n_classes is {n_classes}; expected at least 1")
    return n_classes


def _checked_block(
    labels: ArrayLike, pred_probs: ArrayLike, n_classes: int
) -> tuple[torch.Tensor, torch.Tensor]:
    codes, probs = labelled_probabilities(labels, pred_probs)
    if probs.shape[1] != n_classes:
        raise InputError(
            f"pred_probs has {probs.shape[1]} columns, the state was made for {n_classes} classes"
        )
    return codes, probs


def _check_same_classes(mine: int, other: int) -> None:
    if mine != other:
        raise InputError(f"states of {mine} and {other} classes cannot be merged; give both all classes")


def _sum_by_class(whole: torch.Tensor, codes: torch.Tensor, n_classes: int) -> torch.Tensor:
    sums = torch.zeros(n_classes, dtype=torch.int64, device=whole.device)
    return sums.index_add_(0, codes, whole.to(torch.int64)).cpu()
