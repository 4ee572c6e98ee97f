"""Losses that resist wrong labels, usable in any PyTorch loop: ``loss(logits, labels, index=None)``."""

from __future__ import annotations

from tamis.losses.adaptive_margins import AdaptiveMargins, adaptive_margins, mapped_similarities
from tamis.losses.ahsml import AdaptiveHierarchicalSimilarityLoss
from tamis.losses.barlow_twins import BarlowTwinsLoss, barlow_twins_loss, cross_correlation
from tamis.losses.cbml import CBMLLoss, cbml_terms
from tamis.losses.co_teaching import CoTeachingLoss, CoTeachingLosses, co_teaching_losses
from tamis.losses.contrastive import ContrastiveLoss
from tamis.losses.darkrank import HardDarkRank, hard_darkrank_loss
from tamis.losses.early_learning import EarlyLearningLoss, early_learning_loss, early_learning_targets
from tamis.losses.early_learning_plus import (
    EarlyLearningPlusLoss,
    early_learning_plus_history,
    early_learning_plus_loss,
)
from tamis.losses.flip_attention import EraseAttentionConsistency, class_attention_maps, flip_consistency
from tamis.losses.generalized_cross_entropy import GeneralizedCrossEntropy, generalized_cross_entropy
from tamis.losses.iaa import IntraClassAugmentationLoss
from tamis.losses.iaa_contrastive import MarginContrastiveLoss
from tamis.losses.iaa_multi_similarity import MinedMultiSimilarityLoss
from tamis.losses.iaa_synthesis import Synthetics, synthesize
from tamis.losses.iaa_triplet import CosineTripletLoss, all_triplets
from tamis.losses.joint_training import JointLoss, JointTrainingLoss, joint_losses, joint_training_loss
from tamis.losses.metric import METRIC_LOSSES, MetricLoss, MetricLossName, make_metric_loss, takes_memory
from tamis.losses.mixmatch import (
    MixMatchLosses,
    linear_rampup,
    mixmatch_losses,
    negative_entropy,
    uniform_mean_penalty,
)
from tamis.losses.multi_similarity import MultiSimilarityLoss
from tamis.losses.pair_loss import PairLoss
from tamis.losses.procsim import ProxyConfidenceLoss
from tamis.losses.proxies import ProxyLoss, proxy_anchor, proxy_nca, proxy_parameters, soft_triple
from tamis.losses.proxy_confidence import language_guidance_loss, proxy_confidence, proxy_losses
from tamis.losses.relation_distillation import RelationDistillation
from tamis.losses.relation_weights import noise_emphasis, relation_ramp
from tamis.losses.rkd import RelationalKnowledgeDistillation
from tamis.losses.rkd_angle import rkd_angle_loss
from tamis.losses.rkd_distance import rkd_distance_loss
from tamis.losses.self_adaptive import SelfAdaptiveLoss, self_adaptive_loss, self_adaptive_targets
from tamis.losses.simsiam import SimSiamLoss, check_not_collapsed, feature_spread, simsiam_loss
from tamis.losses.soft_cross_entropy import soft_cross_entropy
from tamis.losses.symmetric_cross_entropy import SymmetricCrossEntropy, symmetric_cross_entropy
from tamis.losses.thresholded_contrastive import ThresholdedContrastiveLoss, thresholded_contrastive
from tamis.losses.truncated_cross_entropy import TruncatedCrossEntropy, truncated_cross_entropy

__all__ = [
    "METRIC_LOSSES",
    "AdaptiveHierarchicalSimilarityLoss",
    "AdaptiveMargins",
    "BarlowTwinsLoss",
    "CBMLLoss",
    "CoTeachingLoss",
    "CoTeachingLosses",
    "ContrastiveLoss",
    "CosineTripletLoss",
    "EarlyLearningLoss",
    "EarlyLearningPlusLoss",
    "EraseAttentionConsistency",
    "GeneralizedCrossEntropy",
    "HardDarkRank",
    "IntraClassAugmentationLoss",
    "JointLoss",
    "JointTrainingLoss",
    "MarginContrastiveLoss",
    "MetricLoss",
    "MetricLossName",
    "MinedMultiSimilarityLoss",
    "MixMatchLosses",
    "MultiSimilarityLoss",
    "PairLoss",
    "ProxyConfidenceLoss",
    "ProxyLoss",
    "RelationDistillation",
    "RelationalKnowledgeDistillation",
    "SelfAdaptiveLoss",
    "SimSiamLoss",
    "SymmetricCrossEntropy",
    "Synthetics",
    "ThresholdedContrastiveLoss",
    "TruncatedCrossEntropy",
    "adaptive_margins",
    "all_triplets",
    "barlow_twins_loss",
    "cbml_terms",
    "check_not_collapsed",
    "class_attention_maps",
    "co_teaching_losses",
    "cross_correlation",
    "early_learning_loss",
    "early_learning_plus_history",
    "early_learning_plus_loss",
    "early_learning_targets",
    "feature_spread",
    "flip_consistency",
    "generalized_cross_entropy",
    "hard_darkrank_loss",
    "joint_losses",
    "joint_training_loss",
    "language_guidance_loss",
    "linear_rampup",
    "make_metric_loss",
    "mapped_similarities",
    "mixmatch_losses",
    "negative_entropy",
    "noise_emphasis",
    "proxy_anchor",
    "proxy_confidence",
    "proxy_losses",
    "proxy_nca",
    "proxy_parameters",
    "relation_ramp",
    "rkd_angle_loss",
    "rkd_distance_loss",
    "self_adaptive_loss",
    "self_adaptive_targets",
    "simsiam_loss",
    "soft_cross_entropy",
    "soft_triple",
    "symmetric_cross_entropy",
    "synthesize",
    "takes_memory",
    "thresholded_contrastive",
    "truncated_cross_entropy",
    "uniform_mean_penalty",
]
