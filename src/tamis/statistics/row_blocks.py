"""Blocks of rows as float64 tensors: features and targets of any kind that the probes take."""

from __future__ import annotations

import numpy as np
import torch

from tamis.errors import InputError
from tamis.types import FloatArray, IntArray


def feature_block(features: FloatArray | torch.Tensor, n_features: int, device: str) -> torch.Tensor:
    """Return a block of rows as a (b, d) float64 tensor of its own.

    Raises
    ------
    InputError
        Not a table of real numbers with ``n_features`` columns.
    """
    shape = tuple(features.shape)
    if len(shape) != 2 or shape[1] != n_features:
        raise InputError(f"features has shape {shape}; expected (rows, {n_features})")
    if isinstance(features, torch.Tensor):
        return features.detach().to(device=device, dtype=torch.float64, copy=True)
    if features.dtype.kind not in "fiub":
        raise InputError(f"features has dtype {features.dtype}; expected real numbers")
    # Torch widens float16 several times faster than numpy; the copy detaches a read-only memory map.
    native = np.array(features, dtype=features.dtype.newbyteorder("="), order="C")
    if native.dtype.kind == "u" or native.dtype.itemsize > 8:
        native = native.astype(np.float64)
    return torch.from_numpy(native).to(device=device, dtype=torch.float64)


def target_block(
    targets: IntArray | FloatArray | torch.Tensor, n_rows: int, n_classes: int, device: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return targets as (b, K) float64, and which rows take part in the fit as (b,) bool.

    Rows that take no part (code -1, or a soft row with NaN) hold zeros.

    Raises
    ------
    InputError
        Neither (b,) whole numbers from -1 to K - 1 nor (b, K) real numbers.
    """
    values = targets.detach().cpu().numpy() if isinstance(targets, torch.Tensor) else np.asarray(targets)
    if values.shape == (n_rows,) and values.dtype.kind in "iu":
        is_outside = (values < -1) | (values >= n_classes)
        if is_outside.any():
            row = int(is_outside.argmax())
            raise InputError(
                f"targets row {row} of the block is {values[row]}; legal are 0 to {n_classes - 1}, "
                "or -1 to leave the row out of the fit"
            )
        codes = torch.from_numpy(values.astype(np.int64)).to(device)
        is_used = codes >= 0
        soft = torch.zeros((n_rows, n_classes), dtype=torch.float64, device=device)
        soft.scatter_(1, codes.clamp(min=0)[:, None], is_used[:, None].double())
        return soft, is_used
    if values.shape == (n_rows, n_classes) and values.dtype.kind == "f":
        soft = torch.from_numpy(values.astype(np.float64)).to(device)
        is_used = torch.isfinite(soft).all(dim=1)
        return torch.where(is_used[:, None], soft, 0.0), is_used
    raise InputError(
        f"targets has shape {values.shape} and dtype {values.dtype}; expected ({n_rows},) int codes "
        f"or ({n_rows}, {n_classes}) float"
    )
