"""JoCoR: two networks trained jointly to fit the labels and to agree, on the samples where they do both."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor
from torch.nn import functional

from tamis.errors import InputError
from tamis.losses.gradual_drop import GradualDrop
from tamis.losses.reduction import reduced
from tamis.statistics.labelled_logits import labelled_logits
from tamis.statistics.schedules import refuse_rate
from tamis.statistics.smallest_losses import smallest_losses


class JointLoss(NamedTuple):
    """What `joint_training_loss` returns.

    Attributes
    ----------
    loss : scalar tensor
        For one optimiser over both networks.
    selected : (n,) int64 tensor
        Rows of the batch in use, rising.
    losses : (B,) float tensor
        Of every sample.
    """

    loss: Tensor
    selected: Tensor
    losses: Tensor


def joint_losses(logits1: Tensor, logits2: Tensor, labels: Tensor, *, co_lambda: float = 0.9) -> Tensor:
    """Return ``(1 - lam) (CE1 + CE2) + lam (KL(p1 || p2) + KL(p2 || p1))`` of each sample, (B,).

    Parameters
    ----------
    logits1, logits2 : (B, K) float tensors
        Of two networks that began differently, on the same batch.
    labels : (B,) integer tensor
        Given labels, 0..K-1.
    co_lambda : float in [0, 1]
        Weight of the agreement; 1 ignores the labels.

    Raises
    ------
    InputError
        Wrong types or shapes, a label that is no class, a weight out of range.

    References
    ----------
    .. [1] H. Wei, L. Feng, X. Chen, B. An. "Combating noisy labels by agreement: a joint training method
       with co-regularization", CVPR 2020, equations 1 to 4.

    Examples
    --------
    >>> import torch
    >>> joint_losses(torch.zeros(1, 2), torch.zeros(1, 2), torch.tensor([0]), co_lambda=0.5)
    tensor([0.6931])
    """
    refuse_rate(co_lambda, "co_lambda")
    logits1, labels = labelled_logits(logits1, labels, "logits1")
    logits2, labels = labelled_logits(logits2, labels, "logits2")
    if logits1.shape != logits2.shape:
        raise InputError(
            f"logits2 has shape {tuple(logits2.shape)}; expected {tuple(logits1.shape)}, that of logits1"
        )
    fit = functional.cross_entropy(logits1, labels, reduction="none")
    fit = fit + functional.cross_entropy(logits2, labels, reduction="none")
    log1, log2 = logits1.log_softmax(dim=1), logits2.log_softmax(dim=1)
    # Both divergences in one: sum (p1 - p2) (log p1 - log p2).
    disagreement = ((log1.exp() - log2.exp()) * (log1 - log2)).sum(dim=1)
    return (1.0 - co_lambda) * fit + co_lambda * disagreement


def joint_training_loss(
    logits1: Tensor, logits2: Tensor, labels: Tensor, forget_rate: float, *, co_lambda: float = 0.9
) -> JointLoss:
    """Return the mean of the smallest `joint_losses` of a batch.

    Parameters
    ----------
    logits1, logits2, labels, co_lambda
        As in `joint_losses`.
    forget_rate : float in [0, 1]
        Share to leave out; ``max(1, int((1 - forget_rate) * B))`` samples remain, of equal losses the
        earlier.

    Raises
    ------
    InputError
        As `joint_losses`, a rate that is no share, or logits with NaN.

    Examples
    --------
    >>> import torch
    >>> logits = torch.tensor([[2.0, 0], [0, 2.0], [2.0, 0]])
    >>> joint_training_loss(logits, logits, torch.tensor([0, 1, 1]), forget_rate=0.3).selected
    tensor([0, 1])
    """
    losses = joint_losses(logits1, logits2, labels, co_lambda=co_lambda)
    selected = smallest_losses(losses, forget_rate)
    return JointLoss(reduced(losses[selected], "mean"), selected, losses)


class JointTrainingLoss(GradualDrop):
    """`joint_training_loss` with a share that rises over the first epochs; call `set_epoch` in each.

    Parameters
    ----------
    forget_rate : float in [0, 1]
        Share to leave out at the end: the noise rate; half of it for asymmetric noise (authors' code).
    co_lambda : float in [0, 1], default=0.9
        The authors: 0.9 for CIFAR-10, 0.65 with 80 % noise, 0.85 for CIFAR-100.
    n_gradual : int, default=10
        Epochs until the full share; 0 = at once.
    exponent : float, default=1.0
        See `tamis.statistics.schedules.drop_rate`.

    Raises
    ------
    InputError
        A parameter out of its range; in a call: as `joint_training_loss`.

    Examples
    --------
    >>> import torch
    >>> first, second = torch.nn.Linear(5, 3), torch.nn.Linear(5, 3)
    >>> inputs, labels = torch.ones(4, 5), torch.tensor([0, 1, 2, 0])
    >>> JointTrainingLoss(0.5)(first(inputs), second(inputs), labels).loss.backward()
    """

    def __init__(
        self, forget_rate: float, *, co_lambda: float = 0.9, n_gradual: int = 10, exponent: float = 1.0
    ) -> None:
        super().__init__(forget_rate, n_gradual=n_gradual, exponent=exponent)
        refuse_rate(co_lambda, "co_lambda")
        self.co_lambda = co_lambda

    def forward(self, logits1: Tensor, logits2: Tensor, labels: Tensor) -> JointLoss:
        """Return the loss of a batch."""
        return joint_training_loss(logits1, logits2, labels, self._rate, co_lambda=self.co_lambda)
