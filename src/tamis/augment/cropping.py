"""Shifted crops and mirror images, both in one gather."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
import torch.nn.functional
from torch import Tensor

from tamis.augment.images import check_images, check_rows
from tamis.augment.stages import Draws, check_probability
from tamis.errors import InputError

Padding: TypeAlias = Literal["zero", "reflect"]


def shifted_crop(
    images: Tensor, down: Tensor, right: Tensor, is_mirrored: Tensor, *, padding: Padding = "zero"
) -> Tensor:
    """Return windows of the images' own size, moved down and right by whole pixels, then mirrored.

    Parameters
    ----------
    images : (B, C, H, W) uint8 or float
    down, right : (B,) int64
        Where a window begins, any number: negative ones begin above or left of the image.
    is_mirrored : (B,) bool
        Whether left and right change places afterwards.
    padding : {"zero", "reflect"}
        What stands outside the image: zeros, or its mirror image without the edge twice.

    Returns
    -------
    (B, C, H, W), dtype and memory layout of ``images``

    Raises
    ------
    InputError

    Examples
    --------
    >>> row = torch.tensor([[[[1.0, 2.0, 3.0]]]])
    >>> one, no, yes = torch.tensor([1]), torch.tensor([False]), torch.tensor([True])
    >>> shifted_crop(row, 0 * one, one, no), shifted_crop(row, 0 * one, one, yes)
    (tensor([[[[2., 3., 0.]]]]), tensor([[[[0., 3., 2.]]]]))
    """
    check_images(images)
    for name, values in (("down", down), ("right", right), ("is_mirrored", is_mirrored)):
        check_rows(name, values, images)
    if padding not in ("zero", "reflect"):
        raise InputError(f"padding is {padding!r}; expected 'zero' or 'reflect'")
    height, width = images.shape[2:]
    rows = torch.arange(height, device=images.device) + down[:, None]  # (B, H)
    columns = torch.arange(width, device=images.device)
    columns = torch.where(is_mirrored[:, None], width - 1 - columns, columns) + right[:, None]  # (B, W)
    if padding == "reflect":
        return _gathered(images, _reflected(rows, height), _reflected(columns, width))
    # One row and one column of zeros serve every place outside: a copy as small as can be.
    framed = torch.nn.functional.pad(images, (0, 1, 0, 1))
    return _gathered(framed, _outside_last(rows, height), _outside_last(columns, width))


def mirrored(images: Tensor, is_mirrored: Tensor) -> Tensor:
    """Return the images with left and right exchanged where ``is_mirrored``, (B,) bool, says so."""
    check_images(images)
    check_rows("is_mirrored", is_mirrored, images)
    return torch.where(is_mirrored[:, None, None, None], images.flip(3), images)


def _outside_last(places: Tensor, size: int) -> Tensor:
    return torch.where((places >= 0) & (places < size), places, size)


def _reflected(places: Tensor, size: int) -> Tensor:
    # A triangle wave: 0 1 2 1 0 1 2 ... for size 3; one pixel has no neighbour to show instead.
    period = max(1, 2 * (size - 1))
    return (size - 1) - ((places % period) - (size - 1)).abs()


def _gathered(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return images[b, c, rows[b, i], columns[b, j]]."""
    n_images, n_channels, height, width = images.shape
    places = rows[:, :, None] * width + columns[:, None, :]  # (B, H', W')
    n_rows, n_columns = places.shape[1:]
    if n_channels > 1 and images.is_contiguous(memory_format=torch.channels_last):
        first = torch.arange(n_images, device=images.device)[:, None, None] * (height * width)
        pixels = images.permute(0, 2, 3, 1).reshape(-1, n_channels)
        taken = pixels.index_select(0, (places + first).flatten())
        return taken.view(n_images, n_rows, n_columns, n_channels).permute(0, 3, 1, 2)
    flat = places.flatten(1)[:, None].expand(-1, n_channels, -1)
    return images.flatten(2).gather(2, flat).view(n_images, n_channels, n_rows, n_columns)


@dataclass(frozen=True)
class ShiftedCrop:
    """Crops the images after a frame of padding, and mirrors some.

    Parameters
    ----------
    size : int, optional
        Pixels of padding on each side; an eighth of the shorter side, at least 1, where None.
    padding : {"zero", "reflect"}
        What the frame holds.
    mirror : float
        Probability of a mirror image.
    """

    size: int | None = None
    padding: Padding = "zero"
    mirror: float = 0.5
    stream: str = "crop"

    def __post_init__(self) -> None:
        check_probability("mirror", self.mirror)
        if self.size is not None and self.size < 0:
            raise InputError(f"size is {self.size}; expected pixels of padding, at least 0")

    def __call__(self, inputs: Tensor, draws: Draws) -> Tensor:
        """Return (B, C, H, W) crops."""
        check_images(inputs)
        height, width = inputs.shape[2:]
        size = max(1, min(height, width) // 8) if self.size is None else self.size
        numbers = draws.uniforms(3, self.stream)
        shifts = (numbers[:, :2] * (2 * size + 1)).long() - size
        is_mirrored = numbers[:, 2] < self.mirror
        return shifted_crop(inputs, shifts[:, 0], shifts[:, 1], is_mirrored, padding=self.padding)


@dataclass(frozen=True)
class Mirror:
    """Mirrors some images, left to right.

    Parameters
    ----------
    probability : float
    """

    probability: float = 0.5
    stream: str = "mirror"

    def __post_init__(self) -> None:
        check_probability("probability", self.probability)

    def __call__(self, inputs: Tensor, draws: Draws) -> Tensor:
        """Return (B, C, H, W) images."""
        if self.probability == 1:
            check_images(inputs)
            return inputs.flip(3)
        return mirrored(inputs, draws.uniforms(1, self.stream)[:, 0] < self.probability)
