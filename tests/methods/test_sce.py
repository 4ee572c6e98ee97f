"""Training with the symmetric cross-entropy."""

from __future__ import annotations

import math

import pytest
import torch

from tamis.errors import InputError
from tamis.methods.cross_entropy import CrossEntropy
from tamis.methods.sce import SCE


def test_loss_of_the_first_step_by_hand(fit, plant):
    data = plant()
    network = fit(SCE, data, epochs=0).method.network
    posterior = network(data.inputs).logits.softmax(dim=1)[torch.arange(150), data.given]
    expected = 0.5 * -posterior.log() + 2.0 * -math.log(1e-4) * (1 - posterior)
    run = fit(SCE, data, epochs=1, batch_size=150, alpha=0.5, beta=2.0)
    assert run.records[0]["loss"] == pytest.approx(expected.mean().item(), rel=1e-5)


def test_without_the_second_term_it_is_cross_entropy(fit):
    same = {"epochs": 2, "recipe": {"schedule": "constant", "weight_decay": 0.0}}
    run, plain = fit(SCE, alpha=1.0, beta=0.0, **same), fit(CrossEntropy, **same)
    assert torch.allclose(run.method.network.head.weight, plain.method.network.head.weight, atol=1e-6)


def test_weights_out_of_range(fit):
    with pytest.raises(InputError, match="alpha is -1"):
        fit(SCE, alpha=-1.0)
