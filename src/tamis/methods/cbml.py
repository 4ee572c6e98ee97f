"""CBML: metric learning by a contrastive Bayesian loss and a constraint on the spread of negatives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from tamis.losses.cbml import CBMLLoss, Growth
from tamis.methods.base import METHODS, BuildNetwork, Losses
from tamis.methods.batches import Batch, Moment
from tamis.methods.embedding import EmbeddingMethod
from tamis.registry import Facts


@METHODS.register(
    "cbml",
    Facts(
        "CBML: contrastive Bayesian metric learning",
        task="retrieval",
        inputs=("any",),
        year=2022,
        paper="Kan, He, Cen, Li, Mladenovic, He. Contrastive Bayesian analysis for deep metric learning. "
        "IEEE TPAMI 2022.",
    ),
)
class CBML(EmbeddingMethod):
    """Draw hard positives together, push hard negatives away, and keep all negatives about as far.

    A base loss that takes the labels of a batch for right. With an initial selection it trains on the
    selected rows only.

    Parameters
    ----------
    build, n_samples, n_classes, embedding_size, per_class
        As for `EmbeddingMethod`; the authors' batches hold 12 classes of 5.
    growth, positive_center, positive_scale, negative_center, negative_scale, margin, variance_weight, \
reference, positive_share, negative_share, n_hardest, variance_reduction
        As for `tamis.losses.CBMLLoss`.

    Notes
    -----
    The authors train ResNet-50 with Adam at 3e-5, 5,000 steps, batch normalisation frozen; the recipe is
    that of all methods of retrieval here, with the authors' batch.
    """

    recipe = EmbeddingMethod.recipe.changed(batch_size=60)

    def __init__(
        self,
        build: BuildNetwork,
        *,
        n_samples: int,
        n_classes: int,
        embedding_size: int = 128,
        per_class: int = 5,
        growth: Growth = "log",
        positive_center: float = 0.5,
        positive_scale: float = 0.5,
        negative_center: float = 1.0,
        negative_scale: float = 0.01,
        margin: float = 0.1,
        variance_weight: float = 1.0,
        reference: float = 0.1,
        positive_share: float = 0.25,
        negative_share: float = 0.25,
        n_hardest: int | None = None,
        variance_reduction: Literal["sum", "mean"] = "sum",
    ) -> None:
        super().__init__(
            build,
            n_samples=n_samples,
            n_classes=n_classes,
            embedding_size=embedding_size,
            per_class=per_class,
        )
        self.loss = CBMLLoss(
            growth=growth,
            positive_center=positive_center,
            positive_scale=positive_scale,
            negative_center=negative_center,
            negative_scale=negative_scale,
            margin=margin,
            variance_weight=variance_weight,
            reference=reference,
            positive_share=positive_share,
            negative_share=negative_share,
            n_hardest=n_hardest,
            variance_reduction=variance_reduction,
            # Embeddings have unit length already.
            normalize="none",
        )

    def training_step(self, batches: Mapping[str, Batch], moment: Moment) -> Losses:
        """Return the loss of all pairs of the batch."""
        batch = batches["train"]
        loss: Tensor = self.loss(self.embed(batch.inputs), batch.labels)
        return loss
