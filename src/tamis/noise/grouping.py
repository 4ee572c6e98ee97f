"""k-means with draws that are given: the groups of small-cluster noise."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tamis.types import IntArray

_MAX_ROUNDS = 100
_BLOCK_CELLS = 4_000_000

Points = npt.NDArray[np.float64]


def k_means(points: Points, draws: npt.NDArray[np.float64]) -> IntArray:
    """Return the group of every point: k-means++ and Lloyd's rounds until nothing changes.

    Parameters
    ----------
    points : (n, d) float64
        At least one.
    draws : (k,) float
        Uniform in [0, 1): the random choice of each of the first centres.

    Returns
    -------
    (n,) int64
        Below k; fewer groups come out where fewer points differ, or a group loses all its points.

    References
    ----------
    .. [1] D. Arthur, S. Vassilvitskii, "k-means++: the advantages of careful seeding", SODA 2007.

    Examples
    --------
    >>> groups = k_means(np.array([[0.0], [0.1], [5.0], [5.1]]), np.array([0.0, 0.5]))
    >>> bool(groups[0] == groups[1] != groups[2] == groups[3])
    True
    """
    # Distances are differences of squares: the origin should not be far away.
    points = points - points.mean(axis=0)
    centres = _first_centres(points, draws)
    groups = _nearest(points, centres)
    for _ in range(_MAX_ROUNDS):
        order = np.argsort(groups, kind="stable")
        used, starts, sizes = np.unique(groups[order], return_index=True, return_counts=True)
        centres[used] = np.add.reduceat(points[order], starts, axis=0) / sizes[:, None]
        moved = _nearest(points, centres)
        if np.array_equal(moved, groups):
            break
        groups = moved
    return groups


def _first_centres(points: Points, draws: npt.NDArray[np.float64]) -> Points:
    """Return up to k different points, far ones with a higher chance (k-means++)."""
    squares = (points**2).sum(axis=1)
    # Below this a squared distance is rounding: the points are equal.
    least = 64 * np.finfo(np.float64).eps * float(squares.max())
    chosen = [min(int(draws[0] * len(points)), len(points) - 1)]
    distance = np.full(len(points), np.inf)
    for draw in draws[1:]:
        row = chosen[-1]
        np.minimum(distance, squares - 2 * (points @ points[row]) + squares[row], out=distance)
        distance[distance <= least] = 0
        cumulative = np.cumsum(distance)
        if cumulative[-1] <= 0:
            break
        row = int(np.searchsorted(cumulative, draw * cumulative[-1], side="right"))
        # Rounding may lift the product to the total: the last point at a distance, then.
        row = min(row, int(np.searchsorted(cumulative, cumulative[-1], side="left")))
        chosen.append(row)
    return points[chosen]


def _nearest(points: Points, centres: Points) -> IntArray:
    half_squares = (centres**2).sum(axis=1) / 2
    step = max(1, _BLOCK_CELLS // len(centres))
    starts = range(0, len(points), step)
    return np.concatenate(
        [np.argmin(half_squares - points[start : start + step] @ centres.T, axis=1) for start in starts]
    )
