"""Labels as people store them -> one integer or text a row, and which rows have none."""

from __future__ import annotations

import decimal
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.errors import InputError
from tamis.types import BoolArray

_MULTILABEL = "task 'multilabel' is not supported yet; give one class for each row"


class FlatLabels(NamedTuple):
    """One value a row: int64 numbers or strings, and which rows have none."""

    values: npt.NDArray[np.int64] | list[str]
    is_missing: BoolArray


def flatten_labels(labels: object) -> FlatLabels:
    """Return labels as int64 numbers or as strings, one a row.

    Raises
    ------
    InputError
        For mixed types, several labels a row, numbers that are not whole, and unknown types.
    """
    if isinstance(labels, pa.ChunkedArray):
        labels = labels.combine_chunks()
    if isinstance(labels, pa.Array):
        return _flatten_arrow(labels)
    if isinstance(labels, np.ma.MaskedArray):
        raise InputError("labels is a masked array; write None or NaN for unlabelled rows instead")
    if isinstance(labels, np.ndarray):
        return _flatten_numpy(labels)
    if isinstance(labels, str | bytes) or not isinstance(labels, Sequence):
        raise InputError(
            f"labels is {type(labels).__name__}; pass an array or a list with one label for each row"
        )
    return _flatten_objects(list(labels))


def _flatten_arrow(labels: pa.Array) -> FlatLabels:
    kind = labels.type
    if pa.types.is_dictionary(kind):
        return _flatten_arrow(labels.dictionary_decode())
    if pa.types.is_null(kind):
        return FlatLabels(np.zeros(len(labels), dtype=np.int64), np.ones(len(labels), dtype=bool))
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        is_missing = np.asarray(labels.is_null())
        filled = labels.fill_null(False if pa.types.is_boolean(kind) else 0)
        return FlatLabels(_as_int64(np.asarray(filled.to_numpy(zero_copy_only=False))), is_missing)
    if pa.types.is_floating(kind):
        return _flatten_numpy(labels.to_numpy(zero_copy_only=False))
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if is_text or is_list or pa.types.is_decimal(kind):
        return _flatten_objects(labels.to_pylist())
    raise InputError(
        f"labels have the type {kind}; legal are text, integers, booleans, whole numbers and one-hot rows"
    )


def _flatten_numpy(labels: npt.NDArray[np.generic]) -> FlatLabels:
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2:
        return _flatten_one_hot(labels)
    if labels.ndim != 1:
        raise InputError(f"labels has shape {labels.shape}; legal is (n,) or one-hot (n, K)")
    if labels.dtype.kind in "iub":
        return FlatLabels(_as_int64(labels), np.zeros(len(labels), dtype=bool))
    if labels.dtype.kind == "f":
        return _flatten_floats(labels.astype(np.float64))
    if labels.dtype.kind in "USOT":
        return _flatten_objects(labels.tolist())
    raise InputError(
        f"labels has the type {labels.dtype}; legal are text, integers, booleans and whole numbers"
    )


def _flatten_floats(values: npt.NDArray[np.float64]) -> FlatLabels:
    is_missing: BoolArray = np.asarray(np.isnan(values))
    filled = np.where(is_missing, 0.0, values)
    wrong = np.flatnonzero((filled != np.floor(filled)) | (np.abs(filled) > 2**53))
    if wrong.size:
        raise InputError(
            f"labels row {wrong[0]} is {values[wrong[0]]}, which is not a whole number; labels are"
            " classes (text or integers). For numbers to predict there is no task; for predicted"
            " probabilities pass pred_probs="
        )
    return FlatLabels(filled.astype(np.int64), np.asarray(is_missing))


def _flatten_one_hot(matrix: npt.NDArray[np.generic]) -> FlatLabels:
    if matrix.dtype.kind not in "biuf":
        raise InputError(f"labels has shape {matrix.shape} and type {matrix.dtype}; {_MULTILABEL}")
    values = matrix.astype(np.float64)
    is_missing: BoolArray = np.asarray(np.isnan(values).all(axis=1))
    values[is_missing] = 0.0
    wrong = np.flatnonzero(~np.isin(values, (0.0, 1.0)).all(axis=1))
    if wrong.size:
        raise InputError(
            f"labels has shape {matrix.shape} and row {wrong[0]} holds values other than 0 and 1; one-hot"
            " rows hold one 1. Pass one label for each row, and predicted probabilities as pred_probs="
        )
    ones = values.sum(axis=1)
    wrong = np.flatnonzero((ones > 1) & ~is_missing)
    if wrong.size:
        raise InputError(
            f"labels row {wrong[0]} has {int(ones[wrong[0]])} classes (several ones); {_MULTILABEL}"
        )
    wrong = np.flatnonzero((ones == 0) & ~is_missing)
    if wrong.size:
        raise InputError(
            f"labels row {wrong[0]} has no class (no one in a one-hot row); write NaN for unlabelled rows"
        )
    return FlatLabels(values.argmax(axis=1).astype(np.int64), is_missing)


def _flatten_objects(labels: list[object]) -> FlatLabels:
    first_row: dict[str, int] = {}
    kinds = []
    for row, value in enumerate(labels):
        kind = _kind(value, row)
        first_row.setdefault(kind, row)
        kinds.append(kind)
    present = sorted(set(first_row) - {"missing"})
    if len(present) > 1:
        a, b = present[0], present[1]
        raise InputError(
            f"labels mix types: row {first_row[a]} is {a} ({labels[first_row[a]]!r}), row {first_row[b]}"
            f" is {b} ({labels[first_row[b]]!r}); write all labels as text or all as integers"
        )
    is_missing = np.array([kind == "missing" for kind in kinds], dtype=bool)
    if not present:
        return FlatLabels(np.zeros(len(labels), dtype=np.int64), is_missing)
    if present == ["list"]:
        return _flatten_lists(labels, is_missing)
    if present == ["text"]:
        return FlatLabels(
            ["" if gone else _text(value) for value, gone in zip(labels, is_missing, strict=True)], is_missing
        )
    numbers = [0 if gone else value for value, gone in zip(labels, is_missing, strict=True)]
    if all(isinstance(value, int | np.integer | np.bool_) for value in numbers):
        return FlatLabels(_as_int64(np.array(numbers)), is_missing)
    floats = _flatten_floats(np.array([float(str(value)) for value in numbers]))
    return FlatLabels(floats.values, is_missing)


def _kind(value: object, row: int) -> str:
    if value is None or type(value).__name__ in {"NAType", "NaTType"}:
        return "missing"
    if isinstance(value, str | bytes):
        return "text" if value else "missing"
    if isinstance(value, bool | np.bool_):
        return "boolean"
    if isinstance(value, int | float | decimal.Decimal | np.integer | np.floating):
        # NaN is the only number that differs from itself.
        return "number" if value == value else "missing"
    if isinstance(value, list | tuple | set | frozenset | np.ndarray):
        return "list"
    raise InputError(
        f"labels row {row} is {type(value).__name__} ({str(value)[:40]!r}); legal are text, integers,"
        " booleans, whole numbers and one-hot rows"
    )


def _text(value: object) -> str:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise InputError(f"label {value[:40]!r} is not UTF-8 text; decode the labels first") from error
    text = str(value)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InputError(f"label {text!r} is no valid Unicode (a lone surrogate); correct it") from error
    return text


def _flatten_lists(labels: list[object], is_missing: BoolArray) -> FlatLabels:
    rows = [
        np.asarray(sorted(v) if isinstance(v, set | frozenset) else v)
        for v in labels
        if _kind(v, 0) == "list"
    ]
    if any(row.shape != rows[0].shape or row.ndim != 1 or row.dtype.kind not in "biuf" for row in rows):
        raise InputError(f"labels hold a list of classes for each row; {_MULTILABEL}")
    matrix = np.full((len(labels), len(rows[0])), np.nan)
    matrix[~is_missing] = rows
    return _flatten_one_hot(matrix)


def _as_int64(values: npt.NDArray[np.generic]) -> npt.NDArray[np.int64]:
    if values.dtype.kind == "O" or (
        values.dtype == np.uint64 and values.size and int(values.max()) > 2**63 - 1
    ):
        raise InputError("labels hold integers beyond 64 bits; write such labels as text")
    return values.astype(np.int64)
