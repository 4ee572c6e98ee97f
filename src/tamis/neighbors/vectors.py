"""Rows of unit length on a fixed grid, so that dot products are exact and nothing depends on blocks."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import torch

from tamis.errors import InputError
from tamis.types import FloatArray, IntArray

Matrix: TypeAlias = FloatArray | torch.Tensor
"""(n, d) floating point numpy array (also memory-mapped) or tensor."""

_GRID = 2.0**24
# Some float64 copies of so many rows fit the cache of a core.
_ROWS_AT_ONCE = 128


def fixed_order_sum(values: torch.Tensor) -> torch.Tensor:
    """Sum an (n, d) tensor over d by halving, in an order that only d decides.

    Library sums choose their order by shape and thread count; this one gives the same bits for a row
    whatever block it is part of.

    Examples
    --------
    >>> fixed_order_sum(torch.tensor([[1.0, 2.0, 4.0]]))
    tensor([7.])
    """
    while values.shape[1] > 1:
        half = (values.shape[1] + 1) // 2
        folded = values[:, :half].clone()
        folded[:, : values.shape[1] - half] += values[:, half:]
        values = folded
    return values[:, 0]


def to_unit_grid(rows: torch.Tensor) -> torch.Tensor:
    """Scale float64 rows to length 1 and round them to multiples of 2**-24; all-zero rows stay zero.

    Such numbers are exact in float32, and the float64 sum of up to 2**50 of their products is exact in any
    order: cosine similarities computed from them are the same bits in every block size and on every device.
    The rounding moves a similarity by about 3e-8.

    Parameters
    ----------
    rows : (n, d) float64 tensor, finite

    Returns
    -------
    torch.Tensor
        (n, d) float32.

    Examples
    --------
    >>> to_unit_grid(torch.tensor([[3.0, 4.0]], dtype=torch.float64))
    tensor([[0.6000, 0.8000]])
    """
    # Division by the largest entry first: squares of float64 extremes would overflow or vanish.
    largest = rows.abs().amax(dim=1, keepdim=True)
    scaled = rows / torch.where(largest > 0, largest, 1.0)
    length = fixed_order_sum(scaled.square()).sqrt().unsqueeze(1)
    unit = scaled / torch.where(length > 0, length, 1.0)
    return unit.mul_(_GRID).round_().div_(_GRID).to(torch.float32)


class UnitRows:
    """Rows of a matrix as unit vectors on the grid, read block by block or held in memory.

    Parameters
    ----------
    source : (n, d) array or tensor
        Read once per use unless `hold` was called; a memory-mapped array is never loaded as a whole.
    name : str
        What error messages call the matrix.
    rows : (m,) int64 array, optional
        Use only these rows of ``source``, in this order.
    allow_zero : bool
        Accept all-zero rows (they have no direction) instead of refusing them.
    device : str
        Where the tensors are made.
    """

    def __init__(
        self,
        source: Matrix,
        name: str,
        *,
        rows: IntArray | None = None,
        allow_zero: bool = False,
        device: str = "cpu",
    ) -> None:
        _check_matrix(source, name)
        self._source = source
        self._name = name
        self._rows = rows
        self._allow_zero = allow_zero
        self._device = device
        self._held: torch.Tensor | None = None
        self._place: torch.Tensor | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._source) if self._rows is None else len(self._rows)

    @property
    def width(self) -> int:
        """Number of columns."""
        return int(self._source.shape[1])

    @property
    def is_held(self) -> bool:
        """Whether all rows are in memory."""
        return self._held is not None

    def subset(self, rows: IntArray) -> UnitRows:
        """Return some of the rows as a matrix of its own."""
        chosen = rows if self._rows is None else self._rows[rows]
        return UnitRows(
            self._source, self._name, rows=chosen, allow_zero=self._allow_zero, device=self._device
        )

    def hold(self, order: torch.Tensor | None = None) -> None:
        """Read all rows into memory: ``4 * n * d`` bytes.

        Parameters
        ----------
        order : (n,) int64 tensor, optional
            All row numbers in the order in which the rows lie in memory (`held`); by default by number.
        """
        held = torch.empty((len(self), self.width), dtype=torch.float32, device=self._device)
        if order is not None:
            self._place = torch.empty_like(order)
            self._place[order] = torch.arange(len(order))
        for start in range(0, len(self), _ROWS_AT_ONCE):
            stop = min(start + _ROWS_AT_ONCE, len(self))
            rows = self._read(np.arange(start, stop))
            held[slice(start, stop) if self._place is None else self._place[start:stop]] = rows
        self._held = held

    @property
    def held(self) -> torch.Tensor:
        """The rows in memory, (n, d) float32, in the order that `hold` was given."""
        if self._held is None:
            raise RuntimeError("the rows are not held; call hold() first")
        return self._held

    def zero_rows(self) -> torch.Tensor:
        """Return (n,) bool, True where a row is all zeros; reads every row."""
        starts = range(0, len(self), _ROWS_AT_ONCE)
        return torch.cat([~self.block(s, min(s + _ROWS_AT_ONCE, len(self))).any(dim=1).cpu() for s in starts])

    def block(self, start: int, stop: int) -> torch.Tensor:
        """Return rows ``start`` to ``stop`` as (stop - start, d) float32."""
        if self._held is not None and self._place is None:
            return self._held[start:stop]
        return self.take(torch.arange(start, stop))

    def take(self, index: torch.Tensor) -> torch.Tensor:
        """Return the rows at ``index`` ((m,) int64) as (m, d) float32."""
        if self._held is not None:
            place = index if self._place is None else self._place[index.cpu()]
            return self._held.index_select(0, place.to(self._held.device))
        wanted = index.cpu().numpy()
        parts = [self._read(wanted[i : i + _ROWS_AT_ONCE]) for i in range(0, len(wanted), _ROWS_AT_ONCE)]
        return torch.cat(parts) if parts else torch.empty((0, self.width), device=self._device)

    def _read(self, index: IntArray) -> torch.Tensor:
        rows = index if self._rows is None else self._rows[index]
        # Consecutive rows are sliced: a memory-mapped file is then read in one piece.
        is_run = len(rows) > 0 and rows[-1] - rows[0] == len(rows) - 1 and bool((np.diff(rows) == 1).all())
        part = slice(int(rows[0]), int(rows[-1]) + 1) if is_run else rows
        if isinstance(self._source, torch.Tensor):
            chosen = self._source[part if isinstance(part, slice) else torch.from_numpy(np.array(part))]
            raw = chosen.detach().to(device=self._device, dtype=torch.float64)
        else:
            raw = torch.from_numpy(np.array(self._source[part], dtype=np.float64)).to(self._device)
        self._check_rows(raw, rows)
        return to_unit_grid(raw)

    def _check_rows(self, raw: torch.Tensor, rows: IntArray) -> None:
        largest = raw.abs().amax(dim=1)
        is_bad = ~torch.isfinite(largest)
        if bool(is_bad.any()):
            row = int(rows[int(is_bad.nonzero()[0, 0])])
            raise InputError(
                f"{self._name} row {row} holds NaN or infinity; every value must be finite: "
                "drop the row or encode the sample again"
            )
        is_zero = largest == 0
        if not self._allow_zero and bool(is_zero.any()):
            row = int(rows[int(is_zero.nonzero()[0, 0])])
            raise InputError(
                f"{self._name} row {row} is all zeros and has no direction; cosine similarity needs at least "
                "one value other than 0: drop the row, or pass allow_zero=True to leave it without neighbours"
            )


def _check_matrix(source: Matrix, name: str) -> None:
    if not isinstance(source, np.ndarray | torch.Tensor):
        raise InputError(
            f"{name} is a {type(source).__name__}; pass an (n, d) numpy array or torch tensor of numbers"
        )
    if source.ndim != 2 or source.shape[1] == 0:
        raise InputError(
            f"{name} has shape {tuple(source.shape)}; it must be (n, d) with d >= 1: one row per sample"
        )
    is_real = not source.is_complex() if isinstance(source, torch.Tensor) else source.dtype.kind in "fiub"
    if not is_real:
        raise InputError(f"{name} has dtype {source.dtype}; it must hold real numbers: convert it to float32")
