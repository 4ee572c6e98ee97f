"""Suspicion: the least similar samples of a class, as many as the noise estimate says (SimiFeat-R)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tamis.detectors.base import DETECTORS
from tamis.detectors.canonical_order import canonical_order
from tamis.detectors.consensus_draws import consensus_counts, shared_neighbors
from tamis.detectors.hoc import TransitionEstimate, estimate_from_counts
from tamis.detectors.simifeat import PAPER, SimiFeat
from tamis.registry import Facts
from tamis.statistics.simifeat import (
    corrupted_shares,
    label_posterior,
    label_shares,
    rank_flags,
    soft_label_score,
)
from tamis.types import BoolArray, FloatArray, IntArray

_JITTER_KEY = 0x4A495454  # a word of the generator's key, so that no other draw shares the numbers


@DETECTORS.register(
    "simifeat_rank", Facts(title="SimiFeat, rank", inputs=("features",), year=2022, paper=PAPER)
)
class SimiFeatRank(SimiFeat):
    """SimiFeat-R: flags in each class as many labels as an estimate of the noise says are wrong.

    The estimate is HOC's, from how the labels of nearest neighbours agree. The ranking is that of
    `SimiFeatVote`. At least one sample of every class is flagged, also on clean data. Not for more than 300
    classes, nor for features in which neighbours are often of other classes: the estimate is then too high.

    Parameters
    ----------
    k : int, default=10
        How many samples vote, the sample itself included; at least 3, at most n.
    min_similarity : float, default=0.0
        Similarity at which a vote has no weight.
    offset : float, default=1.0
        Factor on the probability that a label is right; below 1 more are flagged.
    n_rounds, n_points : int, default=10 and 15000
        Random draws for the estimate and points in each; all points once where there are no more.
    n_steps : int, default=400
        Of the estimate's fit.
    jitter : float, default=0.0
        Adds a uniform number in [-jitter, jitter] to each class's probability of being right; 0.05 in the
        authors' code, where several detections are put to the vote.
    random_state : int, default=0
    memory_budget : str, int or None, default="2GiB"
        For the search, beside the features.

    Attributes
    ----------
    clean_scores_ : (n,) float64 array in [0, 1]
        Cosine similarity of the soft label and the given one; 0 = nobody alike carries it.
        A row of zeros, which has no direction, gets 1 / sqrt(K) and is not flagged.
    suggested_labels_ : (n,) array in the type of ``y``
        Largest entry of the soft label; the given label in a tie.
    is_issue_ : (n,) bool array
        The lowest scores of each class, as many as estimated to be wrong.
    soft_labels_ : (n, K) float64 array
        Rows of unit length.
    estimate_ : TransitionEstimate or None
        The estimated noise; None with a single class.
    classes_ : (K,) array
    n_features_in_ : int

    References
    ----------
    .. [1] Zhu, Dong, Liu. "Detecting Corrupted Labels Without Training a Model to Predict", ICML 2022.
    .. [2] Zhu, Song, Liu. "Clusterability as an Alternative to Anchor Points When Learning with Noisy
       Labels", ICML 2021.

    Examples
    --------
    >>> truth = np.arange(200) % 2
    >>> X = np.eye(2)[truth] + 0.1 * np.random.default_rng(0).normal(size=(200, 2))
    >>> labels = np.where(np.arange(200) < 20, 1 - truth, truth)
    >>> SimiFeatRank().fit(X, labels).is_issue_[:20].mean() > 0.8
    np.True_
    """

    estimate_: TransitionEstimate | None

    def __init__(
        self,
        *,
        k: int = 10,
        min_similarity: float = 0.0,
        offset: float = 1.0,
        n_rounds: int = 10,
        n_points: int = 15_000,
        n_steps: int = 400,
        jitter: float = 0.0,
        random_state: int = 0,
        memory_budget: str | int | None = "2GiB",
    ) -> None:
        self.k = k
        self.min_similarity = min_similarity
        self.offset = offset
        self.n_rounds = n_rounds
        self.n_points = n_points
        self.n_steps = n_steps
        self.jitter = jitter
        self.random_state = random_state
        self.memory_budget = memory_budget

    def _detect(self, features: FloatArray, labels: IntArray, n_classes: int) -> tuple[FloatArray, BoolArray]:
        n_shared = shared_neighbors(len(labels), n_rounds=self.n_rounds, n_points=self.n_points)
        order = canonical_order(features, labels, n_classes)
        soft, neighbors = self._soft(features, labels, order, at_least=n_shared or 0)
        self.estimate_ = None
        right = np.ones(n_classes)
        if n_classes > 1:
            counts = consensus_counts(
                features,
                labels,
                n_classes,
                n_rounds=self.n_rounds,
                n_points=self.n_points,
                random_state=self.random_state,
                neighbors=neighbors if n_shared else None,
                memory_budget=self.memory_budget,
            )
            self.estimate_ = estimate_from_counts(
                counts, n_steps=self.n_steps, random_state=self.random_state
            )
            shares = label_shares(labels, n_classes)
            right = label_posterior(self.estimate_.transition, self.estimate_.prior, shares).diagonal()
        right = right + self._jitters(n_classes)[np.argsort(order.classes)]
        scores = soft_label_score(soft, labels)
        return soft, rank_flags(scores, labels, corrupted_shares(right, offset=self.offset))

    def _jitters(self, n_classes: int) -> npt.NDArray[np.float64]:
        """Return (K,) numbers for the canonical classes."""
        key = np.array([self.random_state, _JITTER_KEY], dtype=np.uint64)
        draws = np.random.Generator(np.random.Philox(key=key)).uniform(-1.0, 1.0, n_classes)
        return np.asarray(self.jitter * draws)
