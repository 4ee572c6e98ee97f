"""Pair flip: every class is taken for the next one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tamis.noise.checks import check_classes, check_codes, check_rate
from tamis.noise.draws import uniforms
from tamis.noise.hits import Exact, hit_samples
from tamis.noise.models import NOISE_MODELS
from tamis.noise.noisy_labels import NoisyLabels
from tamis.noise.transition import map_transition
from tamis.registry import Facts


@NOISE_MODELS.register(
    "pair_flip",
    Facts(
        title="Pair flip",
        inputs=(),
        year=2018,
        paper="Han et al.: Co-teaching: robust training of deep neural networks with extremely noisy labels, "
        "NeurIPS",
    ),
)
def pair_flip(
    labels: npt.ArrayLike,
    rate: float = 0.4,
    n_classes: int = 10,
    random_state: int = 0,
    exact: Exact = "none",
) -> NoisyLabels:
    """Return labels of which a share moved on to the next class, from the last to the first.

    From a rate of 0.5 on the true class is no longer the most frequent label of its samples, and no method
    can tell right from wrong without further knowledge; 0.45 is the usual hard case.

    Parameters
    ----------
    labels : (n,) integers
        Clean label codes, 0 to ``n_classes - 1``; classes without a sample are fine.
    rate : float
        In [0, 1]: the probability that a sample moves on.
    n_classes : int
        K, at least 2.
    random_state : int
        Seed, 0 to 2**64 - 1.
    exact : {"none", "global", "per_class"}
        How many samples move: each on its own; exactly ``trunc(rate * n)``; exactly ``trunc(rate * n_k)``
        of every class.

    Returns
    -------
    NoisyLabels

    Raises
    ------
    InputError
        If an argument is outside its range.

    References
    ----------
    .. [1] B. Han et al., "Co-teaching", NeurIPS 2018.

    Examples
    --------
    >>> pair_flip([0, 1, 2, 2], rate=1.0, n_classes=3).labels
    array([1, 2, 0, 0])
    """
    n_classes = check_classes(n_classes)
    true = check_codes(labels, n_classes)
    rate = check_rate(rate)
    target = np.roll(np.arange(n_classes), -1)
    draws = uniforms(random_state, "pair_flip", len(true), 1)[:, 0]
    is_hit, expected = hit_samples(draws, true, rate, exact, np.ones(n_classes, dtype=np.bool_))
    return NoisyLabels.from_flips(
        true,
        np.where(is_hit, target[true], true),
        lambda: map_transition(rate, target),
        nominal_rate=rate,
        expected_rate=expected,
        n_classes=n_classes,
        model="pair_flip",
        convention="next class, the last to the first",
    )
