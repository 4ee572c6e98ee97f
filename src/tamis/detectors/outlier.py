"""Outliers: rows much farther from their neighbours than is usual in the data set."""

from __future__ import annotations

import numpy as np

from tamis.detectors.issue_scores import IssueScores
from tamis.errors import InputError
from tamis.types import FloatArray

_NORMAL = 1.4826  # median absolute deviation -> standard deviation of a normal distribution


def outliers(similarities: FloatArray, *, k: int = 10, threshold: float = 3.5) -> IssueScores:
    """Find outliers from the similarities of every row to its nearest neighbours.

    The logarithm of the mean distance ``1 - similarity`` to the first ``k`` neighbours is compared with its
    median over all rows, in units of the spread of the upper half. A row is an outlier if it lies more than
    ``threshold`` such units above the median. What the features cannot see is not found: pictures of pure
    noise, for one, lie close together in the features of the built-in image encoder.

    Parameters
    ----------
    similarities : (n, m) float array
        Cosine similarities, best first; -inf = no neighbour (`tamis.neighbors.nearest_neighbors`).
    k : int
        Neighbours used, at most m.
    threshold : float
        Above 0. At 3.5 a normal distribution would have 1 row in 4,300 beyond it.

    Returns
    -------
    IssueScores
        With z = units above the median, the score is ``1 / (1 + exp(z - threshold))``: 0 = surely an outlier,
        0.5 at the threshold. Rows without a neighbour score 1 and are not flagged: nothing is known.

    Raises
    ------
    InputError
        ``similarities`` is not (n, m) with m >= 1 and free of NaN, or a parameter is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> similarities = np.r_[np.linspace(0.8, 0.95, 99), 0.1][:, None]
    >>> np.flatnonzero(outliers(similarities, k=1).is_issue)
    array([99])
    """
    if similarities.ndim != 2 or similarities.shape[1] == 0 or np.isnan(similarities).any():
        raise InputError(
            f"similarities has shape {similarities.shape} or holds NaN; "
            "pass the (n, k) similarities of a search"
        )
    if k < 1 or not threshold > 0:
        raise InputError(f"k is {k} and threshold {threshold}; both must be above 0")
    near = similarities[:, :k].astype(np.float64)
    is_there = np.isfinite(near)
    count = is_there.sum(axis=1)
    total = np.where(is_there, np.maximum(1.0 - near, 0.0), 0.0).sum(axis=1)
    is_known = count > 0
    # 1e-7 is the resolution of a similarity: copies have no distance, but a logarithm.
    distance = np.log(np.maximum(total[is_known] / count[is_known], 1e-7))
    scores = np.ones(len(near))
    if is_known.any():
        # exp of at most 700 stays finite; beyond it the score is 0 to within 1e-300 anyway.
        scores[is_known] = 1.0 / (1.0 + np.exp(np.minimum(_units(distance) - threshold, 700.0)))
    return IssueScores(scores, scores < 0.5)


def _units(distance: FloatArray) -> FloatArray:
    """Return how many upper spreads each value lies above the median."""
    middle = np.median(distance)
    above = distance[distance > middle] - middle
    spread = _NORMAL * float(np.median(above)) if len(above) else 0.0
    if spread == 0.0:
        return np.zeros_like(distance)
    units: FloatArray = (distance - middle) / spread
    return units
