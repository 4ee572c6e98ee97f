"""Where the relevant items of each query stand: all that a measure of retrieval needs to know."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tamis.errors import InputError
from tamis.types import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class RelevantLevels:
    """The levels of similarity that hold a relevant item, for a number of queries.

    Items that are equally similar to a query share a level. Without ties a level is one relevant item, and
    ``above`` is its rank less one. Measures count a tie as if its order were drawn at random.

    Attributes
    ----------
    n_relevant : (n,) int64
        Relevant items of each query, found or not.
    query : (m,) int64
        The query that each level belongs to, 0 to n - 1, ascending.
    above : (m,) int64
        Items more similar than the level, ascending within a query.
    size : (m,) int64
        Items on the level.
    relevant : (m,) int64
        Relevant items on the level, at least 1.
    """

    n_relevant: npt.NDArray[np.int64]
    query: npt.NDArray[np.int64]
    above: npt.NDArray[np.int64]
    size: npt.NDArray[np.int64]
    relevant: npt.NDArray[np.int64]

    def relevant_above(self) -> npt.NDArray[np.int64]:
        """Return, for each level, the relevant items of its query on the levels before it, (m,)."""
        total = np.cumsum(self.relevant)
        before = total - self.relevant
        first = self.first()
        return before - np.repeat(before[first], np.diff(first, append=len(before)))

    def first(self) -> npt.NDArray[np.int64]:
        """Return the place of the first level of each query that has one."""
        return np.flatnonzero(np.diff(self.query, prepend=-1))

    def take(self, chosen: BoolArray) -> RelevantLevels:
        """Return the levels of some queries, which are numbered anew."""
        number = np.cumsum(chosen) - 1
        kept = chosen[self.query]
        return RelevantLevels(
            self.n_relevant[chosen],
            number[self.query[kept]],
            self.above[kept],
            self.size[kept],
            self.relevant[kept],
        )


def levels_of_ranking(
    is_relevant: npt.ArrayLike,
    similarities: FloatArray | None = None,
    n_relevant: IntArray | None = None,
    rest: FloatArray | None = None,
) -> RelevantLevels:
    """Return the levels of ranked lists, one row a query, best first.

    Parameters
    ----------
    is_relevant : (n, k) bool
        Whether the item at each rank is relevant.
    similarities : (n, k) float, optional
        Falling along each row; equal values tie, -inf is no item. By default nothing ties.
    n_relevant : (n,) int, optional
        Relevant items in the gallery; by default those in the list.
    rest : (n,) float, optional
        The largest similarity that an item outside of the list can have. Levels down there, which may go on
        outside of the list, are left out; by default nothing is outside.

    Raises
    ------
    InputError
        Shapes do not fit, or similarities rise.

    Examples
    --------
    >>> levels = levels_of_ranking([[False, True, True]], np.array([[0.9, 0.5, 0.5]]))
    >>> levels.above, levels.size, levels.relevant
    (array([1]), array([2]), array([2]))
    """
    hits = np.asarray(is_relevant, dtype=np.bool_)
    if hits.ndim != 2 or (similarities is not None and similarities.shape != hits.shape):
        shape = None if similarities is None else similarities.shape
        raise InputError(
            f"is_relevant has shape {hits.shape} and similarities {shape}; pass two (queries, ranks) arrays"
        )
    n, k = hits.shape
    counts = hits.sum(axis=1) if n_relevant is None else np.asarray(n_relevant)
    if counts.shape != (n,):
        raise InputError(f"n_relevant has shape {counts.shape}; pass ({n},) counts, one per row of the list")
    if k == 0:
        nothing = np.zeros(0, dtype=np.int64)
        return RelevantLevels(counts.astype(np.int64), nothing, nothing, nothing, nothing)
    values = (
        np.broadcast_to(-np.arange(k, dtype=np.float64), (n, k)) if similarities is None else similarities
    )
    if (values[:, 1:] > values[:, :-1]).any() or np.isnan(values).any():
        raise InputError("similarities rise within a row or hold NaN; pass each row sorted, best first")
    is_start = np.ones((n, k), dtype=np.bool_)
    is_start[:, 1:] = values[:, 1:] != values[:, :-1]
    start = np.flatnonzero(is_start)
    level = np.cumsum(is_start.reshape(-1)) - 1
    size = np.diff(start, append=n * k)
    relevant = np.bincount(level[hits.reshape(-1)], minlength=len(start))
    floor = np.full(n, -np.inf) if rest is None else rest
    keep = (relevant > 0) & (values.reshape(-1)[start] > floor[start // k])
    start = start[keep]
    return RelevantLevels(counts.astype(np.int64), start // k, start % k, size[keep], relevant[keep])
