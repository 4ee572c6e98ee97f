"""The order of one pass over the data, as a function of seed and epoch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from tamis.errors import InputError
from tamis.statistics.counter_draws import sample_words
from tamis.types import IntArray


def shuffled(indices: npt.ArrayLike, seed: int, epoch: int, *, cycle: int = 0) -> npt.NDArray[np.int64]:
    """Return indices in random order.

    The order of two samples depends on seed, epoch and their indices, and on no other sample: a selection
    is passed over in the order that it has in a pass over everything.

    Parameters
    ----------
    indices : (n,) int, at least 0
        Rows of the data set; how they are ordered has no part in the result.
    seed, epoch : int, at least 0
    cycle : int, default=0
        Number of the pass within the epoch, see `cycled`.

    Returns
    -------
    (n,) int64

    Raises
    ------
    InputError
        Indices that are no whole numbers of at least 0, or a seed or epoch out of range.

    Examples
    --------
    >>> order = shuffled([5, 2, 9], seed=0, epoch=3)
    >>> sorted(order.tolist())
    [2, 5, 9]
    >>> bool((shuffled([9, 5, 2], seed=0, epoch=3) == order).all())
    True
    """
    rows = checked_indices(indices)
    return rows[sample_words(rows, seed, epoch, "shuffled", cycle=cycle).argsort(kind="stable")]


def cycled(pass_order: Callable[[int], IntArray], length: int) -> npt.NDArray[np.int64]:
    """Return an order of a given length: one pass after the other, each with an order of its own.

    Parameters
    ----------
    pass_order : callable
        ``pass_order(cycle)`` is the order of pass 0, 1, ...
    length : int
        The last pass is cut off there.

    Returns
    -------
    (length,) int64

    Raises
    ------
    InputError
        ``length`` is negative, or a pass is empty and cannot fill it.

    Examples
    --------
    Two passes and a half over a small set, to keep step with a large one:

    >>> order = cycled(lambda cycle: shuffled([4, 7], seed=0, epoch=1, cycle=cycle), length=5)
    >>> [sorted(order[:2].tolist()), sorted(order[2:4].tolist()), len(order)]
    [[4, 7], [4, 7], 5]
    """
    if length < 0:
        raise InputError(f"length is {length}; expected at least 0")
    passes: list[npt.NDArray[np.int64]] = [np.empty(0, dtype=np.int64)]
    missing = length
    while missing > 0:
        order = checked_indices(pass_order(len(passes) - 1))[:missing]
        if not len(order):
            raise InputError(f"a pass has no samples to fill {length} with; select at least one sample")
        passes.append(order)
        missing -= len(order)
    return np.concatenate(passes)


def checked_indices(indices: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Return (n,) int64 indices.

    Raises
    ------
    InputError
        Another shape, no whole numbers, or a negative one.
    """
    rows = np.asarray(indices)
    if rows.size == 0 and rows.ndim == 1:
        return np.empty(0, dtype=np.int64)
    if rows.ndim != 1 or rows.dtype.kind not in "iu":
        raise InputError(
            f"indices has shape {rows.shape} and dtype {rows.dtype}; expected row numbers, shape (n,); of a"
            " mask: np.flatnonzero(mask)"
        )
    if rows.min() < 0:
        raise InputError(f"indices holds {rows.min()}; expected row numbers of at least 0")
    return rows.astype(np.int64)
