"""Colours: beside colorsys and Pillow, and the parameters that a jitter draws."""

from __future__ import annotations

import colorsys
import itertools

import numpy as np
import PIL.Image
import PIL.ImageEnhance
import pytest
import torch
from scipy import stats

from tamis.augment import ColorJitter, Draws, Grey, uniforms
from tamis.augment.color import (
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    greyscale,
)
from tamis.augment.jitter import Jitter, greyed, jittered
from tamis.errors import InputError

_FACTORS = torch.tensor([0.0, 0.4, 1.0, 1.7, 0.9])


@pytest.fixture
def as_bytes() -> torch.Tensor:
    images = torch.randint(256, (5, 3, 9, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    images[2, 1] = images[2, 0]  # ties of channels
    images[3] = images[3, :1]  # a grey image
    return images


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (adjust_brightness, PIL.ImageEnhance.Brightness),
        (adjust_contrast, PIL.ImageEnhance.Contrast),
        (adjust_saturation, PIL.ImageEnhance.Color),
    ],
)
def test_against_pillow(ours, theirs, as_bytes) -> None:
    result = ours(as_bytes / 255, _FACTORS)
    for image, factor, made in zip(as_bytes, _FACTORS.tolist(), result, strict=True):
        enhanced = theirs(PIL.Image.fromarray(image.permute(1, 2, 0).numpy())).enhance(factor)
        # Pillow rounds to bytes on the way, the grey value twice.
        np.testing.assert_allclose(made.permute(1, 2, 0) * 255, np.asarray(enhanced), atol=1.8)


def test_grey_against_pillow(as_bytes) -> None:
    for image, grey in zip(as_bytes, greyscale(as_bytes / 255), strict=True):
        pillow = PIL.Image.fromarray(image.permute(1, 2, 0).numpy()).convert("L")
        np.testing.assert_allclose(grey[0] * 255, np.asarray(pillow), atol=0.51)


def test_hue_against_colorsys(as_bytes) -> None:
    images = as_bytes.double() / 255
    shifts = torch.tensor([0.0, 0.1, -0.5, 0.3, -1.25], dtype=torch.float64)
    result = adjust_hue(images, shifts)
    for image, shift, made in zip(images, shifts.tolist(), result, strict=True):
        for y, x in itertools.product(range(9), range(8)):
            hue, saturation, value = colorsys.rgb_to_hsv(*image[:, y, x].tolist())
            wanted = colorsys.hsv_to_rgb((hue + shift) % 1, saturation, value)
            np.testing.assert_allclose(made[:, y, x], wanted, atol=1e-12)


def test_identities(as_bytes) -> None:
    images = as_bytes / 255
    ones, zeros = torch.ones(5), torch.zeros(5)
    for change in (adjust_brightness, adjust_contrast, adjust_saturation):
        assert torch.allclose(change(images, ones), images, atol=1e-7)
    assert torch.allclose(adjust_hue(images, zeros), images, atol=1e-6)
    assert torch.allclose(adjust_hue(images, ones), images, atol=1e-6)
    assert torch.allclose(adjust_hue(images, ones / 3), images.roll(1, 1), atol=1e-6)
    assert (adjust_brightness(images, zeros) == 0).all()
    assert torch.allclose(adjust_saturation(images, zeros), greyscale(images).expand_as(images))
    flat = adjust_contrast(images, zeros)
    assert torch.allclose(flat, flat[:, :1, :1, :1].expand_as(flat))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_dtype_layout_and_input_stay(dtype, layout, as_bytes) -> None:
    images = (as_bytes / 255).to(dtype).contiguous(memory_format=layout)
    before = images.clone()
    for change in (adjust_brightness, adjust_contrast, adjust_saturation, adjust_hue):
        result = change(images, _FACTORS)
        assert result.dtype == dtype
        assert result.is_contiguous(memory_format=layout)
        assert result.min() >= 0
        assert result.max() <= 1
        assert torch.equal(images, before)


def test_order_of_a_jitter(as_bytes) -> None:
    images = as_bytes / 255
    jitter = Jitter(_FACTORS, _FACTORS, _FACTORS, 0.1 * _FACTORS)
    by_hand = adjust_contrast(adjust_hue(images, 0.1 * _FACTORS), _FACTORS)
    assert torch.equal(jittered(images, jitter, (3, 1)), by_hand)
    assert torch.equal(jittered(images, jitter, ()), images)
    is_grey = torch.tensor([True, False, True, False, False])
    result = greyed(images, is_grey)
    assert torch.equal(result[~is_grey], images[~is_grey])
    assert torch.equal(result[is_grey], greyscale(images)[is_grey].expand(-1, 3, -1, -1))


def test_drawn_parameters() -> None:
    stage = ColorJitter(0.4, 1.5, 0.2, 0.1, probability=0.8)
    jitter = stage.drawn(uniforms(0, 0, torch.arange(20_000), 5, stream="a"))
    is_changed = jitter.brightness != 1
    assert abs(is_changed.float().mean() - 0.8) < 0.01
    for values, low, high, rest in (
        (jitter.brightness, 0.6, 1.4, 1),
        (jitter.contrast, 0.0, 2.5, 1),
        (jitter.saturation, 0.8, 1.2, 1),
        (jitter.hue, -0.1, 0.1, 0),
    ):
        assert (values[~is_changed] == rest).all()
        scaled = (values[is_changed].double().numpy() - low) / (high - low)
        assert stats.kstest(scaled, "uniform").pvalue > 1e-4


def test_order_is_drawn_for_the_step() -> None:
    images, jitter = torch.rand(3, 3, 2, 2), ColorJitter(probability=1)
    index = torch.arange(3)
    parameters = jitter.drawn(Draws(0, 4, 0, index).uniforms(5, "jitter"))
    made = jitter(images, Draws(0, 4, 0, index))
    assert any(torch.equal(made, jittered(images, parameters, o)) for o in itertools.permutations(range(4)))
    orders = {int(Draws(0, step, 0, index).of_step("jitter") * 24) for step in range(400)}
    assert orders == set(range(24))


@pytest.mark.parametrize("shape", [(0, 3, 2, 2), (2, 3, 1, 1), (2, 1, 3, 3)])
@pytest.mark.parametrize("stage", [ColorJitter(probability=1), Grey(1)])
def test_edges(shape, stage) -> None:
    result = stage(torch.full(shape, 0.5), Draws(0, 0, 0, torch.arange(shape[0])))
    assert result.shape == shape
    assert torch.isfinite(result).all()


def test_grey_images_have_no_hue_or_saturation() -> None:
    image = torch.rand(2, 1, 4, 4)
    for change in (adjust_hue, adjust_saturation):
        assert torch.allclose(change(image, torch.tensor([0.3, 1.8])), image, atol=1e-6)
    with pytest.raises(InputError, match="images has 4 channels; operations on colours need 1 or 3"):
        adjust_hue(torch.rand(2, 4, 2, 2), torch.ones(2))
    with pytest.raises(InputError, match=r"factor has shape \(3,\); expected \(2,\)"):
        adjust_brightness(image, torch.ones(3))
    with pytest.raises(InputError, match="hue is"):
        ColorJitter(hue=0.6)
    with pytest.raises(InputError, match="contrast is"):
        ColorJitter(contrast=-1)
