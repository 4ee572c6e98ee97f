"""Decode images that may be damaged or hostile.

Attacks considered: files that claim to be images and are something else, decompression bombs (small files
that declare huge pictures), damaged files that confuse a decoder. Defence: a short list of formats recognised
by content, never by name; a cap on bytes; a cap on pixels that is checked on the header before a pixel is
decoded; any failure of the decoder is an answer, not a crash.
"""

from __future__ import annotations

import io
import struct
import threading
import warnings
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from tamis.errors import InputError

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

MAX_IMAGE_BYTES = 64 * 2**20
"""Larger files and cells are not decoded."""

MAX_IMAGE_PIXELS = 64_000_000
"""Larger pictures are not decoded."""

_READERS: tuple[tuple[bytes, type[ImageFile]], ...] = (
    (b"\xff\xd8\xff", JpegImagePlugin.JpegImageFile),
    (b"\x89PNG\r\n\x1a\n", PngImagePlugin.PngImageFile),
    (b"GIF87a", GifImagePlugin.GifImageFile),
    (b"GIF89a", GifImagePlugin.GifImageFile),
    (b"BM", BmpImagePlugin.BmpImageFile),
    (b"II*\x00", TiffImagePlugin.TiffImageFile),
    (b"MM\x00*", TiffImagePlugin.TiffImageFile),
    (b"II+\x00", TiffImagePlugin.TiffImageFile),
    (b"MM\x00+", TiffImagePlugin.TiffImageFile),
    *((b"P%d" % digit, PpmImagePlugin.PpmImageFile) for digit in range(1, 7)),
)

# Values of the EXIF tag "orientation" and what puts the picture upright.
_UPRIGHT = {
    2: PIL.Image.Transpose.FLIP_LEFT_RIGHT,
    3: PIL.Image.Transpose.ROTATE_180,
    4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
    5: PIL.Image.Transpose.TRANSPOSE,
    6: PIL.Image.Transpose.ROTATE_270,
    7: PIL.Image.Transpose.TRANSVERSE,
    8: PIL.Image.Transpose.ROTATE_90,
}
_ORIENTATION_TAG = 0x0112

_WARNINGS = threading.Lock()


def decode_image(content: bytes) -> npt.NDArray[np.uint8]:
    """Decode the bytes of an image file to RGB.

    JPEG, PNG, WEBP, BMP, GIF (first frame), TIFF (first page) and PPM are read. The EXIF orientation is
    applied, transparent pixels are laid on white, 16-bit grey is scaled to 8 bits by its full range, and grey
    of unknown range (32-bit integers, floats) by its smallest and largest value.

    Parameters
    ----------
    content : bytes
        The file, at most 64 MiB.

    Returns
    -------
    (height, width, 3) uint8

    Raises
    ------
    InputError
        If the content is too large, is of another format, or is damaged; the message is short enough for a
        table.

    Examples
    --------
    >>> import io
    >>> import PIL.Image
    >>> file = io.BytesIO()
    >>> PIL.Image.new("L", (4, 2), 7).save(file, "PNG")
    >>> decode_image(file.getvalue()).shape
    (2, 4, 3)
    """
    if len(content) > MAX_IMAGE_BYTES:
        raise InputError(
            f"file has {len(content):,} bytes, more than the {MAX_IMAGE_BYTES:,} that are decoded"
        )
    try:
        try:
            return _decode(content)
        except Warning:
            # Only where the caller turns warnings into errors: a warning about metadata does not spoil
            # pixels.
            with _WARNINGS, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return _decode(content)
    except InputError:
        raise
    except Exception as error:
        # Decoders answer damaged files with nearly every exception there is, MemoryError included.
        raise InputError(f"damaged image ({type(error).__name__}: {str(error)[:120]})") from error


def _decode(content: bytes) -> npt.NDArray[np.uint8]:
    # The reader is called directly: PIL.Image.open would try more formats and warn about bombs after the
    # fact.
    with _reader(content)(io.BytesIO(content)) as picture:
        width, height = picture.size
        if width * height > MAX_IMAGE_PIXELS:
            raise InputError(
                f"image declares {width:,} x {height:,} pixels, more than the {MAX_IMAGE_PIXELS:,} that"
                " are decoded"
            )
        picture.load()
        turned = _UPRIGHT.get(_orientation(picture.info.get("exif")))
        return _to_rgb(picture if turned is None else picture.transpose(turned), picture.info)


def _reader(content: bytes) -> type[ImageFile]:
    for signature, reader in _READERS:
        if content.startswith(signature):
            return reader
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return WebPImagePlugin.WebPImageFile
    if not content:
        raise InputError("file is empty")
    raise InputError(
        f"not an image (first bytes {content[:8].hex(' ')}); JPEG, PNG, WEBP, BMP, GIF, TIFF and PPM are read"
    )


def _orientation(exif: object) -> int:
    """Return the orientation tag of an EXIF block, 1 (upright) where there is none or it is damaged."""
    if not isinstance(exif, bytes):
        return 1
    block = exif.removeprefix(b"Exif\x00\x00")
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(f"{order}I", block, 4)
        (count,) = struct.unpack_from(f"{order}H", block, start)
        for entry in range(count):
            at = start + 2 + 12 * entry
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", block, at)
            if tag == _ORIENTATION_TAG and kind == 3:
                return int(value)
    except struct.error:
        pass
    return 1


def _to_rgb(picture: PIL.Image.Image, info: dict[str | tuple[int, int], object]) -> npt.NDArray[np.uint8]:
    if picture.mode == "F" or picture.mode.startswith("I"):
        grey = _to_eight_bits(np.asarray(picture), is_full_range=picture.mode != "F" and picture.mode != "I")
        return np.repeat(grey[:, :, None], 3, axis=2)
    if picture.mode in {"LA", "PA", "La", "RGBA", "RGBa"} or "transparency" in info:
        layered = picture.convert("RGBA")
        white = PIL.Image.new("RGBA", layered.size, (255, 255, 255, 255))
        picture = PIL.Image.alpha_composite(white, layered)
    return np.array(picture.convert("RGB"))


def _to_eight_bits(grey: npt.NDArray[np.generic], *, is_full_range: bool) -> npt.NDArray[np.uint8]:
    values = grey.astype(np.float64)
    if is_full_range:
        return np.asarray(values // 257, dtype=np.uint8)
    if not np.isfinite(values).all():
        raise InputError("image holds NaN or infinite pixels")
    low, high = values.min(), values.max()
    if low < 0 or high > 255 or grey.dtype.kind == "f":
        values = (values - low) * (255.0 / max(high - low, 1e-12))
    return np.asarray(np.round(values), dtype=np.uint8)
