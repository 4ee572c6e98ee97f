"""Hugging Face ``datasets``: folders written by ``save_to_disk``, and objects in memory.

The folder format is a few JSON files beside Arrow streams, so folders are read with pyarrow alone: the
library need not be installed, nothing is executed, and the streams are memory-mapped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from tamis.data.cells import ArrowCells, JoinedCells
from tamis.data.columns import is_image_type
from tamis.data.frames import Frame, check_column_names
from tamis.data.schema_metadata import class_label_names, label_names_of_schema
from tamis.errors import InputError

if TYPE_CHECKING:
    import datasets

_SPLIT_COLUMN = "split"
_BATCH_ROWS = 256


def is_saved_folder(path: Path) -> bool:
    """Return whether ``save_to_disk`` wrote this folder."""
    return (path / "dataset_dict.json").is_file() or (
        (path / "state.json").is_file() and (path / "dataset_info.json").is_file()
    )


def read_saved_folder(path: Path) -> Frame:
    """Return the frame of a folder that ``save_to_disk`` wrote, one split or several.

    Raises
    ------
    InputError
        If a file is missing, damaged, or named outside the folder.
    """
    try:
        if not (path / "dataset_dict.json").is_file():
            return _saved_split(path, path)
        names = _json(path / "dataset_dict.json").get("splits")
        if not isinstance(names, list) or not names:
            raise InputError(f"{path / 'dataset_dict.json'} names no splits; save the data set again")
        parts = {str(name): _saved_split(_child(path, name), path) for name in names}
    except (OSError, pa.ArrowException) as error:
        raise InputError(
            f"folder {path} cannot be read ({str(error)[:200]}); save the data set again"
        ) from error
    return _joined(parts, str(path))


def frame_of_object(source: object) -> Frame:
    """Return the frame of a ``datasets.Dataset`` or ``DatasetDict``; images stay undecoded bytes.

    Raises
    ------
    InputError
        For streaming data sets and unknown objects.
    """
    name = type(source).__name__
    if name.startswith("Iterable"):
        raise InputError(
            f"{name} streams and has no length; materialise it first (Dataset.from_generator) or save it"
        )
    if isinstance(source, Mapping):
        if not source:
            raise InputError("the DatasetDict holds no splits; at least one labelled row is needed")
        return _joined({str(split): frame_of_object(part) for split, part in source.items()}, name)
    if not hasattr(source, "select_columns") or not hasattr(source, "with_format"):
        raise InputError(
            f"{type(source).__module__}.{name} is not a Dataset or DatasetDict; pass one of these"
        )
    return _object_frame(source)


class _ObjectCells:
    """Cells of an image column of a ``datasets.Dataset``, as bytes and path."""

    def __init__(self, source: datasets.Dataset, column: str) -> None:
        self._arrow = source.select_columns([column]).with_format("arrow")

    def __len__(self) -> int:
        return len(self._arrow)

    def take(self, rows: Sequence[int]) -> list[object]:
        cells: list[object] = self._arrow[[int(row) for row in rows]].column(0).to_pylist()
        return cells

    def batches(self) -> Iterator[list[object]]:
        for start in range(0, len(self), _BATCH_ROWS):
            yield self._arrow[start : start + _BATCH_ROWS].column(0).to_pylist()


def _object_frame(source: datasets.Dataset) -> Frame:
    schema = source.features.arrow_schema
    rest = [name for name in schema.names if not is_image_type(schema.field(name).type)]
    # Without an index mapping this is the memory-mapped table itself.
    table = source.select_columns(rest).with_format("arrow")[:] if rest else pa.table({})
    frame = Frame(
        {name: table.column(name) for name in rest},
        len(source),
        f"datasets.Dataset ({source.num_rows:,} rows)",
    )
    frame.lazy = {name: _ObjectCells(source, name) for name in schema.names if name not in rest}
    frame.label_names = {
        name: tuple(feature.names)
        for name, feature in source.features.items()
        if type(feature).__name__ == "ClassLabel"
    }
    frame.missing_codes = dict.fromkeys(frame.label_names, -1)
    return frame


def _saved_split(folder: Path, root: Path) -> Frame:
    state = _json(folder / "state.json")
    files = state.get("_data_files")
    if not isinstance(files, list) or not files:
        raise InputError(f"{folder / 'state.json'} names no data files; save the data set again")
    tables = []
    for item in files:
        path = _child(folder, item.get("filename") if isinstance(item, dict) else None)
        with pa.memory_map(str(path)) as mapped, pa.ipc.open_stream(mapped) as reader:
            tables.append(reader.read_all())
    table = pa.concat_tables(tables)
    check_column_names(table.column_names)
    images = [name for name in table.column_names if is_image_type(table.schema.field(name).type)]
    frame = Frame({}, table.num_rows, str(folder), root=root.resolve())
    frame.columns = {name: table.column(name) for name in table.column_names if name not in images}
    frame.lazy = {name: ArrowCells(table.column(name)) for name in images}
    names, missing = label_names_of_schema(table.schema)
    described = class_label_names(_json(folder / "dataset_info.json").get("features"))
    frame.label_names = names | described
    frame.missing_codes = missing | dict.fromkeys(described, -1)
    return frame


def _child(folder: Path, name: object) -> Path:
    # A data set from somewhere else must not name files of this machine.
    if not isinstance(name, str) or not name or Path(name).name != name or name in {".", ".."}:
        raise InputError(f"folder {folder} names the file {name!r}; only files right in the folder are read")
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"folder {folder} names {name!r}, which leads outside of it; nothing was opened")
    return path


def _json(path: Path) -> dict[str, object]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}); save the data set again") from error
    if not isinstance(value, dict):
        raise InputError(f"{path} does not hold a JSON object; save the data set again")
    return value


def _joined(parts: Mapping[str, Frame], source: str) -> Frame:
    """Return the frames of splits one below the other, with the split as a column."""
    first = next(iter(parts.values()))
    for split, part in parts.items():
        if set(part.names) != set(first.names):
            raise InputError(
                f"split {split!r} has the columns {part.names}, the first {first.names}; pass one split"
            )
        if part.label_names != first.label_names:
            raise InputError(
                f"split {split!r} has other class names than the first; pass one split at a time"
            )
    frame = Frame({}, sum(part.n_rows for part in parts.values()), source, root=first.root)
    frame.label_names = first.label_names
    frame.missing_codes = first.missing_codes
    frame.columns = {name: _stacked(name, parts) for name in first.columns}
    frame.lazy = {name: JoinedCells([part.lazy[name] for part in parts.values()]) for name in first.lazy}
    if _SPLIT_COLUMN not in frame.names:
        names = [pa.repeat(pa.scalar(split, pa.string()), part.n_rows) for split, part in parts.items()]
        frame.columns[_SPLIT_COLUMN] = pa.chunked_array(names, pa.string())
    return frame


def _stacked(name: str, parts: Mapping[str, Frame]) -> pa.ChunkedArray:
    tables = [pa.table({name: part.columns[name]}) for part in parts.values()]
    try:
        return pa.concat_tables(tables, promote_options="permissive").column(0)
    except pa.ArrowException as error:
        raise InputError(
            f"column {name!r} has another type in each split ({error}); pass one split at a time"
        ) from error
