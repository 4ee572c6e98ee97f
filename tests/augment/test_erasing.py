"""Erasing and cutout: by hand, and the rectangles that are drawn."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from tamis.augment import Cutout, Draws, RandomErasing, uniforms
from tamis.augment.erasing import erased, erasing_boxes
from tamis.errors import InputError


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_by_hand(dtype, layout) -> None:
    images = torch.full((5, 2, 3, 4), 9).to(dtype).contiguous(memory_format=layout)
    boxes = torch.tensor([[1, 1, 1, 2], [-1, -1, 2, 2], [2, 3, 9, 9], [0, 0, 0, 4], [5, 5, 2, 2]])
    result = erased(images, boxes, fill=1)
    places = [{(1, 1), (1, 2)}, {(0, 0)}, {(2, 3)}, set(), set()]
    for image, wanted in zip(result, places, strict=True):
        assert {tuple(place) for place in (image[0] == 1).nonzero().tolist()} == wanted
        assert torch.equal(image[0], image[1])
    assert result.dtype == dtype
    assert result.is_contiguous(memory_format=layout)
    assert (images == 9).all()


def test_what_is_erased_is_not_read() -> None:
    image = torch.full((1, 1, 2, 2), math.nan)
    assert torch.equal(erased(image, torch.tensor([[0, 0, 2, 2]])), torch.zeros(1, 1, 2, 2))


def test_boxes_by_hand() -> None:
    # A quarter of 16 x 16, ratio 1: 8 x 8.
    wanted = {"area": (0.25, 0.25), "ratio": (1.0, 1.0)}
    assert erasing_boxes(torch.tensor([[0.3, 0.7, 0.5, 0.0]]), (16, 16), **wanted).tolist() == [[4, 0, 8, 8]]
    # Height over width 4: 16 high is not lower than the image; the second attempt, of 1/16, is 8 x 2.
    both = torch.tensor([[1.0, 0.5, 0.0, 0.5, 0.0, 0.99]])
    tall = erasing_boxes(both, (16, 16), area=(1 / 16, 1.0), ratio=(4.0, 4.0))
    assert tall.tolist() == [[0, 14, 8, 2]]
    # None fits: nothing is erased.
    assert erasing_boxes(both[:, [0, 1, 4, 5]], (16, 16), area=(1.0, 1.0), ratio=(4.0, 4.0))[0, 2:].sum() == 0


def test_drawn_boxes() -> None:
    numbers = uniforms(0, 0, torch.arange(20_000), 22, stream="a")
    boxes = erasing_boxes(numbers, (512, 512), area=(0.02, 0.25), ratio=(0.3, 3.3))
    top, left, height, width = boxes.unbind(1)
    assert (boxes >= 0).all()
    assert (top + height <= 512).all()
    assert (left + width <= 512).all()
    share = (height * width).double() / 512**2
    assert stats.kstest(((share - 0.02) / 0.23).numpy(), "uniform").statistic < 0.015
    shape = torch.log(height / width).double()
    unit = (shape - math.log(0.3)) / (math.log(3.3) - math.log(0.3))
    assert stats.kstest(unit.numpy(), "uniform").statistic < 0.015


def test_stage_erases_its_share() -> None:
    images, draws = torch.ones(4000, 1, 16, 16), Draws(0, 0, 0, torch.arange(4000))
    result = RandomErasing(0.3)(images, draws)
    assert abs((result == 0).flatten(1).any(1).float().mean() - 0.3) < 0.03
    assert torch.equal(RandomErasing(0)(images, draws), images)


def test_cutout() -> None:
    images, draws = torch.ones(6400, 1, 8, 8), Draws(0, 0, 0, torch.arange(6400))
    result = Cutout(4, fill=-1)(images, draws)
    sizes = (result == -1).sum((1, 2, 3))
    assert sizes.max() == 16
    assert sizes.min() == 4  # a corner
    # The square's middle is even over all pixels: 2..6 of 8 rows and columns keep it whole.
    assert abs((sizes == 16).float().mean() - (5 / 8) ** 2) < 0.02
    assert torch.equal(Cutout()(images, draws), Cutout(4)(images, draws))
    assert torch.equal(Cutout(0)(images, draws), images)
    assert torch.equal(Cutout(4, probability=0)(images, draws), images)


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (3, 1, 1, 1), (3, 2, 1, 7)])
@pytest.mark.parametrize("stage", [RandomErasing(1), Cutout()])
def test_edges(shape, stage) -> None:
    assert stage(torch.ones(shape), Draws(0, 0, 0, torch.arange(shape[0]))).shape == shape


def test_refusals() -> None:
    with pytest.raises(InputError, match=r"boxes has shape \(1, 4\); expected \(2, 4\)"):
        erased(torch.ones(2, 1, 2, 2), torch.zeros(1, 4))
    with pytest.raises(InputError, match="probability is 2"):
        RandomErasing(2)
    with pytest.raises(InputError, match="area is"):
        RandomErasing(area=(0.5, 1.2))
    with pytest.raises(InputError, match="ratio is"):
        RandomErasing(ratio=(0.0, 1.0))
    with pytest.raises(InputError, match="side is -2"):
        Cutout(-2)
