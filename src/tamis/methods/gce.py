"""Training with the generalised cross-entropy."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from tamis.losses.generalized_cross_entropy import GeneralizedCrossEntropy
from tamis.methods.base import METHODS, BuildNetwork, Losses, Method
from tamis.methods.batches import Batch, Moment
from tamis.methods.recipe import Recipe
from tamis.registry import Facts


@METHODS.register(
    "gce",
    Facts(
        title="Generalised cross-entropy",
        inputs=("any",),
        year=2018,
        paper="Z. Zhang, M. R. Sabuncu. Generalized cross entropy loss for training deep neural networks "
        "with noisy labels. NeurIPS 2018.",
    ),
)
class GCE(Method):
    """Minimise ``(1 - p_y^q) / q``: labels that the network disbelieves pull less.

    No noise rate, no state. Learns slowly with many classes. With an initial selection it trains on the
    selected rows only.

    Parameters
    ----------
    build, n_samples, n_classes
        As in `Method`.
    q : float in (0, 1], default=0.7
        Near 0: cross-entropy; 1: half the absolute error.

    Raises
    ------
    InputError
        ``q`` out of range.

    Notes
    -----
    The paper: 120 epochs on CIFAR-10 (a tenth of the learning rate from 40 and from 80), 150 on CIFAR-100 (80
    and 120), SGD at 0.01. Here 50 epochs with the steps at the same shares.

    Examples
    --------
    >>> from tamis.backbones import build_backbone
    >>> method = GCE(
    ...     lambda number: build_backbone("linear", input_shape=(4,), n_classes=3, seed=number),
    ...     n_samples=100,
    ...     n_classes=3,
    ...     q=0.5,
    ... )
    """

    recipe = Recipe(lr=0.01, schedule="steps", milestones=(1 / 3, 2 / 3))

    def __init__(self, build: BuildNetwork, *, n_samples: int, n_classes: int, q: float = 0.7) -> None:
        super().__init__(build, n_samples=n_samples, n_classes=n_classes)
        self.loss = GeneralizedCrossEntropy(q)

    def training_step(self, batches: Mapping[str, Batch], moment: Moment) -> Losses:
        """Return the mean loss of the batch."""
        batch = batches["train"]
        loss: Tensor = self.loss(self.network(batch.inputs).logits, batch.labels)
        return loss
