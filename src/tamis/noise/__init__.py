"""Planted label errors whose truth is known: one file a model.

Every model is a function ``labels, ... -> NoisyLabels``; a new one is a file here and a line below.
"""

from __future__ import annotations

from tamis.noise.noisy_labels import NoisyLabels
from tamis.noise.symmetric import symmetric

__all__ = ["NoisyLabels", "symmetric"]
