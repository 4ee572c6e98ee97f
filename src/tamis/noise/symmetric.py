"""Symmetric (uniform) label noise."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from tamis.errors import InputError
from tamis.noise.checks import check_choice, check_classes, check_codes, check_rate
from tamis.noise.draws import below, uniforms
from tamis.noise.hits import EXACT, Exact, hit_samples, lowest_per_class
from tamis.noise.models import NOISE_MODELS
from tamis.noise.noisy_labels import NoisyLabels
from tamis.registry import Facts
from tamis.types import BoolArray, FloatArray, IntArray

Convention: TypeAlias = Literal["exclude_true", "include_true"]


@NOISE_MODELS.register("symmetric", Facts(title="Symmetric (uniform)", inputs=()))
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
    n_classes = check_classes(n_classes)
    check_choice(convention, "convention", ("exclude_true", "include_true"))
    check_choice(exact, "exact", EXACT)
    true = check_codes(labels, n_classes)
    rate = check_rate(rate)
    draws = uniforms(random_state, "symmetric", len(true), 2)
    is_drawn, expected = _drawn(draws[:, 0], true, rate, n_classes, exact)
    if convention == "exclude_true":
        # 1 .. K-1 steps forward on the circle of classes: never back to the true one.
        fresh: IntArray = (true + 1 + below(draws[:, 1], n_classes - 1)) % n_classes
    else:
        fresh = below(draws[:, 1], n_classes)
        expected *= (n_classes - 1) / n_classes
    return NoisyLabels.from_flips(
        true,
        np.where(is_drawn, fresh, true),
        lambda: _transition(rate, n_classes, convention),
        nominal_rate=rate,
        expected_rate=expected,
        n_classes=n_classes,
        model="symmetric",
        convention=convention,
    )


def _drawn(
    draws: npt.NDArray[np.float64], true: IntArray, rate: float, n_classes: int, exact: Exact
) -> tuple[BoolArray, float]:
    """Return (n,) bool, the samples that get a new label, and the share to be expected."""
    if exact != "per_class":
        return hit_samples(draws, true, rate, exact, np.ones(n_classes, dtype=np.bool_))
    # The count of this convention is the same in every class, whatever its size.
    count = int(rate * len(true)) // n_classes
    sizes = np.bincount(true, minlength=n_classes)
    too_small = np.flatnonzero((sizes > 0) & (sizes < count))
    if too_small.size:
        raise InputError(
            f"exact='per_class' with rate {rate:g} draws {count} samples of every class, but "
            f"class {too_small[0]} has {sizes[too_small[0]]}; lower the rate or use exact='global'"
        )
    is_drawn = lowest_per_class(draws, true, np.full(n_classes, count))
    return is_drawn, float(is_drawn.mean()) if len(true) else 0.0


def _transition(rate: float, n_classes: int, convention: Convention) -> FloatArray:
    share = rate / (n_classes - 1) if convention == "exclude_true" else rate / n_classes
    transition = np.full((n_classes, n_classes), share)
    np.fill_diagonal(transition, 1 - rate if convention == "exclude_true" else 1 - rate + share)
    return transition
