"""Noise on pixels and features, and features left out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tamis.augment.images import check_images, check_rows, per_sample, unit_floats
from tamis.augment.stages import Draws, check_probability, check_range
from tamis.errors import InputError


def with_pixel_noise(images: Tensor, noise: Tensor, scale: Tensor) -> Tensor:
    """Return ``images + scale * noise`` within 0..1.

    Parameters
    ----------
    images : (B, C, H, W) float in 0..1
    noise : (B, C, H, W) float
        Standard normal numbers.
    scale : (B,) float
        Standard deviation for each image.

    Raises
    ------
    InputError
    """
    check_images(images, floating=True)
    check_rows("noise", noise, images, *images.shape[1:])
    return (images + noise.to(images.dtype) * per_sample("scale", scale, images)).clamp_(0, 1)


def with_feature_noise(features: Tensor, noise: Tensor, scale: float, spread: Tensor | None = None) -> Tensor:
    """Return ``features + scale * spread * noise``.

    Parameters
    ----------
    features : (B, D) float
    noise : (B, D) float
        Standard normal numbers.
    scale : float
        Noise over signal.
    spread : (D,) float, optional
        Standard deviation of each feature; without it the root mean square of each row, so that noise
        grows with a row's length and needs no pass over the data.

    Raises
    ------
    InputError

    Examples
    --------
    >>> with_feature_noise(torch.tensor([[3.0, 3.0]]), torch.tensor([[1.0, -1.0]]), 0.1)
    tensor([[3.3000, 2.7000]])
    """
    check_features(features)
    check_rows("noise", noise, features, features.shape[1])
    if spread is None:
        unit = features.square().mean(1, keepdim=True).sqrt()
    elif tuple(spread.shape) == (features.shape[1],):
        unit = spread.to(features)
    else:
        raise InputError(f"spread has shape {tuple(spread.shape)}; expected ({features.shape[1]},)")
    return features + scale * unit * noise.to(features.dtype)


def with_features_dropped(features: Tensor, is_dropped: Tensor, rate: float) -> Tensor:
    """Return features, (B, D) float, with 0 where ``is_dropped`` and the others divided by ``1 - rate``."""
    check_features(features)
    check_rows("is_dropped", is_dropped, features, features.shape[1])
    return (features / (1 - rate)).masked_fill(is_dropped, 0)


def check_features(features: Tensor) -> None:
    """Refuse anything but (B, D) floats."""
    if features.ndim != 2 or not features.is_floating_point():
        shape = tuple(features.shape)
        raise InputError(f"features has shape {shape} and dtype {features.dtype}; expected (B, D) floats")


@dataclass(frozen=True)
class PixelNoise:
    """Adds Gaussian noise to every pixel of some images.

    Parameters
    ----------
    scale : float
        Standard deviation where black is 0 and white is 1.
    probability : float
    """

    scale: float
    probability: float = 0.5
    stream: str = "pixel noise"

    def __post_init__(self) -> None:
        check_range("scale", (0.0, self.scale), least=0, most=float("inf"))
        check_probability("probability", self.probability)

    def __call__(self, inputs: Tensor, draws: Draws) -> Tensor:
        """Return (B, C, H, W) floats in 0..1."""
        images = unit_floats(inputs)
        is_noisy = draws.uniforms(1, f"{self.stream} chosen")[:, 0] < self.probability
        noise = draws.normals(images[0].numel() if len(images) else 0, self.stream).view(images.shape)
        return with_pixel_noise(images, noise, torch.where(is_noisy, self.scale, 0.0))


@dataclass(frozen=True, eq=False)
class FeatureNoise:
    """Adds Gaussian noise to features.

    Parameters
    ----------
    scale : float
        Noise over signal.
    spread : (D,) float, optional
        Standard deviation of each feature; the root mean square of a row where None.
    """

    scale: float = 0.1
    spread: Tensor | None = None
    stream: str = "feature noise"

    def __post_init__(self) -> None:
        check_range("scale", (0.0, self.scale), least=0, most=float("inf"))

    def __call__(self, inputs: Tensor, draws: Draws) -> Tensor:
        """Return (B, D) features."""
        check_features(inputs)
        noise = draws.normals(inputs.shape[1], self.stream)
        return with_feature_noise(inputs, noise, self.scale, self.spread)


@dataclass(frozen=True)
class FeatureDropout:
    """Leaves out some features and makes the others larger, so that the expectation stays.

    Parameters
    ----------
    rate : float
        Share left out, below 1.
    """

    rate: float = 0.2
    stream: str = "feature dropout"

    def __post_init__(self) -> None:
        if not 0 <= self.rate < 1:
            raise InputError(f"rate is {self.rate!r}; expected a share from 0 to below 1")

    def __call__(self, inputs: Tensor, draws: Draws) -> Tensor:
        """Return (B, D) features."""
        check_features(inputs)
        return with_features_dropped(
            inputs, draws.uniforms(inputs.shape[1], self.stream) < self.rate, self.rate
        )
