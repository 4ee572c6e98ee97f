"""Proxy confidence, by the real engine."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from tamis.errors import InputError
from tamis.losses import ProxyConfidenceLoss
from tamis.methods import METHODS
from tamis.methods.procsim import ProcSim

SGD = {"recipe": {"schedule": "constant", "optimizer": "sgd", "momentum": 0.0}, "per_class": 5}


def test_says_that_it_is_experimental():
    assert "experimental" in METHODS.facts("procsim").title


@pytest.mark.parametrize("warmup", [0.0, 1.0])
def test_first_step_by_hand(warmup, fit_embedding, plant_identities):
    data = plant_identities(5, 0.0)
    network = fit_embedding(ProcSim, data, epochs=0, **SGD).method.network
    loss = ProxyConfidenceLoss(8, 8, warmup_epochs=warmup)
    before = loss.proxies.detach().clone()
    value = loss(normalize(network(data.inputs).logits, dim=1), data.given)
    value.backward()
    run = fit_embedding(ProcSim, data, epochs=1, batch_size=40, lr=0.01, warmup=warmup, **SGD)
    assert run.records[0]["loss"] == pytest.approx(value.item(), rel=1e-5)
    step = network.head.weight - 0.01 * network.head.weight.grad
    assert torch.allclose(run.method.network.head.weight, step, atol=1e-6)
    # The proxies' learning rate is a hundred times the network's.
    assert torch.allclose(run.method.loss.proxies, before - loss.proxies.grad, atol=1e-5)


def test_warm_up_trusts_all_alike(fit_embedding):
    plain = fit_embedding(ProcSim, epochs=2, warmup=2.0)
    late, early = (fit_embedding(ProcSim, epochs=3, warmup=warmup) for warmup in (2.0, 0.0))
    assert [line["loss"] for line in plain.records] == pytest.approx(
        [line["loss"] for line in late.records[:2]], rel=0.1
    )
    assert early.records[0]["loss"] < late.records[0]["loss"]


def test_proxies_follow_the_seed_and_weights_decay_without_them(fit_embedding):
    one, other = (fit_embedding(ProcSim, epochs=0, seed=seed) for seed in (0, 1))
    assert not torch.equal(one.method.loss.proxies, other.method.loss.proxies)
    network, proxies = one.training.optimizers["main"].param_groups
    assert proxies["initial_lr"] == pytest.approx(100 * network["initial_lr"])
    decayed = fit_embedding(ProcSim, epochs=0, proxy_lr=3.0, recipe={"weight_decay": 0.1})
    network, proxies = decayed.training.optimizers["main"].param_groups
    assert (network["weight_decay"], proxies["weight_decay"]) == (0.1, 0.0)
    assert proxies["initial_lr"] == pytest.approx(0.03)


def test_wrong_labels_get_less_confidence(fit_embedding):
    run = fit_embedding(ProcSim, epochs=20, temperature=1.0, proxy_lr=10.0)
    rows = run.method.embeddings(run.training.scan)
    confidence = run.method.loss.confidence(rows, run.data.given)
    wrong, right = confidence[run.data.is_wrong], confidence[~run.data.is_wrong]
    assert (wrong[:, None] < right).float().mean() > 0.95


def test_without_the_proxy_loss_proxies_stay(fit_embedding):
    first, last = (fit_embedding(ProcSim, epochs=epochs, proxy_weight=0.0) for epochs in (0, 2))
    assert torch.equal(first.method.loss.proxies, last.method.loss.proxies)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"normalization": "max"}, "normalization is 'max'"),
        ({"temperature": 0.0}, "temperature is 0.0"),
        ({"proxy_weight": -1.0}, "proxy_weight is -1.0"),
        ({"warmup": -1.0}, "warmup_epochs is -1.0"),
        ({"proxy_lr": 0.0}, "proxy_lr is 0.0; expected above 0"),
    ],
)
def test_refused(wrong, said, fit_embedding):
    with pytest.raises(InputError, match=said):
        fit_embedding(ProcSim, epochs=0, **wrong)
