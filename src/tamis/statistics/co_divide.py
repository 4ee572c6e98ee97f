"""The split of DivideMix: a mixture of two Gaussians on the losses of an epoch tells clean from noisy."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tamis.errors import InputError, TamisWarning
from tamis.statistics.two_gaussians import fit_two_gaussians
from tamis.statistics.value_histogram import checked_values
from tamis.types import BoolArray, FloatArray


class CoDivide(NamedTuple):
    """A split into labelled and unlabelled samples.

    Attributes
    ----------
    prob_clean : (n,) float64 array
        Posterior of the component with the smaller mean.
    is_clean : (n,) bool array
        Which samples keep their label; never empty.
    normalised : (n,) float64 array
        The losses the mixture was fitted to, in [0, 1].
    """

    prob_clean: FloatArray
    is_clean: BoolArray
    normalised: FloatArray


def co_divide(
    losses: npt.ArrayLike,
    history: npt.ArrayLike | None = None,
    *,
    average_last: int = 1,
    threshold: float = 0.5,
    previous: CoDivide | None = None,
    batch_size: int = 1,
    max_iter: int = 10,
    tol: float = 1e-2,
    reg_covar: float = 5e-4,
    random_state: int = 0,
) -> CoDivide:
    """Split samples by their losses: steps 2 to 4 of DivideMix.

    Parameters
    ----------
    losses : (n,) float
        Cross-entropy of every sample under one network, without augmentation.
    history : (e, n) float, optional
        Losses of earlier epochs, oldest first, as they were; each is normalised on its own.
    average_last : int, default=1
        The mean of so many normalised loss vectors is split, this epoch's included; fewer where the history
        is shorter. The authors take 5 at 90 % noise.
    threshold : float, default=0.5
        Clean above this posterior, in [0, 1).
    previous : CoDivide, optional
        Split of the epoch before, for the case that the mixture fails.
    batch_size : int, default=1
        Where no sample is clean, n / 10 of them are taken, but at least these.
    max_iter, tol, reg_covar, random_state
        Of `tamis.statistics.two_gaussians.fit_two_gaussians`; the defaults are the authors'.

    Returns
    -------
    CoDivide

    Raises
    ------
    InputError
        Shapes do not match, NaN or infinity, or a parameter out of range.

    Warns
    -----
    TamisWarning
        The two means or weights collapsed, or the fit did not converge: the previous split stands, without
        one the half with the smaller losses is clean.

    Notes
    -----
    Losses that are all equal cannot be told apart: all samples are clean. Where none is clean, the n / 10 of
    largest posterior are taken (with ties more), where the authors' code stops.

    References
    ----------
    .. [1] Li, Socher, Hoi. "DivideMix: Learning with Noisy Labels as Semi-supervised Learning", ICLR 2020,
       section 3.1.

    Examples
    --------
    >>> co_divide([0.1, 0.2, 0.15, 2.0, 2.2]).is_clean
    array([ True,  True,  True, False, False])
    """
    if average_last < 1 or batch_size < 1:
        raise InputError(f"average_last is {average_last}, batch_size {batch_size}; expected at least 1 each")
    if not 0 <= threshold < 1:
        raise InputError(f"threshold is {threshold}; expected 0 or more and below 1")
    values = _averaged(checked_values(losses, "losses"), history, average_last)
    if previous is not None and previous.prob_clean.shape != values.shape:
        raise InputError(f"previous has {len(previous.prob_clean)} samples, losses {len(values)}; same order")
    if values.min() == values.max():
        return CoDivide(np.ones(len(values)), np.ones(len(values), dtype=np.bool_), values)
    mixture = fit_two_gaussians(
        values, max_iter=max_iter, tol=tol, reg_covar=reg_covar, random_state=random_state
    )
    if not (mixture.is_converged and mixture.is_separated()):
        return _fallback(values, previous, mixture.is_converged)
    prob_clean = mixture.low_posterior(values)
    is_clean = prob_clean > threshold
    if not is_clean.any():
        n_taken = min(len(values), max(len(values) // 10, batch_size))
        is_clean = prob_clean >= np.sort(prob_clean)[-n_taken]
    return CoDivide(prob_clean, is_clean, values)


def normalised_losses(losses: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return losses mapped to [0, 1], the smallest to 0; zeros where all are equal.

    Examples
    --------
    >>> normalised_losses(np.array([1.0, 3.0, 2.0]))
    array([0. , 1. , 0.5])
    """
    low, high = losses.min(), losses.max()
    if low == high:
        return np.zeros(len(losses))
    scaled: npt.NDArray[np.float64] = (losses - low) / (high - low)
    return scaled


def _averaged(
    losses: npt.NDArray[np.float64], history: npt.ArrayLike | None, average_last: int
) -> npt.NDArray[np.float64]:
    if len(losses) == 0:
        raise InputError("losses is empty; give one loss a sample")
    earlier = np.zeros((0, len(losses))) if history is None else np.asarray(history)
    if earlier.ndim != 2 or earlier.shape[1] != len(losses):
        raise InputError(f"history has shape {earlier.shape}; expected (epochs, {len(losses)}), oldest first")
    used = [losses, *(checked_values(row, "history") for row in earlier[::-1][: average_last - 1])]
    mean: npt.NDArray[np.float64] = np.mean([normalised_losses(row) for row in used], axis=0)
    return mean


def _fallback(values: FloatArray, previous: CoDivide | None, is_converged: bool) -> CoDivide:
    reason = "has collapsed to one component" if is_converged else "has not converged"
    stands = "the split of the epoch before stands" if previous else "the half with smaller losses is clean"
    warnings.warn(f"the mixture on the losses {reason}; {stands}", TamisWarning, stacklevel=3)
    if previous is not None:
        return previous._replace(normalised=values)
    is_low = values <= np.median(values)
    return CoDivide(is_low.astype(np.float64), is_low, values)
