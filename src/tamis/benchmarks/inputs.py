"""Inputs of networks and class codes, as the arrays of a configuration hold them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tamis.backbones import InputKind
from tamis.benchmarks.arrays import read_array
from tamis.data.decoding import decode_image
from tamis.errors import InputError
from tamis.types import IntArray


def read_codes(where: str, named: str, rows: int | None = None) -> IntArray:
    """Return (n,) int64 codes; of the first ``rows``.

    Parameters
    ----------
    where : str
        See `tamis.benchmarks.arrays.find_array`.
    named : str
        What an error calls them.
    rows : int, optional

    Raises
    ------
    InputError
        Not whole numbers from 0 on.
    """
    values = read_array(where)[:rows]
    if values.ndim != 1 or values.dtype.kind not in "iu" or not len(values) or int(values.min()) < 0:
        raise InputError(
            f"{named} has shape {values.shape}, type {values.dtype}; expected (n,) whole numbers from 0 on"
        )
    return values.astype(np.int64)


def read_inputs(
    where: str, kind: InputKind, named: str, rows: npt.NDArray[np.int64] | slice | None = None
) -> npt.NDArray[np.generic]:
    """Return (n, d) float32 features or (n, 3, height, width) bytes.

    Parameters
    ----------
    where : str
        Images are bytes (n, height, width) or (n, height, width, 3), or a column of image files.
    kind : {"features", "image"}
    named : str
        What an error calls them.
    rows : int array or slice, optional
        Which to take; only these are decoded.

    Raises
    ------
    InputError
        The array holds something else, or pictures of several sizes.
    """
    values = read_array(where)
    values = values if rows is None else values[rows]
    if kind == "features":
        if values.ndim != 2 or not np.isfinite(values).all():
            raise InputError(f"{named} has shape {values.shape}; expected finite (n, d)")
        return values.astype(np.float32)
    if values.dtype == np.object_:
        values = _decoded(named, values)
    if values.dtype != np.uint8 or values.ndim not in {3, 4}:
        raise InputError(
            f"{named} has shape {values.shape}, type {values.dtype}; expected bytes of shape "
            "(n, height, width) or (n, height, width, 3), or a column of image files"
        )
    if values.ndim == 3:
        return np.repeat(values[:, None], 3, axis=1)
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2))


def as_tensor(values: npt.NDArray[np.generic]) -> Tensor:
    """Return an array as a tensor."""
    return torch.from_numpy(np.ascontiguousarray(values))


def _decoded(named: str, files: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    images = [decode_image(bytes(file)) for file in files]
    if len({image.shape for image in images}) != 1:
        raise InputError(f"{named} holds images of different sizes; bring them to one")
    return np.stack(images)
