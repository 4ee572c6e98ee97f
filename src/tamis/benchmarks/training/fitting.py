"""One training of a benchmark: engine, networks and augmentations of `tamis.train`, and other figures."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from tamis.auditing import Audit
from tamis.auditing.opinion import Opinion, with_opinion
from tamis.benchmarks.judging import Cell
from tamis.benchmarks.networks import backbone_of
from tamis.benchmarks.outcomes import Curves, curves_of, filled
from tamis.benchmarks.training.config import TrainingConfig
from tamis.benchmarks.training.material import Part, TrainingMaterial
from tamis.benchmarks.training.plan import Trial
from tamis.benchmarks.training.selecting import selected_rows
from tamis.engine import (
    Evaluation,
    Feeder,
    ResidentExamples,
    Settings,
    Training,
    in_fastest_layout,
    make_fabric,
)
from tamis.errors import InputError
from tamis.methods import Material, Verdict
from tamis.metrics.ranking import average_precision
from tamis.training.inputs import InputForm
from tamis.training.settings import Value, make_plugin, split_params
from tamis.training.spec import ModelSpec
from tamis.training.views import Views

_CURVES = {
    "test": "test_accuracy",
    "validation": "validation_accuracy",
    "fitted": "fitted_accuracy",
    "loss": "loss",
    "kept": "kept",
    "epoch_seconds": "seconds",
    "samples_per_second": "samples_per_second",
}


class Fitted(NamedTuple):
    """What one training came to.

    Attributes
    ----------
    figures : mapping
        ``last``, ``best``, ``best_epoch``, ``peak``, ``validation``, ``fitted``, ``ap``, ``ap_with_audit``,
        ``seconds``, ``cpu``, ...; see the page on the benchmark.
    curves : mapping of str to list
        A value an epoch.
    """

    figures: dict[str, Cell]
    curves: Curves


@dataclass(frozen=True)
class Fit:
    """One training of one candidate on one material.

    Attributes
    ----------
    config : TrainingConfig
    trial : Trial
    material : TrainingMaterial
    audit : Audit or None
        Of the training part.
    """

    config: TrainingConfig
    trial: Trial
    material: TrainingMaterial
    audit: Audit | None

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
        start, cpu = time.perf_counter(), time.process_time()
        history = training.run()
        spent = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu}
        curves = curves_of(history, _CURVES)
        figures: dict[str, Cell] = {**summary(curves), **spent, **self._judged(training.verdict())}
        return Fitted(figures, curves)

    def _training(self) -> Training:
        config, trial, material = self.config, self.trial, self.material
        fabric = make_fabric(config.device, config.precision)
        own, recipe = split_params(trial.method.method, self._params(), config.n_epochs(trial.task.data))
        spec = self._spec(own, str(fabric.device))
        method = in_fastest_layout(spec.build())
        views = Views(
            material.kind,
            flip=spec.flip,
            augmentation=trial.task.data.augmentation,
            normalisation=method.network.normalisation,
        )
        part = material.train
        labels = torch.from_numpy(part.truth if trial.method.true_labels else part.given).to(fabric.device)
        examples = ResidentExamples(part.inputs, fabric.device)
        plugins = [make_plugin(name, trial.method.plugin_params) for name in trial.method.plugins]
        return Training(
            method,
            Feeder(examples, labels, views, recipe.batch_size),
            self._known(labels),
            recipe,
            fabric,
            plugins,
            Settings(evaluations=self._evaluations(fabric.device)),
        )

    def _params(self) -> dict[str, Value]:
        method = self.trial.method
        params: dict[str, Value] = {**self.config.recipe, **method.params, "lr": self.trial.lr}
        if self.trial.is_oracle:
            params["noise_rate"] = self.material.realised_rate
        return params

    def _spec(self, own: dict[str, Value], device: str) -> ModelSpec:
        material, method = self.material, self.trial.method
        shape = tuple(material.train.inputs.shape[1:])
        name, options = backbone_of(
            method, material.kind, shape, n_samples=len(material.train.given), device=device
        )
        return ModelSpec(
            method=method.method,
            params=own,
            backbone=name,
            backbone_options=options,
            n_samples=len(material.train.given),
            class_names=tuple(range(material.n_classes)),
            form=InputForm(material.kind, shape),
            encoder=None,
            flip=self.trial.task.data.flip,
            seed=self.trial.seed,
        )

    def _known(self, labels: torch.Tensor) -> Material:
        device, material = labels.device, self.material
        wanted = self.trial.method.initial_selection
        selected = None if wanted is None else selected_rows(wanted, material, self._audit)
        scores = None
        if self.audit is not None:
            column = self.audit.issues.column("label_score").to_numpy(zero_copy_only=False)
            scores = torch.from_numpy(np.array(column, dtype=np.float64)).to(device)
        return Material(
            labels,
            material.n_classes,
            seed=self.trial.seed,
            selected=None if selected is None else torch.from_numpy(selected).to(device),
            label_scores=scores,
            features=self._features,
            has_features=material.kind == "features",
            noise_rate=self._noise_rate,
        )

    def _features(self) -> torch.Tensor:
        material = self.material
        if material.kind == "features":
            return material.train.inputs
        from tamis.encoders import encode

        return torch.from_numpy(np.array(encode(material.dataset(), device=self.config.device).features))

    def _audit(self) -> Audit:
        if self.audit is None:
            raise InputError("the method asks for an audit, and these data could not be audited")
        return self.audit

    def _noise_rate(self) -> float:
        rate = self._audit().summary.noise_rate
        if rate is None:
            raise InputError("the audit could not estimate the noise rate; pass it in params")
        return float(rate.estimate)

    def _evaluations(self, device: torch.device) -> dict[str, Evaluation]:
        material = self.material
        wrong = np.flatnonzero(material.train.is_wrong)
        fitted = Part(
            material.train.inputs[torch.from_numpy(wrong)],
            material.train.given[wrong],
            material.train.truth[wrong],
        )
        truth = self.trial.method.true_labels
        parts = {
            "test": (material.test, material.test.truth),
            "validation": (material.held, material.held.truth if truth else material.held.given),
            "fitted": (fitted, fitted.given),
        }
        return {
            name: Evaluation(ResidentExamples(part.inputs, device), torch.from_numpy(labels).to(device))
            for name, (part, labels) in parts.items()
            if len(labels)
        }

    def _judged(self, verdict: Verdict) -> dict[str, Cell]:
        is_wrong = self.material.train.is_wrong
        if self.trial.method.true_labels or not is_wrong.any():
            return {}
        scores = verdict.clean_scores.double().cpu().numpy()
        figures: dict[str, Cell] = {"ap": average_precision(scores, is_wrong)}
        if self.config.audit and self.audit is not None:
            beliefs = verdict.beliefs.float().cpu().numpy()
            opinion = Opinion(self.trial.method.method, beliefs, scores)
            both = with_opinion(self.material.dataset(), self.audit, opinion)
            figures["ap_with_audit"] = average_precision(label_scores(both), is_wrong)
        return figures


def label_scores(audit: Audit) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the scores of an audit for `average_precision`; what it does not assess counts as clean."""
    found = np.asarray(audit.issues.column("label_score").to_numpy(zero_copy_only=False), dtype=np.float64)
    return np.where(np.isnan(found), 1.0, found)


def summary(curves: Curves) -> dict[str, Cell]:
    """Return the figures that follow from the curves.

    Examples
    --------
    >>> curves = {"test": [0.7, 0.8, 0.6], "validation": [0.5, 0.4, 0.3], "fitted": [0.1, 0.3, 0.9]}
    >>> found = summary(curves)
    >>> found["last"], found["best"], found["best_epoch"], found["peak"], found["fitted"]
    (0.6, 0.7, 1, 0.8, 0.9)
    """
    test, held = (filled(curves[name]) for name in ("test", "validation"))
    best, peak = int(np.argmax(held)), int(np.argmax(test))
    figures: dict[str, Cell] = {
        "last": test[-1],
        "best": test[best],
        "best_epoch": best + 1,
        "peak": test[peak],
        "peak_epoch": peak + 1,
        "validation": held[-1],
        "epochs": len(test),
    }
    if "fitted" in curves:
        figures["fitted"] = curves["fitted"][-1]
    return figures
