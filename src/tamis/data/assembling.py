"""A frame and its roles -> a data set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tamis.data.cells import ArrowCells, Cells
from tamis.data.columns import Columns, Roles, find_roles, is_image_type
from tamis.data.dataset import Dataset, Input, LabelName, label_column
from tamis.data.frames import Frame
from tamis.data.inputs import ImageInput, TextInput
from tamis.data.labels import EncodedLabels, encode_labels
from tamis.data.local_files import path_problem
from tamis.data.matrices import as_matrix, find_problems, matrix_of_columns, matrix_of_lists
from tamis.errors import InputError
from tamis.types import FloatArray, IntArray

_RESERVED = ("id", "label", "split", "group")


def dataset_of_frame(frame: Frame, columns: Columns, class_names: Sequence[LabelName] | None) -> Dataset:
    """Return the data set that a table describes.

    Raises
    ------
    InputError
        If the table is empty, roles cannot be found, labels or ids cannot be used, or no row is usable.
    """
    if frame.n_rows == 0:
        raise InputError(f"{frame.source} has no rows; at least one labelled row is needed")
    roles = find_roles(frame, columns)
    pred_probs = (
        None
        if roles.pred_probs is None
        else matrix_of_lists(frame.columns[roles.pred_probs], roles.pred_probs)
    )
    labels = _labels(frame, roles, class_names, None if pred_probs is None else pred_probs.shape[1])
    features = _features(frame, roles)
    inputs, found = _inputs(frame, roles)
    problems = known_problems(features, pred_probs is not None, found)
    require_usable(labels.codes, problems, frame.source)
    return Dataset(
        table=_table(frame, roles, labels.codes),
        class_names=labels.class_names,
        inputs=inputs,
        features={} if features is None else {"features": features},
        pred_probs=pred_probs,
        source=frame.source,
        problems=problems,
        notes=tuple(frame.notes),
    )


def known_problems(
    features: FloatArray | None, has_probs: bool, by_input: Sequence[dict[int, str]]
) -> dict[int, str]:
    """Return the rows that are unusable and why, judged by the best evidence the data set holds.

    Features count before probabilities and these before inputs. With several inputs a row is unusable only if
    all of them are; an input that fails beside better evidence is found when it is decoded.
    """
    if features is not None:
        return find_problems(features)
    if has_probs or not by_input:
        return {}
    first, *others = by_input
    return {row: reason for row, reason in first.items() if all(row in found for found in others)}


def require_usable(codes: IntArray, problems: dict[int, str], source: str) -> None:
    """Raise `InputError` if no row has a label, or no row can be used."""
    if not (codes >= 0).any():
        raise InputError(
            f"{source} has {len(codes)} rows and none has a label; given labels are needed: pass"
            " label= with the column that holds them"
        )
    if len(problems) == len(codes):
        row = min(problems)
        raise InputError(
            f"no row of {source} can be used; row {row}: {problems[row]}. Correct the data and try again"
        )


def id_column(ids: pa.ChunkedArray | pa.Array, name: str) -> pa.Array:
    """Return ids as strings.

    Raises
    ------
    InputError
        If an id is missing or occurs twice; the message names the value and both rows.
    """
    ids = as_text(ids, name)
    if ids.null_count:
        row = int(np.flatnonzero(np.asarray(ids.is_null()))[0])
        raise InputError(
            f"{name} row {row} is empty; every row needs an id, or rename the column to number the rows"
        )
    if pc.count_distinct(ids).as_py() < len(ids):
        first_row: dict[str, int] = {}
        for row, value in enumerate(ids.to_pylist()):
            if value in first_row:
                raise InputError(
                    f"{name} {value!r} stands in rows {first_row[value]} and {row}; ids must be unique:"
                    " correct them, pass id= with another column, or rename the column to number the rows"
                )
            first_row[value] = row
    return ids


def row_numbers(n_rows: int) -> pa.Array:
    """Return "0", "1", ... as an Arrow array."""
    return pa.array(np.arange(n_rows)).cast(pa.string())


def as_text(column: pa.ChunkedArray | pa.Array, name: str) -> pa.Array:
    """Return a column as strings, empty text as null."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_floating(column.type) and pc.all(pc.equal(pc.floor(column), column)).as_py():
        column = column.cast(pa.int64())
    try:
        text = column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(f"{name} has the type {column.type}; text or integers are legal") from error
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)


def _labels(
    frame: Frame, roles: Roles, class_names: Sequence[LabelName] | None, n_columns: int | None
) -> EncodedLabels:
    if roles.label in frame.lazy:
        raise InputError(f"label={roles.label!r} holds image bytes; pass the column that holds the labels")
    values = frame.mixed[roles.label] if roles.label in frame.mixed else frame.typed(roles.label)
    names = frame.label_names.get(roles.label, frame.label_names.get(""))
    try:
        return encode_labels(
            values,
            class_names=names if class_names is None else class_names,
            n_columns=n_columns,
            missing_code=frame.missing_codes.get(roles.label),
        )
    except InputError as error:
        raise InputError(f"{frame.source}, column {roles.label!r}: {error}") from error


def _features(frame: Frame, roles: Roles) -> FloatArray | None:
    if not roles.features:
        return None
    absent = [name for name in roles.features if name not in frame.columns]
    if absent:
        raise InputError(
            f"features column {absent[0]!r} does not hold one type of number; clean the column first"
        )
    typed = [frame.typed(name) for name in roles.features]
    if len(typed) == 1 and pa.types.is_nested(typed[0].type):
        return matrix_of_lists(typed[0], roles.features[0])
    return as_matrix(matrix_of_columns(typed, roles.features), "features")


def _inputs(frame: Frame, roles: Roles) -> tuple[dict[str, Input], list[dict[int, str]]]:
    """Return the inputs by name, and for each the rows known to be unusable with the reason."""
    inputs: dict[str, Input] = {}
    problems: list[dict[int, str]] = []
    if roles.image is not None:
        cells = _image_cells(frame, roles.image)
        inputs["image"] = ImageInput(cells, frame.root)
        paths = _paths(frame.columns[roles.image]) if roles.image in frame.columns else []
        root = None if frame.root is None else frame.root.resolve()
        found = ((row, path_problem(path, root)) for row, path in enumerate(paths))
        problems.append({row: reason for row, reason in found if reason is not None})
    if roles.text is not None:
        text = TextInput(pa.chunked_array([_texts(frame, roles.text)]))
        inputs["text"] = text
        problems.append(text.problems())
    return inputs, problems


def _image_cells(frame: Frame, name: str) -> Cells:
    if name in frame.lazy:
        return frame.lazy[name]
    if name in frame.mixed:
        raise InputError(f"image column {name!r} mixes types; paths (text) or image bytes are legal")
    column = frame.columns[name]
    if pa.types.is_dictionary(column.type):
        column = pa.chunked_array([chunk.dictionary_decode() for chunk in column.chunks])
    if not is_image_type(column.type) and not _is_string(column.type):
        raise InputError(
            f"image column {name!r} has the type {column.type}; paths (text) or image bytes are legal"
        )
    return ArrowCells(column)


def _paths(column: pa.ChunkedArray) -> list[str | None]:
    """Return the paths that stand in a column of paths; nothing for a column of bytes."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    return column.to_pylist() if _is_string(kind) else []


def _texts(frame: Frame, name: str) -> pa.Array:
    if name not in frame.columns:
        raise InputError(
            f"text column {name!r} does not hold text in every row; turn the other cells into text or null"
        )
    column = frame.columns[name].combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if not _is_string(column.type):
        raise InputError(
            f"text column {name!r} has the type {column.type}; text is needed, pass text= with its column"
        )
    return column.cast(pa.large_string())


def _is_string(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _table(frame: Frame, roles: Roles, codes: IntArray) -> pa.Table:
    nothing = pa.nulls(frame.n_rows, pa.string())
    ids = (
        row_numbers(frame.n_rows)
        if roles.id is None
        else id_column(_column(frame, roles.id), f"id column {roles.id!r}")
    )
    split = (
        nothing
        if roles.split is None
        else as_text(_column(frame, roles.split), f"split column {roles.split!r}")
    )
    group = (
        nothing
        if roles.group is None
        else as_text(_column(frame, roles.group), f"group column {roles.group!r}")
    )
    table = {"id": ids, "label": label_column(codes), "split": split, "group": group}
    for name, column in frame.columns.items():
        # The image path is kept: it is the name people know the row by.
        is_path = name == roles.image and _is_string(column.type)
        if (name not in roles.used and not is_image_type(column.type)) or is_path:
            free = name
            while free in table or free in _RESERVED:
                free = f"source_{free}"
            table[free] = column
    return pa.table(table)


def _column(frame: Frame, name: str) -> pa.ChunkedArray:
    if name not in frame.columns:
        raise InputError(f"column {name!r} mixes types or holds images; text or integers are legal here")
    return frame.columns[name]
