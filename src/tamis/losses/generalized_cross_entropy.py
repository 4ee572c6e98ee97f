"""Generalised cross-entropy: between cross-entropy, which learns fast, and absolute error, which resists."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional

from tamis.errors import InputError
from tamis.losses.reduction import Reduction, reduced, refuse_reduction
from tamis.statistics.labelled_logits import labelled_logits

_LOG_CLAMP = math.log(1e-8)


def generalized_cross_entropy(
    logits: Tensor, labels: Tensor, q: float = 0.7, *, reduction: Reduction = "mean"
) -> Tensor:
    """Return ``(1 - p_y^q) / q``, with p_y the posterior of the given label.

    Samples that the network disbelieves weigh ``p_y^q`` of what they weigh under cross-entropy. ``q`` near 0
    is cross-entropy, ``q = 1`` half the absolute error: robust to symmetric noise, slow with many classes.

    Parameters
    ----------
    logits : (B, K) float tensor
    labels : (B,) integer tensor
        Given labels, 0..K-1.
    q : float in (0, 1]
    reduction : {"mean", "none"}

    Returns
    -------
    scalar tensor, or (B,) for ``"none"``
        In [0, 1/q].

    Raises
    ------
    InputError
        Wrong types or shapes, a label that is no class, or ``q`` out of range.

    Notes
    -----
    Posteriors below 1e-8 count as 1e-8: their gradient is 0.

    References
    ----------
    .. [1] Z. Zhang, M. R. Sabuncu. "Generalized cross entropy loss for training deep neural networks with
       noisy labels", NeurIPS 2018, equation 6.

    Examples
    --------
    >>> import torch
    >>> generalized_cross_entropy(torch.zeros(2, 4), torch.tensor([0, 3]), q=1.0)
    tensor(0.7500)
    """
    refuse_q(q)
    logits, labels = labelled_logits(logits, labels)
    log_given = -functional.cross_entropy(logits, labels, reduction="none")  # (B,)
    # As the difference of an exponential from 1: exact for small q, where p^q is close to 1.
    return reduced(-(q * log_given.clamp(min=_LOG_CLAMP)).expm1() / q, reduction)


class GeneralizedCrossEntropy(nn.Module):
    """`generalized_cross_entropy` with its parameters.

    Parameters
    ----------
    q : float in (0, 1], default=0.7
    reduction : {"mean", "none"}, default="mean"

    Raises
    ------
    InputError
        A parameter out of its range.

    Examples
    --------
    >>> import torch
    >>> network, inputs, labels = torch.nn.Linear(5, 3), torch.ones(4, 5), torch.tensor([0, 1, 2, 0])
    >>> GeneralizedCrossEntropy()(network(inputs), labels).backward()
    """

    def __init__(self, q: float = 0.7, *, reduction: Reduction = "mean") -> None:
        super().__init__()
        refuse_q(q)
        refuse_reduction(reduction)
        self.q = q
        self.reduction: Reduction = reduction

    def forward(self, logits: Tensor, labels: Tensor, index: Tensor | None = None) -> Tensor:
        """Return the loss of a batch; ``index`` is not used."""
        return generalized_cross_entropy(logits, labels, self.q, reduction=self.reduction)


def refuse_q(q: float) -> None:
    """Raise `InputError` where the exponent is not in (0, 1]."""
    if not 0.0 < q <= 1.0:
        raise InputError(f"q is {q}; expected a number above 0 (close to cross-entropy) and at most 1")
