"""`read`: anything that holds labelled samples -> a data set."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from tamis.data import data_frames, folders, hugging_face, manifests, torch_datasets
from tamis.data.array_files import ArrayArchive, load_array
from tamis.data.array_names import find_array_roles
from tamis.data.arrays import as_array, dataset_of_arrays, from_arrays
from tamis.data.assembling import dataset_of_frame
from tamis.data.columns import Columns
from tamis.data.dataset import Dataset, LabelName
from tamis.data.frames import Frame, frame_of_table
from tamis.data.schema_metadata import label_names_of_schema
from tamis.errors import InputError

MANIFEST_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
_LEGAL = (
    "a folder of images, a .csv, .tsv, .jsonl or .parquet file, .npz or .npy arrays, a folder of"
    " datasets.save_to_disk, a data frame, an Arrow table, a Hugging Face Dataset, (features, labels), a"
    " dict of arrays, or a torch Dataset"
)


def read(
    source: object,
    *,
    task: str = "auto",
    label: str | None = None,
    image: str | None = None,
    text: str | None = None,
    features: str | Sequence[str] | None = None,
    id: str | None = None,
    split: str | None = None,
    group: str | None = None,
    class_names: Sequence[LabelName] | None = None,
    format: str | None = None,
) -> Dataset:
    """Read labelled samples from nearly anything.

    Parameters
    ----------
    source : path or object
        A folder of images (``class/file`` or ``split/class/file``); a ``.csv``, ``.tsv``, ``.jsonl`` or
        ``.parquet`` manifest with image paths, image bytes, texts or numbers; a folder written by
        ``datasets.save_to_disk``; ``.npz`` or ``.npy`` arrays; a pandas data frame; a pyarrow table; a
        Hugging Face ``Dataset`` or ``DatasetDict``; a pair ``(features, labels)`` or a dict of arrays; a
        torch map-style ``Dataset``.
    task : {"auto", "classification"}
        Other tasks are not supported yet.
    label, image, text, id, split, group : str, optional
        Name of the column (or array) with that role. Default: found by its usual name.
    features : str or sequence of str, optional
        A column of lists, or several columns of numbers.
    class_names : sequence of str or int, optional
        Classes in code order; integer labels are then codes.
    format : str, optional
        Name of a published data set, such as ``"clothing1m"``: ``source`` is then its folder or file, and
        ``label`` one of its label sets. See `tamis.data.published.FORMATS`.

    Returns
    -------
    Dataset
        Rows that cannot be used are in ``problems``, or are found when they are decoded; none is dropped.

    Raises
    ------
    InputError
        If the source does not exist, is of an unknown kind, is empty, has no labels, or columns cannot be
        told apart.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"text": ["good film", "bad film"], "label": ["pos", "neg"]})
    >>> read(frame).class_names
    ('neg', 'pos')
    """
    if task not in ("auto", "classification"):
        raise InputError(f"task={task!r} is not supported yet; legal are 'auto' and 'classification'")
    columns = Columns(label, image, text, features, id, split, group)
    if format is not None:
        return _read_published(source, format, columns, class_names)
    if isinstance(source, str | os.PathLike):
        return _read_path(_path(source), columns, class_names)
    if isinstance(source, Dataset):
        return source
    if isinstance(source, Mapping) and not _comes_from(source, "datasets"):
        return _read_arrays(source, columns, class_names)
    if isinstance(source, tuple) and len(source) == 2:
        return _read_pair(source[0], source[1], class_names)
    torch = sys.modules.get("torch")
    if (
        torch is not None
        and isinstance(source, torch.utils.data.Dataset)
        and not _comes_from(source, "datasets")
    ):
        return torch_datasets.read_torch_dataset(source, class_names)
    return dataset_of_frame(frame_of_object(source), columns, class_names)


def _read_published(
    source: object, format: str, columns: Columns, class_names: Sequence[LabelName] | None
) -> Dataset:
    from tamis.data.published import read_published

    if not isinstance(source, str | os.PathLike):
        raise InputError(f"source is a {type(source).__name__}; with format={format!r} pass a path")
    surplus = [name for name in columns.given() if name != "label"]
    if surplus or class_names is not None:
        names = ", ".join(surplus or ["class_names"])
        raise InputError(f"{names} cannot go with format={format!r}, which has its own; leave it out")
    return read_published(_path(source), format, label=columns.label)


def _comes_from(source: object, package: str) -> bool:
    return any(kind.__module__.split(".")[0] == package for kind in type(source).__mro__)


def _path(source: str | os.PathLike[str]) -> Path:
    if not os.fspath(source):
        raise InputError(f"source is an empty path; pass {_LEGAL}")
    try:
        return Path(os.fspath(source)).expanduser()
    except RuntimeError as error:
        raise InputError(f"source {source!r} names an unknown home folder; write the path in full") from error


def _read_path(path: Path, columns: Columns, class_names: Sequence[LabelName] | None) -> Dataset:
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except (OSError, ValueError) as error:
        raise InputError(
            f"source {str(path)[:200]!r} is not a usable path ({error}); pass {_LEGAL}"
        ) from error
    if not exists:
        hint = (
            "; it looks like an address: download it first"
            if ":/" in str(path)
            else "; for a data set of the Hugging Face hub pass datasets.load_dataset(...)"
        )
        raise InputError(f"source {str(path)!r} does not exist; pass {_LEGAL}{hint}")
    if is_folder:
        if hugging_face.is_saved_folder(path):
            return dataset_of_frame(hugging_face.read_saved_folder(path), columns, class_names)
        if columns.given():
            raise InputError(
                f"{path} is a folder of images, which has no columns; leave out"
                f" {', '.join(columns.given())}, or pass a manifest file"
            )
        return folders.read_image_folder(path, class_names)
    suffix = path.suffix.lower()
    if suffix in MANIFEST_SUFFIXES:
        return dataset_of_frame(manifests.read_manifest(path), columns, class_names)
    if suffix == ".npz":
        return _read_archive(path, columns, class_names)
    if suffix == ".npy":
        return _read_npy(path, columns, class_names)
    raise InputError(
        f"source {str(path)!r} has the suffix {path.suffix!r}, which is not known; pass {_LEGAL}"
    )


def _read_archive(path: Path, columns: Columns, class_names: Sequence[LabelName] | None) -> Dataset:
    archive = ArrayArchive(path)
    roles = find_array_roles({name: archive.shape(name) for name in archive}, columns, str(path))
    return dataset_of_arrays(archive, roles, class_names, str(path))


def _read_npy(path: Path, columns: Columns, class_names: Sequence[LabelName] | None) -> Dataset:
    features = load_array(path)
    if columns.label is None:
        raise InputError(
            f"{path} holds one array of shape {features.shape} and no labels; pass label= with the path"
            " of a .npy file of labels, or use (features, labels)"
        )
    return _read_pair(features, load_array(path.parent / columns.label), class_names, str(path))


def _read_arrays(
    source: Mapping[str, object], columns: Columns, class_names: Sequence[LabelName] | None
) -> Dataset:
    arrays = {str(name): values for name, values in source.items() if values is not None}
    if not arrays:
        raise InputError("the dict of arrays is empty; pass features and labels, for example")
    shapes = {name: as_array(values).shape for name, values in arrays.items()}
    return dataset_of_arrays(arrays, find_array_roles(shapes, columns, "the dict"), class_names, "arrays")


def _read_pair(
    samples: object, labels: object, class_names: Sequence[LabelName] | None, source: str = "arrays"
) -> Dataset:
    if isinstance(samples, list | tuple) and any(isinstance(sample, str) for sample in samples[:100]):
        return from_arrays(texts=samples, labels=labels, class_names=class_names, source=source)
    array = as_array(samples)
    if array.dtype == np.uint8 and array.ndim in (3, 4):
        return from_arrays(images=array, labels=labels, class_names=class_names, source=source)
    return from_arrays(features=array, labels=labels, class_names=class_names, source=source)


def frame_of_object(source: object) -> Frame:
    """Return the columns of a table in memory."""
    if isinstance(source, pa.RecordBatch):
        source = pa.table(source)
    if isinstance(source, pa.Table):
        frame = frame_of_table(source, "Arrow table")
        frame.label_names, frame.missing_codes = label_names_of_schema(source.schema)
        return frame
    if _comes_from(source, "pandas") and hasattr(source, "columns"):
        return data_frames.frame_of_data_frame(source)  # type: ignore[arg-type]  # not imported
    if _comes_from(source, "datasets"):
        return hugging_face.frame_of_object(source)
    raise InputError(f"source is a {type(source).__module__}.{type(source).__name__}; pass {_LEGAL}")
