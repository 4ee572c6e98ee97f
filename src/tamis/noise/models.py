"""The list of noise models: each registers itself in its own file."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from tamis.registry import Registry

if TYPE_CHECKING:
    from tamis.noise.annotator_pool import AnnotatorPool
    from tamis.noise.noisy_labels import NoisyLabels

NoiseModel: TypeAlias = "Callable[..., NoisyLabels | AnnotatorPool]"
"""``model(labels, ..., random_state) -> NoisyLabels``; a crowd: ``AnnotatorPool``."""

NOISE_MODELS: Registry[NoiseModel] = Registry("noise model", package="tamis.noise")
"""Every noise model of the package, and of others through the entry point group ``tamis.noise``."""
