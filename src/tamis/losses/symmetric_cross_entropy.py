"""Symmetric cross-entropy: of the label under the network, and of the network under the label."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional

from tamis.errors import InputError
from tamis.losses.reduction import Reduction, reduced, refuse_reduction
from tamis.statistics.labelled_logits import labelled_logits


def symmetric_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    alpha: float = 0.1,
    beta: float = 1.0,
    *,
    clamp_prob: float = 1e-7,
    clamp_label: float = 1e-4,
    reduction: Reduction = "mean",
) -> Tensor:
    """Return ``alpha CE + beta RCE``, with RCE the cross-entropy of the posterior under the given label.

    ``log 0`` of the other classes counts as ``log clamp_label``, so that RCE is that constant times the
    posterior outside the given label: linear, hence robust to symmetric noise, and slow where the posterior
    is near 0 or 1. The first term is there to learn at all.

    Parameters
    ----------
    logits : (B, K) float tensor
    labels : (B,) integer tensor
        Given labels, 0..K-1.
    alpha, beta : float, at least 0
    clamp_prob : float in (0, 1)
        Posteriors of the second term count as at least this.
    clamp_label : float in (0, 1)
    reduction : {"mean", "none"}

    Raises
    ------
    InputError
        Wrong types or shapes, a label that is no class, or a parameter out of range.

    References
    ----------
    .. [1] Y. Wang et al. "Symmetric cross entropy for robust learning with noisy labels", ICCV 2019,
       equations 5 and 7, and the PyTorch code that the authors link to.

    Examples
    --------
    >>> import torch
    >>> logits, labels = torch.zeros(1, 2), torch.tensor([0])
    >>> round(float(symmetric_cross_entropy(logits, labels, alpha=0.0)), 4)  # 0.5 * -log 1e-4
    4.6052
    """
    _refuse_parameters(alpha, beta, clamp_prob, clamp_label)
    logits, labels = labelled_logits(logits, labels)
    fit = functional.cross_entropy(logits, labels, reduction="none")
    posterior = logits.softmax(dim=1).clamp(clamp_prob, 1.0)
    # Not 1 minus the given one's, which rounds to 0 before the others are 0.
    others = posterior.scatter(1, labels[:, None], 0.0).sum(dim=1)  # (B,)
    reverse = -math.log(clamp_label) * others
    return reduced(alpha * fit + beta * reverse, reduction)


class SymmetricCrossEntropy(nn.Module):
    """`symmetric_cross_entropy` with its parameters.

    Parameters
    ----------
    alpha, beta : float, default=0.1 and 1.0
        The paper: 0.1 and 1 for CIFAR-10, 6 and 0.1 for CIFAR-100.
    clamp_prob : float in (0, 1), default=1e-7
    clamp_label : float in (0, 1), default=1e-4
    reduction : {"mean", "none"}, default="mean"

    Raises
    ------
    InputError
        A parameter out of its range.

    Examples
    --------
    >>> import torch
    >>> network, inputs, labels = torch.nn.Linear(5, 3), torch.ones(4, 5), torch.tensor([0, 1, 2, 0])
    >>> SymmetricCrossEntropy()(network(inputs), labels).backward()
    """

    def __init__(
        self,
        alpha: float = 0.1,
        beta: float = 1.0,
        *,
        clamp_prob: float = 1e-7,
        clamp_label: float = 1e-4,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        _refuse_parameters(alpha, beta, clamp_prob, clamp_label)
        refuse_reduction(reduction)
        self.alpha = alpha
        self.beta = beta
        self.clamp_prob = clamp_prob
        self.clamp_label = clamp_label
        self.reduction: Reduction = reduction

    def forward(self, logits: Tensor, labels: Tensor, index: Tensor | None = None) -> Tensor:
        """Return the loss of a batch; ``index`` is not used."""
        return symmetric_cross_entropy(
            logits,
            labels,
            self.alpha,
            self.beta,
            clamp_prob=self.clamp_prob,
            clamp_label=self.clamp_label,
            reduction=self.reduction,
        )


def _refuse_parameters(alpha: float, beta: float, clamp_prob: float, clamp_label: float) -> None:
    if not (alpha >= 0.0 and beta >= 0.0):
        raise InputError(f"alpha is {alpha} and beta {beta}; expected weights of at least 0")
    for name, clamp in (("clamp_prob", clamp_prob), ("clamp_label", clamp_label)):
        if not 0.0 < clamp < 1.0:
            raise InputError(f"{name} is {clamp}; expected a small number above 0, such as 1e-4")
