"""Suspicion: the two views of a sample do not belong together."""

from __future__ import annotations

from typing import Self

import numpy as np
import numpy.typing as npt

from tamis.detectors.base import DETECTORS, Detector, Verdict
from tamis.detectors.pair_rules import (
    PairVotes,
    correct_labels,
    pair_consistency,
    pair_votes,
    training_labels,
)
from tamis.errors import InputError, NotFittedError
from tamis.registry import Facts
from tamis.statistics.pair_alignment import PairAlignment, PairMaps, checked_pair
from tamis.statistics.two_gaussians import TwoGaussians, fit_histogram
from tamis.statistics.value_histogram import ValueHistogram
from tamis.types import BoolArray, FloatArray, IntArray

_ORIGINS = (-1.0, 0.0, 1.0)  # where cosines crowd


@DETECTORS.register(
    "mismatched_pairs",
    Facts(
        title="Pairs that do not belong together",
        inputs=("features", "second_features"),
        issue="mismatched_pair",
        year=2022,
        paper="after Han et al.: Noise-Tolerant Audio-Visual Action Recognition, arXiv 2205.07611",
    ),
)
class MismatchedPairs(Detector):
    """A mixture of two Gaussians on the cosines of both views tells true pairs from mixed-up ones.

    For image and caption, sound and picture, two photographs of one thing: embeddings in one space, or any
    two sets of features with ``align``. With labels, the neighbours in both views also say which labels to
    keep, which to change and which to leave out. Not where nearly all pairs are right: the mixture then parts
    good pairs from very good ones.

    Parameters
    ----------
    align : int or None, default=None
        Fit linear maps of both views onto this many canonical directions; None where they share a space.
    shrinkage : float, default=0.01
        Of the covariances for ``align``, as a share of the mean variance.
    threshold : float, default=0.5
        Pairs whose probability does not exceed it are flagged; in [0, 1).
    n_neighbors : int, default=15
    least_share : float, default=0.6
        Share of the vote that a changed label must exceed.
    random_state : int, default=0
        Seed of the mixture's start.
    memory_budget : str, int or None, default="2GiB"

    Attributes
    ----------
    clean_scores_ : (n,) float64 array in [0, 1]
        Probability that the pair belongs together; 1 where the cosines are no mixture.
    is_issue_ : (n,) bool array
    consistency_ : (n,) float64 array
        Cosines.
    suggested_labels_ : (n,) array
        The label that both views support, else the given one; empty without labels.
    classes_ : (K,) array
        Empty without labels.
    training_labels_ : (n,) int array
        With labels: codes to train with, -1 = leave the row out.
    label_scores_ : (n,) float64 array
        With labels: share of the given label in the joint vote.
    mixture_ : TwoGaussians or None
    maps_ : PairMaps or None

    References
    ----------
    .. [1] Derived from published parts, inspired by Han et al. "Noise-Tolerant Learning for Audio-Visual
       Action Recognition", arXiv 2205.07611, 2022.

    Examples
    --------
    >>> draw = np.random.default_rng(0)
    >>> first = draw.normal(size=(40, 8))
    >>> second = first + 0.1 * draw.normal(size=(40, 8))
    >>> second[:4] = second[[1, 2, 3, 0]]
    >>> MismatchedPairs().fit(first, second).is_issue_.nonzero()[0]
    array([0, 1, 2, 3])
    """

    is_issue_: BoolArray
    consistency_: FloatArray
    training_labels_: IntArray
    label_scores_: FloatArray
    mixture_: TwoGaussians | None
    maps_: PairMaps | None

    def __init__(
        self,
        *,
        align: int | None = None,
        shrinkage: float = 1e-2,
        threshold: float = 0.5,
        n_neighbors: int = 15,
        least_share: float = 0.6,
        random_state: int = 0,
        memory_budget: str | int | None = "2GiB",
    ) -> None:
        self.align = align
        self.shrinkage = shrinkage
        self.threshold = threshold
        self.n_neighbors = n_neighbors
        self.least_share = least_share
        self.random_state = random_state
        self.memory_budget = memory_budget
        self._state = ValueHistogram(_ORIGINS)

    def fit(
        self,
        features: npt.ArrayLike,
        second_features: npt.ArrayLike,
        labels: npt.ArrayLike | None = None,
    ) -> Self:
        """Score every pair, and every label where there are labels.

        Parameters
        ----------
        features : (n, d1) float
            n >= 2, finite.
        second_features : (n, d2) float
            Row i is the other view of the same sample; d2 = d1 without ``align``.
        labels : (n,) labels, optional
            Of any kind that can be sorted.

        Returns
        -------
        self

        Raises
        ------
        InputError
            Shapes do not match, fewer than two rows, NaN or infinity, or a parameter out of range.
        """
        first, second = checked_pair(features, second_features)
        self._check(len(first))
        self.maps_ = None
        if self.align is not None:
            sums = PairAlignment(first.shape[1], second.shape[1]).partial_fit(first, second)
            self.maps_ = sums.solve(self.align, shrinkage=self.shrinkage)
        mapped = (first, second) if self.maps_ is None else self.maps_.apply(first, second)
        self.consistency_ = pair_consistency(*mapped)
        self._state = ValueHistogram(_ORIGINS).partial_fit(self.consistency_)
        self.mixture_ = self._fitted()
        clean = _together(self.mixture_, self.consistency_)
        self.is_issue_ = clean <= self.threshold
        if labels is None:
            self.classes_ = np.zeros(0, dtype=np.int64)
            self._store(Verdict(clean, np.zeros(0, dtype=np.int64)))
            return self
        self._judge_labels(first, second, labels, clean)
        return self

    def partial_fit(self, features: npt.ArrayLike, second_features: npt.ArrayLike) -> Self:
        """Add a block of pairs, which share a space; `score` then judges any pairs.

        Raises
        ------
        InputError
            As in ``fit``, or ``align`` is set: fit `tamis.statistics.pair_alignment.PairAlignment` in a first
            pass and give the mapped views.
        """
        self._refuse_align()
        self._state.partial_fit(pair_consistency(features, second_features))
        return self

    def merge(self, other: MismatchedPairs) -> Self:
        """Add the pairs that another detector has seen; the order of merging does not matter."""
        self._refuse_align()
        self._state.merge(other._state)
        return self

    def score(self, features: npt.ArrayLike, second_features: npt.ArrayLike) -> FloatArray:
        """Return the probability that each pair belongs together, (n,) float64, by all pairs added so far."""
        if not self._state.count:
            raise NotFittedError(f"{type(self).__name__} has seen no pairs; call fit or partial_fit first")
        maps = vars(self).get("maps_")
        first, second = (features, second_features) if maps is None else maps.apply(features, second_features)
        return _together(self._fitted(), pair_consistency(first, second))

    def _judge_labels(
        self, first: FloatArray, second: FloatArray, labels: npt.ArrayLike, clean: FloatArray
    ) -> None:
        given = np.asarray(labels)
        if given.shape != (len(first),):
            raise InputError(f"labels has shape {given.shape}; expected ({len(first)},), one label a row")
        self.classes_, found = np.unique(given, return_inverse=True)
        codes = found.astype(np.int64)
        votes: PairVotes = pair_votes(
            first,
            second,
            codes,
            len(self.classes_),
            weights=clean,
            n_neighbors=self.n_neighbors,
            memory_budget=self.memory_budget,
        )
        corrected, _ = correct_labels(votes, codes, least_share=self.least_share)
        self.training_labels_ = training_labels(votes, codes, least_share=self.least_share)
        self.label_scores_ = votes.joint[np.arange(len(codes)), codes].astype(np.float64)
        self._store(Verdict(clean, corrected))

    def _check(self, n_rows: int) -> None:
        if n_rows < 2:
            raise InputError(f"features has {n_rows} rows; at least 2 pairs are needed")
        if not 0 <= self.threshold < 1:
            raise InputError(f"threshold is {self.threshold}; expected 0 or more and below 1")
        if self.n_neighbors < 1:
            raise InputError(f"n_neighbors is {self.n_neighbors}; expected at least 1")

    def _refuse_align(self) -> None:
        if self.align is not None:
            raise InputError(
                f"align is {self.align}: maps need a pass of their own; collect PairAlignment first, apply "
                "its maps, and add the mapped views to MismatchedPairs()"
            )

    def _fitted(self) -> TwoGaussians | None:
        if self._state.count < 2 or self._state.minimum == self._state.maximum:
            return None
        mixture = fit_histogram(self._state, random_state=self.random_state)
        return mixture if mixture.is_separated() else None


def _together(mixture: TwoGaussians | None, cosines: FloatArray) -> FloatArray:
    return np.ones(len(cosines)) if mixture is None else mixture.high_posterior(cosines)
