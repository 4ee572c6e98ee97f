from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import PIL.Image
import PIL.ImageFile
import PIL.ImageOps
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.data import decoding
from tamis.data.decoding import decode_image
from tamis.errors import InputError

RED = np.zeros((6, 9, 3), dtype=np.uint8) + np.array([200, 30, 40], dtype=np.uint8)


def encoded(picture: PIL.Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def png_header(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    data = b"IDAT" + zlib.compress(b"\0" * 100)
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + chunk
        + struct.pack(">I", zlib.crc32(chunk))
        + struct.pack(">I", len(data) - 4)
        + data
        + struct.pack(">I", zlib.crc32(data))
        + b"\0\0\0\0IEND\xaeB`\x82"
    )


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_are_exact(kind):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    assert (decode_image(encoded(PIL.Image.fromarray(pixels), kind)) == pixels).all()


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "GIF"])
def test_lossy_formats_are_close(kind):
    pixels = decode_image(encoded(PIL.Image.fromarray(RED), kind))
    assert pixels.shape == RED.shape
    assert np.abs(pixels.astype(int) - RED).max() <= 6


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "LA", "RGBA"])
def test_every_mode_becomes_rgb(mode):
    kind = {"CMYK": "TIFF", "YCbCr": "JPEG"}.get(mode, "PNG")
    white = PIL.Image.new("RGB", (5, 4), (255, 255, 255)).convert(mode)
    pixels = decode_image(encoded(white, kind))
    assert pixels.shape == (4, 5, 3)
    assert pixels.dtype == np.uint8
    assert pixels.min() >= 254


def test_transparent_pixels_lie_on_white():
    clear = PIL.Image.new("RGBA", (2, 2), (0, 0, 0, 0))
    clear.putpixel((0, 0), (10, 20, 30, 255))
    pixels = decode_image(encoded(clear, "PNG"))
    assert pixels[0, 0].tolist() == [10, 20, 30]
    assert pixels[1, 1].tolist() == [255, 255, 255]


def test_transparent_palette():
    picture = PIL.Image.fromarray(RED).quantize(4)
    assert (decode_image(encoded(picture, "PNG", transparency=picture.getpixel((0, 0)))) == 255).all()


def test_sixteen_bits_use_the_full_range():
    grey = np.array([[0, 257, 65535]], dtype=np.uint16)
    for kind in ("PNG", "TIFF"):
        assert decode_image(encoded(PIL.Image.fromarray(grey), kind))[0, :, 0].tolist() == [0, 1, 255]


def test_floats_are_stretched_and_nan_is_refused():
    values = np.array([[-1.0, 0.0, 1.0]], dtype=np.float32)
    assert decode_image(encoded(PIL.Image.fromarray(values), "TIFF"))[0, :, 1].tolist() == [0, 128, 255]
    values[0, 0] = np.nan
    with pytest.raises(InputError, match="NaN"):
        decode_image(encoded(PIL.Image.fromarray(values), "TIFF"))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_orientation_agrees_with_pillow(kind, orientation):
    pixels = np.zeros((16, 24, 3), dtype=np.uint8)
    pixels[:8, :8] = 255
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    content = encoded(PIL.Image.fromarray(pixels), kind, exif=exif)
    with PIL.Image.open(io.BytesIO(content)) as picture:
        expected = np.asarray(PIL.ImageOps.exif_transpose(picture).convert("RGB"))
    assert (decode_image(content) == expected).all()
    assert decode_image(content).shape == ((24, 16, 3) if orientation > 4 else (16, 24, 3))


def test_damaged_exif_does_not_spoil_the_picture():
    for exif in (
        b"Exif\x00\x00II*\x00\xff\xff\xff\xff",
        b"Exif\x00\x00",
        b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x09",
    ):
        assert decode_image(encoded(PIL.Image.fromarray(RED), "JPEG", exif=exif)).shape == RED.shape


def test_first_frame_of_an_animation():
    frames = [PIL.Image.new("RGB", (3, 3), colour) for colour in ((255, 0, 0), (0, 255, 0))]
    for kind in ("GIF", "WEBP", "TIFF"):
        content = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        red, green, _ = decode_image(content)[1, 1].tolist()
        assert red > 200 > 60 > green


@pytest.mark.parametrize("size", [(50_000, 50_000), (64_000_001, 1), (2**31 - 1, 2**31 - 1)])
def test_bombs_are_refused_by_their_header(size):
    with pytest.raises(InputError, match="pixels"):
        decode_image(png_header(*size))


def test_pixel_cap_comes_before_pixels(monkeypatch):
    content = encoded(PIL.Image.fromarray(RED), "BMP")
    monkeypatch.setattr(decoding, "MAX_IMAGE_PIXELS", 53)
    monkeypatch.setattr(PIL.ImageFile.ImageFile, "load", lambda self: pytest.fail("pixels were decoded"))
    with pytest.raises(InputError, match="9 x 6 pixels"):
        decode_image(content)


def test_byte_cap(monkeypatch):
    monkeypatch.setattr(decoding, "MAX_IMAGE_BYTES", 10)
    with pytest.raises(InputError, match="more than the 10"):
        decode_image(encoded(PIL.Image.fromarray(RED), "PNG"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"plain text that is no image",
        b"%PDF-1.7",
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"\x80\x04\x95pickle",
        b"RIFF\0\0\0\0WAVE",
        b"\xff\xd8\xff",
        b"II*\x00",
        b"BM",
        b"P6",
        b"GIF89a",
    ],
)
def test_other_content_is_refused(content):
    with pytest.raises(InputError):
        decode_image(content)


def test_formats_outside_the_list_are_refused():
    for kind in ("ICO", "TGA", "PCX", "JPEG2000"):
        with pytest.raises(InputError, match=r"not an image|damaged"):
            decode_image(encoded(PIL.Image.fromarray(RED), kind))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM"])
def test_truncated_files_are_refused(kind):
    noise = np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    content = encoded(PIL.Image.fromarray(noise), kind)
    with pytest.raises(InputError):
        decode_image(content[: len(content) // 2])


@settings(max_examples=200)
@given(st.sampled_from(["JPEG", "PNG", "GIF", "TIFF", "BMP", "WEBP"]), st.data())
def test_damage_never_escapes(kind, data):
    content = bytearray(encoded(PIL.Image.fromarray(RED), kind))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert decode_image(bytes(content)).shape[2] == 3
    except InputError as error:
        assert len(str(error)) < 300
