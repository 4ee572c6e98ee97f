"""Symmetric (uniform) label noise."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from tamis.errors import InputError
from tamis.noise.draws import uniforms
from tamis.noise.noisy_labels import NoisyLabels, check_codes, check_rate
from tamis.types import BoolArray, FloatArray, IntArray

Convention: TypeAlias = Literal["exclude_true", "include_true"]
Exact: TypeAlias = Literal["none", "global", "per_class"]


def symmetric(
    labels: npt.ArrayLike,
    rate: float = 0.4,
    n_classes: int = 10,
    convention: Convention = "exclude_true",
    random_state: int = 0,
    exact: Exact = "none",
) -> NoisyLabels:
    """Return labels of which a share was replaced by a class drawn uniformly.

    Two conventions are in use and differ in the realised rate: for 10 classes a rate of 0.8 realises 0.8
    with ``"exclude_true"`` and 0.72 with ``"include_true"``. The draw for a sample depends only on the
    seed and on the sample's position, so a longer data set starts with the same flips (``exact="none"``).

    Parameters
    ----------
    labels : (n,) integers
        Clean label codes, 0 to ``n_classes - 1``; classes without a sample are fine.
    rate : float
        In [0, 1]: the probability that a sample is drawn anew.
    n_classes : int
        K, at least 2.
    convention : {"exclude_true", "include_true"}
        Whether the new label may be the old one: no (realised rate = ``rate``) or
        yes (realised rate = ``rate * (K - 1) / K``).
    random_state : int
        Seed, 0 to 2**64 - 1.
    exact : {"none", "global", "per_class"}
        How many samples are drawn anew: each on its own with probability ``rate``; exactly
        ``trunc(rate * n)``; exactly ``trunc(trunc(rate * n) / K)`` of every class that has samples.

    Returns
    -------
    NoisyLabels
        ``transition`` is the K x K matrix of the model.

    Raises
    ------
    InputError
        If an argument is outside its range, or ``"per_class"`` asks for more samples than a class has.

    References
    ----------
    .. [1] B. Han et al., "Co-teaching", NeurIPS 2018 (exclude_true, one draw a sample).
    .. [2] J. Li, R. Socher, S. Hoi, "DivideMix", ICLR 2020 (include_true, exact over the whole set).
    .. [3] Y. Wang et al., "Symmetric Cross Entropy", ICCV 2019 (exclude_true, exact per class).

    Examples
    --------
    >>> noisy = symmetric([0, 1, 2] * 100, rate=0.2, n_classes=3, exact="global")
    >>> int(noisy.is_wrong.sum()), noisy.realised_rate
    (60, 0.2)
    """
    _check_choices(n_classes, convention, exact)
    true = check_codes(labels, n_classes)
    rate = check_rate(rate)
    draws = uniforms(random_state, "symmetric", len(true), 2)
    is_drawn = _drawn(draws[:, 0], true, rate, n_classes, exact)
    if convention == "exclude_true":
        # 1 .. K-1 steps forward on the circle of classes: never back to the true one.
        fresh = (true + 1 + np.floor(draws[:, 1] * (n_classes - 1)).astype(np.int64)) % n_classes
    else:
        fresh = np.floor(draws[:, 1] * n_classes).astype(np.int64)
    noisy = np.where(is_drawn, fresh, true)
    return NoisyLabels.from_flips(true, noisy, _transition(rate, n_classes, convention), nominal_rate=rate)


def _check_choices(n_classes: int, convention: str, exact: str) -> None:
    if isinstance(n_classes, bool) or not isinstance(n_classes, int | np.integer) or n_classes < 2:
        raise InputError(f"n_classes must be a whole number of at least 2; got {n_classes!r}")
    if convention not in {"exclude_true", "include_true"}:
        raise InputError(f"convention must be 'exclude_true' or 'include_true'; got {convention!r}")
    if exact not in {"none", "global", "per_class"}:
        raise InputError(f"exact must be 'none', 'global' or 'per_class'; got {exact!r}")


def _drawn(
    draws: npt.NDArray[np.float64], true: IntArray, rate: float, n_classes: int, exact: Exact
) -> BoolArray:
    """Return (n,) bool: the samples that get a new label. ``draws`` is (n,) uniform numbers."""
    if exact == "none":
        return np.asarray(draws < rate)
    is_drawn = np.zeros(len(true), dtype=np.bool_)
    count = int(rate * len(true))
    if exact == "global":
        is_drawn[np.argsort(draws, kind="stable")[:count]] = True
        return is_drawn
    count //= n_classes
    for code in range(n_classes):
        members = np.flatnonzero(true == code)
        if 0 < len(members) < count:
            raise InputError(
                f"exact='per_class' with rate {rate:g} draws {count} samples of every class, but "
                f"class {code} has {len(members)}; lower the rate or use exact='global'"
            )
        is_drawn[members[np.argsort(draws[members], kind="stable")[:count]]] = True
    return is_drawn


def _transition(rate: float, n_classes: int, convention: Convention) -> FloatArray:
    share = rate / (n_classes - 1) if convention == "exclude_true" else rate / n_classes
    transition = np.full((n_classes, n_classes), share)
    np.fill_diagonal(transition, 1 - rate if convention == "exclude_true" else 1 - rate + share)
    return transition
