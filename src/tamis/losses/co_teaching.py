"""Co-teaching: two networks, each trained on the samples that the other finds easy."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor
from torch.nn import functional

from tamis.losses.gradual_drop import GradualDrop
from tamis.losses.reduction import reduced
from tamis.statistics.labelled_logits import labelled_logits
from tamis.statistics.smallest_losses import smallest_losses


class CoTeachingLosses(NamedTuple):
    """What `co_teaching_losses` returns.

    Attributes
    ----------
    loss1, loss2 : scalar tensors
        Of the first and the second network, each over the other's selection.
    selected1, selected2 : (n,) int64 tensors
        Rows of the batch that each network selects, rising.
    """

    loss1: Tensor
    loss2: Tensor
    selected1: Tensor
    selected2: Tensor


def co_teaching_losses(
    logits1: Tensor, logits2: Tensor, labels: Tensor, forget_rate: float
) -> CoTeachingLosses:
    """Return the loss of each network over the ``1 - forget_rate`` of the batch the other finds easiest.

    Parameters
    ----------
    logits1, logits2 : (B, K) float tensors
        Of two networks that began differently, on the same batch.
    labels : (B,) integer tensor
        Given labels, 0..K-1.
    forget_rate : float in [0, 1]
        Share to leave out; ``max(1, int((1 - forget_rate) * B))`` samples remain, of equal losses the
        earlier.

    Raises
    ------
    InputError
        Wrong types or shapes, a label that is no class, a rate that is no share, logits with NaN.

    Notes
    -----
    Losses are means over the selected samples. The authors' code divides these means by their number once
    more, which the learning rate of an adaptive optimiser does not see.

    References
    ----------
    .. [1] B. Han et al. "Co-teaching: Robust training of deep neural networks with extremely noisy
       labels", NeurIPS 2018, algorithm 1.

    Examples
    --------
    >>> import torch
    >>> easy_for_1, easy_for_2 = torch.tensor([[9.0, 0], [0, 0]]), torch.tensor([[0, 0], [0, 9.0]])
    >>> losses = co_teaching_losses(easy_for_1, easy_for_2, torch.tensor([0, 1]), forget_rate=0.5)
    >>> losses.selected1, round(float(losses.loss1), 4)
    (tensor([0]), 0.6931)
    """
    logits1, labels = labelled_logits(logits1, labels, "logits1")
    logits2, labels = labelled_logits(logits2, labels, "logits2")
    losses1 = functional.cross_entropy(logits1, labels, reduction="none")
    losses2 = functional.cross_entropy(logits2, labels, reduction="none")
    selected1 = smallest_losses(losses1, forget_rate)
    selected2 = smallest_losses(losses2, forget_rate)
    return CoTeachingLosses(
        reduced(losses1[selected2], "mean"), reduced(losses2[selected1], "mean"), selected1, selected2
    )


class CoTeachingLoss(GradualDrop):
    """`co_teaching_losses` with a share that rises over the first epochs; call `set_epoch` in each.

    Parameters
    ----------
    forget_rate : float in [0, 1]
        Share to leave out at the end: the noise rate.
    n_gradual : int, default=10
        Epochs until then; 0 = at once.
    exponent : float, default=1.0
        See `tamis.statistics.schedules.drop_rate`.

    Raises
    ------
    InputError
        A parameter out of its range; in a call: as `co_teaching_losses`.

    Examples
    --------
    >>> import torch
    >>> first, second = torch.nn.Linear(5, 3), torch.nn.Linear(5, 3)
    >>> inputs, labels = torch.ones(4, 5), torch.tensor([0, 1, 2, 0])
    >>> losses = CoTeachingLoss(0.5)(first(inputs), second(inputs), labels)
    >>> (losses.loss1 + losses.loss2).backward()
    """

    def forward(self, logits1: Tensor, logits2: Tensor, labels: Tensor) -> CoTeachingLosses:
        """Return the losses of a batch."""
        return co_teaching_losses(logits1, logits2, labels, self._rate)
