"""One training from data to verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime

import numpy as np
import torch

from tamis.auditing import Audit
from tamis.auditing.opinion import Opinion, with_opinion
from tamis.data import Dataset
from tamis.engine import Evaluation, Examples, Feeder, Settings, Training, make_fabric, predicted
from tamis.errors import InputError
from tamis.methods import Material, Method
from tamis.runs import versions, write_json
from tamis.training.choosing import choose_network
from tamis.training.inputs import feature_examples, image_examples
from tamis.training.knowledge import Knowledge
from tamis.training.model import TrainedModel
from tamis.training.run_folder import open_training_folder, run_key, write_results
from tamis.training.settings import make_plugin, split_params
from tamis.training.source import Source, as_dataset, choose_source
from tamis.training.spec import ModelSpec
from tamis.training.splitting import held_out
from tamis.training.views import Views
from tamis.training.wishes import Wishes
from tamis.types import IntArray


class Job:
    """Runs what `tamis.train` was asked for.

    Parameters
    ----------
    wishes : Wishes
    dataset : Dataset
    path : str
        Where the data came from, for the record of the run.
    read_options : mapping
    """

    def __init__(
        self, wishes: Wishes, dataset: Dataset, path: str, read_options: Mapping[str, object]
    ) -> None:
        self.wishes = wishes
        self.path = path
        self.read_options = dict(read_options)
        self.started = datetime.now(UTC)
        self.own, self.recipe = split_params(wishes.method, wishes.params, wishes.epochs)
        self.plugins = [make_plugin(each) if isinstance(each, str) else each for each in wishes.plugins]
        self.folder = None if wishes.out is None else open_training_folder(wishes.out)
        self.fabric = make_fabric(wishes.device, wishes.precision, wishes.processes)
        network = choose_network(wishes, dataset, self.fabric.device)
        self.source = choose_source(
            dataset, network.kind, encoder=wishes.encoder, device=str(self.fabric.device)
        )
        self.rows, self.held = held_out(self.source, wishes.validation)
        form = network.form_of(self.source, self.rows)
        name, options = network.settled(form, len(self.rows))
        self.spec = ModelSpec(
            method=wishes.method,
            params=self.own,
            backbone=name,
            backbone_options=options,
            n_samples=len(self.rows),
            class_names=dataset.class_names,
            form=form,
            encoder=self.source.encoder,
            flip=wishes.flip,
            seed=wishes.random_state,
        )
        self.knowledge = Knowledge(
            self.source,
            out=self.folder,
            given=wishes.audit if isinstance(wishes.audit, Audit) else None,
            device=str(self.fabric.device),
            encoder=wishes.encoder,
            prompts=wishes.prompts,
        )

    def run(self) -> TrainedModel:
        """Train, judge the labels, write the results."""
        training = self._training()
        is_writer = self.folder is not None and self.fabric.global_rank == 0
        if is_writer:
            assert self.folder is not None
            write_json(self.folder / "run.json", self._description() | {"status": "running"})
        history = training.run()
        opinion = self._opinion(training)
        model = TrainedModel(
            self.spec,
            training.method,
            verdict=self._judged(opinion),
            beliefs=opinion.beliefs,
            scores=opinion.clean_scores,
            history=history,
            path=self.folder,
            device=self.wishes.device,
        )
        if is_writer:
            assert self.folder is not None
            write_results(model, self.folder, self._description())
        return model

    def _training(self) -> Training:
        method = self.spec.build()
        labels = self._labels(self.rows)
        feeder = Feeder(
            self._examples(self.source, self.rows), labels, self._views(method), self.recipe.batch_size
        )
        settings = Settings(
            self.folder, self._key(), self._evaluations(), tensorboard=self.wishes.tensorboard
        )
        return Training(
            method, feeder, self._material(labels), self.recipe, self.fabric, self.plugins, settings
        )

    def _material(self, labels: torch.Tensor) -> Material:
        selected = self.knowledge.selection(self.wishes.initial_selection)
        return Material(
            labels,
            len(self.spec.class_names),
            seed=self.wishes.random_state,
            selected=None
            if selected is None
            else torch.from_numpy(selected[self.rows]).to(self.fabric.device),
            noise_rate=self.knowledge.noise_rate,
        )

    def _views(self, method: Method) -> Views:
        network = next(iter(method.children()))
        return Views(
            self.spec.form.kind,
            flip=self.wishes.flip,
            augmentation=self.wishes.augmentation,
            normalisation=getattr(network, "normalisation", None),
            channels_last=self.wishes.precision == "bf16-mixed" or self.fabric.device.type == "cuda",
        )

    def _examples(self, source: Source, rows: IntArray) -> Examples:
        form, device = self.spec.form, self.fabric.device
        if source.features is not None:
            return feature_examples(source.features, rows, form, device)
        return image_examples(source.dataset.inputs["image"], rows, form, device, self.wishes.memory_budget)

    def _labels(self, rows: IntArray) -> torch.Tensor:
        return torch.from_numpy(self.source.labels[rows]).to(self.fabric.device)

    def _evaluations(self) -> dict[str, Evaluation]:
        found = {}
        if len(self.held):
            found["validation"] = Evaluation(self._examples(self.source, self.held), self._labels(self.held))
        if self.wishes.test is not None:
            found["test"] = self._test_part(self.wishes.test)
        return found

    def _test_part(self, test: object) -> Evaluation:
        if isinstance(test, tuple) and len(test) == 2:
            dataset = as_dataset(None, test[0], test[1], class_names=self.spec.class_names)
        else:
            dataset = as_dataset(test, class_names=None, read_options=self.read_options)
        source = choose_source(
            dataset, self.spec.form.kind, encoder=self.wishes.encoder, device=str(self.fabric.device)
        )
        rows = np.flatnonzero(source.is_usable)
        places = {name: code for code, name in enumerate(self.spec.class_names)}
        unknown = [name for name in dataset.class_names if name not in places]
        if unknown:
            raise InputError(f"test has classes that the training data lack: {unknown[:5]}")
        codes = np.array([places[name] for name in dataset.class_names], dtype=np.int64)
        given = source.labels[rows]
        labels = np.where(given >= 0, codes[given], -1)
        return Evaluation(self._examples(source, rows), torch.from_numpy(labels).to(self.fabric.device))

    def _opinion(self, training: Training) -> Opinion:
        """Return what the method believes about every row of the data set; NaN where a row is unusable."""
        n, n_classes = len(self.source.dataset), len(self.spec.class_names)
        beliefs = np.full((n, n_classes), 1 / n_classes, dtype=np.float32)
        scores = np.full(n, np.nan)
        verdict = training.verdict()
        beliefs[self.rows] = verdict.beliefs.float().cpu().numpy()
        scores[self.rows] = verdict.clean_scores.double().cpu().numpy()
        if len(self.held):
            examples = self._examples(self.source, self.held)
            blocks = predicted(training.method, examples, training.feeder, self.fabric.autocast)
            found = torch.cat([block.logits.softmax(dim=1) for block in blocks]).cpu().numpy()
            beliefs[self.held] = found
            given = self.source.labels[self.held]
            own = found[np.arange(len(given)), np.maximum(given, 0)]
            scores[self.held] = np.where(given >= 0, own, np.nan)
        return Opinion(self.wishes.method, beliefs, scores)

    def _judged(self, opinion: Opinion) -> Audit:
        evidence = None if self.wishes.audit is False else self.knowledge.audit
        return with_opinion(self.source.dataset, evidence, opinion)

    def _key(self) -> str:
        plugins = [repr(plugin) for plugin in self.plugins]
        wishes = self.wishes
        rest = [wishes.validation, wishes.augmentation, str(wishes.precision), str(wishes.initial_selection)]
        content = self.source.dataset.fingerprint()
        return run_key(content, self.spec.to_json(), asdict(self.recipe), plugins, rest)

    def _description(self) -> dict[str, object]:
        wishes = self.wishes
        config: dict[str, object] = {
            "source": self.path,
            "read_options": self.read_options,
            "method": wishes.method,
            "params": dict(self.own),
            "recipe": asdict(self.recipe),
            "backbone": self.spec.backbone,
            "backbone_options": dict(self.spec.backbone_options),
            "plugins": [type(plugin).__name__ for plugin in self.plugins],
            "validation": wishes.validation,
            "augmentation": wishes.augmentation,
            "flip": wishes.flip,
            "device": str(self.fabric.device),
            "precision": wishes.precision,
            "processes": wishes.processes,
        }
        return {
            "command": "train",
            "config": config,
            "seed": wishes.random_state,
            "versions": versions(),
            "input_hash": self._key(),
            "started": self.started.isoformat(timespec="seconds"),
        }
