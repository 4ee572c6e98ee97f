"""Training with the generalised cross-entropy."""

from __future__ import annotations

import pytest
import torch

from tamis.errors import InputError
from tamis.methods.cross_entropy import CrossEntropy
from tamis.methods.gce import GCE


@pytest.mark.parametrize("q", [0.3, 0.7, 1.0])
def test_loss_of_the_first_step_by_hand(q, fit, plant):
    data = plant()
    network = fit(GCE, data, epochs=0).method.network
    posterior = network(data.inputs).logits.softmax(dim=1)[torch.arange(150), data.given]
    run = fit(GCE, data, epochs=1, batch_size=150, q=q)
    assert run.records[0]["loss"] == pytest.approx(((1 - posterior**q) / q).mean().item(), rel=1e-5)


def test_tiny_q_is_cross_entropy(fit):
    same = {"epochs": 2, "recipe": {"schedule": "constant", "weight_decay": 0.0}}
    weights = [
        fit(method, **same, **params).method.network.head.weight
        for method, params in ((GCE, {"q": 1e-4}), (CrossEntropy, {}))
    ]
    assert torch.allclose(*weights, atol=2e-3)


def test_resists_where_cross_entropy_memorises(fit, plant):
    hard = {"backbone": "mlp", "options": {"hidden": (64,)}, "epochs": 40, "recipe": {"schedule": "constant"}}
    data = plant(rate=0.4)
    plain, robust = (fit(method, data, **hard).accuracy for method in (CrossEntropy, GCE))
    assert robust > plain + 0.1


@pytest.mark.parametrize("q", [0.0, 1.1, float("nan")])
def test_exponent_out_of_range(q, fit):
    with pytest.raises(InputError, match="q is"):
        fit(GCE, q=q)
