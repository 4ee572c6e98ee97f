"""Brightness, contrast, saturation, hue and grey: functions of a factor for each sample."""

from __future__ import annotations

import torch
from torch import Tensor

from tamis.augment.images import check_images, per_sample

_RGB = (1, 3)
_LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a grey value (ITU-R BT.601)."""


def greyscale(images: Tensor) -> Tensor:
    """Return the grey values, (B, 1, H, W); images of one channel are grey already.

    Parameters
    ----------
    images : (B, C, H, W) float, C 1 or 3

    Raises
    ------
    InputError

    Examples
    --------
    >>> greyscale(torch.tensor([1.0, 0.0, 0.5]).view(1, 3, 1, 1)).item()
    0.356...
    """
    check_images(images, floating=True, channels=_RGB)
    if images.shape[1] == 1:
        return images
    red, green, blue = (images[:, channel : channel + 1] for channel in range(3))
    return _LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue


def adjust_brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Return ``factor * images`` within 0..1; 0 is black, 1 changes nothing.

    Parameters
    ----------
    images : (B, C, H, W) float in 0..1
    factor : (B,) float, at least 0

    Raises
    ------
    InputError
    """
    check_images(images, floating=True)
    return (images * per_sample("factor", factor, images)).clamp_(0, 1)


def adjust_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Return each image's distance from its mean grey value times ``factor``; 0 is flat, 1 changes nothing.

    Parameters and errors are those of `adjust_brightness`, with 1 or 3 channels.
    """
    mean = greyscale(images).mean(dim=(1, 2, 3), keepdim=True)
    return _moved_from(mean, images, factor)


def adjust_saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Return each pixel's distance from its grey value times ``factor``; 0 is grey, 1 changes nothing.

    Parameters and errors are those of `adjust_brightness`, with 1 or 3 channels.
    """
    return _moved_from(greyscale(images), images, factor)


def adjust_hue(images: Tensor, shift: Tensor) -> Tensor:
    """Return images whose hue is turned by ``shift`` of the circle of colours, at equal saturation and value.

    Parameters
    ----------
    images : (B, C, H, W) float in 0..1, C 1 or 3
        Grey pixels stay as they are.
    shift : (B,) float
        Share of a full turn: 1/3 makes red green, 0 and 1 change nothing.

    Raises
    ------
    InputError

    Examples
    --------
    >>> red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
    >>> adjust_hue(red, torch.tensor([1 / 3])).flatten().round()
    tensor([0., 1., 0.])
    """
    check_images(images, floating=True, channels=_RGB)
    turn = per_sample("shift", shift, images)[:, 0] * 6  # sixths of the circle
    if images.shape[1] == 1:
        return images
    red, green, blue = images.unbind(1)
    value, low = images.amax(1), images.amin(1)
    chroma = value - low
    divisor = torch.where(chroma > 0, chroma, 1.0)
    sixth = torch.where(
        value == red,
        (green - blue) / divisor,
        torch.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    sixth = sixth + turn
    # Channel n of HSV: full within one sixth of its own hue, none beyond two.
    channels = [value - chroma * _fall(sixth + n) for n in (5, 3, 1)]
    return torch.stack(channels, dim=1).contiguous(memory_format=_layout(images))


def _fall(sixths: Tensor) -> Tensor:
    rest = sixths - (sixths / 6).floor_().mul_(6)  # the remainder of a division takes twice as long
    return torch.minimum(rest, 4 - rest).clamp_(0, 1)


def _layout(images: Tensor) -> torch.memory_format:
    is_last = images.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if is_last else torch.contiguous_format


def _moved_from(origin: Tensor, images: Tensor, factor: Tensor) -> Tensor:
    weight = per_sample("factor", factor, images)
    return (images * weight + origin * (1 - weight)).clamp_(0, 1)
