"""Suspicion: measured against each class's usual confidence, another class beats the given label."""

from __future__ import annotations

from typing import Self

import torch

from tamis.detectors.base import DETECTORS, ProbabilityDetector, Verdict, most_likely
from tamis.errors import InputError, NotFittedError
from tamis.registry import Facts
from tamis.statistics.confident_joint import (
    ConfidentJointCounts,
    ConfidentThresholds,
    confident_guesses,
)
from tamis.statistics.latent import calibrate_joint, estimate_latent, expected_errors
from tamis.statistics.probabilities import ArrayLike, labelled_probabilities
from tamis.types import BoolArray, FloatArray, IntArray


def threshold_odds(labels: ArrayLike, pred_probs: ArrayLike, thresholds: torch.Tensor) -> torch.Tensor:
    """Return how the given label compares with its best rival, each relative to its class's threshold.

    With ``r = q / t`` the score is ``r[given] / (r[given] + max of the others)``.

    Parameters
    ----------
    labels : (n,) int, class codes 0..K-1
    pred_probs : (n, K) float, rows sum to 1, out of sample
    thresholds : (K,) float tensor, positive
        See `tamis.statistics.confident_joint.confident_thresholds`.

    Returns
    -------
    (n,) float64 tensor in [0, 1], 0 = surely wrong, 1/2 = a rival is as strong, 1 = surely right

    Examples
    --------
    >>> threshold_odds([0], [[0.5, 0.5]], torch.tensor([0.25, 0.75]))
    tensor([0.7500], dtype=torch.float64)
    """
    codes, probs = labelled_probabilities(labels, pred_probs)
    return _odds(codes, _relative(probs, thresholds))


def _relative(probs: torch.Tensor, thresholds: torch.Tensor) -> torch.Tensor:
    return probs / thresholds.to(device=probs.device, dtype=torch.float64)  # (n, K) float64


def _odds(codes: torch.Tensor, relative: torch.Tensor) -> torch.Tensor:
    given = relative.gather(1, codes[:, None])[:, 0]
    rival = relative.scatter(1, codes[:, None], 0.0).amax(dim=1)
    # Never 0 / 0: the probabilities of a row sum to one, so one of the two is positive.
    return given / (given + rival)


@DETECTORS.register(
    "confident_joint",
    Facts(
        title="Confident joint",
        inputs=("pred_probs",),
        year=2021,
        paper="Northcutt, Jiang, Chuang: Confident Learning, JAIR 70",
    ),
)
class ConfidentJoint(ProbabilityDetector):
    """Confident learning: counts confident predictions per given label, flags those off the diagonal.

    Also estimates how many labels are wrong and which classes are given for which. Not for classes with a
    handful of samples: their thresholds are means over those few.

    Attributes
    ----------
    clean_scores_ : (n,) float array in [0, 1]
        See `threshold_odds`: 0 = surely wrong, 1/2 = a rival is as strong, 1 = surely right.
    suggested_labels_ : (n,) int array
        The class with the largest probability relative to its threshold.
    classes_ : (K,) int array
    is_issue_ : (n,) bool array
        Rows whose confident class is not the given one, unless the given one is the most likely.
    thresholds_ : (K,) float array
        Mean probability of the given label per class; 2 for a class without samples.
    counts_ : (K, K) int array
        The confident joint, rows given, columns confidently predicted.
    calibrated_counts_ : (K, K) int array
        Scaled so that each row sums to its label's count.
    noise_matrix_ : (K, K) float array
        P(given = row | true = column), columns sum to 1.
    prior_ : (K,) float array
        P(true class).
    n_expected_errors_ : int
        Number of wrong labels that the calibrated counts imply.

    Notes
    -----
    The paper flags and counts; it does not score. The published ranking, flagged rows first and then by
    self-confidence, found fewer wrong labels on human label noise than `threshold_odds`.

    References
    ----------
    .. [1] Northcutt, Jiang, Chuang. "Confident Learning: Estimating Uncertainty in Dataset Labels",
       JAIR 70, 2021.

    Examples
    --------
    >>> probs = [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.9, 0.1]]
    >>> detector = ConfidentJoint().fit([0, 0, 1, 1, 1], probs)
    >>> detector.is_issue_, detector.n_expected_errors_
    (array([False, False, False, False,  True]), 1)
    """

    is_issue_: BoolArray
    thresholds_: FloatArray
    counts_: IntArray
    calibrated_counts_: IntArray
    noise_matrix_: FloatArray
    prior_: FloatArray
    n_expected_errors_: int

    _state: ConfidentThresholds | None = None

    def partial_fit(self, labels: ArrayLike, pred_probs: ArrayLike) -> Self:
        """Add a block of rows to the thresholds that `score` uses; every block has all K columns.

        Parameters
        ----------
        labels : (b,) int, class codes 0..K-1
        pred_probs : (b, K) float, rows sum to 1, out of sample

        Returns
        -------
        self
        """
        codes, probs = labelled_probabilities(labels, pred_probs)
        if self._state is None:
            self._state = ConfidentThresholds(probs.shape[1])
        self._check_width(probs, self._state)
        self._state.add_checked(codes, probs)
        return self

    def merge(self, other: ConfidentJoint) -> Self:
        """Add what another detector's ``partial_fit`` has seen; the order of merging does not matter."""
        if other._state is not None:
            state = ConfidentThresholds(other._state.n_classes) if self._state is None else self._state
            self._state = state.merge(other._state)
        return self

    def score(self, labels: ArrayLike, pred_probs: ArrayLike) -> FloatArray:
        """Return the clean score of every row by the thresholds of all blocks seen, (b,).

        Raises
        ------
        NotFittedError
            No rows have been seen.
        InputError
            Bad labels or probabilities, or another number of columns than before.

        Examples
        --------
        >>> probs = [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.9, 0.1]]
        >>> first = ConfidentJoint().partial_fit([0, 0], probs[:2])
        >>> second = ConfidentJoint().partial_fit([1, 1, 1], probs[2:])
        >>> first.merge(second).score([1], probs[4:]).round(3)
        array([0.136])
        """
        if self._state is None:
            raise NotFittedError("ConfidentJoint has seen no rows; call fit or partial_fit first")
        codes, probs = labelled_probabilities(labels, pred_probs)
        self._check_width(probs, self._state)
        scores: FloatArray = _odds(codes, _relative(probs, self._state.values)).cpu().numpy()
        return scores

    @staticmethod
    def _check_width(probs: torch.Tensor, state: ConfidentThresholds) -> None:
        if probs.shape[1] != state.n_classes:
            raise InputError(f"pred_probs has {probs.shape[1]} columns, the rows seen had {state.n_classes}")

    def _assess(self, labels: torch.Tensor, pred_probs: torch.Tensor) -> Verdict:
        n_classes = pred_probs.shape[1]
        self._state = ConfidentThresholds(n_classes).add_checked(labels, pred_probs)
        thresholds = self._state.values
        counter = ConfidentJointCounts(thresholds).add_checked(labels, pred_probs)
        calibrated = calibrate_joint(counter.counts, counter.label_counts)
        latent = estimate_latent(
            calibrate_joint(counter.counts, counter.label_counts, rounded=False), counter.label_counts
        )
        guesses = confident_guesses(pred_probs, thresholds)
        is_confident_other = (guesses >= 0) & (guesses != labels)
        given = pred_probs.gather(1, labels[:, None])[:, 0]
        self.is_issue_ = (is_confident_other & (given < pred_probs.amax(dim=1))).cpu().numpy()
        self.thresholds_ = thresholds.numpy()
        self.counts_ = counter.counts.numpy()
        self.calibrated_counts_ = calibrated.numpy()
        self.noise_matrix_ = latent.noise_matrix.numpy()
        self.prior_ = latent.prior.numpy()
        self.n_expected_errors_ = expected_errors(calibrated)
        relative = _relative(pred_probs, thresholds)
        return Verdict(_odds(labels, relative).cpu().numpy(), most_likely(labels, relative))
