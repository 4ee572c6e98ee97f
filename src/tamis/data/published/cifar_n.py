"""CIFAR-10N and CIFAR-100N (Wei et al., ICLR 2022): the training images of CIFAR labelled by people."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.data.array_files import ArrayArchive, load_array
from tamis.data.dataset import Dataset, Input
from tamis.data.inputs import ImageArrayInput
from tamis.data.published.cifar_classes import CIFAR10, CIFAR100, CIFAR100_COARSE
from tamis.data.published.cifar_side_info import read_side_info
from tamis.data.published.image_rows import dataset_of_rows
from tamis.errors import InputError
from tamis.types import IntArray

MAX_FILE_BYTES = 64 * 2**20
_KEYS_10 = ("aggre_label", "random_label1", "random_label2", "random_label3", "worse_label")
_KEYS_100 = ("noisy_label", "noisy_coarse_label")
_CONVERT = "numpy.savez('labels.npz', **numpy.load(PATH, allow_pickle=True).item())"


def read_cifar_n(
    path: str | Path,
    *,
    label: str | None = None,
    images: npt.NDArray[np.uint8] | None = None,
    side_info: str | Path | None = None,
    image_order: str | Path | None = None,
) -> Dataset:
    """Read the label files of CIFAR-10N or CIFAR-100N as published.

    ``CIFAR-10_human.pt`` and ``CIFAR-100_human.pt`` are read by torch's restricted loader, which admits numpy
    arrays of numbers and nothing that runs code. The files ``..._ordered.npy`` hold the same as Python
    objects (a pickle), which is never loaded: convert one once, where you trust it, by
    ``numpy.savez('labels.npz', **numpy.load(PATH, allow_pickle=True).item())``, and pass ``labels.npz``.

    Parameters
    ----------
    path : path
        The ``.pt`` file, or an ``.npz`` with the same arrays.
    label : str, optional
        Which labels are the given ones. CIFAR-10N: ``aggre_label``, ``random_label1``, ``random_label2``,
        ``random_label3`` or ``worse_label``, no default. CIFAR-100N: ``noisy_label`` (default, 100 classes;
        ``noise_label`` in the ordered file) or ``noisy_coarse_label`` (20 classes).
    images : (n, 32, 32, 3) uint8, optional
        In the order of the labels.
    side_info : path, optional
        ``side_info_cifar10N.csv`` or ``side_info_cifar100N.csv``: adds who labelled each image, and how long
        the whole group of images took. Measured for CIFAR-10N, that table does not line up with the labels.
    image_order : path, optional
        ``image_order_c10.npy`` or ``image_order_c100.npy``, for labels from an ordered file: its row ``i`` is
        image ``order[i]`` of the usual (Python) order, which all rows are brought to.

    Returns
    -------
    Dataset
        Ids are the numbers of the images in the order of the file, the truth is the clean label; the other
        label sets are columns.

    Raises
    ------
    InputError
        The file is none of these, holds anything but labels, lengths differ, a label is not legal, or
        ``label`` is missing or unknown.
    """
    source = Path(path)
    arrays = _label_arrays(source)
    key = _chosen(arrays, label, source)
    names, truth_key = _classes(key)
    codes = {name: _codes(values, name, source) for name, values in arrays.items()}
    n_rows = len(codes[key])
    for name, values in codes.items():
        if len(values) != n_rows:
            raise InputError(
                f"{source}: {name} has {len(values):,} labels and {key} {n_rows:,}; they must match"
            )
    if truth_key not in codes:
        raise InputError(f"{source} lacks {truth_key!r}; it holds {', '.join(sorted(arrays))}")
    for name in (key, truth_key):
        wrong = np.flatnonzero((codes[name] < 0) | (codes[name] >= len(names)))
        if wrong.size:
            raise InputError(
                f"{source}: {name} row {wrong[0]} is {codes[name][wrong[0]]}; legal are 0 to {len(names) - 1}"
            )
    if image_order is not None:
        order = _image_order(Path(image_order), n_rows)
        codes = {name: values[order] for name, values in codes.items()}
    others = {name: pa.array(values) for name, values in codes.items() if name not in (key, truth_key)}
    if side_info is not None:
        others |= read_side_info(Path(side_info), n_rows)
    return dataset_of_rows(
        source=source,
        ids=[str(row) for row in range(n_rows)],
        codes=codes[key],
        truth=codes[truth_key],
        class_names=names,
        columns=others,
        images=None if images is None else _images(images, n_rows),
    )


def _label_arrays(path: Path) -> dict[str, npt.NDArray[np.generic]]:
    if not path.is_file():
        raise InputError(f"{path} is not a file; pass CIFAR-10_human.pt or CIFAR-100_human.pt")
    if path.suffix == ".npz":
        archive = ArrayArchive(path)
        return {name: np.asarray(archive[name]) for name in archive}
    if path.suffix == ".npy":
        raise InputError(
            f"{path} holds Python objects (a pickle), which may run code when loaded and is never loaded; use"
            f" the .pt file, or convert it once where you trust it: {_CONVERT}"
        )
    if path.suffix != ".pt":
        raise InputError(f"{path} has the suffix {path.suffix!r}; legal are .pt and .npz")
    loaded = _load_restricted(path)
    if not isinstance(loaded, Mapping) or not all(isinstance(name, str) for name in loaded):
        raise InputError(f"{path} holds a {type(loaded).__name__}; expected labels by name")
    return {name: np.asarray(values) for name, values in loaded.items()}


def _load_restricted(path: Path) -> object:
    """Load a ``.pt`` file with torch's restricted loader, admitting arrays of integers.

    Attack considered: a label file that runs code when it is unpickled. The loader makes nothing but the
    types listed here and torch's own; anything else in the file is an error.
    """
    import torch

    if path.stat().st_size > MAX_FILE_BYTES:
        raise InputError(f"{path} is larger than {MAX_FILE_BYTES:,} bytes; label files are not")
    # The function that arrays are rebuilt by has no public name; older files know it by another.
    rebuild = cast("Callable[..., object]", np.zeros(1).__reduce__()[0])
    kinds = [type(np.dtype(kind)) for kind in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")]
    admitted: list[Callable[..., object] | tuple[Callable[..., object], str]] = [
        (rebuild, "numpy.core.multiarray._reconstruct"),
        (rebuild, "numpy._core.multiarray._reconstruct"),
        np.ndarray,
        np.dtype,
        *kinds,
    ]
    try:
        with torch.serialization.safe_globals(admitted):
            return torch.load(path, weights_only=True, map_location="cpu")
    # What a damaged or hostile file makes the loader raise has many types.
    except Exception as error:
        reason = str(error).split("\n", maxsplit=1)[0][:160]
        raise InputError(
            f"{path} cannot be read as a label file ({reason}); nothing in it was run. Download it again"
        ) from error


def _chosen(arrays: Mapping[str, object], label: str | None, source: Path) -> str:
    known = [name for name in (*_KEYS_10, *_KEYS_100, "noise_label") if name in arrays]
    if not known:
        raise InputError(
            f"{source} holds no labels of CIFAR-10N or CIFAR-100N; it holds {sorted(arrays)[:10]}"
        )
    if label is None and len(known) > 1 and "noisy_label" in known:
        label = "noisy_label"
    if label is None and len(known) == 1:
        (label,) = known
    if label not in known:
        given = "label is not given" if label is None else f"label is {label!r}"
        raise InputError(f"{given}; pass label= with the labels to read: {', '.join(known)}")
    return label


def _classes(key: str) -> tuple[tuple[str, ...], str]:
    """Return the class names of a label set and the key of its truth."""
    if key == "noisy_coarse_label":
        return CIFAR100_COARSE, "clean_coarse_label"
    return (CIFAR10 if key in _KEYS_10 else CIFAR100), "clean_label"


def _codes(values: npt.NDArray[np.generic], name: str, source: Path) -> IntArray:
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise InputError(
            f"{source}: {name} has shape {values.shape} and type {values.dtype}; expected (n,) integers"
        )
    return values.astype(np.int64)


def _image_order(path: Path, n_rows: int) -> IntArray:
    """Return the row of the ordered file that each image of the usual order stands in."""
    order = load_array(path)
    if (
        order.shape != (n_rows,)
        or order.dtype.kind not in "iu"
        or not np.array_equal(np.sort(order), np.arange(n_rows))
    ):
        raise InputError(
            f"{path} does not hold each number from 0 to {n_rows - 1} once; pass image_order_c10.npy"
        )
    return np.argsort(order)


def _images(images: npt.NDArray[np.uint8], n_rows: int) -> Input:
    if len(images) != n_rows:
        raise InputError(f"images has {len(images):,} rows and the label file {n_rows:,}; they must match")
    return ImageArrayInput(images)
