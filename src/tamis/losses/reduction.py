"""From losses of samples to the loss of a batch."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from torch import Tensor

from tamis.errors import InputError

Reduction: TypeAlias = Literal["mean", "none"]


def reduced(losses: Tensor, reduction: Reduction) -> Tensor:
    """Return the mean of (B,) losses, or the losses themselves for ``"none"``.

    The mean of an empty batch is 0, with a gradient of zeros, so that it trains nothing.

    Raises
    ------
    InputError
        Another word.

    Examples
    --------
    >>> import torch
    >>> reduced(torch.tensor([1.0, 3.0]), "mean"), reduced(torch.zeros(0), "mean")
    (tensor(2.), tensor(0.))
    """
    refuse_reduction(reduction)
    return losses if reduction == "none" else losses.sum() / max(1, len(losses))


def refuse_reduction(reduction: str) -> None:
    """Raise `InputError` where a word is no reduction."""
    if reduction not in get_args(Reduction):
        raise InputError(f"reduction is {reduction!r}; expected 'mean' or 'none'")
