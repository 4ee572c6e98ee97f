"""Suspicion: the model is unsure about the row, and least of all sure of the given label."""

from __future__ import annotations

import torch

from tamis.detectors.base import DETECTORS, ProbabilityDetector, Verdict, most_likely
from tamis.registry import Facts
from tamis.statistics.label_quality import confidence_weighted_entropy


@DETECTORS.register(
    "confidence_weighted_entropy",
    Facts(
        title="Confidence-weighted entropy",
        inputs=("pred_probs",),
        year=2022,
        paper="Kuan, Mueller: Model-agnostic label quality scoring, ICML DataPerf workshop",
    ),
)
class ConfidenceWeightedEntropy(ProbabilityDetector):
    """Clean score that falls with the entropy of the prediction divided by the given label's probability.

    Also suspects rows on which the model is merely unsure. Not for a model whose confidence says little,
    such as a network trained to near-zero loss.

    Attributes
    ----------
    clean_scores_ : (n,) float array in [0, 1]
        0 = surely wrong, 1 = surely right.
    suggested_labels_ : (n,) int array
        The most likely class.
    classes_ : (K,) int array

    Notes
    -----
    A fully confident prediction of the given label scores 1; the reference implementation gives it 0. See
    `tamis.statistics.label_quality.confidence_weighted_entropy`.

    References
    ----------
    .. [1] Kuan, Mueller. "Model-agnostic label quality scoring to detect real-world label errors",
       ICML DataPerf workshop, 2022.

    Examples
    --------
    >>> detector = ConfidenceWeightedEntropy().fit([0, 0], [[1.0, 0.0], [0.5, 0.5]])
    >>> detector.clean_scores_.round(3)
    array([1.   , 0.549])
    """

    def _assess(self, labels: torch.Tensor, pred_probs: torch.Tensor) -> Verdict:
        scores = confidence_weighted_entropy(labels, pred_probs)
        return Verdict(scores.cpu().numpy(), most_likely(labels, pred_probs))
