"""Suspicion: a linear model that has not seen the sample says another label."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from tamis.detectors.base import DETECTORS, FeatureDetector, Verdict, most_likely
from tamis.detectors.canonical_order import canonical_order
from tamis.registry import Facts
from tamis.statistics.ridge import leave_one_out_ridge
from tamis.statistics.temperature import fit_temperature, softmax_with_temperature
from tamis.types import FloatArray, IntArray


@DETECTORS.register(
    "leave_one_out_ridge",
    Facts(
        title="Leave-one-out ridge regression",
        inputs=("features",),
        year=1982,
        paper="Cook, Weisberg: Residuals and Influence in Regression, Chapman and Hall",
    ),
)
class LeaveOneOutRidge(FeatureDetector):
    """Clean score = calibrated probability of the given label by a ridge regression without the row.

    Every row is predicted by a model fitted on all others, in closed form; copies of a sample (equal
    features) are left out with it. A temperature fitted to the given labels turns the scores into
    probabilities. Two passes over the rows: for data too large for anything iterative. Where time allows, a
    cross-validated logistic regression or MLP ranks better.

    Parameters
    ----------
    l2 : float or "auto", default="auto"
        Penalty per row on standardised features, at least 1e-10; "auto" takes the one with the least
        generalised cross-validation error.
    memory_budget : str, int or None, default="2GiB"
        Memory for the sums and blocks beside the features.

    Attributes
    ----------
    clean_scores_ : (n,) float64 array in [0, 1]
        0 = surely another label, 1 = surely the given one; as good as the given labels, whose errors count
        as right in the calibration.
    suggested_labels_ : (n,) array in the type of ``y``
        The most probable label.
    pred_probs_ : (n, K) float32 array
        Probabilities of all labels, out of sample; rows sum to 1.
    classes_ : (K,) array
    n_features_in_ : int

    References
    ----------
    .. [1] R. D. Cook, S. Weisberg. "Residuals and Influence in Regression", 1982, section 2.2.

    Examples
    --------
    >>> X = [[0.0], [0.1], [0.2], [0.3], [1.0], [1.1], [1.2], [0.15]]
    >>> detector = LeaveOneOutRidge().fit(X, ["cat", "cat", "cat", "cat", "dog", "dog", "dog", "dog"])
    >>> detector.clean_scores_.argmin(), detector.suggested_labels_[7]
    (np.int64(7), np.str_('cat'))
    """

    pred_probs_: FloatArray

    def __init__(
        self, *, l2: float | Literal["auto"] = "auto", memory_budget: str | int | None = "2GiB"
    ) -> None:
        self.l2 = l2
        self.memory_budget = memory_budget

    def _assess(self, features: FloatArray, labels: IntArray, n_classes: int) -> Verdict:
        order = canonical_order(features, labels, n_classes)
        scores = leave_one_out_ridge(
            features, labels, n_classes, l2=self.l2, groups=order.copies(), memory_budget=self.memory_budget
        )
        # Content decides which rows of many the calibration takes, not their order.
        temperature = fit_temperature(scores[order.rows], labels[order.rows])
        self.pred_probs_ = softmax_with_temperature(scores, temperature)
        own = self.pred_probs_[np.arange(len(labels)), labels].astype(np.float64)
        return Verdict(own, most_likely(torch.from_numpy(labels), torch.from_numpy(self.pred_probs_)))
