"""Transition matrices: P(noisy = j given true = i), checked or counted."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from tamis.errors import InputError
from tamis.noise.checks import check_choice, check_codes, check_whole, count_classes
from tamis.types import FloatArray, IntArray

_ROW_SUM_TOLERANCE = 1e-6
_ROUNDING = 1e-12


def estimate_transition(
    true: npt.ArrayLike,
    noisy: npt.ArrayLike,
    n_classes: int | None = None,
    *,
    empty: Literal["nan", "identity"] = "nan",
) -> FloatArray:
    """Return the share of each noisy label among the samples of every true class.

    Every count is divided by the total of its own row; classes of unequal size come out right.

    Parameters
    ----------
    true, noisy : (n,) integers
        Label codes of the same samples.
    n_classes : int, optional
        K; by default the largest code plus 1.
    empty : {"nan", "identity"}
        The row of a class without a sample: NaN (nothing is known), or that of a class whose labels are
        all right, as a matrix to draw from needs it.

    Returns
    -------
    (K, K) float64
        Rows sum to 1.

    Raises
    ------
    InputError
        If the labels are not codes, or differ in number.

    Examples
    --------
    >>> estimate_transition([0, 0, 0, 0, 1], [0, 0, 0, 1, 1])
    array([[0.75, 0.25],
           [0.  , 1.  ]])
    """
    check_choice(empty, "empty", ("nan", "identity"))
    if n_classes is None:
        n_classes = count_classes(true, noisy)
    n_classes = check_whole(n_classes, "n_classes", 1)
    true_codes, noisy_codes = check_codes(true, n_classes), check_codes(noisy, n_classes)
    if len(true_codes) != len(noisy_codes):
        raise InputError(
            f"true has {len(true_codes)} labels and noisy has {len(noisy_codes)}; give both for every sample"
        )
    shares = row_shares(true_codes, noisy_codes, (n_classes, n_classes))
    if empty == "identity":
        rows = np.flatnonzero(np.isnan(shares[:, 0]))
        shares[rows] = np.eye(n_classes)[rows]
    return shares


def row_shares(true: IntArray, noisy: IntArray, shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Return counts of (true, noisy) divided by the row sums; NaN in a row without a sample."""
    counts = np.bincount(true * shape[1] + noisy, minlength=shape[0] * shape[1]).reshape(shape)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.full(shape, np.nan)
    np.divide(counts, totals, out=shares, where=totals > 0)
    return shares


def check_transition(transition: npt.ArrayLike, name: str = "transition") -> npt.NDArray[np.float64]:
    """Return a transition matrix as (K, K) float64 whose rows sum to 1.

    Raises
    ------
    InputError
        If it is not square, has a negative or missing entry, or a row does not sum to 1 within 1e-6.
    """
    try:
        matrix: npt.NDArray[np.float64] = np.array(transition, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must be a (K, K) matrix of numbers: {error}") from error
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.size == 0:
        raise InputError(
            f"{name} has shape {matrix.shape}; give a square matrix, row i = P(noisy = j given true = i)"
        )
    rows = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
    if rows.size:
        raise InputError(
            f"{name} row {rows[0]} holds NaN or infinity; for a class without samples use the row of the "
            "identity (estimate_transition with empty='identity')"
        )
    rows = np.flatnonzero((matrix < 0).any(axis=1))
    if rows.size:
        raise InputError(
            f"{name} row {rows[0]} holds {matrix[rows[0]].min():g}; probabilities are at least 0"
        )
    sums = matrix.sum(axis=1)
    rows = np.flatnonzero(np.abs(sums - 1) > _ROW_SUM_TOLERANCE)
    if rows.size:
        raise InputError(
            f"{name} row {rows[0]} sums to {sums[rows[0]]:.7g}, expected 1 within {_ROW_SUM_TOLERANCE:g}; "
            "row i is P(noisy = j given true = i): transpose a matrix whose columns sum to 1"
        )
    # Rows that are exact but for rounding stay as they are: draws of old code hang on their last bit.
    is_rough = np.abs(sums - 1) > _ROUNDING
    matrix[is_rough] /= sums[is_rough, None]
    return matrix


def map_transition(rate: float, target: IntArray) -> FloatArray:
    """Return (K, K): class ``k`` becomes ``target[k]`` with probability ``rate``."""
    source = np.flatnonzero(target != np.arange(len(target)))
    transition = np.eye(len(target))
    transition[source, source] = 1 - rate
    transition[source, target[source]] = rate
    return transition
