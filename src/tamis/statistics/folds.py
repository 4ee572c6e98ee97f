"""Cross-validation folds: balanced per class, groups never split, a function of canonical order alone."""

from __future__ import annotations

import numpy as np

from tamis.errors import InputError
from tamis.types import IntArray


def assign_folds(codes: IntArray, groups: IntArray, n_folds: int = 5) -> IntArray:
    """Assign each row to a fold; rows of one group share it, classes are spread evenly.

    Parameters
    ----------
    codes : (n,) int
        Label codes of rows in canonical order; -1 = unlabelled.
    groups : (n,) int
        Group codes; -1 = a group of its own.
    n_folds : int
        At least 2.

    Returns
    -------
    (n,) int64
        Fold of each row, in [0, n_folds).

    Raises
    ------
    InputError
        If ``n_folds`` is below 2.

    Notes
    -----
    Groups are dealt out class by class (the class of a group is its highest code, in canonical order the
    smallest class), like cards, each class starting where the last one ended. So folds differ by at most one
    group, and each class by at most one of the groups that count as its own.

    Examples
    --------
    >>> assign_folds(np.array([0, 0, 1, 1]), np.array([-1, -1, 5, 5]), 2)
    array([0, 1, 0, 0])
    """
    if n_folds < 2:
        raise InputError(f"n_folds is {n_folds}; at least 2 are needed to score rows out of sample")
    n = len(codes)
    alone = groups < 0
    # Rows without a group get codes beyond all the others.
    keys = np.where(alone, np.arange(n) + (groups.max(initial=-1) + 1), groups)
    _, leader, member_of = np.unique(keys, return_index=True, return_inverse=True)
    group_class = np.full(len(leader), -1, dtype=np.int64)
    np.maximum.at(group_class, member_of, codes)
    order = np.lexsort((leader, group_class))
    fold_of_group = np.empty(len(leader), dtype=np.int64)
    fold_of_group[order] = np.arange(len(leader)) % n_folds
    return np.asarray(fold_of_group[member_of])
