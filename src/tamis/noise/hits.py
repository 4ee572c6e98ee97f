"""Which samples a model hits: each on its own, or an exact count of the whole set or of every class."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from tamis.noise.checks import check_choice
from tamis.types import BoolArray, IntArray

Exact: TypeAlias = Literal["none", "global", "per_class"]
EXACT = ("none", "global", "per_class")


def hit_samples(
    draws: npt.NDArray[np.float64], true: IntArray, rate: float, exact: Exact, is_source: BoolArray
) -> tuple[BoolArray, float]:
    """Return the samples that are hit, and the share of all samples that is to be expected.

    Parameters
    ----------
    draws : (n,) float
        Uniform in [0, 1).
    true : (n,) int
        Label codes.
    rate : float
    exact : {"none", "global", "per_class"}
        A sample of a source class is hit: with probability ``rate``; if it is among the
        ``trunc(rate * n)`` of the whole set with the lowest draws; if it is among the
        ``trunc(rate * n_k)`` of its class with the lowest draws.
    is_source : (K,) bool
        Classes that can be hit; a hit on another class changes nothing and is not counted.

    Returns
    -------
    is_hit : (n,) bool
    expected : float
        0 for no samples.
    """
    check_choice(exact, "exact", EXACT)
    n_samples = len(true)
    if n_samples == 0:
        return np.zeros(0, dtype=np.bool_), 0.0
    source = is_source[true]
    if exact == "per_class":
        counts = np.array([int(rate * size) for size in np.bincount(true, minlength=len(is_source))])
        is_hit = lowest_per_class(draws, true, counts * is_source)
        return is_hit, float(is_hit.mean())
    if exact == "global":
        count = int(rate * n_samples)
        return lowest(draws, count) & source, count / n_samples * float(source.mean())
    return np.asarray((draws < rate) & source), rate * float(source.mean())


def lowest(draws: npt.NDArray[np.float64], count: int) -> BoolArray:
    """Return (n,) bool: the ``count`` samples with the lowest draws."""
    is_hit = np.zeros(len(draws), dtype=np.bool_)
    is_hit[np.argsort(draws, kind="stable")[:count]] = True
    return is_hit


def lowest_per_class(draws: npt.NDArray[np.float64], true: IntArray, counts: IntArray) -> BoolArray:
    """Return (n,) bool: of every class ``k`` the ``counts[k]`` samples with the lowest draws."""
    order = np.lexsort((draws, true))
    sizes = np.bincount(true, minlength=len(counts))
    place = np.arange(len(true)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    is_hit = np.zeros(len(true), dtype=np.bool_)
    is_hit[order] = place < np.repeat(counts, sizes)
    return is_hit


def class_rows(true: IntArray) -> Iterator[tuple[int, IntArray]]:
    """Yield every class that has samples, with their rows in order."""
    order = np.argsort(true, kind="stable")
    codes, starts = np.unique(true[order], return_index=True)
    yield from zip(codes.tolist(), np.split(order, starts[1:]), strict=False)
