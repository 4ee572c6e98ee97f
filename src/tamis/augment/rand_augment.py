"""RandAugment: a few operations of equal strength, drawn from fourteen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from tamis.augment.affine import affine, shears, shifts, turns
from tamis.augment.color import adjust_brightness, adjust_contrast, adjust_saturation
from tamis.augment.images import check_images, check_rows, unit_floats
from tamis.augment.stages import Draws, check_range
from tamis.augment.tones import autocontrasted, equalized, posterized, sharpened, solarized
from tamis.errors import InputError

Operation: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""(b, C, H, W) floats in 0..1 and (b,) signed strengths in -1..1 -> (b, C, H, W)."""

_SHEAR = 0.3
_SHIFT = 150 / 331
"""Share of the side: the published 150 pixels of 331."""

_DEGREES = 30.0
_FACTOR = 0.9
_BITS = 4


def _equal_sides(images: Tensor, strength: Tensor, side: int) -> Tensor:
    return strength * (_SHIFT * images.shape[side])


OPERATIONS: dict[str, Operation] = {
    "identity": lambda images, strength: images,
    "autocontrast": lambda images, strength: autocontrasted(images),
    "equalize": lambda images, strength: equalized(images),
    "rotate": lambda images, strength: affine(images, turns(_DEGREES * strength)),
    "solarize": lambda images, strength: solarized(images, 1 - strength.abs()),
    "color": lambda images, strength: adjust_saturation(images, 1 + _FACTOR * strength),
    "posterize": lambda images, strength: posterized(images, 8 - (_BITS * strength.abs()).round()),
    "contrast": lambda images, strength: adjust_contrast(images, 1 + _FACTOR * strength),
    "brightness": lambda images, strength: adjust_brightness(images, 1 + _FACTOR * strength),
    "sharpness": lambda images, strength: sharpened(images, 1 + _FACTOR * strength),
    "shear_x": lambda images, strength: affine(images, shears(_SHEAR * strength, 0 * strength)),
    "shear_y": lambda images, strength: affine(images, shears(0 * strength, _SHEAR * strength)),
    "translate_x": lambda images, strength: affine(
        images, shifts(_equal_sides(images, strength, 3), 0 * strength)
    ),
    "translate_y": lambda images, strength: affine(
        images, shifts(0 * strength, _equal_sides(images, strength, 2))
    ),
}
"""The operations of RandAugment by name, in the order their numbers mean."""


def with_operations(images: Tensor, chosen: Tensor, strengths: Tensor) -> Tensor:
    """Return each image after its own operations.

    Parameters
    ----------
    images : (B, C, H, W) float in 0..1, C 1 or 3
    chosen : (B, n) int64
        Numbers of operations, in the order of `OPERATIONS`, applied from left to right.
    strengths : (B, n) float
        -1 to 1; operations without a direction take the absolute value.

    Returns
    -------
    (B, C, H, W), dtype of ``images``

    Raises
    ------
    InputError

    Notes
    -----
    Images of one operation are taken together, so the host waits once for their counts.

    References
    ----------
    .. [1] Cubuk, Zoph, Shlens, Le. RandAugment: practical automated data augmentation with a reduced search
       space. NeurIPS 2020.
    """
    check_images(images, floating=True, channels=(1, 3))
    check_rows("chosen", chosen, images, chosen.shape[-1])
    check_rows("strengths", strengths, images, chosen.shape[-1])
    numbers = torch.arange(len(OPERATIONS), device=chosen.device)
    counts = (chosen[:, :, None] == numbers).sum(0).tolist()  # per layer, per operation
    for layer, sizes in enumerate(counts):
        order = chosen[:, layer].argsort(stable=True)
        parts = zip(
            torch.split(images[order], sizes), torch.split(strengths[order, layer], sizes), strict=True
        )
        changed = [
            operation(part, strength)
            for operation, (part, strength) in zip(OPERATIONS.values(), parts, strict=True)
            if len(part)
        ]
        images = torch.cat(changed)[order.argsort()] if changed else images
    return images


@dataclass(frozen=True)
class RandAugment:
    """Applies ``n_operations`` drawn operations of one strength to each image.

    Parameters
    ----------
    n_operations : int
        At least 0; an operation may be drawn twice.
    magnitude : float
        0 to 1; the published scale from 0 to 30 divided by 30. Directions are drawn.
    """

    n_operations: int = 2
    magnitude: float = 1 / 3
    stream: str = "rand augment"

    def __post_init__(self) -> None:
        check_range("magnitude", (0.0, self.magnitude), least=0, most=1)
        if self.n_operations < 0:
            raise InputError(f"n_operations is {self.n_operations}; expected at least 0")

    def __call__(self, inputs: Tensor, draws: Draws) -> Tensor:
        """Return (B, C, H, W) floats in 0..1."""
        numbers = draws.uniforms(2 * self.n_operations, self.stream)
        choice, direction = numbers[:, : self.n_operations], numbers[:, self.n_operations :]
        chosen = (choice * len(OPERATIONS)).long()
        strengths = torch.where(direction < 0.5, self.magnitude, -self.magnitude)
        return with_operations(unit_floats(inputs), chosen, strengths)
