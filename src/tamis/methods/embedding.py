"""What every method of metric learning is: a network whose output is an embedding of unit length."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from tamis.backbones.classifier import Classifier, Outputs
from tamis.errors import InputError
from tamis.evaluation import retrieval_metrics
from tamis.methods.base import BuildNetwork, Method, Verdict
from tamis.methods.batches import Pass, Stream
from tamis.methods.material import Material, Scan
from tamis.methods.recipe import Recipe
from tamis.samplers import m_per_class
from tamis.statistics.class_sums import ClassSums
from tamis.statistics.vmf_similarity import vmf_classes, vmf_posterior

_FIGURES: tuple[Literal["precision_at_1", "map_at_r"], ...] = ("precision_at_1", "map_at_r")


class EmbeddingMethod(Method):
    """A method that trains embeddings for retrieval; batches hold M samples of each of some classes.

    A subclass writes `training_step`, with `embed` for the embeddings of a batch.

    Parameters
    ----------
    build : BuildNetwork
    n_samples, n_classes : int
        Of the training set.
    embedding_size : int
        At least 2.
    per_class : int
        Samples of each class in a batch, at least 2. The batch size is rounded down to a multiple of it; a
        class with fewer samples repeats them, and a class with a single one is left out.
    """

    recipe = Recipe(epochs=40, batch_size=64, optimizer="adam", lr=0.001, weight_decay=0.0, schedule="cosine")

    def __init__(
        self,
        build: BuildNetwork,
        *,
        n_samples: int,
        n_classes: int,
        embedding_size: int = 128,
        per_class: int = 4,
    ) -> None:
        for name, value in (("embedding_size", embedding_size), ("per_class", per_class)):
            if value < 2:
                raise InputError(f"{name} is {value}; expected at least 2")

        def build_embedding(number: int, n_outputs: int | None = None, /) -> Classifier:
            return build(number, n_outputs or embedding_size)

        super().__init__(build_embedding, n_samples=n_samples, n_classes=n_classes)
        self.embedding_size = embedding_size
        self.per_class = per_class

    def prepare(self, material: Material, scan: Scan) -> None:
        """Find the rows that have company in their class."""
        super().prepare(material, scan)
        n_paired = len(np.unique(self._paired_labels()[self._paired_labels() >= 0]))
        if n_paired < 2:
            raise InputError(
                f"{n_paired} of {material.n_classes} classes have two samples or more to train on; metric "
                "learning compares samples of one class with each other and with those of another"
            )

    def plan_epoch(self, epoch: int, scan: Scan) -> Sequence[Pass]:
        """Return one pass of batches with M samples of each of some classes."""
        labels = self._paired_labels()
        n_groups = max(1, self.known.batch_size // self.per_class)
        n_groups = min(n_groups, len(np.unique(labels[labels >= 0])))
        size = n_groups * self.per_class
        order = m_per_class(labels, self.per_class, size, seed=self.known.seed, epoch=epoch)
        return [Pass({"train": Stream(torch.from_numpy(order), self.views, batch_size=size)})]

    def embed(self, inputs: Tensor) -> Tensor:
        """Return embeddings of unit length, (B, d) float32; of zeros where the network's output is zero."""
        outputs: Outputs = self.network(inputs)
        return normalize(outputs.logits.float(), dim=1)

    def forward(self, inputs: Tensor) -> Outputs:
        """Return the network's own output and, as features, that scaled to unit length."""
        outputs: Outputs = self.network(inputs)
        return Outputs(outputs.logits, normalize(outputs.logits.float(), dim=1), None)

    def embeddings(self, scan: Scan) -> Tensor:
        """Return the embeddings of the training set, unaugmented, (n, d) float32."""
        return torch.cat([block.outputs.features for block in scan.blocks()])

    def measure(self, blocks: Iterable[Outputs], labels: Tensor) -> dict[str, float]:
        """Return P@1 and MAP@R of labelled rows among each other; NaN where no class has two of them."""
        is_labelled = labels >= 0
        embeddings = torch.cat([block.features for block in blocks])[is_labelled]
        codes = labels[is_labelled]
        if not bool(torch.isfinite(embeddings).all()) or len(torch.unique(codes)) == len(codes):
            return dict.fromkeys(_FIGURES, math.nan)
        found = retrieval_metrics(embeddings, codes, metrics=_FIGURES)
        return {name: float(found[name]) for name in _FIGURES}

    def verdict(self, scan: Scan) -> Verdict:
        """Return how similar each sample is to the others of its class, against all other classes.

        The clean score is the log probability of the given class under one von Mises-Fisher distribution a
        class, each sample left out of its own.
        """
        labels = self.known.labels
        is_labelled = labels >= 0
        rows = self.embeddings(scan)[is_labelled]
        codes = labels[is_labelled]
        sums = ClassSums(self.n_classes, rows.shape[1], device=rows.device).partial_fit(rows, codes)
        found = vmf_posterior(rows, codes, vmf_classes(sums), leave_one_out=True)
        scores = rows.new_full((len(labels),), torch.nan, dtype=torch.float64)
        best = labels.clone()
        scores[is_labelled], best[is_labelled] = found.log_given.double(), found.best
        return Verdict(scores, rows.new_zeros((len(labels), 0)), best)

    def _paired_labels(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Return the class of every row to train on, -1 for the others and where it is the only one."""
        labels = torch.full_like(self.known.labels, -1)
        labels[self.known.usable] = self.known.labels[self.known.usable]
        found: np.ndarray[tuple[int], np.dtype[np.int64]] = labels.cpu().numpy()
        counts = np.bincount(found[found >= 0], minlength=self.n_classes)
        return np.where((found >= 0) & (counts[np.maximum(found, 0)] > 1), found, -1)
