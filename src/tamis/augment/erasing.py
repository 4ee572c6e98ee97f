"""Rectangles that are filled: random erasing and cutout."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tamis.augment.images import check_images, check_rows
from tamis.augment.separable import box_sides
from tamis.augment.stages import Draws, check_probability, check_range
from tamis.errors import InputError

_ATTEMPTS = 10


def erased(images: Tensor, boxes: Tensor, *, fill: float = 0.0) -> Tensor:
    """Return images with a filled rectangle each.

    Parameters
    ----------
    images : (B, C, H, W) uint8 or float
    boxes : (B, 4) int64
        Top, left, height, width; parts outside the image count for nothing, and neither does a box of
        height or width 0.
    fill : float
        Value of every channel there.

    Returns
    -------
    (B, C, H, W), dtype and memory layout of ``images``

    Raises
    ------
    InputError

    References
    ----------
    .. [1] Zhong, Zheng, Kang, Li, Yang. Random erasing data augmentation. AAAI 2020.
    .. [2] DeVries, Taylor. Improved regularization of convolutional neural networks with cutout. 2017.

    Examples
    --------
    >>> erased(torch.ones(1, 1, 2, 3), torch.tensor([[0, 1, 1, 2]]))
    tensor([[[[1., 0., 0.],
              [1., 1., 1.]]]])
    """
    check_images(images)
    check_rows("boxes", boxes, images, 4)
    top, left, height, width = boxes[:, :, None].unbind(1)  # (B, 1)
    rows = torch.arange(images.shape[2], device=images.device)
    columns = torch.arange(images.shape[3], device=images.device)
    in_rows = (rows >= top) & (rows < top + height)  # (B, H)
    in_columns = (columns >= left) & (columns < left + width)  # (B, W)
    is_filled = (in_rows[:, :, None] & in_columns[:, None, :])[:, None]  # (B, 1, H, W)
    return torch.where(is_filled, fill if images.is_floating_point() else int(fill), images)


def erasing_boxes(
    numbers: Tensor, size: tuple[int, int], *, area: tuple[float, float], ratio: tuple[float, float]
) -> Tensor:
    """Return boxes of a random share of the area and a random aspect ratio, at a random place.

    Of the attempts, the first that is lower and narrower than the image counts. If none is, the box is
    empty and nothing is erased.

    Parameters
    ----------
    numbers : (B, 2 * attempts + 2) float in [0, 1)
        For each attempt the area and the ratio, then the place.
    size : (height, width)
        Of the image.
    area : (low, high)
        Shares of the image's area, uniform.
    ratio : (low, high)
        Height over width; its logarithm is uniform.

    Returns
    -------
    (B, 4) int64 top, left, height, width
    """
    height, width = size
    # The ratio is height over width here, so the two sides change places.
    attempts = numbers[:, :-2].reshape(len(numbers), (numbers.shape[1] - 2) // 2, 2).double()
    widths, heights = box_sides(attempts, size, area, ratio)
    fits = (heights < height) & (widths < width)
    first = fits.to(torch.int64).argmax(1, keepdim=True)
    any_fits = fits.any(1).to(torch.int64)
    sides = torch.cat((heights.gather(1, first), widths.gather(1, first)), dim=1) * any_fits[:, None]
    room = torch.tensor(size, device=numbers.device) - sides + 1
    places = (numbers[:, -2:].double() * room).long()
    return torch.cat((places, sides), dim=1)


@dataclass(frozen=True)
class RandomErasing:
    """Fills a random rectangle of some images. Place it behind `Normalize` so that 0 is the mean colour.

    Parameters
    ----------
    probability : float
    area : (low, high)
        Share of the image.
    ratio : (low, high)
        Height over width.
    fill : float
    """

    probability: float = 0.5
    area: tuple[float, float] = (0.02, 0.25)
    ratio: tuple[float, float] = (0.3, 3.3)
    fill: float = 0.0
    stream: str = "erase"

    def __post_init__(self) -> None:
        check_probability("probability", self.probability)
        check_range("area", self.area, least=0, most=1)
        check_range("ratio", self.ratio, least=1e-3, most=1e3)

    def __call__(self, inputs: Tensor, draws: Draws) -> Tensor:
        """Return (B, C, H, W) images."""
        check_images(inputs)
        size = (inputs.shape[2], inputs.shape[3])
        numbers = draws.uniforms(2 * _ATTEMPTS + 3, self.stream)
        boxes = erasing_boxes(numbers[:, 1:], size, area=self.area, ratio=self.ratio)
        is_erased = numbers[:, :1] < self.probability
        return erased(inputs, boxes * is_erased, fill=self.fill)


@dataclass(frozen=True)
class Cutout:
    """Fills a square around a random pixel; at the border a part of it lies outside.

    Parameters
    ----------
    side : int, optional
        Pixels; half of the shorter side of the image, at least 1, where None.
    probability : float
    fill : float
    """

    side: int | None = None
    probability: float = 1.0
    fill: float = 0.0
    stream: str = "cutout"

    def __post_init__(self) -> None:
        check_probability("probability", self.probability)
        if self.side is not None and self.side < 0:
            raise InputError(f"side is {self.side}; expected pixels, at least 0")

    def __call__(self, inputs: Tensor, draws: Draws) -> Tensor:
        """Return (B, C, H, W) images."""
        check_images(inputs)
        height, width = inputs.shape[2:]
        side = max(1, min(height, width) // 2) if self.side is None else self.side
        numbers = draws.uniforms(3, self.stream).double()
        top = (numbers[:, 0] * height).long() - side // 2
        left = (numbers[:, 1] * width).long() - side // 2
        sides = torch.where(numbers[:, 2] < self.probability, side, 0)
        return erased(inputs, torch.stack((top, left, sides, sides), dim=1), fill=self.fill)
