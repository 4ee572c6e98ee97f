"""Exact duplicates: rows whose content has the same digest, and what is wrong with such groups."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tamis.detectors.issue_scores import GroupScores
from tamis.errors import InputError
from tamis.neighbors.components import number_groups
from tamis.types import FloatArray, IntArray


def duplicate_groups(digests: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Return a group number for every row whose content occurs more than once.

    Parameters
    ----------
    digests : (n, 2) uint64 array
        A 128-bit hash of each row's content; (0, 0) = unreadable, equal to nothing.

    Returns
    -------
    numpy.ndarray
        (n,) int64, -1 where the content is unique. Groups are numbered by digest, so that the numbers do not
        depend on the order of rows.

    Raises
    ------
    InputError
        ``digests`` is not (n, 2) uint64.

    Examples
    --------
    >>> import numpy as np
    >>> duplicate_groups(np.array([[1, 5], [1, 4], [1, 5], [0, 0], [0, 0]], dtype=np.uint64))
    array([ 0, -1,  0, -1, -1])
    """
    if digests.ndim != 2 or digests.shape[1] != 2 or digests.dtype != np.uint64:
        raise InputError(
            f"digests has shape {digests.shape} and dtype {digests.dtype}; pass (n, 2) uint64, a hash per row"
        )
    n = len(digests)
    order = np.lexsort(digests.T[::-1])
    ordered = digests[order]
    is_new = np.ones(n, dtype=bool)
    is_new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1) | ~ordered[1:].any(axis=1)
    code, rank = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    code[order] = np.cumsum(is_new) - 1
    rank[order] = np.arange(n)
    return number_groups(code, order=rank)


def exact_duplicates(digests: npt.NDArray[np.uint64]) -> GroupScores:
    """Return exact duplicates: score 0 where the content occurs more than once, else 1.

    Parameters
    ----------
    digests : (n, 2) uint64 array
        See `duplicate_groups`.

    Examples
    --------
    >>> import numpy as np
    >>> exact_duplicates(np.array([[1, 5], [1, 4], [1, 5]], dtype=np.uint64)).scores
    array([0., 1., 0.])
    """
    groups = duplicate_groups(digests)
    return GroupScores(np.where(groups >= 0, 0.0, 1.0), groups >= 0, groups)


def conflicting_duplicates(groups: IntArray, labels: IntArray) -> GroupScores:
    """Return duplicates that carry different labels.

    Parameters
    ----------
    groups : (n,) int array
        Group numbers of exact or near duplicates; negative = no group.
    labels : (n,) int array
        Label codes; negative = unlabelled: such rows conflict with nothing.

    Returns
    -------
    GroupScores
        The score is the share of the other labelled members that carry the row's label; every labelled member
        of a group with two labels is flagged (score below 1), and ``groups`` keeps only those.

    Raises
    ------
    InputError
        The arrays are not (n,) integers of one length.

    Examples
    --------
    >>> import numpy as np
    >>> conflicting_duplicates(np.array([0, 0, 0, 1, 1]), np.array([2, 2, 7, 3, 3])).scores
    array([0.5, 0.5, 0. , 1. , 1. ])
    """
    return _disagreement(groups, labels, "labels")


def split_leaks(groups: IntArray, splits: IntArray) -> GroupScores:
    """Return duplicates that lie in different splits, such as one copy in train and one in test.

    Parameters
    ----------
    groups : (n,) int array
        Group numbers of exact or near duplicates; negative = no group.
    splits : (n,) int array
        Split codes; negative = unknown: such rows leak into nothing.

    Returns
    -------
    GroupScores
        The score is the share of the other members with a split that lie in the row's own; every member of a
        group that spans splits is flagged (score below 1), and ``groups`` keeps only those.

    Raises
    ------
    InputError
        The arrays are not (n,) integers of one length.

    Examples
    --------
    >>> import numpy as np
    >>> split_leaks(np.array([0, 0, -1]), np.array([0, 1, 1])).is_issue
    array([ True,  True, False])
    """
    return _disagreement(groups, splits, "splits")


def _disagreement(groups: IntArray, codes: IntArray, name: str) -> GroupScores:
    groups, codes = np.asarray(groups), np.asarray(codes)
    for array, what in ((groups, "groups"), (codes, name)):
        if array.shape != (len(groups),) or not np.issubdtype(array.dtype, np.integer):
            raise InputError(
                f"{what} has shape {array.shape} and dtype {array.dtype}; pass ({len(groups)},) integer codes"
            )
    scores: FloatArray = np.ones(len(groups))
    member = np.flatnonzero((groups >= 0) & (codes >= 0))
    _, group, size = np.unique(groups[member], return_inverse=True, return_counts=True)
    pair = np.stack([group, codes[member]])
    _, same, n_same = np.unique(pair, axis=1, return_inverse=True, return_counts=True)
    others = size[group] - 1
    scores[member] = np.where(others > 0, (n_same[same] - 1) / np.maximum(others, 1), 1.0)
    is_issue = scores < 1.0
    return GroupScores(scores, is_issue, np.where(is_issue, groups, -1).astype(np.int64))
