"""Ids of tasks, workers and classes as whole-number codes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from tamis.errors import InputError
from tamis.types import BoolArray, IntArray

IdArray = npt.NDArray[np.generic]

# Whole numbers that span at most this many times their count are coded by a table instead of a hash.
_DENSE = 4
_LEAST_SPAN = 65_536
_NESTED = frozenset({list, tuple, dict, set, np.ndarray})


class Coded(NamedTuple):
    """Codes (n,) int32, -1 = missing, and the ids (m,) that they stand for, sorted."""

    codes: IntArray
    ids: IdArray


def code_ids(values: object, name: str) -> Coded:
    """Return codes for one column of ids.

    Parameters
    ----------
    values : (n,) ids
        Text, whole numbers or booleans; None and NaN are missing.
    name : str
        Of the argument, for messages.

    Returns
    -------
    Coded
        Ids sorted, so that codes do not depend on the order of rows.

    Raises
    ------
    InputError
        Not one-dimensional, or numbers that are not whole.

    Examples
    --------
    >>> code_ids(["b", None, "a", "b"], "worker")
    Coded(codes=array([ 1, -1,  0,  1], dtype=int32), ids=array(['a', 'b'], dtype='<U1'))
    """
    array = _one_dimensional(values, name)
    if array.dtype.kind in "iu" and len(array):
        low, high = int(array.min()), int(array.max())
        if high - low < max(_LEAST_SPAN, _DENSE * len(array)):
            return _by_table(array, low, high)
    codes, found = pd.factorize(array, use_na_sentinel=True)
    ids = _tidy(np.asarray(found), name)
    order = _sorted_order(ids)
    place = np.empty(len(ids) + 1, dtype=np.int32)
    place[order] = np.arange(len(ids), dtype=np.int32)
    place[-1] = -1  # code -1 looks up the last place
    return Coded(place[codes], ids[order])


def code_among(values: object, ids: IdArray, name: str) -> IntArray:
    """Return the (n,) codes of values in a given list of ids; -1 = missing or not listed.

    Examples
    --------
    >>> code_among(["dog", "emu"], np.array(["cat", "dog"]), "label")
    array([ 1, -1], dtype=int32)
    """
    array = _one_dimensional(values, name)
    if array.dtype.kind in "iu" and ids.dtype.kind in "iu" and len(ids):
        low, high = int(ids.min()), int(ids.max())
        if high - low < max(_LEAST_SPAN, _DENSE * len(ids)):
            return _among_table(array, ids, low, high)
    present = ~pd.isna(array)
    if array.dtype.kind in "fO" and present.any():
        # Whole numbers that became real numbers beside a missing value.
        array = array.astype(object)
        array[present] = _tidy(array[present], name)
    codes = np.full(len(array), -1, dtype=np.int32)
    codes[present] = _index(ids).get_indexer(_index(array[present]))
    return codes


def coded_column(values: object, listed: object, name: str, *, may_miss: bool = False) -> Coded:
    """Return the codes of one column, among listed ids where there are any.

    Raises
    ------
    InputError
        An id is not listed, or is missing and may not be.
    """
    if listed is None:
        codes, ids = code_ids(values, name)
        missing = codes < 0
    else:
        ids = listed_ids(listed, name)
        codes = code_among(values, ids, name)
        missing = codes < 0
        if missing.any():
            array = np.asarray(values, dtype=object)
            stray = missing & ~pd.isna(array)
            if stray.any():
                row = int(np.argmax(stray))
                raise InputError(
                    f"{name} row {row} is {array[row]!r}, which is not among the {len(ids):,} listed; "
                    "list every id, or none"
                )
    if missing.any() and not may_miss:
        row = int(np.argmax(missing))
        raise InputError(f"{name} row {row} is missing; every answer needs a task and a worker")
    return Coded(codes, ids)


def listed_ids(values: object, name: str) -> IdArray:
    """Return a given list of ids as an array, checked: nothing missing, nothing twice, order kept."""
    array = _one_dimensional(values, name)
    if len(array) and pd.isna(array).any():
        raise InputError(f"{name} holds a missing value; list only ids that exist")
    ids = _tidy(array, name)
    if len(_index(ids).unique()) < len(ids):
        raise InputError(f"{name} lists an id twice; list each once")
    return ids


def join_ids(mine: IdArray, others: IdArray) -> tuple[IdArray, IntArray]:
    """Return ``mine`` with what only ``others`` hold behind it, and the codes of ``others`` in that.

    Examples
    --------
    >>> join_ids(np.array([3, 5]), np.array([5, 9]))
    (array([3, 5, 9]), array([1, 2]))
    """
    codes = code_among(others, mine, "ids").astype(np.int64)
    is_new = codes < 0
    if not is_new.any():
        return mine, codes
    codes[is_new] = len(mine) + np.arange(int(is_new.sum()))
    new = others[is_new]
    if mine.dtype.kind == new.dtype.kind or not len(mine):
        return (np.concatenate([mine, new]) if len(mine) else new), codes
    return np.concatenate([mine.astype(object), new.astype(object)]), codes


def _index(ids: IdArray) -> pd.Index:
    # As objects: text of different widths, and numbers beside text, are compared by value.
    index: pd.Index = pd.Index(ids.astype(object) if ids.dtype.kind in "US" else ids)
    return index


def _one_dimensional(values: object, name: str) -> IdArray:
    array = values if isinstance(values, np.ndarray) else _as_numpy(values, name)
    if array.ndim != 1:
        raise InputError(f"{name} has shape {array.shape}; expected one id a row, shape (n,)")
    if array.dtype.kind not in "iufbUSO":
        array = array.astype(object)
    return array


def _as_numpy(values: object, name: str) -> IdArray:
    if isinstance(values, list | tuple):
        # Element by element: numpy would turn [1, "a"] and ["a", None] into text.
        array = np.empty(len(values), dtype=object)
        array[:] = values
        kinds = {type(value) for value in values}
        if not kinds.isdisjoint(_NESTED):
            raise InputError(f"{name} holds lists; expected one id a row, text or a whole number")
        return np.asarray(values) if kinds in ({int}, {str}) else array
    array = np.asarray(values)
    return array.astype(object) if array.dtype.kind == "T" else array


def _by_table(array: IdArray, low: int, high: int) -> Coded:
    shifted = (array.astype(np.int64) - low) if array.dtype.kind == "u" or low else array
    is_present: BoolArray = np.zeros(high - low + 1, dtype=bool)
    is_present[shifted] = True
    place = np.cumsum(is_present, dtype=np.int32) - np.int32(1)
    return Coded(place[shifted], np.flatnonzero(is_present) + low)


def _among_table(array: IdArray, ids: IdArray, low: int, high: int) -> IntArray:
    table = np.full(high - low + 2, -1, dtype=np.int32)
    table[ids.astype(np.int64) - low] = np.arange(len(ids), dtype=np.int32)
    numbers = array.astype(np.int64)
    # Whatever lies outside looks up the last place.
    return table[np.where((numbers >= low) & (numbers <= high), numbers - low, high - low + 1)]


def _tidy(ids: IdArray, name: str) -> IdArray:
    """Return ids in the plainest type that holds them: whole numbers, booleans, text, else objects."""
    if ids.dtype.kind == "f":
        numbers = ids.astype(np.float64)
        is_whole = np.isfinite(numbers) & (numbers == np.round(numbers))
        if not is_whole.all():
            raise InputError(f"{name} holds {numbers[~is_whole][0]}; legal are text and whole numbers")
        return ids.astype(np.int64)
    if ids.dtype.kind != "O":
        return ids
    kinds = {type(each) for each in ids.tolist()}
    if kinds and all(issubclass(kind, str) for kind in kinds):
        return np.asarray(ids.tolist(), dtype=str)
    if kinds and all(issubclass(kind, int | np.integer) for kind in kinds) and not kinds & {bool}:
        return np.asarray(ids.tolist(), dtype=np.int64)
    if kinds and all(issubclass(kind, float | int | np.integer | np.floating) for kind in kinds):
        return _tidy(np.asarray(ids.tolist(), dtype=np.float64), name)
    return ids


def _sorted_order(ids: IdArray) -> IntArray:
    try:
        return np.argsort(ids, kind="stable")
    except TypeError:
        # Text beside numbers: by type, then by what they look like.
        keys = [(type(each).__name__, str(each)) for each in ids.tolist()]
        return np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)
