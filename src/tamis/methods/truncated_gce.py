"""Training with the truncated generalised cross-entropy: what stays disbelieved is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from tamis.losses.truncated_cross_entropy import TruncatedCrossEntropy
from tamis.methods.base import METHODS, BuildNetwork, Losses, Method
from tamis.methods.batches import Batch, Moment, Pass
from tamis.methods.material import Scan
from tamis.methods.recipe import Recipe
from tamis.methods.spans import refuse_span, span
from tamis.registry import Facts


@METHODS.register(
    "truncated_gce",
    Facts(
        title="Truncated generalised cross-entropy",
        inputs=("any",),
        year=2018,
        paper="Z. Zhang, M. R. Sabuncu. Generalized cross entropy loss for training deep neural networks "
        "with noisy labels. NeurIPS 2018.",
    ),
)
class TruncatedGCE(Method):
    """GCE that from time to time looks at all rows and leaves out those it believes less than ``k``.

    A row left out may come back at the next look. Leaves out what is hard as readily as what is wrong. Where
    nothing would remain, everything does. With an initial selection it trains on the selected rows only.

    Parameters
    ----------
    build, n_samples, n_classes
        As in `Method`.
    q : float in (0, 1], default=0.7
        See `GCE`.
    k : float in (0, 1], default=0.5
        Posterior of the given label that keeps a row.
    start : float, default=1/3
        Epoch of the first look, from 0; below 1 as a share of all epochs. The paper: 40 of 120.
    interval : float, default=1/12
        Epochs between two looks, likewise. The paper: 10 of 120.

    Raises
    ------
    InputError
        A parameter out of range.

    Examples
    --------
    >>> from tamis.backbones import build_backbone
    >>> method = TruncatedGCE(
    ...     lambda number: build_backbone("linear", input_shape=(4,), n_classes=3, seed=number),
    ...     n_samples=100,
    ...     n_classes=3,
    ...     start=5,
    ... )
    """

    recipe = Recipe(lr=0.01, schedule="steps", milestones=(1 / 3, 2 / 3))

    def __init__(
        self,
        build: BuildNetwork,
        *,
        n_samples: int,
        n_classes: int,
        q: float = 0.7,
        k: float = 0.5,
        start: float = 1 / 3,
        interval: float = 1 / 12,
    ) -> None:
        super().__init__(build, n_samples=n_samples, n_classes=n_classes)
        refuse_span(start, "start")
        refuse_span(interval, "interval")
        self.start = start
        self.interval = interval
        self.n_epochs = 0
        self.loss = TruncatedCrossEntropy(n_samples, q=q, k=k)

    def optimizers(self, recipe: Recipe) -> dict[str, torch.optim.Optimizer]:
        """Return the optimiser, and note how long the run is."""
        self.n_epochs = recipe.epochs
        return super().optimizers(recipe)

    def plan_epoch(self, epoch: int, scan: Scan) -> Sequence[Pass]:
        """Look at all rows where it is time, then pass over the usable ones."""
        since = epoch - span(self.start, self.n_epochs)
        if since >= 0 and since % max(1, span(self.interval, self.n_epochs)) == 0:
            self._look(scan)
        return super().plan_epoch(epoch, scan)

    def _look(self, scan: Scan) -> None:
        for block in scan.blocks():
            is_known = block.labels >= 0
            self.loss.refresh(block.outputs.logits[is_known], block.labels[is_known], block.index[is_known])
        if not self.loss.weights[self.known.usable].any():
            self.loss.weights.fill_(1.0)

    def training_step(self, batches: Mapping[str, Batch], moment: Moment) -> Losses:
        """Return the mean loss of the batch, where rows left out count as 0."""
        batch = batches["train"]
        self.note(kept=self.loss.weights[batch.index].mean())
        loss: Tensor = self.loss(self.network(batch.inputs).logits, batch.labels, batch.index)
        return loss
