"""Relational knowledge distillation (RKD): a student keeps the distances and angles that a teacher sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, TypeAlias, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from tamis.backbones.classifier import Classifier, Outputs
from tamis.errors import InputError
from tamis.losses.darkrank import HardDarkRank
from tamis.losses.metric import make_metric_loss
from tamis.losses.relation_weights import check_number
from tamis.losses.rkd import RelationalKnowledgeDistillation
from tamis.methods.base import METHODS, BuildNetwork, Losses, Method
from tamis.methods.batches import Batch, Moment, Pass, Stream
from tamis.methods.embedding import EmbeddingMethod
from tamis.methods.material import Material, Scan
from tamis.methods.recipe import Recipe
from tamis.methods.spans import refuse_span, span
from tamis.registry import Facts
from tamis.samplers import shuffled

RelationTeacher: TypeAlias = Literal["first_stage", "features"]
"""Where the relations come from: a network trained first, on the labels, or frozen features."""

PairLossName: TypeAlias = Literal["contrastive", "multi_similarity"]
"""Metric losses without proxies."""


@METHODS.register(
    "rkd",
    Facts(
        "Relational knowledge distillation (RKD), from a teacher to a student",
        task="retrieval",
        inputs=("any",),
        year=2019,
        paper="Park, Kim, Lu, Cho. Relational knowledge distillation. CVPR 2019.",
    ),
)
class RelationDistilled(EmbeddingMethod):
    """A student learns the geometry of a teacher's embeddings; labels reach it through the teacher alone.

    First stage: the teacher, a network of the same kind, is trained with a metric loss on the labels. Second
    stage: a fresh student matches the distances and angles that the frozen teacher sees in each batch. With
    frozen features as the teacher there is one stage, and no label is needed. Each stage runs through the
    whole course of the learning rate. Until its stage begins, the model is the teacher.

    An initial selection limits both stages to the selected rows. Rows without a label are left out wherever
    labels count; of data without any, the student of frozen features draws all rows.

    Parameters
    ----------
    build, n_samples, n_classes, embedding_size
        As for `EmbeddingMethod`; of the student. The paper: 128 or 64, its teacher 512.
    per_class : int
        As for `EmbeddingMethod`, of both stages.
    teacher : {"first_stage", "features"}
        "features": the inputs themselves or of an encoder, compared by their cosine.
    teacher_epochs : float
        Of the first stage; below 1 as a share of all epochs. The paper: 40 of 120.
    teacher_size : int, optional
        Embedding size of the trained teacher; the student's where None.
    loss : {"contrastive", "multi_similarity"}
        That trains the teacher. The paper: triplets, by distance-weighted sampling.
    distance_weight, angle_weight : float
        Of the distances and of the angles.
    darkrank_weight : float
        Of the order of each sample's 4 nearest others (DarkRank), a baseline of the paper.
    loss_weight : float
        Of the metric loss on the labels, for the student; the paper: none.

    Notes
    -----
    The paper's recipe: Adam at 0.0001, weight decay 0.00001, 80 epochs of the student, a tenth at 40 and 60,
    batches of 128. Time of the angles grows with the third power of the batch size.
    """

    recipe = Recipe(epochs=60, batch_size=64, optimizer="adam", lr=0.001, weight_decay=1e-5)
    is_taught: Tensor

    def __init__(
        self,
        build: BuildNetwork,
        *,
        n_samples: int,
        n_classes: int,
        embedding_size: int = 128,
        per_class: int = 5,
        teacher: RelationTeacher = "first_stage",
        teacher_epochs: float = 1 / 3,
        teacher_size: int | None = None,
        loss: PairLossName = "contrastive",
        distance_weight: float = 1.0,
        angle_weight: float = 2.0,
        darkrank_weight: float = 0.0,
        loss_weight: float = 0.0,
    ) -> None:
        super().__init__(
            build,
            n_samples=n_samples,
            n_classes=n_classes,
            embedding_size=embedding_size,
            per_class=per_class,
        )
        _refuse(teacher, teacher_epochs, teacher_size, loss)
        weights = {"darkrank_weight": darkrank_weight, "loss_weight": loss_weight}
        for name, weight in weights.items():
            check_number(name, weight)
        self.teacher = None if teacher == "features" else build(1, teacher_size or embedding_size)
        self.teacher_epochs = teacher_epochs
        self.loss = make_metric_loss(
            loss, n_classes=n_classes, embedding_size=embedding_size, normalize="none"
        )
        self.relations = RelationalKnowledgeDistillation(
            distance_weight=distance_weight, angle_weight=angle_weight
        )
        if not distance_weight + angle_weight + darkrank_weight > 0:
            raise InputError("all weights of relations are 0: there is nothing to learn from the teacher")
        self.darkrank, self.darkrank_weight = HardDarkRank(), darkrank_weight
        self.loss_weight = loss_weight
        self.register_buffer("is_taught", torch.tensor(teacher == "features"))
        self._n_teaching = 0
        self._features: Tensor | None = None

    def prepare(self, material: Material, scan: Scan) -> None:
        """Take the frozen features, or find the rows that the labels can be learnt from."""
        if self._needs_labels:
            super().prepare(material, scan)
        else:
            Method.prepare(self, material, scan)
        if self.teacher is None:
            self._features = normalize(material.features().float(), dim=1)

    def optimizers(self, recipe: Recipe) -> dict[str, torch.optim.Optimizer]:
        """Return one optimiser; gradients reach one network at a time."""
        self._recipe = recipe
        if self.teacher is not None:
            self._n_teaching = max(1, span(self.teacher_epochs, recipe.epochs))
            if self._n_teaching >= recipe.epochs > 0:
                raise InputError(
                    f"teacher_epochs is {self.teacher_epochs:g}, which leaves none of {recipe.epochs} epochs "
                    "to the student; lower it, or train for more epochs"
                )
        return super().optimizers(recipe)

    def plan_epoch(self, epoch: int, scan: Scan) -> Sequence[Pass]:
        """Return one pass of M samples a class, named for who learns."""
        is_teaching = epoch < self._n_teaching
        self.is_taught.fill_(not is_teaching)
        labels = self._paired_labels()
        if not self._needs_labels and len(np.unique(labels[labels >= 0])) < 2:
            index = torch.from_numpy(shuffled(range(self.n_samples), seed=self.known.seed, epoch=epoch))
            return [Pass({"train": Stream(index, self.views, drop_last=True)}, "student")]
        name = "teacher" if is_teaching else "student"
        return [replace(part, name=name) for part in super().plan_epoch(epoch, scan)]

    def adjust(self, optimizers: Mapping[str, torch.optim.Optimizer], moment: Moment) -> None:
        """Give each stage the whole course of the learning rate."""
        is_teaching = moment.phase == "teacher"
        first, last = (0, self._n_teaching) if is_teaching else (self._n_teaching, moment.n_epochs)
        done = (moment.progress - first) / (last - first)
        factor = self._recipe.lr_factor(done * moment.n_epochs)
        for group in optimizers["main"].param_groups:
            group["lr"] = group["initial_lr"] * factor

    def training_step(self, batches: Mapping[str, Batch], moment: Moment) -> Losses:
        """Return the teacher's metric loss, or how far the student's relations are from the teacher's."""
        batch = batches["train"]
        if moment.phase == "teacher" and self.teacher is not None:
            outputs: Outputs = self.teacher(batch.inputs)
            return self._metric_loss(normalize(outputs.logits.float(), dim=1), batch.labels)
        wanted = self._taught(batch)
        found = self.network(batch.inputs).logits.float()  # of free length
        unit = normalize(found, dim=1)
        total: Tensor = self.relations(found, wanted)
        if self.darkrank_weight:
            total = total + self.darkrank_weight * self.darkrank(unit, wanted)
        if self.loss_weight:
            total = total + self.loss_weight * self._metric_loss(unit, batch.labels)
        return total

    def forward(self, inputs: Tensor) -> Outputs:
        """Return the student's output and that of unit length; the teacher's until the student's stage."""
        network: Classifier = self.network
        if self.teacher is not None and not bool(self.is_taught):
            network = self.teacher
        outputs: Outputs = network(inputs)
        return Outputs(outputs.logits, normalize(outputs.logits.float(), dim=1), None)

    @property
    def _needs_labels(self) -> bool:
        return self.teacher is not None or self.loss_weight > 0

    @torch.no_grad()
    def _taught(self, batch: Batch) -> Tensor:
        """Return the teacher's embeddings of a batch, of unit length."""
        if self.teacher is None:
            assert self._features is not None  # taken in prepare
            return self._features[batch.index]
        self.teacher.eval()  # the engine puts all parts into training mode
        outputs: Outputs = self.teacher(batch.inputs)
        return normalize(outputs.logits.float(), dim=1)

    def _metric_loss(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        loss: Tensor = self.loss(embeddings, labels)
        return loss


def _refuse(teacher: str, teacher_epochs: float, teacher_size: int | None, loss: str) -> None:
    if teacher not in get_args(RelationTeacher):
        raise InputError(f"teacher is {teacher!r}; expected 'first_stage' or 'features'")
    refuse_span(teacher_epochs, "teacher_epochs")
    if teacher_size is not None and teacher_size < 2:
        raise InputError(f"teacher_size is {teacher_size}; expected at least 2")
    if loss not in get_args(PairLossName):
        raise InputError(f"loss is {loss!r}; expected 'contrastive' or 'multi_similarity'")
