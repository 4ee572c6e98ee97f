"""The inputs of one trial: labels with their truth, and the evidence that detectors take."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tamis.benchmarks.arrays import read_array
from tamis.benchmarks.config import DataConfig, NoiseConfig
from tamis.errors import InputError
from tamis.noise import NOISE_MODELS, NoisyLabels
from tamis.types import BoolArray, FloatArray, IntArray

_N_FOLDS = 5


@dataclass(frozen=True)
class Material:
    """What a trial is run on.

    Attributes
    ----------
    inputs : mapping of name to array
        By the names that detectors state in their facts: ``features``, ``pred_probs``, ``losses``,
        ``answers`` (three columns: task, worker, label), ``trusted``.
    labels : (n,) int64
        Given labels; of crowd answers the empty array.
    truth : (n,) int64 or None
        True codes; -1 = not known.
    is_wrong : (n,) bool or None
    nominal_rate : float or None
    digest : str
        Of the planted labels; empty without noise.
    """

    inputs: dict[str, npt.NDArray[np.generic]]
    labels: IntArray
    truth: IntArray | None = None
    is_wrong: BoolArray | None = None
    nominal_rate: float | None = None
    digest: str = ""


def gather(data: DataConfig, noise: NoiseConfig | None, seed: int) -> Material:
    """Read the arrays, plant the noise and derive the evidence that the data do not bring.

    Raises
    ------
    InputError
        If an array cannot be read, lengths differ, or the noise model refuses the labels.
    """
    inputs = {
        name: _rows(where, data.rows)
        for name in ("features", "second_features", "pred_probs")
        if (where := getattr(data, name)) is not None
    }
    truth = None if data.truth is None else _rows(data.truth, data.rows).astype(np.int64)
    if data.answers is not None:
        return _crowd(data, inputs, truth)
    labels, planted = _labels(data, noise, seed, truth, inputs)
    is_wrong = labels != truth if data.is_wrong is None else _rows(data.is_wrong, data.rows).astype(bool)
    for name, array in {**inputs, "is_wrong": np.asarray(is_wrong)}.items():
        if len(array) != len(labels):
            raise InputError(f"data {data.name!r}: {name} has {len(array)} rows, labels {len(labels)}")
    if "pred_probs" not in inputs:
        inputs["pred_probs"] = cross_validated(np.asarray(inputs["features"]), labels)
    probs = np.asarray(inputs["pred_probs"], dtype=np.float64)
    inputs["losses"] = -np.log(np.maximum(probs[np.arange(len(labels)), labels], 1e-12))
    rate, digest = planted
    return Material(inputs, labels, truth, np.asarray(is_wrong), rate, digest)


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


def _rows(where: str, rows: int | None) -> npt.NDArray[np.generic]:
    return read_array(where)[:rows]


def _labels(
    data: DataConfig,
    noise: NoiseConfig | None,
    seed: int,
    truth: IntArray | None,
    inputs: dict[str, npt.NDArray[np.generic]],
) -> tuple[IntArray, tuple[float | None, str]]:
    if data.labels is not None:
        return _rows(data.labels, data.rows).astype(np.int64), (None, "")
    assert truth is not None and noise is not None  # the configuration was checked
    found = _plant(noise, truth, seed, inputs.get("features"))
    return found.labels, (found.nominal_rate, found.digest)


def _plant(
    noise: NoiseConfig, truth: IntArray, seed: int, features: npt.NDArray[np.generic] | None
) -> NoisyLabels:
    model = NOISE_MODELS.get(noise.model)
    taken = inspect.signature(model).parameters
    offered: dict[str, object] = {
        "rate": noise.rate,
        "n_classes": int(truth.max()) + 1,
        "random_state": seed,
        "features": None if features is None else np.asarray(features, dtype=np.float64),
    }
    unknown = sorted(noise.options.keys() - taken.keys())
    if unknown:
        raise InputError(f"noise model {noise.model!r} takes no {unknown}; it takes {sorted(taken)}")
    try:
        found = model(truth, **{k: v for k, v in offered.items() if k in taken} | noise.options)
    except TypeError as error:
        raise InputError(f"noise model {noise.model!r} cannot be planted by a benchmark: {error}") from error
    if not isinstance(found, NoisyLabels):
        raise InputError(f"noise model {noise.model!r} gives the answers of a crowd, not one label a row")
    return found


def _crowd(data: DataConfig, inputs: dict[str, npt.NDArray[np.generic]], truth: IntArray | None) -> Material:
    columns = [read_array(f"{data.answers}:{name}").astype(np.int64) for name in ("task", "worker", "label")]
    inputs["answers"] = np.stack(columns, axis=1)
    return Material(inputs, np.zeros(0, dtype=np.int64), truth)
