"""The data of a trial: classes to train on with planted errors, and other classes to test on."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from torch import Tensor

from tamis.backbones import InputKind
from tamis.benchmarks.arrays import read_array
from tamis.benchmarks.inputs import as_tensor, read_codes, read_inputs
from tamis.benchmarks.planting import plant
from tamis.benchmarks.retrieval.config import CLEAN, RetrievalDataConfig, RetrievalNoiseConfig
from tamis.errors import InputError
from tamis.noise import NOISE_MODELS
from tamis.reduction import PCA
from tamis.training.inputs import features_form
from tamis.types import BoolArray, FloatArray, IntArray

_PIXEL_COMPONENTS = 64


@dataclass
class Split:
    """Both parts of a data set, before any error is planted.

    Attributes
    ----------
    kind : {"features", "image"}
    inputs, test_inputs : (n, d) float32 or (n, 3, height, width) uint8 tensors
        Features are scaled as `tamis.train` does, by the training part.
    truth, test_labels : (n,) int64 arrays
        Codes from 0 without gaps, of each part by itself.
    raw_test_inputs : (m, d) float32 tensor
        Features as they were, or pixels.
    named_features : (n, d) array or None
        Of the training part, where they are named.
    """

    kind: InputKind
    inputs: Tensor
    truth: IntArray
    test_inputs: Tensor
    test_labels: IntArray
    raw_test_inputs: Tensor
    named_features: FloatArray | None

    @cached_property
    def noise_features(self) -> FloatArray:
        """(n, d) features of the training part for noise models that need some."""
        if self.named_features is not None:
            return self.named_features
        pixels = self.inputs.numpy()
        is_grey = bool((pixels == pixels[:, :1]).all())
        rows = (pixels[:, 0] if is_grey else pixels).reshape(len(pixels), -1).astype(np.float32) / 255
        size = min(_PIXEL_COMPONENTS, *rows.shape)
        return PCA(n_components=size).fit(rows).transform(rows)


@dataclass(frozen=True)
class RetrievalMaterial:
    """What a trial is run on.

    Attributes
    ----------
    split : Split
    given : (n,) int64 array
        Labels to train on, from 0 without gaps.
    is_wrong : (n,) bool array
    n_classes : int
        Of ``given``.
    nominal_rate : float
    filter_rate : float
        The share of wrong labels that a method is told.
    digest : str
        Of the planted labels.
    """

    split: Split
    given: IntArray
    is_wrong: BoolArray
    n_classes: int
    nominal_rate: float
    filter_rate: float
    digest: str | None

    @property
    def realised_rate(self) -> float:
        """Share of wrong labels in the training part."""
        return float(self.is_wrong.mean())


def gather_retrieval(data: RetrievalDataConfig, noise: RetrievalNoiseConfig, seed: int) -> RetrievalMaterial:
    """Read the arrays, split them by classes, plant the noise.

    Raises
    ------
    InputError
        If an array cannot be read, lengths differ, a side has fewer than two classes, a class stands on both
        sides, or the noise model refuses the labels.
    """
    split = split_of(data)
    if noise.model == CLEAN:
        given, is_wrong = split.truth, np.zeros(len(split.truth), dtype=np.bool_)
        rate, digest = 0.0, None
    else:
        taken = inspect.signature(NOISE_MODELS.get(noise.model)).parameters
        features = split.noise_features if "features" in taken else None
        planted = plant(noise, split.truth, seed, features)
        given = np.unique(planted.labels, return_inverse=True)[1].reshape(-1).astype(np.int64)
        is_wrong, rate, digest = planted.is_wrong, planted.nominal_rate, planted.digest
    told = float(is_wrong.mean()) if noise.filter_rate is None else noise.filter_rate
    return RetrievalMaterial(split, given, is_wrong, int(given.max()) + 1, rate, told, digest)


@lru_cache(maxsize=1)
def split_of(data: RetrievalDataConfig) -> Split:
    """Return both parts of a data set; the last one stays in memory, as the next trial mostly asks for it."""
    named = f"data {data.name!r}"
    truth = read_codes(data.truth, f"{named}: truth", data.rows)
    rows, test_rows = split_rows(data, truth)
    where = data.images if data.features is None else data.features
    assert where is not None  # the configuration was checked
    limit = slice(data.rows)
    # Once over the file, and only what is needed is decoded.
    both = np.concatenate([rows, test_rows])
    _check_length(named, data.kind, len(read_array(where)[limit]), len(truth))
    values = read_inputs(where, data.kind, f"{named}: {data.kind}", both)
    raw = values[len(rows) :].reshape(len(test_rows), -1).astype(np.float32)
    own: FloatArray | None = values[: len(rows)].astype(np.float32) if data.kind == "features" else None
    if data.noise_features is not None:
        features = read_inputs(data.noise_features, "features", f"{named}: noise_features", limit)
        _check_length(named, "noise_features", len(features), len(truth))
        own = features[rows].astype(np.float32)
    if data.kind == "features":
        form = features_form(values.astype(np.float32), np.arange(len(rows)))
        assert form.mean is not None and form.std is not None  # of features
        values = (values.astype(np.float32) - form.mean) / form.std
    inputs, test_inputs = as_tensor(values[: len(rows)]), as_tensor(values[len(rows) :])
    return Split(
        data.kind, inputs, _dense(truth[rows]), test_inputs, _dense(truth[test_rows]), as_tensor(raw), own
    )


def split_rows(data: RetrievalDataConfig, truth: IntArray) -> tuple[IntArray, IntArray]:
    """Return rows to train on and rows to test on, both ascending, of different classes.

    Raises
    ------
    InputError
        A side has fewer than two classes, or a class stands on both.
    """
    named = f"data {data.name!r}"
    if data.groups is None:
        names = np.unique(truth)
        order = np.random.default_rng([len(names), 1]).permutation(names)
        n_train, n_test = (round(share * len(names)) for share in (data.train_classes, data.test_classes))
        sides = [np.isin(truth, order[:n_train]), np.isin(truth, order[len(names) - n_test :])]
    else:
        groups = read_codes(data.groups, f"{named}: groups", data.rows)
        _check_length(named, "groups", len(groups), len(truth))
        sides = [np.isin(groups, chosen) for chosen in (data.train_groups, data.test_groups)]
    classes = [np.unique(truth[side]) for side in sides]
    for name, found in zip(("train on", "test on"), classes, strict=True):
        if len(found) < 2:
            raise InputError(f"{named} has {len(found)} classes to {name}; retrieval needs two at least")
    shared = np.intersect1d(classes[0], classes[1])
    if len(shared):
        raise InputError(
            f"{named}: class {shared[0]} of truth has rows to train on and rows to test on; a class belongs "
            "to one side"
        )
    is_first = _is_among_first(truth, data.rows_per_class)
    return np.flatnonzero(sides[0] & is_first), np.flatnonzero(sides[1] & is_first)


def chance(labels: IntArray) -> float:
    """Return P@1 of guessing: the mean share of other items that belong to an item's class.

    Items without company in their class do not count, as in `tamis.evaluation.retrieval_metrics`.

    Examples
    --------
    >>> chance(np.array([0, 0, 0, 1, 1, 2]))
    0.32
    """
    sizes = np.bincount(labels)[labels]
    company = sizes[sizes > 1] - 1
    return round(float(company.mean() / (len(labels) - 1)), 12) if len(company) else 0.0


def _is_among_first(truth: IntArray, count: int | None) -> BoolArray:
    if count is None:
        return np.ones(len(truth), dtype=np.bool_)
    order = np.argsort(truth, kind="stable")
    ordered = truth[order]
    starts = np.searchsorted(ordered, ordered, side="left")
    is_first = np.zeros(len(truth), dtype=np.bool_)
    is_first[order] = np.arange(len(truth)) - starts < count
    return is_first


def _dense(codes: IntArray) -> IntArray:
    return np.unique(codes, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _check_length(named: str, what: str, found: int, wanted: int) -> None:
    if found != wanted:
        raise InputError(f"{named}: {what} has {found} rows, truth {wanted}; they must agree")
