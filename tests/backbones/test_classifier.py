"""The interface of every network, and first weights that a seed decides."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from tamis.backbones.classifier import Classifier, Outputs
from tamis.backbones.initialisation import initialise, without_draws
from tamis.errors import InputError


class Maps(nn.Module):
    """Two channels of each image: itself and its square."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.cat([inputs, inputs**2], dim=1)


def test_by_hand() -> None:
    network = Classifier(Maps(), 2, 2, seed=0)
    with torch.no_grad():
        network.head.weight.copy_(torch.tensor([[1.0, 0.0], [2.0, -1.0]]))
        network.head.bias.copy_(torch.tensor([0.5, 0.0]))
    outputs = network(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]))
    assert isinstance(outputs, Outputs)
    # Means over places: 2.5 and (1 + 4 + 9 + 16) / 4 = 7.5.
    assert outputs.features.tolist() == [[2.5, 7.5]]
    assert outputs.logits.tolist() == [[3.0, -2.5]]
    assert outputs.maps is not None
    assert outputs.maps.shape == (1, 2, 2, 2)


@pytest.mark.parametrize(("pool", "features"), [("max", [4.0, 16.0]), ("flatten", [1, 2, 3, 4, 1, 4, 9, 16])])
def test_other_pools_hand_out_no_maps(pool: str, features: list[float]) -> None:
    network = Classifier(Maps(), len(features), 3, pool=pool, seed=0)  # type: ignore[arg-type]
    outputs = network(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]))
    assert outputs.features.tolist() == [features]
    assert outputs.maps is None


def test_head_on_every_place_averages_to_the_logits() -> None:
    network = Classifier(Maps(), 6, 5, seed=3).double()
    outputs = network(
        torch.randn(4, 3, 5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    )
    assert outputs.maps is not None
    per_place = torch.einsum("kc,bchw->bkhw", network.head.weight, outputs.maps)
    assert torch.allclose(per_place.mean(dim=(2, 3)) + network.head.bias, outputs.logits, atol=1e-12)


def test_float64_stays_and_gradients_flow() -> None:
    network = Classifier(nn.Flatten(), 3, 2, seed=0).double()
    inputs = torch.ones(2, 3, dtype=torch.float64, requires_grad=True)
    outputs = network(inputs)
    assert outputs.logits.dtype == torch.float64
    outputs.logits.sum().backward()
    assert inputs.grad is not None
    assert outputs.maps is None


def test_head_is_a_function_of_the_seed_alone() -> None:
    before = torch.get_rng_state()
    first, again, other = (Classifier(nn.Identity(), 8, 3, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first.head.weight, again.head.weight)
    assert not torch.equal(first.head.weight, other.head.weight)
    assert first.head.weight.abs().max() <= 1 / math.sqrt(8)
    assert not first.head.bias.any()


def test_weights_follow_name_and_seed_not_the_company() -> None:
    with without_draws():
        small = nn.ModuleDict({"a": nn.Conv2d(3, 16, 3)})
        large = nn.ModuleDict({"b": nn.Linear(4, 4), "a": nn.Conv2d(3, 16, 3), "n": nn.BatchNorm2d(3)})
    initialise(small, 7)
    initialise(large, 7)
    assert torch.equal(small["a"].weight, large["a"].weight)
    with torch.no_grad():
        large["n"].weight.fill_(3.0)
        large["n"].running_mean.fill_(3.0)
    initialise(large, 7)
    assert torch.equal(large["n"].weight, torch.ones(3))
    assert not large["n"].running_mean.any()


def test_variance_of_the_first_weights() -> None:
    with without_draws():
        layer = nn.Conv2d(32, 256, 3)
    initialise(layer, 0)
    assert layer.weight.var().item() == pytest.approx(2 / (32 * 9), rel=0.02)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_features": 0, "n_classes": 3}, "n_features is 0"),
        ({"n_features": 3, "n_classes": 1}, "at least 2 classes"),
        ({"n_features": 3, "n_classes": 3, "pool": "sum"}, "pool 'sum' is unknown; use 'mean'"),
    ],
)
def test_wrong_arguments(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Classifier(nn.Identity(), **arguments)  # type: ignore[arg-type]


def test_backbone_that_does_not_fit() -> None:
    network = Classifier(nn.Identity(), 3, 2, seed=0)
    with pytest.raises(InputError, match=r"gave 4 features .* n_features=4"):
        network(torch.zeros(5, 4))
    with pytest.raises(InputError, match=r"returned shape \(5, 4, 2\)"):
        network(torch.zeros(5, 4, 2))


def test_empty_batch() -> None:
    outputs = Classifier(Maps(), 2, 3, seed=0)(torch.zeros(0, 1, 4, 4))
    assert outputs.logits.shape == (0, 3)
