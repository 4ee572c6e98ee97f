"""Near duplicates: rows much closer to each other than the data's own density explains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tamis.detectors.issue_scores import GroupScores
from tamis.errors import InputError
from tamis.neighbors.components import linked_groups, number_groups
from tamis.types import BoolArray, FloatArray, IntArray

_SCALE_NEIGHBORS = 10
_FLOOR = 0.2
_HALVINGS = 7
# A float32 similarity is known to about this much: closer rows are not closer for all we know.
_RESOLUTION = 2.5e-7


@dataclass(frozen=True)
class _Pairs:
    """Directed neighbour pairs and their distance relative to the local scale."""

    left: IntArray
    right: IntArray
    ratio: FloatArray


def near_duplicates(
    indices: IntArray,
    similarities: FloatArray,
    *,
    exact_groups: IntArray | None = None,
    tie_keys: npt.NDArray[np.uint64] | None = None,
    closeness: float = 0.3,
    chance: float = 1e-5,
    max_group: int = 100,
) -> GroupScores:
    """Find near duplicates from the nearest neighbours of every row.

    The scale of a row is its distance ``1 - similarity`` to its 10th neighbour (at least a fifth of the
    median of all rows). Two rows are near duplicates if their distance is below ``closeness`` times the
    smaller scale of the two. Where features have few intrinsic dimensions such pairs occur by chance: the
    limit is lowered until chance gives less than one row in ``1 / chance``. Not for fewer than some 20 rows.

    Parameters
    ----------
    indices, similarities : (n, k) arrays, k >= 4
        Neighbours of each row among the same n rows, best first (`tamis.neighbors.nearest_neighbors`), best
        with exact duplicates as groups; k = 10 or more gives the scale above, less a smaller one.
    exact_groups : (n,) int array, optional
        Groups of exact duplicates; ``groups`` then joins both kinds.
    tie_keys : (n,) or (n, 2) uint64 array, optional
        A key of each row's content: groups are numbered by it, so that numbers do not depend on row order.
    closeness : float
        In (0, 1). At 0.3, with the built-in image encoder, most flips, re-compressions and crops by one
        pixel of 32 are found, and nearly all pairs found in CIFAR-10 are real.
    chance : float
        In (0, 1).
    max_group : int
        Larger groups are chains of pairs more often than duplicates: they are split by halving their limit,
        up to 7 times.

    Returns
    -------
    GroupScores
        With r = smallest distance / scale over the pairs of a row, the score is ``1 - 2 ** (-r / limit)``:
        0 = no distance (to within 2.5e-7), 0.5 = at the limit, rising towards 1. Rows in a near-duplicate
        group are flagged; exact copies alone are not.

    Raises
    ------
    InputError
        Shapes do not match, k is below 4, or a parameter is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from tamis.neighbors import nearest_neighbors
    >>> rows = np.random.default_rng(0).normal(size=(200, 32))
    >>> rows[7] = rows[3] + 0.01
    >>> found = nearest_neighbors(rows, k=10)
    >>> np.flatnonzero(near_duplicates(found.indices, found.similarities).is_issue)
    array([3, 7])
    """
    _check(indices, similarities, closeness, chance)
    n = len(indices)
    distances = np.where(indices >= 0, np.maximum(1.0 - similarities.astype(np.float64), 0.0), np.inf)
    distances += _RESOLUTION
    pairs = _relative(indices, distances)
    limit = min(closeness, _chance_limit(distances, chance))
    best = np.full(n, np.inf)
    np.minimum.at(best, pairs.left, pairs.ratio)
    np.minimum.at(best, pairs.right, pairs.ratio)
    linked = _without_chains(n, pairs, limit, max_group)
    left, right = pairs.left[linked], pairs.right[linked]
    is_issue = np.zeros(n, dtype=bool)
    is_issue[left] = is_issue[right] = True
    root = _joined(n, left, right, exact_groups)
    order = None if tie_keys is None else np.argsort(np.lexsort(np.atleast_2d(tie_keys.T)[::-1]))
    return GroupScores(1.0 - np.exp2(-best / limit), is_issue, number_groups(root, order=order))


def _relative(indices: IntArray, distances: FloatArray) -> _Pairs:
    """Return all pairs with their distance divided by the smaller scale of the two rows."""
    width = min(_SCALE_NEIGHBORS, indices.shape[1])
    near = distances[:, :width]
    # The last neighbour there is: rows of small data sets may have fewer.
    scale = np.max(np.where(np.isfinite(near), near, 0.0), axis=1, initial=0.0)
    positive = scale[scale > 0]
    scale = np.maximum(scale, _FLOOR * np.median(positive) if len(positive) else 0.0)
    left, place = np.nonzero(indices >= 0)
    right = indices[left, place]
    # A row that others list but that has no neighbours itself has no scale: the other's is used.
    smaller = np.minimum(scale[left], np.where(scale[right] > 0, scale[right], np.inf))
    return _Pairs(left, right, distances[left, place] / smaller)


def _chance_limit(distances: FloatArray, chance: float) -> float:
    """Return the ratio of first to last distance below which ``chance`` of the rows lie without duplicates.

    With points spread evenly in m dimensions, u = (distance_j / distance_w) ** (m / 2) is the j-th smallest
    of w - 1 uniform numbers. The median of u for j = w / 2 is 1 / 2, which gives m from the middle neighbour:
    a few copies of each row, the closest neighbours, do not disturb it.
    """
    width = min(_SCALE_NEIGHBORS, distances.shape[1]) // 2 * 2
    middle, last = distances[:, width // 2 - 1], distances[:, width - 1]
    usable = np.isfinite(last)
    typical = float(np.median(middle[usable] / last[usable])) if usable.any() else 1.0
    if typical == 1.0:
        return 1.0
    half_dimension = np.log(0.5) / np.log(typical)
    lowest = -np.expm1(np.log1p(-chance) / (width - 1))
    return float(lowest ** (1.0 / half_dimension))


def _without_chains(n: int, pairs: _Pairs, limit: float, max_group: int) -> BoolArray:
    """Return which pairs link their rows; groups above ``max_group`` get ever smaller limits."""
    is_linked: BoolArray = pairs.ratio < limit
    for halving in range(1, _HALVINGS + 1):
        root = linked_groups(n, pairs.left[is_linked], pairs.right[is_linked])
        is_chain = np.bincount(root, minlength=n)[root] > max_group
        if not is_chain.any():
            break
        is_linked &= ~is_chain[pairs.left] | (pairs.ratio < limit * 0.5**halving)
    return is_linked


def _joined(n: int, left: IntArray, right: IntArray, exact_groups: IntArray | None) -> IntArray:
    """Return a root per row over near-duplicate pairs and, where given, groups of exact duplicates."""
    if exact_groups is not None:
        member = np.flatnonzero(np.asarray(exact_groups) >= 0)
        _, first, code = np.unique(exact_groups[member], return_index=True, return_inverse=True)
        left = np.concatenate([left, member])
        right = np.concatenate([right, member[first[code]]])
    return linked_groups(n, left, right)


def _check(indices: IntArray, similarities: FloatArray, closeness: float, chance: float) -> None:
    if indices.ndim != 2 or indices.shape != similarities.shape or indices.shape[1] < 4:
        raise InputError(
            f"indices has shape {indices.shape} and similarities {similarities.shape}; "
            "pass both (n, k) arrays of one search with k >= 4"
        )
    if indices.size and indices.max() >= len(indices):
        raise InputError(
            f"indices goes up to {indices.max()} but there are {len(indices)} rows; "
            "pass a search among the rows themselves"
        )
    for value, name in ((closeness, "closeness"), (chance, "chance")):
        if not 0.0 < value < 1.0:
            raise InputError(f"{name} is {value}; it must lie between 0 and 1")
