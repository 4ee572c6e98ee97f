"""Checks of the arguments of a search, with messages that say what to do."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from tamis.errors import InputError
from tamis.neighbors.vectors import Matrix
from tamis.types import IntArray


def check_counts(
    queries: Matrix, reference: Matrix | None, reference_rows: IntArray | None, *, k: int
) -> int:
    """Return the number of reference rows, or raise `InputError`."""
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise InputError(f"k is {k!r}; it must be a whole number of neighbours, at least 1")
    if reference is None and reference_rows is None:
        return len(queries)
    if reference is None:
        rows = np.asarray(reference_rows)
        _check_rows(rows, len(queries))
        return len(rows)
    if reference_rows is not None:
        raise InputError(
            "reference and reference_rows were both given; pass a matrix, or rows of queries, not both"
        )
    if queries.ndim == reference.ndim == 2 and queries.shape[1] != reference.shape[1]:
        raise InputError(
            f"queries have {queries.shape[1]} columns but reference has {reference.shape[1]}; "
            "encode both with the same encoder"
        )
    return len(reference)


def _check_rows(rows: IntArray, n: int) -> None:
    if rows.ndim != 1 or not np.issubdtype(rows.dtype, np.integer):
        raise InputError(
            f"reference_rows has shape {rows.shape} and dtype {rows.dtype}; pass (m,) row numbers"
        )
    if len(rows) and (rows.min() < 0 or rows.max() >= n):
        raise InputError(
            f"reference_rows runs from {rows.min()} to {rows.max()}; rows of queries are 0 to {n - 1}"
        )
    if len(np.unique(rows)) != len(rows):
        raise InputError("reference_rows names a row twice; pass every row once (numpy.unique)")


def dense_groups(
    query_groups: IntArray | None,
    reference_groups: IntArray | None,
    reference_rows: IntArray | None,
    *,
    n: int,
    m: int,
    has_reference: bool,
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Return int32 group codes of queries and reference rows (negative = none), or None for both."""
    if (reference_groups is not None) != (has_reference and query_groups is not None):
        raise InputError(
            "groups are incomplete; with a reference matrix pass both query_groups and reference_groups, "
            "without one pass only query_groups"
        )
    if query_groups is None:
        return None, None
    query = _check_groups(query_groups, "query_groups", n)
    if reference_groups is not None:
        reference = _check_groups(reference_groups, "reference_groups", m)
    else:
        reference = query if reference_rows is None else query[np.asarray(reference_rows)]
    codes, dense = np.unique(np.concatenate([query, reference]), return_inverse=True)
    dense = np.where(codes[dense] < 0, -1, dense).astype(np.int32)
    return torch.from_numpy(dense[:n]), torch.from_numpy(dense[n:])


def _check_groups(groups: IntArray, name: str, n: int) -> IntArray:
    array = np.asarray(groups)
    if array.shape != (n,) or not np.issubdtype(array.dtype, np.integer):
        raise InputError(
            f"{name} has shape {array.shape} and dtype {array.dtype}; it must be ({n},) integer codes, "
            "one per row, negative for rows without a group"
        )
    return array


def tie_ranks(tie_keys: npt.NDArray[np.uint64] | None, rows: IntArray | None, n: int) -> torch.Tensor:
    """Return the place of every reference row in the order of the keys, equal keys by row number.

    Parameters
    ----------
    tie_keys : (n,) or (n, 2) uint64 array or None
        Keys of all rows that ``rows`` refers to.
    rows : (m,) int64 array or None
        The reference rows among them; None for all.
    n : int
    """
    if tie_keys is None:
        order = np.arange(n)
    else:
        keys = np.asarray(tie_keys)
        if keys.shape not in {(n,), (n, 2)} or keys.dtype != np.uint64:
            raise InputError(
                f"tie_keys has shape {keys.shape} and dtype {keys.dtype}; "
                f"it must be ({n},) or ({n}, 2) uint64, one key per row"
            )
        order = np.lexsort(np.atleast_2d(keys.T)[::-1])
    ranks = np.empty(n, dtype=np.int64)
    ranks[order] = np.arange(n)
    return torch.from_numpy(ranks if rows is None else ranks[rows])
