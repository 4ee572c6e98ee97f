"""Groups of rows that are linked by pairs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tamis.errors import InputError
from tamis.types import IntArray


def linked_groups(n: int, left: IntArray, right: IntArray) -> npt.NDArray[np.int64]:
    """Return for each of ``n`` rows the smallest row it is linked to, directly or through others.

    Parameters
    ----------
    n : int
    left, right : (p,) int arrays
        Pairs of linked rows; order and repetition do not matter.

    Returns
    -------
    numpy.ndarray
        (n,) int64; a row without links gets its own number.

    Raises
    ------
    InputError
        A pair names a row outside 0 to n - 1.

    Examples
    --------
    >>> import numpy as np
    >>> linked_groups(5, np.array([3, 4]), np.array([1, 3]))
    array([0, 1, 2, 1, 1])
    """
    if len(left) and (min(left.min(), right.min()) < 0 or max(left.max(), right.max()) >= n):
        raise InputError(f"pairs name rows outside 0 to {n - 1}; pass row numbers of one data set")
    root = np.arange(n, dtype=np.int64)
    while True:
        a, b = root[left], root[right]
        is_open = a != b
        if not is_open.any():
            return root
        left, right, a, b = left[is_open], right[is_open], a[is_open], b[is_open]
        # Each larger root is hung under a smaller one; then every path is shortened to its root.
        np.minimum.at(root, np.maximum(a, b), np.minimum(a, b))
        while (root != root[root]).any():
            root = root[root]


def number_groups(root: IntArray, *, order: IntArray | None = None) -> npt.NDArray[np.int64]:
    """Give the groups with two or more members numbers from 0; other rows get -1.

    Parameters
    ----------
    root : (n,) int array
        Any code shared by the members of a group and by no one else.
    order : (n,) int array, optional
        Groups are numbered by their member that comes first in this order (a rank per row, no two equal);
        by default by row number.

    Returns
    -------
    numpy.ndarray
        (n,) int64.

    Examples
    --------
    >>> import numpy as np
    >>> number_groups(np.array([7, 2, 7, 9, 2]))
    array([ 0,  1,  0, -1,  1])
    """
    n = len(root)
    _, codes, counts = np.unique(root, return_inverse=True, return_counts=True)
    rank = np.arange(n) if order is None else order
    first = np.full(len(counts), n, dtype=np.int64)
    np.minimum.at(first, codes, rank)
    first[counts < 2] = n
    number = np.empty(len(counts), dtype=np.int64)
    number[np.argsort(first, kind="stable")] = np.arange(len(counts))
    number[counts < 2] = -1
    return number[codes]
