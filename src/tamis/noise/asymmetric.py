"""Asymmetric noise: some classes are taken for one other class each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt

from tamis.errors import InputError
from tamis.noise.checks import check_classes, check_codes, check_rate
from tamis.noise.draws import uniforms
from tamis.noise.hits import Exact, hit_samples
from tamis.noise.models import NOISE_MODELS
from tamis.noise.noisy_labels import NoisyLabels
from tamis.noise.transition import map_transition
from tamis.registry import Facts
from tamis.types import IntArray

CIFAR10_MAPPING: Mapping[int, int] = {9: 1, 2: 0, 4: 7, 3: 5, 5: 3}
"""Truck to automobile, bird to airplane, deer to horse, cat to dog and dog to cat."""
MNIST_MAPPING: Mapping[int, int] = {7: 1, 2: 7, 3: 8, 5: 6, 6: 5}

_NAMED = {"cifar10": CIFAR10_MAPPING, "mnist": MNIST_MAPPING}


@NOISE_MODELS.register(
    "asymmetric",
    Facts(
        title="Asymmetric (a map of classes)",
        inputs=("mapping",),
        year=2017,
        paper="Patrini et al.: Making deep neural networks robust to label noise: a loss correction "
        "approach, CVPR",
    ),
)
def asymmetric(
    labels: npt.ArrayLike,
    rate: float = 0.4,
    n_classes: int = 10,
    mapping: Literal["cifar10", "mnist"] | Mapping[int, int] = "cifar10",
    random_state: int = 0,
    exact: Exact = "none",
) -> NoisyLabels:
    """Return labels of which a share of some classes was replaced by the class that each is taken for.

    The rate holds within the source classes: "asymmetric 40 %" on CIFAR-10 is 40 % of five classes, 20 % of
    all samples. ``expected_rate`` and ``realised_rate`` of the result are shares of all samples;
    ``details["source_rate"]`` is the share of the samples of source classes.

    Parameters
    ----------
    labels : (n,) integers
        Clean label codes, 0 to ``n_classes - 1``; classes without a sample are fine.
    rate : float
        In [0, 1]: the probability that a sample of a source class is hit.
    n_classes : int
        K, at least 2.
    mapping : {"cifar10", "mnist"} or mapping of code to code
        Source class to the class it is taken for; other classes never change. The named ones are for 10
        classes: 9 to 1, 2 to 0, 4 to 7, 3 to 5, 5 to 3; and 7 to 1, 2 to 7, 3 to 8, 5 to 6, 6 to 5.
    random_state : int
        Seed, 0 to 2**64 - 1.
    exact : {"none", "global", "per_class"}
        How many samples are hit: each on its own [1]_; exactly ``trunc(rate * n)`` of all samples, of
        which those of other classes stay as they are [3]_; exactly ``trunc(rate * n_k)`` of every source
        class [2]_.

    Returns
    -------
    NoisyLabels

    Raises
    ------
    InputError
        If an argument is outside its range, or a code of the mapping is none of the classes.

    References
    ----------
    .. [1] G. Patrini et al., "Making deep neural networks robust to label noise", CVPR 2017.
    .. [2] Y. Wang et al., "Symmetric Cross Entropy", ICCV 2019 (exact per source class, the MNIST map).
    .. [3] J. Li, R. Socher, S. Hoi, "DivideMix", ICLR 2020 (exact over the whole set).

    Examples
    --------
    >>> noisy = asymmetric([0, 1, 2, 3] * 50, rate=0.4, n_classes=4, mapping={2: 3}, exact="per_class")
    >>> noisy.realised_rate, noisy.details["source_rate"]
    (0.1, 0.4)
    """
    n_classes = check_classes(n_classes)
    target = _targets(mapping, n_classes)
    true = check_codes(labels, n_classes)
    rate = check_rate(rate)
    is_source = target != np.arange(n_classes)
    draws = uniforms(random_state, "asymmetric", len(true), 1)[:, 0]
    is_hit, expected = hit_samples(draws, true, rate, exact, is_source)
    of_source = is_hit[is_source[true]]
    named = f"the {mapping} map" if isinstance(mapping, str) else "a map of the user's"
    return NoisyLabels.from_flips(
        true,
        np.where(is_hit, target[true], true),
        lambda: map_transition(rate, target),
        nominal_rate=rate,
        expected_rate=expected,
        n_classes=n_classes,
        model="asymmetric",
        convention=f"rate within the {int(is_source.sum())} source classes of {named}",
        details={"source_rate": float(of_source.mean()) if len(of_source) else 0.0},
    )


def _targets(mapping: str | Mapping[int, int], n_classes: int) -> IntArray:
    """Return (K,) the class that every class is taken for; itself where it never changes."""
    if isinstance(mapping, str):
        if mapping not in _NAMED:
            raise InputError(f"mapping must be 'cifar10', 'mnist' or a mapping of codes; got {mapping!r}")
        if n_classes != 10:
            raise InputError(
                f"mapping={mapping!r} is for 10 classes and n_classes is {n_classes}; give a mapping such as "
                "{3: 5, 5: 3}"
            )
        mapping = _NAMED[mapping]
    if not isinstance(mapping, Mapping):
        raise InputError(f"mapping must be 'cifar10', 'mnist' or a mapping such as {{3: 5}}; got {mapping!r}")
    target = np.arange(n_classes)
    for source, goal in mapping.items():
        for code in (source, goal):
            is_code = isinstance(code, int | np.integer) and not isinstance(code, bool)
            if not is_code or not 0 <= code < n_classes:
                raise InputError(
                    f"mapping holds {source!r}: {goal!r}; legal codes are 0 to {n_classes - 1} (names of "
                    "classes must be turned into their codes)"
                )
        target[source] = goal
    return target
