"""Self-adaptive training: targets that drift from the given label to what the network says."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from tamis.errors import InputError
from tamis.losses.reduction import Reduction, reduced, refuse_reduction
from tamis.losses.target_table import TargetTable, zero_targets
from tamis.statistics.labelled_logits import checked_logits, labelled_logits
from tamis.statistics.schedules import refuse_rate


@torch.no_grad()
def self_adaptive_targets(targets: Tensor, logits: Tensor, *, momentum: float = 0.9) -> Tensor:
    """Return ``a t + (1 - a) softmax(logits)``: the targets after a batch.

    Parameters
    ----------
    targets : (B, K) float tensor
        Rows of the batch's samples before it, each summing to 1; one-hot labels at first.
    logits : (B, K) float tensor
    momentum : float in [0, 1]
        a: share of the past.

    Examples
    --------
    >>> self_adaptive_targets(torch.tensor([[1.0, 0.0]]), torch.zeros(1, 2))
    tensor([[0.9500, 0.0500]])
    """
    posterior = checked_logits(logits).softmax(dim=1)
    return momentum * targets.to(posterior.dtype) + (1.0 - momentum) * posterior


def self_adaptive_loss(logits: Tensor, targets: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """Return cross-entropy with soft targets, each sample weighted by its target's largest entry.

    Weights have mean 1 in the batch. No gradient passes through targets and weights.

    Parameters
    ----------
    logits : (B, K) float tensor
    targets : (B, K) float tensor
        From `self_adaptive_targets`, this batch included.
    reduction : {"mean", "none"}

    Raises
    ------
    InputError
        Wrong types, or shapes that differ.

    References
    ----------
    .. [1] L. Huang, C. Zhang, H. Zhang. "Self-adaptive training: beyond empirical risk minimization",
       NeurIPS 2020, algorithm 1.

    Examples
    --------
    >>> round(float(self_adaptive_loss(torch.zeros(1, 2), torch.tensor([[0.9, 0.1]]))), 4)
    0.6931
    """
    logits = checked_logits(logits)
    if targets.shape != logits.shape:
        raise InputError(
            f"targets has shape {tuple(targets.shape)}; expected {tuple(logits.shape)}, that of the logits"
        )
    targets = targets.detach().to(logits.dtype)
    confidence = targets.amax(dim=1)  # (B,)
    weight = confidence * len(confidence) / confidence.sum()
    return reduced(-weight * (targets * logits.log_softmax(dim=1)).sum(dim=1), reduction)


class SelfAdaptiveLoss(TargetTable):
    """`self_adaptive_loss` with the targets of all samples; plain cross-entropy before ``start_epoch``.

    Call `set_epoch` in every epoch. From ``start_epoch`` on each call in training mode first updates the
    targets of its samples; in evaluation mode they are only read. Start after the network has learnt and
    before it has memorised: later it only confirms what it memorised.

    Parameters
    ----------
    labels : (N,) integer tensor
        Given labels of the whole data set, 0..n_classes-1; -1 (unlabelled) starts with equal targets.
    n_classes : int
    momentum : float in [0, 1], default=0.9
        Share of the past in the targets.
    start_epoch : int, default=60
        The first epoch with targets; the paper's 60 of 200.
    reduction : {"mean", "none"}, default="mean"
    dtype : torch.dtype, default=torch.float32
        Of the table, which takes ``n_samples * n_classes`` numbers.

    Attributes
    ----------
    targets : (N, K) float tensor
        Rows sum to 1.
    epoch : int
        Set by `set_epoch`, 0 at first.

    Raises
    ------
    InputError
        A parameter out of its range; in a call: wrong types or shapes, a label that is no class, no index, a
        row beyond the table, or in training mode a row twice in a batch.

    Examples
    --------
    >>> labels = torch.tensor([0, 1, 1])
    >>> loss = SelfAdaptiveLoss(labels, n_classes=2, start_epoch=1)
    >>> loss.set_epoch(1)
    >>> value = loss(torch.zeros(2, 2), labels[[0, 2]], index=torch.tensor([0, 2]))
    >>> loss.targets
    tensor([[0.9500, 0.0500],
            [0.0000, 1.0000],
            [0.0500, 0.9500]])
    """

    def __init__(
        self,
        labels: Tensor,
        n_classes: int,
        *,
        momentum: float = 0.9,
        start_epoch: int = 60,
        reduction: Reduction = "mean",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(_first_targets(labels, n_classes, dtype))
        refuse_rate(momentum, "momentum")
        refuse_reduction(reduction)
        self.momentum = momentum
        self.start_epoch = start_epoch
        self.reduction: Reduction = reduction
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Tell the loss which epoch begins, from 0."""
        self.epoch = epoch

    def forward(self, logits: Tensor, labels: Tensor, index: Tensor | None = None) -> Tensor:
        """Return the loss of a batch whose samples stand in the rows ``index`` of the data set."""
        logits, labels = labelled_logits(logits, labels)
        if self.epoch < self.start_epoch:
            return reduced(functional.cross_entropy(logits, labels, reduction="none"), self.reduction)
        index = self._rows(index, logits, writes=self.training)
        rows = self.targets[index]
        if self.training:
            rows = self_adaptive_targets(rows, logits, momentum=self.momentum)
            self.targets[index] = rows.to(self.targets.dtype)
        return self_adaptive_loss(logits, rows, reduction=self.reduction)


def _first_targets(labels: Tensor, n_classes: int, dtype: torch.dtype) -> Tensor:
    if not isinstance(labels, Tensor) or labels.ndim != 1 or labels.is_floating_point():
        raise InputError(
            "labels is no integer tensor of shape (N,); expected the labels of the whole data set"
        )
    targets = zero_targets(len(labels), n_classes, dtype).to(labels.device)
    if not -1 <= int(labels.min()) <= int(labels.max()) < n_classes:
        raise InputError(
            f"labels runs from {int(labels.min())} to {int(labels.max())}; expected class codes from 0 to "
            f"{n_classes - 1}, or -1"
        )
    targets.scatter_(1, labels.long().clamp(min=0)[:, None], 1.0)
    targets[labels < 0] = 1.0 / n_classes
    return targets
