"""An order of rows and classes that depends on content alone, never on how the data came."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tamis.statistics.splitmix import scattered
from tamis.types import FloatArray, IntArray


def canonical_classes(digests: npt.NDArray[np.uint64], codes: IntArray, n_classes: int) -> IntArray:
    """Return the class codes in canonical order: larger classes first, ties by a hash of their members.

    Class names and the order in which classes were numbered have no part in it.

    Parameters
    ----------
    digests : (n, 2) uint64
        Content hashes of the rows.
    codes : (n,) int
        Label codes; -1 = unlabelled.
    n_classes : int

    Returns
    -------
    (n_classes,) int64
        ``order[c]`` is the given code of canonical class ``c``.

    Examples
    --------
    >>> digests = np.array([[1, 0], [2, 0], [3, 0]], dtype=np.uint64)
    >>> canonical_classes(digests, np.array([0, 1, 1]), 2)
    array([1, 0])
    """
    is_labelled = codes >= 0
    counts = np.bincount(codes[is_labelled], minlength=n_classes)
    sums = np.zeros((n_classes, 2), dtype=np.uint64)
    # Sums of unsigned integers wrap around, which keeps them independent of the order of rows.
    np.add.at(sums, codes[is_labelled], digests[is_labelled])
    return np.lexsort((sums[:, 1], sums[:, 0], -counts))


def canonical_rows(digests: npt.NDArray[np.uint64], codes: IntArray, class_order: IntArray) -> IntArray:
    """Return the rows in canonical order: by content hash, then by the canonical class of their label.

    Parameters
    ----------
    digests : (n, 2) uint64
    codes : (n,) int
        Label codes; -1 = unlabelled.
    class_order : (n_classes,) int
        From `canonical_classes`.

    Returns
    -------
    (n,) int64
        ``order[i]`` is the row at canonical position ``i``.

    Examples
    --------
    >>> digests = np.array([[9, 0], [2, 0], [2, 0]], dtype=np.uint64)
    >>> canonical_rows(digests, np.array([0, 1, 0]), np.array([0, 1]))
    array([2, 1, 0])
    """
    rank = np.empty(len(class_order) + 1, dtype=np.int64)
    rank[class_order] = np.arange(len(class_order))
    rank[-1] = len(class_order)
    return np.lexsort((rank[codes], digests[:, 1], digests[:, 0]))


def canonical_columns(probs: FloatArray, codes: IntArray) -> IntArray:
    """Return the columns of predicted probabilities in an order that does not depend on how they came.

    A column is known by its numbers, each hashed with the content of its row and whether it is the given
    label. The order of rows and of columns have no part in it.

    Parameters
    ----------
    probs : (n, K) float
    codes : (n,) int
        Column of the given label; -1 = unlabelled.

    Returns
    -------
    (K,) int64

    Examples
    --------
    >>> probs = np.array([[0.1, 0.2, 0.7], [0.3, 0.6, 0.1]])
    >>> order = canonical_columns(probs, np.array([2, 0]))
    >>> turned = canonical_columns(probs[::-1, ::-1], np.array([2, 0]))
    >>> bool((probs[:, order] == probs[:, ::-1][:, turned]).all())
    True
    """
    keys = np.zeros(probs.shape[1], dtype=np.uint64)
    step = max(1, 2_000_000 // probs.shape[1])
    for start in range(0, len(probs), step):
        # Adding zero turns -0.0 into 0.0.
        bits = scattered((probs[start : start + step].astype(np.float64) + 0.0).view(np.uint64))
        bits ^= scattered(bits.sum(axis=1, dtype=np.uint64))[:, None]
        given = codes[start : start + step]
        rows = np.flatnonzero(given >= 0)
        bits[rows, given[rows]] += np.uint64(1)
        keys += scattered(bits).sum(axis=0, dtype=np.uint64)
    return np.argsort(keys, kind="stable")
