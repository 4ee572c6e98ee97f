"""Suspicion: a linear probe must change a lot before it agrees with the given label."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from tamis.detectors.base import DETECTORS, FeatureDetector, Verdict
from tamis.detectors.canonical_order import CanonicalOrder, canonical_order
from tamis.errors import InputError
from tamis.registry import Facts
from tamis.statistics.folds import assign_folds
from tamis.statistics.least_disagree import least_disagree_metric
from tamis.statistics.ridge_fit import RidgeFit
from tamis.statistics.ridge_sums import RidgeSums
from tamis.types import FloatArray, IntArray

_N_FOLDS = 5
_BLOCK_ROWS = 8192


@DETECTORS.register(
    "least_disagree_metric",
    Facts(
        title="Least disagree metric",
        inputs=("features",),
        year=2024,
        paper="Cho, Kim, Lee, Shin, Yoo: Querying Easily Flip-flopped Samples for Deep Active Learning, ICLR",
    ),
)
class LeastDisagreeMetric(FeatureDetector):
    """Clean score = how much a linear probe must change until it leaves, or joins, the given label.

    A ridge regression that has not seen the row predicts its label. If the prediction is the given label, the
    score is the least disagree metric: the smallest share of other predictions that change when the row's
    flips. If not, it is minus the smallest share that change until the given label is predicted. For choosing
    what a person checks next, `tamis.statistics.least_disagree_batch.ldm_batch` takes `ldm_`.

    Parameters
    ----------
    l2 : float or "auto", default="auto"
        Penalty of the ridge regression per row on standardised features.
    n_reference : int, default=1000
        Rows on which change is measured, at least 1; scores are multiples of 1 / n_reference.
    patience : int, default=10
        A scale of noise ends after so many draws in a row that lowered no value.
    max_draws : int or None, default=50
        It also ends after so many draws; None = as published, which is long with many rows.
    random_state : int, default=0
    memory_budget : str, int or None, default="2GiB"
        Memory for blocks beside the features.

    Attributes
    ----------
    clean_scores_ : (n,) float64 array in [-1, 1]
        -1 = surely another label, 0 = on the boundary, 1 = surely the given one.
    ldm_ : (n,) float64 array in [0, 1]
        The least disagree metric of the prediction, whatever the given label; small = easily flipped.
    suggested_labels_ : (n,) array in the type of ``y``
        The predicted label.
    classes_ : (K,) array
    n_features_in_ : int

    Notes
    -----
    The paper scores predictions to choose what to label; the sign and the use of the given label are ours.

    References
    ----------
    .. [1] Cho, Kim, Lee, Shin, Yoo. "Querying Easily Flip-flopped Samples for Deep Active Learning",
       ICLR 2024.

    Examples
    --------
    >>> X = [[0.0], [0.1], [0.2], [0.3], [1.0], [1.1], [1.2], [0.15]]
    >>> detector = LeastDisagreeMetric().fit(X, ["cat", "cat", "cat", "cat", "dog", "dog", "dog", "dog"])
    >>> detector.clean_scores_.argmin(), detector.suggested_labels_[7]
    (np.int64(7), np.str_('cat'))
    """

    ldm_: FloatArray

    def __init__(
        self,
        *,
        l2: float | Literal["auto"] = "auto",
        n_reference: int = 1000,
        patience: int = 10,
        max_draws: int | None = 50,
        random_state: int = 0,
        memory_budget: str | int | None = "2GiB",
    ) -> None:
        self.l2 = l2
        self.n_reference = n_reference
        self.patience = patience
        self.max_draws = max_draws
        self.random_state = random_state
        self.memory_budget = memory_budget

    def _assess(self, features: FloatArray, labels: IntArray, n_classes: int) -> Verdict:
        if (
            isinstance(self.n_reference, bool)
            or not isinstance(self.n_reference, int)
            or self.n_reference < 1
        ):
            raise InputError(f"n_reference is {self.n_reference!r}; expected a whole number of at least 1")
        scores, suggested, self.ldm_ = np.ones(len(labels)), labels.copy(), np.ones(len(labels))
        if n_classes == 1:
            return Verdict(scores, suggested)
        order = canonical_order(features, labels, n_classes)
        classes = order.classes
        # The first rows by content hash are a random sample that does not depend on the order of rows.
        reference = features[order.rows[: self.n_reference]]
        rank = np.argsort(classes)
        for rows, probe in self._probes(features, labels, n_classes, _folds(labels, order)):
            head = _Head.of(probe, classes, features.dtype)
            pool, others, wanted = (
                head.standardised(features[rows]),
                head.standardised(reference),
                rank[labels[rows]],
            )
            self.ldm_[rows] = self._disagreement(head, pool, others, None)
            predicted = head.predict(pool)
            differs = predicted != wanted
            scores[rows] = self.ldm_[rows]
            scores[rows[differs]] = -self._disagreement(head, pool[differs], others, wanted[differs])
            suggested[rows] = classes[predicted]
        return Verdict(scores, suggested)

    def _probes(
        self, features: FloatArray, labels: IntArray, n_classes: int, folds: IntArray
    ) -> Iterator[tuple[IntArray, RidgeFit]]:
        """Yield the rows of each fold and the ridge regression fitted on the other folds."""
        parts = []
        for fold in range(_N_FOLDS):
            rows = np.flatnonzero(folds == fold)
            sums = RidgeSums(features.shape[1], n_classes)
            for block in np.array_split(rows, max(1, len(rows) // _BLOCK_ROWS)):
                sums.partial_fit(features[block], labels[block])
            parts.append((rows, sums))
        total = RidgeSums(features.shape[1], n_classes)
        for _, sums in parts:
            total.merge(sums)
        for rows, sums in parts:
            if len(rows):
                # Copies of one row share a fold: where there is nothing else, nothing can be held out.
                rest = total if len(rows) == len(labels) else total.without(sums)
                yield rows, rest.solve(self.l2)

    def _disagreement(
        self, head: _Head, pool: FloatArray, reference: FloatArray, wanted: IntArray | None
    ) -> FloatArray:
        return least_disagree_metric(
            head.weight,
            head.bias,
            pool,
            reference,
            labels=wanted,
            patience=self.patience,
            max_draws=self.max_draws,
            random_state=self.random_state,
            memory_budget=self.memory_budget,
        ).values


def _folds(labels: IntArray, order: CanonicalOrder) -> IntArray:
    """Return (n,) folds; copies of a row share one, so that none vouches for another."""
    folds = np.empty(len(labels), dtype=np.int64)
    folds[order.rows] = assign_folds(labels[order.rows], order.copies()[order.rows], _N_FOLDS)
    return folds


class _Head(NamedTuple):
    """A ridge regression as the last layer on standardised features, classes in canonical order."""

    weight: FloatArray  # (d, K)
    bias: FloatArray  # (K,)
    mean: FloatArray  # (d,)
    scale: FloatArray  # (d,), 0 for constant columns

    @classmethod
    def of(cls, probe: RidgeFit, classes: IntArray, kind: npt.DTypeLike) -> _Head:
        scale = probe.scale.numpy()
        weight = probe.weights.numpy()[:, classes] / np.where(scale > 0, scale, 1.0)[:, None]
        bias = probe.target_mean.numpy()[classes]
        return cls(weight.astype(kind), bias.astype(kind), probe.feature_mean.numpy(), scale)

    def standardised(self, rows: FloatArray) -> FloatArray:
        values: FloatArray = ((rows - self.mean) * self.scale).astype(self.weight.dtype)
        return values

    def predict(self, pool: FloatArray) -> IntArray:
        codes: IntArray = (pool @ self.weight + self.bias).argmax(axis=1)
        return codes
