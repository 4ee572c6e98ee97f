"""JoCoR."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy, kl_div

from tamis.errors import InputError
from tamis.methods.jocor import JoCoR

SGD = {"recipe": {"optimizer": "sgd", "schedule": "constant"}, "lr": 0.5, "batch_size": 150}


def test_one_step_by_hand(fit, plant):
    data = plant()
    start = fit(JoCoR, data, epochs=0, noise_rate=0.4).method
    networks = [start.network, start.network_2]
    logits = [net(data.inputs).logits for net in networks]
    logs = [values.log_softmax(dim=1) for values in logits]
    fits = sum(cross_entropy(values, data.given, reduction="none") for values in logits)
    agreement = sum(
        kl_div(logs[i], logs[1 - i], log_target=True, reduction="none").sum(dim=1) for i in (0, 1)
    )
    losses = 0.3 * fits + 0.7 * agreement
    loss = losses.sort().values[:90].mean()
    gradients = torch.autograd.grad(loss, [net.head.weight for net in networks])
    run = fit(JoCoR, data, epochs=1, noise_rate=0.4, co_lambda=0.7, n_gradual=0, **SGD)
    assert run.records[0]["loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert run.records[0]["kept"] == pytest.approx(0.6)
    trained = (run.method.network, run.method.network_2)
    for net, after, gradient in zip(networks, trained, gradients, strict=True):
        assert torch.allclose(after.head.weight, net.head.weight - 0.5 * gradient, atol=1e-6)


def test_one_optimiser_moves_both_networks(fit):
    run = fit(JoCoR, noise_rate=0.2)
    assert list(run.training.optimizers) == ["main"]


def test_agreement_alone_ignores_the_labels(fit, plant):
    data = plant()
    other = data._replace(given=(data.given + 1) % 3)
    first, second = (fit(JoCoR, labels, noise_rate=0.2, co_lambda=1.0) for labels in (data, other))
    assert torch.allclose(first.method.network.head.weight, second.method.network.head.weight, atol=1e-5)


def test_estimated_rate(fit):
    assert fit(JoCoR, epochs=1, material={"noise_rate": lambda: 0.35}).method.rate == 0.35


@pytest.mark.parametrize("wrong", [{"noise_rate": -0.1}, {"co_lambda": 2.0}, {"n_gradual": -1}])
def test_parameters_out_of_range(wrong, fit):
    with pytest.raises(InputError, match=next(iter(wrong))):
        fit(JoCoR, **{"noise_rate": 0.2, **wrong})
