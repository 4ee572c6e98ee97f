"""RandAugment and its operations: tones beside Pillow, maps of the plane beside scipy and Pillow."""

from __future__ import annotations

import numpy as np
import PIL.Image
import PIL.ImageEnhance
import PIL.ImageOps
import pytest
import torch
from scipy import ndimage

from tamis.augment import Draws, RandAugment
from tamis.augment.affine import affine, shears, shifts, turns
from tamis.augment.rand_augment import OPERATIONS, with_operations
from tamis.augment.tones import autocontrasted, equalized, posterized, sharpened, solarized
from tamis.errors import InputError


@pytest.fixture
def as_bytes() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    images = (torch.randn(5, 3, 31, 33, generator=generator) * 30 + 120).clamp(0, 255).to(torch.uint8)
    images[1] = 77  # one value
    images[2] = torch.randint(2, (3, 31, 33), generator=generator).to(torch.uint8) * 255  # two values
    return images


def _pillow(image: torch.Tensor) -> PIL.Image.Image:
    return PIL.Image.fromarray(image.permute(1, 2, 0).numpy())


def _check(result: torch.Tensor, pillow: list[PIL.Image.Image], atol: float) -> None:
    for made, wanted in zip(result, pillow, strict=True):
        np.testing.assert_allclose(made.permute(1, 2, 0) * 255, np.asarray(wanted), atol=atol)


def test_tones_against_pillow(as_bytes) -> None:
    images = as_bytes / 255
    pillow = [_pillow(image) for image in as_bytes]
    bits = torch.tensor([1, 4, 8, 2, 7])
    wanted = [PIL.ImageOps.posterize(image, int(bit)) for image, bit in zip(pillow, bits, strict=True)]
    _check(posterized(images, bits), wanted, 1e-3)
    levels = torch.tensor([0, 100, 256, 128, 77])
    wanted = [PIL.ImageOps.solarize(image, int(level)) for image, level in zip(pillow, levels, strict=True)]
    _check(solarized(images, (levels - 0.5) / 255), wanted, 1e-3)
    _check(equalized(images), [PIL.ImageOps.equalize(image) for image in pillow], 1e-3)
    # Pillow cuts the fraction off.
    _check(autocontrasted(images), [PIL.ImageOps.autocontrast(image) for image in pillow], 1.01)
    factors = torch.tensor([0.0, 0.5, 1.0, 1.9, 3.0])
    wanted = [
        PIL.ImageEnhance.Sharpness(image).enhance(float(factor))
        for image, factor in zip(pillow, factors, strict=True)
    ]
    _check(sharpened(images, factors), wanted, 2.01)


def test_tones_by_hand() -> None:
    image = torch.tensor([0.0, 0.2, 0.6, 1.0]).view(1, 1, 2, 2)
    assert solarized(image, torch.tensor([0.6])).flatten().tolist() == pytest.approx([0, 0.2, 0.4, 0])
    assert posterized(image, torch.tensor([1])).flatten().tolist() == pytest.approx(
        [0, 0, 128 / 255, 128 / 255]
    )
    assert posterized(image, torch.tensor([0])).sum() == 0
    half = autocontrasted(image / 2 + 0.25)
    assert torch.allclose(half, image)
    assert torch.equal(equalized(image), image)


@pytest.mark.parametrize("fill", [0.0, 0.5, 1.0])
def test_affine_against_scipy(fill, as_bytes) -> None:
    images = as_bytes.double() / 255
    matrices = torch.cat(
        (
            shears(torch.tensor([0.3]), torch.tensor([0.0])),
            shears(torch.tensor([0.1]), torch.tensor([-0.2])),
            shifts(torch.tensor([2.5]), torch.tensor([-4.0])),
            turns(torch.tensor([25.0])),
            shifts(torch.tensor([40.0]), torch.tensor([0.0])),
        )
    ).double()
    result = affine(images, matrices, fill=fill)
    middle = np.array([15.0, 16.0])
    for image, matrix, made in zip(images.numpy(), matrices.numpy(), result.numpy(), strict=True):
        by_rows = matrix[::-1, [1, 0]]  # scipy counts y first
        offset = matrix[::-1, 2] + middle - by_rows @ middle
        for plane, changed in zip(image, made, strict=True):
            wanted = ndimage.affine_transform(
                plane, by_rows, offset=offset, order=1, mode="grid-constant", cval=fill
            )
            np.testing.assert_allclose(changed, wanted, atol=1e-9)


def test_turn_against_pillow(as_bytes) -> None:
    planes = torch.nn.functional.avg_pool2d(
        as_bytes[:1].float(), 5, stride=1
    )  # smooth: rounding matters less
    made = affine(planes, turns(torch.tensor([30.0])), fill=0)[0].numpy()
    for plane, changed in zip(planes[0].numpy(), made, strict=True):
        turned = PIL.Image.fromarray(plane).rotate(30, resample=PIL.Image.Resampling.BILINEAR)
        inside = np.asarray(PIL.Image.new("F", turned.size, 1.0).rotate(35)) > 0
        inside &= np.asarray(PIL.Image.new("F", turned.size, 1.0).rotate(25)) > 0
        inside[:2] = inside[-2:] = inside[:, :2] = inside[:, -2:] = False
        # Pillow leaves out the outermost half pixel.
        inner = ndimage.binary_erosion(inside, iterations=2)
        assert inner.sum() > 200
        np.testing.assert_allclose(changed[inner], np.asarray(turned)[inner], atol=0.05)


def test_whole_shift_is_exact() -> None:
    images = torch.rand(2, 3, 6, 7)
    moved = affine(images, shifts(torch.tensor([2.0, 0.0]), torch.tensor([0.0, -1.0])), fill=0)
    assert torch.allclose(moved[0, :, :, :-2], images[0, :, :, 2:], atol=1e-5)
    assert torch.allclose(moved[0, :, :, -2:], torch.zeros(3, 6, 2), atol=1e-5)
    assert torch.allclose(moved[1, :, 1:], images[1, :, :-1], atol=1e-5)


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_keeps_shape_and_range(name, as_bytes) -> None:
    images = as_bytes / 255
    for strength in (-1.0, -0.3, 0.0, 1.0):
        result = OPERATIONS[name](images, torch.full((5,), strength))
        assert result.shape == images.shape
        assert result.min() >= -1e-6
        assert result.max() <= 1 + 1e-6
    if name not in {"autocontrast", "equalize", "solarize"}:
        assert torch.allclose(OPERATIONS[name](images, torch.zeros(5)), images, atol=1e-5)
    grey = images[:, :1]
    assert OPERATIONS[name](grey, torch.full((5,), 0.5)).shape == grey.shape


def test_each_image_gets_its_own_operations(as_bytes) -> None:
    images = as_bytes / 255
    names = list(OPERATIONS)
    chosen = torch.tensor([[3, 1], [0, 0], [13, 4], [6, 3], [2, 2]])
    strengths = torch.tensor([[0.5, 0.1], [1.0, 1.0], [-0.5, 0.2], [0.4, -1.0], [0.3, 0.3]])
    result = with_operations(images, chosen, strengths)
    for b in range(5):
        alone = images[b : b + 1]
        for number, strength in zip(chosen[b].tolist(), strengths[b], strict=True):
            alone = OPERATIONS[names[number]](alone, strength[None])
        assert torch.allclose(result[b], alone[0], atol=1e-6)


def test_draws() -> None:
    # Operations are told apart by a picture of a ramp; here only their frequencies, from the same numbers.
    numbers = Draws(0, 0, 0, torch.arange(28_000)).uniforms(4, "rand augment")
    counts = torch.bincount((numbers[:, :2] * len(OPERATIONS)).long().flatten(), minlength=14)
    assert len(counts) == 14
    assert (counts / 56_000 - 1 / 14).abs().max() < 0.005
    images = torch.rand(64, 3, 8, 8)
    draws = Draws(0, 0, 0, torch.arange(64))
    assert torch.equal(RandAugment(0)(images, draws), images)
    assert not torch.equal(RandAugment(1)(images, draws), images)


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (40, 3, 1, 1), (40, 1, 2, 5)])
def test_edges(shape) -> None:
    images = torch.full(shape, 0.25)
    result = RandAugment(2)(images, Draws(0, 0, 0, torch.arange(shape[0])))
    assert result.shape == shape
    assert torch.isfinite(result).all()


def test_refusals() -> None:
    images = torch.rand(2, 3, 4, 4)
    with pytest.raises(InputError, match="images has 2 channels"):
        with_operations(images[:, :2], torch.zeros(2, 1, dtype=torch.int64), torch.zeros(2, 1))
    with pytest.raises(InputError, match=r"strengths has shape \(2, 2\); expected \(2, 1\)"):
        with_operations(images, torch.zeros(2, 1, dtype=torch.int64), torch.zeros(2, 2))
    with pytest.raises(InputError, match=r"matrices has shape \(2, 3\); expected \(2, 2, 3\)"):
        affine(images, torch.zeros(2, 3))
    with pytest.raises(InputError, match="magnitude is"):
        RandAugment(magnitude=2)
    with pytest.raises(InputError, match="n_operations is -1"):
        RandAugment(-1)
