"""Resizing and blurring: along the columns, then along the rows, by a small matrix for each sample."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tamis.augment.images import check_images, check_rows, unit_floats
from tamis.augment.stages import Draws, check_probability, check_range
from tamis.errors import InputError

_ATTEMPTS = 10
"""Boxes tried for a crop, as in the usual implementations."""


def resized_crop(images: Tensor, boxes: Tensor, size: tuple[int, int], is_mirrored: Tensor) -> Tensor:
    """Return boxes of the images resized to ``size`` (bilinear, antialiased), then mirrored.

    Parameters
    ----------
    images : (B, C, H, W) float
    boxes : (B, 4) int64
        Top, left, height, width; inside the image and at least one pixel high and wide.
    size : (height, width)
    is_mirrored : (B,) bool

    Returns
    -------
    (B, C, *size), dtype of ``images``; half precision is computed in float32

    Raises
    ------
    InputError

    Examples
    --------
    >>> row = torch.tensor([[[[1.0, 2.0, 3.0, 5.0]]]])
    >>> resized_crop(row, torch.tensor([[0, 2, 1, 2]]), (1, 4), torch.tensor([False]))
    tensor([[[[3.0000, 3.5000, 4.5000, 5.0000]]]])
    """
    check_images(images, floating=True)
    check_rows("boxes", boxes, images, 4)
    check_rows("is_mirrored", is_mirrored, images)
    if min(size) < 1:
        raise InputError(f"size is {size}; expected a height and a width of at least 1")
    top, left, height, width = boxes.to(_dtype(images)).unbind(1)
    rows = _resizing(top, height, images.shape[2], size[0])
    columns = _resizing(left, width, images.shape[3], size[1])
    return along_both(images, rows, torch.where(is_mirrored[:, None, None], columns.flip(1), columns))


def gaussian_blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Return blurred images; beyond the edge nothing is averaged in.

    Parameters
    ----------
    images : (B, C, H, W) float
    sigma : (B,) float
        Standard deviation in pixels, at least 0; 0 leaves an image as it is.

    Returns
    -------
    (B, C, H, W), dtype of ``images``

    Raises
    ------
    InputError
    """
    check_images(images, floating=True)
    check_rows("sigma", sigma, images)
    sigma = sigma.to(_dtype(images))
    height, width = images.shape[2:]
    rows = _blurring(sigma, height)
    return along_both(images, rows, rows if height == width else _blurring(sigma, width))


def along_both(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return ``rows[b] @ images[b, c] @ columns[b].T``, (B, C, H', W').

    Parameters
    ----------
    images : (B, C, H, W) float
    rows : (B, H', H) float
    columns : (B, W', W) float
    """
    n_images, n_channels, height, width = images.shape
    # Under autocast the products would be taken in half precision.
    with torch.autocast(images.device.type, enabled=False):
        values = images.to(rows.dtype).reshape(n_images, n_channels * height, width)
        values = torch.bmm(values, columns.transpose(1, 2))
        values = values.view(n_images, n_channels, height, columns.shape[1])
        return (rows[:, None] @ values).to(images.dtype)


def _dtype(images: Tensor) -> torch.dtype:
    return torch.promote_types(images.dtype, torch.float32)


def _resizing(start: Tensor, length: Tensor, size: int, wanted: int) -> Tensor:
    """Return (B, wanted, size) weights: each wanted pixel is a mean of the box's pixels around its centre."""
    step = (length / wanted)[:, None, None]
    places = torch.arange(size, device=start.device) - start[:, None, None] + 0.5  # (B, 1, size), in the box
    centres = (torch.arange(wanted, device=start.device)[:, None] + 0.5) * step  # (B, wanted, 1)
    weights = (1 - (places - centres).abs() / step.clamp_min(1)).clamp_min(0)
    weights = weights * ((places > 0) & (places < length[:, None, None]))
    return weights / weights.sum(2, keepdim=True)


def _blurring(sigma: Tensor, size: int) -> Tensor:
    """Return (B, size, size) weights of a Gaussian; rows sum to 1."""
    places = torch.arange(size, device=sigma.device, dtype=sigma.dtype)
    # The smallest sigma that changes nothing keeps the division defined.
    distance = (places - places[:, None]) / sigma.clamp_min(0.01)[:, None, None]
    weights = (-0.5 * distance.square()).exp()
    return weights / weights.sum(2, keepdim=True)


def crop_boxes(
    numbers: Tensor, size: tuple[int, int], *, area: tuple[float, float], ratio: tuple[float, float]
) -> Tensor:
    """Return boxes of a random share of the area and a random aspect ratio, at a random place.

    Of the attempts, the first that fits into the image counts. If none fits, the box is the largest one in
    the middle with the ratio of the image, clamped to ``ratio``.

    Parameters
    ----------
    numbers : (B, 2 * attempts + 2) float in [0, 1)
        For each attempt the area and the ratio, then the place.
    size : (height, width)
        Of the image.
    area : (low, high)
        Shares of the image's area, uniform.
    ratio : (low, high)
        Width over height; its logarithm is uniform.

    Returns
    -------
    (B, 4) int64 top, left, height, width
    """
    height, width = size
    n_attempts = (numbers.shape[1] - 2) // 2
    attempts = numbers[:, :-2].reshape(len(numbers), n_attempts, 2).double()
    heights, widths = box_sides(attempts, size, area, ratio)
    fits = (heights >= 1) & (heights <= height) & (widths >= 1) & (widths <= width)
    first = fits.to(torch.int64).argmax(1, keepdim=True)  # 0 where nothing fits
    middle = _middle(size, ratio)
    any_fits = fits.any(1)
    box_height = torch.where(any_fits, heights.gather(1, first)[:, 0], middle[2])
    box_width = torch.where(any_fits, widths.gather(1, first)[:, 0], middle[3])
    place = numbers[:, -2:].double()
    top = (place[:, 0] * (height - box_height + 1)).long()
    left = (place[:, 1] * (width - box_width + 1)).long()
    top, left = torch.where(any_fits, top, middle[0]), torch.where(any_fits, left, middle[1])
    return torch.stack((top, left, box_height, box_width), dim=1)


def box_sides(
    attempts: Tensor, size: tuple[int, int], area: tuple[float, float], ratio: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """Return heights and widths, (B, attempts) int64, of numbers (B, attempts, 2) in [0, 1)."""
    pixels = (area[0] + (area[1] - area[0]) * attempts[:, :, 0]) * (size[0] * size[1])
    low, high = math.log(ratio[0]), math.log(ratio[1])
    shape = (low + (high - low) * attempts[:, :, 1]).exp()  # width over height
    return (pixels / shape).sqrt().round().long(), (pixels * shape).sqrt().round().long()


def _middle(size: tuple[int, int], ratio: tuple[float, float]) -> tuple[int, int, int, int]:
    height, width = size
    box_width = min(width, max(1, round(height * ratio[1])))
    box_height = min(height, max(1, round(width / ratio[0])))
    return (height - box_height) // 2, (width - box_width) // 2, box_height, box_width


@dataclass(frozen=True)
class ResizedCrop:
    """Cuts out a random box, resizes it to the size of the image, and mirrors some.

    Parameters
    ----------
    area : (low, high)
        Share of the image that the box covers.
    ratio : (low, high)
        Width over height of the box.
    mirror : float
        Probability of a mirror image.
    size : (height, width), optional
        Of the result; that of the image where None.
    """

    area: tuple[float, float] = (0.2, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    mirror: float = 0.5
    size: tuple[int, int] | None = None
    stream: str = "crop"

    def __post_init__(self) -> None:
        check_range("area", self.area, least=1e-6, most=1)
        check_range("ratio", self.ratio, least=1e-3, most=1e3)
        check_probability("mirror", self.mirror)

    def __call__(self, inputs: Tensor, draws: Draws) -> Tensor:
        """Return (B, C, *size) crops."""
        images = unit_floats(inputs)
        own = (images.shape[2], images.shape[3])
        numbers = draws.uniforms(2 * _ATTEMPTS + 3, self.stream)
        boxes = crop_boxes(numbers[:, 1:], own, area=self.area, ratio=self.ratio)
        return resized_crop(images, boxes, self.size or own, numbers[:, 0] < self.mirror)


@dataclass(frozen=True)
class GaussianBlur:
    """Blurs some images.

    Parameters
    ----------
    sigma : (low, high)
        Standard deviation in pixels, uniform.
    probability : float
    """

    sigma: tuple[float, float] = (0.1, 2.0)
    probability: float = 0.5
    stream: str = "blur"

    def __post_init__(self) -> None:
        check_range("sigma", self.sigma, least=0, most=math.inf)
        check_probability("probability", self.probability)

    def __call__(self, inputs: Tensor, draws: Draws) -> Tensor:
        """Return (B, C, H, W) images."""
        numbers = draws.uniforms(2, self.stream)
        low, high = self.sigma
        sigma = torch.where(numbers[:, 0] < self.probability, low + (high - low) * numbers[:, 1], 0.0)
        return gaussian_blur(unit_floats(inputs), sigma)
