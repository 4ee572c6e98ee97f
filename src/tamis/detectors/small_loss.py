"""Suspicion: the loss of the given label belongs to the larger of two heaps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

import numpy as np
import torch

from tamis.detectors.base import DETECTORS, ProbabilityDetector, Verdict, most_likely
from tamis.errors import InputError, NotFittedError
from tamis.registry import Facts
from tamis.statistics.probabilities import ArrayLike, labelled_probabilities
from tamis.statistics.two_gaussians import TwoGaussians, fit_histogram
from tamis.statistics.value_histogram import EXACT_VALUES, ValueHistogram
from tamis.types import BoolArray, FloatArray, IntArray


def given_label_loss(labels: ArrayLike, pred_probs: ArrayLike) -> torch.Tensor:
    """Return the cross-entropy of the given label, (n,) float64 in nats, at least 0; 708 at probability 0.

    Examples
    --------
    >>> given_label_loss([0, 1], [[1.0, 0.0], [0.5, 0.5]])
    tensor([-0.0000, 0.6931], dtype=torch.float64)
    """
    return _losses(*labelled_probabilities(labels, pred_probs))


def _losses(codes: torch.Tensor, probs: torch.Tensor) -> torch.Tensor:
    given = probs.gather(1, codes[:, None])[:, 0].double()
    return -given.clamp(min=torch.finfo(torch.float64).tiny).log()


@DETECTORS.register(
    "small_loss",
    Facts(
        title="Small-loss mixture",
        inputs=("pred_probs",),
        year=2020,
        paper="Li, Socher, Hoi: DivideMix, ICLR 2020",
    ),
)
class SmallLoss(ProbabilityDetector):
    """A mixture of two Gaussians on the losses of the given labels; the heap of small losses is clean.

    One mixture for all rows, or one a class, which forgives classes that are hard as a whole. Not where
    nearly all labels are right: the mixture then parts easy from hard samples.

    Parameters
    ----------
    per_class : bool, default=False
        One mixture per given label.
    threshold : float, default=0.5
        Rows whose posterior of the small-loss heap does not exceed it are flagged; in [0, 1).
    max_iter, tol, random_state
        Of `tamis.statistics.two_gaussians.fit_two_gaussians`.
    reg_covar : float, default=5e-4
        Added to the variances, as a share of the squared range of the losses.

    Attributes
    ----------
    clean_scores_ : (n,) float64 array
        Logarithm of ``prob_clean_``: 0 = surely clean, lower = more suspicious, without end.
    prob_clean_ : (n,) float64 array in [0, 1]
        Posterior of the heap of small losses. 1 where a mixture is impossible: fewer than two rows, equal
        losses, collapsed components.
    suggested_labels_ : (n,) int array
        The most likely class.
    is_issue_ : (n,) bool array
    classes_ : (K,) int array
    mixtures_ : tuple of TwoGaussians or None
        One for all, or one a class, of losses in nats; None where a mixture is impossible.

    References
    ----------
    .. [1] Li, Socher, Hoi. "DivideMix: Learning with Noisy Labels as Semi-supervised Learning", ICLR 2020.

    Examples
    --------
    >>> probs = [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.95, 0.05], [0.9, 0.1]]
    >>> SmallLoss().fit([0, 0, 1, 1, 1, 0], probs).is_issue_
    array([False, False, False, False,  True, False])
    """

    prob_clean_: FloatArray
    is_issue_: BoolArray
    mixtures_: tuple[TwoGaussians | None, ...]

    def __init__(
        self,
        *,
        per_class: bool = False,
        threshold: float = 0.5,
        max_iter: int = 100,
        tol: float = 1e-3,
        reg_covar: float = 5e-4,
        random_state: int = 0,
    ) -> None:
        self.per_class = per_class
        self.threshold = threshold
        self.max_iter = max_iter
        self.tol = tol
        self.reg_covar = reg_covar
        self.random_state = random_state
        self._states: list[ValueHistogram] = []
        self._n_classes = 0
        self._mixtures: tuple[TwoGaussians | None, ...] | None = None

    def partial_fit(self, labels: ArrayLike, pred_probs: ArrayLike) -> Self:
        """Add a block of rows to the state; `score` then gives clean scores of any rows.

        Parameters
        ----------
        labels : (b,) int
        pred_probs : (b, K) float
            As in ``fit``.
        """
        self._add(*labelled_probabilities(labels, pred_probs))
        return self

    def merge(self, other: SmallLoss) -> Self:
        """Add the state of another detector; the order of merging does not matter.

        Raises
        ------
        InputError
            It has seen another number of classes, or ``per_class`` differs.
        """
        if other.per_class != self.per_class:
            raise InputError(
                f"per_class is {other.per_class} there and {self.per_class} here; make them alike"
            )
        if not other._states:
            return self
        self._make_states(other._n_classes)
        for mine, theirs in zip(self._states, other._states, strict=True):
            mine.merge(theirs)
        return self

    def score(self, labels: ArrayLike, pred_probs: ArrayLike) -> FloatArray:
        """Return (n,) clean scores of rows, under the mixtures of all rows added so far.

        Raises
        ------
        NotFittedError
            Nothing was added yet.
        InputError
            Another number of classes.
        """
        codes, probs = labelled_probabilities(labels, pred_probs)
        self._check_classes(probs.shape[1])
        return self._log_prob_clean(codes, probs)

    def _assess(self, labels: torch.Tensor, pred_probs: torch.Tensor) -> Verdict:
        if not 0 <= self.threshold < 1:
            raise InputError(f"threshold is {self.threshold}; expected 0 or more and below 1")
        self._states = []
        self._add(labels, pred_probs)
        scores = self._log_prob_clean(labels, pred_probs)
        self.mixtures_ = self._fitted()
        self.prob_clean_ = np.exp(scores)
        self.is_issue_ = self.prob_clean_ <= self.threshold
        return Verdict(scores, most_likely(labels, pred_probs))

    def _make_states(self, n_classes: int) -> None:
        if not self._states:
            self._n_classes = n_classes
            n_states = n_classes if self.per_class else 1
            # The values kept as they are are bounded for all classes together.
            self._states = [ValueHistogram(exact_values=EXACT_VALUES // n_states) for _ in range(n_states)]
        self._check_classes(n_classes)
        self._mixtures = None

    def _check_classes(self, n_classes: int) -> None:
        if not self._states:
            raise NotFittedError(f"{type(self).__name__} has seen no rows; call fit or partial_fit first")
        if n_classes != self._n_classes:
            raise InputError(
                f"pred_probs has {n_classes} columns, the rows before had {self._n_classes}; "
                "give one column a class, in the same order"
            )

    def _add(self, codes: torch.Tensor, probs: torch.Tensor) -> None:
        self._make_states(probs.shape[1])
        losses = _losses(codes, probs).cpu().numpy()
        for state, rows in zip(self._states, self._rows_of_states(codes), strict=True):
            state.partial_fit(losses[rows])

    def _rows_of_states(self, codes: torch.Tensor) -> Iterator[IntArray]:
        """Yield the rows that belong to each mixture."""
        if not self.per_class:
            yield np.arange(len(codes))
            return
        given = codes.cpu().numpy()
        order = np.argsort(given, kind="stable")
        edges = np.searchsorted(given[order], np.arange(self._n_classes + 1))
        for code in range(self._n_classes):
            yield order[edges[code] : edges[code + 1]]

    def _fitted(self) -> tuple[TwoGaussians | None, ...]:
        if self._mixtures is None:
            self._mixtures = tuple(self._fit_one(state) for state in self._states)
        return self._mixtures

    def _fit_one(self, state: ValueHistogram) -> TwoGaussians | None:
        spread = state.maximum - state.minimum
        if state.count < 2 or spread <= 0:
            return None
        # The authors fit to losses mapped to [0, 1]; the floor of the variances is all that feels the scale.
        mixture = fit_histogram(
            state,
            max_iter=self.max_iter,
            tol=self.tol,
            reg_covar=self.reg_covar * spread**2,
            random_state=self.random_state,
        )
        return mixture if mixture.is_separated(least_gap=1e-6 * spread) else None

    def _log_prob_clean(self, codes: torch.Tensor, probs: torch.Tensor) -> FloatArray:
        losses = _losses(codes, probs).cpu().numpy()
        scores = np.zeros(len(losses))
        for mixture, rows in zip(self._fitted(), self._rows_of_states(codes), strict=True):
            if mixture is not None and len(rows):
                scores[rows] = -np.logaddexp(0.0, -mixture.low_log_odds(losses[rows]))
        return scores
