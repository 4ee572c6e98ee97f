"""Suspicion: samples with similar features carry another label (SimiFeat, by vote and by rank)."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import numpy.typing as npt
import torch

from tamis.detectors.base import DETECTORS, FeatureDetector, Verdict
from tamis.detectors.consensus_draws import (
    CanonicalOrder,
    canonical_order,
    check_at_least,
    consensus_counts,
    shared_neighbors,
)
from tamis.detectors.hoc import TransitionEstimate, estimate_from_counts
from tamis.errors import InputError
from tamis.memory import parse_memory_budget, rows_per_block
from tamis.neighbors import Neighbors, nearest_neighbors
from tamis.neighbors.vectors import fixed_order_sum
from tamis.registry import Facts
from tamis.statistics.simifeat import (
    corrupted_shares,
    label_posterior,
    label_shares,
    rank_flags,
    similarity_soft_labels,
    soft_label_score,
    vote_flags,
)
from tamis.types import BoolArray, FloatArray, IntArray

_PAPER = "Zhu, Dong, Liu: Detecting Corrupted Labels Without Training a Model to Predict, ICML 2022"
_JITTER_KEY = 0x4A495454  # a word of the generator's key, so that no other draw shares the numbers


def cosine_distances(
    features: FloatArray, indices: IntArray, *, memory_budget: str | int | None = None
) -> npt.NDArray[np.float64]:
    """Return ``1 - cosine`` of each row to its listed neighbours, the same bits in any block.

    Parameters
    ----------
    features : (n, d) float
    indices : (n, k) int
        Rows of ``features``.
    memory_budget : str, int or None

    Examples
    --------
    >>> cosine_distances(np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[1], [0]])).ravel()
    array([1., 1.])
    """
    n, k = indices.shape
    distances, largest, length = np.empty((n, k)), np.empty(len(features)), np.empty(len(features))
    step = rows_per_block(8 * 5 * (k + 1) * features.shape[1], parse_memory_budget(memory_budget))
    for start in range(0, len(features), step):
        part = slice(start, start + step)
        block = np.asarray(features[part], dtype=np.float64)
        # Squares of float64 extremes would overflow or vanish: divide by the largest entry first.
        largest[part] = np.abs(block).max(axis=1)
        scaled = torch.from_numpy(block / largest[part, None])
        length[part] = fixed_order_sum(scaled.square()).sqrt().numpy()
    for start in range(0, n, step):
        part = slice(start, min(start + step, n))
        near = indices[part]
        own = np.asarray(features[part], dtype=np.float64) / largest[part, None]
        others = np.asarray(features[near], dtype=np.float64) / largest[near, None]  # (b, k, d)
        products = torch.from_numpy(others * own[:, None, :]).reshape(-1, features.shape[1])
        cosine = fixed_order_sum(products).numpy().reshape(near.shape) / (length[part, None] * length[near])
        distances[part] = 1.0 - cosine
    return distances


class _SimiFeat(FeatureDetector):
    """What both detectors share: the search and the soft labels."""

    soft_labels_: FloatArray
    is_issue_: BoolArray

    k: int
    min_similarity: float
    memory_budget: str | int | None

    @abstractmethod
    def _detect(self, features: FloatArray, labels: IntArray, n_classes: int) -> tuple[FloatArray, BoolArray]:
        """Return (m, K) soft labels and (m,) flags of rows that have a direction."""

    def _assess(self, features: FloatArray, labels: IntArray, n_classes: int) -> Verdict:
        n = len(labels)
        # A row of zeros is like nobody: it says nothing about others, nor they about it.
        directed = np.flatnonzero(features.any(axis=1))
        is_whole = len(directed) == n
        soft, flags = np.full((n, n_classes), n_classes**-0.5), np.zeros(n, dtype=np.bool_)
        matrix = features if is_whole else features[directed]
        soft[directed], flags[directed] = self._detect(matrix, labels[directed], n_classes)
        self.soft_labels_, self.is_issue_ = soft, flags
        suggested = np.where(vote_flags(soft, labels), soft.argmax(axis=1), labels)
        return Verdict(soft[np.arange(n), labels], suggested)

    def _soft(
        self, features: FloatArray, labels: IntArray, order: CanonicalOrder, *, at_least: int = 0
    ) -> tuple[FloatArray, Neighbors]:
        """Return soft labels and the search they came from, with ``at_least`` neighbours of every row."""
        n, n_classes = len(labels), len(order.classes)
        k = check_at_least(self.k, "k", 3)
        if k > n:
            raise InputError(
                f"k is {k} but there are {n} samples with a direction; k counts the sample itself, so choose "
                f"3 <= k <= {n}"
            )
        neighbors = nearest_neighbors(
            features,
            k=max(k - 1, min(at_least, n - 1)),
            tie_keys=order.tie_keys,
            memory_budget=self.memory_budget,
        )
        nearest = neighbors.indices[:, : k - 1]
        distances = cosine_distances(features, nearest, memory_budget=self.memory_budget)
        soft = similarity_soft_labels(
            nearest, distances, labels, n_classes, min_similarity=self.min_similarity
        )
        return soft, neighbors


@DETECTORS.register(
    "simifeat_vote", Facts(title="SimiFeat, vote", inputs=("features",), year=2022, paper=_PAPER)
)
class SimiFeatVote(_SimiFeat):
    """SimiFeat-V: a label is wrong where the most similar samples, and itself, vote for another class.

    Votes are weighted by cosine similarity. Needs no training and nothing but features and labels. Not for
    features in which neighbours are often of other classes: these flag right labels.

    Parameters
    ----------
    k : int, default=10
        How many samples vote, the sample itself included; at least 3, at most n.
    min_similarity : float, default=0.0
        Similarity at which a vote has no weight.
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
        Where another class has more weight than the given one.
    soft_labels_ : (n, K) float64 array
        Rows of unit length.
    classes_ : (K,) array
    n_features_in_ : int

    References
    ----------
    .. [1] Zhu, Dong, Liu. "Detecting Corrupted Labels Without Training a Model to Predict", ICML 2022.

    Examples
    --------
    >>> X = [[1.0, 0.0], [0.9, 0.1], [0.8, 0.1], [0.0, 1.0], [0.1, 0.9], [0.1, 0.8]]
    >>> SimiFeatVote(k=3).fit(X, ["cat", "cat", "dog", "dog", "dog", "dog"]).is_issue_
    array([False, False,  True, False, False, False])
    """

    def __init__(
        self, *, k: int = 10, min_similarity: float = 0.0, memory_budget: str | int | None = "2GiB"
    ) -> None:
        self.k = k
        self.min_similarity = min_similarity
        self.memory_budget = memory_budget

    def _detect(self, features: FloatArray, labels: IntArray, n_classes: int) -> tuple[FloatArray, BoolArray]:
        soft, _ = self._soft(features, labels, canonical_order(features, labels, n_classes))
        return soft, vote_flags(soft, labels)


@DETECTORS.register(
    "simifeat_rank", Facts(title="SimiFeat, rank", inputs=("features",), year=2022, paper=_PAPER)
)
class SimiFeatRank(_SimiFeat):
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
