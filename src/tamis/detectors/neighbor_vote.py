"""Suspicion: the nearest samples carry another label."""

from __future__ import annotations

from numbers import Integral

import numpy as np
import torch

from tamis.data.digests import feature_digests
from tamis.detectors.base import DETECTORS, FeatureDetector, Verdict, most_likely
from tamis.detectors.exact_duplicates import duplicate_groups
from tamis.errors import InputError
from tamis.neighbors import nearest_neighbors, neighbor_vote
from tamis.registry import Facts
from tamis.types import FloatArray, IntArray


@DETECTORS.register(
    "neighbor_vote",
    Facts(
        title="Neighbour vote",
        inputs=("features",),
        year=1972,
        paper="Wilson: Asymptotic properties of nearest neighbor rules, IEEE Trans. SMC 2(3)",
    ),
)
class NeighborVote(FeatureDetector):
    """Clean score = weighted share of the nearest neighbours that carry the given label.

    Neighbours are exact, by cosine similarity; copies of a sample (equal features) do not vote for it. For
    embeddings of a pretrained encoder, or any features in which near means alike. Not for raw columns of
    different scale (standardise them first), nor for classes with fewer samples than half of
    ``n_neighbors``: these are outvoted.

    Parameters
    ----------
    n_neighbors : int, default=30
        At least 1. With fewer other samples all of them vote.
    temperature : float or None, default=0.1
        A neighbour whose similarity is lower than the best by ``d`` votes with weight
        ``exp(-d / temperature)``; None gives all the same weight.
    memory_budget : str, int or None, default="2GiB"
        Memory for the search beside the features.

    Attributes
    ----------
    clean_scores_ : (n,) float64 array in [0, 1]
        0 = no neighbour agrees, 1 = all agree.
    suggested_labels_ : (n,) array in the type of ``y``
        The label with the largest share.
    votes_ : (n, K) float32 array
        Shares of all labels, rows sum to 1.
    classes_ : (K,) array
    n_features_in_ : int

    References
    ----------
    .. [1] D. L. Wilson. "Asymptotic properties of nearest neighbor rules using edited data",
       IEEE Transactions on Systems, Man, and Cybernetics 2(3), 1972.

    Examples
    --------
    >>> X = [[1.0, 0.0], [0.9, 0.1], [0.8, 0.1], [0.0, 1.0], [0.1, 0.9], [0.1, 0.8]]
    >>> detector = NeighborVote(n_neighbors=2).fit(X, ["cat", "cat", "dog", "dog", "dog", "dog"])
    >>> detector.clean_scores_.argmin(), detector.suggested_labels_[2]
    (np.int64(2), np.str_('cat'))
    """

    votes_: FloatArray

    def __init__(
        self,
        *,
        n_neighbors: int = 30,
        temperature: float | None = 0.1,
        memory_budget: str | int | None = "2GiB",
    ) -> None:
        self.n_neighbors = n_neighbors
        self.temperature = temperature
        self.memory_budget = memory_budget

    def _assess(self, features: FloatArray, labels: IntArray, n_classes: int) -> Verdict:
        if not isinstance(self.n_neighbors, Integral) or self.n_neighbors < 1:
            raise InputError(f"n_neighbors is {self.n_neighbors!r}; expected a whole number of at least 1")
        digests = feature_digests(features)
        found = nearest_neighbors(
            features,
            k=min(int(self.n_neighbors), len(features) - 1),
            query_groups=duplicate_groups(digests),
            tie_keys=digests,
            allow_zero=True,
            memory_budget=self.memory_budget,
        )
        self.votes_ = neighbor_vote(
            found.indices,
            found.similarities,
            labels,
            n_classes,
            temperature=self.temperature,
            memory_budget=self.memory_budget,
        )
        scores = self.votes_[np.arange(len(labels)), labels].astype(np.float64)
        return Verdict(scores, most_likely(torch.from_numpy(labels), torch.from_numpy(self.votes_)))
