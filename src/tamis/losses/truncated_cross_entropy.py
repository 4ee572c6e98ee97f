"""Truncated generalised cross-entropy: samples that stay disbelieved are left out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tamis.errors import InputError
from tamis.losses.generalized_cross_entropy import generalized_cross_entropy, refuse_q
from tamis.losses.reduction import Reduction, reduced, refuse_reduction
from tamis.losses.target_table import checked_index
from tamis.statistics.labelled_logits import labelled_logits


def truncated_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    weights: Tensor,
    *,
    q: float = 0.7,
    k: float = 0.5,
    reduction: Reduction = "mean",
) -> Tensor:
    """Return ``v l - v (1 - k^q) / q``, with l the generalised cross-entropy and v the sample's weight.

    Parameters
    ----------
    logits : (B, K) float tensor
    labels : (B,) integer tensor
        Given labels, 0..K-1.
    weights : (B,) float tensor
        1 = in use, 0 = left out; no gradient passes through them.
    q : float in (0, 1]
    k : float in (0, 1]
        Posterior of the given label below which a sample is better left out.
    reduction : {"mean", "none"}

    Returns
    -------
    scalar tensor, or (B,) for ``"none"``
        Negative where used samples are believed more than ``k``.

    Raises
    ------
    InputError
        Wrong types or shapes, a label that is no class, or a parameter out of range.

    References
    ----------
    .. [1] Z. Zhang, M. R. Sabuncu. "Generalized cross entropy loss for training deep neural networks with
       noisy labels", NeurIPS 2018, section 3.3.

    Examples
    --------
    >>> logits, labels = torch.tensor([[9.0, 0.0], [9.0, 0.0]]), torch.tensor([0, 1])
    >>> losses = truncated_cross_entropy(logits, labels, torch.tensor([1.0, 0.0]), reduction="none")
    >>> [round(value, 3) for value in losses.tolist()]
    [-0.549, 0.0]
    """
    _refuse_k(k)
    losses = generalized_cross_entropy(logits, labels, q, reduction="none")
    if weights.shape != losses.shape:
        raise InputError(f"weights has shape {tuple(weights.shape)}; expected ({len(losses)},): one a sample")
    return reduced(weights.detach().to(losses.dtype) * (losses - _loss_at(k, q)), reduction)


class TruncatedCrossEntropy(nn.Module):
    """`truncated_cross_entropy` with a weight for every sample of the data set.

    All samples are in use at first. After a warm-up, and then every few epochs, show it the whole data set
    through `refresh`, in evaluation mode of the network. Leaves out what is hard as readily as what is wrong.

    Parameters
    ----------
    n_samples : int
    q : float in (0, 1], default=0.7
    k : float in (0, 1], default=0.5
    reduction : {"mean", "none"}, default="mean"

    Attributes
    ----------
    weights : (N,) float32 tensor
        1 or 0.

    Notes
    -----
    The paper refreshes every 10 epochs, from epoch 40 on for CIFAR-10 and 80 for CIFAR-100.

    Raises
    ------
    InputError
        A parameter out of its range; in a call: what `truncated_cross_entropy` refuses, no index, or a row
        beyond the table.

    Examples
    --------
    >>> loss = TruncatedCrossEntropy(n_samples=2)
    >>> logits, labels, index = torch.tensor([[9.0, 0.0], [9.0, 0.0]]), torch.tensor([0, 1]), torch.arange(2)
    >>> loss.refresh(logits, labels, index)
    >>> loss.weights
    tensor([1., 0.])
    """

    weights: Tensor

    def __init__(
        self, n_samples: int, *, q: float = 0.7, k: float = 0.5, reduction: Reduction = "mean"
    ) -> None:
        super().__init__()
        if n_samples < 1:
            raise InputError(f"n_samples is {n_samples}; expected the size of the data set, at least 1")
        refuse_q(q)
        _refuse_k(k)
        refuse_reduction(reduction)
        self.q = q
        self.k = k
        self.reduction: Reduction = reduction
        self.register_buffer("weights", torch.ones(n_samples))

    @torch.no_grad()
    def refresh(self, logits: Tensor, labels: Tensor, index: Tensor) -> None:
        """Use a sample from now on where its posterior is above ``k``: its loss below the loss at ``k``."""
        logits, labels = labelled_logits(logits, labels)
        index = checked_index(index, len(logits), len(self.weights), writes=True)
        # The losses compare alike, but for rounding: a posterior of exactly k is left out.
        posterior = logits.softmax(dim=1).gather(1, labels[:, None])[:, 0]  # (B,)
        self.weights[index] = (posterior > self.k).to(self.weights.dtype)

    def forward(self, logits: Tensor, labels: Tensor, index: Tensor | None = None) -> Tensor:
        """Return the loss of a batch whose samples stand in the rows ``index`` of the data set."""
        index = checked_index(index, len(logits), len(self.weights), writes=False)
        return truncated_cross_entropy(
            logits, labels, self.weights[index], q=self.q, k=self.k, reduction=self.reduction
        )


def _loss_at(posterior: float, q: float) -> float:
    return float((1.0 - posterior**q) / q)


def _refuse_k(k: float) -> None:
    if not 0.0 < k <= 1.0:
        raise InputError(f"k is {k}; expected a posterior above 0 and at most 1, such as 0.5")
