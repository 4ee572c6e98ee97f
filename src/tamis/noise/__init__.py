"""Planted label errors whose truth is known: one file a model.

Every model is a function ``labels, ... -> NoisyLabels`` (a crowd: `AnnotatorPool`); `NOISE_MODELS` lists
them. A new one is a file here, registered in it, and a line below.
"""

from __future__ import annotations

from tamis.noise.annotator_pool import AnnotatorPool, annotator_pool
from tamis.noise.asymmetric import CIFAR10_MAPPING, MNIST_MAPPING, asymmetric
from tamis.noise.asymmetric_cifar100 import CIFAR100_FINE_TO_COARSE, asymmetric_cifar100
from tamis.noise.class_conditional import class_conditional
from tamis.noise.confusions import (
    adversary_confusions,
    one_coin_confusions,
    shared_confusions,
    spammer_confusions,
)
from tamis.noise.instance_dependent import (
    flip_rate_moments,
    flip_rates,
    instance_dependent,
    instance_dependent_probs,
)
from tamis.noise.models import NOISE_MODELS
from tamis.noise.noisy_labels import NoisyLabels
from tamis.noise.open_set import open_set, replace_inputs
from tamis.noise.pair_flip import pair_flip
from tamis.noise.semantic import semantic
from tamis.noise.semantic_similarity import semantic_similarity
from tamis.noise.small_cluster import small_cluster
from tamis.noise.symmetric import symmetric
from tamis.noise.transition import estimate_transition

__all__ = [
    "CIFAR10_MAPPING",
    "CIFAR100_FINE_TO_COARSE",
    "MNIST_MAPPING",
    "NOISE_MODELS",
    "AnnotatorPool",
    "NoisyLabels",
    "adversary_confusions",
    "annotator_pool",
    "asymmetric",
    "asymmetric_cifar100",
    "class_conditional",
    "estimate_transition",
    "flip_rate_moments",
    "flip_rates",
    "instance_dependent",
    "instance_dependent_probs",
    "one_coin_confusions",
    "open_set",
    "pair_flip",
    "replace_inputs",
    "semantic",
    "semantic_similarity",
    "shared_confusions",
    "small_cluster",
    "spammer_confusions",
    "symmetric",
]
