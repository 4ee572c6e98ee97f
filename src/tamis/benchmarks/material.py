"""The inputs of one trial: labels with their truth, and the evidence that detectors take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tamis.benchmarks.arrays import read_array
from tamis.benchmarks.config import DataConfig, NoiseConfig
from tamis.benchmarks.planting import Planted, plant
from tamis.errors import InputError
from tamis.types import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    import pandas as pd

_N_FOLDS = 5
_MATRICES = ("features", "second_features", "pred_probs")

Inputs = dict[str, npt.NDArray[np.generic]]


@dataclass(frozen=True)
class Material:
    """What a trial is run on. Rows are samples; with crowd answers the tasks, in ascending order.

    Attributes
    ----------
    inputs : mapping of name to array
        By the names that detectors state in their facts: ``features``, ``second_features``, ``pred_probs``,
        ``losses``, ``trusted`` (bool), ``answers`` (three columns: task, worker, label).
    labels : (n,) int64
        Given labels; of tasks the majority of the answers, unless the data bring labels.
    is_wrong : (n,) bool
    is_known : (n,) bool
        Rows whose truth is known; only these count.
    truth : (n,) int64 or None
        -1 = not known.
    derived : frozenset of str
        Inputs that were made here and not brought by the data.
    planted : Planted or None
    """

    inputs: Inputs
    labels: IntArray
    is_wrong: BoolArray
    is_known: BoolArray
    truth: IntArray | None = None
    derived: frozenset[str] = frozenset()
    planted: Planted | None = None

    @property
    def realised_rate(self) -> float | None:
        """Share of wrong labels among the rows whose truth is known."""
        return float(self.is_wrong[self.is_known].mean()) if self.is_known.any() else None

    def given_labels(self) -> Mapping[object, object]:
        """Return the given label of every task."""
        tasks = np.unique(self.inputs["answers"][:, 0])
        return dict(zip(tasks.tolist(), self.labels.tolist(), strict=True))

    def answer_table(self) -> pd.DataFrame:
        """Return the answers as a table, tasks in ascending order, with a column of the given labels."""
        import pandas as pd

        columns = np.asarray(self.inputs["answers"])
        columns = columns[np.argsort(columns[:, 0], kind="stable")]
        table = pd.DataFrame(columns, columns=["task", "worker", "label"])
        return table.assign(given_label=table["task"].map(self.given_labels()))


def offered_inputs(data: DataConfig) -> frozenset[str]:
    """Return the names of the inputs that `gather` will make, without reading anything."""
    names = {name for name in _MATRICES if getattr(data, name) is not None}
    if data.features is not None:
        names.add("pred_probs")
    if "pred_probs" in names:
        names.add("losses")
    if data.trusted is not None:
        names.add("trusted")
    if data.answers is not None:
        names.add("answers")
    return frozenset(names)


def gather(data: DataConfig, noise: NoiseConfig | None, seed: int) -> Material:
    """Read the arrays, plant the noise and derive the evidence that the data do not bring.

    Raises
    ------
    InputError
        If an array cannot be read, lengths differ, codes are out of range, or the noise model refuses the
        labels.
    """
    if data.answers is not None:
        return _crowd(data, seed)
    inputs = {
        name: _rows(where, data.rows) for name in _MATRICES if (where := getattr(data, name)) is not None
    }
    truth = None if data.truth is None else _codes(data, "truth")
    if data.labels is None:
        assert truth is not None and noise is not None  # the configuration was checked
        _check_rows(data.name, inputs, len(truth))
        found = plant(noise, truth, seed, inputs.get("features"))
        known = np.ones(len(truth), dtype=np.bool_)
        made = Material(inputs, found.labels, found.is_wrong, known, found.truth, planted=found)
        return _complete(data, seed, made)
    labels = _codes(data, "labels")
    if data.is_wrong is not None:
        is_wrong = _rows(data.is_wrong, data.rows).astype(np.bool_)
        is_known = np.ones(len(is_wrong), dtype=np.bool_)
    else:
        assert truth is not None
        _check_rows(data.name, {"truth": truth}, len(labels))
        is_wrong, is_known = labels != truth, truth >= 0
    _check_rows(data.name, {**inputs, "is_wrong": is_wrong}, len(labels))
    return _complete(data, seed, Material(inputs, labels, is_wrong, is_known, truth))


def _crowd(data: DataConfig, seed: int) -> Material:
    from tamis.crowd import Answers
    from tamis.crowd.majority import majority_labels

    columns = [read_array(f"{data.answers}:{name}").astype(np.int64) for name in ("task", "worker", "label")]
    _check_rows(data.name, dict(zip(("worker", "label"), columns[1:], strict=True)), len(columns[0]))
    answers = Answers.from_arrays(*columns)
    tasks = np.unique(columns[0])
    given: IntArray = answers.classes[majority_labels(answers)].astype(np.int64)
    truth = _by_task(data, "truth", tasks).astype(np.int64)
    if data.labels is not None:
        brought = _by_task(data, "labels", tasks).astype(np.int64)
        given = np.where(brought >= 0, brought, given)
    inputs = {name: _by_task(data, name, tasks) for name in _MATRICES if getattr(data, name) is not None}
    _check_rows(data.name, inputs, len(tasks))
    inputs["answers"] = np.stack(columns, axis=1)
    return _complete(data, seed, Material(inputs, given, given != truth, truth >= 0, truth))


def _complete(data: DataConfig, seed: int, material: Material) -> Material:
    inputs, labels, derived = dict(material.inputs), material.labels, set()
    if "features" in inputs and "pred_probs" not in inputs:
        inputs["pred_probs"] = cross_validated(np.asarray(inputs["features"]), labels)
        derived.add("pred_probs")
    if "pred_probs" in inputs:
        probs = np.asarray(inputs["pred_probs"], dtype=np.float64)
        if probs.ndim != 2 or int(labels.max()) >= probs.shape[1]:
            raise InputError(
                f"data {data.name!r}: pred_probs has shape {probs.shape}, and the labels go up to "
                f"{labels.max()}; give one column a class"
            )
        inputs["losses"] = -np.log(np.maximum(probs[np.arange(len(labels)), labels], 1e-12))
    if data.trusted is not None:
        inputs["trusted"] = _trusted(data, seed, material)
    return replace(material, inputs=inputs, derived=frozenset(derived))


def cross_validated(features: FloatArray, labels: IntArray) -> FloatArray:
    """Return out-of-sample probabilities of a 5-fold logistic regression, (n, K) float64."""
    import torch

    from tamis.statistics.folds import assign_folds
    from tamis.statistics.logistic import CrossValidatedLogistic, standardise

    n_classes = int(labels.max()) + 1
    folds = assign_folds(labels, np.full(len(labels), -1), _N_FOLDS)
    regression = CrossValidatedLogistic(standardise(features.astype(np.float32)), folds)
    logits = regression.logits(np.eye(n_classes, dtype=np.float32)[labels], "pred_probs")
    probs: FloatArray = torch.softmax(logits.double(), 1).numpy()
    return probs


def _trusted(data: DataConfig, seed: int, material: Material) -> BoolArray:
    """Return a mask of rows that are known to be right, drawn by the seed."""
    assert data.trusted is not None
    right = np.flatnonzero(material.is_known & ~material.is_wrong)
    if len(right) <= data.trusted:
        raise InputError(
            f"data {data.name!r}: trusted is {data.trusted}, but {len(right)} rows are right; ask for fewer"
        )
    mask = np.zeros(len(material.labels), dtype=np.bool_)
    mask[np.random.default_rng([seed, len(mask)]).choice(right, data.trusted, replace=False)] = True
    return mask


def _rows(where: str, rows: int | None) -> npt.NDArray[np.generic]:
    return read_array(where)[:rows]


def _codes(data: DataConfig, name: str) -> IntArray:
    values = _rows(getattr(data, name), data.rows)
    lowest = -1 if name == "truth" and data.labels is not None else 0
    if values.ndim != 1 or values.dtype.kind not in "iu" or (len(values) and int(values.min()) < lowest):
        raise InputError(
            f"data {data.name!r}: {name} has shape {values.shape}, type {values.dtype}; expected (n,) "
            f"whole numbers from {lowest} on"
        )
    return values.astype(np.int64)


def _by_task(data: DataConfig, name: str, tasks: IntArray) -> npt.NDArray[np.generic]:
    array = read_array(getattr(data, name))
    if int(tasks.min()) < 0 or int(tasks.max()) >= len(array):
        raise InputError(
            f"data {data.name!r}: tasks go from {tasks.min()} to {tasks.max()}, but {name} has {len(array)} "
            "rows; row t belongs to task t"
        )
    return array[tasks]


def _check_rows(name: str, arrays: Mapping[str, npt.NDArray[np.generic]], n_rows: int) -> None:
    for key, array in arrays.items():
        if key in _MATRICES and array.ndim != 2:
            raise InputError(f"data {name!r}: {key} has shape {array.shape}; expected (n, columns)")
        if len(array) != n_rows:
            raise InputError(f"data {name!r}: {key} has {len(array)} rows, labels {n_rows}; they must agree")
