"""One training of the benchmark of metric learning, and what its embeddings are worth."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tamis.benchmarks.judging import Cell
from tamis.benchmarks.networks import backbone_of
from tamis.benchmarks.outcomes import Curves, curves_of, filled
from tamis.benchmarks.retrieval.config import RetrievalConfig
from tamis.benchmarks.retrieval.filter_watch import FilterWatch
from tamis.benchmarks.retrieval.material import RetrievalMaterial
from tamis.benchmarks.retrieval.plan import Trial
from tamis.engine import (
    Evaluation,
    Feeder,
    ResidentExamples,
    Settings,
    Training,
    in_fastest_layout,
    make_fabric,
    predicted,
)
from tamis.evaluation import retrieval_metrics
from tamis.methods import Material
from tamis.metrics.ranking import average_precision
from tamis.training.inputs import InputForm
from tamis.training.settings import Value, make_plugin, split_params
from tamis.training.spec import ModelSpec
from tamis.training.views import Views
from tamis.types import IntArray

RANKS = (1, 2, 4, 8)
"""Of R@k."""

_CURVES = {
    "test": "test_precision_at_1",
    "test_map_at_r": "test_map_at_r",
    "loss": "loss",
    "kept": "kept",
    "epoch_seconds": "seconds",
}


class Fitted(NamedTuple):
    """What one training came to.

    Attributes
    ----------
    figures : mapping
        Of the last epoch ``last`` (P@1), ``recall_at_k``, ``r_precision``, ``map_at_r``; ``best`` and
        ``best_epoch`` by test; ``filter_precision``, ``filter_recall``, ``filter_dropped``; ``ap`` of the
        verdict; ``seconds``, ``cpu``.
    curves : mapping of str to list
        A value an epoch.
    """

    figures: dict[str, Cell]
    curves: Curves


def found_by(embeddings: Tensor, labels: IntArray) -> dict[str, Cell]:
    """Return how well embeddings find others of their class among each other.

    Examples
    --------
    >>> found = found_by(torch.tensor([[1.0, 0], [1, 0.1], [0, 1], [0.1, 1]]), np.array([0, 0, 1, 1]))
    >>> found["last"], found["recall_at_2"]
    (1.0, 1.0)
    """
    scores = retrieval_metrics(
        embeddings,
        labels,
        k=RANKS,
        metrics=("precision_at_1", "recall_at_k", "r_precision", "map_at_r"),
    ).scores
    return {"last" if name == "precision_at_1" else name: float(value) for name, value in scores.items()}


@dataclass(frozen=True)
class RetrievalFit:
    """One training of one candidate on one material.

    Attributes
    ----------
    config : RetrievalConfig
    trial : Trial
    material : RetrievalMaterial
    """

    config: RetrievalConfig
    trial: Trial
    material: RetrievalMaterial

    def run(self) -> Fitted:
        """Train and measure.

        Raises
        ------
        InputError
            The method cannot work with these data or settings.
        RunError
            Training has diverged.
        """
        training = self._training()
        watch = FilterWatch(
            training.method, torch.tensor(self.material.is_wrong, device=training.fabric.device)
        )
        training.settings.report_epoch = watch.end_epoch
        start, cpu = time.perf_counter(), time.process_time()
        history = training.run()
        spent = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu}
        curves = curves_of(history, _CURVES)
        test = filled(curves["test"])
        best = int(np.argmax(test))
        figures: dict[str, Cell] = {
            **self._last(training),
            "best": test[best],
            "best_epoch": best + 1,
            "epochs": len(test),
            **watch.figures(),
            **self._judged(training),
            **spent,
        }
        return Fitted(figures, curves | watch.curves())

    def _training(self) -> Training:
        config, trial, material = self.config, self.trial, self.material
        fabric = make_fabric(config.device, config.precision)
        params: dict[str, Value] = {**config.recipe, **trial.method.params}
        epochs = config.n_epochs(trial.data, trial.method)
        own, recipe = split_params(trial.method.method, params, epochs)
        spec = self._spec(own, str(fabric.device))
        method = in_fastest_layout(spec.build())
        views = Views(
            material.split.kind,
            flip=spec.flip,
            augmentation=trial.data.augmentation,
            normalisation=method.network.normalisation,
        )
        labels = torch.from_numpy(material.given).to(fabric.device)
        examples = ResidentExamples(material.split.inputs, fabric.device)
        test = Evaluation(
            ResidentExamples(material.split.test_inputs, fabric.device),
            torch.from_numpy(material.split.test_labels).to(fabric.device),
        )
        return Training(
            method,
            Feeder(examples, labels, views, recipe.batch_size),
            self._known(labels, recipe.batch_size),
            recipe,
            fabric,
            [make_plugin(name, trial.method.plugin_params) for name in trial.method.plugins],
            Settings(evaluations={"test": test}),
        )

    def _spec(self, own: dict[str, Value], device: str) -> ModelSpec:
        material, method = self.material, self.trial.method
        shape = tuple(material.split.inputs.shape[1:])
        name, options = backbone_of(
            method, material.split.kind, shape, n_samples=len(material.given), device=device
        )
        return ModelSpec(
            method=method.method,
            params=own,
            backbone=name,
            backbone_options=options,
            n_samples=len(material.given),
            class_names=tuple(range(material.n_classes)),
            form=InputForm(material.split.kind, shape),
            encoder=None,
            flip=self.trial.data.flip,
            seed=self.trial.seed,
        )

    def _known(self, labels: Tensor, batch_size: int) -> Material:
        material = self.material
        is_features = material.split.kind == "features"
        is_right = torch.from_numpy(~material.is_wrong).to(labels.device)
        return Material(
            labels,
            material.n_classes,
            seed=self.trial.seed,
            batch_size=batch_size,
            selected=is_right if self.trial.method.filter == "oracle" else None,
            features=self._features,
            has_features=is_features,
            noise_rate=lambda: material.filter_rate,
        )

    def _features(self) -> Tensor:
        if self.material.split.kind == "features":
            return self.material.split.inputs
        from tamis.data import from_arrays
        from tamis.encoders import encode

        pixels = np.ascontiguousarray(self.material.split.inputs.numpy().transpose(0, 2, 3, 1))
        dataset = from_arrays(images=pixels, labels=self.material.given)
        return torch.from_numpy(np.array(encode(dataset, device=self.config.device).features))

    def _last(self, training: Training) -> dict[str, Cell]:
        examples = training.settings.evaluations["test"].examples
        blocks = predicted(training.method, examples, training.feeder, training.fabric.autocast)
        embeddings = torch.cat([block.features for block in blocks])
        return found_by(embeddings, self.material.split.test_labels)

    def _judged(self, training: Training) -> dict[str, Cell]:
        is_wrong = self.material.is_wrong
        if not is_wrong.any():
            return {}
        scores = training.verdict().clean_scores.double().cpu().numpy()
        # What a method says nothing about counts as clean.
        scores = np.where(np.isnan(scores), np.inf, scores)
        return {"ap": average_precision(scores, is_wrong)}
