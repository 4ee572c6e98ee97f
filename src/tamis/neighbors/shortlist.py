"""Per row, the pairs that may still be among its nearest, with the similarity they have to reach."""

from __future__ import annotations

import numpy as np
import torch

_GROWTH = 4096


def ragged_to_rows(
    rows: torch.Tensor, values: torch.Tensor, n_rows: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Spread values, sorted by row, over an (n_rows, widest) float64 matrix filled with -inf.

    Returns
    -------
    matrix : (n_rows, widest) tensor
    place : (p,) int64 tensor
        Column of every value.
    """
    counts = torch.bincount(rows, minlength=n_rows)
    starts = counts.cumsum(0) - counts
    place = torch.arange(len(rows), device=rows.device) - starts[rows]
    widest = int(counts.max()) if len(rows) else 0
    matrix = torch.full((n_rows, widest), -torch.inf, dtype=torch.float64, device=rows.device)
    matrix[rows, place] = values
    return matrix, place


def nth_largest(matrix: torch.Tensor, rank: int) -> torch.Tensor:
    """Return the ``rank``-th largest value of each row, -inf where a row is shorter."""
    if matrix.shape[1] < rank:
        return torch.full((len(matrix),), -torch.inf, dtype=matrix.dtype, device=matrix.device)
    if matrix.device.type == "cpu":
        # numpy sorts short rows some five times faster than torch.
        values = matrix.numpy()
        values.sort(axis=1)
        return matrix[:, -rank]
    return matrix.sort(dim=1).values[:, -rank]


def at_least(values: torch.Tensor, limit: torch.Tensor) -> torch.Tensor:
    """Return ``values >= limit``, by the faster library."""
    if values.device.type == "cpu" and values.dtype != torch.bfloat16:
        return torch.from_numpy(values.numpy() >= limit.numpy())
    return values >= limit


def nonzero_places(mask: torch.Tensor) -> torch.Tensor:
    """Return the places of the True entries of a flattened mask."""
    if mask.device.type == "cpu":
        # numpy skips runs of False; torch looks at every entry.
        return torch.from_numpy(np.flatnonzero(mask.numpy()))
    return mask.reshape(-1).nonzero()[:, 0]


class Shortlist:
    """Pairs of a bucket of rows with their exact similarities; those that fell behind are dropped.

    Parameters
    ----------
    n_rows : int
    longest : int
        A row with more pairs than this is given up: its floor becomes infinite.
    """

    def __init__(self, n_rows: int, longest: int) -> None:
        self._n_rows = n_rows
        self._longest = longest
        self._parts: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        self._n_kept = 0
        self._n_new = 0

    @property
    def is_due(self) -> bool:
        """Whether enough came in since the last `compact`."""
        return self._n_new > max(_GROWTH, self._n_kept // 2)

    def add(self, rows: torch.Tensor, columns: torch.Tensor, values: torch.Tensor) -> None:
        """Keep pairs: row of the bucket, reference row, exact similarity."""
        self._parts.append((rows.to(torch.int16), columns.to(torch.int32), values))
        self._n_new += len(rows)

    def compact(self, floor: torch.Tensor, rank: int) -> None:
        """Raise each row's floor to the ``rank``-th best similarity so far and drop what is below.

        Parameters
        ----------
        floor : (n_rows,) float64 tensor
            Changed in place.
        rank : int
        """
        rows, columns, values = self._sorted()
        matrix, place = ragged_to_rows(rows, values, self._n_rows)
        torch.maximum(floor, nth_largest(matrix, rank), out=floor)
        floor[rows[place >= self._longest]] = torch.inf
        keep = values >= floor[rows]
        self._parts = [(rows[keep].to(torch.int16), columns[keep], values[keep])]
        self._n_kept, self._n_new = int(keep.sum()), 0

    def take(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return all pairs as rows, columns (int64) and values, sorted by row, and forget them."""
        rows, columns, values = self._sorted()
        self._parts = []
        return rows, columns.long(), values

    def _sorted(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        rows, columns, values = (torch.cat(parts) for parts in zip(*self._parts, strict=True))
        by_row = rows.argsort(stable=True)
        return rows[by_row].long(), columns[by_row], values[by_row]
