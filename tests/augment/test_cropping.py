"""Shifted crops: by hand, beside a loop over pixels, and at the edges."""

from __future__ import annotations

import pytest
import torch

from tamis.augment import Draws, Mirror, ShiftedCrop
from tamis.augment.cropping import mirrored, shifted_crop
from tamis.errors import InputError


def _images(n: int = 6, channels: int = 3, height: int = 7, width: int = 5, seed: int = 0) -> torch.Tensor:
    made = torch.randint(256, (n, channels, height, width), generator=torch.Generator().manual_seed(seed))
    return made.to(torch.uint8)


def _slow(images, down, right, is_mirrored, padding):
    result = torch.zeros_like(images)
    n, channels, height, width = images.shape
    for b in range(n):
        window = torch.zeros(channels, height, width, dtype=images.dtype)
        for i in range(height):
            for j in range(width):
                y, x = i + int(down[b]), j + int(right[b])
                if padding == "reflect":
                    while not 0 <= y < height:
                        y = -y if y < 0 else 2 * (height - 1) - y
                    while not 0 <= x < width:
                        x = -x if x < 0 else 2 * (width - 1) - x
                if 0 <= y < height and 0 <= x < width:
                    window[:, i, j] = images[b, :, y, x]
        result[b] = window.flip(2) if is_mirrored[b] else window
    return result


def test_by_hand() -> None:
    image = torch.tensor([[[[1, 2, 3], [4, 5, 6]]]], dtype=torch.uint8)
    one, no, yes = torch.tensor([1]), torch.tensor([False]), torch.tensor([True])
    assert shifted_crop(image, -one, one, no).tolist() == [[[[0, 0, 0], [2, 3, 0]]]]
    assert shifted_crop(image, -one, one, yes).tolist() == [[[[0, 0, 0], [0, 3, 2]]]]
    assert shifted_crop(image, 0 * one, -one, no, padding="reflect").tolist() == [[[[2, 1, 2], [5, 4, 5]]]]
    assert shifted_crop(image, 0 * one, 0 * one, yes).tolist() == [[[[3, 2, 1], [6, 5, 4]]]]


@pytest.mark.parametrize("padding", ["zero", "reflect"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16, torch.float64])
def test_against_a_loop(padding, layout, dtype) -> None:
    images = _images().to(dtype).contiguous(memory_format=layout)
    before = images.clone()
    down = torch.tensor([-7, -2, 0, 1, 3, 20])
    right = torch.tensor([5, -1, 0, 2, -13, 4])
    is_mirrored = torch.tensor([True, False, True, False, True, False])
    result = shifted_crop(images, down, right, is_mirrored, padding=padding)
    assert torch.equal(result, _slow(images, down, right, is_mirrored, padding))
    assert torch.equal(images, before)
    assert result.dtype == dtype
    assert result.is_contiguous(memory_format=layout)


def test_no_shift_and_no_mirror_changes_nothing() -> None:
    images = _images()
    zero, no = torch.zeros(6, dtype=torch.int64), torch.zeros(6, dtype=torch.bool)
    for padding in ("zero", "reflect"):
        assert torch.equal(shifted_crop(images, zero, zero, no, padding=padding), images)
    assert torch.equal(mirrored(mirrored(images, ~no), ~no), images)
    assert torch.equal(mirrored(images, ~no), shifted_crop(images, zero, zero, ~no))


def test_draws_are_even() -> None:
    ramp = torch.arange(1.0, 65).view(1, 1, 8, 8).expand(20_000, -1, -1, -1)
    crops = ShiftedCrop(2, padding="reflect")(ramp, Draws(0, 0, 0, torch.arange(20_000)))
    # The pixel in row 4 tells the shift down; its neighbour to the right tells a mirror image.
    is_mirrored = crops[:, 0, 4, 4] < crops[:, 0, 4, 3]
    assert abs(is_mirrored.float().mean() - 0.5) < 0.015
    rows = (crops[:, 0, 4, 4] - 1).long() // 8
    assert (torch.bincount(rows)[2:] / 20_000 - 0.2).abs().max() < 0.015
    assert len(torch.bincount(rows)) == 7
    places = torch.bincount((crops[~is_mirrored, 0, 4, 4] - 1).long() % 8) / float((~is_mirrored).sum())
    assert (places[2:] - 0.2).abs().max() < 0.02


def test_mirror_draws() -> None:
    images = _images(2000, 1, 1, 2)
    draws = Draws(0, 0, 0, torch.arange(2000))
    changed = (Mirror()(images, draws) != images).flatten(1).any(1)
    differs = images[:, 0, 0, 0] != images[:, 0, 0, 1]
    assert abs(changed[differs].float().mean() - 0.5) < 0.05
    assert torch.equal(Mirror(0)(images, draws), images)
    assert torch.equal(Mirror(1)(images, draws), images.flip(3))
    assert torch.equal(ShiftedCrop(0, mirror=0)(images, draws), images)


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (3, 1, 1, 1), (2, 3, 1, 1), (2, 2, 1, 9), (2, 5, 3, 2)])
@pytest.mark.parametrize("padding", ["zero", "reflect"])
def test_edges(shape, padding) -> None:
    images = torch.ones(shape)
    index = torch.arange(shape[0])
    for size in (None, 0, 4):
        result = ShiftedCrop(size, padding=padding)(images, Draws(0, 0, 0, index))
        assert result.shape == shape
        if padding == "reflect" or size == 0:
            assert torch.equal(result, images)


def test_refusals() -> None:
    images, zero, no = _images(2), torch.zeros(2, dtype=torch.int64), torch.zeros(2, dtype=torch.bool)
    for wrong, message in (
        (images[0], r"images has shape \(3, 7, 5\); expected \(B, C, H, W\)"),
        (images[:, :, :0], r"images has shape \(2, 3, 0, 5\)"),
        (images.long(), "images has dtype torch.int64; expected uint8 or floats"),
    ):
        with pytest.raises(InputError, match=message):
            shifted_crop(wrong, zero, zero, no)
    with pytest.raises(InputError, match=r"right has shape \(1,\); expected \(2,\)"):
        shifted_crop(images, zero, zero[:1], no)
    with pytest.raises(InputError, match="padding is 'edge'; expected 'zero' or 'reflect'"):
        shifted_crop(images, zero, zero, no, padding="edge")
    with pytest.raises(InputError, match="size is -1"):
        ShiftedCrop(-1)
    for make in (lambda: ShiftedCrop(mirror=1.5), lambda: Mirror(-0.1)):
        with pytest.raises(InputError, match="expected a probability"):
            make()
