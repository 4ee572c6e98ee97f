"""Batches of images in the size and number of channels that a pretrained network was made for."""

from __future__ import annotations

import torch
from torch.nn import functional

from tamis.errors import InputError

_COLOURS = 3


def fit_images(images: torch.Tensor, size: tuple[int, int] | None) -> torch.Tensor:
    """Resize a batch, bilinear and without aliasing, and repeat a single channel three times.

    Parameters
    ----------
    images : (B, C, H, W) float tensor
        C is 1 or 3.
    size : (height, width) or None
        None keeps the size.

    Returns
    -------
    (B, 3, height, width) float tensor
        ``images`` itself where nothing is to do.

    Raises
    ------
    InputError
        Another number of axes or channels.

    Examples
    --------
    >>> fit_images(torch.ones(2, 1, 28, 28), (32, 32)).shape
    torch.Size([2, 3, 32, 32])
    """
    if images.ndim != 4 or images.shape[1] not in (1, _COLOURS):
        raise InputError(
            f"images have shape {tuple(images.shape)}; a pretrained network takes "
            "(B, 3, H, W) or (B, 1, H, W)"
        )
    if size is not None and tuple(images.shape[2:]) != size:
        # Antialiasing changes nothing where images grow, and is slow.
        shrinks = images.shape[2] > size[0] or images.shape[3] > size[1]
        images = functional.interpolate(images, size, mode="bilinear", align_corners=False, antialias=shrinks)
    return images.expand(-1, _COLOURS, -1, -1)
