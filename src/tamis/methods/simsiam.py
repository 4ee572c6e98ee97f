"""SimSiam: features without labels, the first stage of plug-ins that need a teacher no label has misled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from tamis.backbones.simsiam_heads import SimSiamHeads
from tamis.losses.simsiam import feature_spread, simsiam_loss
from tamis.methods.base import BuildNetwork, Losses, Method
from tamis.methods.batches import Batch, Moment, Pass, Stream
from tamis.methods.material import Scan
from tamis.methods.recipe import Recipe
from tamis.samplers import shuffled


class SimSiam(Method):
    """Predict one augmented view of a sample from another; labels play no part.

    Trains the backbone of its network, on all rows, labelled or not, selected or not; the classification head
    stays as it was. No method for ``METHODS``: it predicts nothing.

    Parameters
    ----------
    build, n_samples, n_classes
        As in `Method`.
    n_projected : int, default=2048
        Width of the space that views are compared in; the predictor's bottleneck is a quarter of it.
    seed : int, default=0
        Of the first weights of projector and predictor.

    Raises
    ------
    InputError
        A width under 1. When trained: a single row.

    References
    ----------
    .. [1] X. Chen, K. He. Exploring Simple Siamese Representation Learning. CVPR 2021, algorithm 1.

    Examples
    --------
    >>> from tamis.backbones import build_backbone
    >>> method = SimSiam(
    ...     lambda number: build_backbone("small_cnn", input_shape=(3, 32, 32), n_classes=2, seed=number),
    ...     n_samples=100,
    ...     n_classes=2,
    ...     n_projected=64,
    ... )
    """

    recipe = Recipe(epochs=800, batch_size=512, lr=0.06)
    views = ("simsiam", "simsiam")

    def __init__(
        self,
        build: BuildNetwork,
        *,
        n_samples: int,
        n_classes: int,
        n_projected: int = 2048,
        seed: int = 0,
    ) -> None:
        super().__init__(build, n_samples=n_samples, n_classes=n_classes)
        self.heads = SimSiamHeads(
            self.network.n_features, n_projected=n_projected, n_hidden=max(1, n_projected // 4), seed=seed
        )

    def plan_epoch(self, epoch: int, scan: Scan) -> Sequence[Pass]:
        """Return one pass over all rows, in two views."""
        index = shuffled(range(self.n_samples), seed=self.known.seed, epoch=epoch)
        return [Pass({"train": Stream(torch.from_numpy(index), self.views, drop_last=True)}, "simsiam")]

    def training_step(self, batches: Mapping[str, Batch], moment: Moment) -> Losses:
        """Return minus the mean cosine of predictions and the other view's projections."""
        one, two = (self.heads(self.network(view).features) for view in batches["train"].views)
        # Falls to 0 where all samples are mapped to one point.
        self.note(spread=feature_spread(one.projections))
        return simsiam_loss(one.predictions, two.predictions, one.projections, two.projections)
