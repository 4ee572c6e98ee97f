"""The confident joint on arrays, under the names that cleanlab has made known.

On tensors, and as states that can be merged, it is in `tamis.statistics.confident_joint`.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, cast, overload

import numpy as np
import numpy.typing as npt

from tamis.errors import InputError
from tamis.statistics.confident_rows import guess_counts, mean_thresholds, row_guesses
from tamis.statistics.labelled_rows import LabelledRows, Survey, survey
from tamis.statistics.latent import scaled_counts
from tamis.statistics.probability_values import ArrayLike, label_codes, numpy_array
from tamis.statistics.prune_counts import checked_joint
from tamis.statistics.rounding import whole_rows
from tamis.types import FloatArray, IntArray

EstimationMethod: TypeAlias = Literal["off_diagonal", "off_diagonal_calibrated", "off_diagonal_custom"]

_ROUNDED_ELEMENTS = 2**16


def get_confident_thresholds(
    labels: ArrayLike, pred_probs: ArrayLike, multi_label: bool = False
) -> FloatArray:
    """Return the mean probability of the given label per class.

    Parameters
    ----------
    labels : (n,) int, class codes 0..K-1
    pred_probs : (n, K) float, rows sum to 1, out of sample
    multi_label : bool, default=False
        Only False: a row has one label.

    Returns
    -------
    (K,) float array
        2 for a class without samples, never below 2e-6. Averaged in the precision of ``pred_probs``.

    Examples
    --------
    >>> get_confident_thresholds([0, 0], [[0.75, 0.25], [0.25, 0.75]])
    array([0.5, 2. ])
    """
    refuse_multi_label(multi_label)
    rows = LabelledRows(labels, pred_probs)
    return mean_thresholds(survey(rows).given, rows.codes, rows.n_classes)


@overload
def compute_confident_joint(
    labels: ArrayLike,
    pred_probs: ArrayLike,
    *,
    K: int | None = ...,  # noqa: N803 (the known name)
    thresholds: npt.ArrayLike | None = ...,
    calibrate: bool = ...,
    multi_label: bool = ...,
    return_indices_of_off_diagonals: Literal[False] = ...,
) -> IntArray: ...


@overload
def compute_confident_joint(
    labels: ArrayLike,
    pred_probs: ArrayLike,
    *,
    K: int | None = ...,  # noqa: N803 (the known name)
    thresholds: npt.ArrayLike | None = ...,
    calibrate: bool = ...,
    multi_label: bool = ...,
    return_indices_of_off_diagonals: Literal[True],
) -> tuple[IntArray, IntArray]: ...


def compute_confident_joint(
    labels: ArrayLike,
    pred_probs: ArrayLike,
    *,
    K: int | None = None,  # noqa: N803 (the known name)
    thresholds: npt.ArrayLike | None = None,
    calibrate: bool = True,
    multi_label: bool = False,
    return_indices_of_off_diagonals: bool = False,
) -> IntArray | tuple[IntArray, IntArray]:
    """Count pairs of given label and confidently predicted label.

    Arguments, defaults and results are those of ``cleanlab.count.compute_confident_joint`` (2.9).

    Parameters
    ----------
    labels : (n,) int, class codes 0..K-1
    pred_probs : (n, K) float, rows sum to 1, out of sample
    K : int, optional
        Number of classes, where it is to be checked; the columns of ``pred_probs`` say it.
    thresholds : (K,) float, optional
        By default `get_confident_thresholds` of the same data.
    calibrate : bool, default=True
        Scale the counts so that each row sums to its label's count.
    multi_label : bool, default=False
        Only False: a row has one label.
    return_indices_of_off_diagonals : bool, default=False
        Also return the rows counted off the diagonal.

    Returns
    -------
    (K, K) int64 array, rows given, columns confidently predicted; with indices a pair
        Without calibration the diagonal is at least 1.

    Raises
    ------
    InputError
        Bad labels or probabilities, thresholds that are not K numbers above 1e-6, several labels a row.

    References
    ----------
    .. [1] Northcutt, Jiang, Chuang. "Confident Learning: Estimating Uncertainty in Dataset Labels",
       JAIR 70, 2021, section 3.1.

    Examples
    --------
    >>> compute_confident_joint([0, 0, 1], [[0.9, 0.1], [0.1, 0.9], [0.2, 0.8]], calibrate=False)
    array([[1, 1],
           [0, 1]])
    """
    refuse_multi_label(multi_label)
    rows = LabelledRows(labels, pred_probs)
    if K is not None and rows.n_classes != K:
        raise InputError(f"K is {K} but pred_probs has {rows.n_classes} columns; leave K out")
    seen = survey(rows)
    guesses = row_guesses(rows, seen, _thresholds(rows, seen, thresholds))
    joint = guess_counts(rows.codes, guesses, rows.n_classes)
    joint = calibrated_counts(joint, rows.label_counts) if calibrate else joint
    if not return_indices_of_off_diagonals:
        return joint
    return joint, np.flatnonzero((guesses != rows.codes) & (guesses < rows.n_classes))


def calibrate_confident_joint(
    confident_joint: npt.ArrayLike, labels: ArrayLike, *, multi_label: bool = False
) -> IntArray:
    """Scale counts so that each row sums to its label's count, in whole numbers.

    Parameters
    ----------
    confident_joint : (K, K), rows given
    labels : (n,) int, class codes 0..K-1
    multi_label : bool, default=False
        Only False: a row has one label.

    Returns
    -------
    (K, K) int64 array
        The row of an absent class is zero.

    Raises
    ------
    InputError
        The joint is not a square of finite counts, or labels do not belong to it.

    Examples
    --------
    >>> calibrate_confident_joint([[3, 1], [0, 2]], [0] * 8 + [1] * 4)
    array([[6, 2],
           [0, 4]])
    """
    refuse_multi_label(multi_label)
    raw = np.asarray(confident_joint)
    joint = checked_joint(raw, len(raw) if raw.ndim else 0, "confident_joint")
    return calibrated_counts(joint, checked_label_counts(labels, len(joint)))


def calibrated_counts(joint: FloatArray | IntArray, label_counts: IntArray) -> IntArray:
    """Return `calibrate_confident_joint` for labels that have been counted already.

    Examples
    --------
    >>> calibrated_counts(np.array([[3, 1], [0, 2]]), np.array([8, 4]))
    array([[6, 2],
           [0, 4]])
    """
    scaled = scaled_counts(joint, label_counts)
    whole = np.empty(scaled.shape, dtype=np.int64)
    step = max(1, _ROUNDED_ELEMENTS // len(joint))
    for start in range(0, len(joint), step):
        part = slice(start, start + step)
        whole[part] = whole_rows(np.ascontiguousarray(scaled[part]), compat=True)
    return whole


def estimate_joint(
    labels: ArrayLike,
    pred_probs: ArrayLike,
    *,
    confident_joint: npt.ArrayLike | None = None,
    multi_label: bool = False,
) -> FloatArray:
    """Return the (K, K) joint P(given = row, true = column); its rows sum to the shares of the labels.

    Parameters
    ----------
    labels : (n,) int, class codes 0..K-1
    pred_probs : (n, K) float, rows sum to 1, out of sample
    confident_joint : (K, K), optional
        By default that of the data.
    multi_label : bool, default=False
        Only False: a row has one label.

    Examples
    --------
    >>> estimate_joint([0, 0, 1, 1], [[0.9, 0.1], [0.1, 0.9], [0.2, 0.8], [0.2, 0.8]])
    array([[0.25, 0.25],
           [0.  , 0.5 ]])
    """
    refuse_multi_label(multi_label)
    if confident_joint is None:
        confident_joint = compute_confident_joint(labels, pred_probs, calibrate=False)
    joint = calibrate_confident_joint(confident_joint, labels)
    return cast(FloatArray, joint / joint.sum())


def num_label_issues(
    labels: ArrayLike,
    pred_probs: ArrayLike,
    *,
    confident_joint: npt.ArrayLike | None = None,
    estimation_method: EstimationMethod = "off_diagonal",
    multi_label: bool = False,
) -> int:
    """Estimate how many labels are wrong.

    Parameters
    ----------
    labels : (n,) int, class codes 0..K-1
    pred_probs : (n, K) float, rows sum to 1, out of sample
    confident_joint : (K, K), optional
        Needed by ``"off_diagonal_custom"``, without effect otherwise.
    estimation_method : {"off_diagonal", "off_diagonal_calibrated", "off_diagonal_custom"}
        Count the rows confidently predicted as another class that do not agree with their label; or the
        mass of the calibrated joint off the diagonal, of the data or of ``confident_joint``.
    multi_label : bool, default=False
        Only False: a row has one label.

    Raises
    ------
    InputError
        Bad labels or probabilities, an unknown method, or no joint where one is needed.

    Examples
    --------
    >>> num_label_issues([0, 0, 1], [[0.9, 0.1], [0.1, 0.9], [0.2, 0.8]])
    1
    """
    refuse_multi_label(multi_label)
    if estimation_method == "off_diagonal":
        rows = LabelledRows(labels, pred_probs)
        seen = survey(rows)
        guesses = row_guesses(rows, seen, _thresholds(rows, seen, None))
        return int(((guesses != rows.codes) & (guesses < rows.n_classes) & ~seen.is_supported).sum())
    legal = ("off_diagonal", "off_diagonal_calibrated", "off_diagonal_custom")
    if estimation_method not in legal:
        raise InputError(
            f"estimation_method is {estimation_method!r}; legal are {', '.join(map(repr, legal))}"
        )
    own = confident_joint if estimation_method == "off_diagonal_custom" else None
    if own is None and estimation_method == "off_diagonal_custom":
        raise InputError("estimation_method 'off_diagonal_custom' needs confident_joint; give one")
    joint = estimate_joint(labels, pred_probs, confident_joint=own)
    return int(np.rint((1.0 - joint.trace()) * len(numpy_array(labels))))


def refuse_multi_label(multi_label: bool) -> None:
    """Say that several labels a row are not for these functions."""
    if multi_label:
        raise InputError(
            "multi_label is True, but these functions take one label a row; give the labels of one class "
            "at a time as 0/1 with pred_probs of two columns, multi_label=False"
        )


def _thresholds(rows: LabelledRows, seen: Survey, thresholds: npt.ArrayLike | None) -> FloatArray:
    if thresholds is None:
        return mean_thresholds(seen.given, rows.codes, rows.n_classes)
    values = np.asarray(thresholds)
    if values.size != rows.n_classes or values.dtype.kind not in "iuf" or not np.all(values > 1e-6):
        raise InputError(
            f"thresholds has shape {values.shape} and dtype {values.dtype}; expected {rows.n_classes} "
            "numbers above 1e-6, one a class"
        )
    return values.reshape(-1)


def checked_label_counts(labels: ArrayLike, n_classes: int) -> IntArray:
    """Return how often each label occurs, (K,), after `label_codes` has checked them."""
    values = numpy_array(labels)
    return np.bincount(label_codes(values, n_samples=values.size, n_classes=n_classes), minlength=n_classes)
