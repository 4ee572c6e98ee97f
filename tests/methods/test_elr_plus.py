"""ELR+."""

from __future__ import annotations

import math

import pytest
import torch

from tamis.errors import InputError
from tamis.methods.cross_entropy import CrossEntropy
from tamis.methods.elr_plus import ELRPlus

PLAIN = {"recipe": {"schedule": "constant", "weight_decay": 0.0}, "lr": 0.5, "batch_size": 150}


def test_without_its_parts_each_network_learns_by_cross_entropy(fit):
    run = fit(ELRPlus, lam=0.0, alpha=0.0, **PLAIN)
    for number, network in enumerate((run.method.network, run.method.network_2)):
        plain = fit(CrossEntropy, seed=number, **PLAIN)
        assert torch.allclose(network.head.weight, plain.method.network.head.weight, atol=1e-5)


def test_first_step_by_hand(fit, plant):
    data = plant()
    start = fit(ELRPlus, data, epochs=0, alpha=0.0).method
    expected = 0.0
    for network, other in ((start.network, start.average_2), (start.network_2, start.average)):
        history = 0.3 * other(data.inputs).logits.softmax(dim=1)
        logits = network(data.inputs).logits
        posterior = logits.softmax(dim=1)
        fit_term = torch.nn.functional.cross_entropy(logits, data.given)
        expected += fit_term + 3 * (1 - (history * posterior).sum(dim=1)).log().mean()
    run = fit(ELRPlus, data, epochs=1, alpha=0.0, **PLAIN)
    assert run.records[0]["loss"] == pytest.approx(expected.item(), rel=1e-4)


def test_each_network_is_told_by_the_others_average(fit, plant):
    data = plant()
    start = fit(ELRPlus, data, epochs=0).method
    run = fit(ELRPlus, data, epochs=1, **PLAIN)
    for table, other in ((run.method.loss, start.average_2), (run.method.loss_2, start.average)):
        told = other(data.inputs).logits.softmax(dim=1)
        assert torch.allclose(table.targets, 0.3 * told, atol=1e-6)
        assert torch.allclose(table.targets.sum(dim=1), torch.tensor(0.3), atol=1e-6)


@pytest.mark.parametrize(
    ("length", "momentum"),
    [(4, [0.5 * math.exp(-5 * (1 - step / 4) ** 2) for step in (1, 2)]), (None, [0.0, 0.5]), (0, [0.5, 0.5])],
)
def test_averages_by_hand(length, momentum, fit, plant):
    data = plant()
    how = {"average_length": length, "average_momentum": 0.5, **PLAIN}
    weights = [
        fit(ELRPlus, data, epochs=n, **how).method.network.head.weight.detach() for n in range(3)
    ]  # the schedule is constant: each run is the beginning of the next
    average = weights[0]
    for step in range(2):
        average = momentum[step] * average + (1 - momentum[step]) * weights[step + 1]
    method = fit(ELRPlus, data, epochs=2, **how).method
    assert torch.allclose(method.average.head.weight, average, atol=1e-5)
    assert not method.average.head.weight.requires_grad


def test_networks_see_different_mixes_and_predict_together(fit, plant):
    run = fit(ELRPlus, **PLAIN)
    inputs = run.data.inputs[:4]
    outputs, one, two = (
        part(inputs).logits for part in (run.method, run.method.network, run.method.network_2)
    )
    assert torch.allclose(outputs, (one + two) / 2, atol=1e-6)
    assert not torch.equal(run.method.network.head.weight, run.method.network_2.head.weight)


def test_averages_gather_their_own_batch_statistics(fit):
    norm = {"backbone": "mlp", "options": {"hidden": (8,), "norm": "batch"}}
    start, run = fit(ELRPlus, epochs=0, **norm), fit(ELRPlus, epochs=1, **norm)
    names = [name for name in run.method.state_dict() if "average" in name and "running_mean" in name]
    assert len(names) == 2
    for name in names:
        assert not torch.equal(run.method.state_dict()[name], start.method.state_dict()[name])
        twin = name.replace("average_2", "network_2").replace("average", "network")
        assert not torch.equal(run.method.state_dict()[name], run.method.state_dict()[twin])


def test_verdict_joins_both_tables(fit):
    run = fit(ELRPlus)
    both = run.method.loss.targets + run.method.loss_2.targets
    assert torch.allclose(run.beliefs(), both / both.sum(dim=1, keepdim=True), atol=1e-5)


def test_reweighted_targets_stay_finite_from_the_start(fit):
    assert fit(ELRPlus, reweight_targets=True, ramp_length=5).beliefs().isfinite().all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"beta": 2.0},
        {"alpha": -1.0},
        {"average_length": 2.5},
        {"average_momentum": 1.5},
        {"ramp_length": -1},
    ],
)
def test_parameters_out_of_range(wrong, fit):
    match = {"ramp_length": "length"}.get(next(iter(wrong)), next(iter(wrong)))
    with pytest.raises(InputError, match=match):
        fit(ELRPlus, **wrong)
