"""Whether probabilities mean what they say: reliability, calibration error, Brier score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tamis.errors import InputError
from tamis.types import FloatArray, IntArray


@dataclass(frozen=True)
class ReliabilityTable:
    """Predicted and observed frequency in equal-width bins of [0, 1].

    Attributes
    ----------
    edges : (n_bins + 1,) float64
        Bin b holds probabilities in [edges[b], edges[b + 1]); the last one includes 1.
    counts : (n_bins,) int64
    mean_probs : (n_bins,) float64
        Mean probability in the bin, NaN where it is empty.
    observed : (n_bins,) float64
        Share of True outcomes in the bin, NaN where it is empty.
    """

    edges: FloatArray
    counts: IntArray
    mean_probs: FloatArray
    observed: FloatArray

    @property
    def calibration_error(self) -> float:
        """Mean distance of predicted and observed frequency, weighted by the counts."""
        is_filled = self.counts > 0
        gaps = np.abs(self.mean_probs - self.observed)[is_filled]
        return float(np.average(gaps, weights=self.counts[is_filled]))


def reliability_table(probs: npt.ArrayLike, outcomes: npt.ArrayLike, *, n_bins: int = 15) -> ReliabilityTable:
    """Compare predicted probabilities with outcomes, bin by bin.

    Parameters
    ----------
    probs : (n,) float in [0, 1], predicted probability of the outcome True
    outcomes : (n,) bool
    n_bins : int, default=15

    Raises
    ------
    InputError
        Lengths differ, a probability is NaN or outside [0, 1], an outcome is neither True nor False, or
        ``n_bins`` is below 1.

    Examples
    --------
    >>> reliability_table([0.1, 0.9, 0.9], [False, True, False], n_bins=2).observed
    array([0. , 0.5])
    """
    values, truth = _checked(probs, outcomes)
    if n_bins < 1:
        raise InputError(f"n_bins is {n_bins}; expected at least 1")
    edges = np.linspace(0.0, 1.0, n_bins + 1)
    bins = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, n_bins - 1)
    counts = np.bincount(bins, minlength=n_bins)
    divisor = np.where(counts > 0, counts, np.nan)
    mean_probs = np.bincount(bins, weights=values, minlength=n_bins) / divisor
    observed = np.bincount(bins, weights=truth, minlength=n_bins) / divisor
    return ReliabilityTable(edges, counts, mean_probs, observed)


def expected_calibration_error(probs: npt.ArrayLike, outcomes: npt.ArrayLike, *, n_bins: int = 15) -> float:
    """Return the expected calibration error over equal-width bins.

    Parameters
    ----------
    probs : (n,) float in [0, 1], predicted probability of the outcome True
    outcomes : (n,) bool
    n_bins : int, default=15

    Returns
    -------
    float in [0, 1], 0 = observed frequencies equal the predicted ones in every bin

    Raises
    ------
    InputError
        As for `reliability_table`.

    References
    ----------
    .. [1] Naeini, Cooper, Hauskrecht. "Obtaining Well Calibrated Probabilities Using Bayesian Binning",
       AAAI 2015.

    Examples
    --------
    >>> expected_calibration_error([0.8] * 5, [True, True, True, True, False])
    0.0
    """
    return reliability_table(probs, outcomes, n_bins=n_bins).calibration_error


def brier_score(probs: npt.ArrayLike, outcomes: npt.ArrayLike) -> float:
    """Return the mean squared difference of probability and outcome.

    Parameters
    ----------
    probs : (n,) float in [0, 1], predicted probability of the outcome True
    outcomes : (n,) bool

    Returns
    -------
    float in [0, 1], lower = better

    Raises
    ------
    InputError
        As for `reliability_table`.

    Examples
    --------
    >>> brier_score([1.0, 0.5], [True, False])
    0.125
    """
    values, truth = _checked(probs, outcomes)
    return float(np.mean((values - truth) ** 2))


def _checked(
    probs: npt.ArrayLike, outcomes: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    values, truth = np.asarray(probs, dtype=np.float64), np.asarray(outcomes)
    if values.ndim != 1 or values.shape != truth.shape or len(values) == 0:
        raise InputError(
            f"probs has shape {values.shape} and outcomes {truth.shape}; expected two vectors of one length"
        )
    # Written so that NaN counts as outside.
    is_legal = (values >= 0.0) & (values <= 1.0)
    if not is_legal.all():
        row = int(is_legal.argmin())
        raise InputError(f"probs row {row} is {values[row]}; legal are numbers in [0, 1]")
    if not np.isin(truth, (0, 1)).all():
        raise InputError("outcomes must be True or False (1 or 0) for each row")
    return values, truth.astype(np.float64)
