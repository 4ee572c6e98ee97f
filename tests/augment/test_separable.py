"""Resized crops beside Pillow, blur beside scipy, and the boxes that are drawn."""

from __future__ import annotations

import math

import numpy as np
import PIL.Image
import pytest
import torch
from scipy import ndimage, stats

from tamis.augment import Draws, GaussianBlur, ResizedCrop, uniforms
from tamis.augment.separable import crop_boxes, gaussian_blur, resized_crop
from tamis.errors import InputError


def _floats(n: int = 4, channels: int = 3, height: int = 11, width: int = 9) -> torch.Tensor:
    return torch.rand(n, channels, height, width, generator=torch.Generator().manual_seed(1))


def _by_pillow(image: torch.Tensor, box: list[int], size: tuple[int, int]) -> np.ndarray:
    top, left, height, width = box
    planes = [
        # Cropped first: Pillow's `box` would look beyond it.
        PIL.Image.fromarray(plane[top : top + height, left : left + width].copy()).resize(
            size[::-1], PIL.Image.Resampling.BILINEAR
        )
        for plane in image.float().numpy()
    ]
    return np.stack([np.asarray(plane) for plane in planes])


@pytest.mark.parametrize("size", [(11, 9), (4, 3), (23, 30), (1, 1)])
def test_against_pillow(size) -> None:
    images = _floats()
    boxes = torch.tensor([[0, 0, 11, 9], [2, 3, 5, 4], [10, 8, 1, 1], [0, 2, 11, 3]])
    none = torch.zeros(4, dtype=torch.bool)
    result = resized_crop(images, boxes, size, none)
    for image, box, made in zip(images, boxes.tolist(), result, strict=True):
        np.testing.assert_allclose(made, _by_pillow(image, box, size), atol=2e-6)
    assert torch.equal(resized_crop(images, boxes, size, ~none), result.flip(3))


def test_whole_box_is_the_image() -> None:
    images = _floats().double()
    boxes, none = torch.tensor([[0, 0, 11, 9]] * 4), torch.zeros(4, dtype=torch.bool)
    result = resized_crop(images, boxes, (11, 9), none)
    assert result.dtype == torch.float64
    assert torch.allclose(result, images, atol=1e-12)


def test_autocast_does_not_round() -> None:
    images, boxes = _floats(), torch.tensor([[1, 1, 7, 6]] * 4)
    none = torch.zeros(4, dtype=torch.bool)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = resized_crop(images, boxes, (8, 8), none)
    assert torch.equal(inside, resized_crop(images, boxes, (8, 8), none))


def test_blur_against_scipy() -> None:
    images = _floats().double()
    sigma = torch.tensor([0.5, 1.0, 2.0, 0.0], dtype=torch.float64)
    result = gaussian_blur(images, sigma)
    for image, width, made in zip(images[:3].numpy(), sigma[:3].tolist(), result[:3].numpy(), strict=True):
        for plane, blurred in zip(image, made, strict=True):
            settings = {"sigma": width, "mode": "constant", "truncate": 12 / width}
            weight = ndimage.gaussian_filter(np.ones_like(plane), **settings)
            np.testing.assert_allclose(
                blurred, ndimage.gaussian_filter(plane, **settings) / weight, atol=1e-8
            )
    assert torch.equal(result[3], images[3])
    # A flat image stays flat up to its border.
    flat = gaussian_blur(torch.full((1, 1, 6, 6), 0.3, dtype=torch.float64), torch.tensor([3.0]))
    assert torch.allclose(flat, torch.full_like(flat, 0.3))


def test_boxes_by_hand() -> None:
    # Share 0.25 of 16 x 16, square: 8 x 8; the place is the middle of 0..8.
    wanted = {"area": (0.25, 0.25), "ratio": (1.0, 1.0)}
    assert crop_boxes(torch.tensor([[0.3, 0.7, 0.5, 0.0]]), (16, 16), **wanted).tolist() == [[4, 0, 8, 8]]
    # Share 1 with ratio 4 does not fit into a square; the second attempt, share 0.25, does.
    two = torch.tensor([[1.0, 0.5, 0.0, 0.5, 0.0, 0.99]])
    both = crop_boxes(two, (16, 16), area=(0.25, 1.0), ratio=(4.0, 4.0))
    assert both.tolist() == [[0, 0, 4, 16]]
    # Nothing fits: the largest box of ratio 4 in the middle.
    one = torch.tensor([[1.0, 0.5, 0.3, 0.3]])
    assert crop_boxes(one, (16, 16), area=(1.0, 1.0), ratio=(4.0, 4.0)).tolist() == [[6, 0, 4, 16]]
    assert crop_boxes(one, (16, 4), area=(1.0, 1.0), ratio=(0.9, 1.1)).tolist() == [[6, 0, 4, 4]]


def test_boxes_are_inside_and_even() -> None:
    numbers = uniforms(0, 0, torch.arange(20_000), 22, stream="boxes")
    boxes = crop_boxes(numbers, (64, 64), area=(0.2, 1.0), ratio=(3 / 4, 4 / 3))
    top, left, height, width = boxes.unbind(1)
    assert (boxes >= torch.tensor([0, 0, 1, 1])).all()
    assert (top + height <= 64).all()
    assert (left + width <= 64).all()
    shape = torch.log(width / height)
    assert shape.abs().max() < math.log(4 / 3) + 0.05
    # Where every attempt fits, the share and the logarithm of the ratio are uniform up to whole pixels.
    small = crop_boxes(numbers, (1024, 1024), area=(0.1, 0.5), ratio=(3 / 4, 4 / 3))
    share = (small[:, 2] * small[:, 3]).double() / 1024**2
    assert stats.kstest((share - 0.1).numpy() / 0.4, "uniform").statistic < 0.015
    shape = torch.log(small[:, 3] / small[:, 2]).double().numpy() / math.log(4 / 3)
    assert stats.kstest((shape + 1) / 2, "uniform").statistic < 0.015


def test_stages() -> None:
    images, draws = _floats(), Draws(0, 0, 0, torch.arange(4))
    for size in (None, (5, 6)):
        assert ResizedCrop(size=size)(images, draws).shape == (4, 3, *(size or (11, 9)))
    assert torch.equal(GaussianBlur(probability=0)(images, draws), images)
    assert not torch.equal(GaussianBlur(probability=1)(images, draws), images)
    as_bytes = (images * 255).round().to(torch.uint8)
    assert torch.equal(ResizedCrop()(as_bytes, draws), ResizedCrop()(as_bytes / 255, draws))


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 3, 1, 1), (2, 1, 1, 7)])
@pytest.mark.parametrize("stage", [ResizedCrop(), GaussianBlur(probability=1)])
def test_edges(shape, stage) -> None:
    images = torch.full(shape, 0.5)
    result = stage(images, Draws(0, 0, 0, torch.arange(shape[0])))
    assert result.shape == shape
    assert torch.allclose(result, images)


def test_refusals() -> None:
    images, none = _floats(), torch.zeros(4, dtype=torch.bool)
    with pytest.raises(InputError, match=r"boxes has shape \(4, 3\); expected \(4, 4\)"):
        resized_crop(images, torch.zeros(4, 3), (4, 4), none)
    with pytest.raises(InputError, match=r"size is \(0, 4\)"):
        resized_crop(images, torch.ones(4, 4, dtype=torch.int64), (0, 4), none)
    with pytest.raises(InputError, match=r"uint8; expected floats in 0..1; unit_floats"):
        gaussian_blur(images.to(torch.uint8), torch.ones(4))
    with pytest.raises(InputError, match=r"area is \(0.5, 0.2\)"):
        ResizedCrop(area=(0.5, 0.2))
    with pytest.raises(InputError, match=r"sigma is \(-1, 2\)"):
        GaussianBlur(sigma=(-1, 2))
