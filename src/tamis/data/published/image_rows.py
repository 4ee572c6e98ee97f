"""Rows of a published data set, image files and labels -> a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.data.assembling import id_column, require_usable
from tamis.data.dataset import Dataset, Input, LabelName, label_column
from tamis.data.inputs import ImageInput
from tamis.data.local_files import path_problem
from tamis.errors import InputError

_LOOKED_AT = 100


def dataset_of_rows(
    *,
    source: Path,
    ids: Sequence[str],
    codes: npt.ArrayLike,
    class_names: Sequence[LabelName],
    truth: npt.ArrayLike | None = None,
    splits: Sequence[str | None] | None = None,
    columns: Mapping[str, pa.Array] | None = None,
    images: Input | None = None,
    problems: Mapping[int, str] | None = None,
    notes: Sequence[str] = (),
) -> Dataset:
    """Return the data set of rows with ids, label codes and what else is known.

    Parameters
    ----------
    ids : (n,) str, all different
    codes, truth : (n,) int
        Codes into ``class_names``; -1 = none, or unknown. A truth that is unknown throughout is left out.
    """
    labels = np.asarray(codes, dtype=np.int64)
    if not len(labels):
        raise InputError(f"{source} lists no samples; check that the data set is unpacked there")
    require_usable(labels, dict(problems or {}), str(source))
    nothing = pa.nulls(len(labels), pa.string())
    table = {
        "id": id_column(pa.array(ids, pa.string()), f"{source}: sample"),
        "label": label_column(labels),
        "split": nothing if splits is None else pa.array(splits, pa.string()),
        "group": nothing,
    }
    known = None if truth is None else np.asarray(truth, dtype=np.int32)
    return Dataset(
        table=pa.table(table | dict(columns or {})),
        class_names=tuple(class_names),
        inputs={} if images is None else {"image": images},
        source=str(source),
        truth=None if known is None or (known < 0).all() else known,
        problems=dict(problems or {}),
        notes=tuple(notes),
    )


def files_below(root: Path, paths: Sequence[str]) -> tuple[ImageInput, dict[int, str], list[str]]:
    """Return the input of image files, the rows whose names are not usable, and notes.

    Files are opened when they are needed: one that is missing is an unreadable row then. A note warns where
    none of the first files exists, which is most likely the wrong folder.
    """
    folder = root.resolve()
    found = ((row, path_problem(path, folder)) for row, path in enumerate(paths))
    problems = {row: reason for row, reason in found if reason is not None}
    notes = []
    usable = [path for row, path in enumerate(paths[:_LOOKED_AT]) if row not in problems]
    if usable and not any((folder / path).exists() for path in usable):
        notes.append(
            f"none of the first {len(usable)} images exists below {root}: unpack the images there; rows"
            " without an image are not assessed unless features are given"
        )
    return ImageInput.from_files(folder, paths), problems, notes


def existing_folder(path: Path, data_set: str) -> Path:
    """Return ``path`` if it is a folder, else raise `InputError`."""
    if not path.is_dir():
        raise InputError(f"{path} is not a folder; pass the folder in which {data_set} was unpacked")
    return path
