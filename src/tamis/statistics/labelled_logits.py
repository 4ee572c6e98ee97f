"""Checks of a training batch: logits with labels, and the precision its arithmetic runs in."""

from __future__ import annotations

import torch
from torch import Tensor

from tamis.errors import InputError


def at_least_float32(values: Tensor) -> Tensor:
    """Return half-precision values as float32, wider ones as they are.

    Examples
    --------
    >>> at_least_float32(torch.zeros(1, dtype=torch.bfloat16)).dtype
    torch.float32
    """
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def widest(values: Tensor) -> Tensor:
    """Return the values in float64, or in float32 where the device knows no float64.

    Examples
    --------
    >>> widest(torch.zeros(1)).dtype
    torch.float64
    """
    return values.to(torch.float32 if values.device.type == "mps" else torch.float64)


def can_read_values() -> bool:
    """Say whether values may steer Python code: not inside a compiled graph nor a captured CUDA graph."""
    if torch.compiler.is_compiling():
        return False
    return not (torch.cuda.is_available() and torch.cuda.is_current_stream_capturing())


def checked_logits(logits: Tensor, name: str = "logits") -> Tensor:
    """Return logits in at least float32, after a look at their type and shape.

    Raises
    ------
    InputError
        Not a floating-point tensor of shape (B, K) with K >= 1.
    """
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        kind = logits.dtype if isinstance(logits, Tensor) else type(logits).__name__
        raise InputError(f"{name} is {kind}; expected a floating-point tensor of shape (B, K)")
    if logits.ndim != 2 or logits.shape[1] < 1:
        raise InputError(
            f"{name} has shape {tuple(logits.shape)}; expected (B, K): a row for every sample, "
            "a column for every class"
        )
    return at_least_float32(logits)


def labelled_logits(logits: Tensor, labels: Tensor, name: str = "logits") -> tuple[Tensor, Tensor]:
    """Return logits in at least float32 and labels in int64, after checking both.

    Whether a label is in range is asked of the device, one wait a call; a compiled or captured graph leaves
    that question out.

    Parameters
    ----------
    logits : (B, K) float tensor
    labels : (B,) integer tensor
        Class codes 0..K-1.
    name : str
        What messages call the logits.

    Raises
    ------
    InputError
        Wrong type or shape, or a label that is no class.

    Examples
    --------
    >>> labelled_logits(torch.zeros(1, 3), torch.tensor([3]))
    Traceback (most recent call last):
    ...
    tamis.errors.InputError: labels row 0 is 3; expected a class code from 0 to 2 (logits has 3 columns). ...
    """
    logits = checked_logits(logits, name)
    if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.is_complex():
        kind = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
        raise InputError(f"labels is {kind}; expected an integer tensor of shape (B,)")
    if labels.shape != logits.shape[:1]:
        raise InputError(
            f"labels has shape {tuple(labels.shape)}; expected ({len(logits)},): "
            f"{name} has {len(logits)} rows"
        )
    labels = labels.long()
    _refuse_codes_out_of_range(labels, logits.shape[1], name)
    return logits, labels


def _refuse_codes_out_of_range(labels: Tensor, n_classes: int, name: str) -> None:
    if not can_read_values():
        return
    is_wrong = (labels < 0) | (labels >= n_classes)
    if is_wrong.any():
        row = int(is_wrong.nonzero()[0, 0])
        raise InputError(
            f"labels row {row} is {int(labels[row])}; expected a class code from 0 to {n_classes - 1} "
            f"({name} has {n_classes} columns). Leave unlabelled rows (-1) out of the batch"
        )


def refuse_nan(values: Tensor, name: str) -> None:
    """Raise where the values made from logits, (B,) or (B, K), hold NaN.

    Raises
    ------
    InputError
        With the first row; NaN would be dropped silently by a comparison.
    """
    if not can_read_values():
        return
    is_nan = values.isnan()
    if is_nan.any():
        row = int(is_nan.nonzero()[0, 0])
        raise InputError(
            f"{name} row {row} gives NaN; expected finite logits. The network has diverged: "
            "lower the learning rate or clip the gradient"
        )
