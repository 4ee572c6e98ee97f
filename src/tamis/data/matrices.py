"""Feature matrices and predicted probabilities from arrays and table columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tamis.errors import InputError
from tamis.types import FloatArray

_BLOCK_BYTES = 2**26


def as_matrix(values: object, name: str) -> FloatArray:
    """Return values as an (n, d) matrix of numbers, d >= 1; memory-mapped arrays stay mapped.

    Integers in memory become float32 (up to 16 bits) or float64; floats keep their type.

    Raises
    ------
    InputError
        For another shape or type.
    """
    try:
        matrix = values if isinstance(values, np.ndarray) else np.asarray(values)
    except ValueError as error:
        raise InputError(
            f"{name} has rows of different lengths; every row needs the same number of values"
        ) from error
    if isinstance(matrix, np.ma.MaskedArray):
        matrix = np.ma.filled(matrix.astype(np.float64), np.nan)
    if matrix.ndim != 2 or matrix.shape[1] == 0:
        hint = {
            1: "; one value a row: reshape(-1, 1)",
            3: "; images are passed as images",
            4: "; images are images=",
        }
        raise InputError(
            f"{name} has shape {matrix.shape}; legal is (n, d) with d >= 1{hint.get(matrix.ndim, '')}"
        )
    if matrix.dtype.kind not in "fiub" or matrix.dtype.itemsize > 8:
        raise InputError(
            f"{name} has the type {matrix.dtype}; legal are float16, float32, float64 and integers"
        )
    if not matrix.dtype.isnative:
        matrix = matrix.astype(matrix.dtype.newbyteorder("="))
    if matrix.dtype.kind != "f" and not isinstance(matrix, np.memmap):
        matrix = matrix.astype(np.float32 if matrix.dtype.itemsize <= 2 else np.float64)
    return matrix


def find_problems(matrix: FloatArray, name: str = "features") -> dict[int, str]:
    """Return the rows that hold NaN, infinity or numbers beyond float32, with the reason; reads by blocks."""
    problems: dict[int, str] = {}
    step = max(1, _BLOCK_BYTES // (4 * matrix.shape[1]))
    for start in range(0, len(matrix), step):
        block = np.asarray(matrix[start : start + step])
        with np.errstate(over="ignore"):
            is_fine = np.isfinite(block.astype(np.float32, copy=False)).all(axis=1)
        for row in np.flatnonzero(~is_fine):
            problems[int(start + row)] = f"{name} contain {_what(block[row])}"
    return problems


def _what(row: npt.NDArray[np.generic]) -> str:
    if np.isnan(row).any():
        return "NaN"
    return "infinity" if np.isinf(row).any() else "numbers beyond the range of float32"


def matrix_of_lists(column: pa.ChunkedArray, name: str) -> FloatArray:
    """Return a column of equally long lists of numbers as (n, d); a null list becomes a row of NaN.

    Raises
    ------
    InputError
        If the lists have different lengths, or all are null.
    """
    lengths = pc.list_value_length(column)
    found = pc.drop_null(pc.unique(lengths)).to_pylist()
    if len(found) != 1 or found[0] == 0:
        first = next((v for v in found), 0)
        row = next((at for at, v in enumerate(lengths.to_pylist()) if v not in (None, first)), 0)
        raise InputError(
            f"column {name!r} holds lists of {sorted(found)[:5]} values (row {row} differs from the first);"
            " every row needs the same number of values"
        )
    kind = column.type.value_type
    dtype = kind.to_pandas_dtype() if pa.types.is_floating(kind) else np.float64
    matrix = np.full((len(column), found[0]), np.nan, dtype=dtype)
    start = 0
    for chunk in column.chunks:
        values = chunk.flatten().to_numpy(zero_copy_only=False)
        is_given = np.asarray(chunk.is_valid())
        matrix[start : start + len(chunk)][is_given] = values.reshape(-1, found[0])
        start += len(chunk)
    return as_matrix(matrix, f"column {name!r}")


def matrix_of_columns(columns: Sequence[pa.ChunkedArray], names: Sequence[str]) -> FloatArray:
    """Return columns of numbers side by side as an (n, d) float64 matrix; null becomes NaN."""
    matrix = np.empty((len(columns[0]), len(columns)), dtype=np.float64)
    for at, (column, name) in enumerate(zip(columns, names, strict=True)):
        kind = column.type
        if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
            sample = next((value for value in column.slice(0, 1000).to_pylist() if value is not None), None)
            raise InputError(
                f"features column {name!r} has the type {kind} (for example {str(sample)[:40]!r}); only"
                " numbers can be features: leave the column out or turn it into numbers"
            )
        matrix[:, at] = column.cast(pa.float64(), safe=False).to_numpy()
    return matrix
