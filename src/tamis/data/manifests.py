"""CSV, TSV, JSON-lines and Parquet files -> frames."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from tamis.data.cells import ParquetCells
from tamis.data.columns import is_image_type
from tamis.data.frames import Frame, check_column_names, frame_of_table
from tamis.data.schema_metadata import label_names_of_schema
from tamis.errors import InputError

# A row of text must fit into one block.
_CSV_BLOCK_BYTES = 2**26


def read_manifest(path: Path) -> Frame:
    """Return the frame of a manifest; image paths in it are relative to its folder and must stay there."""
    readers: dict[str, Callable[[Path], Frame]] = {
        ".csv": lambda file: _read_delimited(file, ","),
        ".tsv": lambda file: _read_delimited(file, "\t"),
        ".jsonl": _read_json_lines,
        ".ndjson": _read_json_lines,
        ".parquet": _read_parquet,
    }
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty; a manifest needs a header and at least one row")
    try:
        frame = readers[path.suffix.lower()](path)
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise InputError(
            f"{path} cannot be read as {path.suffix} ({str(error)[:200]}); repair or re-write the file"
        ) from (error)
    frame.root = path.parent.resolve()
    return frame


def _read_delimited(path: Path, delimiter: str) -> Frame:
    with path.open("rb") as file:
        head = file.readline(2**16)
    if delimiter == "," and b"," not in head and b";" in head:
        frame = _read_delimited(path, ";")
        frame.notes.append(f"{path.name} separates its columns by semicolons")
        return frame
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return _read_encoded(path, delimiter, "utf-16")
    try:
        return _read_encoded(path, delimiter, "utf-8")
    except (pa.ArrowInvalid, UnicodeError) as error:
        if "utf" not in str(error).lower():
            raise
        frame = _read_encoded(path, delimiter, "latin-1")
        frame.notes.append(f"{path.name} is not UTF-8; it was read as latin-1")
        return frame


def _read_encoded(path: Path, delimiter: str, encoding: str) -> Frame:
    read = pyarrow.csv.ReadOptions(encoding=encoding, block_size=_CSV_BLOCK_BYTES)
    parse = pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    with pyarrow.csv.open_csv(path, read_options=read, parse_options=parse) as reader:
        names = reader.schema.names
    check_column_names(names)
    # Every cell stays the text it is; numbers are recognised later, for the columns that need them.
    convert = pyarrow.csv.ConvertOptions(
        column_types={name: pa.large_string() for name in names}, strings_can_be_null=True, null_values=[""]
    )
    table = pyarrow.csv.read_csv(path, read_options=read, parse_options=parse, convert_options=convert)
    frame = frame_of_table(table, str(path))
    frame.is_text = True
    return frame


def _read_json_lines(path: Path) -> Frame:
    columns: dict[str, list[object]] = {}
    n_rows = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            for name, value in _json_object(line, path, number).items():
                cells = columns.setdefault(name, [])
                cells.extend([None] * (n_rows - len(cells)))
                cells.append(value)
            n_rows += 1
    for cells in columns.values():
        cells.extend([None] * (n_rows - len(cells)))
    return frame_of_lists(columns, n_rows, str(path))


def _json_object(line: bytes, path: Path, number: int) -> dict[str, object]:
    try:
        value = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path} line {number} is not JSON ({error}); each line holds one JSON object"
        ) from error
    if not isinstance(value, dict):
        raise InputError(
            f"{path} line {number} holds {type(value).__name__}; each line holds one JSON object"
        )
    return value


def frame_of_lists(columns: dict[str, list[object]], n_rows: int, source: str) -> Frame:
    """Return the frame of columns that are lists; cells of mixed types are kept aside."""
    frame = Frame({}, n_rows, source)
    for name, cells in columns.items():
        try:
            frame.columns[name] = pa.chunked_array([_arrow(cells)])
        except (pa.ArrowException, OverflowError, TypeError, UnicodeError):
            frame.mixed[name] = cells
    return frame


def _arrow(cells: list[object]) -> pa.Array:
    try:
        return pa.array(cells)
    except UnicodeEncodeError:
        # Lone surrogates come from texts cut in the middle of a character; Arrow holds valid text only.
        return pa.array(
            [cell.encode("utf-8", "replace").decode() if isinstance(cell, str) else cell for cell in cells]
        )


def _read_parquet(path: Path) -> Frame:
    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        check_column_names(schema.names)
        images = [name for name in schema.names if is_image_type(schema.field(name).type)]
        rest = [name for name in schema.names if name not in images]
        table = file.read(columns=rest)
        frame = frame_of_table(table.select(rest), str(path))
        frame.n_rows = file.metadata.num_rows
    frame.lazy = {name: ParquetCells(path, name) for name in images}
    frame.label_names, frame.missing_codes = label_names_of_schema(schema)
    return frame
