"""JoCoR: two networks trained jointly to fit the labels and to agree, on the samples where they do both."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from tamis.losses.joint_training import joint_training_loss
from tamis.methods.base import METHODS, BuildNetwork, Losses, make_optimizer
from tamis.methods.batches import Batch, Moment
from tamis.methods.noise_rates import NoiseRate
from tamis.methods.recipe import Recipe
from tamis.methods.small_loss_pair import SmallLossPair
from tamis.registry import Facts
from tamis.statistics.schedules import refuse_rate


@METHODS.register(
    "jocor",
    Facts(
        title="JoCoR",
        inputs=("any",),
        year=2020,
        paper="H. Wei, L. Feng, X. Chen, B. An. Combating noisy labels by agreement: a joint training method "
        "with co-regularization. CVPR 2020.",
    ),
)
class JoCoR(SmallLossPair):
    """Both networks learn from the samples of a batch on which they fit the label and each other best.

    The share left out rises from 0 to the noise rate. Needs that rate. With an initial selection it trains on
    the selected rows only, and the estimated rate is theirs.

    Parameters
    ----------
    build, n_samples, n_classes
        As in `Method`.
    noise_rate : float in [0, 1) or "estimate", default="estimate"
        Share of each batch to leave out in the end. The authors' code takes half the noise rate where noise
        is asymmetric.
    co_lambda : float in [0, 1], default=0.9
        Weight of the agreement; 1 ignores the labels. The authors: 0.9 for CIFAR-10, 0.65 with 80 % noise,
        0.85 for CIFAR-100.
    n_gradual : float, default=10
        Epochs until the full share; below 1 as a share of all epochs.
    exponent : float, default=1.0
        See `tamis.statistics.schedules.drop_rate`.

    Raises
    ------
    InputError
        A parameter out of range, or the noise rate cannot be estimated.

    Notes
    -----
    The paper: Adam at 0.001, batches of 128, 200 epochs. Here 50 epochs, the learning rate falling straight
    to 0 from 0.4 of them on.

    Examples
    --------
    >>> from tamis.backbones import build_backbone
    >>> method = JoCoR(
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
        co_lambda: float = 0.9,
        n_gradual: float = 10,
        exponent: float = 1.0,
    ) -> None:
        super().__init__(
            build,
            n_samples=n_samples,
            n_classes=n_classes,
            noise_rate=noise_rate,
            n_gradual=n_gradual,
            exponent=exponent,
        )
        refuse_rate(co_lambda, "co_lambda")
        self.co_lambda = co_lambda

    def optimizers(self, recipe: Recipe) -> dict[str, torch.optim.Optimizer]:
        """Return one optimiser over both networks."""
        return {"main": make_optimizer(recipe, self.trained())}

    def training_step(self, batches: Mapping[str, Batch], moment: Moment) -> Losses:
        """Return the mean of the smallest joint losses."""
        batch = batches["train"]
        logits1 = self.network(batch.inputs).logits
        logits2 = self.network_2(batch.inputs).logits
        joint = joint_training_loss(
            logits1, logits2, batch.labels, self.forget_rate(moment), co_lambda=self.co_lambda
        )
        self.note(kept=torch.tensor(len(joint.selected) / max(1, len(batch))))
        return joint.loss
