"""Shearing, moving and turning images."""

from __future__ import annotations

import torch
import torch.nn.functional
from torch import Tensor

from tamis.augment.images import check_images, check_rows


def affine(images: Tensor, matrices: Tensor, *, fill: float = 0.5) -> Tensor:
    """Return images seen through affine maps of the plane, bilinear, ``fill`` beyond the edge.

    Parameters
    ----------
    images : (B, C, H, W) float
    matrices : (B, 2, 3) float
        Map a pixel (x to the right, y down, 1) of the result to the place it is taken from; both are
        measured in pixels from the middle of the image.
    fill : float

    Returns
    -------
    (B, C, H, W), dtype of ``images``; half precision is computed in float32

    Raises
    ------
    InputError

    Examples
    --------
    >>> row = torch.tensor([[[[1.0, 2.0, 3.0]]]])
    >>> from_the_right = torch.tensor([[[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]])
    >>> affine(row, from_the_right, fill=0)
    tensor([[[[2., 3., 0.]]]])
    """
    check_images(images, floating=True)
    check_rows("matrices", matrices, images, 2, 3)
    if not len(images):
        return images.clone()
    dtype = torch.promote_types(images.dtype, torch.float32)
    height, width = images.shape[2:]
    x, y = (
        torch.arange(size, device=images.device, dtype=dtype) - (size - 1) / 2 for size in (width, height)
    )
    # Each row of the matrices gives one coordinate: (B, 2, H, W).
    weights = matrices.to(dtype)[:, :, :, None, None]
    source = weights[:, :, 0] * x + weights[:, :, 1] * y[:, None] + weights[:, :, 2]
    # The sampler's coordinates run from -1 to 1 between the outer edges of the outer pixels.
    grid = torch.stack((source[:, 0] * (2 / width), source[:, 1] * (2 / height)), dim=3)
    sampled = torch.nn.functional.grid_sample(
        images.to(dtype) - fill, grid, mode="bilinear", align_corners=False
    )
    return (sampled + fill).to(images.dtype)


def shears(x: Tensor, y: Tensor) -> Tensor:
    """Return (B, 2, 3) matrices of ``(X, Y) -> (X + x * Y, Y + y * X)``; (B,) float each."""
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    return _matrices(one, x, zero, y, one, zero)


def shifts(x: Tensor, y: Tensor) -> Tensor:
    """Return (B, 2, 3) matrices that take from ``x`` pixels further right and ``y`` pixels further down."""
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    return _matrices(one, zero, x, zero, one, y)


def turns(degrees: Tensor) -> Tensor:
    """Return (B, 2, 3) matrices that turn images counter-clockwise, (B,) float degrees."""
    angle = torch.deg2rad(degrees)
    cosine, sine, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    return _matrices(cosine, -sine, zero, sine, cosine, zero)


def _matrices(*entries: Tensor) -> Tensor:
    return torch.stack(entries, dim=1).view(-1, 2, 3)
