"""What a batch of images is: shapes, ranges, and what is refused."""

from __future__ import annotations

import torch
from torch import Tensor

from tamis.errors import InputError


def check_images(images: Tensor, *, floating: bool = False, channels: tuple[int, ...] = ()) -> None:
    """Refuse anything but a (B, C, H, W) batch; B may be 0.

    Parameters
    ----------
    images : (B, C, H, W) uint8 or float
    floating : bool
        Whether uint8 is refused, too.
    channels : tuple of int
        Numbers of channels that are legal; empty for any.

    Raises
    ------
    InputError
    """
    shape = tuple(images.shape)
    if images.ndim != 4 or 0 in shape[1:]:
        raise InputError(
            f"images has shape {shape}; expected (B, C, H, W) with at least one channel and one pixel"
        )
    if not images.is_floating_point() and (floating or images.dtype != torch.uint8):
        legal = "floats in 0..1; unit_floats(images) makes them of uint8" if floating else "uint8 or floats"
        raise InputError(f"images has dtype {images.dtype}; expected {legal}")
    if channels and shape[1] not in channels:
        raise InputError(
            f"images has {shape[1]} channels; operations on colours need {' or '.join(map(str, channels))}"
            " (grey or red, green, blue): choose a policy without them, such as 'weak'"
        )


def unit_floats(images: Tensor) -> Tensor:
    """Return images as floats: uint8 divided by 255 to float32, floats as they are.

    Examples
    --------
    >>> unit_floats(torch.tensor([[[[0, 51, 255]]]], dtype=torch.uint8))
    tensor([[[[0.0000, 0.2000, 1.0000]]]])
    """
    check_images(images)
    return images if images.is_floating_point() else images / 255


def per_sample(name: str, values: Tensor, images: Tensor) -> Tensor:
    """Return (B,) values as (B, 1, 1, 1) of the images' dtype.

    Raises
    ------
    InputError
        Another number of values than images.
    """
    check_rows(name, values, images)
    # Booleans stay: they choose, they do not multiply.
    dtype = values.dtype if values.dtype == torch.bool else images.dtype
    return values.to(dtype)[:, None, None, None]


def check_rows(name: str, values: Tensor, images: Tensor, *tail: int) -> None:
    """Refuse values whose shape is not (B, *tail)."""
    wanted = (len(images), *tail)
    if tuple(values.shape) != wanted:
        raise InputError(f"{name} has shape {tuple(values.shape)}; expected {wanted}: a row for each sample")
