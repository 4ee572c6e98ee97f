"""Rows and classes in an order that only their content decides, whatever way the data came."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tamis.data.digests import feature_digests
from tamis.statistics.canonical import canonical_classes, canonical_rows
from tamis.types import FloatArray, IntArray


class CanonicalOrder(NamedTuple):
    """Rows and classes in canonical order, and keys that break ties alike.

    Attributes
    ----------
    rows : (n,) int64 array
        The row at each canonical position.
    classes : (K,) int64 array
        The given code of each canonical class.
    digests : (n, 2) uint64 array
        Content of each row, in given order.
    tie_keys : (n, 2) uint64 array
        Content and label of each row, in given order.
    """

    rows: IntArray
    classes: IntArray
    digests: npt.NDArray[np.uint64]
    tie_keys: npt.NDArray[np.uint64]

    def copies(self) -> IntArray:
        """Return (n,) group codes, in given order: rows of equal content share one."""
        _, groups = np.unique(self.digests, axis=0, return_inverse=True)
        return groups


def canonical_order(features: FloatArray, labels: IntArray, n_classes: int) -> CanonicalOrder:
    """Return the order in which draws are made, folds are dealt and equals are ranked.

    Parameters
    ----------
    features : (n, d) float
    labels : (n,) int
        Class codes 0..K-1.
    n_classes : int

    Examples
    --------
    >>> features = np.array([[0.5], [0.25], [0.5]])
    >>> order = canonical_order(features, np.array([0, 1, 1]), 2)
    >>> turned = canonical_order(features[::-1], np.array([0, 0, 1]), 2)  # other rows first, codes exchanged
    >>> bool((features[order.rows] == features[::-1][turned.rows]).all())
    True
    >>> order.classes, turned.classes, order.copies()[0] == order.copies()[2]
    (array([1, 0]), array([0, 1]), np.True_)
    """
    digests = feature_digests(features)
    classes = canonical_classes(digests, labels, n_classes)
    rank = np.argsort(classes)
    keys = digests.copy()
    # Rows of equal content but different labels vote differently: their order must not be that of the data.
    keys[:, 1] += (rank[labels] + 1).astype(np.uint64)
    return CanonicalOrder(canonical_rows(digests, labels, classes), classes, digests, keys)
