"""One-hot targets from class codes, in floating point and with rows for samples without a label."""

from __future__ import annotations

import numpy.typing as npt
import torch
from torch import Tensor

from tamis.errors import InputError
from tamis.statistics.labelled_logits import can_read_values


def one_hot(labels: Tensor, n_classes: int, *, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return a row for each label with 1 at its class; -1 (unlabelled) gives a row of zeros.

    Parameters
    ----------
    labels : (B,) int, -1 to n_classes - 1
    n_classes : int
    dtype : torch.dtype, default=torch.float32

    Returns
    -------
    (B, n_classes) tensor on the device of the labels
        A row of zeros adds nothing to a cross-entropy.

    Raises
    ------
    InputError
        Labels that are no vector of whole numbers, or out of range.

    Examples
    --------
    >>> one_hot(torch.tensor([1, -1]), 3)
    tensor([[0., 1., 0.],
            [0., 0., 0.]])
    """
    if n_classes < 1:
        raise InputError(f"n_classes is {n_classes}; expected at least 1")
    codes = checked_codes(labels, n_classes)
    return (codes[:, None] == torch.arange(n_classes, device=codes.device)).to(dtype)


def checked_codes(labels: Tensor | npt.ArrayLike, n_classes: int, *, n_samples: int | None = None) -> Tensor:
    """Return (n,) int64 codes from -1 (unlabelled) to n_classes - 1.

    Raises
    ------
    InputError
        Another shape or type, or a code out of range.
    """
    codes = torch.as_tensor(labels)
    n = codes.numel() if n_samples is None else n_samples
    if codes.shape != (n,) or codes.dtype == torch.bool or codes.is_floating_point():
        raise InputError(
            f"labels has shape {tuple(codes.shape)} and dtype {codes.dtype}; expected one class code a"
            f" sample, shape ({n},), int64"
        )
    is_outside = (codes < -1) | (codes >= n_classes)
    if can_read_values() and bool(is_outside.any()):
        row = int(is_outside.nonzero()[0, 0])
        raise InputError(
            f"labels row {row} is {int(codes[row])}, outside 0 to {n_classes - 1} (-1 = unlabelled);"
            f" {int(is_outside.sum())} such rows"
        )
    return codes.long()
