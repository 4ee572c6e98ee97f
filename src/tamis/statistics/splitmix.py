"""SplitMix64: counters and digests scattered over all 64 bits."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

GOLDEN = 0x9E3779B97F4A7C15
"""2**64 over the golden ratio, odd: the step from one number of a stream to the next."""

FACTORS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
"""Multipliers of the finaliser, behind shifts by 30 and 27; a shift by 31 ends it."""


def scattered(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return the first number of the stream that each word begins, in an array of its own.

    References
    ----------
    .. [1] Steele, Lea, Flood. "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.

    Examples
    --------
    >>> scattered(np.zeros(1, dtype=np.uint64))
    array([16294208416658607535], dtype=uint64)
    """
    mixed: npt.NDArray[np.uint64] = words + np.uint64(GOLDEN)
    for shift, factor in zip((30, 27), FACTORS, strict=True):
        mixed ^= mixed >> np.uint64(shift)
        mixed *= np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    return mixed
