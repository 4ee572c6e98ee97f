"""The columns of the audited source, read again for a copy of it."""

from __future__ import annotations

import inspect
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
import pyarrow as pa

from tamis.data.columns import Columns, find_roles
from tamis.data.dataset import Dataset, Image, Input, Unreadable
from tamis.data.inputs import ImageInput
from tamis.data.manifests import read_manifest
from tamis.data.reading import MANIFEST_SUFFIXES, read
from tamis.errors import TamisError
from tamis.exporting.finished import FinishedAudit
from tamis.types import IntArray

_BLOCK = 1_000
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@dataclass(frozen=True)
class Full:
    """A copy with the columns of its source.

    Attributes
    ----------
    table : pyarrow.Table
    image_column : str or None
        Name of the column of ``{bytes, path}`` pictures.
    notes : tuple of str
    """

    table: pa.Table
    image_column: str | None
    notes: tuple[str, ...]


def add_source_columns(copy: pa.Table, rows: IntArray, audit: FinishedAudit, *, with_images: bool) -> Full:
    """Return the copy with every column of the source beside it, where the source can be read again.

    Parameters
    ----------
    copy : pyarrow.Table
        One row for each of ``rows``.
    rows : (m,) int64
        Rows of the data set, ascending.
    audit : FinishedAudit
    with_images : bool
        Also add the pictures, as ``{bytes, path}``.
    """
    dataset, problem = _read_again(audit)
    if dataset is None:
        return Full(copy, None, (f"{problem}: the copy holds ids and labels only",))
    columns = dict(zip(copy.column_names, copy.columns, strict=True))
    for name in dataset.table.column_names:
        column = dataset.table.column(name)
        if name in {"id", "label"} or (name in {"split", "group"} and column.null_count == len(column)):
            continue
        columns[_free_name(name, columns)] = column.take(pa.array(rows))
    for name, column in _evidence_columns(audit).items():
        columns[_free_name(name, columns)] = column.take(pa.array(rows))
    if "text" in dataset.inputs and "text" not in columns:
        columns["text"] = _texts(dataset.inputs["text"], rows)
    image_column = None
    if with_images and "image" in dataset.inputs:
        image_column = "image"
        if image_column in columns:
            columns[_free_name(f"source_{image_column}", columns)] = columns.pop(image_column)
        columns[image_column] = _pictures(dataset.inputs["image"], rows, dataset.ids)
    return Full(pa.table(columns), image_column, ())


def _read_again(audit: FinishedAudit) -> tuple[Dataset | None, str]:
    """Return the source as it was audited, or None and why not."""
    if audit.source is None:
        return None, "the audited data are not a file that can be read again"
    known = inspect.signature(read).parameters
    options = {
        name: value for name, value in audit.read_options.items() if name in known and value is not None
    }
    try:
        dataset = read(audit.source, **options)  # type: ignore[arg-type]  # checked by read itself
    except (TamisError, OSError) as error:
        return None, f"{audit.source} cannot be read again ({error})"
    names = pa.array(dataset.class_names)
    labels = names.take(pa.array(dataset.label_codes, mask=~dataset.is_labelled))
    given = audit.issues.column("given_label").combine_chunks()
    same = dataset.ids == audit.issues.column("id").to_pylist() and labels.to_pylist() == given.to_pylist()
    return (dataset, "") if same else (None, f"{audit.source} has changed since the audit")


def _evidence_columns(audit: FinishedAudit) -> dict[str, pa.ChunkedArray]:
    """Return the columns of a manifest that were read as features or probabilities, under their own names."""
    if audit.source is None or audit.source.suffix.lower() not in MANIFEST_SUFFIXES:
        return {}
    frame = read_manifest(audit.source)
    known = Columns.__dataclass_fields__
    given = {name: value for name, value in audit.read_options.items() if name in known}
    roles = find_roles(frame, Columns(**given))  # type: ignore[arg-type]  # the same options as when it was read
    names = [*roles.features, *([roles.pred_probs] if roles.pred_probs else [])]
    return {name: frame.typed(name) for name in names}


def _free_name(name: str, taken: dict[str, pa.ChunkedArray]) -> str:
    while name in taken:
        name = f"source_{name}"
    return name


def _blocks(rows: IntArray) -> Iterator[list[int]]:
    for start in range(0, len(rows), _BLOCK):
        yield rows[start : start + _BLOCK].tolist()


def _texts(texts: Input, rows: IntArray) -> pa.ChunkedArray:
    chunks = [
        pa.array([text if isinstance(text, str) else None for text in texts.read(block)], pa.string())
        for block in _blocks(rows)
    ]
    return pa.chunked_array(chunks, type=pa.string())


def _pictures(images: Input, rows: IntArray, ids: list[str]) -> pa.ChunkedArray:
    """Return (m,) ``{bytes, path}``; null where a picture cannot be read."""
    chunks = []
    for block in _blocks(rows):
        if isinstance(images, ImageInput):
            contents = images.read_bytes(block)
        else:
            contents = [_as_png(cast("Image | Unreadable", image)) for image in images.read(block)]
        cells = [
            {"bytes": content, "path": ids[row]} if isinstance(content, bytes) else None
            for row, content in zip(block, contents, strict=True)
        ]
        chunks.append(pa.array(cells, _IMAGE))
    return pa.chunked_array(chunks, type=_IMAGE)


def _as_png(image: Image | Unreadable) -> bytes | Unreadable:
    if not isinstance(image, np.ndarray):
        return image
    import PIL.Image

    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()
