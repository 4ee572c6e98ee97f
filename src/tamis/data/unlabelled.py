"""Samples to predict for: what `read` takes, with or without labels, which are not looked at."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa

from tamis.data import hugging_face, manifests
from tamis.data.array_files import ArrayArchive, load_array
from tamis.data.array_names import find_array_roles
from tamis.data.arrays import as_array, dataset_of_arrays, from_arrays
from tamis.data.assembling import dataset_of_frame
from tamis.data.columns import LABEL_NAMES, Columns
from tamis.data.dataset import Dataset
from tamis.data.folders import walk_images
from tamis.data.frames import Frame
from tamis.data.inputs import ImageInput
from tamis.data.reading import MANIFEST_SUFFIXES, frame_of_object
from tamis.errors import InputError

_NAME = "label"
_NOTHING = "?"


def read_unlabelled(
    source: object,
    *,
    label: str | None = None,
    image: str | None = None,
    text: str | None = None,
    id: str | None = None,
) -> Dataset:
    """Read samples that need no label.

    Parameters
    ----------
    source : path or object
        A folder of images (all in it and below it); a manifest, a table or a data frame with or without a
        column of labels; ``.npz`` or ``.npy`` arrays; a matrix of features; an array of images; a list of
        texts; a `Dataset`.
    label, image, text, id : str, optional
        Name of the column with that role; by default found by its usual name. Labels are not looked at.

    Returns
    -------
    Dataset
        Without labels.

    Raises
    ------
    InputError
        The source does not exist, is empty or of an unknown kind.

    Examples
    --------
    >>> len(read_unlabelled([[0.0, 1.0], [2.0, 3.0]]))
    2
    """
    columns = Columns(label=label, image=image, text=text, id=id)
    if isinstance(source, Dataset):
        return source
    if isinstance(source, str | os.PathLike):
        if not os.fspath(source):
            raise InputError("the path is empty; give a folder of images, a manifest, .npz or .npy arrays")
        return _bare(_of_path(Path(os.fspath(source)).expanduser(), columns))
    if isinstance(source, list | tuple) and source and all(isinstance(each, str) for each in source):
        return _bare(from_arrays(texts=list(source), labels=[_NOTHING] * len(source)))
    if isinstance(source, np.ndarray | list | tuple) or type(source).__module__.split(".")[0] == "torch":
        return _bare(_of_array(as_array(source), "arrays"))
    return _bare(_of_frame(frame_of_object(source), columns))


def _of_path(path: Path, columns: Columns) -> Dataset:
    if not path.exists():
        raise InputError(f"{path} does not exist; give a folder of images, a manifest, .npz or .npy arrays")
    if path.is_dir():
        if hugging_face.is_saved_folder(path):
            return _of_frame(hugging_face.read_saved_folder(path), columns)
        return _of_folder(path)
    suffix = path.suffix.lower()
    if suffix in MANIFEST_SUFFIXES:
        return _of_frame(manifests.read_manifest(path), columns)
    if suffix == ".npz":
        return _of_archive(ArrayArchive(path), columns, str(path))
    if suffix == ".npy":
        return _of_array(load_array(path), str(path))
    raise InputError(
        f"{path} has the suffix {path.suffix!r}; legal are a folder of images, "
        f"{', '.join(MANIFEST_SUFFIXES)}, .npz and .npy"
    )


def _of_folder(path: Path) -> Dataset:
    files, bad_names = walk_images(path)
    if not files:
        raise InputError(f"folder {path} holds no images; give one that does, or a manifest")
    names = pa.chunked_array([pa.array(files, pa.string())])
    nothing = pa.nulls(len(files), pa.string())
    table = {"id": names, "label": pa.nulls(len(files), pa.int32()), "split": nothing, "group": nothing}
    images = ImageInput.from_files(path.resolve(), names)
    return Dataset(pa.table(table), (), inputs={"image": images}, source=str(path), problems=bad_names)


def _of_frame(frame: Frame, columns: Columns) -> Dataset:
    """Put a constant in the place of the labels: those of new data may be missing, unknown or wrong."""
    usual = {name for tier in LABEL_NAMES for name in tier}
    found = [name for name in frame.names if name.lower() in usual]
    name = columns.label or (found[0] if found else _NAME)
    if columns.label is not None and columns.label not in frame.names:
        raise InputError(f"label={columns.label!r} is not among the columns {frame.names}; leave it out")
    frame.mixed.pop(name, None)
    frame.lazy.pop(name, None)
    frame.columns[name] = pa.chunked_array([pa.repeat(_NOTHING, frame.n_rows)])
    return dataset_of_frame(frame, Columns(name, columns.image, columns.text, None, columns.id), None)


def _of_archive(archive: ArrayArchive, columns: Columns, source: str) -> Dataset:
    usual = {name for tier in LABEL_NAMES for name in tier} | {"label_codes"}
    found = ((name, archive[name]) for name in archive if name.lower() not in usual)
    arrays = {name: array for name, array in found if array.ndim}
    if not arrays:
        raise InputError(f"{source} holds no arrays to predict for; save features, images or texts in it")
    named = ", ".join(f"{name!r} {array.shape}" for name, array in arrays.items())
    arrays[_NAME] = np.repeat(_NOTHING, max(map(len, arrays.values())))
    shapes = {name: array.shape for name, array in arrays.items()}
    wanted = Columns(_NAME, columns.image, columns.text, None, columns.id)
    try:
        roles = find_array_roles(shapes, wanted, source)
    except InputError as error:
        if columns.image is not None or columns.text is not None or columns.id is not None:
            raise
        # It speaks of the labels that stand in for those that are not looked at.
        raise InputError(
            f"{source} holds {named}, and none of them is known for features, images or texts; call one so, "
            "or pass its name as image= or text="
        ) from error
    return dataset_of_arrays(arrays, roles, None, source)


def _of_array(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]], source: str) -> Dataset:
    if array.ndim not in {2, 3, 4} or not len(array):
        raise InputError(
            f"data has shape {array.shape}; legal are (m, d) features, (m, height, width) and (m, height, "
            "width, 3) images, with at least one row"
        )
    labels = [_NOTHING] * len(array)
    if array.ndim == 2:
        return from_arrays(array, labels, source=source)
    return from_arrays(images=array, labels=labels, source=source)


def _bare(dataset: Dataset) -> Dataset:
    return dataset.with_labels(np.full(len(dataset), -1))
