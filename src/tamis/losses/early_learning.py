"""Early-learning regularisation (ELR): hold the network to what it said before it memorised."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from tamis.errors import InputError
from tamis.losses.reduction import Reduction, reduced, refuse_reduction
from tamis.losses.target_table import TargetTable, zero_targets
from tamis.statistics.labelled_logits import checked_logits, labelled_logits
from tamis.statistics.schedules import refuse_rate


@torch.no_grad()
def early_learning_targets(
    targets: Tensor, logits: Tensor, *, beta: float = 0.7, clamp: float = 1e-4
) -> Tensor:
    """Return ``beta t + (1 - beta) p / sum(p)``, with p the clamped posterior: the targets after a batch.

    Parameters
    ----------
    targets : (B, K) float tensor
        Rows of the batch's samples before it; zeros at first.
    logits : (B, K) float tensor
    beta : float in [0, 1]
        Share of the past.
    clamp : float in (0, 0.5)

    Examples
    --------
    >>> early_learning_targets(torch.zeros(1, 2), torch.zeros(1, 2), beta=0.9)
    tensor([[0.0500, 0.0500]])
    """
    return _moved(targets, clamped_posterior(checked_logits(logits), clamp), beta)


def early_learning_loss(
    logits: Tensor,
    labels: Tensor,
    targets: Tensor,
    *,
    lam: float = 3.0,
    clamp: float = 1e-4,
    reduction: Reduction = "mean",
) -> Tensor:
    """Return cross-entropy plus ``lam log(1 - <t, p>)``, which falls as the posterior agrees with ``t``.

    Parameters
    ----------
    logits : (B, K) float tensor
    labels : (B,) integer tensor
        Given labels, 0..K-1.
    targets : (B, K) float tensor
        From `early_learning_targets`, this batch included; no gradient passes through them.
    lam : float
        Weight of the second term; 0 is cross-entropy.
    clamp : float in (0, 0.5)
        Posteriors of the second term stay in [clamp, 1 - clamp], so that the logarithm is finite.
    reduction : {"mean", "none"}

    Raises
    ------
    InputError
        Wrong types or shapes, or a label that is no class.

    References
    ----------
    .. [1] S. Liu, J. Niles-Weed, N. Razavian, C. Fernandez-Granda. "Early-learning regularization prevents
       memorization of noisy labels", NeurIPS 2020, equation 6 and the authors' code.

    Examples
    --------
    >>> logits, labels = torch.zeros(1, 2), torch.tensor([1])
    >>> round(float(early_learning_loss(logits, labels, torch.tensor([[0.5, 0.5]]))), 4)  # log 2 - 3 log 2
    -1.3863
    """
    logits, labels = labelled_logits(logits, labels)
    fit = functional.cross_entropy(logits, labels, reduction="none")
    term = _disagreement(targets.detach(), clamped_posterior(logits, clamp))
    return reduced(fit + lam * term, reduction)


class EarlyLearningLoss(TargetTable):
    """`early_learning_loss` with the table of targets of all samples.

    Each call in training mode first updates the rows of its samples; in evaluation mode the table is only
    read. Good while the network still learns right labels faster than wrong ones; a network that fits all
    labels within an epoch has no such time.

    Parameters
    ----------
    n_samples, n_classes : int
    beta : float in [0, 1], default=0.7
        Share of the past in the targets.
    lam : float, at least 0, default=3.0
        Weight of the regulariser. The paper: ``beta=0.7, lam=3`` for CIFAR-10 with symmetric noise,
        ``0.9, 1`` with asymmetric, ``0.9, 7`` for CIFAR-100.
    clamp : float in (0, 0.5), default=1e-4
    reduction : {"mean", "none"}, default="mean"
    dtype : torch.dtype, default=torch.float32
        Of the table, which takes ``n_samples * n_classes`` numbers.

    Attributes
    ----------
    targets : (N, K) float tensor
        Zeros at first; a row sums to ``1 - beta^n`` after n updates.

    Raises
    ------
    InputError
        A parameter out of its range; in a call: what `early_learning_loss` refuses, no index, a row beyond
        the table, or in training mode a row twice in a batch.

    Examples
    --------
    >>> network, inputs, labels = torch.nn.Linear(5, 3), torch.ones(4, 5), torch.tensor([0, 1, 2, 0])
    >>> loss = EarlyLearningLoss(n_samples=4, n_classes=3)
    >>> loss(network(inputs), labels, index=torch.arange(4)).backward()
    """

    def __init__(
        self,
        n_samples: int,
        n_classes: int,
        *,
        beta: float = 0.7,
        lam: float = 3.0,
        clamp: float = 1e-4,
        reduction: Reduction = "mean",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(zero_targets(n_samples, n_classes, dtype))
        refuse_rate(beta, "beta")
        refuse_clamp(clamp)
        refuse_lam(lam)
        refuse_reduction(reduction)
        self.beta = beta
        self.lam = lam
        self.clamp = clamp
        self.reduction: Reduction = reduction

    def forward(self, logits: Tensor, labels: Tensor, index: Tensor | None = None) -> Tensor:
        """Return the loss of a batch whose samples stand in the rows ``index`` of the data set."""
        logits, labels = labelled_logits(logits, labels)
        index = self._rows(index, logits, writes=self.training)
        posterior = clamped_posterior(logits, self.clamp)
        rows = self.targets[index]
        if self.training:
            rows = _moved(rows, posterior.detach(), self.beta)
            self.targets[index] = rows.to(self.targets.dtype)
        fit = functional.cross_entropy(logits, labels, reduction="none")
        return reduced(fit + self.lam * _disagreement(rows, posterior), self.reduction)


def _moved(targets: Tensor, posterior: Tensor, beta: float) -> Tensor:
    share = posterior / posterior.sum(dim=1, keepdim=True)
    return beta * targets.to(share.dtype) + (1.0 - beta) * share


def _disagreement(targets: Tensor, posterior: Tensor) -> Tensor:
    return (-(targets.to(posterior.dtype) * posterior).sum(dim=1)).log1p()  # (B,)


def clamped_posterior(logits: Tensor, clamp: float) -> Tensor:
    """Return the softmax of (B, K) logits within [clamp, 1 - clamp]; no gradient where it is cut."""
    return logits.softmax(dim=1).clamp(clamp, 1.0 - clamp)


def refuse_clamp(clamp: float) -> None:
    """Raise `InputError` where a bound would not keep posteriors off 0 and 1."""
    if not 0.0 < clamp < 0.5:
        raise InputError(f"clamp is {clamp}; expected a small number above 0, such as 1e-4")


def refuse_lam(lam: float) -> None:
    """Raise `InputError` where a weight would reward disagreement with the targets, or is not finite."""
    if not 0.0 <= lam < math.inf:
        raise InputError(f"lam is {lam}; expected a finite weight of at least 0")
