"""Asymmetric noise on CIFAR-100, in the three conventions that share the name."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from tamis.errors import InputError
from tamis.noise.checks import check_choice, check_codes, check_rate
from tamis.noise.draws import below, uniforms
from tamis.noise.hits import Exact, hit_samples
from tamis.noise.models import NOISE_MODELS
from tamis.noise.noisy_labels import NoisyLabels
from tamis.noise.transition import map_transition
from tamis.registry import Facts
from tamis.types import IntArray

Blocks: TypeAlias = Literal["superclass", "consecutive_swap", "all"]

_BLOCK = 5

# Super-class of every fine class; fine classes are in alphabetical order, ten a line.
CIFAR100_FINE_TO_COARSE: tuple[int, ...] = (
    *(4, 1, 14, 8, 0, 6, 7, 7, 18, 3),
    *(3, 14, 9, 18, 7, 11, 3, 9, 7, 11),
    *(6, 11, 5, 10, 7, 6, 13, 15, 3, 15),
    *(0, 11, 1, 10, 12, 14, 16, 9, 11, 5),
    *(5, 19, 8, 8, 15, 13, 14, 17, 18, 10),
    *(16, 4, 17, 4, 2, 0, 17, 4, 18, 17),
    *(10, 3, 2, 12, 12, 16, 12, 1, 9, 19),
    *(2, 10, 0, 1, 16, 12, 9, 13, 15, 13),
    *(16, 19, 2, 4, 6, 19, 5, 5, 8, 19),
    *(18, 1, 2, 15, 6, 0, 17, 8, 14, 13),
)
"""The 20 super-classes of CIFAR-100 by fine class code."""


@NOISE_MODELS.register(
    "asymmetric_cifar100",
    Facts(
        title="Asymmetric within blocks of classes (CIFAR-100)",
        inputs=("fine_to_coarse",),
        year=2017,
        paper="Patrini et al.: Making deep neural networks robust to label noise: a loss correction "
        "approach, CVPR",
    ),
)
def asymmetric_cifar100(
    labels: npt.ArrayLike,
    rate: float = 0.4,
    blocks: Blocks = "superclass",
    fine_to_coarse: npt.ArrayLike | None = None,
    random_state: int = 0,
    exact: Exact = "none",
) -> NoisyLabels:
    """Return labels of which a share moved to another class of the same block of classes.

    Papers call three different things asymmetric noise on CIFAR-100; the name of the one that was used
    belongs beside every number. Super-classes are the published model [1]_. Blocks of consecutive codes
    are no super-classes, because the codes are alphabetical: use them only to compare with results that
    did.

    Parameters
    ----------
    labels : (n,) integers
        Clean fine label codes.
    rate : float
        In [0, 1]: the probability that a sample of a class that can change does.
    blocks : {"superclass", "consecutive_swap", "all"}
        Each fine class moves to the next one of its super-class, the last to the first. Or two classes of
        every five consecutive codes, chosen by the seed, change places and the other three never change
        (two fifths of the rate over all) [2]_. Or every class moves to the next code, which is `pair_flip`.
    fine_to_coarse : (K,) integers, optional
        Super-class of every fine class; by default the 20 of CIFAR-100. Any number of classes; a class
        alone in its super-class never changes. Only the number of classes matters to the other two.
    random_state : int
        Seed, 0 to 2**64 - 1.
    exact : {"none", "global", "per_class"}
        How many samples are hit: each on its own; exactly ``trunc(rate * n)`` of all samples, of which
        those of classes that never change stay as they are; exactly ``trunc(rate * n_k)`` of every class
        that can change.

    Returns
    -------
    NoisyLabels

    Raises
    ------
    InputError
        If an argument is outside its range, or ``"consecutive_swap"`` meets a number of classes that is no
        multiple of 5.

    References
    ----------
    .. [1] G. Patrini et al., "Making deep neural networks robust to label noise", CVPR 2017.
    .. [2] Y. Wang et al., "Symmetric Cross Entropy", ICCV 2019 (the code).

    Examples
    --------
    >>> asymmetric_cifar100([0, 1, 2, 3], rate=1.0, fine_to_coarse=[0, 1, 0, 1]).labels
    array([2, 3, 0, 1])
    """
    check_choice(blocks, "blocks", ("superclass", "consecutive_swap", "all"))
    coarse = _coarse(fine_to_coarse)
    n_classes = len(coarse)
    true = check_codes(labels, n_classes)
    rate = check_rate(rate)
    if blocks == "superclass":
        target = _next_in_block(coarse)
    elif blocks == "consecutive_swap":
        target = _swap_in_fives(n_classes, random_state)
    else:
        target = _next_in_block(np.zeros(n_classes, dtype=np.int64))
    draws = uniforms(random_state, f"asymmetric_cifar100.{blocks}", len(true), 1)[:, 0]
    is_hit, expected = hit_samples(draws, true, rate, exact, target != np.arange(n_classes))
    return NoisyLabels.from_flips(
        true,
        np.where(is_hit, target[true], true),
        lambda: map_transition(rate, target),
        nominal_rate=rate,
        expected_rate=expected,
        n_classes=n_classes,
        model="asymmetric_cifar100",
        convention=blocks,
    )


def _coarse(fine_to_coarse: npt.ArrayLike | None) -> IntArray:
    coarse = np.asarray(CIFAR100_FINE_TO_COARSE if fine_to_coarse is None else fine_to_coarse)
    if coarse.ndim != 1 or len(coarse) < 2 or not np.issubdtype(coarse.dtype, np.integer):
        raise InputError(
            f"fine_to_coarse has shape {coarse.shape} and dtype {coarse.dtype}; give the super-class number "
            "of every fine class, at least 2, as integers"
        )
    return coarse.astype(np.int64)


def _next_in_block(block_of: IntArray) -> IntArray:
    """Return (K,) the next class of the same block, from the last to the first."""
    target = np.arange(len(block_of))
    for block in np.unique(block_of):
        members = np.flatnonzero(block_of == block)
        target[members] = np.roll(members, -1)
    return target


def _swap_in_fives(n_classes: int, random_state: int) -> IntArray:
    """Return (K,) the class that each changes places with; itself for three of every five."""
    if n_classes % _BLOCK:
        raise InputError(
            f"blocks='consecutive_swap' needs a multiple of {_BLOCK} classes and there are {n_classes}; use "
            "blocks='superclass'"
        )
    draws = uniforms(random_state, "asymmetric_cifar100.blocks", n_classes // _BLOCK, 2)
    start = np.arange(0, n_classes, _BLOCK)
    first = below(draws[:, 0], _BLOCK)
    second = (first + 1 + below(draws[:, 1], _BLOCK - 1)) % _BLOCK
    target = np.arange(n_classes)
    target[start + first], target[start + second] = start + second, start + first
    return target
