"""Confident guesses row by row: class thresholds, the guess of every row, and their counts."""

from __future__ import annotations

import numpy as np

from tamis.statistics.labelled_rows import LabelledRows, Survey, code_counts, entries, rows_by_class
from tamis.types import FloatArray, IntArray

SLACK = 1e-6
"""A prediction counts as confident from this much below the threshold on."""

ABSENT = 2
"""Threshold of a class without samples: no probability reaches it."""

SMALLEST_THRESHOLD = 2e-6
"""Lower bound of a threshold; larger than the slack, so that a probability of 0 is never confident."""


def mean_thresholds(given: FloatArray, codes: IntArray, n_classes: int) -> FloatArray:
    """Return the mean probability of the given label per class, averaged in the precision of the input.

    Parameters
    ----------
    given : (n,) float
        Probability of the given label.
    codes : (n,) int
    n_classes : int

    Returns
    -------
    (K,) float array
        2 for a class without samples, never below 2e-6. In the precision of ``given`` where every class
        occurs, else float64.

    Examples
    --------
    >>> mean_thresholds(np.array([0.75, 0.25]), np.array([0, 0]), 2)
    array([0.5, 2. ])
    """
    means = [given[rows].mean() for _, rows in rows_by_class(codes, n_classes)]
    is_present = code_counts(codes, n_classes) > 0
    thresholds = np.full(n_classes, ABSENT, dtype=given.dtype if is_present.all() else np.float64)
    thresholds[is_present] = means
    clipped: FloatArray = np.clip(thresholds, SMALLEST_THRESHOLD, None)
    return clipped


def block_guesses(block: FloatArray, predicted: IntArray, thresholds: FloatArray) -> IntArray:
    """Return the confidently predicted class of every row, K where there is none.

    Parameters
    ----------
    block : (b, K) float, C-contiguous
    predicted : (b,) int
        Most likely class.
    thresholds : (K,) float

    Returns
    -------
    (b,) int array

    Examples
    --------
    >>> block = np.array([[0.9, 0.1], [0.6, 0.4], [0.1, 0.9]])
    >>> block_guesses(block, block.argmax(axis=1), np.array([0.8, 0.7]))
    array([0, 2, 1])
    """
    n_classes = block.shape[1]
    bounds = thresholds - SLACK
    top = entries(block, predicted)
    # Where the most likely class is confident it is the guess, whether others are confident too or not.
    is_clear = top >= bounds[predicted]
    guesses = np.where(is_clear, predicted, n_classes)
    rest = np.flatnonzero(~is_clear & (top >= bounds.min()))
    if len(rest):
        is_confident = block[rest] >= bounds
        n_confident = np.count_nonzero(is_confident, axis=1)
        only = np.where(n_confident == 1, is_confident.argmax(axis=1), predicted[rest])
        guesses[rest] = np.where(n_confident == 0, n_classes, only)
    return guesses


def row_guesses(rows: LabelledRows, seen: Survey, thresholds: FloatArray) -> IntArray:
    """Return `block_guesses` of all rows, (n,): the second pass.

    Examples
    --------
    >>> from tamis.statistics.labelled_rows import survey
    >>> rows = LabelledRows([0, 1], [[0.9, 0.1], [0.4, 0.6]])
    >>> row_guesses(rows, survey(rows), np.array([0.9, 0.6]))
    array([0, 1], dtype=uint8)
    """
    guesses = np.empty_like(seen.predicted)
    for part, block in rows.blocks():
        guesses[part] = block_guesses(block, seen.predicted[part], thresholds)
    return guesses


def guess_counts(codes: IntArray, guesses: IntArray, n_classes: int) -> IntArray:
    """Return `pair_counts` with at least 1 on the diagonal: every class has one right label.

    Examples
    --------
    >>> guess_counts(np.array([0, 1, 1]), np.array([0, 0, 2]), 2)
    array([[1, 0],
           [1, 1]])
    """
    joint = pair_counts(codes, guesses, n_classes)
    np.fill_diagonal(joint, joint.diagonal().clip(min=1))
    return joint


def pair_counts(codes: IntArray, guesses: IntArray, n_classes: int) -> IntArray:
    """Count pairs of given label and guess; guess K (none) is left out.

    Returns
    -------
    (K, K) int64 array
        Rows given, columns guessed; column by column in memory, so that sums over the whole matrix add in
        the order of the reference.

    Examples
    --------
    >>> pair_counts(np.array([0, 1, 1]), np.array([0, 0, 2]), 2)
    array([[1, 0],
           [1, 0]])
    """
    counts = np.zeros(0, dtype=np.int64)
    step = max(n_classes * n_classes, 65_536)
    for start in range(0, len(codes), step):
        guess = guesses[start : start + step].astype(np.int64)
        is_counted = guess < n_classes
        pairs = guess[is_counted] * n_classes + codes[start : start + step][is_counted]
        found = np.bincount(pairs, minlength=n_classes * n_classes)
        counts = np.add(counts, found, out=counts) if start else found
    return counts.reshape(n_classes, n_classes).T
