"""Schedules of training: drop rates, ramps, averaging momentum; the smallest losses of a batch."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tamis.errors import InputError
from tamis.statistics.schedules import drop_rate, exponential_ramp, ramped_momentum, running_mean_momentum
from tamis.statistics.smallest_losses import smallest_losses


@pytest.mark.parametrize(
    ("rate", "n_gradual", "exponent"), [(0.2, 10, 1), (0.45, 5, 2), (0.5, 1, 1), (0.3, 0, 0.5)]
)
def test_drop_rate_is_that_of_the_authors(rate, n_gradual, exponent):
    expected = np.full(15, rate)
    expected[:n_gradual] = np.linspace(0, rate**exponent, n_gradual)
    ours = [drop_rate(epoch, rate, n_gradual, exponent) for epoch in range(15)]
    np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("rate", [0.1, 0.2, 0.35, 0.4, 0.45, 0.8, 1.0])
@pytest.mark.parametrize("exponent", [0.5, 1, 2])
def test_drop_rate_is_that_of_the_authors_to_the_last_bit(rate, exponent):
    # The number of samples is rounded down: half a bit more at the end of the ramp would cost one.
    for n_gradual in range(1, 61):
        ours = [drop_rate(epoch, rate, n_gradual, exponent) for epoch in range(n_gradual)]
        assert ours == np.linspace(0, rate**exponent, n_gradual).tolist()


def test_drop_rate_jumps_after_a_curved_ramp():
    assert drop_rate(4, 0.5, 5, 2) == 0.25
    assert drop_rate(5, 0.5, 5, 2) == 0.5


def test_ramp():
    assert exponential_ramp(0, 100) == math.exp(-5)
    assert exponential_ramp(50, 100) == math.exp(-1.25)
    assert exponential_ramp(100, 100) == exponential_ramp(10**6, 100) == exponential_ramp(0, 0) == 1.0
    values = [exponential_ramp(step, 30) for step in range(40)]
    assert values == sorted(values)


def test_momentum():
    assert ramped_momentum(9, 20) == 0.997 * math.exp(-1.25)
    assert ramped_momentum(39_999) == ramped_momentum(10**7) == ramped_momentum(0, 0) == 0.997
    # A plain mean, until the cap.
    values, average = [3.0, 5.0, 10.0], 0.0
    for step, value in enumerate(values):
        momentum = running_mean_momentum(step)
        average = momentum * average + (1 - momentum) * value
    assert average == pytest.approx(6.0)
    assert running_mean_momentum(10**5) == 0.9999


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: drop_rate(-1, 0.5), "epoch is -1"),
        (lambda: drop_rate(0, 45), "rate is 45; expected a share from 0 to 1"),
        (lambda: drop_rate(0, math.nan), "rate is nan"),
        (lambda: drop_rate(0, 0.5, exponent=0), "exponent is 0"),
        (lambda: exponential_ramp(0, -3), "length -3"),
        (lambda: ramped_momentum(-1), "step is -1"),
        (lambda: ramped_momentum(0, highest=2), "highest is 2"),
        (lambda: running_mean_momentum(-1), "step is -1"),
    ],
)
def test_wrong_arguments(call, message):
    with pytest.raises(InputError, match=message):
        call()


class TestSmallestLosses:
    def test_by_hand(self):
        losses = torch.tensor([0.4, 0.1, 9.0, 0.2], requires_grad=True)
        assert smallest_losses(losses, 0.5).tolist() == [1, 3]
        assert smallest_losses(losses, 0.0).tolist() == [0, 1, 2, 3]
        assert smallest_losses(losses, 1.0).tolist() == [1]

    def test_ties_go_to_the_earlier(self):
        assert smallest_losses(torch.zeros(500), 0.5).tolist() == list(range(250))

    def test_number_is_rounded_down_as_the_authors_do(self):
        for b in range(1, 200):
            for rate in (0.1, 0.2, 0.45, 0.9):
                assert len(smallest_losses(torch.rand(b), rate)) == max(1, int((1 - rate) * b))

    def test_edges(self):
        assert smallest_losses(torch.zeros(0), 0.5).shape == (0,)
        assert smallest_losses(torch.tensor([torch.inf, 1.0]), 0.5).tolist() == [1]
        with pytest.raises(InputError, match="losses row 1 gives NaN"):
            smallest_losses(torch.tensor([1.0, torch.nan]), 0.5)
