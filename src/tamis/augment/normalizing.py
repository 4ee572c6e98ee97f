"""From pixels to what a network takes: mean 0 and standard deviation 1 in every channel."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from tamis.augment.images import check_images
from tamis.augment.stages import Draws
from tamis.errors import InputError

_ALMOST_FLAT = 1e-6
"""A channel whose standard deviation (of 0..1) is below this is only centred."""


def normalized(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Return ``(images - mean) / std``, the images taken from 0..1, or as bytes over 255.

    Parameters
    ----------
    images : (B, C, H, W) uint8 or float
    mean, std : tuple of C float, or of one for all channels
        On the scale 0..1; ``std`` above 0.

    Returns
    -------
    (B, C, H, W) float, float32 for bytes, in the memory layout of ``images``

    Raises
    ------
    InputError

    Examples
    --------
    >>> normalized(torch.tensor([[[[0, 255]]]], dtype=torch.uint8), (0.5,), (0.25,))
    tensor([[[[-2.,  2.]]]])
    """
    check_images(images)
    for name, values in (("mean", mean), ("std", std)):
        if len(values) not in (1, images.shape[1]):
            raise InputError(f"{name} has {len(values)} numbers and images {images.shape[1]} channels")
    is_bytes = not images.is_floating_point()
    dtype = torch.promote_types(images.dtype, torch.float32)
    scale, shift = _scale_shift(mean, std, is_bytes, images.device, dtype)
    result = images * scale
    return result.add_(shift).to(torch.float32 if is_bytes else images.dtype)


@functools.lru_cache(maxsize=64)
def _scale_shift(
    mean: tuple[float, ...], std: tuple[float, ...], is_bytes: bool, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    # Kept, because a copy to a device for every batch makes the host wait.
    means, stds = (torch.tensor(values, dtype=torch.float64) for values in (mean, std))
    scale, shift = 1 / (stds * (255 if is_bytes else 1)), -means / stds
    return scale[:, None, None].to(device, dtype), shift[:, None, None].to(device, dtype)


def channel_statistics(blocks: Iterable[Tensor]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of every channel, on the scale 0..1, over all pixels.

    The standard deviation of a channel of one value is given as 1, so that it can be divided by.

    Parameters
    ----------
    blocks : iterable of (B, C, H, W) uint8 or float
        The images, in any number of blocks; sums are taken in float64.

    Returns
    -------
    mean, std : tuple of C float

    Raises
    ------
    InputError
        No pixel at all, or blocks of different channels.

    Examples
    --------
    >>> channel_statistics([torch.tensor([[[[0, 255]]]], dtype=torch.uint8)])
    ((0.5,), (0.5,))
    """
    n_pixels, total, squares = 0, torch.zeros(0), torch.zeros(0)
    for block in blocks:
        check_images(block)
        values = block.double()
        sums, sums_of_squares = values.sum((0, 2, 3)), values.square().sum((0, 2, 3))
        if not block.is_floating_point():
            sums, sums_of_squares = sums / 255, sums_of_squares / 255**2
        if len(total) and len(total) != len(sums):
            raise InputError(f"a block has {len(sums)} channels and those before it {len(total)}")
        total = total + sums if len(total) else sums
        squares = squares + sums_of_squares if len(squares) else sums_of_squares
        n_pixels += block.numel() // block.shape[1]
    if not n_pixels:
        raise InputError("blocks holds no image; statistics need at least one")
    mean = total / n_pixels
    std = (squares / n_pixels - mean.square()).clamp_min(0).sqrt()
    return tuple(mean.tolist()), tuple(torch.where(std > _ALMOST_FLAT, std, 1.0).tolist())


@dataclass(frozen=True)
class Normalize:
    """Subtracts the mean and divides by the standard deviation of each channel.

    Parameters
    ----------
    mean, std : tuple of float
        One number a channel, or one for all, on the scale 0..1.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    stream: str = "normalize"

    def __post_init__(self) -> None:
        if not self.mean or not self.std or not all(value > 0 for value in self.std):
            raise InputError(
                f"mean is {self.mean} and std {self.std}; expected numbers, those of std above 0"
            )

    def __call__(self, inputs: Tensor, draws: Draws) -> Tensor:
        """Return (B, C, H, W) floats; draws nothing."""
        return normalized(inputs, self.mean, self.std)
