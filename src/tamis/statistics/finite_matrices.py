"""Matrices of finite real numbers, and class codes, as tensors for arithmetic."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from tamis.errors import InputError


def finite_matrix(values: npt.ArrayLike, name: str, n_columns: int | None = None) -> torch.Tensor:
    """Return a matrix as a tensor on the CPU, float64 where it is that or integers, else float32.

    Parameters
    ----------
    values : (n, d) real numbers
        Numpy array, tensor or lists; half precision is widened.
    name : str
        Of the argument, for messages.
    n_columns : int, optional
        How many columns there must be.

    Raises
    ------
    InputError
        Not a matrix of real numbers, another number of columns, NaN or infinity.

    Examples
    --------
    >>> finite_matrix(np.ones((1, 2), dtype=np.float16), "features")
    tensor([[1., 1.]])
    """
    if isinstance(values, torch.Tensor):
        tensor = values.detach().cpu()
    else:
        array = np.asarray(values)
        if array.dtype.kind not in "fiu":
            raise InputError(f"{name} has type {array.dtype}; expected real numbers")
        is_short = array.dtype.kind == "f" and array.dtype.itemsize <= 4
        # The copy detaches from a read-only memory map.
        tensor = torch.from_numpy(np.array(array, dtype=np.float32 if is_short else np.float64, order="C"))
    if tensor.ndim != 2 or (n_columns is not None and tensor.shape[1] != n_columns):
        expected = "a matrix" if n_columns is None else f"(rows, {n_columns})"
        raise InputError(f"{name} has shape {tuple(tensor.shape)}; expected {expected}")
    is_long = tensor.dtype == torch.float64 or not tensor.dtype.is_floating_point
    tensor = tensor.double() if is_long else tensor.float()
    is_bad = ~torch.isfinite(tensor).all(1)
    if is_bad.any():
        raise InputError(
            f"{name} row {int(is_bad.int().argmax())} holds NaN or infinity; leave such rows out"
        )
    return tensor


def class_codes(labels: npt.ArrayLike, n_rows: int, n_classes: int) -> torch.Tensor:
    """Return (n,) class codes as int64.

    Raises
    ------
    InputError
        Another length, not integers, or a code outside 0..K-1.

    Examples
    --------
    >>> class_codes([1, 0], 2, 2)
    tensor([1, 0])
    """
    codes = np.asarray(labels)
    if codes.shape != (n_rows,) or (n_rows and codes.dtype.kind not in "iu"):
        raise InputError(
            f"labels has shape {codes.shape} and type {codes.dtype}; expected ({n_rows},) integers"
        )
    wrong = np.flatnonzero((codes < 0) | (codes >= n_classes))
    if wrong.size:
        raise InputError(f"labels row {wrong[0]} is {codes[wrong[0]]}; legal are 0 to {n_classes - 1}")
    return torch.from_numpy(codes.astype(np.int64))
