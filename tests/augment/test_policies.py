"""Whole augmentations: pure functions of sample, seed, step, view; the policies; features and tokens."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from tamis.augment import (
    POLICIES,
    Augmentation,
    Draws,
    FeatureDropout,
    FeatureNoise,
    ImageSettings,
    Normalize,
    PixelNoise,
    ShiftedCrop,
    channel_statistics,
    policy,
)
from tamis.augment.images import unit_floats
from tamis.augment.normalizing import normalized
from tamis.augment.policies import FEATURE_STAGES
from tamis.errors import InputError

_SETTINGS = ImageSettings(mean=(0.5, 0.4, 0.3), std=(0.25, 0.2, 0.3))
_NAMES = ["eac", "eac_mirror", "flip", "none", "simsiam", "strong", "weak"]


@pytest.fixture
def images() -> torch.Tensor:
    made = torch.randint(256, (24, 3, 16, 16), generator=torch.Generator().manual_seed(0)).float()
    return torch.nn.functional.avg_pool2d(made, 5, stride=1).round().to(torch.uint8)


def test_names() -> None:
    assert list(POLICIES.names()) == _NAMES
    page = (Path(__file__).parents[2] / "docs" / "augment.md").read_text(encoding="utf-8")
    assert [name for name in _NAMES if f"| `{name}` |" not in page] == []


@pytest.mark.parametrize("name", _NAMES)
def test_sample_does_not_depend_on_its_batch(name, images) -> None:
    augment, index = policy(name, settings=_SETTINGS), torch.arange(100, 124)
    whole = augment(images, index, seed=1, step=5, view=1)
    assert whole.shape == images.shape
    assert whole.dtype == torch.float32
    order = torch.randperm(24, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(
        augment(images[order], index[order], seed=1, step=5, view=1), whole[order], atol=1e-6
    )
    halves = [augment(images[part], index[part], seed=1, step=5, view=1) for part in (slice(7), slice(7, 24))]
    assert torch.allclose(torch.cat(halves), whole, atol=1e-6)
    assert torch.equal(augment(images, index, seed=1, step=5, view=1), whole)


@pytest.mark.parametrize("name", _NAMES)
def test_seed_step_view_and_row_matter(name, images) -> None:
    augment, index = policy(name, settings=_SETTINGS), torch.arange(24)
    base = augment(images, index, seed=1, step=5, view=0)
    others = [
        augment(images, index, seed=2, step=5, view=0),
        augment(images, index, seed=1, step=6, view=0),
        augment(images, index, seed=1, step=5, view=1),
        augment(images, index + 1, seed=1, step=5, view=0),
    ]
    assert all(torch.equal(base, other) == (name == "none") for other in others)


@pytest.mark.parametrize("name", _NAMES)
def test_dtypes_and_layouts(name, images) -> None:
    augment, index = policy(name, settings=_SETTINGS), torch.arange(24)
    moment = {"seed": 0, "step": 0}
    wanted = augment(images, index, **moment)
    assert wanted.is_contiguous()
    before = images.clone()
    last = augment(images.contiguous(memory_format=torch.channels_last), index, **moment)
    assert last.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(last, wanted, atol=1e-5)
    floats = images / 255
    assert torch.allclose(augment(floats, index, **moment), wanted, atol=1e-5)
    double = augment(floats.double(), index, **moment)
    assert double.dtype == torch.float64
    # A byte that rounds the other way moves a posterized or equalized pixel by a level or more.
    assert ((double - wanted).abs() < 1e-4).double().mean() > 0.99
    half = augment(floats.bfloat16(), index, **moment)
    assert half.dtype == torch.bfloat16
    assert torch.isfinite(half).all()
    to_half = policy(name, settings=_SETTINGS, dtype=torch.bfloat16)(images, index, **moment)
    assert torch.equal(to_half, wanted.bfloat16())
    assert torch.equal(images, before)


@pytest.mark.parametrize("name", _NAMES)
@pytest.mark.parametrize("shape", [(0, 3, 8, 8), (2, 3, 1, 1), (2, 1, 5, 3)])
def test_edges(name, shape) -> None:
    one = ImageSettings(mean=(0.5,), std=(0.5,))
    result = policy(name, settings=one)(torch.full(shape, 0.5), torch.arange(shape[0]), seed=0, step=0)
    assert result.shape == shape
    assert torch.isfinite(result).all()


@pytest.mark.parametrize("name", _NAMES)
def test_autocast_does_not_round(name, images) -> None:
    augment, index = policy(name, settings=_SETTINGS), torch.arange(24)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = augment(images, index, seed=0, step=0)
    assert torch.equal(inside, augment(images, index, seed=0, step=0))


def test_none_and_mirror(images) -> None:
    index = torch.arange(24)
    plain = policy("none", settings=_SETTINGS)(images, index, seed=0, step=0)
    assert torch.equal(plain, normalized(images, _SETTINGS.mean, _SETTINGS.std))
    flipped = policy("flip", settings=_SETTINGS)(images, index, seed=0, step=0)
    same = torch.isclose(flipped, plain, atol=1e-6).flatten(1).all(1)
    assert torch.allclose(flipped[~same], plain[~same].flip(3), atol=1e-6)
    assert 0 < same.sum() < 24


@pytest.mark.parametrize("name", ["flip", "weak", "strong", "simsiam", "eac"])
def test_without_mirror_images(name, images) -> None:
    """With flip=False the other draws stay, and no image is mirrored."""
    index = torch.arange(24)
    moment = {"seed": 0, "step": 0}
    free = policy(name, settings=ImageSettings())(images, index, **moment)
    kept = policy(name, settings=ImageSettings(flip=False))(images, index, **moment)
    same = torch.isclose(free, kept, atol=1e-6).flatten(1).all(1)
    assert same.any()
    assert same.all() == (name == "eac")
    if name == "flip":
        assert torch.allclose(kept, images / 255)
    if name == "weak":
        assert torch.allclose(free[~same], kept[~same].flip(3))
    with pytest.raises(InputError, match="flip=False says that mirror images change"):
        policy("eac_mirror", settings=ImageSettings(flip=False))


def test_branches_of_eac(images) -> None:
    index, moment = torch.arange(24), {"seed": 0, "step": 0}
    plain = normalized(images, _SETTINGS.mean, _SETTINGS.std)
    second = policy("eac_mirror", settings=_SETTINGS)(images, index, view=0, **moment)
    kept = second != 0
    assert torch.allclose(second[kept], plain.flip(3)[kept])
    first = policy("eac", settings=_SETTINGS)(images, index, view=0, **moment)
    difference = (first - plain) * torch.tensor(_SETTINGS.std)[:, None, None]
    noise = difference.where(first != 0, 0).flatten(1)
    is_noisy = noise.abs().amax(1) > 1e-4
    assert 4 <= is_noisy.sum() <= 20
    assert abs(noise[is_noisy].std() * 255 - math.sqrt(30)) < 1.2
    # Each branch is erased on its own.
    assert not torch.equal((first == 0), (second == 0).flip(3))


def test_padding_setting(images) -> None:
    shape = torch.ones(500, 1, 16, 16)
    result = policy("weak", settings=ImageSettings(padding=6))(shape, torch.arange(500), seed=0, step=0)
    assert (result[:, 0, 8, :] == 0).sum(1).max() == 6
    default = policy("weak")(shape, torch.arange(500), seed=0, step=0)
    assert (default[:, 0, 8, :] == 0).sum(1).max() == 2


@pytest.mark.parametrize("name", FEATURE_STAGES)
def test_features(name) -> None:
    features = torch.nn.functional.normalize(torch.randn(40, 64, generator=torch.Generator().manual_seed(0)))
    index = torch.arange(40)
    augment = policy(name, kind="features")
    result = augment(features, index, seed=0, step=3)
    assert result.shape == features.shape
    assert torch.equal(result, features) == (name in {"none", "flip"})
    assert torch.equal(augment(features[5:6], index[5:6], seed=0, step=3)[0], result[5])
    assert augment(features.bfloat16(), index, seed=0, step=3).dtype == torch.bfloat16
    assert augment(features[:0], index[:0], seed=0, step=3).shape == (0, 64)


def test_feature_noise_and_dropout() -> None:
    features = torch.full((500, 40), 2.0)
    draws = Draws(0, 0, 0, torch.arange(500))
    noise = FeatureNoise(0.1)(features, draws) - features
    assert abs(noise.std() - 0.2) < 0.005
    spread = torch.linspace(0, 3, 40)
    by_column = (FeatureNoise(0.5, spread)(features, draws) - features).std(0)
    assert torch.allclose(by_column, spread / 2, rtol=0.15)
    dropped = FeatureDropout(0.25)(features, draws)
    assert abs((dropped == 0).float().mean() - 0.25) < 0.01
    assert torch.allclose(dropped[dropped != 0], torch.tensor(2 / 0.75))
    assert torch.equal(FeatureDropout(0)(features, draws), features)


def test_tokens_stay() -> None:
    tokens = torch.randint(1000, (4, 12))
    for name in _NAMES:
        assert policy(name, kind="tokens")(tokens, torch.arange(4), seed=0, step=0) is tokens


def test_statistics_of_channels(images) -> None:
    mean, std = channel_statistics([images[:5], images[5:]])
    values = images.double().numpy() / 255
    np.testing.assert_allclose(mean, values.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std, values.std((0, 2, 3)), rtol=1e-9)
    made = Normalize(mean, std)(images, Draws(0, 0, 0, torch.arange(24)))
    np.testing.assert_allclose(made.mean((0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(made.std((0, 2, 3), correction=0), 1, atol=1e-5)
    assert channel_statistics([torch.full((2, 1, 3, 3), 0.5)]) == ((0.5,), (1.0,))
    floats = channel_statistics([images / 255])
    np.testing.assert_allclose(floats, (mean, std), rtol=1e-6)


def test_pixel_noise() -> None:
    images, draws = torch.full((400, 3, 5, 5), 0.5), Draws(0, 0, 0, torch.arange(400))
    result = PixelNoise(0.1)(images, draws)
    is_noisy = (result != images).flatten(1).any(1)
    assert abs(is_noisy.float().mean() - 0.5) < 0.08
    assert abs(result[is_noisy].std() - 0.1) < 0.003
    assert PixelNoise(5.0, 1)(images, draws).max() == 1
    assert torch.equal(unit_floats(images), images)


def test_refusals(images) -> None:
    index = torch.arange(24)
    with pytest.raises(InputError, match="unknown augmentation policy 'wek'; did you mean 'weak'"):
        policy("wek")
    with pytest.raises(InputError, match="kind is 'sound'"):
        policy("weak", kind="sound")
    with pytest.raises(InputError, match="'eac' has no meaning for features; those that have one: none"):
        policy("eac", kind="features")
    with pytest.raises(InputError, match=r"index has shape \(3,\); expected \(24,\)"):
        policy("weak")(images, index[:3], seed=0, step=0)
    with pytest.raises(InputError, match="two stages draw from the stream 'crop'"):
        Augmentation([ShiftedCrop(), ShiftedCrop()])
    assert len(Augmentation([ShiftedCrop(), ShiftedCrop(stream="again")]).stages) == 2
    with pytest.raises(InputError, match="mean has 3 numbers and images 1 channels"):
        policy("none", settings=_SETTINGS)(images[:, :1], index, seed=0, step=0)
    with pytest.raises(InputError, match="those of std above 0"):
        Normalize((0.5,), (0.0,))
    with pytest.raises(InputError, match="blocks holds no image"):
        channel_statistics([])
    with pytest.raises(InputError, match="a block has 1 channels and those before it 3"):
        channel_statistics([images, images[:, :1]])
    with pytest.raises(InputError, match=r"features has shape \(2, 3, 4\)"):
        FeatureNoise()(torch.ones(2, 3, 4), Draws(0, 0, 0, torch.arange(2)))
    with pytest.raises(InputError, match=r"spread has shape \(2,\); expected \(3,\)"):
        FeatureNoise(0.1, torch.ones(2))(torch.ones(2, 3), Draws(0, 0, 0, torch.arange(2)))
    with pytest.raises(InputError, match="rate is 1"):
        FeatureDropout(1)
    assert "ShiftedCrop" in repr(policy("weak"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", _NAMES)
def test_same_on_a_gpu(name, images) -> None:
    augment, index = policy(name, settings=_SETTINGS), torch.arange(24)
    wanted = augment(images, index, seed=0, step=0)
    made = augment(images.cuda(), index.cuda(), seed=0, step=0).cpu()
    assert ((made - wanted).abs() < 1e-3).double().mean() > 0.99
