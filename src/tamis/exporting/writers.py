"""Writing a table as CSV, Parquet, JSON lines or a Hugging Face ``datasets`` folder, atomically."""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from tamis.errors import MissingExtraError
from tamis.runs import atomic_path

Format: TypeAlias = Literal["csv", "parquet", "jsonl", "hf"]
SUFFIXES: Mapping[str, Format] = {".csv": "csv", ".parquet": "parquet", ".jsonl": "jsonl"}
FORMATS: tuple[Format, ...] = ("csv", "parquet", "hf", "jsonl")

HF_MARKER = "dataset_info.json"
"""The file by which a folder is known to be a saved ``datasets`` data set."""

_BATCH_ROWS = 10_000


def split_writable(table: pa.Table, to: Format) -> tuple[pa.Table, list[str]]:
    """Return the table as ``to`` can hold it, and the columns that it cannot hold.

    CSV and JSON lines have no bytes: binary columns and structures that contain them are left out. CSV has
    no lists: they become JSON text.
    """
    if to in {"parquet", "hf"}:
        return table, []
    left_out = [field.name for field in table.schema if _holds_bytes(field.type)]
    table = table.drop_columns(left_out)
    if to == "csv":
        for index, field in enumerate(table.schema):
            if pa.types.is_nested(field.type):
                texts = [None if value is None else _json(value) for value in table.column(index).to_pylist()]
                table = table.set_column(index, field.name, pa.array(texts, pa.string()))
            elif pa.types.is_dictionary(field.type):
                table = table.set_column(index, field.name, table.column(index).cast(field.type.value_type))
    return table, left_out


def write_file(table: pa.Table, path: Path, to: Format) -> None:
    """Write ``table`` to the file ``path``; on an error the file keeps what it held before."""
    writers: dict[Format, Callable[[pa.Table, Path], None]] = {
        "csv": pa.csv.write_csv,
        "parquet": pq.write_table,
        "jsonl": _write_jsonl,
    }
    with atomic_path(path) as temporary:
        writers[to](table, temporary)


def write_hf(table: pa.Table, path: Path, class_names: Sequence[str | int], image: str | None) -> None:
    """Write ``table`` as a folder for ``datasets.load_from_disk``.

    Parameters
    ----------
    table : pyarrow.Table
        Label columns hold labels as they were given.
    path : Path
        The folder; one that exists is replaced only if it is a saved data set.
    class_names : sequence
        Text names become the ``ClassLabel`` of the columns ``label`` and ``given_label``.
    image : str or None
        Name of a column of ``{bytes, path}`` that is to be read as pictures.

    Raises
    ------
    MissingExtraError
        If ``datasets`` is not installed.
    """
    try:
        import datasets
        from datasets.table import InMemoryTable
    except ImportError as error:
        raise MissingExtraError(
            'to="hf" needs the package datasets; install it with: pip install "tamis[hub]"'
        ) from error
    features = datasets.Features.from_arrow_schema(table.schema)
    names = [name for name in class_names if isinstance(name, str)]
    if names and len(names) == len(class_names):
        for column in {"label", "given_label", "suggested_label"} & set(table.column_names):
            index = table.schema.get_field_index(column)
            codes = pc.index_in(table.column(column), value_set=pa.array(names, pa.string()))
            table = table.set_column(index, column, codes.cast(pa.int64()))
            features[column] = datasets.ClassLabel(names=names)
    if image is not None:
        features[image] = datasets.Image()
    table = table.replace_schema_metadata(None)
    data = datasets.Dataset(
        InMemoryTable(table.cast(features.arrow_schema)), info=datasets.DatasetInfo(features=features)
    )
    with _atomic_folder(path) as temporary, _no_progress_bars():
        data.save_to_disk(str(temporary))


@contextlib.contextmanager
def _no_progress_bars() -> Iterator[None]:
    import datasets

    was_on = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if was_on:
            datasets.enable_progress_bars()


@contextlib.contextmanager
def _atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; on success it takes the place of ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    token = secrets.token_hex(4)
    temporary, old = (path.with_name(f".{path.name}.{token}.{kind}") for kind in ("tmp", "old"))
    try:
        yield temporary
        if path.exists():
            path.rename(old)
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_nested(kind):
        return any(_holds_bytes(kind.field(index).type) for index in range(kind.num_fields))
    return bool(
        pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
    )


def _write_jsonl(table: pa.Table, path: Path) -> None:
    with path.open("w", encoding="utf-8") as handle:
        for batch in table.to_batches(max_chunksize=_BATCH_ROWS):
            handle.writelines(_json(row) + "\n" for row in batch.to_pylist())


def _json(value: object) -> str:
    # JSON has no NaN: it is written as null, and dates as ISO text.
    return json.dumps(_without_nan(value), ensure_ascii=False, allow_nan=False, default=str)


def _without_nan(value: object) -> object:
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return value
