"""How much relation distillation counts: over the epochs, and for each sample."""

from __future__ import annotations

import math

import torch

from tamis.errors import InputError
from tamis.statistics.labelled_logits import at_least_float32


def relation_ramp(epoch: float, n_epochs: float = 10) -> float:
    """Return the weight of relation distillation: from 0 to 1, linearly over the first epochs.

    Parameters
    ----------
    epoch : float
        From 0; may be a fraction.
    n_epochs : float
        0 means weight 1 from the start.

    Raises
    ------
    InputError
        A number is negative or not finite.

    Examples
    --------
    >>> relation_ramp(0), relation_ramp(5), relation_ramp(30), relation_ramp(0, n_epochs=0)
    (0.0, 0.5, 1.0, 1.0)
    """
    check_number("epoch", epoch)
    check_number("n_epochs", n_epochs)
    return 1.0 if epoch >= n_epochs else epoch / n_epochs


def noise_emphasis(clean_probs: torch.Tensor) -> torch.Tensor:
    """Return weights that emphasise samples whose label is probably wrong: 1 - probability, with mean 1.

    Parameters
    ----------
    clean_probs : (B,) float tensor
        In [0, 1]: probability that the label of each sample is right.

    Returns
    -------
    (B,) tensor
        At least 0, mean 1; all 1 where every label is surely right. No gradient.

    Raises
    ------
    InputError
        ``clean_probs`` is no row of numbers in [0, 1].

    Examples
    --------
    >>> noise_emphasis(torch.tensor([1.0, 0.5, 0.75, 0.75]))
    tensor([0., 2., 1., 1.])
    """
    probs = clean_probs.detach()
    if probs.ndim != 1 or not probs.is_floating_point() or not bool(((probs >= 0) & (probs <= 1)).all()):
        raise InputError(
            f"clean_probs have shape {tuple(probs.shape)} and type {probs.dtype}; expected (B,) floats "
            "in [0, 1], none of them NaN"
        )
    doubt = 1.0 - at_least_float32(probs)
    total = doubt.sum()
    return torch.where(total > 0, doubt * (len(doubt) / total.clamp_min(1e-30)), torch.ones_like(doubt))


def check_number(name: str, value: float, *, above_zero: bool = False) -> None:
    """Raise `InputError` where a number is negative, not finite, or 0 where it must not be."""
    if not math.isfinite(value) or value < 0 or (above_zero and value == 0):
        raise InputError(
            f"{name} is {value!r}; expected a finite number {'above' if above_zero else 'of at least'} 0"
        )
