"""How many rows of each given class to remove for each other class, from the joint counts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tamis.errors import InputError
from tamis.statistics.rounding import whole_rows
from tamis.types import FloatArray, IntArray

_CHUNK_ELEMENTS = 2**18


def removal_counts(
    joint: FloatArray | IntArray, *, frac_noise: float = 1.0, min_examples_per_class: int = 1
) -> IntArray:
    """Return how many rows of each given class to remove for each true class.

    The diagonal holds what stays: it is raised to ``min_examples_per_class``, in equal parts from the other
    non-zero entries of its row; the off-diagonal is then scaled by ``frac_noise`` and cut to whole numbers.

    Parameters
    ----------
    joint : (K, K) array
        Counts, rows given, columns true.
    frac_noise : float in [0, 1], default=1
    min_examples_per_class : int, default=1

    Returns
    -------
    (K, K) int64 array
        Rows given, columns true.

    Raises
    ------
    InputError
        A parameter is out of range, or the joint is not a square of finite numbers.

    Examples
    --------
    >>> removal_counts(np.array([[6, 2, 1], [1, 5, 0], [0, 3, 0]]), frac_noise=0.5)
    array([[7, 1, 0],
           [0, 5, 0],
           [0, 1, 2]])
    """
    check_pruning(frac_noise, min_examples_per_class)
    n_classes = len(joint)
    counts = np.empty((n_classes, n_classes), dtype=np.int64)
    step = max(1, _CHUNK_ELEMENTS // n_classes)
    for start in range(0, n_classes, step):
        own = np.arange(start, min(start + step, n_classes))
        part, place = joint[start : start + step], (own - start, own)
        kept = np.maximum(part[place], min_examples_per_class)
        n_others = np.maximum(np.count_nonzero(part, axis=1) - 1.0, 1.0)
        raised = part - ((kept - part[place]) / n_others)[:, None]
        raised[raised < 0] = 0
        raised[place] = kept
        if frac_noise != 1.0:
            scaled = raised * frac_noise
            scaled[place] = kept
            scaled[place] = kept + np.sum(raised - scaled, axis=1)
            raised = scaled
        counts[start : start + step] = raised
    return counts


def check_pruning(frac_noise: float, min_examples_per_class: int) -> None:
    """Refuse parameters of the pruning rules that are out of range."""
    if not 0.0 <= frac_noise <= 1.0:
        raise InputError(f"frac_noise is {frac_noise}; legal are numbers in [0, 1]")
    if min_examples_per_class < 0:
        raise InputError(
            f"min_examples_per_class is {min_examples_per_class}; legal are whole numbers from 0 on"
        )


def checked_joint(joint: npt.ArrayLike, n_classes: int, name: str = "joint") -> FloatArray | IntArray:
    """Return joint counts as a (K, K) array of finite numbers, in the type they came in."""
    array = np.asarray(joint)
    if array.shape != (n_classes, n_classes):
        raise InputError(f"{name} has shape {array.shape}; expected ({n_classes}, {n_classes})")
    if array.dtype.kind not in "iuf" or not np.isfinite(array).all() or (array < 0).any():
        raise InputError(f"{name} must hold finite counts, none negative; compute_confident_joint makes it")
    return array


def removals_that_sum_to(counts: IntArray, label_counts: IntArray, wanted: npt.ArrayLike) -> IntArray:
    """Scale the counts so that as many rows as wanted are removed from each class.

    Parameters
    ----------
    counts : (K, K) int
        From `removal_counts`.
    label_counts : (K,) int
    wanted : (K,) int
        How many rows to remove from each class.

    Returns
    -------
    (K, K) int64 array
        Rows given, columns true, what stays on the diagonal.

    Raises
    ------
    InputError
        Not one whole number from 0 on for each class.

    Notes
    -----
    As in the reference implementation each share is scaled by the number wanted of the class that *gains*
    the row, and rounded per gaining class, so by noise rate a class may lose other rows than it was asked
    for; by class (what stays on the diagonal) the numbers are exact.

    Examples
    --------
    >>> removals_that_sum_to(np.array([[6, 2], [1, 5]]), np.array([8, 6]), [1, 2])
    array([[7, 2],
           [1, 4]])
    """
    n_classes = len(counts)
    numbers = np.asarray(wanted)
    is_whole = numbers.dtype.kind in "iuf" and bool(np.all((numbers >= 0) & (numbers == np.round(numbers))))
    if numbers.shape != (n_classes,) or not is_whole:
        raise InputError(
            f"num_to_remove_per_class is {wanted!r}; expected one whole number from 0 on for each of the "
            f"{n_classes} classes"
        )
    true_first = np.ascontiguousarray(counts.T)  # rows true, columns given
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = true_first / np.sum(true_first, axis=1)
        noise = shares.sum(axis=1) - shares.diagonal()
        scaled = (shares.T * numbers / noise).T
    np.fill_diagonal(scaled, label_counts - numbers)
    # A class that gains no rows has shares 0 / 0: it goes on gaining none.
    is_defined = np.isfinite(scaled)
    rounded = np.where(is_defined, scaled, 0.0).round().astype(np.int64)
    whole = is_defined.all(axis=1)
    rounded[whole] = whole_rows(scaled[whole], compat=True)
    return np.ascontiguousarray(rounded.T)
