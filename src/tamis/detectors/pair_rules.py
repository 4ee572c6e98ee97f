"""What two views of a sample say: whether they belong together, which label both support."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tamis.detectors.canonical_order import canonical_order
from tamis.detectors.unit_rows import unit_rows
from tamis.errors import InputError
from tamis.neighbors import nearest_neighbors, neighbor_vote
from tamis.statistics.pair_alignment import checked_pair
from tamis.types import BoolArray, FloatArray, IntArray

IGNORED = -1
"""Label of a row that is left out of training."""


class PairVotes(NamedTuple):
    """Shares of the classes among the neighbours, (n, K) float32 each.

    Attributes
    ----------
    joint : by both views at once
    first, second : by one view
    """

    joint: FloatArray
    first: FloatArray
    second: FloatArray


def pair_consistency(features: npt.ArrayLike, second_features: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the cosine of the two views of every sample, (n,) float64 in [-1, 1]; 0 for a view of zeros.

    Examples
    --------
    >>> pair_consistency([[1.0, 0.0], [0.0, 2.0]], [[3.0, 0.0], [1.0, 1.0]]).round(3)
    array([1.   , 0.707])
    """
    first, second = checked_pair(features, second_features)
    if first.shape[1] != second.shape[1]:
        raise InputError(
            f"features has {first.shape[1]} columns, second_features {second.shape[1]}: not one space; give "
            "align= to fit maps into one, or embeddings of one model"
        )
    cosines = np.empty(len(first))
    for start in range(0, len(first), 65_536):
        part = slice(start, start + 65_536)
        cosines[part] = (unit_rows(first[part]) * unit_rows(second[part])).sum(axis=1)
    return np.clip(cosines, -1.0, 1.0, out=cosines)


def pair_votes(
    features: FloatArray,
    second_features: FloatArray,
    labels: IntArray,
    n_classes: int,
    *,
    weights: FloatArray,
    n_neighbors: int = 15,
    memory_budget: str | int | None = "2GiB",
) -> PairVotes:
    """Let the neighbours vote, by both views at once and by each alone.

    Parameters
    ----------
    features, second_features : (n, d1), (n, d2) float
    labels : (n,) int
    n_classes : int
    weights : (n,) float
        Weight of each row's vote: the probability that its pair belongs together.
    n_neighbors : int, default=15
    memory_budget : str, int or None
    """
    views = [unit_rows(features), unit_rows(second_features)]
    # By copies, not by rows: a sample and its copy are one witness.
    order = canonical_order(np.concatenate([features, second_features], axis=1), labels, n_classes)
    groups = order.copies()
    votes = []
    for matrix in (np.concatenate(views, axis=1), *views):
        found = nearest_neighbors(
            matrix.astype(np.float32),
            k=min(n_neighbors, len(matrix) - 1),
            query_groups=groups,
            tie_keys=order.tie_keys,
            allow_zero=True,
            memory_budget=memory_budget,
        )
        votes.append(neighbor_vote(found.indices, found.similarities, labels, n_classes, trust=weights))
    return PairVotes(*votes)


def correct_labels(
    votes: PairVotes, labels: IntArray, *, least_share: float = 0.6
) -> tuple[IntArray, BoolArray]:
    """Return the label that both views support, and where they do.

    Parameters
    ----------
    votes : PairVotes
    labels : (n,) int
        Given; they win ties.
    least_share : float, default=0.6
        Share of the joint vote that a label must exceed, 0.5 to 0.7 by the source.

    Returns
    -------
    corrected : (n,) int64 array
        The given label where the views do not agree.
    is_supported : (n,) bool array
        Both views and the joint vote have the same favourite, with more than ``least_share`` of the joint.

    Examples
    --------
    >>> share = np.array([[0.1, 0.9], [0.9, 0.1]])
    >>> correct_labels(PairVotes(share, share, share[::-1]), np.array([0, 0]))
    (array([0, 0]), array([False, False]))
    """
    if not 0 <= least_share < 1:
        raise InputError(f"least_share is {least_share}; expected 0 or more and below 1, such as 0.6")
    favourites = [_favourite(each, labels) for each in votes]
    share = votes.joint.max(axis=1)
    is_supported = (favourites[0] == favourites[1]) & (favourites[0] == favourites[2]) & (share > least_share)
    corrected: IntArray = np.where(is_supported, favourites[0], labels)
    return corrected, is_supported


def training_labels(votes: PairVotes, labels: IntArray, *, least_share: float = 0.6) -> IntArray:
    """Return the label to train with, (n,) int64.

    The given one where the joint vote confirms it, the corrected one where both views agree on another,
    `IGNORED` elsewhere.
    """
    corrected, is_supported = correct_labels(votes, labels, least_share=least_share)
    is_confirmed = _favourite(votes.joint, labels) == labels
    chosen: IntArray = np.where(is_confirmed, labels, np.where(is_supported, corrected, IGNORED))
    return chosen


def _favourite(votes: FloatArray, labels: IntArray) -> IntArray:
    best = votes.max(axis=1)
    favourite: IntArray = np.where(
        votes[np.arange(len(labels)), labels] >= best, labels, votes.argmax(axis=1)
    )
    return favourite
