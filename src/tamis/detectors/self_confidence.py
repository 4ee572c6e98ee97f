"""Suspicion: the model gives the given label a low probability."""

from __future__ import annotations

import torch

from tamis.detectors.base import DETECTORS, ProbabilityDetector, Verdict, most_likely
from tamis.registry import Facts
from tamis.statistics.label_quality import self_confidence


@DETECTORS.register(
    "self_confidence",
    Facts(
        title="Self-confidence",
        inputs=("pred_probs",),
        year=2021,
        paper="Northcutt, Jiang, Chuang: Confident Learning, JAIR 70",
    ),
)
class SelfConfidence(ProbabilityDetector):
    """Clean score = predicted probability of the given label.

    The plainest of the probability scores, and the best start. Not for classes that the model predicts with
    very different confidence: there, fit on `tamis.statistics.label_quality.adjust_probabilities`, or use
    `tamis.detectors.confident_joint.ConfidentJoint`.

    Attributes
    ----------
    clean_scores_ : (n,) float array in [0, 1]
        0 = surely wrong, 1 = surely right.
    suggested_labels_ : (n,) int array
        The most likely class.
    classes_ : (K,) int array

    References
    ----------
    .. [1] Northcutt, Jiang, Chuang. "Confident Learning: Estimating Uncertainty in Dataset Labels",
       JAIR 70, 2021.

    Examples
    --------
    >>> detector = SelfConfidence().fit([0, 1], [[0.75, 0.25], [0.875, 0.125]])
    >>> detector.clean_scores_, detector.suggested_labels_
    (array([0.75 , 0.125]), array([0, 0]))
    """

    def _assess(self, labels: torch.Tensor, pred_probs: torch.Tensor) -> Verdict:
        scores = self_confidence(labels, pred_probs)
        return Verdict(scores.cpu().numpy(), most_likely(labels, pred_probs))
