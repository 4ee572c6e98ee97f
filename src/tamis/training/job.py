"""One training from data to verdict."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import torch

from tamis.auditing import Audit
from tamis.auditing.opinion import Opinion
from tamis.data import Dataset
from tamis.engine import Evaluation, Feeder, Settings, Training, in_fastest_layout, launch, make_fabric
from tamis.engine.records import Record
from tamis.errors import InputError
from tamis.methods import Material, Method
from tamis.runs import versions
from tamis.training.choosing import kind_of_network
from tamis.training.identity import described_plugin, digest_of, run_key
from tamis.training.judging import judged, judged_by_embeddings, opinion_of
from tamis.training.knowledge import Knowledge
from tamis.training.model import TrainedModel
from tamis.training.preparing import evaluation_of, frozen_features, has_features, prepare
from tamis.training.run_folder import finished_run, open_training_folder, under_way, write_results
from tamis.training.settings import make_plugin, split_params
from tamis.training.spec import ModelSpec
from tamis.training.views import Views
from tamis.training.wishes import Wishes

_WATCHED = 1000


class Job:
    """Runs what `tamis.train` was asked for.

    Everything that can be wrong with the arguments or the data is found while it is made.

    Parameters
    ----------
    wishes : Wishes
    dataset : Dataset
    path : str
        Where the data came from, for the record of the run.
    """

    def __init__(self, wishes: Wishes, dataset: Dataset, path: str) -> None:
        self.wishes = wishes
        self.path = path
        self.started = datetime.now(UTC)
        self.own, self.recipe = split_params(wishes.method, wishes.params, wishes.epochs)
        if self.recipe.patience is not None and not wishes.validation:
            raise InputError(
                f"patience is {self.recipe.patience}, but no rows are held out to tell which epoch is best; "
                "pass validation, such as 0.1, or leave patience out"
            )
        self.plugins = [make_plugin(each) if isinstance(each, str) else each for each in wishes.plugins]
        self.folder = None if wishes.out is None else open_training_folder(wishes.out)
        self.fabric = make_fabric(
            wishes.device,
            wishes.precision,
            wishes.processes,
            for_images=kind_of_network(wishes, dataset) == "image",
            is_launched=False,
        )
        self.device = self.fabric.device
        self.prepared = prepare(wishes, dataset, self.device)
        self.source = self.prepared.source
        self.spec = ModelSpec(
            method=wishes.method,
            params=self.own,
            backbone=self.prepared.backbone,
            backbone_options=self.prepared.backbone_options,
            n_samples=len(self.prepared.rows),
            class_names=self.prepared.class_names,
            form=self.prepared.form,
            encoder=self.source.encoder,
            flip=wishes.flip,
            seed=wishes.random_state,
        )
        self.method = in_fastest_layout(self.spec.build())
        self.evaluations = self._evaluations()
        self.knowledge = Knowledge(
            self.source,
            out=self.folder,
            given=wishes.audit if isinstance(wishes.audit, Audit) else None,
            device=str(self.device),
            encoder=wishes.encoder,
            prompts=wishes.prompts,
            task=wishes.task,
            turn=self.fabric.rank_zero_first,
        )
        self.key = self._key()

    def run(self) -> TrainedModel:
        """Train, judge the labels, write the results; a run that has finished already is read back."""
        if self.folder is not None:
            found = finished_run(self.folder, self.key, self._description())
            if found is not None:
                return replace(found, device=self.wishes.device)
        launch(self.fabric)
        is_writer = self.folder is not None and self.fabric.global_rank == 0
        with under_way(self._folder, self._description()) if is_writer else nullcontext():
            training = self._training()
            history = _run(training)
        opinion = opinion_of(training, self.prepared, self.wishes.method)
        model = TrainedModel(
            self.spec,
            training.method,
            verdict=self._judged(opinion, training),
            beliefs=None if self.is_retrieval else opinion.beliefs,
            scores=opinion.clean_scores,
            history=history,
            path=self.folder,
            device=self.wishes.device,
        )
        if is_writer:
            write_results(model, self._folder, self._description(), training.best)
        return model

    @property
    def is_retrieval(self) -> bool:
        """Whether embeddings are trained, not classes."""
        return self.wishes.task == "retrieval"

    @property
    def _folder(self) -> Path:
        assert self.folder is not None  # asked by the writer only
        return self.folder

    def _training(self) -> Training:
        prepared, wishes = self.prepared, self.wishes
        labels = prepared.labels(prepared.rows, self.device)
        examples = prepared.chosen(prepared.rows, self.device)
        feeder = Feeder(examples, labels, self._views(self.method), self.recipe.batch_size)
        settings = Settings(
            self.folder,
            self.key,
            self.evaluations,
            tensorboard=wishes.tensorboard,
            report_epoch=wishes.report_epoch,
        )
        return Training(
            self.method, feeder, self._material(labels), self.recipe, self.fabric, self.plugins, settings
        )

    def _material(self, labels: torch.Tensor) -> Material:
        selected = self.knowledge.selection(self.wishes.initial_selection)
        return Material(
            labels,
            len(self.prepared.classes),
            seed=self.wishes.random_state,
            batch_size=self.recipe.batch_size,
            selected=None
            if selected is None
            else torch.from_numpy(selected[self.prepared.rows]).to(self.device),
            label_scores=self._label_scores(),
            features=self._features,
            has_features=has_features(self.prepared, self.wishes),
            noise_rate=self.knowledge.noise_rate,
        )

    def _label_scores(self) -> torch.Tensor | None:
        scores = self.knowledge.known_label_scores()
        if scores is None:
            return None
        return torch.from_numpy(scores[self.prepared.rows]).float().to(self.device)

    def _features(self) -> torch.Tensor:
        with self.fabric.rank_zero_first():
            return frozen_features(self.prepared, self.wishes, self.device)

    def _views(self, method: Method) -> Views:
        return Views(
            self.spec.form.kind,
            flip=self.wishes.flip,
            augmentation=self.wishes.augmentation,
            normalisation=method.network.normalisation,
        )

    def _evaluations(self) -> dict[str, Evaluation]:
        prepared = self.prepared
        found = {} if self.is_retrieval else {"training": self._watched()}
        if len(prepared.held):
            held = prepared.held
            found["validation"] = Evaluation(
                prepared.chosen(held, self.device), prepared.labels(held, self.device)
            )
        if self.wishes.test is not None:
            found["test"] = evaluation_of(self.wishes.test, prepared, self.wishes, self.device)
        return found

    def _watched(self) -> Evaluation:
        """Return some rows of the training set: how far the given labels are fitted is worth a look."""
        rows = self.prepared.rows[self.source.labels[self.prepared.rows] >= 0]
        some = rows[:: max(1, len(rows) // _WATCHED)][:_WATCHED]
        return Evaluation(self.prepared.chosen(some, self.device), self.prepared.labels(some, self.device))

    def _judged(self, opinion: Opinion, training: Training) -> Audit | None:
        if self.fabric.global_rank > 0:
            return None
        if self.is_retrieval:
            return replace(judged_by_embeddings(training, self.prepared, opinion), path=self.folder)
        knowledge = None if self.wishes.audit is False else self.knowledge
        return replace(judged(self.prepared, opinion, knowledge), path=self.folder)

    def _key(self) -> str:
        wishes = self.wishes
        return run_key(
            self.source.dataset.fingerprint(),
            self.spec.to_json(),
            asdict(self.recipe),
            [described_plugin(plugin) for plugin in self.plugins],
            [wishes.validation, wishes.augmentation, wishes.precision, digest_of(wishes.initial_selection)],
            [digest_of(wishes.audit), digest_of(wishes.prompts)],
            # Nothing is chosen by it, but its accuracies are part of what a finished run says.
            *([] if wishes.test is None else [["test", digest_of(wishes.test)]]),
        )

    def _description(self) -> Mapping[str, object]:
        wishes = self.wishes
        config: dict[str, object] = {
            "source": self.path,
            "read_options": dict(wishes.read_options),
            "method": wishes.method,
            "params": dict(self.own),
            "recipe": asdict(self.recipe),
            "backbone": self.spec.backbone,
            "backbone_options": dict(self.spec.backbone_options),
            "encoder": self.source.encoder,
            "plugins": [described_plugin(plugin) for plugin in self.plugins],
            "initial_selection": digest_of(wishes.initial_selection),
            "validation": wishes.validation,
            "augmentation": wishes.augmentation,
            "image_size": wishes.image_size,
            "flip": wishes.flip,
            "audit": digest_of(wishes.audit),
            "test": digest_of(wishes.test),
            "device": str(self.device),
            "precision": wishes.precision,
            "processes": wishes.processes,
        }
        return {
            "command": "train",
            "config": config,
            "seed": wishes.random_state,
            "versions": versions(),
            "input_hash": self.key,
            "started": self.started.isoformat(timespec="seconds"),
        }


def _run(training: Training) -> list[Record]:
    try:
        return training.run()
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise InputError(
            "a batch holds a single row, and this network normalises over batches: choose a larger "
            "batch_size, select more rows, or build the backbone without batch norm (such as "
            "backbone_options={'norm': 'none'})"
        ) from error
