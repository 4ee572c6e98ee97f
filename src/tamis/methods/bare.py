"""BARE: train on the samples of a batch whose given label stands out from the batch."""

from __future__ import annotations

from collections.abc import Mapping

from torch.nn.functional import cross_entropy

from tamis.methods.base import METHODS, BuildNetwork, Losses, Method
from tamis.methods.batches import Batch, Moment
from tamis.methods.recipe import Recipe
from tamis.methods.spans import refuse_span, span
from tamis.registry import Facts
from tamis.selectors.bare import BareSelector, BatchStatistics, Fallback
from tamis.statistics.labelled_logits import at_least_float32


@METHODS.register(
    "bare",
    Facts(
        title="BARE",
        inputs=("any",),
        year=2023,
        paper="D. Patel, P. S. Sastry. Adaptive sample selection for robust learning under label noise. "
        "WACV 2023.",
    ),
)
class BARE(Method):
    """Cross-entropy over the samples whose posterior exceeds their class's mean plus its deviation.

    No noise rate, no second network, no state: the thresholds are statistics of the batch. For three classes
    or more; with two balanced classes and ``kappa=1`` it selects nothing and is cross-entropy. Batches should
    hold several samples a class. Having no warm-up, it believes its first weights: with few classes a bad
    start can confirm itself, see ``warmup``. With an initial selection it trains on the selected rows only.

    Parameters
    ----------
    build, n_samples, n_classes
        As in `Method`.
    kappa : float, default=1.0
        Deviations above the mean; higher keeps fewer.
    stats : {"all", "same_label"}, default="all"
        Statistics over the whole batch, as in the authors' code, or over the samples given the class, as in
        the paper; the latter never keeps more than half of a class at ``kappa=1``.
    fallback : {"full", "skip"}, default="full"
        What to train on where nothing stands out: the whole batch, or nothing.
    warmup : float, default=0
        Epochs on all samples before the selection begins; below 1 as a share of all epochs. The paper has
        none.

    Raises
    ------
    InputError
        A parameter out of range.

    Notes
    -----
    The paper: Adam at 0.002 on CIFAR-10 (the authors' code: 0.0002), lowered on a plateau, batches of 128,
    200 epochs without augmentation. Here 50 epochs and half a cosine.

    Examples
    --------
    >>> from tamis.backbones import build_backbone
    >>> method = BARE(
    ...     lambda number: build_backbone("linear", input_shape=(4,), n_classes=3, seed=number),
    ...     n_samples=100,
    ...     n_classes=3,
    ... )
    """

    recipe = Recipe(optimizer="adam", lr=2e-3, weight_decay=0.0)

    def __init__(
        self,
        build: BuildNetwork,
        *,
        n_samples: int,
        n_classes: int,
        kappa: float = 1.0,
        stats: BatchStatistics = "all",
        fallback: Fallback = "full",
        warmup: float = 0,
    ) -> None:
        super().__init__(build, n_samples=n_samples, n_classes=n_classes)
        refuse_span(warmup, "warmup")
        self.warmup = warmup
        self.selector = BareSelector(kappa=kappa, stats=stats, fallback=fallback)

    def training_step(self, batches: Mapping[str, Batch], moment: Moment) -> Losses:
        """Return the mean cross-entropy of the selected samples."""
        batch = batches["train"]
        logits = at_least_float32(self.network(batch.inputs).logits)
        if moment.epoch < span(self.warmup, moment.n_epochs):
            return cross_entropy(logits, batch.labels)
        selection = self.selector.select(logits, batch.labels)
        self.note(kept=selection.keep.float().mean())
        return selection.weighted_mean(cross_entropy(logits, batch.labels, reduction="none"))
