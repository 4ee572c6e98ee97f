"""Given labels in any usual form -> codes and class names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import NamedTuple

import numpy as np

from tamis.data.dataset import LabelName
from tamis.data.label_values import FlatLabels, flatten_labels
from tamis.errors import InputError
from tamis.types import IntArray


class EncodedLabels(NamedTuple):
    """(n,) int64 codes into ``class_names``, -1 = unlabelled."""

    codes: IntArray
    class_names: tuple[LabelName, ...]


def encode_labels(
    labels: object,
    *,
    class_names: Sequence[LabelName] | None = None,
    n_columns: int | None = None,
    missing_code: int | None = None,
) -> EncodedLabels:
    """Turn labels into codes.

    Strings, integers, booleans (as 0 and 1), floats that are whole numbers, and one-hot rows are read. None,
    NaN and "" mean unlabelled.

    Parameters
    ----------
    labels : Arrow array, numpy array or sequence, one label a row; or (n, K) one-hot
    class_names : sequence of str or int, optional
        Known classes in code order. Strings in ``labels`` must be among them; integers are their codes,
        except where the names are integers too: then they must be among them. Default: the sorted distinct
        labels.
    n_columns : int, optional
        Number of columns of predicted probabilities: the number of classes there must be.
    missing_code : int, optional
        An integer that means unlabelled (-1 in Hugging Face data sets).

    Returns
    -------
    EncodedLabels

    Raises
    ------
    InputError
        For mixed types, several labels a row, numbers that are not whole, and labels that are no known class.

    Examples
    --------
    >>> codes, names = encode_labels(["dog", "cat", None])
    >>> codes.tolist(), names
    ([1, 0, -1], ('cat', 'dog'))
    """
    names = None if class_names is None else check_class_names(class_names)
    flat = flatten_labels(labels)
    if missing_code is not None and not isinstance(flat.values, list):
        flat = FlatLabels(flat.values, flat.is_missing | (flat.values == missing_code))
    if isinstance(flat.values, list):
        distinct: list[LabelName] = sorted(
            {value for value, gone in zip(flat.values, flat.is_missing, strict=True) if not gone}
        )
    else:
        distinct = [int(value) for value in np.unique(flat.values[~flat.is_missing])]
    if names is None:
        names = _names_without_list(distinct, n_columns)
    elif n_columns is not None and n_columns != len(names):
        raise InputError(
            f"pred_probs has {n_columns} columns but there are {len(names)} class names; they must match"
        )
    return EncodedLabels(_codes(flat, names), names)


def check_class_names(class_names: Sequence[LabelName]) -> tuple[LabelName, ...]:
    """Return class names as a tuple of str, or of int; raise `InputError` if they are neither or repeat."""
    if isinstance(class_names, str | bytes | Mapping | Set) or not isinstance(class_names, Iterable):
        raise InputError(f"class_names is {class_names!r}; pass a list of names in the order of their codes")
    names = tuple(name.item() if isinstance(name, np.generic) else name for name in class_names)
    is_text = all(isinstance(name, str) for name in names)
    is_number = all(isinstance(name, int) and not isinstance(name, bool) for name in names)
    if not names or not (is_text or is_number):
        raise InputError(f"class_names is {names[:5]!r}; legal is a list of strings, or a list of integers")
    seen: set[LabelName] = set()
    for name in names:
        if name in seen:
            raise InputError(f"class_names holds {name!r} twice; name every class once")
        seen.add(name)
    return names


def _names_without_list(distinct: list[LabelName], n_columns: int | None) -> tuple[LabelName, ...]:
    if n_columns is None or len(distinct) == n_columns:
        return tuple(distinct)
    if all(isinstance(label, int) and 0 <= label < n_columns for label in distinct):
        return tuple(range(n_columns))
    raise InputError(
        f"labels hold {len(distinct)} distinct classes ({', '.join(map(repr, distinct[:5]))}, ...) but"
        f" pred_probs has {n_columns} columns; pass class_names= in the order of the columns"
    )


def _codes(flat: FlatLabels, names: tuple[LabelName, ...]) -> IntArray:
    codes = np.full(len(flat.is_missing), -1, dtype=np.int64)
    present = np.flatnonzero(~flat.is_missing)
    if not len(present):
        return codes
    if isinstance(flat.values, list):
        return _codes_of_names(flat.values, present, names, codes)
    values = flat.values[present]
    if names and isinstance(names[0], int):
        known = np.array(names, dtype=np.int64)
        order = np.argsort(known)
        at = np.minimum(np.searchsorted(known, values, sorter=order), len(known) - 1)
        is_wrong = known[order[at]] != values
        legal = f"{', '.join(map(str, names[:10]))}{', ...' if len(names) > 10 else ''}"
        found = order[at]
    else:
        is_wrong = (values < 0) | (values >= len(names))
        legal = f"codes 0 to {len(names) - 1}, because there are {len(names)} class names"
        found = values
    if is_wrong.any():
        first = int(np.flatnonzero(is_wrong)[0])
        raise InputError(
            f"labels row {present[first]} is {values[first]}; legal are {legal}."
            " Correct the label, pass class_names= with every class, or leave the label empty"
        )
    codes[present] = found
    return codes


def _codes_of_names(
    values: list[str], present: IntArray, names: tuple[LabelName, ...], codes: IntArray
) -> IntArray:
    code_of = {name: code for code, name in enumerate(names)}
    for row in present:
        code = code_of.get(values[row])
        if code is None:
            shown = ", ".join(map(repr, names[:10])) + (", ..." if len(names) > 10 else "")
            raise InputError(
                f"labels row {row} is {values[row]!r}, which is not among the class names ({shown});"
                " correct the label or pass class_names= with every class"
            )
        codes[row] = code
    return codes
