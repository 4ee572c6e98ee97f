"""Averaged weights: closed forms, an independent implementation, buffers, edges, noisy steps."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tamis.backbones import averaged_copy, update_average
from tamis.errors import InputError
from tamis.statistics.schedules import ramped_momentum, running_mean_momentum


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))


@torch.no_grad()
def step(model, seed):
    generator = torch.Generator().manual_seed(seed)
    for weights in model.parameters():
        weights += torch.randn(weights.shape, generator=generator, dtype=weights.dtype)


def test_copy_is_equal_and_separate():
    model = network().eval()
    average = averaged_copy(model)
    assert not average.training
    for mine, other in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        assert torch.equal(mine, other)
        assert mine.data_ptr() != other.data_ptr()
    assert not any(weights.requires_grad for weights in average.parameters())
    assert all(weights.requires_grad for weights in model.parameters())


def test_a_schedule_by_hand():
    model = nn.Linear(1, 1, bias=False).double()
    average = averaged_copy(model)
    expected = average.weight.item()
    for count in range(5):
        step(model, count)
        momentum = ramped_momentum(count, length=10)
        expected = momentum * expected + (1 - momentum) * model.weight.item()
        update_average(average, model, momentum)
    assert average.weight.item() == pytest.approx(expected, rel=1e-12)


def test_against_torch():
    model = network()
    average, reference = averaged_copy(model), AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    reference.update_parameters(model)  # its first call copies
    for count in range(20):
        step(model, count)
        update_average(average, model, 0.9)
        reference.update_parameters(model)
    for mine, other in zip(average.parameters(), reference.module.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


def test_running_mean_is_the_mean_of_all_steps():
    model = network().double()
    average, seen = averaged_copy(model), []
    for count in range(10):
        step(model, count)
        seen.append(model[0].weight.detach().clone())
        update_average(average, model, running_mean_momentum(count))
    torch.testing.assert_close(average[0].weight, torch.stack(seen).mean(dim=0))


def test_ends_are_exact():
    model, other = network(0), network(1)
    average = averaged_copy(model)
    update_average(average, other, 1.0)
    assert torch.equal(average[0].weight, model[0].weight)
    update_average(average, other, 0.0)
    assert torch.equal(average[0].weight, other[0].weight)
    assert average[0].weight.data_ptr() != other[0].weight.data_ptr()


def test_buffers_are_those_of_the_average():
    model = network()
    average = averaged_copy(model)
    model(torch.randn(8, 3) + 5)
    update_average(average, model, 0.5)
    assert average[1].running_mean.tolist() == [0.0] * 4
    average(torch.ones(8, 3))  # in training mode it gathers its own
    assert average[1].running_mean.any()
    assert int(average[1].num_batches_tracked) == 1


def test_parameters_are_matched_by_order_in_a_wrapped_network():
    model = network()
    average, wrapped = averaged_copy(model), nn.Sequential(copy.deepcopy(model))
    step(wrapped, 0)
    update_average(average, wrapped, 0.0)
    assert torch.equal(average[3].weight, wrapped[0][3].weight)


def test_wrong_input_is_refused_and_changes_nothing():
    model = network()
    average = averaged_copy(model)
    before = average[0].weight.clone()
    for momentum in (-0.1, 1.1, float("nan")):
        with pytest.raises(InputError, match="momentum is"):
            update_average(average, model, momentum)
    with pytest.raises(InputError, match="the average has 6 parameter tensors and the network 2"):
        update_average(average, nn.Linear(3, 4), 0.5)
    wider = network()
    wider[3] = nn.Linear(4, 5)
    with pytest.raises(InputError, match=r"parameter 4 of the average is torch.float32 of shape \(2, 4\)"):
        update_average(average, wider, 0.5)
    with pytest.raises(InputError, match=r"torch.float64"):
        update_average(average, network().double(), 0.5)
    assert torch.equal(average[0].weight, before)
    update_average(nn.ReLU(), nn.ReLU(), 0.5)  # nothing to average


def test_the_average_of_noisy_steps_is_nearer_to_the_answer():
    # Stochastic steps towards 0 with a step size that never settles.
    model = nn.Linear(50, 1, bias=False)
    average = averaged_copy(model)
    generator = torch.Generator().manual_seed(0)
    for _ in range(300):
        with torch.no_grad():
            model.weight -= 0.3 * (model.weight + torch.randn(1, 50, generator=generator))
        update_average(average, model, 0.97)
    assert average.weight.norm() < 0.5 * model.weight.norm()
