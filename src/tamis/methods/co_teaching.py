"""Co-teaching: two networks, each trained on the samples that the other finds easy."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from tamis.errors import InputError
from tamis.losses.co_teaching import co_teaching_losses
from tamis.methods.base import METHODS, BuildNetwork, Losses
from tamis.methods.batches import Batch, Moment
from tamis.methods.noise_rates import NoiseRate
from tamis.methods.recipe import Recipe
from tamis.methods.small_loss_pair import SmallLossPair
from tamis.registry import Facts

_EARLY_BETA1 = 0.9


@METHODS.register(
    "co_teaching",
    Facts(
        title="Co-teaching",
        inputs=("any",),
        year=2018,
        paper="B. Han, Q. Yao, X. Yu, G. Niu, M. Xu, W. Hu, I. Tsang, M. Sugiyama. Co-teaching: robust "
        "training of deep neural networks with extremely noisy labels. NeurIPS 2018.",
    ),
)
class CoTeaching(SmallLossPair):
    """In every batch each network learns from the samples with the smallest losses of the other.

    The share left out rises from 0 to the noise rate, since networks learn right labels first. Needs that
    rate. Classes that are hard are left out with the wrong labels. With an initial selection it trains on the
    selected rows only, and the estimated rate is theirs.

    Parameters
    ----------
    build, n_samples, n_classes
        As in `Method`.
    noise_rate : float in [0, 1) or "estimate", default="estimate"
        Share of each batch to leave out in the end.
    n_gradual : float, default=10
        Epochs until then; below 1 as a share of all epochs.
    exponent : float, default=1.0
        See `tamis.statistics.schedules.drop_rate`.
    late_beta1 : float in [0, 1), default=0.1
        Adam's first momentum from the epoch on in which a linear schedule begins to lower the learning rate;
        0.9 before. No matter to other optimisers and schedules.

    Raises
    ------
    InputError
        A parameter out of range, or the noise rate cannot be estimated.

    Notes
    -----
    The paper: Adam at 0.001, batches of 128, 200 epochs, the learning rate falling straight to 0 from epoch
    80 on (100 for CIFAR-100). Here 50 epochs, falling from the same share on. Losses are means over the
    selected samples; the authors' code divides them by their number once more.

    Examples
    --------
    >>> from tamis.backbones import build_backbone
    >>> method = CoTeaching(
    ...     lambda number: build_backbone("linear", input_shape=(4,), n_classes=3, seed=number),
    ...     n_samples=100,
    ...     n_classes=3,
    ...     noise_rate=0.4,
    ... )
    """

    recipe = Recipe(optimizer="adam", lr=1e-3, weight_decay=0.0, schedule="linear", milestones=(0.4,))

    def __init__(
        self,
        build: BuildNetwork,
        *,
        n_samples: int,
        n_classes: int,
        noise_rate: NoiseRate = "estimate",
        n_gradual: float = 10,
        exponent: float = 1.0,
        late_beta1: float = 0.1,
    ) -> None:
        super().__init__(
            build,
            n_samples=n_samples,
            n_classes=n_classes,
            noise_rate=noise_rate,
            n_gradual=n_gradual,
            exponent=exponent,
        )
        if not 0 <= late_beta1 < 1:
            raise InputError(f"late_beta1 is {late_beta1}; expected a momentum of at least 0 and below 1")
        self.late_beta1 = late_beta1
        self.decay_from = 1.0

    def optimizers(self, recipe: Recipe) -> dict[str, torch.optim.Optimizer]:
        """Return an optimiser for each network, and note when their learning rates begin to fall."""
        self.decay_from = min(recipe.milestones, default=0.0) if recipe.schedule == "linear" else 1.0
        return super().optimizers(recipe)

    def training_step(self, batches: Mapping[str, Batch], moment: Moment) -> Losses:
        """Return for each network the mean cross-entropy of what the other selects."""
        batch = batches["train"]
        logits1 = self.network(batch.inputs).logits
        logits2 = self.network_2(batch.inputs).logits
        losses = co_teaching_losses(logits1, logits2, batch.labels, self.forget_rate(moment))
        self.note(kept=torch.tensor(len(losses.selected1) / max(1, len(batch))))
        return {"first": losses.loss1, "second": losses.loss2}

    def adjust(self, optimizers: Mapping[str, torch.optim.Optimizer], moment: Moment) -> None:
        """Lower Adam's first momentum while the learning rate falls."""
        is_late = moment.epoch >= self.decay_from * moment.n_epochs
        beta1 = self.late_beta1 if is_late else _EARLY_BETA1
        for optimizer in optimizers.values():
            for group in optimizer.param_groups:
                if "betas" in group:
                    group["betas"] = (beta1, group["betas"][1])
