"""Embeddings and labels as a search needs them: checked, zero rows known, distances turned to angles."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from tamis.errors import InputError, TamisWarning
from tamis.neighbors.vectors import Matrix
from tamis.types import BoolArray, FloatArray

_ROWS_AT_ONCE = 4096
_COLUMNS_AT_ONCE = 16
# A lifted row this many times longer than usual leaves distances of usual rows some three digits.
_LONGEST = 8192.0


@dataclass(frozen=True)
class Labelled:
    """One side of a search.

    Attributes
    ----------
    rows : (n, d) array or tensor
    codes : (n,) int64 array
        Classes, numbered over both sides.
    is_zero : (n,) bool array
        Rows without direction.
    """

    rows: Matrix
    codes: npt.NDArray[np.int64]
    is_zero: BoolArray

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.codes)


def checked_rows(rows: Matrix, name: str) -> BoolArray:
    """Return which rows are all zeros.

    Raises
    ------
    InputError
        Not an (n, d) matrix of real numbers with at least one row, or a row holds NaN or infinity.
    """
    if not isinstance(rows, np.ndarray | torch.Tensor):
        raise InputError(f"{name} is a {type(rows).__name__}; pass an (n, d) numpy array or torch tensor")
    if rows.ndim != 2 or rows.shape[0] == 0 or rows.shape[1] == 0:
        raise InputError(
            f"{name} has shape {tuple(rows.shape)}; it must be (n, d), one row per item, at least one of each"
        )
    is_real = not rows.is_complex() if isinstance(rows, torch.Tensor) else rows.dtype.kind in "fiub"
    if not is_real:
        raise InputError(f"{name} has dtype {rows.dtype}; it must hold real numbers: convert it to float32")
    is_zero = np.zeros(len(rows), dtype=np.bool_)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        block = double_block(rows, start)
        largest = block.abs().amax(dim=1)
        is_bad = ~torch.isfinite(largest)
        if bool(is_bad.any()):
            row = start + int(is_bad.nonzero()[0, 0])
            raise InputError(
                f"{name} row {row} holds NaN or infinity; every value must be finite: "
                "drop the row, or look why the network diverged"
            )
        is_zero[start : start + len(block)] = (largest == 0).cpu().numpy()
    return is_zero


def double_block(rows: Matrix, start: int) -> torch.Tensor:
    """Return the next rows from ``start`` on as float64, on their device."""
    block = rows[start : start + _ROWS_AT_ONCE]
    if isinstance(block, torch.Tensor):
        return block.detach().double()
    return torch.from_numpy(np.array(block, dtype=np.float64))


def class_codes(
    labels: npt.ArrayLike | torch.Tensor, gallery_labels: npt.ArrayLike | torch.Tensor | None, n: int, m: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return dense codes of the labels of both sides; without gallery labels the same for both.

    Raises
    ------
    InputError
        Not one whole number per row.
    """
    left = _checked_labels(labels, "labels", n)
    right = left if gallery_labels is None else _checked_labels(gallery_labels, "gallery_labels", m)
    both = left if gallery_labels is None else np.concatenate([left, right])
    if both.dtype.kind == "f":
        # int64 beside uint64: numpy would round them to floats.
        both = np.concatenate([left.astype(object), right.astype(object)])
    codes = np.unique(both, return_inverse=True)[1].reshape(-1).astype(np.int64)
    return codes[:n], codes if gallery_labels is None else codes[n:]


def _checked_labels(labels: npt.ArrayLike | torch.Tensor, name: str, n: int) -> npt.NDArray[np.generic]:
    values = labels.detach().cpu().numpy() if isinstance(labels, torch.Tensor) else np.asarray(labels)
    if values.shape != (n,) or values.dtype.kind not in "iu":
        raise InputError(
            f"{name} has shape {values.shape} and dtype {values.dtype}; it must be ({n},) whole numbers, "
            "one per row of the embeddings"
        )
    return values


def distances_as_angles(queries: Matrix, gallery: Matrix) -> tuple[FloatArray, FloatArray]:
    """Return rows of which the cosine falls exactly as the euclidean distance of the given rows rises.

    With g' = (g, -|g|^2 / 2, s) and q' = (q, 1, 0) is q' g' = (|q|^2 - |q - g|^2) / 2, and s gives every g'
    the same length. Rows are first moved and scaled together, so that gallery rows lie around the origin.

    Parameters
    ----------
    queries : (n, d) array or tensor
    gallery : (m, d) array or tensor

    Returns
    -------
    queries : (n, d + 2) float32 array
    gallery : (m, d + 2) float32 array

    Examples
    --------
    >>> left, right = distances_as_angles(np.array([[1.0]]), np.array([[1.5], [0.0], [5.0]]))
    >>> np.argsort(-(left @ right.T), axis=1)
    array([[0, 1, 2]])
    """
    starts = range(0, len(gallery), _ROWS_AT_ONCE)
    center = _median_row(gallery)
    lengths = torch.cat([(double_block(gallery, s) - center).norm(dim=1) for s in starts])
    usual = next((x for x in (float(lengths.median()), float(lengths.max())) if x > 0), 1.0)
    squares = (lengths / usual).square()
    longest = float((squares + squares.square() / 4).max().sqrt())
    if longest > _LONGEST:
        warnings.warn(
            f"a gallery row lies {float(lengths.max()) / usual:.0f} times as far from the median as usual; "
            "distances between usual rows are told apart less well: remove the row, or use distance='cosine'",
            TamisWarning,
            stacklevel=4,
        )
    right = np.empty((len(gallery), gallery.shape[1] + 2), dtype=np.float32)
    for start in starts:
        block = (double_block(gallery, start) - center) / usual
        half = -block.square().sum(dim=1, keepdim=True) / 2
        # One more than the longest: a gallery of equal rows still has a direction.
        rest = (
            (longest**2 + 1.0 - block.square().sum(dim=1, keepdim=True) - half.square()).clamp(min=0).sqrt()
        )
        right[start : start + len(block)] = torch.cat([block, half, rest], dim=1).cpu().numpy()
    left = np.zeros((len(queries), queries.shape[1] + 2), dtype=np.float32)
    for start in range(0, len(queries), _ROWS_AT_ONCE):
        block = (
            (double_block(queries, start) - center.to(double_block(queries, start).device)) / usual
        ).cpu()
        left[start : start + len(block), :-2] = block.numpy()
    left[:, -2] = 1.0
    return left, right


def _median_row(rows: Matrix) -> torch.Tensor:
    """Return the median of every column, float64: unlike the mean no single row can move it far."""
    parts = []
    for start in range(0, rows.shape[1], _COLUMNS_AT_ONCE):
        part = rows[:, start : start + _COLUMNS_AT_ONCE]
        part = (
            part.detach()
            if isinstance(part, torch.Tensor)
            else torch.from_numpy(np.array(part, dtype=np.float64))
        )
        parts.append(part.double().median(dim=0).values)
    return torch.cat(parts)
