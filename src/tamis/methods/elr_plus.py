"""ELR+: early-learning regularisation with mixup, two networks and their averages."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tamis.backbones.weight_average import averaged_copy, update_average
from tamis.losses.early_learning_plus import EarlyLearningPlusLoss
from tamis.methods.base import METHODS, BuildNetwork, Losses, TwoNetworks, Verdict
from tamis.methods.batches import Batch, Moment
from tamis.methods.material import Scan
from tamis.methods.recipe import Recipe
from tamis.methods.spans import refuse_span, span
from tamis.methods.target_verdict import verdict_of_targets
from tamis.registry import Facts
from tamis.statistics.schedules import ramped_momentum, refuse_rate, running_mean_momentum
from tamis.targets import mixup, mixup_lambda, mixup_permutation, one_hot


@METHODS.register(
    "elr_plus",
    Facts(
        title="ELR+",
        inputs=("any",),
        year=2020,
        paper="S. Liu, J. Niles-Weed, N. Razavian, C. Fernandez-Granda. Early-learning regularization "
        "prevents memorization of noisy labels. NeurIPS 2020.",
    ),
)
class ELRPlus(TwoNetworks):
    """Hold each network, on mixed samples, to what the other's average has said about them.

    Costs four forward passes a step. Inputs must be numbers that can be mixed, not tokens. Predicts with the
    mean of both networks' logits; its verdict is the mean of both running means, and what the networks say of
    rows they were never trained on. With an initial selection it trains on the selected rows only.

    Parameters
    ----------
    build, n_samples, n_classes
        As in `Method`.
    beta : float in [0, 1], default=0.7
        Share of the past in the running mean of each sample.
    lam : float, at least 0, default=3.0
        Weight of the regulariser. The paper: ``beta=0.7, lam=3`` for CIFAR-10 with symmetric noise,
        ``0.9, 1`` with asymmetric, ``0.9, 7`` for CIFAR-100.
    alpha : float, at least 0, default=1.0
        Of mixup's Beta distribution; 0 = no mixing.
    ramp_length : int, default=0
        Steps until the regulariser has its full weight; 40,000 for CIFAR-100.
    average_length : float or None, default=0.5
        Steps until the averages have their full memory; below 1 as a share of all steps. The paper's 40,000
        steps are about half its run on CIFAR. None: a plain mean of all steps at first, as beyond CIFAR.
    average_momentum : float in [0, 1], default=0.997
        That full memory; 0.9999 beyond CIFAR.
    reweight_targets : bool, default=False
        Multiply targets by the running means, as the authors' code does with 100 classes.

    Raises
    ------
    InputError
        A parameter out of range.

    Notes
    -----
    The paper: SGD at 0.02, weight decay 0.0005, 200 epochs on CIFAR-10, a tenth of the learning rate from 150
    on. Here 50 epochs with the step at the same share. Both networks see the same batch, mixed differently.

    Examples
    --------
    >>> from tamis.backbones import build_backbone
    >>> method = ELRPlus(
    ...     lambda number: build_backbone("linear", input_shape=(4,), n_classes=3, seed=number),
    ...     n_samples=100,
    ...     n_classes=3,
    ... )
    """

    recipe = Recipe(schedule="steps", milestones=(0.75,))

    def __init__(
        self,
        build: BuildNetwork,
        *,
        n_samples: int,
        n_classes: int,
        beta: float = 0.7,
        lam: float = 3.0,
        alpha: float = 1.0,
        ramp_length: int = 0,
        average_length: float | None = 0.5,
        average_momentum: float = 0.997,
        reweight_targets: bool = False,
    ) -> None:
        super().__init__(build, n_samples=n_samples, n_classes=n_classes)
        mixup_lambda(alpha, seed=0, step=0)  # refuses an alpha out of range
        if average_length is not None:
            refuse_span(average_length, "average_length")
        refuse_rate(average_momentum, "average_momentum")
        self.alpha = alpha
        self.average_length = average_length
        self.average_momentum = average_momentum
        self.average = averaged_copy(self.network)
        self.average_2 = averaged_copy(self.network_2)
        self.loss, self.loss_2 = (
            EarlyLearningPlusLoss(
                n_samples,
                n_classes,
                beta=beta,
                lam=lam,
                ramp_length=ramp_length,
                reweight_targets=reweight_targets,
            )
            for _ in range(2)
        )

    def training_step(self, batches: Mapping[str, Batch], moment: Moment) -> Losses:
        """Return the loss of each network against the other's average."""
        batch = batches["train"]
        return {
            "first": self._loss(self.network, self.average_2, self.loss, batch, moment, 2 * moment.step),
            "second": self._loss(
                self.network_2, self.average, self.loss_2, batch, moment, 2 * moment.step + 1
            ),
        }

    def _loss(
        self,
        network: nn.Module,
        other_average: nn.Module,
        criterion: EarlyLearningPlusLoss,
        batch: Batch,
        moment: Moment,
        draw: int,
    ) -> Tensor:
        with torch.no_grad():
            criterion.update(other_average(batch.inputs).logits, batch.index)
        weight = mixup_lambda(self.alpha, moment.seed, draw)
        partner = mixup_permutation(len(batch), moment.seed, draw, device=batch.index.device)
        mixed = mixup(batch.inputs, one_hot(batch.labels, self.n_classes), weight, partner)
        loss: Tensor = criterion(
            network(mixed.inputs).logits,
            mixed.targets,
            batch.index,
            partner=partner,
            mix_weight=weight,
            step=moment.step,
        )
        return loss

    def after_step(self, moment: Moment) -> None:
        """Move both averages towards their networks."""
        if self.average_length is None:
            momentum = running_mean_momentum(moment.step, self.average_momentum)
        else:
            length = span(self.average_length, moment.n_epochs * moment.length)
            momentum = ramped_momentum(moment.step, length, self.average_momentum)
        update_average(self.average, self.network, momentum)
        update_average(self.average_2, self.network_2, momentum)

    def verdict(self, scan: Scan) -> Verdict:
        """Return the mean of both networks' running means."""
        targets = self.loss.targets + self.loss_2.targets  # both were updated equally often
        return verdict_of_targets(targets, targets.sum(dim=1) > 0, scan.probabilities(), self.known.labels)
