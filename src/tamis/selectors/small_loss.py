"""Trust the samples of a batch with the smallest losses, a fixed share of it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from tamis.selectors.selection import Selection, Selector, logits_of
from tamis.statistics.labelled_logits import labelled_logits
from tamis.statistics.schedules import drop_rate
from tamis.statistics.smallest_losses import smallest_losses


@torch.no_grad()
def small_loss_selection(logits: Tensor, labels: Tensor, forget_rate: float) -> Selection:
    """Keep the ``max(1, int((1 - forget_rate) * B))`` samples with the smallest cross-entropy.

    Parameters
    ----------
    logits : (B, K) float tensor
    labels : (B,) integer tensor
        Given labels, 0..K-1.
    forget_rate : float in [0, 1]
        Share to leave out.

    Returns
    -------
    Selection
        ``clean_scores`` = minus the cross-entropy, in [-inf, 0]; ``threshold`` = the largest kept loss, a
        scalar tensor, or None for an empty batch.

    Raises
    ------
    InputError
        Wrong types or shapes, a label that is no class, a rate that is no share, logits with NaN.

    References
    ----------
    .. [1] B. Han et al. "Co-teaching: Robust training of deep neural networks with extremely noisy
       labels", NeurIPS 2018, algorithm 1.

    Examples
    --------
    >>> logits = torch.tensor([[3.0, 0.0], [3.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    >>> small_loss_selection(logits, torch.tensor([0, 1, 0, 1]), forget_rate=0.25).keep
    tensor([ True, False,  True,  True])
    """
    logits, labels = labelled_logits(logits, labels)
    losses = functional.cross_entropy(logits, labels, reduction="none")
    rows = smallest_losses(losses, forget_rate)
    keep = torch.zeros_like(labels, dtype=torch.bool)
    keep[rows] = True
    return Selection(keep, keep.to(logits.dtype), -losses, losses[rows].max() if len(rows) else None)


class SmallLossSelector(Selector):
    """`small_loss_selection` with a share that rises over the first epochs; call `set_epoch` in each.

    Networks learn right labels first, so the share of trusted samples begins at all and falls as wrong
    labels begin to be memorised. A single network that selects for itself reinforces its own mistakes;
    `tamis.losses.CoTeachingLoss` lets two select for each other.

    Parameters
    ----------
    forget_rate : float in [0, 1]
        Share to leave out at the end: the noise rate.
    n_gradual : int, default=10
        Epochs until then; 0 = at once.
    exponent : float, default=1.0
        See `tamis.statistics.schedules.drop_rate`.

    Attributes
    ----------
    epoch : int
        Set by `set_epoch`, 0 at first.

    Raises
    ------
    InputError
        A parameter out of its range.

    Examples
    --------
    >>> selector = SmallLossSelector(0.5, n_gradual=2)
    >>> logits, labels = torch.tensor([[3.0, 0.0], [3.0, 0.0]]), torch.tensor([0, 1])
    >>> selector.select(logits, labels).keep
    tensor([True, True])
    >>> selector.set_epoch(1)
    >>> selector.select(logits, labels).keep
    tensor([ True, False])
    """

    def __init__(self, forget_rate: float, *, n_gradual: int = 10, exponent: float = 1.0) -> None:
        super().__init__()
        self.forget_rate = forget_rate
        self.n_gradual = n_gradual
        self.exponent = exponent
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Tell the selector which epoch begins, from 0."""
        self._rate = drop_rate(epoch, self.forget_rate, self.n_gradual, self.exponent)
        self.epoch = epoch

    def select(self, outputs: object, labels: Tensor, index: Tensor | None = None) -> Selection:
        """Judge a batch; see `small_loss_selection`. ``index`` is not used."""
        return small_loss_selection(logits_of(outputs), labels, self._rate)
