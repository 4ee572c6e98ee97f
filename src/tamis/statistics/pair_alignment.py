"""Two views of the same samples brought into one space: canonical directions from mergeable sums."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from tamis.errors import InputError
from tamis.statistics.zero_shot import feature_matrix
from tamis.types import FloatArray

_BLOCK_ROWS = 16_384


@dataclass(frozen=True)
class PairMaps:
    """Linear maps of both views into one space.

    Attributes
    ----------
    means : tuple of two arrays, (d1,) and (d2,)
    maps : tuple of two arrays, (d1, k) and (d2, k)
    correlations : (k,) float64
        Between the two views along each direction, largest first.
    """

    means: tuple[FloatArray, FloatArray]
    maps: tuple[FloatArray, FloatArray]
    correlations: FloatArray

    def apply(
        self, features: npt.ArrayLike, second_features: npt.ArrayLike
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return both views in the common space, (n, k) float64 each."""
        views = checked_pair(features, second_features)
        for name, view, mean in zip(("features", "second_features"), views, self.means, strict=True):
            if view.shape[1] != len(mean):
                raise InputError(f"{name} has {view.shape[1]} columns; the maps were fitted to {len(mean)}")
        first, second = (
            (view.astype(np.float64) - mean) @ each
            for view, mean, each in zip(views, self.means, self.maps, strict=True)
        )
        return first, second


class PairAlignment:
    """Sums of two views from which canonical directions follow; mergeable in any order.

    Canonical correlation analysis is what training two linear maps by a contrastive loss amounts to. Pairs
    that do not belong together shrink the correlations, but turn the directions little.

    Parameters
    ----------
    n_features, n_second_features : int

    References
    ----------
    .. [1] Hotelling. "Relations between two sets of variates", Biometrika 28, 1936.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(50, 2))
    >>> maps = PairAlignment(2, 2).partial_fit(x, -x[:, ::-1]).solve(2, shrinkage=0.0)
    >>> maps.correlations.round(6)
    array([1., 1.])
    """

    def __init__(self, n_features: int, n_second_features: int) -> None:
        self._split = n_features
        width = n_features + n_second_features
        self.count = 0
        self._mean = np.zeros(width)
        self._scatter = np.zeros((width, width))

    def partial_fit(self, features: npt.ArrayLike, second_features: npt.ArrayLike) -> Self:
        """Add a block of pairs, (b, d1) and (b, d2)."""
        first, second = checked_pair(features, second_features)
        shape = (first.shape[1], second.shape[1])
        if shape != (self._split, len(self._mean) - self._split):
            raise InputError(f"features and second_features have {shape} columns; before it were others")
        for start in range(0, len(first), _BLOCK_ROWS):
            part = slice(start, start + _BLOCK_ROWS)
            rows = np.concatenate([first[part], second[part]], axis=1, dtype=np.float64)
            mean = rows.mean(axis=0)
            rows -= mean
            self._add(len(rows), mean, rows.T @ rows)
        return self

    def merge(self, other: PairAlignment) -> Self:
        """Add the pairs of another state, which stays as it is."""
        if (other._split, len(other._mean)) != (self._split, len(self._mean)):
            raise InputError("the states were made for other numbers of features; make them alike")
        if other.count:
            self._add(other.count, other._mean, other._scatter)
        return self

    def solve(self, n_directions: int, *, shrinkage: float = 1e-2) -> PairMaps:
        """Return the maps onto the most correlated directions.

        Parameters
        ----------
        n_directions : int
            At least 1; at most the smaller number of features are used.
        shrinkage : float, default=0.01
            Added to both covariances, as a share of their mean variance.

        Raises
        ------
        InputError
            Fewer than two pairs, or a parameter out of range.
        """
        if self.count < 2 or n_directions < 1 or not shrinkage >= 0:
            raise InputError(
                f"{self.count} pairs, n_directions {n_directions}, shrinkage {shrinkage}; expected "
                "at least 2, 1 and 0"
            )
        cut, covariance = self._split, self._scatter / self.count
        white = [_whitening(covariance[:cut, :cut], shrinkage), _whitening(covariance[cut:, cut:], shrinkage)]
        left, values, right = np.linalg.svd(
            white[0].T @ covariance[:cut, cut:] @ white[1], full_matrices=False
        )
        k = min(n_directions, len(values))
        # A direction counts as much as the views agree on it.
        scale = np.sqrt(values[:k])
        maps = (white[0] @ left[:, :k] * scale, white[1] @ right[:k].T * scale)
        return PairMaps((self._mean[:cut], self._mean[cut:]), maps, values[:k])

    def _add(self, count: int, mean: FloatArray, scatter: FloatArray) -> None:
        total = self.count + count
        shift = mean - self._mean
        self._scatter = self._scatter + scatter + np.outer(shift, shift) * (self.count * count / total)
        self._mean = self._mean + shift * (count / total)
        self.count = total


def checked_pair(
    features: npt.ArrayLike, second_features: npt.ArrayLike
) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]]:
    """Return two matrices with the same rows, checked.

    Raises
    ------
    InputError
        Not (n, d) finite numbers, or another number of rows.
    """
    first, second = feature_matrix(features, "features"), feature_matrix(second_features, "second_features")
    if len(first) != len(second):
        raise InputError(
            f"features has {len(first)} rows, second_features {len(second)}; row i of both is one sample"
        )
    return first, second


def _whitening(covariance: FloatArray, shrinkage: float) -> FloatArray:
    """Return W with W' (C + shrinkage) W = 1; directions without variance are left out."""
    values, vectors = np.linalg.eigh(covariance)
    values = values + shrinkage * max(float(np.trace(covariance)) / len(covariance), 0.0)
    is_used = values > 1e-12 * max(float(values[-1]), 0.0)
    weights = np.zeros(len(values))
    weights[is_used] = 1 / np.sqrt(values[is_used])
    whitening: FloatArray = vectors * weights
    return whitening
