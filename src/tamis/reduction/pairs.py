"""Pairs of like rows: each row's nearest others by inner product or cosine, found exactly."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from tamis.errors import InputError
from tamis.neighbors import nearest_neighbors
from tamis.types import FloatArray

Similarity: TypeAlias = Literal["inner_product", "cosine"]
"""By what rows are near: the inner product lets long rows be near to everything, the cosine does not."""


def neighbor_graph(
    features: FloatArray,
    k: int,
    *,
    similarity: Similarity = "inner_product",
    memory_budget: str | int | None = None,
    device: str = "cpu",
) -> npt.NDArray[np.int64]:
    """Return the ``k`` most similar other rows of every row, best first.

    Parameters
    ----------
    features : (n, d) float, finite
    k : int
        At least 1 and below n.
    similarity : {"inner_product", "cosine"}
    memory_budget : str, int or None
    device : str
        A torch device.

    Returns
    -------
    (n, k) int64
        Never a row itself, dropped by its number. Where a row has fewer neighbours than ``k``, because it or
        the others are zeros and have no direction, its own number fills the rest.

    Raises
    ------
    InputError
        An argument out of its range.

    Notes
    -----
    The search below is by cosine. Rows get one more column that gives all the same length on the side where
    neighbours are looked for, and 0 on the asking side: cosines are then inner products, up to a factor for
    each asking row.

    Examples
    --------
    >>> rows = np.array([[1.0, 0.0], [1.0, 0.1], [9.0, 9.0]])
    >>> neighbor_graph(rows, 1)[:, 0], neighbor_graph(rows, 1, similarity="cosine")[:, 0]
    (array([2, 2, 1]), array([1, 0, 1]))
    """
    if similarity not in get_args(Similarity):
        raise InputError(f"similarity is {similarity!r}; expected 'inner_product' or 'cosine'")
    n = len(features)
    if not 1 <= k < n:
        raise InputError(f"k is {k} with {n} rows; expected 1 to {n - 1} neighbours")
    asking = looked_for = features
    if similarity == "inner_product":
        asking, looked_for = _lifted(features)
    found = nearest_neighbors(
        asking,
        looked_for,
        k=k,
        # A group of one for each row: it is no neighbour of itself.
        query_groups=np.arange(n),
        reference_groups=np.arange(n),
        allow_zero=True,
        memory_budget=memory_budget,
        device=device,
    ).indices
    return np.where(found >= 0, found, np.arange(n)[:, None])


def _lifted(features: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return both sides of a search by inner product, (n, d + 1) each."""
    squares = np.einsum("nd,nd->n", features, features, dtype=np.float64)
    missing = np.sqrt(np.maximum(squares.max() - squares, 0.0))[:, None]
    dtype = features.dtype
    asking = np.concatenate([features, np.zeros((len(features), 1), dtype=dtype)], axis=1)
    return asking, np.concatenate([features, missing.astype(dtype)], axis=1)
