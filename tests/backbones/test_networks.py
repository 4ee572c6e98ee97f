"""Networks trained from scratch: shapes, sizes, first weights, and that they learn."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from tamis.backbones import MLP, Classifier, PreActResNet18, SmallCNN, build_backbone
from tamis.backbones.preact_resnet import PreActBlock
from tamis.errors import InputError


def n_weights(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_mlp_by_hand() -> None:
    network = MLP(2, hidden=(2, 1))
    with torch.no_grad():
        network.layers[0].weight.copy_(torch.tensor([[1.0, -1.0], [2.0, 0.0]]))
        network.layers[0].bias.copy_(torch.tensor([0.0, -1.0]))
        network.layers[2].weight.copy_(torch.tensor([[3.0, 1.0]]))
    # relu(1 - 2, 2 - 1) = (0, 1) and relu(2 - 1, 4 - 1) = (1, 3).
    assert network(torch.tensor([[1.0, 2.0], [2.0, 1.0]])).tolist() == [[1.0], [6.0]]


def test_sizes() -> None:
    # 64 (27 + 9 (4 * 64 + ...)): the published 11.17 million, with the last norm of the paper.
    preact = build_backbone("preact_resnet18", input_shape=(3, 32, 32), n_classes=10, seed=0)
    assert n_weights(preact) == 11_171_146 + 2 * 512
    assert n_weights(build_backbone("linear", input_shape=(256,), n_classes=10, seed=0)) == 2570
    mlp = build_backbone("mlp", input_shape=(256,), n_classes=10, seed=0)
    assert n_weights(mlp) == 257 * 512 + 513 * 10
    bare = build_backbone("small_cnn", input_shape=(1, 28, 28), n_classes=10, seed=0, norm="none")
    kernels = 9 * (1 * 32 + 32 * 64 + 64 * 128 + 128 * 128)
    assert n_weights(bare) == kernels + 32 + 64 + 128 + 128 + 129 * 10


@pytest.mark.parametrize("side", [28, 32, 64])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("name", "width", "shrink"), [("small_cnn", 128, 4), ("preact_resnet18", 64, 8)])
def test_shapes(name: str, width: int, shrink: int, channels: int, side: int) -> None:
    options = {"width": 8} if name == "preact_resnet18" else {}
    network = build_backbone(name, input_shape=(channels, side, side), n_classes=7, seed=0, **options)
    outputs = network.eval()(noise(2, channels, side, side))
    places = -(-side // shrink)
    assert outputs.logits.shape == (2, 7)
    assert outputs.features.shape == (2, width)
    assert outputs.maps is not None
    assert outputs.maps.shape == (2, width, places, places)


def test_block_against_its_formula() -> None:
    block = PreActBlock(4, 6, 2).double().eval()
    with torch.no_grad():
        for norm in (block.norm1, block.norm2):
            norm.running_mean.copy_(noise(norm.num_features))
            norm.running_var.copy_(noise(norm.num_features).exp())
    inputs = noise(2, 4, 8, 8).double()

    def normed(x: torch.Tensor, norm: nn.BatchNorm2d) -> torch.Tensor:
        scale = (norm.running_var + norm.eps).rsqrt()[:, None, None]
        return ((x - norm.running_mean[:, None, None]) * scale).clamp(min=0)

    assert block.shortcut is not None
    active = normed(inputs, block.norm1)
    middle = functional.conv2d(active, block.conv1.weight, stride=2, padding=1)
    expected = functional.conv2d(normed(middle, block.norm2), block.conv2.weight, padding=1)
    expected = expected + functional.conv2d(active, block.shortcut.weight, stride=2)
    assert torch.allclose(block(inputs), expected, atol=1e-12)
    # Same shape: the shortcut is the input, before norm and rectifier.
    same = PreActBlock(4, 4, 1).double().eval()
    with torch.no_grad():
        same.conv2.weight.zero_()
    assert torch.equal(same(inputs), inputs)


def build(name: str, seed: int, **options: str) -> Classifier:
    shape = (20,) if name in ("linear", "mlp") else (3, 16, 16)
    return build_backbone(name, input_shape=shape, n_classes=3, seed=seed, **options)


@pytest.mark.parametrize("name", ["linear", "mlp", "small_cnn", "preact_resnet18"])
def test_first_weights_are_a_function_of_the_seed(name: str) -> None:
    before = torch.get_rng_state()
    one, again, other = build(name, 1).state_dict(), build(name, 1).state_dict(), build(name, 2).state_dict()
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(one[key], again[key]) for key in one)
    drawn = [key for key in one if one[key].ndim > 1]
    assert drawn
    assert not any(torch.equal(one[key], other[key]) for key in drawn)


@pytest.mark.parametrize("norm", ["group", "none"])
def test_without_batch_norm_a_sample_stands_alone(norm: str) -> None:
    network = SmallCNN(3, norm=norm).double().train()  # type: ignore[arg-type]
    images = noise(5, 3, 16, 16).double()
    together = network(images)
    assert torch.allclose(network(images[2:3]), together[2:3], atol=1e-12)
    order = [4, 2, 0, 1, 3]
    assert torch.allclose(network(images[order]), together[order], atol=1e-12)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())


@pytest.mark.parametrize("name", ["mlp", "small_cnn", "preact_resnet18"])
def test_signal_keeps_its_scale(name: str) -> None:
    network = build(name, 0, **({"norm": "none"} if name == "small_cnn" else {})).train()
    inputs = noise(64, 20) if name == "mlp" else noise(64, 3, 16, 16)
    outputs = network(inputs)
    assert 0.1 < outputs.features.square().mean().sqrt() < 10
    # Nearly even first predictions.
    assert outputs.logits.softmax(dim=1).max() < 0.9


def test_small_network_with_every_place_in_its_head() -> None:
    # 30 px become 15, then 7.
    flat = build_backbone("small_cnn", input_shape=(1, 30, 28), n_classes=4, seed=0, pool="flatten", width=8)
    outputs = flat(noise(2, 1, 30, 28))
    assert outputs.features.shape == (2, 32 * 7 * 7)
    assert outputs.maps is None


def test_dropout_works_in_training_only() -> None:
    inputs, images = noise(4, 20), noise(4, 3, 16, 16)
    for network, batch in ((MLP(20, dropout=0.5), inputs), (SmallCNN(dropout=0.5), images)):
        with torch.random.fork_rng(devices=[]):
            assert not torch.equal(network(batch), network(batch))
        network.eval()
        assert torch.equal(network(batch), network(batch))
    # Whole channels fall out.
    with torch.random.fork_rng(devices=[]):
        maps = SmallCNN(dropout=0.5).train()(images)
    assert ((maps == 0).all(dim=(2, 3))).float().mean() > 0.25


@pytest.mark.parametrize("name", ["linear", "mlp", "small_cnn", "preact_resnet18"])
def test_learns_planted_classes(name: str) -> None:
    labels = torch.arange(60) % 3
    shape = (20,) if name in ("linear", "mlp") else (3, 16, 16)
    inputs = noise(60, *shape)
    # A class shows in the mean of its samples.
    inputs[torch.arange(60), labels] += 2.0
    options = {"width": 8} if name == "preact_resnet18" else {}
    network = build_backbone(name, input_shape=shape, n_classes=3, seed=0, **options)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02 if name == "linear" else 0.005)
    for _ in range(30):
        optimizer.zero_grad()
        functional.cross_entropy(network(inputs).logits, labels).backward()
        optimizer.step()
    assert (network.train()(inputs).logits.argmax(dim=1) == labels).float().mean() > 0.9


@pytest.mark.parametrize("name", ["mlp", "small_cnn", "preact_resnet18"])
def test_bfloat16_and_channels_last(name: str) -> None:
    network = build(name, 0).eval()
    inputs = noise(8, 20) if name == "mlp" else noise(8, 3, 16, 16)
    expected = network(inputs).logits
    if inputs.ndim == 4:
        network, inputs = (
            network.to(memory_format=torch.channels_last),
            inputs.to(memory_format=torch.channels_last),
        )
    assert torch.allclose(network(inputs).logits, expected, atol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.allclose(network(inputs).logits.float(), expected, atol=0.1)


def test_norm_and_maximum_in_either_order() -> None:
    """The maximum stands before the rectifier: the same maps as behind it."""
    network = SmallCNN().eval()
    layers = list(network.layers)
    assert isinstance(layers[2], nn.MaxPool2d)
    assert isinstance(layers[3], nn.ReLU)
    swapped = nn.Sequential(
        *layers[:2], layers[3], layers[2], *layers[4:6], layers[7], layers[6], *layers[8:]
    )
    images = noise(2, 3, 16, 16)
    assert torch.equal(network(images), swapped(images))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MLP(3, hidden=()), "give the width of each hidden layer"),
        (lambda: MLP(3, hidden=(4, 0)), "hidden is"),
        (lambda: MLP(3, dropout=1.0), "dropout is 1.0; it must be from 0 to below 1"),
        (lambda: MLP(3, norm="group"), "norm 'group' is unknown"),  # type: ignore[arg-type]
        (lambda: SmallCNN(norm="layer"), "norm 'layer' is unknown"),  # type: ignore[arg-type]
        (lambda: SmallCNN(width=12), "width is 12; it must be a positive multiple of 8"),
        (lambda: SmallCNN(dropout=-0.1), "dropout is -0.1"),
        (lambda: PreActResNet18(width=0), "width is 0"),
        (
            lambda: build_backbone("small_cnn", input_shape=(3, 4, 32), n_classes=3, seed=0),
            "images of at least 8 px",
        ),
        (
            lambda: build_backbone("preact_resnet18", input_shape=(3, 4, 32), n_classes=3, seed=0),
            "images of at least 8 px",
        ),
    ],
)
def test_wrong_arguments(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()  # type: ignore[operator]
