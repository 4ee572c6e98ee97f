"""Cosines of feature rows in full precision, with a defined answer for rows of zeros."""

from __future__ import annotations

import torch

from tamis.errors import InputError
from tamis.statistics.labelled_logits import at_least_float32

_SMALLEST_NORM = 1e-12


def without_autocast(values: torch.Tensor) -> torch.autocast:
    """Return a context in which products on the device of ``values`` keep the precision of their factors."""
    return torch.autocast(device_type=values.device.type, enabled=False)


def unit_rows(features: torch.Tensor) -> torch.Tensor:
    """Return rows of length 1, in float32 or better; a row of zeros stays one and gets no gradient.

    Parameters
    ----------
    features : (B, D) float tensor
        Rows shorter than 1e-12 count as zeros.

    Returns
    -------
    (B, D) tensor
        float64 for float64 features, float32 for all others.

    Raises
    ------
    InputError
        ``features`` is no matrix of floats.

    Examples
    --------
    >>> unit_rows(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])
    """
    if features.ndim != 2 or not features.is_floating_point():
        raise InputError(
            f"features have shape {tuple(features.shape)} and type {features.dtype}; expected (B, D) floats: "
            "flatten or pool what is not a row for each sample"
        )
    features = at_least_float32(features)
    length: torch.Tensor = torch.linalg.vector_norm(features, dim=1, keepdim=True)
    is_zero = length < _SMALLEST_NORM
    # Dividing by a floor instead would send gradients of 1e12 into a row of zeros.
    return (features / length.masked_fill(is_zero, 1.0)).masked_fill(is_zero, 0.0)


def cosines(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return the cosine of each row of one matrix with the same row of another.

    Parameters
    ----------
    left, right : (B, D) float tensor

    Returns
    -------
    (B,) tensor
        In [-1, 1]; 0 where either row is zeros.

    Raises
    ------
    InputError
        The shapes differ, or a tensor is no matrix of floats.

    Examples
    --------
    >>> cosines(torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.tensor([[3.0, 4.0], [1.0, 0.0]]))
    tensor([0.6000, 0.0000])
    """
    if left.shape != right.shape:
        raise InputError(
            f"rows of shape {tuple(left.shape)} cannot be compared with rows of shape {tuple(right.shape)}; "
            "both must be (B, D), with a linear layer in between where the widths differ"
        )
    return (unit_rows(left) * unit_rows(right)).sum(dim=1)
