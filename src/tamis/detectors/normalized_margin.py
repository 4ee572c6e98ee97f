"""Suspicion: another class is more likely than the given label."""

from __future__ import annotations

import torch

from tamis.detectors.base import DETECTORS, ProbabilityDetector, Verdict, most_likely
from tamis.registry import Facts
from tamis.statistics.label_quality import normalized_margin


@DETECTORS.register(
    "normalized_margin",
    Facts(
        title="Normalised margin",
        inputs=("pred_probs",),
        year=2021,
        paper="Northcutt, Jiang, Chuang: Confident Learning, JAIR 70",
    ),
)
class NormalizedMargin(ProbabilityDetector):
    """Clean score = margin of the given label over the most likely other class, mapped to [0, 1].

    Prefers rows where one other class clearly wins. Not for data with many similar classes and few wrong
    labels: a probability spread over several classes near the given one is then hardly suspected.

    Attributes
    ----------
    clean_scores_ : (n,) float array in [0, 1]
        0 = surely wrong, 1/2 = another class is as likely, 1 = surely right.
    suggested_labels_ : (n,) int array
        The most likely class.
    classes_ : (K,) int array

    References
    ----------
    .. [1] Northcutt, Jiang, Chuang. "Confident Learning: Estimating Uncertainty in Dataset Labels",
       JAIR 70, 2021.

    Examples
    --------
    >>> detector = NormalizedMargin().fit([0, 1], [[0.5, 0.25, 0.25], [0.5, 0.25, 0.25]])
    >>> detector.clean_scores_, detector.suggested_labels_
    (array([0.625, 0.375]), array([0, 0]))
    """

    def _assess(self, labels: torch.Tensor, pred_probs: torch.Tensor) -> Verdict:
        scores = normalized_margin(labels, pred_probs)
        return Verdict(scores.cpu().numpy(), most_likely(labels, pred_probs))
