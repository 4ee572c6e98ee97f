"""Losses that resist wrong labels, usable in any PyTorch loop: ``loss(logits, labels, index=None)``."""

from __future__ import annotations

from tamis.losses.early_learning import EarlyLearningLoss, early_learning_loss, early_learning_targets
from tamis.losses.generalized_cross_entropy import GeneralizedCrossEntropy, generalized_cross_entropy

__all__ = [
    "EarlyLearningLoss",
    "GeneralizedCrossEntropy",
    "early_learning_loss",
    "early_learning_targets",
    "generalized_cross_entropy",
]
