"""The data of a trial: inputs, noisy labels with their truth, a noisy held-out part, a clean test part."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from torch import Tensor

from tamis.backbones import InputKind
from tamis.benchmarks.config import NoiseConfig
from tamis.benchmarks.inputs import as_tensor, read_codes, read_inputs
from tamis.benchmarks.planting import Planted, plant
from tamis.benchmarks.training.config import TrainingDataConfig
from tamis.data import Dataset, from_arrays
from tamis.errors import InputError
from tamis.noise import NOISE_MODELS
from tamis.training.inputs import features_form
from tamis.types import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class Part:
    """Rows of a data set.

    Attributes
    ----------
    inputs : (n, d) float32 or (n, 3, height, width) uint8 tensor
        Features are scaled as `tamis.train` does, by the training part.
    given, truth : (n,) int64 arrays
    """

    inputs: Tensor
    given: IntArray
    truth: IntArray

    @property
    def is_wrong(self) -> BoolArray:
        """(n,) bool: rows whose given label is wrong."""
        wrong: BoolArray = self.given != self.truth
        return wrong


@dataclass(frozen=True)
class TrainingMaterial:
    """What a trial is run on.

    Attributes
    ----------
    kind : {"features", "image"}
    train, held, test : Part
        To train on; held out, with labels as noisy; with right labels.
    n_classes : int
    planted : Planted or None
    features : (n, d) float32 array or None
        Of the training part, as they were.
    """

    kind: InputKind
    train: Part
    held: Part
    test: Part
    n_classes: int
    planted: Planted | None = None
    features: FloatArray | None = None
    _datasets: dict[str, Dataset] = field(default_factory=dict, repr=False)

    @property
    def realised_rate(self) -> float:
        """Share of wrong labels in the training part."""
        return float(self.train.is_wrong.mean())

    def dataset(self) -> Dataset:
        """Return the training part as an audit takes it."""
        if not self._datasets:
            names = list(range(self.n_classes))
            if self.features is None:
                pixels = np.ascontiguousarray(self.train.inputs.numpy().transpose(0, 2, 3, 1))
                made = from_arrays(images=pixels, labels=self.train.given, class_names=names)
            else:
                made = from_arrays(self.features, self.train.given, class_names=names)
            self._datasets["train"] = made
        return self._datasets["train"]


def gather_training(
    data: TrainingDataConfig, noise: NoiseConfig | None, seed: int, validation: float
) -> TrainingMaterial:
    """Read the arrays, plant the noise, hold rows out.

    Raises
    ------
    InputError
        If an array cannot be read, lengths differ, codes are out of range, or the noise model refuses the
        labels.
    """
    truth = _codes(data, "truth", data.rows)
    test_truth = _codes(data, "test_labels", data.test_rows)
    inputs, test_inputs = _inputs(data, test=False), _inputs(data, test=True)
    planted = None
    if data.labels is None:
        assert noise is not None  # the configuration was checked
        planted = _planted(data, noise, truth, seed, inputs)
        given = planted.labels
    else:
        given = _codes(data, "labels", data.rows)
    _check_lengths(data, {"truth": truth, "labels": given, data.kind: inputs}, "rows")
    _check_lengths(data, {"test_labels": test_truth, f"test {data.kind}": test_inputs}, "test_rows")
    n_classes = 1 + int(max(truth.max(), given.max(), test_truth.max()))
    rows, held = split_rows(given, validation)
    raw = inputs[rows].astype(np.float32) if data.kind == "features" else None
    if data.kind == "features":
        form = features_form(inputs.astype(np.float32, copy=False), rows)
        assert form.mean is not None and form.std is not None  # of features
        mean, std = form.mean, form.std
        inputs, test_inputs = ((part.astype(np.float32) - mean) / std for part in (inputs, test_inputs))
    return TrainingMaterial(
        data.kind,
        Part(as_tensor(inputs[rows]), given[rows], truth[rows]),
        Part(as_tensor(inputs[held]), given[held], truth[held]),
        Part(as_tensor(test_inputs), test_truth, test_truth),
        n_classes,
        planted,
        raw,
    )


def split_rows(given: IntArray, validation: float) -> tuple[IntArray, IntArray]:
    """Return rows to train on and rows held out, both ascending: the same share of every given class.

    Examples
    --------
    >>> rows, held = split_rows(np.arange(20) % 2, 0.1)
    >>> len(rows), sorted((held % 2).tolist())
    (18, [0, 1])
    """
    draws = np.random.default_rng([len(given), 1]).random(len(given))
    held: list[int] = []
    for code in np.unique(given):
        own = np.flatnonzero(given == code)
        held += own[np.argsort(draws[own], kind="stable")][: round(validation * len(own))].tolist()
    if not held or len(held) == len(given):
        raise InputError(f"validation is {validation}, which leaves no rows of {len(given)} on one side")
    chosen = np.sort(np.array(held, dtype=np.int64))
    return np.setdiff1d(np.arange(len(given)), chosen), chosen


def _planted(
    data: TrainingDataConfig,
    noise: NoiseConfig,
    truth: IntArray,
    seed: int,
    inputs: npt.NDArray[np.generic],
) -> Planted:
    taken = inspect.signature(NOISE_MODELS.get(noise.model)).parameters
    features = inputs.reshape(len(inputs), -1) if "features" in taken else None
    found = plant(noise, truth, seed, features)
    if not np.array_equal(found.truth, truth):
        raise InputError(
            f"data {data.name!r}: noise model {noise.model!r} changes the set of classes, and the test "
            "labels keep theirs; choose a model that does not"
        )
    return found


def _codes(data: TrainingDataConfig, name: str, rows: int | None) -> IntArray:
    return read_codes(getattr(data, name), f"data {data.name!r}: {name}", rows)


def _inputs(data: TrainingDataConfig, *, test: bool) -> npt.NDArray[np.generic]:
    name = ("test_" if test else "") + ("images" if data.kind == "image" else "features")
    rows = slice(data.test_rows if test else data.rows)
    return read_inputs(getattr(data, name), data.kind, f"data {data.name!r}: {name}", rows)


def _check_lengths(data: TrainingDataConfig, arrays: dict[str, npt.NDArray[np.generic]], rows: str) -> None:
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) != 1:
        raise InputError(f"data {data.name!r}: numbers of {rows} differ: {lengths}; they must agree")
