"""Random colours: jitter and grey."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from tamis.augment.color import (
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    greyscale,
)
from tamis.augment.images import per_sample, unit_floats
from tamis.augment.stages import Draws, check_probability, check_range

_ADJUST = (adjust_brightness, adjust_contrast, adjust_saturation, adjust_hue)
_ORDERS = tuple(itertools.permutations(range(len(_ADJUST))))


class Jitter(NamedTuple):
    """Parameters of a colour jitter, (B,) float each; the identity is (1, 1, 1, 0)."""

    brightness: Tensor
    contrast: Tensor
    saturation: Tensor
    hue: Tensor


def jittered(images: Tensor, jitter: Jitter, order: Sequence[int] = (0, 1, 2, 3)) -> Tensor:
    """Return images with brightness, contrast, saturation and hue changed, in the given order.

    Parameters
    ----------
    images : (B, C, H, W) float in 0..1, C 1 or 3
    jitter : Jitter
    order : sequence of int
        Positions in `Jitter`; those left out are not applied.

    Raises
    ------
    InputError
    """
    for position in order:
        images = _ADJUST[position](images, jitter[position])
    return images


def greyed(images: Tensor, is_grey: Tensor) -> Tensor:
    """Return images without colour where ``is_grey``, (B,) bool, says so; the number of channels stays."""
    return torch.where(per_sample("is_grey", is_grey, images), greyscale(images), images)


@dataclass(frozen=True)
class ColorJitter:
    """Changes brightness, contrast, saturation and hue of some images, in an order drawn for the step.

    Factors are uniform in ``1 - strength .. 1 + strength``, never below 0; the turn of the hue is uniform in
    ``-hue .. hue``. The usual implementations draw an order for each image; here all images of a step
    share one, so that each of the four is one operation on the batch.

    Parameters
    ----------
    brightness, contrast, saturation : float
        Strengths, at least 0.
    hue : float
        Share of the circle, 0 to 0.5.
    probability : float
        Share of the images that are changed.
    """

    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1
    probability: float = 0.8
    stream: str = "jitter"

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "saturation"):
            check_range(name, (0.0, getattr(self, name)), least=0, most=float("inf"))
        check_range("hue", (0.0, self.hue), least=0, most=0.5)
        check_probability("probability", self.probability)

    def __call__(self, inputs: Tensor, draws: Draws) -> Tensor:
        """Return (B, C, H, W) floats in 0..1."""
        jitter = self.drawn(draws.uniforms(5, self.stream))
        order = _ORDERS[int(draws.of_step(self.stream) * len(_ORDERS))]
        return jittered(unit_floats(inputs), jitter, order)

    def drawn(self, numbers: Tensor) -> Jitter:
        """Return the parameters that (B, 5) numbers in [0, 1) stand for."""
        is_changed = numbers[:, 0] < self.probability
        factors = []
        for position, strength in enumerate((self.brightness, self.contrast, self.saturation), start=1):
            low, high = max(0.0, 1 - strength), 1 + strength
            factors.append(torch.where(is_changed, low + (high - low) * numbers[:, position], 1.0))
        brightness, contrast, saturation = factors
        hue = torch.where(is_changed, self.hue * (2 * numbers[:, 4] - 1), 0.0)
        return Jitter(brightness, contrast, saturation, hue)


@dataclass(frozen=True)
class Grey:
    """Takes the colour out of some images.

    Parameters
    ----------
    probability : float
    """

    probability: float = 0.2
    stream: str = "grey"

    def __post_init__(self) -> None:
        check_probability("probability", self.probability)

    def __call__(self, inputs: Tensor, draws: Draws) -> Tensor:
        """Return (B, C, H, W) floats in 0..1."""
        return greyed(unit_floats(inputs), draws.uniforms(1, self.stream)[:, 0] < self.probability)
