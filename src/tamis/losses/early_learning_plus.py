"""ELR+: early-learning regularisation with mixup, and targets from the other network's average."""

from __future__ import annotations

import torch
from torch import Tensor

from tamis.errors import InputError
from tamis.losses.early_learning import clamped_posterior, refuse_clamp, refuse_lam
from tamis.losses.reduction import Reduction, reduced, refuse_reduction
from tamis.losses.target_table import TargetTable, zero_targets
from tamis.statistics.labelled_logits import checked_logits
from tamis.statistics.schedules import exponential_ramp, refuse_rate


@torch.no_grad()
def early_learning_plus_history(history: Tensor, averaged_logits: Tensor, *, beta: float = 0.7) -> Tensor:
    """Return ``beta h + (1 - beta) softmax(averaged_logits)``: what is remembered after a batch.

    Parameters
    ----------
    history : (B, K) float tensor
        Rows of the batch's samples before it; zeros at first.
    averaged_logits : (B, K) float tensor
        Of the other network's weight-averaged copy, on the unmixed samples.
    beta : float in [0, 1]

    Examples
    --------
    >>> early_learning_plus_history(torch.zeros(1, 2), torch.zeros(1, 2), beta=0.9)
    tensor([[0.0500, 0.0500]])
    """
    share = checked_logits(averaged_logits, "averaged_logits").softmax(dim=1)
    return beta * history.to(share.dtype) + (1.0 - beta) * share


def early_learning_plus_loss(
    logits: Tensor,
    mixed_targets: Tensor,
    mixed_history: Tensor,
    *,
    lam: float = 3.0,
    ramp: float = 1.0,
    clamp: float = 1e-4,
    reweight_targets: bool = False,
    reduction: Reduction = "mean",
) -> Tensor:
    """Return cross-entropy with soft targets plus ``ramp lam log(1 - <q, p>)``.

    Parameters
    ----------
    logits : (B, K) float tensor
        Of the mixed samples.
    mixed_targets : (B, K) float tensor
        Mixed one-hot labels.
    mixed_history : (B, K) float tensor
        q: the histories, mixed as the samples are.
    lam : float
    ramp : float
        See `tamis.statistics.schedules.exponential_ramp`.
    clamp : float in (0, 0.5)
    reweight_targets : bool
        Multiply the targets by q and let them sum to 1 again, as the authors' code does with 100 classes; a
        row whose product is 0 stays as it is.
    reduction : {"mean", "none"}

    Raises
    ------
    InputError
        Shapes that differ.

    References
    ----------
    .. [1] S. Liu, J. Niles-Weed, N. Razavian, C. Fernandez-Granda. "Early-learning regularization prevents
       memorization of noisy labels", NeurIPS 2020, appendix and the authors' code.

    Examples
    --------
    >>> logits, targets = torch.zeros(1, 2), torch.tensor([[0.5, 0.5]])
    >>> round(float(early_learning_plus_loss(logits, targets, targets)), 4)  # log 2 - 3 log 2
    -1.3863
    """
    logits = checked_logits(logits)
    _refuse_other_shape(logits, mixed_targets, "mixed_targets")
    _refuse_other_shape(logits, mixed_history, "mixed_history")
    targets = mixed_targets.detach().to(logits.dtype)
    history = mixed_history.detach().to(logits.dtype)
    if reweight_targets:
        targets = _reweighted(targets, history)
    fit = -(targets * logits.log_softmax(dim=1)).sum(dim=1)  # (B,)
    agreement = (history * clamped_posterior(logits, clamp)).sum(dim=1)
    return reduced(fit + ramp * lam * (-agreement).log1p(), reduction)


class EarlyLearningPlusLoss(TargetTable):
    """`early_learning_plus_loss` with the history of all samples; one for each of the two networks.

    In a step: `update` with the logits of the other network's averaged copy on the samples as they are, then
    a call with the logits of this network on the mixed ones.

    Parameters
    ----------
    n_samples, n_classes : int
    beta : float in [0, 1], default=0.7
        Share of the past in the history.
    lam : float, at least 0, default=3.0
    clamp : float in (0, 0.5), default=1e-4
    ramp_length : int, default=0
        Steps until the regulariser has its full weight. The code: 0 for CIFAR-10, 40,000 for CIFAR-100.
    reweight_targets : bool, default=False
    reduction : {"mean", "none"}, default="mean"
    dtype : torch.dtype, default=torch.float32
        Of the table, which takes ``n_samples * n_classes`` numbers.

    Attributes
    ----------
    targets : (N, K) float tensor
        The history; zeros at first.

    Raises
    ------
    InputError
        A parameter out of its range; in a call: shapes that differ, no index, a row beyond the table, or one
        twice in an update.

    Examples
    --------
    >>> loss, index, partner = EarlyLearningPlusLoss(4, 2), torch.tensor([0, 2]), torch.tensor([1, 0])
    >>> loss.update(torch.tensor([[3.0, 0.0], [0.0, 3.0]]), index)
    >>> targets = torch.tensor([[0.8, 0.2], [0.2, 0.8]])
    >>> value = loss(torch.zeros(2, 2), targets, index, partner=partner, mix_weight=0.8)
    """

    def __init__(
        self,
        n_samples: int,
        n_classes: int,
        *,
        beta: float = 0.7,
        lam: float = 3.0,
        clamp: float = 1e-4,
        ramp_length: int = 0,
        reweight_targets: bool = False,
        reduction: Reduction = "mean",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(zero_targets(n_samples, n_classes, dtype))
        refuse_rate(beta, "beta")
        refuse_clamp(clamp)
        refuse_reduction(reduction)
        exponential_ramp(0, ramp_length)  # refuses a negative length
        refuse_lam(lam)
        self.beta = beta
        self.lam = lam
        self.clamp = clamp
        self.ramp_length = ramp_length
        self.reweight_targets = reweight_targets
        self.reduction: Reduction = reduction

    @torch.no_grad()
    def update(self, averaged_logits: Tensor, index: Tensor) -> None:
        """Remember what the other network's averaged copy says of the samples in the rows ``index``."""
        averaged_logits = checked_logits(averaged_logits, "averaged_logits")
        index = self._rows(index, averaged_logits, writes=True)
        history = early_learning_plus_history(self.targets[index], averaged_logits, beta=self.beta)
        self.targets[index] = history.to(self.targets.dtype)

    def mixed_history(
        self, index: Tensor, partner: Tensor | None = None, mix_weight: float | Tensor = 1.0
    ) -> Tensor:
        """Return ``q = m h + (1 - m) h[partner]``, (B, K).

        Parameters
        ----------
        index : (B,) integer tensor
            Rows of the data set.
        partner : (B,) integer tensor or None
            Place in the batch of the sample that each is mixed with; None = not mixed.
        mix_weight : float or (B,) tensor
            Weight of the sample itself.
        """
        history = self.targets[index]
        if partner is None:
            return history
        if isinstance(mix_weight, Tensor) and mix_weight.ndim == 1:
            mix_weight = mix_weight[:, None]
        return mix_weight * history + (1.0 - mix_weight) * history[partner]

    def forward(
        self,
        logits: Tensor,
        mixed_targets: Tensor,
        index: Tensor | None = None,
        *,
        partner: Tensor | None = None,
        mix_weight: float | Tensor = 1.0,
        step: int = 0,
    ) -> Tensor:
        """Return the loss of a mixed batch in optimiser step ``step`` (from 0)."""
        logits = checked_logits(logits)
        index = self._rows(index, logits, writes=False)
        return early_learning_plus_loss(
            logits,
            mixed_targets,
            self.mixed_history(index, partner, mix_weight),
            lam=self.lam,
            ramp=exponential_ramp(step, self.ramp_length),
            clamp=self.clamp,
            reweight_targets=self.reweight_targets,
            reduction=self.reduction,
        )


def _reweighted(targets: Tensor, history: Tensor) -> Tensor:
    product = targets * history
    total = product.sum(dim=1, keepdim=True)
    # A sample and partner never seen before have no history to weigh with.
    has_any = total > torch.finfo(total.dtype).tiny
    return torch.where(has_any, product / total.where(has_any, total.new_ones(())), targets)


def _refuse_other_shape(logits: Tensor, given: Tensor, name: str) -> None:
    if given.shape != logits.shape:
        raise InputError(
            f"{name} has shape {tuple(given.shape)}; expected {tuple(logits.shape)}, that of the logits"
        )
