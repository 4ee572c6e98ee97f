"""Steps of optimisers: half precision with its scale, networks trained one at a time."""

from __future__ import annotations

import pytest
import torch
from lightning_fabric.plugins import MixedPrecision
from tests.engine.conftest import Make

from tamis.engine import Training
from tamis.engine.gradients import apply_gradients

SCALE = 1024.0


def with_half_precision(training: Training) -> torch.amp.GradScaler:
    """Give a training on the CPU the scaled gradients of half precision, as on a GPU."""
    scaler = torch.amp.GradScaler("cpu", init_scale=SCALE, growth_interval=1)
    training.fabric.strategy.precision = MixedPrecision("16-mixed", "cpu", scaler)
    return scaler


def two_optimizers() -> tuple[list[torch.nn.Parameter], list[torch.optim.Optimizer]]:
    weights = [torch.nn.Parameter(torch.zeros(2)) for _ in range(2)]
    return weights, [torch.optim.SGD([weight], lr=1.0) for weight in weights]


def test_every_optimiser_of_a_step_is_unscaled_alike(make: Make) -> None:
    """The scale doubles after each step here: never between two optimisers of one."""
    training = make()
    scaler = with_half_precision(training)
    weights, optimizers = two_optimizers()
    for step in range(3):
        training.fabric.backward(sum((weight * torch.tensor([1.0, -3.0])).sum() for weight in weights))
        apply_gradients(optimizers, training.fabric, None)
        for weight in weights:
            torch.testing.assert_close(weight.detach(), torch.tensor([-1.0, 3.0]) * (step + 1))
            assert weight.grad is None
        assert scaler.get_scale() == SCALE * 2 ** (step + 1)


def test_a_network_without_gradients_waits(make: Make) -> None:
    training = make()
    scaler = with_half_precision(training)
    weights, optimizers = two_optimizers()
    training.fabric.backward((weights[1] * 2.0).sum())
    apply_gradients(optimizers, training.fabric, None)
    assert weights[0].tolist() == [0.0, 0.0]
    assert weights[1].tolist() == [-2.0, -2.0]
    apply_gradients(optimizers, training.fabric, None)
    assert scaler.get_scale() == SCALE * 2


def test_clipping_sees_gradients_without_their_scale(make: Make) -> None:
    training = make()
    with_half_precision(training)
    weights, optimizers = two_optimizers()
    training.fabric.backward((weights[0] * torch.tensor([3.0, 4.0])).sum() + weights[1].sum())
    apply_gradients(optimizers, training.fabric, 2.5)
    torch.testing.assert_close(weights[0].detach(), torch.tensor([-1.5, -2.0]))
    torch.testing.assert_close(weights[1].detach(), torch.tensor([-1.0, -1.0]))


def test_an_overflow_moves_no_weight_and_lowers_the_scale(make: Make) -> None:
    training = make()
    scaler = with_half_precision(training)
    weights, optimizers = two_optimizers()
    training.fabric.backward((weights[0] * torch.tensor([1.0, float("inf")])).sum())
    apply_gradients(optimizers, training.fabric, None)
    assert weights[0].tolist() == [0.0, 0.0]
    assert scaler.get_scale() == SCALE / 2


@pytest.mark.parametrize("name", ["co_teaching", "dividemix", "gist", "mixfix", "elr_plus", "jocor"])
def test_methods_train_in_half_precision(make: Make, name: str) -> None:
    training = make(name, recipe={"epochs": 2, "lr": 0.02})
    scaler = with_half_precision(training)
    before = {key: value.clone() for key, value in training.method.named_parameters()}
    training.run()
    assert scaler.get_scale() != SCALE
    assert any(not torch.equal(value, before[key]) for key, value in training.method.named_parameters())
