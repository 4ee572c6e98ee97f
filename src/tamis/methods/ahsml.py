"""AHSML-style: metric learning with margins that follow how alike classes are, and two views of a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from tamis.losses.adaptive_margins import AdaptiveMargins, Geometry
from tamis.losses.ahsml import AdaptiveHierarchicalSimilarityLoss
from tamis.methods.base import METHODS, BuildNetwork, Losses
from tamis.methods.batches import Batch, Moment, Pass
from tamis.methods.embedding import EmbeddingMethod
from tamis.methods.material import Scan
from tamis.registry import Facts


@METHODS.register(
    "ahsml",
    Facts(
        "Adaptive hierarchical similarity (AHSML-style), experimental",
        task="retrieval",
        inputs=("any",),
        year=2023,
        paper="Yan, Luo, Deng, Huang. Adaptive hierarchical similarity metric learning with noisy labels. "
        "IEEE Transactions on Image Processing 2023.",
    ),
)
class AHSML(EmbeddingMethod):
    """Measure how alike classes are, push those alike further apart, and draw two views of a row together.

    Experimental: the formulas are from a secondary summary of the paper. The margins are measured on the
    training set before every epoch. Each row is seen weakly and strongly augmented, which doubles the cost.
    With an initial selection it measures, and trains on, the selected rows only.

    Parameters
    ----------
    build, n_samples, n_classes, embedding_size, per_class
        As for `EmbeddingMethod`.
    gamma, map_range, rho, beta, sigma, geometry, curvature
        As for `tamis.losses.AdaptiveHierarchicalSimilarityLoss`.

    Notes
    -----
    Similarities are of embeddings of unit length, in the hyperbolic geometry too: there distances then grow
    as cosines fall, which is what retrieval looks at. The margins are kept in a table of ``n_classes**2``
    numbers.
    """

    views = ("weak", "strong")
    negative_margins: Tensor
    augmented_margins: Tensor

    def __init__(
        self,
        build: BuildNetwork,
        *,
        n_samples: int,
        n_classes: int,
        embedding_size: int = 128,
        per_class: int = 4,
        gamma: float = 0.5,
        map_range: tuple[float, float] = (0.0, 0.2),
        rho: float = 2.0,
        beta: float = 2.0,
        sigma: float = 40.0,
        geometry: Geometry = "cosine",
        curvature: float = 1.0,
    ) -> None:
        super().__init__(
            build,
            n_samples=n_samples,
            n_classes=n_classes,
            embedding_size=embedding_size,
            per_class=per_class,
        )
        self.loss = AdaptiveHierarchicalSimilarityLoss(
            gamma=gamma,
            map_range=map_range,
            rho=rho,
            beta=beta,
            sigma=sigma,
            geometry=geometry,
            curvature=curvature,
        )
        self.register_buffer("negative_margins", torch.full((n_classes, n_classes), gamma))
        self.register_buffer("augmented_margins", torch.full((n_classes,), gamma))

    def plan_epoch(self, epoch: int, scan: Scan) -> Sequence[Pass]:
        """Measure the margins on the training set; then M samples of each of some classes."""
        rows = self.known.usable
        found = self.loss.margins(self.embeddings(scan)[rows], self.known.labels[rows], self.n_classes)
        self.negative_margins.copy_(found.negative)
        self.augmented_margins.copy_(found.augmented)
        return super().plan_epoch(epoch, scan)

    def training_step(self, batches: Mapping[str, Batch], moment: Moment) -> Losses:
        """Return the loss of the weak views among each other, and of each with its strong view."""
        batch = batches["train"]
        weak, strong = (self.embed(view) for view in batch.views)
        loss: Tensor = self.loss(weak, batch.labels, strong_embeddings=strong, margins=self._margins())
        return loss

    def _margins(self) -> AdaptiveMargins:
        # gamma + s' of a class with itself, where the table holds gamma - s'.
        positive = 2.0 * self.loss.gamma - self.negative_margins.diagonal()
        return AdaptiveMargins(self.negative_margins, positive, self.negative_margins, self.augmented_margins)
