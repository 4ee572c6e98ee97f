"""A second opinion: an audit's evidence and what a trained method believes, weighed together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tamis.auditing.audit import audit
from tamis.auditing.result import Audit
from tamis.data import Dataset
from tamis.types import FloatArray

_LEAST = 1e-6


@dataclass(frozen=True)
class Opinion:
    """What a trained method believes about the labels of a data set.

    Attributes
    ----------
    name : str
        Of the method; the issue table gets a column of this name.
    beliefs : (n, K) float32 array
        Class probabilities, rows in data-set order.
    clean_scores : (n,) float64 array
        Any monotone scale, higher = cleaner; NaN where it says nothing.
    """

    name: str
    beliefs: FloatArray
    clean_scores: FloatArray


def with_opinion(dataset: Dataset, evidence: Audit | None, opinion: Opinion) -> Audit:
    """Return the audit with a method's opinion weighed in; without an audit, the method's opinion alone."""
    if evidence is not None:
        return evidence
    beliefs = np.maximum(opinion.beliefs.astype(np.float64), _LEAST)
    beliefs /= beliefs.sum(axis=1, keepdims=True)
    return audit(
        pred_probs=beliefs,
        labels=[None if code < 0 else code for code in dataset.label_codes.tolist()],
        class_names=list(range(len(dataset.class_names))),
        out_of_sample=True,
    )
