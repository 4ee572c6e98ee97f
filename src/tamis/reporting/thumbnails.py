"""Thumbnails as data URIs, so that the report is one file."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass

from PIL import Image as PillowImage

from tamis.data.dataset import Image, Input, Unreadable

# Full photographs may take tens of megabytes each while they are decoded.
_IMAGES_PER_READ = 4
_QUALITIES = (82, 65, 45, 30, 20)


@dataclass(frozen=True)
class Thumbnail:
    """One small picture, or why there is none.

    Attributes
    ----------
    uri : str
        ``data:image/...`` URI; empty where the sample could not be read.
    width, height : int
        Pixels of the thumbnail.
    is_tiny : bool
        The original is small: it is kept pixel for pixel and should be enlarged without smoothing.
    reason : str
        Why there is no picture; empty where there is one.
    """

    uri: str = ""
    width: int = 0
    height: int = 0
    is_tiny: bool = False
    reason: str = ""


def make_thumbnails(source: Input, rows: Iterable[int], size: int) -> dict[int, Thumbnail]:
    """Return a thumbnail for each of ``rows``, none larger than about ``size * size / 4`` bytes.

    Parameters
    ----------
    source : Input
        An input of kind ``"image"``.
    rows : iterable of int
        Rows wanted; each is decoded once, a few at a time.
    size : int
        Longest side in pixels. Pictures that fit into it are not enlarged.

    Returns
    -------
    dict of int to Thumbnail
    """
    wanted = sorted(set(rows))
    made: dict[int, Thumbnail] = {}
    for start in range(0, len(wanted), _IMAGES_PER_READ):
        block = wanted[start : start + _IMAGES_PER_READ]
        for row, sample in zip(block, source.read(block), strict=True):
            made[row] = _thumbnail(sample, size)
    return made


def _thumbnail(sample: Image | str | Unreadable, size: int) -> Thumbnail:
    if isinstance(sample, Unreadable):
        return Thumbnail(reason=sample.reason or "not readable")
    if isinstance(sample, str) or 0 in sample.shape:
        return Thumbnail(reason="there is no picture in this row")
    is_tiny = max(sample.shape[:2]) <= 64
    picture = PillowImage.fromarray(sample)
    picture.thumbnail((size, size), PillowImage.Resampling.LANCZOS)
    return Thumbnail(_encode(picture, size * size // 4, lossless=is_tiny), *picture.size, is_tiny)


def _encode(picture: PillowImage.Image, most_bytes: int, *, lossless: bool) -> str:
    if lossless:
        data = _saved(picture, "PNG")
        if len(data) <= most_bytes:
            return _data_uri("png", data)
    for quality in _QUALITIES:
        data = _saved(picture, "JPEG", quality)
        if len(data) <= most_bytes:
            break
    return _data_uri("jpeg", data)


def _saved(picture: PillowImage.Image, kind: str, quality: int = 0) -> bytes:
    buffer = io.BytesIO()
    if kind == "PNG":
        picture.save(buffer, "PNG", optimize=True)
    else:
        picture.save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()


def _data_uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
