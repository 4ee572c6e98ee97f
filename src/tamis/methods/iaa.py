"""IAA: metric learning beside synthetic embeddings, drawn as widely around each as its class spreads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from tamis.augment.draws import normals
from tamis.errors import InputError
from tamis.losses.iaa import IntraClassAugmentationLoss
from tamis.losses.iaa_contrastive import MarginContrastiveLoss
from tamis.losses.iaa_multi_similarity import MinedMultiSimilarityLoss
from tamis.losses.iaa_synthesis import synthesize
from tamis.losses.iaa_triplet import CosineTripletLoss
from tamis.losses.relation_weights import check_number
from tamis.memory.class_variances import ClassVariances
from tamis.methods.base import METHODS, BuildNetwork, Losses
from tamis.methods.batches import Batch, Moment, Pass
from tamis.methods.embedding import EmbeddingMethod
from tamis.methods.material import Scan
from tamis.methods.recipe import Recipe
from tamis.methods.spans import refuse_span, span
from tamis.registry import Facts
from tamis.statistics.neighbor_variances import NeighborCorrection
from tamis.statistics.schedules import synthesis_strength

IAALossName: TypeAlias = Literal["multi_similarity", "contrastive", "triplet"]
Correction: TypeAlias = Literal["auto", "always", "never"]

_LOSSES: Mapping[str, type[nn.Module]] = {
    "multi_similarity": MinedMultiSimilarityLoss,
    "contrastive": MarginContrastiveLoss,
    "triplet": CosineTripletLoss,
}
_MANY_CLASSES = 1000


@METHODS.register(
    "iaa",
    Facts(
        "IAA: intra-class adaptive augmentation with neighbour correction",
        task="retrieval",
        inputs=("any",),
        year=2022,
        paper="Fu, Mao, Hu, Liu, Zhang. Intra-class adaptive augmentation with neighbor correction for deep "
        "metric learning. IEEE TMM 2022.",
    ),
)
class IAA(EmbeddingMethod):
    """Measure now and then how far classes spread, and draw copies of each row that far from it.

    A regulariser, not a remedy against wrong labels, which widen their class. With an initial selection the
    spread is measured, and the network trained, on the selected rows only.

    Parameters
    ----------
    build, n_samples, n_classes, embedding_size, per_class
        As for `EmbeddingMethod`.
    loss : {"multi_similarity", "contrastive", "triplet"}
        Over rows and copies.
    copies : int
        Of each row, at least 0.
    strength : float
        How wide copies spread, as a share of their class's variance; falls over the epochs, see
        `tamis.statistics.schedules.synthesis_strength`.
    start : float
        First epoch with copies, as a share of all epochs where below 1.
    period : int
        Epochs from one measurement to the next, at least 1.
    momentum : float
        Largest share of the past in a measurement.
    correction : {"auto", "always", "never"}
        Whether small classes borrow from similar ones; "auto": where there are more than 1,000 classes.
    n_neighbors, beta, gamma, tau, sigma_mean, sigma_variance, normalize
        Of the correction: `tamis.statistics.neighbor_variances.NeighborCorrection`.

    Notes
    -----
    The authors train 100 epochs at 1e-4, ten times that for the last layer, and a fifth of it after epochs
    40 and 60; the recipe is that of all methods of retrieval here, with the authors' batch.
    """

    recipe = EmbeddingMethod.recipe.changed(batch_size=128)

    def __init__(
        self,
        build: BuildNetwork,
        *,
        n_samples: int,
        n_classes: int,
        embedding_size: int = 128,
        per_class: int = 4,
        loss: IAALossName = "multi_similarity",
        copies: int = 3,
        strength: float = 0.8,
        start: float = 0.3,
        period: int = 4,
        momentum: float = 0.2,
        correction: Correction = "auto",
        n_neighbors: int = 25,
        beta: float = 0.1,
        gamma: float = 0.1,
        tau: float = 40.0,
        sigma_mean: float = 1.0,
        sigma_variance: float = 1.0,
        normalize: Literal["none", "minmax"] = "none",
    ) -> None:
        super().__init__(
            build,
            n_samples=n_samples,
            n_classes=n_classes,
            embedding_size=embedding_size,
            per_class=per_class,
        )
        refuse_span(start, "start")
        check_number("strength", strength)
        for name, number, least in (("copies", copies, 0), ("period", period, 1)):
            if number < least:
                raise InputError(f"{name} is {number}; expected at least {least}")
        if loss not in _LOSSES:
            raise InputError(f"loss is {loss!r}; expected one of {', '.join(map(repr, _LOSSES))}")
        if correction not in {"auto", "always", "never"}:
            raise InputError(f"correction is {correction!r}; expected 'auto', 'always' or 'never'")
        rule = NeighborCorrection(
            n_neighbors=n_neighbors,
            beta=beta,
            gamma=gamma,
            tau=tau,
            sigma_mean=sigma_mean,
            sigma_variance=sigma_variance,
            normalize=normalize,
        )
        is_corrected = correction == "always" or (correction == "auto" and n_classes > _MANY_CLASSES)
        self.spread = ClassVariances(
            n_classes, embedding_size, momentum=momentum, correction=rule if is_corrected else None
        )
        self.loss = IntraClassAugmentationLoss(_LOSSES[loss]())
        self.copies, self.strength = copies, strength
        self.start, self.period, self.first = start, period, 0

    def optimizers(self, recipe: Recipe) -> dict[str, torch.optim.Optimizer]:
        """Note the length of the run, which decides when copies begin."""
        self.first = span(self.start, recipe.epochs)
        return super().optimizers(recipe)

    def plan_epoch(self, epoch: int, scan: Scan) -> Sequence[Pass]:
        """Measure the spread of the classes where it is time to; then M samples of each of some classes."""
        if self.copies and epoch >= self.first and (epoch - self.first) % self.period == 0:
            labels = torch.full_like(self.known.labels, -1)
            labels[self.known.usable] = self.known.labels[self.known.usable]
            # Of the network's output as it is: rows of unit length would spread on the sphere only.
            self.spread.update((block.outputs.logits, labels[block.index]) for block in scan.blocks())
        return super().plan_epoch(epoch, scan)

    def training_step(self, batches: Mapping[str, Batch], moment: Moment) -> Losses:
        """Return the loss of the batch against itself and its copies."""
        batch = batches["train"]
        rows: Tensor = self.network(batch.inputs).logits.float()
        copies, labels = rows[:0], batch.labels[:0]
        if self.copies and moment.epoch >= self.first:
            strength = synthesis_strength(moment.epoch + 1, moment.n_epochs, self.strength)
            noise = self._noise(batch, moment)
            copies, labels = synthesize(rows, batch.labels, self.spread.effective, noise, strength)
        loss: Tensor = self.loss(rows, batch.labels, ref_emb=copies, ref_labels=labels)
        return loss

    def _noise(self, batch: Batch, moment: Moment) -> Tensor:
        """Return standard normal numbers of every row's own, (copies, B, d)."""
        count = self.copies * self.embedding_size
        drawn = normals(moment.seed, moment.step, batch.index, count, stream="iaa")
        return drawn.view(len(batch), self.copies, self.embedding_size).transpose(0, 1)
