"""Numbers that change while a network trains: drop rates, ramps, momenta, the spread of synthetic rows."""

from __future__ import annotations

import math

from tamis.errors import InputError


def drop_rate(epoch: int, rate: float, n_gradual: int = 10, exponent: float = 1.0) -> float:
    """Return the share of a batch that Co-teaching and JoCoR leave out in an epoch.

    Rises in equal steps from 0 in epoch 0 to ``rate ** exponent`` in epoch ``n_gradual - 1``; from epoch
    ``n_gradual`` on it is ``rate``. With an exponent other than 1 it jumps there, as in the authors' code.

    Parameters
    ----------
    epoch : int
        From 0.
    rate : float in [0, 1]
        The noise rate, estimated or known.
    n_gradual : int
        Epochs of the ramp; 0 = the full rate at once.
    exponent : float, above 0

    Raises
    ------
    InputError
        An argument out of its range.

    References
    ----------
    .. [1] B. Han et al. "Co-teaching: Robust training of deep neural networks with extremely noisy
       labels", NeurIPS 2018, section 4 and the authors' code.

    Examples
    --------
    >>> [round(drop_rate(epoch, 0.2, n_gradual=5), 3) for epoch in range(7)]
    [0.0, 0.05, 0.1, 0.15, 0.2, 0.2, 0.2]
    """
    refuse_rate(rate, "rate")
    if epoch < 0 or n_gradual < 0:
        raise InputError(f"epoch is {epoch} and n_gradual {n_gradual}; expected whole numbers of at least 0")
    if not exponent > 0:
        raise InputError(f"exponent is {exponent}; expected a number above 0")
    if epoch >= n_gradual:
        return rate
    if 0 < epoch == n_gradual - 1:
        # Not the product: rounded up, it costs a sample (12 epochs to 0.2: 7 of 10 remain, not 8).
        return float(rate**exponent)
    # One step: a ramp of a single epoch stays at its beginning.
    return float(epoch * (rate**exponent / max(1, n_gradual - 1)))


def exponential_ramp(step: int, length: int) -> float:
    """Return ``exp(-5 (1 - min(step, length) / length)^2)``: from 0.0067 at step 0 to 1; 1 for length 0.

    Parameters
    ----------
    step : int
        From 0.
    length : int
        Steps until 1 is reached.

    Raises
    ------
    InputError
        A negative argument.

    References
    ----------
    .. [1] S. Liu et al. "Early-learning regularization prevents memorization of noisy labels",
       NeurIPS 2020, code of ELR+.

    Examples
    --------
    >>> [round(exponential_ramp(step, 10), 4) for step in (0, 5, 10, 99)]
    [0.0067, 0.2865, 1.0, 1.0]
    """
    if step < 0 or length < 0:
        raise InputError(f"step is {step} and length {length}; expected whole numbers of at least 0")
    if length == 0:
        return 1.0
    return math.exp(-5.0 * (1.0 - min(step, length) / length) ** 2)


def ramped_momentum(step: int, length: int = 40_000, highest: float = 0.997) -> float:
    """Return ELR+'s weight of the old average of a parameter after a step, rising to ``highest``.

    ``average = momentum * average + (1 - momentum) * parameter``, for parameters only: statistics of batch
    normalisation are not averaged.

    Parameters
    ----------
    step : int
        From 0: steps done before this one.
    length : int
        Steps of the ramp (40,000 on CIFAR).
    highest : float in [0, 1]

    Raises
    ------
    InputError
        An argument out of its range.

    Examples
    --------
    >>> round(ramped_momentum(0), 4), ramped_momentum(39_999)
    (0.0067, 0.997)
    """
    refuse_rate(highest, "highest")
    if step < 0:
        raise InputError(f"step is {step}; expected a whole number of at least 0")
    return highest * exponential_ramp(step + 1, length)


def running_mean_momentum(step: int, highest: float = 0.9999) -> float:
    """Return ``min(1 - 1 / (step + 1), highest)``: a plain mean of all steps at first, then an average.

    ELR+ uses it beyond CIFAR.

    Parameters
    ----------
    step : int
        From 0: steps done before this one.
    highest : float in [0, 1]

    Raises
    ------
    InputError
        An argument out of its range.

    Examples
    --------
    >>> [running_mean_momentum(step) for step in (0, 1, 3, 10**6)]
    [0.0, 0.5, 0.75, 0.9999]
    """
    refuse_rate(highest, "highest")
    if step < 0:
        raise InputError(f"step is {step}; expected a whole number of at least 0")
    return min(1.0 - 1.0 / (step + 1), highest)


def synthesis_strength(epoch: int, n_epochs: int, strength: float = 0.8) -> float:
    """Return how wide IAA's synthetic embeddings spread in an epoch: all of it at first, then less.

    The factor is 1 up to 40 % of the epochs, 0.9 up to 60 %, 0.75 up to 80 %, then 0.6.

    Parameters
    ----------
    epoch : int
        From 1.
    n_epochs : int
        Of the whole training.
    strength : float, at least 0
        The first value; the authors: 0.8 for few large classes, 0.5 to 0.6 for many small ones.

    Raises
    ------
    InputError
        An argument out of its range.

    References
    ----------
    .. [1] Z. Fu et al. "Intra-class adaptive augmentation with neighbor correction for deep metric
       learning", IEEE TMM 2022, the authors' code.

    Examples
    --------
    >>> [round(synthesis_strength(epoch, 10, 1.0), 2) for epoch in (1, 4, 5, 6, 7, 8, 9, 10)]
    [1.0, 1.0, 0.9, 0.9, 0.75, 0.75, 0.6, 0.6]
    """
    if epoch < 0 or n_epochs < 1:
        raise InputError(f"epoch is {epoch} of {n_epochs} epochs; expected at least 0, and at least 1 in all")
    if not 0 <= strength < math.inf:
        raise InputError(f"strength is {strength}; expected at least 0 (0 = plain copies)")
    progress = epoch / n_epochs
    factor = next((value for end, value in ((0.4, 1.0), (0.6, 0.9), (0.8, 0.75)) if progress <= end), 0.6)
    return strength * factor


def refuse_rate(rate: float, name: str) -> None:
    """Raise `InputError` where a share is not in [0, 1]."""
    if not 0.0 <= rate <= 1.0:
        raise InputError(f"{name} is {rate}; expected a share from 0 to 1 (0.2 for 20 %)")
