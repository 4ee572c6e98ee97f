"""Numbers with intervals from label scores: how many are wrong, how precise is a cut."""

from __future__ import annotations

import math

import numpy as np

from tamis.types import Estimate, FloatArray

_Z95 = 1.959963984540054


def expected_wrong(label_score: FloatArray, low: FloatArray, high: FloatArray) -> Estimate | None:
    """Return the expected number of wrong labels with a 95 % interval; None without rows.

    Parameters
    ----------
    label_score : (n,) float
        Probability that each given label is right.
    low, high : (n,) float
        The same under the two ends of the assumption about annotators.

    Returns
    -------
    Estimate or None
        The interval joins the sampling variance of independent rows and the spread of the assumption.

    Examples
    --------
    >>> score = np.array([0.0, 1.0, 0.5, 0.5])
    >>> expected_wrong(score, score, score).estimate
    2.0
    """
    n = len(label_score)
    if not n:
        return None
    estimate = float(np.sum(1 - label_score, dtype=np.float64))
    spread = _Z95 * math.sqrt(float(np.sum(label_score * (1 - label_score), dtype=np.float64)))
    most = float(np.sum(1 - low, dtype=np.float64)) - estimate
    least = estimate - float(np.sum(1 - high, dtype=np.float64))
    # Independent sources: their half-widths add in squares.
    return Estimate(
        estimate,
        max(0.0, estimate - math.hypot(spread, least)),
        min(float(n), estimate + math.hypot(spread, most)),
    )


def expected_precision(label_score: FloatArray, low: FloatArray, high: FloatArray) -> Estimate | None:
    """Return the expected share of wrong labels with a 95 % interval; None without rows.

    Examples
    --------
    >>> score = np.array([0.1, 0.3])
    >>> round(expected_precision(score, score, score).estimate, 3)
    0.8
    """
    count = expected_wrong(label_score, low, high)
    if count is None:
        return None
    n = len(label_score)
    return Estimate(count.estimate / n, count.low / n, count.high / n)
