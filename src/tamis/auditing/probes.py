"""Out-of-sample probabilities learned from features: by which model, and for which sizes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
import torch

from tamis.auditing.rows import Rows
from tamis.statistics.folds import assign_folds
from tamis.statistics.logistic import CrossValidatedLogistic, standardise
from tamis.statistics.mixup_mlp import mixup_mlp_probabilities
from tamis.statistics.noise_fit import has_few_rows
from tamis.statistics.prototypes import prototype_cosines
from tamis.statistics.ridge import leave_one_out_ridge
from tamis.statistics.temperature import fit_temperature, softmax_with_temperature
from tamis.types import FloatArray, IntArray

LEAST_PROB = 1e-6
_N_FOLDS = 5
# Cross-validated models up to this many multiplications per pass and this many cells; ridge alone beyond.
_CROSS_VALIDATED_EFFORT = 3e9
_CROSS_VALIDATED_CELLS = 7e7
_BLOCK_ROWS = 65_536


class Probe(ABC):
    """Learns classes from features; answers for the assessed rows, in the order of ``Rows.rows``."""

    @abstractmethod
    def from_given_labels(self) -> list[FloatArray]:
        """Return (m, C) float32 log-probabilities, out of sample: one array for each way to get them."""

    @abstractmethod
    def from_posteriors(self, targets: FloatArray) -> FloatArray:
        """Return (m, C) float32 log-probabilities, out of sample, learned from (m, C) posteriors."""

    def further_evidence(self) -> dict[str, Callable[[], FloatArray]]:
        """Return, by name, how to get more log-probabilities from the given labels: where rows are few."""
        return {}


def choose_probe(features: FloatArray | None, rows: Rows) -> tuple[Probe | None, tuple[str, ...]]:
    """Return the probe for this many rows, features and classes, and what the user should know about it."""
    if features is None:
        return None, ()
    cells = len(rows.rows) * features.shape[1]
    if cells * len(rows.classes) > _CROSS_VALIDATED_EFFORT or cells > _CROSS_VALIDATED_CELLS:
        note = (
            f"{len(rows.rows):,} rows x {features.shape[1]:,} features x {len(rows.classes):,} classes: "
            "probabilities come from closed-form leave-one-out ridge regression alone; cross-validated "
            "models, which are more accurate, are too slow here."
        )
        return _Ridge(features, rows), (note,)
    return _CrossValidated(features, rows), ()


class _Ridge(Probe):
    """Closed form, any number of rows."""

    def __init__(self, features: FloatArray, rows: Rows) -> None:
        n = len(features)
        self._rows = rows
        # In data-set order, where the features lie: reordering a memory-mapped matrix would copy it.
        self._used = np.arange(n) if len(rows.rows) == n else np.sort(rows.rows)
        place = np.empty(n, dtype=np.int64)
        place[self._used] = np.arange(len(self._used))
        self._place = place[rows.rows]
        self._matrix = features if len(rows.rows) == n else features[self._used]

    def from_given_labels(self) -> list[FloatArray]:
        return [self._log_probs(self._rows.codes)]

    def from_posteriors(self, targets: FloatArray) -> FloatArray:
        return self._log_probs(targets)

    def _log_probs(self, targets: IntArray | FloatArray) -> FloatArray:
        rows = self._rows
        ordered = np.empty_like(targets)
        ordered[self._place] = targets
        scores = leave_one_out_ridge(self._matrix, ordered, len(rows.classes), groups=rows.groups[self._used])
        del ordered
        scores = scores[self._place]
        temperature = fit_temperature(scores, rows.codes)
        for start in range(0, len(scores), _BLOCK_ROWS):
            block = softmax_with_temperature(scores[start : start + _BLOCK_ROWS], temperature)
            scores[start : start + _BLOCK_ROWS] = np.log(np.maximum(block, LEAST_PROB))
        return scores


class _CrossValidated(Probe):
    """Logistic regression or ridge regression first, networks on the posteriors.

    Which of the two regressions is better depends on rows per feature; the labels tell. With few rows they
    cannot tell it from noise, so both are evidence, and so are class prototypes, which need the fewest rows.
    """

    def __init__(self, features: FloatArray, rows: Rows) -> None:
        self._features, self._rows = features, rows
        groups = rows.groups[rows.rows]
        # Group numbers follow the order of rows in the data set; number them anew in canonical order.
        _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
        rank = np.argsort(np.argsort(first))
        groups = np.where(groups >= 0, rank[inverse], -1)
        self._folds = assign_folds(rows.codes, groups, _N_FOLDS)

        self._own = np.eye(len(rows.classes), dtype=np.float32)[rows.codes]
        self._has_few_rows = has_few_rows(*self._own.shape)

    def from_given_labels(self) -> list[FloatArray]:
        ridge = _Ridge(self._features, self._rows).from_given_labels()
        return ridge if self._has_few_rows else [self._logistic(), *ridge]

    def further_evidence(self) -> dict[str, Callable[[], FloatArray]]:
        few: dict[str, Callable[[], FloatArray]] = {
            "prototypes": self._prototypes,
            "logistic": self._logistic,
        }
        return few if self._has_few_rows else {}

    def _logistic(self) -> FloatArray:
        regression = CrossValidatedLogistic(standardise(self._features[self._rows.rows]), self._folds)
        found: FloatArray = torch.log_softmax(regression.logits(self._own, "first round"), 1).numpy()
        return found

    def _prototypes(self) -> FloatArray:
        cosines = prototype_cosines(self._features[self._rows.rows], self._own, self._folds)
        probs = softmax_with_temperature(cosines, fit_temperature(cosines, self._rows.codes))
        found: FloatArray = np.log(np.maximum(probs, LEAST_PROB))
        return found

    def from_posteriors(self, targets: FloatArray) -> FloatArray:
        # Networks would learn single wrong labels by heart; posteriors have few of them left.
        rows = self._rows
        return mixup_mlp_probabilities(
            self._features[rows.rows], targets, self._folds, n_classes=len(rows.classes)
        )
