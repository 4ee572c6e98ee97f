"""A trained model: predictions, embeddings, its verdict on the labels it was trained on."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from tamis.auditing import Audit
from tamis.backbones import Outputs
from tamis.data import Dataset, read_unlabelled
from tamis.engine import Feeder, make_fabric, predicted
from tamis.engine.checkpoint import below, read_checkpoint, write_checkpoint
from tamis.engine.records import Record
from tamis.engine.saved_state import BEST
from tamis.errors import InputError, RunError, TamisWarning
from tamis.methods import Method
from tamis.reporting import write_report
from tamis.runs import read_json
from tamis.training.model_file import ADVICE, model_file
from tamis.training.preparing import gather
from tamis.training.pretrained_copy import with_kept
from tamis.training.source import source_for_model
from tamis.training.spec import ModelSpec
from tamis.training.telling import training_section
from tamis.training.views import Views
from tamis.types import FloatArray

MODEL = "model.safetensors"

Weights = Literal["last", "best"]


class Said(NamedTuple):
    """What a model says about a data set.

    Attributes
    ----------
    blocks : iterator of Outputs
        In order, float32.
    unreadable : mapping of row to reason
        Rows whose outputs mean nothing.
    """

    blocks: Iterator[Outputs]
    unreadable: Mapping[int, str]


@dataclass(eq=False, repr=False)
class TrainedModel:
    """What `tamis.train` returns.

    Attributes
    ----------
    spec : ModelSpec
        Method, backbone, classes and inputs.
    method : Method
        The trained module.
    verdict : Audit or None
        The verdict on every training label: the audit's evidence and the method's. None in a model that was
        saved without its run.
    beliefs : (n, K) float32 array or None
        Class probabilities the method holds for every row of its training data; None of embeddings.
    history : list of dict
        One record an epoch.
    path : Path or None
        The run folder.
    device : str
    """

    spec: ModelSpec
    method: Method
    verdict: Audit | None = None
    beliefs: FloatArray | None = None
    scores: FloatArray | None = None
    history: list[Record] | None = None
    path: Path | None = None
    device: str = "auto"

    def __repr__(self) -> str:
        spec = self.spec
        return f"<tamis.TrainedModel: {spec.method} on {spec.backbone}, {len(spec.class_names)} classes>"

    @property
    def issues(self) -> pa.Table:
        """The issue table of the training data, with the method's evidence.

        Raises
        ------
        InputError
            The model was saved alone, without the verdict of its run.
        """
        if self.verdict is None:
            raise InputError("this model was saved without the issue table of its run; load the run folder")
        return self.verdict.issues

    def clean_scores(self) -> FloatArray:
        """Return how much the method believes each given label, (n,): higher = cleaner, NaN = no label.

        Raises
        ------
        InputError
            The model was saved alone, without the verdict of its run.
        """
        if self.scores is None:
            raise InputError("this model was saved without the verdict of its run; load the run folder")
        return self.scores

    def suggested_labels(self) -> npt.NDArray[np.generic]:
        """Return the class the method itself holds for most probable, for every row of the training data.

        Of a retrieval model: the class of the issue table.
        """
        if self.spec.task == "retrieval":
            return np.asarray(self.issues.column("suggested_label").to_pylist())
        if self.beliefs is None:
            raise InputError("this model was saved without the verdict of its run; load the run folder")
        return self._names(self.beliefs)

    def check_classifies(self) -> None:
        """Raise `InputError` if this model predicts no classes."""
        if self.spec.task == "retrieval":
            raise InputError(
                f"{self.spec.method} trains embeddings and predicts no classes: embed the data and look for "
                "the nearest samples (`tamis embed`, or model.embed)"
            )

    def predict(self, data: object) -> npt.NDArray[np.generic]:
        """Return the most probable class of every row, (m,), as the labels were given.

        A row that cannot be read gets the first class, and a warning counts such rows.

        Parameters
        ----------
        data : (m, d) features, path, Dataset, ...
            What the model was trained on, or anything `tamis.read` takes.
        """
        return self._names(self.predict_proba(data))

    def predict_proba(self, data: object) -> FloatArray:
        """Return class probabilities, (m, K) float32, columns in the order of ``spec.class_names``.

        Rows that cannot be read are NaN, and a warning counts them.
        """
        self.check_classifies()
        said = self.said_of(read_unlabelled(data))
        return _joined((block.logits.softmax(dim=1) for block in said.blocks), said.unreadable)

    def embed(self, data: object) -> FloatArray:
        """Return features, (m, D) float32: what the last layer sees; of retrieval models its unit output."""
        said = self.said_of(read_unlabelled(data))
        return _joined((block.features for block in said.blocks), said.unreadable)

    def report(self, path: str | os.PathLike[str]) -> Path:
        """Write the report of the run, the verdict on the labels and the training, and return its path.

        Raises
        ------
        InputError
            The model was saved alone, without its run.
        """
        description = {} if self.path is None else read_json(self.path / "run.json")
        return self.write_report(Path(path), description)

    def write_report(self, path: Path, description: Mapping[str, object]) -> Path:
        """Write the report of a run whose ``run.json`` is known."""
        if self.verdict is None:
            raise InputError("this model was saved without the issue table of its run; load the run folder")
        found = self.verdict
        write_report(
            path,
            source=found.dataset.source if found.dataset is not None else str(self.path or ""),
            summary=found.summary,
            issues=found.issues,
            dataset=found.dataset,
            neighbors=found.neighbors,
            run=self.path,
            random_state=self.spec.seed,
            training=training_section(self.spec, self.history or [], description),
        )
        return path

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the model alone to one safetensors file; `load` reads it back.

        Parameters
        ----------
        path : path
            Ends in ``.safetensors``.
        """
        target = Path(path)
        if target.suffix != ".safetensors":
            raise InputError(f"path is {target.name!r}; a model is one file that ends in .safetensors")
        tensors = {f"method/{name}": value for name, value in self.method.state_dict().items()}
        for name, array in (("mean", self.spec.form.mean), ("std", self.spec.form.std)):
            if array is not None:
                tensors[f"form/{name}"] = torch.from_numpy(array)
        write_checkpoint(target, tensors, {"model": self.spec.to_json()})
        return target

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, weights: Weights = "last", device: str = "auto"
    ) -> TrainedModel:
        """Read a model back from its run folder or from the file `save` wrote.

        Parameters
        ----------
        path : path
        weights : {"last", "best"}
            Of a run with a validation part: those of its last epoch, or of the best one on that part.
        device : str
            For predictions.

        Raises
        ------
        InputError
            There is no model, or no best one.
        RunError
            A file is damaged, or training has not finished.
        """
        place = Path(path)
        file = model_file(place, MODEL)
        tensors, facts = read_checkpoint(file, ADVICE)
        if "model" not in facts:
            raise RunError(f"{file} holds no model; {ADVICE}")
        scales = {name: tensors[f"form/{name}"] for name in ("mean", "std") if f"form/{name}" in tensors}
        spec = ModelSpec.from_json(facts["model"], scales)
        spec = with_kept(spec, file.parent)
        state_dict = below("method/", tensors)
        if weights == "best":
            best = place / "checkpoints" / BEST
            if not best.exists():
                raise InputError(f"{place} has no best weights: it was trained without a validation part")
            state_dict = read_checkpoint(best, ADVICE)[0]
        elif weights != "last":
            raise InputError(f"weights is {weights!r}; expected 'last' or 'best'")
        method = spec.build()
        method.load_state_dict(state_dict)
        model = cls(spec, method, device=device)
        if place.is_dir():
            model._read_run(place)
        return model

    def _names(self, probs: FloatArray) -> npt.NDArray[np.generic]:
        names: npt.NDArray[np.generic] = np.asarray(self.spec.class_names)
        # NaN, of a row that cannot be read, counts as the first class.
        chosen: npt.NDArray[np.generic] = names[np.nan_to_num(probs).argmax(axis=1)]
        return chosen

    def _read_run(self, folder: Path) -> None:
        self.path = folder
        try:
            self._read_results(folder)
        except (OSError, KeyError, ValueError, pa.ArrowException) as error:
            raise RunError(f"{folder} is damaged ({error}); run the same command again") from error

    def _read_results(self, folder: Path) -> None:
        if (folder / "run.json").exists() and read_json(folder / "run.json").get("status") == "finished":
            self.verdict = Audit.load(folder)
            lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
            self.history = [json.loads(line) for line in lines]
            if (folder / "beliefs.npy").exists():
                self.beliefs = np.load(folder / "beliefs.npy", allow_pickle=False)
            self.scores = pq.read_table(folder / "clean_scores.parquet")["clean_score"].to_numpy()

    def said_of(self, dataset: Dataset) -> Said:
        """Return what the model says about a data set, block by block; `predict` and `embed` join that."""
        fabric = make_fabric(self.device)
        form = self.spec.form
        source = source_for_model(dataset, form.kind, encoder=self.spec.encoder, device=str(fabric.device))
        found = gather(source, form, fabric.device, "2GiB")
        method = self.method.to(fabric.device)
        views = Views(form.kind, flip=self.spec.flip, normalisation=method.network.normalisation)
        labels = torch.full((len(dataset),), -1, device=fabric.device)
        feeder = Feeder(found.examples, labels, views, batch_size=512)
        unreadable = {**source.unreadable, **found.unreadable}
        return Said(predicted(method, found.examples, feeder, fabric.autocast), unreadable)


def _joined(blocks: Iterable[torch.Tensor], unreadable: Mapping[int, str]) -> FloatArray:
    found: FloatArray = torch.cat(list(blocks)).cpu().numpy()
    if unreadable:
        found[list(unreadable)] = np.nan
        row = min(unreadable)
        message = f"{len(unreadable):,} of {len(found):,} rows cannot be read, the first is row {row}: "
        warnings.warn(message + unreadable[row], TamisWarning, stacklevel=3)
    return found
