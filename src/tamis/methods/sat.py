"""Self-adaptive training (SAT)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from tamis.losses.self_adaptive import SelfAdaptiveLoss
from tamis.methods.base import METHODS, BuildNetwork, Losses, Method, Verdict
from tamis.methods.batches import Batch, Moment
from tamis.methods.material import Material, Scan
from tamis.methods.recipe import Recipe
from tamis.methods.spans import refuse_span, span
from tamis.methods.target_verdict import verdict_of_targets
from tamis.registry import Facts


@METHODS.register(
    "sat",
    Facts(
        title="Self-adaptive training",
        inputs=("any",),
        year=2020,
        paper="L. Huang, C. Zhang, H. Zhang. Self-adaptive training: beyond empirical risk minimization. "
        "NeurIPS 2020.",
    ),
)
class SelfAdaptiveTraining(Method):
    """Let targets drift from the given labels to what the network says; doubtful samples weigh less.

    Plain cross-entropy before ``start``: right where the network has learnt by then and not yet memorised;
    later, targets only confirm what it memorised. Its verdict is the targets, and what the network says of
    rows whose targets never moved. With an initial selection it trains on the selected rows only.

    Parameters
    ----------
    build, n_samples, n_classes
        As in `Method`.
    start : float, default=0.3
        The first epoch with moving targets, counted from 0; below 1 as a share of all epochs. The paper:
        epoch 60 of 200, which is the default's share.
    momentum : float in [0, 1], default=0.9
        Share of the past in a target.

    Raises
    ------
    InputError
        A parameter out of range.

    Notes
    -----
    The paper: SGD at 0.1, batches of 256, 200 epochs of half a cosine. Here 50 epochs.

    Examples
    --------
    >>> from tamis.backbones import build_backbone
    >>> method = SelfAdaptiveTraining(
    ...     lambda number: build_backbone("linear", input_shape=(4,), n_classes=3, seed=number),
    ...     n_samples=100,
    ...     n_classes=3,
    ...     start=2,
    ... )
    """

    recipe = Recipe(lr=0.1, batch_size=256)

    def __init__(
        self,
        build: BuildNetwork,
        *,
        n_samples: int,
        n_classes: int,
        start: float = 0.3,
        momentum: float = 0.9,
    ) -> None:
        super().__init__(build, n_samples=n_samples, n_classes=n_classes)
        refuse_span(start, "start")
        self.start = start
        # The labels come with `prepare`.
        self.loss = SelfAdaptiveLoss(torch.full((n_samples,), -1), n_classes, momentum=momentum)

    def prepare(self, material: Material, scan: Scan) -> None:
        """Start the targets at the given labels."""
        super().prepare(material, scan)
        self.loss = SelfAdaptiveLoss(material.labels, self.n_classes, momentum=self.loss.momentum)

    def training_step(self, batches: Mapping[str, Batch], moment: Moment) -> Losses:
        """Return the mean loss of the batch; from ``start`` on, update its targets first."""
        batch = batches["train"]
        self.loss.start_epoch = span(self.start, moment.n_epochs)
        self.loss.set_epoch(moment.epoch)
        loss: Tensor = self.loss(self.network(batch.inputs).logits, batch.labels, batch.index)
        return loss

    def verdict(self, scan: Scan) -> Verdict:
        """Return the targets."""
        targets, labels = self.loss.targets, self.known.labels
        # A target that still is one-hot says nothing beyond the given label.
        has_moved = (targets.amax(dim=1) < 1) & (labels >= 0)
        return verdict_of_targets(targets, has_moved, scan.probabilities(), labels)
