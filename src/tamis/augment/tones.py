"""Operations on the tones of an image: solarize, posterize, autocontrast, equalize, sharpness.

On images that came from bytes they agree with Pillow's operations of the same names.
"""

from __future__ import annotations

import torch
import torch.nn.functional
from torch import Tensor

from tamis.augment.images import check_images, per_sample

_LEVELS = 256


def solarized(images: Tensor, threshold: Tensor) -> Tensor:
    """Return images whose values of at least ``threshold`` are inverted.

    Parameters
    ----------
    images : (B, C, H, W) float in 0..1
    threshold : (B,) float
        0 inverts everything, more than 1 nothing.

    Raises
    ------
    InputError
    """
    check_images(images, floating=True)
    return torch.where(images < per_sample("threshold", threshold, images), images, 1 - images)


def posterized(images: Tensor, bits: Tensor) -> Tensor:
    """Return images of which each byte keeps its highest ``bits`` bits.

    Parameters
    ----------
    images : (B, C, H, W) float in 0..1
        Rounded to bytes first.
    bits : (B,) int64, 0 to 8

    Raises
    ------
    InputError
    """
    check_images(images, floating=True)
    step = 2.0 ** (8 - per_sample("bits", bits, images))
    return (_bytes(images) / step).floor_() * step / 255


def autocontrasted(images: Tensor) -> Tensor:
    """Return images, (B, C, H, W) float, each channel stretched to 0..1; a channel of one value stays.

    Raises
    ------
    InputError
    """
    check_images(images, floating=True)
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    spread = high - low
    stretched = (images - low) / torch.where(spread > 0, spread, 1.0)
    return torch.where(spread > 0, stretched, images)


def equalized(images: Tensor) -> Tensor:
    """Return images, (B, C, H, W) float in 0..1, whose byte values are spread evenly in each channel.

    Pillow's table: with ``step`` the number of pixels that are not of the highest value, over 255, a value
    becomes (pixels below it + half a step) over a step; where a step is less than a pixel nothing changes.

    Raises
    ------
    InputError
    """
    check_images(images, floating=True)
    values = _bytes(images).long().flatten(2).contiguous()  # (B, C, pixels)
    ordered = values.sort(2).values
    levels = torch.arange(_LEVELS, device=images.device).expand(*values.shape[:2], -1).contiguous()
    below = torch.searchsorted(ordered, levels)  # (B, C, 256): pixels of a smaller value
    lower = torch.searchsorted(ordered, ordered[:, :, -1:].contiguous())  # than the highest value
    step = lower // (_LEVELS - 1)
    table = ((below + step // 2) // step.clamp_min(1)).clamp(max=_LEVELS - 1)
    table = torch.where(step > 0, table, levels)
    return table.gather(2, values).to(images.dtype).div_(_LEVELS - 1).view(images.shape)


def sharpened(images: Tensor, factor: Tensor) -> Tensor:
    """Return images moved away from (above 1) or towards (below 1) a smoothed copy; 1 changes nothing.

    The smoothed copy is a mean over 3 x 3 pixels in which the middle counts five times. Pixels at the
    border stay.

    Parameters
    ----------
    images : (B, C, H, W) float in 0..1
    factor : (B,) float, at least 0

    Raises
    ------
    InputError
    """
    check_images(images, floating=True)
    weight = per_sample("factor", factor, images)
    if min(images.shape[2:]) < 3:
        return images
    inner = images[:, :, 1:-1, 1:-1]
    smooth = (torch.nn.functional.avg_pool2d(images, 3, stride=1) * 9 + inner * 4) / 13
    result = images.clone()
    result[:, :, 1:-1, 1:-1] = (inner * weight + smooth * (1 - weight)).clamp_(0, 1)
    return result


def _bytes(images: Tensor) -> Tensor:
    """Return whole numbers from 0 to 255, as floats."""
    return (images * 255).round_().clamp_(0, 255)
