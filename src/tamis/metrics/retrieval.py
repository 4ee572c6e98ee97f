"""Measures of retrieval, one value a query, from the levels on which its relevant items stand.

Every function returns (n,) float64, NaN for a query without a relevant item in the gallery. Where items are
equally similar, the value is the one expected if the order within each tie were drawn at random.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln

from tamis.errors import InputError
from tamis.metrics.relevant_levels import RelevantLevels
from tamis.types import IntArray

Values = npt.NDArray[np.float64]


def hit_at_k(levels: RelevantLevels, k: int) -> Values:
    """Return the chance that one of the first ``k`` items is relevant: R@k of metric learning, CMC at k.

    Without ties 0 or 1. The share of the relevant items found, which information retrieval calls recall, is
    ``precision_at_k(levels, k) * k / levels.n_relevant``.

    Parameters
    ----------
    levels : RelevantLevels
    k : int, at least 1

    Raises
    ------
    InputError
        ``k`` is below 1.

    Examples
    --------
    >>> from tamis.metrics.relevant_levels import levels_of_ranking
    >>> hit_at_k(levels_of_ranking([[False, True, True]]), k=2)
    array([1.])
    """
    values = _nothing(levels)
    first = levels.first()
    above, size, relevant = levels.above[first], levels.size[first], levels.relevant[first]
    taken = np.clip(_rank(k) - above, 0, size)
    other = size - relevant
    # All of the taken ones are among the others: C(other, taken) / C(size, taken).
    left = np.maximum(other - taken, 0)
    log_miss = gammaln(other + 1) - gammaln(left + 1) - gammaln(size + 1) + gammaln(size - taken + 1)
    values[levels.query[first]] = np.where(taken > other, 1.0, -np.expm1(np.minimum(log_miss, 0.0)))
    return values


def precision_at_k(levels: RelevantLevels, k: int) -> Values:
    """Return the share of relevant items among the first ``k``.

    A gallery of fewer than ``k`` items counts as if irrelevant ones followed.

    Parameters
    ----------
    levels : RelevantLevels
    k : int, at least 1

    Raises
    ------
    InputError
        ``k`` is below 1.

    Examples
    --------
    >>> from tamis.metrics.relevant_levels import levels_of_ranking
    >>> precision_at_k(levels_of_ranking([[False, True, True]]), k=2)
    array([0.5])
    """
    return _found(levels, np.full(len(levels.n_relevant), _rank(k))) / k


def r_precision(levels: RelevantLevels) -> Values:
    """Return the share of relevant items among the first R, for a query with R relevant items.

    Parameters
    ----------
    levels : RelevantLevels

    Examples
    --------
    >>> from tamis.metrics.relevant_levels import levels_of_ranking
    >>> r_precision(levels_of_ranking([[False, True, True]]))
    array([0.5])
    """
    return _found(levels, levels.n_relevant) / np.maximum(levels.n_relevant, 1)


def average_precision(levels: RelevantLevels, k: int | None = None) -> Values:
    """Return the sum of precision at the rank of each relevant item among the first ``k``, divided by R.

    So a list of ``k`` < R items cannot reach 1. Without ``k`` the whole ranking counts.

    Parameters
    ----------
    levels : RelevantLevels
    k : int, optional
        At least 1.

    Raises
    ------
    InputError
        ``k`` is below 1.

    References
    ----------
    McSherry, Najork (2008): Computing information retrieval performance measures efficiently in the presence
    of tied scores, ECIR (the expected value over the orders of a tie).

    Examples
    --------
    >>> from tamis.metrics.relevant_levels import levels_of_ranking
    >>> average_precision(levels_of_ranking([[True, False, True]]))
    array([0.83333333])
    """
    cut = np.iinfo(np.int64).max if k is None else _rank(k)
    return _average_precision(levels, np.full(len(levels.n_relevant), cut))


def average_precision_at_r(levels: RelevantLevels) -> Values:
    """Return the average precision among the first R items; its mean over queries is MAP@R.

    Parameters
    ----------
    levels : RelevantLevels

    References
    ----------
    Musgrave, Belongie, Lim (2020): A metric learning reality check, ECCV, section 3.2.

    Examples
    --------
    >>> from tamis.metrics.relevant_levels import levels_of_ranking
    >>> average_precision_at_r(levels_of_ranking([[True, False, True]]))
    array([0.5])
    """
    return _average_precision(levels, levels.n_relevant)


def reciprocal_rank(levels: RelevantLevels) -> Values:
    """Return 1 / rank of the first relevant item, 0 where none was found.

    Parameters
    ----------
    levels : RelevantLevels

    Examples
    --------
    >>> from tamis.metrics.relevant_levels import levels_of_ranking
    >>> reciprocal_rank(levels_of_ranking([[False, True, True]]))
    array([0.5])
    """
    values = _nothing(levels)
    first = levels.first()
    places = np.stack([levels.above[first], levels.size[first], levels.relevant[first]], axis=1)
    # Queries often share their tie: a network that collapsed has one for all queries of a class.
    unique, inverse = np.unique(places, axis=0, return_inverse=True)
    expected = 1.0 / (unique[:, 0] + 1.0)
    for i in np.flatnonzero(unique[:, 1] > 1):
        expected[i] = _expected_reciprocal(*map(int, unique[i]))
    values[levels.query[first]] = expected[inverse.reshape(-1)]
    return values


def _rank(k: int) -> int:
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise InputError(f"k is {k!r}; it must be a whole number of items, at least 1")
    return int(k)


def _nothing(levels: RelevantLevels) -> Values:
    return np.where(levels.n_relevant > 0, 0.0, np.nan)


def _found(levels: RelevantLevels, cut: IntArray) -> Values:
    """Return the relevant items among the first ``cut`` ones of each query."""
    taken = np.clip(cut[levels.query] - levels.above, 0, levels.size)
    found = np.bincount(levels.query, levels.relevant / levels.size * taken, minlength=len(cut))
    return found + _nothing(levels)


def _average_precision(levels: RelevantLevels, cut: IntArray) -> Values:
    above, size = levels.above, levels.size
    taken = np.clip(cut[levels.query] - above, 0, size)
    # Place j of a tie of t items, r of them relevant, holds a relevant one with chance r / t. Before it come
    # then a of earlier levels and (j - 1) (r - 1) / (t - 1) of its own, and its rank is above + j.
    slope = (levels.relevant - 1) / np.maximum(size - 1, 1)
    constant = levels.relevant_above() + 1 - slope * (above + 1)
    harmonic = np.zeros(int((above + size).max(initial=0)) + 1)
    np.cumsum(1.0 / np.arange(1, len(harmonic)), out=harmonic[1:])
    precision = constant * (harmonic[above + taken] - harmonic[above]) + slope * taken
    total = np.bincount(levels.query, levels.relevant / size * precision, minlength=len(cut))
    return (total + _nothing(levels)) / np.maximum(levels.n_relevant, 1)


def _expected_reciprocal(above: int, size: int, relevant: int) -> float:
    """Return the mean of 1 / (above + J), J the first place of a relevant item in a tie."""
    place = np.arange(1, size - relevant + 2)
    # Chance that place j is relevant if none before it was.
    hazard = relevant / (size - place + 1)
    before = np.concatenate([[1.0], np.cumprod(1.0 - hazard[:-1])])
    return float((before * hazard / (above + place)).sum())
