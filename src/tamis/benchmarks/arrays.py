"""Arrays named in a configuration: ``file.npy``, ``file.npz:array``, ``file.parquet:column``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from tamis.data.array_files import ArrayArchive, load_array
from tamis.errors import InputError


def read_array(where: str) -> npt.NDArray[np.generic]:
    """Return the array that ``where`` names.

    Raises
    ------
    InputError
        If the file, the array or the column does not exist, or the file is of another kind.
    """
    path, _, name = where.partition(":")
    suffix = Path(path).suffix
    if suffix == ".npy" and not name:
        return load_array(path)
    if suffix == ".npz" and name:
        return _member(path, name)
    if suffix == ".parquet" and name:
        return _column(path, name)
    raise InputError(f"{where!r} names no array; write file.npy, file.npz:array or file.parquet:column")


def _member(path: str, name: str) -> npt.NDArray[np.generic]:
    arrays = ArrayArchive(Path(path))
    if name not in arrays:
        raise InputError(f"{path} has no array {name!r}; it has {sorted(arrays)}")
    return np.asarray(arrays[name])


def _column(path: str, name: str) -> npt.NDArray[np.generic]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path} cannot be read as Parquet: {error}") from error
    if name not in schema.names:
        raise InputError(f"{path} has no column {name!r}; it has {schema.names}")
    column: npt.NDArray[np.generic] = pq.read_table(path, columns=[name]).column(name).to_numpy()
    return column
