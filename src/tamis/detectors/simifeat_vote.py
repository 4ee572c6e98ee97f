"""Suspicion: the most similar samples vote for another class (SimiFeat-V)."""

from __future__ import annotations

from tamis.detectors.base import DETECTORS
from tamis.detectors.canonical_order import canonical_order
from tamis.detectors.simifeat import PAPER, SimiFeat
from tamis.registry import Facts
from tamis.statistics.simifeat import vote_flags
from tamis.types import BoolArray, FloatArray, IntArray


@DETECTORS.register(
    "simifeat_vote", Facts(title="SimiFeat, vote", inputs=("features",), year=2022, paper=PAPER)
)
class SimiFeatVote(SimiFeat):
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
