"""The threshold of PRISM: the mean over recent batches of a low quantile of the score."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor

from tamis.errors import InputError


class Filtered(NamedTuple):
    """What `prism_filter` says of a batch.

    Attributes
    ----------
    keep : (B,) bool tensor
    threshold : float
        -inf where nothing was compared.
    quantiles : list of float
        The window afterwards, oldest value first.
    """

    keep: Tensor
    threshold: float
    quantiles: list[float]


def prism_filter(
    scores: Tensor, rate: float, quantiles: Tensor, *, window: int = 30, certain: float = 1.0
) -> Filtered:
    """Keep the samples above the mean of the last per-batch quantiles of the score.

    Parameters
    ----------
    scores : (B,) float tensor
        From `prism_scores`; -inf or NaN = never kept.
    rate : float in [0, 1)
        Share to leave out, R. Q of a batch is its ``floor(R B)``-th smallest score.
    quantiles : (n,) float tensor
        Finite: Q of earlier batches, oldest first; empty at first.
    window : int
        How many of them, that of this batch included, the threshold is the mean of (sTRM); 1 = this batch
        alone (TRM).
    certain : float
        Score of samples of unseen classes: 1 for P, 0 for log P. A Q equal to it is not recorded.

    Returns
    -------
    Filtered

    Raises
    ------
    InputError
        A rate outside [0, 1) or a window below 1.

    Notes
    -----
    Where ``floor(R B)`` is 0, or no Q is known, all are kept. Where none is above the threshold, exactly
    the ``floor(R B)`` lowest are left out (the first ones among equals), and the window shrinks to its last
    value. A batch with a score of -inf adds no Q.

    References
    ----------
    .. [1] C. Liu et al. "Noise-resistant deep metric learning with ranking-based instance selection",
       CVPR 2021, and the authors' code.

    Examples
    --------
    >>> import torch
    >>> scores = torch.tensor([0.30, 0.10, 0.25, 0.20])
    >>> keep, threshold, quantiles = prism_filter(scores, 0.5, torch.tensor([0.28]))
    >>> keep, round(threshold, 6)  # the second smallest score is 0.20; the threshold (0.28 + 0.20) / 2
    (tensor([ True, False,  True, False]), 0.24)
    """
    refuse_filter(rate, window)
    scores = scores.detach().double()
    threshold, window_after, is_above_all = window_threshold(scores, rate, quantiles, window, certain)
    keep = scores > threshold
    if is_above_all:
        n_drop, threshold = int(rate * len(scores)), window_after[-1]
        lowest = scores.nan_to_num(nan=-math.inf).argsort(stable=True)[:n_drop]
        keep = (scores > -math.inf).index_fill_(0, lowest, False)
    return Filtered(keep, threshold, window_after)


def window_threshold(
    scores: Tensor, rate: float, quantiles: Tensor, window: int, certain: float
) -> tuple[float, list[float], bool]:
    """Return the threshold and the window of `prism_filter`, and whether no score is above that threshold.

    ``scores`` is float64 here. Where none is above, the window is already the shrunken one.
    """
    known: list[float] = quantiles.tolist()[-window:]
    ranked = sorted(score if score > -math.inf else -math.inf for score in scores.tolist())  # NaN lowest
    n_drop = int(rate * len(ranked))
    if n_drop and -math.inf < ranked[0] and ranked[n_drop - 1] < certain:
        known = [*known, ranked[n_drop - 1]][-window:]
    if not n_drop or not known:
        return -math.inf, known, False
    mean = math.fsum(known) / len(known)
    is_above_all = ranked[-1] <= mean
    return mean, known[-1:] if is_above_all else known, is_above_all


def refuse_filter(rate: float, window: int) -> None:
    """Raise an InputError for a rate that is no share below 1, or a window without room."""
    if not 0 <= rate < 1:
        raise InputError(f"rate is {rate}; expected a share of at least 0 and below 1, the noise rate")
    if window < 1:
        raise InputError(f"window is {window}; expected a number of batches, at least 1")
