"""Exact similarities and their order: by similarity, then by a key that does not depend on row order."""

from __future__ import annotations

import warnings

import torch

from tamis.neighbors.masks import Forbidden
from tamis.neighbors.vectors import UnitRows

_CHUNK_BYTES = 2**23


def order(
    values: torch.Tensor, columns: torch.Tensor, tie_rank: torch.Tensor, k: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sort candidates by falling value, ties by rising tie rank, and keep the first ``k``.

    Parameters
    ----------
    values : (b, c) float64 tensor
        Exact similarities, -inf = not a candidate.
    columns : (b, c) int64 tensor
    tie_rank : (n_reference,) int64 tensor
    k : int

    Returns
    -------
    values, columns : (b, min(k, c)) tensors
    """
    by_rank = tie_rank[columns].argsort(dim=1, stable=True)
    values, columns = values.gather(1, by_rank), columns.gather(1, by_rank)
    values, by_value = values.sort(dim=1, descending=True, stable=True)
    return values[:, :k], columns.gather(1, by_value)[:, :k]


def exact_values(reference: UnitRows, queries: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Return the exact similarities of each query to its candidate columns.

    Parameters
    ----------
    reference : UnitRows
    queries : (b, d) float32 tensor of unit rows
    columns : (b, c) int64 tensor

    Returns
    -------
    torch.Tensor
        (b, c) float64.
    """
    b, c = columns.shape
    rows = max(1, _CHUNK_BYTES // (12 * max(1, c) * reference.width))
    values = torch.empty((b, c), dtype=torch.float64, device=queries.device)
    for start in range(0, b, rows):
        part = columns[start : start + rows]
        found = _take_candidates(reference, part).double()  # (rows, c, d)
        query = queries[start : start + rows].double().unsqueeze(2)  # (rows, d, 1)
        values[start : start + rows] = torch.bmm(found, query).squeeze(2)
    return values


def _take_candidates(reference: UnitRows, columns: torch.Tensor) -> torch.Tensor:
    if reference.is_held:
        found = reference.take(columns.reshape(-1))
    else:
        unique, inverse = torch.unique(columns, return_inverse=True)
        found = reference.take(unique).index_select(0, inverse.reshape(-1))
    return found.view(*columns.shape, reference.width)


def exhaustive(
    reference: UnitRows,
    forbidden: Forbidden,
    queries: torch.Tensor,
    rows: torch.Tensor,
    *,
    tie_rank: torch.Tensor,
    k: int,
    panel: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the ``k`` best columns by exact products with every reference row.

    Slow and certain: for the few rows whose ``k``-th neighbour is tied, or almost, with many others.

    Returns
    -------
    values, columns : (b, min(k, n_reference)) tensors
        Float64 similarities (-inf where there is no legal column) and int64 columns, in order.
    """
    b = len(rows)
    values = torch.empty((b, 0), dtype=torch.float64, device=queries.device)
    columns = torch.empty((b, 0), dtype=torch.int64, device=queries.device)
    left = queries.double()
    for start in range(0, len(reference), panel):
        stop = min(start + panel, len(reference))
        product = torch.mm(left, reference.block(start, stop).double().T)
        forbidden.apply(product, rows, start)
        best, position = _best_with_ties(product, tie_rank[start:stop], k)
        values = torch.cat([values, best], dim=1)
        columns = torch.cat([columns, position + start], dim=1)
        values, columns = order(values, columns, tie_rank, k)
    return values, columns


def _best_with_ties(
    product: torch.Tensor, tie_rank: torch.Tensor, k: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return entries that include the ``k`` best of each row by value, then tie rank; the others are -inf."""
    count = min(k, product.shape[1])
    values, position = product.topk(count, dim=1)
    last = values[:, -1:]
    # topk chooses freely among entries equal to the last one: drop its choice, take the lowest tie ranks.
    values = values.masked_fill(values == last, -torch.inf)
    ranks = tie_rank.to(torch.float64).expand_as(product).masked_fill(product != last, torch.inf)
    tied, tied_position = ranks.topk(count, dim=1, largest=False)
    tied_values = last.expand_as(tied).masked_fill(torch.isinf(tied), -torch.inf)
    return torch.cat([values, tied_values], dim=1), torch.cat([position, tied_position], dim=1)


def pair_values(
    left: torch.Tensor, right: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor
) -> torch.Tensor:
    """Return the exact similarities of pairs.

    Parameters
    ----------
    left : (b, d) float64 tensor of unit rows on the grid
    right : (w, d) float64 tensor of unit rows on the grid
    rows : (p,) int64 tensor
        Rows of ``left``, ascending.
    columns : (p,) int64 tensor
        Rows of ``right``.

    Returns
    -------
    torch.Tensor
        (p,) float64.
    """
    ends = torch.bincount(rows, minlength=len(left)).cumsum(0)
    starts = torch.cat([ends.new_zeros(1), ends])
    # A product of which only the entries of a sparse pattern are computed: no copies of rows.
    zeros = torch.zeros(len(rows), dtype=left.dtype, device=left.device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        pattern = torch.sparse_csr_tensor(
            starts, columns, zeros, size=(len(left), len(right)), check_invariants=False
        )
        product: torch.Tensor = torch.sparse.sampled_addmm(pattern, left, right.T, beta=0.0)
    return product.values()
