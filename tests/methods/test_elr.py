"""Early-learning regularisation."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from tamis.errors import InputError
from tamis.methods.cross_entropy import CrossEntropy
from tamis.methods.elr import ELR

PLAIN = {"recipe": {"schedule": "constant", "weight_decay": 0.0}, "lr": 0.5, "batch_size": 150}


def test_three_steps_by_hand(fit, plant):
    data = plant()
    network = fit(ELR, data, epochs=0).method.network
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5, momentum=0.9)
    targets = torch.zeros(150, 3)
    for _ in range(3):
        logits = network(data.inputs).logits
        posterior = logits.softmax(dim=1)
        targets = 0.9 * targets + 0.1 * posterior.detach()
        loss = cross_entropy(logits, data.given) + 2 * (1 - (targets * posterior).sum(dim=1)).log().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    run = fit(ELR, data, epochs=3, beta=0.9, lam=2.0, **PLAIN)
    assert run.records[-1]["loss"] == pytest.approx(loss.item(), rel=1e-4)
    assert torch.allclose(run.method.network.head.weight, network.head.weight, atol=1e-5)
    assert torch.allclose(run.method.loss.targets, targets, atol=1e-5)


def test_without_the_regulariser_it_is_cross_entropy(fit):
    run, plain = fit(ELR, lam=0.0, **PLAIN), fit(CrossEntropy, **PLAIN)
    assert torch.allclose(run.method.network.head.weight, plain.method.network.head.weight, atol=1e-6)


def test_verdict_is_the_table_and_the_network_elsewhere(fit, plant):
    data = plant()
    selected = torch.arange(150) < 100
    run = fit(ELR, data, epochs=3, material={"selected": selected}, **PLAIN)
    targets = run.method.loss.targets
    assert torch.allclose(targets.sum(dim=1), torch.where(selected, 1 - 0.7**3, 0.0), atol=1e-6)
    beliefs = run.beliefs()
    assert torch.allclose(beliefs[:100], targets[:100] / (1 - 0.7**3), atol=1e-5)
    assert torch.allclose(beliefs[100:], run.training.scan.probabilities()[100:])


def test_scans_leave_the_table_alone(fit):
    run = fit(ELR)
    before = run.method.loss.targets.clone()
    run.training.verdict()
    assert torch.equal(run.method.loss.targets, before)


def test_resists_where_cross_entropy_memorises(fit, plant):
    hard = {"backbone": "mlp", "options": {"hidden": (64,)}, "epochs": 40, "recipe": {"schedule": "constant"}}
    data = plant(rate=0.4)
    plain, robust = (fit(method, data, **hard).accuracy for method in (CrossEntropy, ELR))
    assert robust > plain + 0.1


def test_share_out_of_range(fit):
    with pytest.raises(InputError, match=r"beta is 1\.5"):
        fit(ELR, beta=1.5)
