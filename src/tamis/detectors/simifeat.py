"""What both forms of SimiFeat share: the distances to the nearest samples, and the soft labels they give."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import numpy.typing as npt
import torch

from tamis.detectors.base import FeatureDetector, Verdict
from tamis.detectors.canonical_order import CanonicalOrder
from tamis.detectors.consensus_draws import check_at_least
from tamis.errors import InputError
from tamis.memory_budget import parse_memory_budget, rows_per_block
from tamis.neighbors import Neighbors, nearest_neighbors
from tamis.neighbors.vectors import fixed_order_sum
from tamis.statistics.simifeat import similarity_soft_labels, vote_flags
from tamis.types import BoolArray, FloatArray, IntArray

PAPER = "Zhu, Dong, Liu: Detecting Corrupted Labels Without Training a Model to Predict, ICML 2022"
"""For the facts of both detectors."""


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


class SimiFeat(FeatureDetector):
    """What `SimiFeatVote` and `SimiFeatRank` share: the search and the soft labels."""

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
