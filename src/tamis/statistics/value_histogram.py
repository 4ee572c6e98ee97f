"""Real numbers summed up in bins: exact while they are few, a few thousand bins beyond, mergeable always."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from tamis.errors import InputError
from tamis.types import BoolArray, FloatArray, IntArray

EXACT_VALUES = 65_536
"""Up to this many values are kept as they are."""

# A bin is one 512th of an octave of the distance from the nearest origin; 64 octaves from 2^-30 on.
_STEPS = 512
_MANTISSA_SHIFT = 52 - 9  # bits of float64 below the 9 leading ones of the mantissa
_FIRST = (1023 - 30) * _STEPS  # what the bits of 2^-30 say
_SIDE = 64 * _STEPS  # bins on one side of an origin
_BLOCK = 2**18


class Points(NamedTuple):
    """What stands for the values: bins, or single values (count 1, variance 0); sorted by mean.

    Attributes
    ----------
    counts : (m,) float64, positive
    means : (m,) float64, ascending
    variances : (m,) float64
        Within the bin.
    """

    counts: npt.NDArray[np.float64]
    means: npt.NDArray[np.float64]
    variances: npt.NDArray[np.float64]


class ValueHistogram:
    """Counts, sums and sums of squares of real numbers, by bins whose width grows away from the origins.

    Each value lies in a bin of 1/512 of the octave of its distance from the nearest origin: losses, whose
    clean part crowds near 0, are resolved there, and their tail too. Values more than 2^34 away share the
    last bins, those nearer than 2^-30 the first. While there are at most ``exact_values`` of them, the values
    themselves are kept, so that few values lose nothing. States merge in any order.

    Parameters
    ----------
    origins : tuple of float, default=(0.0,)
        Where values crowd. Merged states need the same.
    exact_values : int, default=65536
        At least 0.

    Attributes
    ----------
    count : int
    minimum, maximum : float
        inf and -inf before the first value.

    Examples
    --------
    >>> state = ValueHistogram().partial_fit([0.5, 2.0]).merge(ValueHistogram().partial_fit([1.0]))
    >>> state.count, state.maximum, state.points().means
    (3, 2.0, array([0.5, 1. , 2. ]))
    """

    def __init__(self, origins: tuple[float, ...] = (0.0,), *, exact_values: int = EXACT_VALUES) -> None:
        if not origins or not np.isfinite(origins).all():
            raise InputError(f"origins is {origins}; give at least one finite number")
        if exact_values < 0:
            raise InputError(f"exact_values is {exact_values}; expected 0 or more")
        self.origins = tuple(sorted(float(origin) for origin in origins))
        self.exact_values = exact_values
        self.count = 0
        self.minimum, self.maximum = float("inf"), float("-inf")
        self._kept: list[FloatArray] | None = []  # None once there are too many
        self._keys: IntArray = np.zeros(0, dtype=np.int64)
        self._sums = np.zeros((3, 0))  # count, sum, sum of squares of each bin, about the bin's origin

    @property
    def is_exact(self) -> bool:
        """Whether the values themselves are still there."""
        return self._kept is not None

    def partial_fit(self, values: npt.ArrayLike) -> Self:
        """Add a block of values, (b,) finite real numbers.

        Raises
        ------
        InputError
            Not one-dimensional, not real numbers, or NaN or infinity.
        """
        block = checked_values(values, "values")
        if len(block) == 0:
            return self
        self.count += len(block)
        self.minimum = min(self.minimum, float(block.min()))
        self.maximum = max(self.maximum, float(block.max()))
        if self._kept is not None:
            self._kept.append(block.copy())
            self._fold_if_many()
        else:
            self._fold(block)
        return self

    def merge(self, other: ValueHistogram) -> Self:
        """Add what another state has seen; it stays as it is.

        Raises
        ------
        InputError
            It was made with other origins or another ``exact_values``.
        """
        ours, theirs = (self.origins, self.exact_values), (other.origins, other.exact_values)
        if ours != theirs:
            raise InputError(f"origins and exact_values are {theirs}, here {ours}; states must share them")
        self.count += other.count
        self.minimum, self.maximum = min(self.minimum, other.minimum), max(self.maximum, other.maximum)
        if self._kept is not None and other._kept is not None:
            self._kept += other._kept
            self._fold_if_many()
            return self
        self._fold_all()
        self._add(other._keys, other._sums)
        for block in other._kept or []:
            self._fold(block)
        return self

    def points(self) -> Points:
        """Return what stands for the values, sorted."""
        if self._kept is not None:
            values = np.sort(np.concatenate([np.zeros(0), *self._kept]))
            return Points(np.ones(len(values)), values, np.zeros(len(values)))
        counts, sums, squares = self._sums
        offsets = sums / counts
        # Rounding may leave a variance a hair below zero where all values of a bin are equal.
        variances = np.maximum(squares / counts - offsets**2, 0.0)
        means = offsets + np.array(self.origins)[self._keys // (2 * _SIDE)]
        order = np.argsort(means, kind="stable")
        return Points(counts[order], means[order], variances[order])

    def _fold_if_many(self) -> None:
        if self.count > self.exact_values:
            self._fold_all()

    def _fold_all(self) -> None:
        kept, self._kept = self._kept or [], None
        for block in kept:
            self._fold(block)

    def _fold(self, block: FloatArray) -> None:
        for start in range(0, len(block), _BLOCK):
            keys, offsets = self._binned(block[start : start + _BLOCK])
            n_bins = 2 * _SIDE * len(self.origins)
            counts = np.bincount(keys, minlength=n_bins)
            used = np.flatnonzero(counts)
            sums = np.bincount(keys, offsets, minlength=n_bins)[used]
            squares = np.bincount(keys, offsets * offsets, minlength=n_bins)[used]
            self._add(used, np.stack([counts[used].astype(np.float64), sums, squares]))

    def _binned(self, block: FloatArray) -> tuple[IntArray, FloatArray]:
        """Return the bin of each value and its offset from the bin's origin."""
        side, offsets = np.zeros(len(block), dtype=np.int64), block - self.origins[0]
        for place, (left, right) in enumerate(pairwise(self.origins), start=1):
            is_nearer = block > (left + right) / 2
            side[is_nearer] = 2 * place * _SIDE
            np.subtract(block, right, out=offsets, where=is_nearer)
        side += (offsets < 0) * _SIDE
        # Exponent and leading mantissa bits, read as one integer, rise with the distance.
        steps = np.abs(offsets).view(np.int64)
        steps >>= _MANTISSA_SHIFT
        steps -= _FIRST
        side += np.clip(steps, 0, _SIDE - 1, out=steps)
        return side, offsets

    def _add(self, keys: IntArray, sums: FloatArray) -> None:
        joined, place = np.unique(np.concatenate([self._keys, keys]), return_inverse=True)
        every = np.concatenate([self._sums, sums], axis=1)
        self._sums = np.stack([np.bincount(place, row, minlength=len(joined)) for row in every])
        self._keys = joined


def checked_values(values: npt.ArrayLike, name: str) -> npt.NDArray[np.float64]:
    """Return finite real numbers as a (n,) float64 array.

    Raises
    ------
    InputError
        Another shape or type, or NaN or infinity.

    Examples
    --------
    >>> checked_values([1, 2], "losses")
    array([1., 2.])
    """
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "fiub":
        raise InputError(
            f"{name} has shape {array.shape} and dtype {array.dtype}; expected (n,) real numbers"
        )
    floats: npt.NDArray[np.float64] = array.astype(np.float64, copy=False)
    is_finite: BoolArray = np.isfinite(floats)
    if not is_finite.all():
        row = int(np.argmin(is_finite))
        raise InputError(f"{name} row {row} is {floats[row]}; give finite numbers (leave such rows out)")
    return floats
