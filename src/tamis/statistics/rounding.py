"""Rounding that preserves totals: counts made of shares stay counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tamis.errors import InputError
from tamis.types import FloatArray, IntArray

if TYPE_CHECKING:
    import torch


def whole_rows(values: FloatArray, *, compat: bool = False) -> IntArray:
    """Round every row to whole numbers whose sum is the rounded sum of the row.

    Entries are rounded half to even. Where the sum is then too small, one is added to the entries with the
    largest remainder ``x - round(x)``; where it is too large, one is taken from those with the smallest.
    Equal remainders: the later entry is raised first, the earlier one lowered first.

    Parameters
    ----------
    values : (m, k) float array, finite
    compat : bool, default=False
        Break ties between equal remainders as numpy's unstable sort happens to on this processor, which is
        what the reference implementation of confident learning does.

    Returns
    -------
    (m, k) int64 array

    Examples
    --------
    >>> whole_rows(np.array([[2.5, 2.5], [1.2, 0.8]]))
    array([[2, 3],
           [1, 1]])
    """
    rounded = values.round()
    # At most k / 2 + 1 / 2 either way, and zero for most rows of counts.
    missing = (values.sum(axis=1).round() - rounded.sum(axis=1)).astype(np.int64)
    for row in np.flatnonzero(missing).tolist():
        remainders = values[row] - rounded[row]
        order = np.argsort(remainders, kind=None if compat else "stable")
        count = int(missing[row])
        chosen = order[len(order) - count :] if count > 0 else order[:-count]
        rounded[row, chosen] += np.sign(count)
    return rounded.astype(np.int64)


def round_rows(matrix: torch.Tensor, *, compat: bool = False) -> torch.Tensor:
    """Round the rows of a tensor with `whole_rows`.

    Parameters
    ----------
    matrix : (m, k) float tensor
    compat : bool, default=False
        See `whole_rows`.

    Returns
    -------
    (m, k) int64 tensor

    Raises
    ------
    InputError
        The matrix is not two-dimensional, or holds NaN or infinity.

    Examples
    --------
    >>> import torch
    >>> round_rows(torch.tensor([[2.5, 2.5], [1.2, 0.8]]))
    tensor([[2, 3],
            [1, 1]])
    """
    import torch

    if matrix.ndim != 2:
        raise InputError(f"matrix has shape {tuple(matrix.shape)}; expected two dimensions")
    if not bool(torch.isfinite(matrix).all()):
        raise InputError("matrix holds NaN or infinity; only finite numbers can be rounded")
    values = matrix.detach().to(device="cpu", dtype=torch.float64).numpy()
    return torch.from_numpy(whole_rows(values, compat=compat)).to(matrix.device)


def exact_row_sums(probs: torch.Tensor) -> torch.Tensor:
    """Return the sums of rows of probabilities, bit for bit the same in any order of the columns.

    Summed as whole multiples of 2**-50, which is exact; each entry is rounded by at most 2**-51.

    Parameters
    ----------
    probs : (n, K) float
        Entries in [0, 1], rows that sum to about 1.

    Returns
    -------
    torch.Tensor
        (n,) float64.

    Examples
    --------
    >>> import torch
    >>> exact_row_sums(torch.tensor([[0.25, 0.75], [0.5, 0.125]]))
    tensor([1.0000, 0.6250], dtype=torch.float64)
    """
    import torch

    sums = torch.empty(len(probs), dtype=torch.float64, device=probs.device)
    step = max(1, 2**18 // probs.shape[1])
    for start in range(0, len(probs), step):
        units = (probs[start : start + step].double() * 2.0**50).round().to(torch.int64)
        sums[start : start + step] = units.sum(dim=1).double() * 2.0**-50
    return sums
