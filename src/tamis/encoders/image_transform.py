"""What a model's image processor does to an image, from its settings: resize, crop, scale, normalise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import PIL.Image

from tamis.data.dataset import Image
from tamis.errors import InputError
from tamis.types import FloatArray

_BILINEAR = 2
_BYTE = 1.0 / 255.0
_MOST_ELONGATED = 8


class ImageTransform(NamedTuple):
    """Settings of an image processor; every image becomes the same shape.

    Attributes
    ----------
    height, width : int
        What the model sees: the middle of the resized image.
    resized : (width, height) or None
        Squeeze every image to this; None keeps the aspect ratio.
    shortest_edge : int
        Length of the shorter side where the aspect ratio is kept.
    resample : int
        PIL's number of the filter.
    factor : float
        Applied to 0..255.
    mean, std : (3,) float
    """

    height: int
    width: int
    resized: tuple[int, int] | None
    shortest_edge: int
    resample: int
    factor: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def from_settings(cls, settings: Mapping[str, object], *, image_size: int | None) -> ImageTransform:
        """Read the settings of a ``preprocessor_config.json``.

        Parameters
        ----------
        settings : mapping
        image_size : int or None
            What the model's configuration says, used where the settings name no size.

        Raises
        ------
        InputError
            No size can be found.

        Examples
        --------
        >>> transform = ImageTransform.from_settings({"size": {"shortest_edge": 8}}, image_size=None)
        >>> transform(np.zeros((10, 20, 3), dtype=np.uint8)).shape
        (3, 8, 8)
        """
        size = _sides(settings.get("size"))
        crop = _sides(settings.get("crop_size")) if settings.get("do_center_crop") else {}
        edge = size.get("shortest_edge")
        shape = crop or size
        height = shape.get("height") or edge or image_size
        width = shape.get("width") or edge or image_size
        if height is None or width is None:
            raise InputError(
                f"image settings {dict(settings)} name no size; add "
                '"size": {"height": 224, "width": 224} to preprocessor_config.json'
            )
        return cls(
            height=height,
            width=width,
            resized=None if edge else (size.get("width") or width, size.get("height") or height),
            shortest_edge=edge or min(height, width),
            resample=_integer(settings.get("resample"), _BILINEAR),
            factor=_factor(settings),
            mean=_channels(settings, "image_mean", 0.0),
            std=_channels(settings, "image_std", 1.0),
        )

    def __call__(self, image: Image) -> FloatArray:
        """Return (3, height, width) float32."""
        resized = self._resize(PIL.Image.fromarray(image))
        scaled = np.asarray(resized, dtype=np.float32) * np.float32(self.factor)
        normal = (scaled - np.array(self.mean, dtype=np.float32)) / np.array(self.std, dtype=np.float32)
        return np.ascontiguousarray(normal.transpose(2, 0, 1))

    def _resize(self, picture: PIL.Image.Image) -> PIL.Image.Image:
        size = self.resized
        if size is None:
            picture = _without_ends(picture)
            short = min(picture.size)
            size = (self.shortest_edge * picture.width // short, self.shortest_edge * picture.height // short)
        left, top = (size[0] - self.width) // 2, (size[1] - self.height) // 2
        scaled = picture.resize(size, self.resample)
        return scaled.crop((left, top, left + self.width, top + self.height))


def _without_ends(picture: PIL.Image.Image) -> PIL.Image.Image:
    # A strip of 1 x 1,000,000 pixels would grow to gigabytes before its middle is cut out.
    width, height = picture.size
    longest = _MOST_ELONGATED * min(width, height)
    if max(width, height) <= longest:
        return picture
    left, top = max(0, (width - longest) // 2), max(0, (height - longest) // 2)
    return picture.crop((left, top, width - left, height - top))


def _sides(value: object) -> dict[str, int]:
    if isinstance(value, int):
        return {"height": value, "width": value}
    if not isinstance(value, Mapping):
        return {}
    return {str(name): side for name, side in value.items() if isinstance(side, int) and side > 0}


def _integer(value: object, default: int) -> int:
    return value if isinstance(value, int) else default


def _factor(settings: Mapping[str, object]) -> float:
    if settings.get("do_rescale", True) is False:
        return 1.0
    value = settings.get("rescale_factor", _BYTE)
    return float(value) if isinstance(value, int | float) else _BYTE


def _channels(settings: Mapping[str, object], name: str, default: float) -> tuple[float, ...]:
    value = settings.get(name)
    if settings.get("do_normalize", True) is False or not isinstance(value, list | tuple) or len(value) != 3:
        return (default,) * 3
    return tuple(float(channel) for channel in value)
