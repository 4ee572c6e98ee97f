"""How well scores put the wrong labels first. Scores follow the house rule: lower = more suspicious."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tamis.errors import InputError


class _Levels(NamedTuple):
    # One entry for each distinct score, from the most suspicious on; tied rows share a level.
    n_rows: npt.NDArray[np.int64]
    n_wrong: npt.NDArray[np.int64]


def average_precision(scores: npt.ArrayLike, is_wrong: npt.ArrayLike) -> float:
    """Return the average precision of finding wrong labels by ascending score.

    The sum over distinct scores of precision times the gain in recall; tied rows are taken together, so their
    order does not matter.

    Parameters
    ----------
    scores : (n,) float, lower = more suspicious
    is_wrong : (n,) bool, the truth

    Returns
    -------
    float in (0, 1]; a random order gives about the share of wrong labels

    Raises
    ------
    InputError
        Lengths differ, a score is NaN, or no label is wrong (there is nothing to find).

    Examples
    --------
    >>> average_precision([0.1, 0.2, 0.3], [True, False, True])
    0.8333333333333333
    """
    levels = _levels(scores, is_wrong)
    found, taken = np.cumsum(levels.n_wrong), np.cumsum(levels.n_rows)
    return float(np.sum(levels.n_wrong / found[-1] * (found / taken)))


def auroc(scores: npt.ArrayLike, is_wrong: npt.ArrayLike) -> float:
    """Return the probability that a wrong label scores below a right one; ties count one half.

    Parameters
    ----------
    scores : (n,) float, lower = more suspicious
    is_wrong : (n,) bool, the truth

    Returns
    -------
    float in [0, 1], 0.5 for a random order

    Raises
    ------
    InputError
        Lengths differ, a score is NaN, or labels are all wrong or all right.

    Examples
    --------
    >>> auroc([0.1, 0.2, 0.3], [True, False, True])
    0.5
    """
    levels = _levels(scores, is_wrong)
    n_right = levels.n_rows - levels.n_wrong
    if n_right.sum() == 0:
        raise InputError("is_wrong is True everywhere; the area under the curve needs right labels too")
    later = n_right.sum() - np.cumsum(n_right)  # right labels that score above the level
    pairs = float(levels.n_wrong.sum()) * float(n_right.sum())
    return float(np.sum(levels.n_wrong * (later + 0.5 * n_right)) / pairs)


def precision_at_k(scores: npt.ArrayLike, is_wrong: npt.ArrayLike, k: int) -> float:
    """Return the share of wrong labels among the ``k`` most suspicious rows.

    Where a tie crosses the cut, the rows of the tie count in proportion: the value expected if their order
    were drawn at random.

    Parameters
    ----------
    scores : (n,) float, lower = more suspicious
    is_wrong : (n,) bool, the truth
    k : int, 1 to n

    Raises
    ------
    InputError
        As for `average_precision`, or ``k`` is not in 1..n.

    Examples
    --------
    >>> precision_at_k([0.1, 0.2, 0.3], [True, False, True], k=2)
    0.5
    """
    return _found_at(_levels(scores, is_wrong), k) / k


def recall_at_k(scores: npt.ArrayLike, is_wrong: npt.ArrayLike, k: int) -> float:
    """Return the share of all wrong labels that are among the ``k`` most suspicious rows.

    Ties at the cut count in proportion, as in `precision_at_k`.

    Parameters
    ----------
    scores : (n,) float, lower = more suspicious
    is_wrong : (n,) bool, the truth
    k : int, 1 to n

    Raises
    ------
    InputError
        As for `average_precision`, or ``k`` is not in 1..n.

    Examples
    --------
    >>> recall_at_k([0.1, 0.2, 0.3], [True, False, True], k=2)
    0.5
    """
    levels = _levels(scores, is_wrong)
    return _found_at(levels, k) / int(levels.n_wrong.sum())


def _found_at(levels: _Levels, k: int) -> float:
    total = int(levels.n_rows.sum())
    if not 1 <= k <= total:
        raise InputError(f"k is {k}; legal are 1..{total}, the number of rows")
    taken = np.cumsum(levels.n_rows)
    cut = int(np.searchsorted(taken, k))
    before = int(taken[cut] - levels.n_rows[cut])
    share = (k - before) / levels.n_rows[cut]
    return float(levels.n_wrong[:cut].sum() + share * levels.n_wrong[cut])


def _levels(scores: npt.ArrayLike, is_wrong: npt.ArrayLike) -> _Levels:
    values, truth = np.asarray(scores), np.asarray(is_wrong)
    if values.ndim != 1 or values.shape != truth.shape or len(values) == 0:
        raise InputError(
            f"scores has shape {values.shape} and is_wrong {truth.shape}; expected two vectors of one length"
        )
    if truth.dtype != np.bool_ and not np.isin(truth, (0, 1)).all():
        raise InputError("is_wrong must be True or False (1 or 0) for each row")
    if np.isnan(values).any():
        row = int(np.isnan(values).argmax())
        raise InputError(f"scores row {row} is NaN; leave rows out that were not assessed")
    if not truth.any():
        raise InputError("is_wrong is False everywhere; there is nothing to find")
    _, level = np.unique(values, return_inverse=True)
    n_rows = np.bincount(level)
    n_wrong = np.bincount(level[truth.astype(np.bool_)], minlength=len(n_rows))
    return _Levels(n_rows, n_wrong)
