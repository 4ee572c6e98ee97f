"""Arrays named in a configuration: ``file.npy``, ``file.npz:array``, ``file.parquet:column``, IDX files."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tamis.benchmarks.idx import SUFFIXES, check_idx, read_idx
from tamis.data.array_files import ArrayArchive, load_array
from tamis.errors import InputError


class Place(NamedTuple):
    """Where an array stands: its file, and its name in there ("" in a file of one array)."""

    path: Path
    name: str


def find_array(where: str) -> Place:
    """Return the place that ``where`` names, after looking that something is there; nothing is loaded.

    Raises
    ------
    InputError
        If the file, the array or the column does not exist, or the file is of another kind.
    """
    if where.endswith(SUFFIXES):
        check_idx(Path(where))
        return Place(Path(where), "")
    head, _, tail = where.rpartition(":")
    path, name = (Path(where), "") if where.endswith(".npy") else (Path(head), tail)
    if path.suffix not in {".npy", ".npz", ".parquet"} or (path.suffix != ".npy" and not name):
        raise InputError(f"{where!r} names no array; write file.npy, file.npz:array or file.parquet:column")
    if not path.is_file():
        raise InputError(f"{where!r}: the file {path} does not exist; correct the path")
    if path.suffix == ".npy":
        load_array(path)
        return Place(path, name)
    names = sorted(ArrayArchive(path)) if path.suffix == ".npz" else _columns(path)
    if name not in names:
        kind = "array" if path.suffix == ".npz" else "column"
        raise InputError(f"{path} has no {kind} {name!r}; it has {', '.join(names) or 'none'}")
    return Place(path, name)


def read_array(where: str) -> npt.NDArray[np.generic]:
    """Return the array that ``where`` names; see `find_array` for what is raised."""
    path, name = find_array(where)
    if path.suffix == ".npy":
        return load_array(path)
    if not name:
        return read_idx(path)
    if path.suffix == ".npz":
        return np.asarray(ArrayArchive(path)[name])
    import pyarrow.parquet as pq

    column: npt.NDArray[np.generic] = pq.read_table(path, columns=[name]).column(name).to_numpy()
    return column


def _columns(path: Path) -> list[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names: list[str] = pq.read_schema(path).names
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path} cannot be read as Parquet: {error}") from error
    return names
