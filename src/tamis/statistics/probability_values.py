"""What counts as predicted probabilities and label codes, on numpy arrays and without loading torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from tamis.errors import InputError
from tamis.types import FloatArray, IntArray

if TYPE_CHECKING:
    import torch

ArrayLike: TypeAlias = "npt.ArrayLike | torch.Tensor"
"""Anything the functions of this package take where they say array: numpy, lists, tensors."""

SUM_TOLERANCE = 1e-3
"""Rows whose sum is off by at most this are accepted."""

NEGATIVE_TOLERANCE = 1e-6
"""Entries are accepted from this much below zero on."""


def value_problems(blocks: Iterable[FloatArray]) -> list[str]:
    """Say what is wrong with the values of blocks of rows; nothing where they are probabilities.

    Parameters
    ----------
    blocks : iterable of (b, K) float arrays, in the order of the rows

    Returns
    -------
    list of str
        Each names the first such row; the last one says what to do. All problems are reported together.

    Examples
    --------
    >>> value_problems([np.array([[0.5, 0.5]])])
    []
    >>> value_problems([np.array([[30.0, 70.0]])])[-1]
    'these look like percentages; divide them by 100'
    """
    first_outside = first_off = None
    n_off, n_rows, smallest, largest, is_percent = 0, 0, 0.0, 0.0, True
    for block in blocks:
        with np.errstate(invalid="ignore", over="ignore"):
            sums = block.sum(axis=1, dtype=np.float64)
        if not np.isfinite(sums).all():
            row = n_rows + int(np.argmin(np.isfinite(sums)))
            return [f"pred_probs row {row} holds NaN or infinity; leave such rows out or predict them again"]
        smallest, largest = min(smallest, float(block.min())), max(largest, float(block.max()))
        is_percent &= bool((np.abs(sums - 100.0) < 1.0).all())
        is_outside = ((block < -NEGATIVE_TOLERANCE) | (block > 1.0 + SUM_TOLERANCE)).any(axis=1)
        if first_outside is None and is_outside.any():
            first_outside = n_rows + int(is_outside.argmax())
        is_off = np.abs(sums - 1.0) > SUM_TOLERANCE
        if first_off is None and is_off.any():
            first_off = (n_rows + int(is_off.argmax()), float(sums[is_off.argmax()]))
        n_off += int(is_off.sum())
        n_rows += len(block)
    problems = []
    if first_outside is not None:
        problems.append(
            f"pred_probs row {first_outside} has entries outside [0, 1] "
            f"(range {smallest:.4g} to {largest:.4g})"
        )
    if first_off is not None:
        problems.append(
            f"pred_probs row {first_off[0]} sums to {first_off[1]:.4g} ({n_off} such rows), expected 1 ± 1e-3"
        )
    return [*problems, _advice(smallest, largest, is_percent)] if problems else []


def _advice(smallest: float, largest: float, is_percent: bool) -> str:
    if smallest < -NEGATIVE_TOLERANCE:
        return "these look like logits; pass softmax of them"
    if largest <= 1.0 + SUM_TOLERANCE:
        return "give one probability a class; if they are weights, divide each row by its sum"
    if is_percent:
        return "these look like percentages; divide them by 100"
    return "these look like logits; pass softmax of them (or, if they are counts, divide each row by its sum)"


def label_codes(labels: ArrayLike, *, n_samples: int, n_classes: int) -> IntArray:
    """Return label codes as a checked (n,) array of whole numbers, in the type they came in where it is one.

    Raises
    ------
    InputError
        Another number of labels than ``n_samples``, labels that are not whole numbers, or codes outside
        0..K-1 (leave unlabelled rows out first).

    Examples
    --------
    >>> label_codes([0, 2, 1], n_samples=3, n_classes=3)
    array([0, 2, 1])
    """
    codes = numpy_array(labels)
    if codes.shape != (n_samples,):
        raise InputError(f"labels has shape {codes.shape}; expected ({n_samples},), one label a row")
    if codes.dtype.kind not in "iufb":
        raise InputError(
            f"labels has dtype {codes.dtype}; expected class codes 0..{n_classes - 1} "
            "(numpy.unique(labels, return_inverse=True) makes them from names)"
        )
    numbers = cast(FloatArray, codes)
    is_whole = np.isfinite(numbers) & (numbers == np.round(numbers)) if codes.dtype.kind == "f" else True
    if not np.all(is_whole):
        row = int(np.argmin(is_whole))
        raise InputError(f"labels row {row} is {codes[row]}; expected whole numbers 0..{n_classes - 1}")
    if numbers.size and (numbers.min() < 0 or numbers.max() >= n_classes):
        row = int(np.argmax((numbers < 0) | (numbers >= n_classes)))
        raise InputError(
            f"labels row {row} is {codes[row]}; legal are 0..{n_classes - 1}, one a column "
            "(leave unlabelled rows out)"
        )
    return codes.astype(np.int64) if codes.dtype.kind in "fb" else cast(IntArray, codes)


def numpy_array(values: ArrayLike) -> npt.NDArray[np.generic]:
    """Return values as a numpy array; memory is shared with arrays, memory maps and tensors on the CPU.

    Examples
    --------
    >>> numpy_array([1, 2])
    array([1, 2])
    """
    if hasattr(values, "detach"):
        tensor: torch.Tensor = values.detach().cpu()
        # Half of the tensor types have no numpy twin; float32 holds bfloat16 exactly.
        tensor = tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor
        array: npt.NDArray[np.generic] = tensor.numpy()
        return array
    return np.asarray(values)
