"""A mixture of two Gaussians on the line: exact for few values, by histogram for many."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tamis.errors import InputError
from tamis.statistics.value_histogram import EXACT_VALUES, Points, ValueHistogram, checked_values
from tamis.types import FloatArray

_TINY = 10 * np.finfo(np.float64).eps  # added to the weight of a component, as scikit-learn does
_BLOCK = 2**15  # small enough to stay in the processor's cache


@dataclass(frozen=True)
class TwoGaussians:
    """Two weighted Gaussians, the one with the smaller mean first.

    Attributes
    ----------
    means, variances, weights : (2,) float64 array
    n_iter : int
        Iterations of expectation and maximisation.
    is_converged : bool
        Whether the mean log-likelihood changed by less than the tolerance.
    """

    means: FloatArray
    variances: FloatArray
    weights: FloatArray
    n_iter: int
    is_converged: bool

    def is_separated(self, *, least_gap: float = 1e-6, least_weight: float = 1e-6) -> bool:
        """Say whether there are two components: means apart, and none without weight."""
        return bool(self.means[1] - self.means[0] >= least_gap and self.weights.min() >= least_weight)

    def low_log_odds(self, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return log P(low component | value) - log P(high component | value), (n,) float64."""
        numbers = checked_values(values, "values")
        odds = np.empty(len(numbers))
        for start in range(0, len(numbers), _BLOCK):
            low, high = _log_joint(self, numbers[start : start + _BLOCK])
            np.subtract(low, high, out=odds[start : start + _BLOCK])
        return odds

    def low_posterior(self, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return P(low component | value), (n,) float64.

        Not always falling in the value: the wider component wins at both ends.
        """
        return _logistic(self.low_log_odds(values))

    def high_posterior(self, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return P(high component | value), (n,) float64."""
        return _logistic(-self.low_log_odds(values))


def fit_two_gaussians(
    values: npt.ArrayLike,
    *,
    max_iter: int = 100,
    tol: float = 1e-3,
    reg_covar: float = 1e-6,
    n_init: int = 1,
    random_state: int = 0,
    exact_values: int = EXACT_VALUES,
) -> TwoGaussians:
    """Fit a mixture of two Gaussians by expectation maximisation.

    Up to ``exact_values`` values by scikit-learn's ``GaussianMixture`` on the sorted values: the same start
    (k-means) and the same stop as the methods that were published with it. More values are put into some
    thousand bins (`fit_histogram`): hundreds of times faster, started from the best split into two means,
    which needs no seed. The order of values never matters.

    Parameters
    ----------
    values : (n,) float
        n >= 2, finite.
    max_iter : int, default=100
        At least 1.
    tol : float, default=1e-3
        Stop when the mean log-likelihood per value changes by less.
    reg_covar : float, default=1e-6
        Added to the variances, at least 0.
    n_init : int, default=1
        Starts of k-means, of which the best fit is kept; with fewer than a hundred values 5 is steadier.
    random_state : int, default=0
        Seed of k-means.
    exact_values : int, default=65536

    Returns
    -------
    TwoGaussians
        Equal means and weights 1 and 0 where all values are equal.

    Raises
    ------
    InputError
        Fewer than two values, NaN or infinity, or a parameter out of range.

    Examples
    --------
    >>> fitted = fit_two_gaussians([0.0, 0.1, 0.2, 4.9, 5.0, 5.1])
    >>> fitted.means.round(3), fitted.low_posterior([0.3, 4.0]).round(3)
    (array([0.1, 5. ]), array([1., 0.]))
    """
    numbers = checked_values(values, "values")
    _check(len(numbers), max_iter, tol, reg_covar)
    if n_init < 1:
        raise InputError(f"n_init is {n_init}; expected at least 1")
    low, high = float(numbers.min()), float(numbers.max())
    if low == high:
        return _one_point(low, reg_covar)
    if len(numbers) <= exact_values:
        return _fit_exact(np.sort(numbers), max_iter, tol, reg_covar, n_init, random_state)
    spread = high - low
    # Both ends may be crowded: values of a score from 0 to 1 as well as losses.
    state = ValueHistogram((0.0, 1.0), exact_values=0).partial_fit((numbers - low) / spread)
    points = state.points()
    points = Points(points.counts, points.means * spread + low, points.variances * spread**2)
    return _expectation_maximisation(points, max_iter, tol, reg_covar)


def fit_histogram(
    histogram: ValueHistogram,
    *,
    max_iter: int = 100,
    tol: float = 1e-3,
    reg_covar: float = 1e-6,
    n_init: int = 1,
    random_state: int = 0,
) -> TwoGaussians:
    """Fit a mixture of two Gaussians to streamed values; parameters as in `fit_two_gaussians`.

    Exact while the histogram still holds its values. The bins count with their means and their variances, so
    that only the change of the posterior within a bin is lost.

    Raises
    ------
    InputError
        Fewer than two values, or a parameter out of range.

    Examples
    --------
    >>> state = ValueHistogram(exact_values=0).partial_fit([0.0, 0.1, 0.2, 4.9, 5.0, 5.1])
    >>> fit_histogram(state).means.round(3)
    array([0.1, 5. ])
    """
    points = histogram.points()
    if histogram.is_exact:
        return fit_two_gaussians(
            points.means,
            max_iter=max_iter,
            tol=tol,
            reg_covar=reg_covar,
            n_init=n_init,
            random_state=random_state,
            exact_values=max(histogram.exact_values, 2),
        )
    _check(histogram.count, max_iter, tol, reg_covar)
    if histogram.minimum == histogram.maximum:
        return _one_point(histogram.minimum, reg_covar)
    return _expectation_maximisation(points, max_iter, tol, reg_covar)


def split_into_two_means(points: Points) -> int:
    """Return how many of the sorted points belong to the lower of two means: the best 2-means split.

    Examples
    --------
    >>> split_into_two_means(Points(np.ones(4), np.array([0.0, 0.2, 3.0, 3.1]), np.zeros(4)))
    2
    """
    centre = np.average(points.means, weights=points.counts)
    counts = np.cumsum(points.counts)
    sums = np.cumsum(points.counts * (points.means - centre))  # the total is 0
    # The sum of squares between the two parts; equal values are never parted.
    between = sums[:-1] ** 2 * (1 / counts[:-1] + 1 / (counts[-1] - counts[:-1]))
    between[np.diff(points.means) <= 0] = -np.inf
    return int(np.argmax(between)) + 1


def _check(n: int, max_iter: int, tol: float, reg_covar: float) -> None:
    if n < 2:
        raise InputError(f"values holds {n} numbers; a mixture of two needs at least 2")
    if max_iter < 1 or not tol > 0 or not 0 <= reg_covar < np.inf:
        raise InputError(
            f"max_iter is {max_iter}, tol {tol}, reg_covar {reg_covar}; expected >= 1, > 0, >= 0"
        )


def _one_point(value: float, reg_covar: float) -> TwoGaussians:
    return TwoGaussians(np.full(2, value), np.full(2, reg_covar), np.array([1.0, 0.0]), 0, True)


def _fit_exact(
    values: FloatArray, max_iter: int, tol: float, reg_covar: float, n_init: int, random_state: int
) -> TwoGaussians:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    model = GaussianMixture(
        2, max_iter=max_iter, tol=tol, reg_covar=reg_covar, n_init=n_init, random_state=random_state
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the caller sees is_converged
        model.fit(values[:, None])
    order = np.argsort(model.means_[:, 0], kind="stable")
    return TwoGaussians(
        model.means_[order, 0],
        model.covariances_[order, 0, 0],
        model.weights_[order],
        int(model.n_iter_),
        bool(model.converged_),
    )


def _expectation_maximisation(points: Points, max_iter: int, tol: float, reg_covar: float) -> TwoGaussians:
    """Run the same iterations as the exact path, on bins."""
    is_low = np.arange(len(points.means)) < split_into_two_means(points)
    mixture = _maximised(points, is_low.astype(np.float64), reg_covar)
    total, before, is_converged, n_iter = points.counts.sum(), -np.inf, False, 0
    while n_iter < max_iter and not is_converged:
        n_iter += 1
        low, high = _log_joint(mixture, points.means)
        log_density = np.logaddexp(low, high)
        mixture = _maximised(points, np.exp(low - log_density), reg_covar)
        bound = float(points.counts @ log_density) / total
        is_converged, before = abs(bound - before) < tol, bound
    order = np.argsort(mixture.means, kind="stable")
    parts = mixture.means[order], mixture.variances[order], mixture.weights[order]
    return TwoGaussians(*parts, n_iter, is_converged)


def _maximised(points: Points, low_share: FloatArray, reg_covar: float) -> TwoGaussians:
    """Return the components for given shares of the low one; within a bin the share is constant."""
    share = points.counts * np.stack([low_share, 1 - low_share])  # (2, m)
    n = share.sum(axis=1) + _TINY
    means = share @ points.means / n
    squares = (points.means - means[:, None]) ** 2 + points.variances
    variances = (share * squares).sum(axis=1) / n + reg_covar
    # Without reg_covar a component of equal values would have no width at all.
    return TwoGaussians(means, np.maximum(variances, np.finfo(np.float64).tiny), n / n.sum(), 0, False)


def _log_joint(mixture: TwoGaussians, values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return log(weight * density) of both components, (n,) each."""
    with np.errstate(divide="ignore"):
        constants = np.log(mixture.weights) - 0.5 * np.log(2 * np.pi * mixture.variances)
    low, high = values - mixture.means[0], values - mixture.means[1]
    for part, constant, variance in zip((low, high), constants, mixture.variances, strict=True):
        part *= part
        part *= -0.5 / variance
        part += constant
    return low, high


def _logistic(log_odds: FloatArray) -> npt.NDArray[np.float64]:
    shares = np.negative(log_odds)
    with np.errstate(over="ignore"):  # an infinite exponential means a posterior of 0
        for start in range(0, len(shares), _BLOCK):
            part = shares[start : start + _BLOCK]
            np.exp(part, out=part)
            part += 1
            np.reciprocal(part, out=part)
    return shares
