"""Ambiguous rows: two classes are about equally plausible."""

from __future__ import annotations

import numpy as np

from tamis.detectors.issue_scores import IssueScores
from tamis.errors import InputError
from tamis.types import FloatArray

_BLOCK_ROWS = 65_536


def ambiguous(pred_probs: FloatArray, *, least: float = 0.4) -> IssueScores:
    """Find rows for which the two best classes both have a probability of at least ``least``.

    At the default, 0.4, the two together have at least 0.8, they differ by at most 0.2, and no other class is
    above 0.2: either label would be defensible. Probabilities should be calibrated and out of sample.

    Parameters
    ----------
    pred_probs : (n, K) float array, rows sum to 1
    least : float
        Above 1/3 (so that there can be no third such class) and at most 0.5.

    Returns
    -------
    IssueScores
        The score is ``1 - 2 * second``, where ``second`` is the second-highest probability: 0 = two classes
        at 0.5 each, 1 = the other classes are impossible. Rows with NaN score 1 and are not flagged.

    Raises
    ------
    InputError
        ``pred_probs`` is not (n, K), a value lies outside 0 to 1, or ``least`` is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> found = ambiguous(np.array([[0.5, 0.45, 0.05], [0.9, 0.1, 0.0], [0.34, 0.33, 0.33]]))
    >>> found.is_issue
    array([ True, False, False])
    >>> found.scores.round(2)
    array([0.1 , 0.8 , 0.34])
    """
    if pred_probs.ndim != 2 or pred_probs.shape[1] == 0:
        raise InputError(f"pred_probs has shape {pred_probs.shape}; pass (n, K) probabilities")
    if not 1.0 / 3.0 < least <= 0.5:
        raise InputError(f"least is {least}; it must be above 1/3 and at most 0.5")
    scores = np.ones(len(pred_probs))
    # Block by block: whole float64 copies of the probabilities would be twice their size, several times.
    for start in range(0, len(pred_probs), _BLOCK_ROWS):
        scores[start : start + _BLOCK_ROWS] = _scores(pred_probs[start : start + _BLOCK_ROWS], start)
    return IssueScores(scores, scores <= 1.0 - 2.0 * least)


def _scores(block: FloatArray, start: int) -> FloatArray:
    """Return (b,) scores of the rows that begin at row ``start``; 1 where a probability is not known."""
    scores = np.ones(len(block))
    is_known = ~np.isnan(block).any(axis=1)
    known = block[is_known].astype(np.float64)
    is_wrong = ((known < 0.0) | (known > 1.0 + 1e-6)).any(axis=1)
    if is_wrong.any():
        row = start + int(np.flatnonzero(is_known)[is_wrong.argmax()])
        raise InputError(f"pred_probs row {row} has a value outside 0 to 1; pass probabilities, not logits")
    if block.shape[1] > 1:
        second = np.partition(known, -2, axis=1)[:, -2]
        scores[is_known] = np.maximum(1.0 - 2.0 * second, 0.0)
    return scores
