"""Losses that resist wrong labels, usable in any PyTorch loop: ``loss(logits, labels, index=None)``."""

from __future__ import annotations

from tamis.losses.early_learning import EarlyLearningLoss, early_learning_loss, early_learning_targets
from tamis.losses.flip_attention import EraseAttentionConsistency, class_attention_maps, flip_consistency
from tamis.losses.generalized_cross_entropy import GeneralizedCrossEntropy, generalized_cross_entropy
from tamis.losses.relation_distillation import RelationDistillation
from tamis.losses.relation_weights import noise_emphasis, relation_ramp
from tamis.losses.simsiam import SimSiamLoss, check_not_collapsed, feature_spread, simsiam_loss

__all__ = [
    "EarlyLearningLoss",
    "EraseAttentionConsistency",
    "GeneralizedCrossEntropy",
    "RelationDistillation",
    "SimSiamLoss",
    "check_not_collapsed",
    "class_attention_maps",
    "early_learning_loss",
    "early_learning_targets",
    "feature_spread",
    "flip_consistency",
    "generalized_cross_entropy",
    "noise_emphasis",
    "relation_ramp",
    "simsiam_loss",
]
