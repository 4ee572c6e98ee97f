"""The label quality scores on blocks of probabilities: 0 = surely wrong, 1 = surely right.

The arithmetic stays in the precision of the input, but for logarithms.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np

from tamis.errors import InputError
from tamis.statistics.labelled_rows import LabelledRows, entries
from tamis.types import FloatArray, IntArray

QualityMethod: TypeAlias = Literal["self_confidence", "normalized_margin", "confidence_weighted_entropy"]

METHODS = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")
"""Every label quality score."""

_FLOOR = 1e-6


def margin_score(block: FloatArray, codes: IntArray) -> FloatArray:
    """Return ``(q[given] - max of the others + 1) / 2``, (b,); 1 where there is a single class.

    Examples
    --------
    >>> margin_score(np.array([[0.75, 0.25], [0.875, 0.125]]), np.array([0, 1]))
    array([0.75 , 0.125])
    """
    given = entries(block, codes)
    if block.shape[1] == 1:
        return given
    others = block.copy()
    np.put_along_axis(others, codes[:, None].astype(np.int64), -np.inf, axis=1)
    score: FloatArray = (given - others.max(axis=1) + 1) / 2
    return score


def entropy_score(block: FloatArray, codes: IntArray, *, compat: bool = False) -> FloatArray:
    """Return ``log(1 + z) / max(z, 1e-6)`` with ``z = H(q) / log K / max(q[given], 1e-6)``, (b,).

    Parameters
    ----------
    block : (b, K) float, C-contiguous
    codes : (b,) int
    compat : bool, default=False
        Leave 0 where z is 0; else rows with z < 1e-6 get the limit 1 where the given label is the most
        likely class.

    Returns
    -------
    (b,) float64 array

    Examples
    --------
    >>> entropy_score(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 0]))
    array([1., 0.])
    """
    from scipy.special import xlogy

    given = entries(block, codes)
    entropy = 0.0 - np.sum(xlogy(block, block), axis=1)
    if block.shape[1] > 1:
        entropy = entropy / np.log(block.shape[1])  # a float64, and so is what follows
    ratio = entropy.astype(np.float64, copy=False) / np.clip(given, _FLOOR, None)
    # log1p is exact for small z; the reference is not.
    score: FloatArray = (np.log(ratio + 1) if compat else np.log1p(ratio)) / np.clip(ratio, _FLOOR, None)
    if not compat:
        score[(ratio < _FLOOR) & (given >= block.max(axis=1))] = 1.0
    return score


def adjusted(block: FloatArray, thresholds: FloatArray) -> FloatArray:
    """Return ``q - t + max t`` with rows divided by their sums: q without each class's usual confidence.

    Examples
    --------
    >>> adjusted(np.array([[0.75, 0.25]]), np.array([0.75, 0.5]))
    array([[0.6, 0.4]])
    """
    shifted: FloatArray = block - thresholds
    shifted += thresholds.max()
    shifted /= shifted.sum(axis=1, keepdims=True)
    return shifted


def block_scores(
    block: FloatArray, codes: IntArray, method: QualityMethod, *, compat: bool = False
) -> FloatArray:
    """Return one score a row of a C-contiguous block, (b,).

    Raises
    ------
    InputError
        The method is unknown.
    """
    if method == "self_confidence":
        return entries(block, codes)
    if method == "normalized_margin":
        return margin_score(block, codes)
    check_method(method)
    return entropy_score(block, codes, compat=compat)


def check_method(method: str) -> None:
    """Refuse the name of a score that does not exist."""
    if method not in METHODS:
        raise InputError(f"method is {method!r}; legal are {', '.join(map(repr, METHODS))}")


def row_scores(
    rows: LabelledRows,
    method: QualityMethod,
    *,
    thresholds: FloatArray | None = None,
    compat: bool = False,
    chosen: IntArray | None = None,
) -> FloatArray:
    """Return one score a row, block by block.

    Parameters
    ----------
    rows : LabelledRows
    method : {"self_confidence", "normalized_margin", "confidence_weighted_entropy"}
    thresholds : (K,) float, optional
        Where given, the probabilities are `adjusted` first.
    compat : bool, default=False
        See `entropy_score`.
    chosen : (m,) int, optional
        Rows to score; all where it is not given.

    Returns
    -------
    (n,) or (m,) float array

    Raises
    ------
    InputError
        The method is unknown, or the entropy score is asked of adjusted probabilities.
    """
    check_method(method)
    if thresholds is not None and method == "confidence_weighted_entropy":
        raise InputError(
            "adjust_pred_probs does not go with method 'confidence_weighted_entropy': adjusted "
            "probabilities have no meaningful entropy; take another method or adjust_pred_probs=False"
        )
    order = np.arange(rows.n_samples) if chosen is None else chosen
    kind = rows.probs.dtype if thresholds is None else np.result_type(rows.probs, thresholds)
    kind = np.dtype(np.float64) if method == "confidence_weighted_entropy" else kind
    scores = np.empty(len(order), dtype=kind)
    step = max(1, rows.block_elements // rows.n_classes)
    for start in range(0, len(order), step):
        part = slice(start, min(start + step, len(order)))
        places = order[part]
        block = rows.take(places) if chosen is not None else np.ascontiguousarray(rows.probs[part])
        block = block if thresholds is None else adjusted(block, thresholds)
        scores[part] = block_scores(block, rows.codes[places], method, compat=compat)
    return scores
