"""Rounding that preserves totals: counts made of shares stay counts."""

from __future__ import annotations

import numpy as np
import torch

from tamis.errors import InputError


def round_rows(matrix: torch.Tensor, *, compat: bool = False) -> torch.Tensor:
    """Round every row to whole numbers whose sum is the rounded sum of the row.

    Entries are rounded half to even. Where the sum is then too small, one is added to the entries with the
    largest remainder ``x - round(x)``; where it is too large, one is taken from those with the smallest.
    Equal remainders: the later entry is raised first, the earlier one lowered first.

    Parameters
    ----------
    matrix : (m, k) float tensor
    compat : bool, default=False
        Break ties between equal remainders as numpy's unstable sort happens to on this processor, which is
        what the reference implementation of confident learning does.

    Returns
    -------
    (m, k) int64 tensor

    Raises
    ------
    InputError
        The matrix is not two-dimensional, or holds NaN or infinity.

    Examples
    --------
    >>> round_rows(torch.tensor([[2.5, 2.5], [1.2, 0.8]]))
    tensor([[2, 3],
            [1, 1]])
    """
    if matrix.ndim != 2:
        raise InputError(f"matrix has shape {tuple(matrix.shape)}; expected two dimensions")
    if not bool(torch.isfinite(matrix).all()):
        raise InputError("matrix holds NaN or infinity; only finite numbers can be rounded")
    values = matrix.to(torch.float64)
    rounded = values.round()
    missing = values.sum(dim=1).round() - rounded.sum(dim=1)  # (m,), at most k/2 + 1/2 either way
    remainders = values - rounded
    if compat:
        rows = [np.argsort(row) for row in remainders.cpu().numpy()]
        order = torch.from_numpy(np.stack(rows)).to(matrix.device)
    else:
        order = remainders.argsort(dim=1, stable=True)
    rank = torch.empty_like(order)
    places = torch.arange(matrix.shape[1], device=matrix.device).expand_as(order)
    rank.scatter_(1, order, places)
    is_lowered = rank < -missing[:, None]
    is_raised = rank >= matrix.shape[1] - missing[:, None]
    # Where nothing is missing both comparisons are false: ranks run from 0 to k - 1.
    return (rounded + is_raised.double() - is_lowered.double()).to(torch.int64)


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
    >>> exact_row_sums(torch.tensor([[0.25, 0.75], [0.5, 0.125]]))
    tensor([1.0000, 0.6250], dtype=torch.float64)
    """
    sums = torch.empty(len(probs), dtype=torch.float64, device=probs.device)
    step = max(1, 4_000_000 // probs.shape[1])
    for start in range(0, len(probs), step):
        units = (probs[start : start + step].double() * 2.0**50).round().to(torch.int64)
        sums[start : start + step] = units.sum(dim=1).double() * 2.0**-50
    return sums
