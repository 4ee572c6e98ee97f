"""Reference subsets: which rows stand for all where comparing everything with everything takes too long."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tamis.errors import InputError
from tamis.types import IntArray

EXACT_EFFORT = 200_000**2 * 256
"""Multiplications up to which every row is compared with every other (minutes on two cores)."""

_ROWS = 30_000
_ROWS_PER_CLASS = 50
_MOST_ROWS = 100_000


def choose_reference(n: int, d: int, *, n_classes: int = 1, effort: int = EXACT_EFFORT) -> int | None:
    """Return the size of the reference subset for a search, or None where an exact search is affordable.

    Parameters
    ----------
    n, d : int
        Rows and columns of the features.
    n_classes : int
        At least 50 rows per class are asked for, up to 100,000 rows in all.
    effort : int
        Exact search up to this many multiplications, ``n * n * d``; by default 200,000 rows of 256 columns.

    Returns
    -------
    int or None
        30,000 rows or more, so that the work grows in proportion to ``n``.

    Examples
    --------
    >>> choose_reference(50_000, 256) is None
    True
    >>> choose_reference(1_000_000, 256)
    30000
    """
    if n * n * d <= effort:
        return None
    return min(n, max(_ROWS, min(_ROWS_PER_CLASS * n_classes, _MOST_ROWS)))


def balanced_reference(
    labels: IntArray, keys: npt.NDArray[np.uint64], *, size: int, floor: int = 10
) -> npt.NDArray[np.int64]:
    """Choose rows with about equally many of each class, by content and not by position.

    Every class gives its rows with the smallest mixed keys, so that the choice is the same in any row order
    and for any class names. Rows without a label are not chosen.

    Parameters
    ----------
    labels : (n,) int array
        Class codes; negative = no label.
    keys : (n,) or (n, 2) uint64 array
        A key of each row's content, such as its digest; rows with equal keys are taken in row order.
    size : int
        Rows wanted. Fewer come back where there are not enough labelled rows, or where the size does not
        divide evenly; more only to honour ``floor``.
    floor : int
        Every class gives at least ``min(its size, floor)`` rows.

    Returns
    -------
    numpy.ndarray
        Chosen row numbers, ascending.

    Raises
    ------
    InputError
        ``size`` or ``floor`` is below 1, or the arrays do not match.

    Examples
    --------
    >>> import numpy as np
    >>> labels = np.array([0] * 95 + [1] * 5)
    >>> rows = balanced_reference(labels, np.arange(100, dtype=np.uint64), size=25)
    >>> np.bincount(labels[rows])
    array([20,  5])
    """
    labels, keys = np.asarray(labels), np.asarray(keys)
    n = len(labels)
    if size < 1 or floor < 1:
        raise InputError(f"size is {size} and floor is {floor}; both must be at least 1")
    if labels.shape != (n,) or not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"labels has shape {labels.shape} and dtype {labels.dtype}; pass (n,) integer codes")
    if keys.dtype != np.uint64 or keys.shape not in {(n,), (n, 2)}:
        raise InputError(
            f"keys has shape {keys.shape} and dtype {keys.dtype}; "
            f"pass ({n},) or ({n}, 2) uint64, one key per row"
        )
    rows = np.flatnonzero(labels >= 0)
    _, codes, counts = np.unique(labels[rows], return_inverse=True, return_counts=True)
    quota = np.minimum(counts, max(floor, _level(counts, size)))
    order = np.lexsort([*np.atleast_2d(keys[rows].T)[::-1], _mix(keys[rows]), codes])
    # Place of each row inside its class, in the order above.
    place = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    chosen = rows[order][place < quota[codes[order]]]
    return np.sort(chosen).astype(np.int64)


def _level(counts: IntArray, size: int) -> int:
    """Return the largest number of rows per class whose total over all classes stays within ``size``."""
    ordered = np.sort(counts)
    taken = 0
    for place, count in enumerate(ordered):
        share = (size - taken) // (len(ordered) - place)
        if share < count:
            return int(share)
        taken += int(count)
    return int(ordered[-1]) if len(ordered) else 0


def _mix(keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Scatter keys over all 64 bits (the finaliser of splitmix64), so that counters serve as keys too."""
    mixed = np.zeros(len(keys), dtype=np.uint64)
    for column in np.atleast_2d(keys.T):
        mixed = (mixed ^ column) + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed = mixed ^ (mixed >> np.uint64(31))
    return mixed
