"""Columns whose cells are fetched when asked for: images in Arrow, in Parquet, in several parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

_BATCH_ROWS = 1024


class Cells(Protocol):
    """A column of which some cells are fetched at a time.

    A cell of an image column is bytes, a path, ``{"bytes": ..., "path": ...}`` or None.
    """

    def __len__(self) -> int:
        """Return the number of cells."""

    def take(self, rows: Sequence[int]) -> list[object]:
        """Return the cells of some rows, in the order asked for."""

    def batches(self) -> Iterator[list[object]]:
        """Yield all cells in order, a small batch at a time."""


class ArrowCells:
    """Cells of an Arrow column, in memory or memory-mapped."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        self._column = column

    def __len__(self) -> int:
        """Return the number of cells."""
        return len(self._column)

    def take(self, rows: Sequence[int]) -> list[object]:
        """Return the cells of some rows, in the order asked for."""
        # Cell by cell: ChunkedArray.take may join chunks, that is copy the whole column.
        return [self._column[int(row)].as_py() for row in rows]

    def batches(self) -> Iterator[list[object]]:
        """Yield all cells in order, a small batch at a time."""
        for start in range(0, len(self), _BATCH_ROWS):
            yield self._column.slice(start, _BATCH_ROWS).to_pylist()


class ParquetCells:
    """Cells of one column of a Parquet file; one row group is held in memory at a time."""

    def __init__(self, path: Path, column: str) -> None:
        self._path = path
        self._column = column
        with pq.ParquetFile(path) as file:
            sizes = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
        self._starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        # (row group, its column); replaced in one step, so threads at worst read a group twice.
        self._latest: tuple[int, pa.ChunkedArray] | None = None

    def __len__(self) -> int:
        """Return the number of cells."""
        return int(self._starts[-1])

    def take(self, rows: Sequence[int]) -> list[object]:
        """Return the cells of some rows, in the order asked for; each row group is read once per call."""
        index = np.asarray(rows, dtype=np.int64)
        groups = np.searchsorted(self._starts, index, side="right") - 1
        cells: list[object] = [None] * len(index)
        for position in np.argsort(groups, kind="stable"):
            group = int(groups[position])
            cells[position] = self._group(group)[int(index[position] - self._starts[group])].as_py()
        return cells

    def batches(self) -> Iterator[list[object]]:
        """Yield all cells in order, a small batch at a time."""
        with pq.ParquetFile(self._path) as file:
            for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=[self._column]):
                yield batch.column(0).to_pylist()

    def _group(self, group: int) -> pa.ChunkedArray:
        latest = self._latest
        if latest is None or latest[0] != group:
            with pq.ParquetFile(self._path) as file:
                latest = (group, file.read_row_group(group, columns=[self._column]).column(0))
            self._latest = latest
        return latest[1]


class JoinedCells:
    """Cells of several columns, one below the other."""

    def __init__(self, parts: Sequence[Cells]) -> None:
        self._parts = tuple(parts)
        self._starts = np.concatenate([[0], np.cumsum([len(part) for part in parts], dtype=np.int64)])

    def __len__(self) -> int:
        """Return the number of cells."""
        return int(self._starts[-1])

    def take(self, rows: Sequence[int]) -> list[object]:
        """Return the cells of some rows, in the order asked for."""
        index = np.asarray(rows, dtype=np.int64)
        owners = np.searchsorted(self._starts, index, side="right") - 1
        cells: list[object] = [None] * len(index)
        for owner in np.unique(owners):
            positions = np.flatnonzero(owners == owner)
            taken = self._parts[owner].take((index[positions] - self._starts[owner]).tolist())
            for position, cell in zip(positions, taken, strict=True):
                cells[position] = cell
        return cells

    def batches(self) -> Iterator[list[object]]:
        """Yield all cells in order, a small batch at a time."""
        for part in self._parts:
            yield from part.batches()
