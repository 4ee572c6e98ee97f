"""Self-adaptive training."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import one_hot

from tamis.errors import InputError
from tamis.methods.cross_entropy import CrossEntropy
from tamis.methods.sat import SelfAdaptiveTraining

PLAIN = {"recipe": {"schedule": "constant", "weight_decay": 0.0}, "lr": 0.5, "batch_size": 150}


def test_is_cross_entropy_before_its_start(fit):
    run, plain = fit(SelfAdaptiveTraining, epochs=3, start=3, **PLAIN), fit(CrossEntropy, epochs=3, **PLAIN)
    assert torch.allclose(run.method.network.head.weight, plain.method.network.head.weight, atol=1e-6)
    assert torch.equal(run.method.loss.targets, one_hot(run.data.given, 3).float())


def test_two_steps_by_hand(fit, plant):
    data = plant()
    network = fit(SelfAdaptiveTraining, data, epochs=0).method.network
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5, momentum=0.9)
    targets = one_hot(data.given, 3).float()
    for _ in range(2):
        logits = network(data.inputs).logits
        targets = 0.8 * targets + 0.2 * logits.softmax(dim=1).detach()
        weight = targets.amax(dim=1) / targets.amax(dim=1).mean()
        loss = (weight * -(targets * logits.log_softmax(dim=1)).sum(dim=1)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    run = fit(SelfAdaptiveTraining, data, epochs=2, start=0, momentum=0.8, **PLAIN)
    assert run.records[-1]["loss"] == pytest.approx(loss.item(), rel=1e-4)
    assert torch.allclose(run.method.loss.targets, targets, atol=1e-5)
    assert torch.allclose(run.beliefs(), targets, atol=1e-5)


@pytest.mark.parametrize(("start", "epochs"), [(0.5, 2), (2, 2), (0.75, 3), (1, 1), (0, 0)])
def test_start_counts_epochs_or_shares(start, epochs, fit, plant):
    data = plant()
    run = fit(SelfAdaptiveTraining, data, epochs=4, start=start, batch_size=50, lr=0.1)
    updates = 4 - epochs
    left = run.method.loss.targets.gather(1, data.given[:, None])[:, 0] - 0.9**updates
    assert (left >= -1e-6).all()  # the first one-hot target's share that is still in it
    assert float(left.min()) < 0.1
    assert run.method.loss.start_epoch == epochs


def test_a_target_that_never_moved_says_nothing(fit, plant):
    data = plant()
    run = fit(SelfAdaptiveTraining, data, start=100)
    assert torch.allclose(run.beliefs(), run.training.scan.probabilities())


def test_table_is_there_before_the_labels_are(fit):
    method = fit(SelfAdaptiveTraining, epochs=1).method
    loaded = fit(SelfAdaptiveTraining, epochs=0).method
    loaded.load_state_dict(method.state_dict())
    assert torch.equal(loaded.loss.targets, method.loss.targets)


@pytest.mark.parametrize("start", [-1, 2.5, float("nan"), float("inf")])
def test_start_out_of_range(start, fit):
    with pytest.raises(InputError, match="start is"):
        fit(SelfAdaptiveTraining, start=start)
