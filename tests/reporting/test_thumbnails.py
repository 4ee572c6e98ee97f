"""Thumbnails: sizes, formats, bounds, and rows without a picture."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from tamis.reporting.thumbnails import make_thumbnails


def decode(thumbnail):
    kind, data = thumbnail.uri.removeprefix("data:image/").split(";base64,")
    picture = Image.open(io.BytesIO(base64.b64decode(data)))
    assert picture.format.lower() == kind
    return picture


def test_small_pictures_keep_every_pixel(fake_input):
    sample = np.zeros((32, 20, 3), dtype=np.uint8)
    sample[::2, :, 1] = 200
    thumbnail = make_thumbnails(fake_input("image", [sample]), [0], 112)[0]
    assert thumbnail.is_tiny
    assert (thumbnail.width, thumbnail.height) == (20, 32)
    np.testing.assert_array_equal(np.asarray(decode(thumbnail)), sample)


@pytest.mark.parametrize(
    ("shape", "size"), [((480, 640), (112, 84)), ((3_000, 2), (1, 112)), ((100, 100), (100, 100))]
)
def test_large_pictures_fit_and_keep_their_shape(fake_input, shape, size):
    source = fake_input("image", [np.full((*shape, 3), 90, dtype=np.uint8)])
    thumbnail = make_thumbnails(source, [0], 112)[0]
    assert (thumbnail.width, thumbnail.height) == size == decode(thumbnail).size
    assert not thumbnail.is_tiny
    assert abs(np.asarray(decode(thumbnail)).astype(int) - 90).max() <= 2


@pytest.mark.parametrize("side", [33, 64, 112, 224, 500])
@pytest.mark.parametrize("size", [112, 224])
def test_size_is_bounded_even_for_noise(fake_pictures, side, size):
    thumbnail = make_thumbnails(fake_pictures(1, side), [0], size)[0]
    assert len(base64.b64decode(thumbnail.uri.split(",")[1])) <= 1.1 * size * size / 4


def test_each_row_is_decoded_once_whatever_the_order(fake_pictures):
    source = fake_pictures(20)
    made = make_thumbnails(source, [7, 3, 7, 19, 3, 0], 112)
    assert sorted(made) == [0, 3, 7, 19]
    assert source.n_reads == 4
    assert made[7] == make_thumbnails(source, [7], 112)[7]


def test_rows_without_a_picture_say_why(fake_input, unreadable):
    source = fake_input(
        "image", [unreadable(0, "not an image"), np.zeros((0, 5, 3), np.uint8), unreadable(2, "")]
    )
    made = make_thumbnails(source, range(3), 112)
    assert made[0].reason == "not an image"
    assert [made[row].uri for row in range(3)] == ["", "", ""]
    assert made[1].reason
    assert made[2].reason
