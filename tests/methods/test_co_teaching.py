"""Co-teaching."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from tamis.errors import InputError
from tamis.methods.batches import Moment
from tamis.methods.co_teaching import CoTeaching
from tamis.methods.cross_entropy import CrossEntropy

SGD = {"recipe": {"optimizer": "sgd", "schedule": "constant"}, "lr": 0.5, "batch_size": 150}


def test_one_step_by_hand(fit, plant):
    data = plant()
    start = fit(CoTeaching, data, epochs=0, noise_rate=0.4).method
    networks = [start.network, start.network_2]
    losses = [cross_entropy(net(data.inputs).logits, data.given, reduction="none") for net in networks]
    easiest = [loss.argsort(stable=True)[:90] for loss in losses]
    expected = [losses[0][easiest[1]].mean(), losses[1][easiest[0]].mean()]
    for net, loss in zip(networks, expected, strict=True):
        (gradient,) = torch.autograd.grad(loss, net.head.weight)
        net.head.weight.data -= 0.5 * gradient
    run = fit(CoTeaching, data, epochs=1, noise_rate=0.4, n_gradual=0, **SGD)
    assert run.records[0]["loss"] == pytest.approx(sum(expected).item(), rel=1e-5)
    assert torch.allclose(run.method.network.head.weight, networks[0].head.weight, atol=1e-6)
    assert torch.allclose(run.method.network_2.head.weight, networks[1].head.weight, atol=1e-6)


def test_without_noise_both_networks_learn_by_cross_entropy(fit):
    run = fit(CoTeaching, noise_rate=0.0, **SGD)
    for number, network in enumerate((run.method.network, run.method.network_2)):
        plain = fit(CrossEntropy, seed=number, **{**SGD, "recipe": {**SGD["recipe"], "weight_decay": 0.0}})
        assert torch.allclose(network.head.weight, plain.method.network.head.weight, atol=1e-6)


@pytest.mark.parametrize(
    ("n_gradual", "kept"),
    [(3, [1.0, 0.8, 0.6, 0.6, 0.6]), (0.4, [1.0, 0.6, 0.6, 0.6, 0.6]), (0, [0.6] * 5)],
)
def test_share_that_is_kept_falls(n_gradual, kept, fit):
    run = fit(CoTeaching, epochs=5, batch_size=50, noise_rate=0.4, n_gradual=n_gradual)
    assert [record["kept"] for record in run.records] == pytest.approx(kept)


def test_all_but_one_may_be_left_out(fit):
    run = fit(CoTeaching, batch_size=50, noise_rate=0.999, n_gradual=0)
    assert run.records[-1]["kept"] == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ({}, [0.9, 0.9, 0.1, 0.1, 0.1]),
        ({"schedule": "cosine"}, [0.9] * 5),
        ({"optimizer": "sgd"}, [None] * 5),
    ],
)
def test_adam_forgets_faster_while_its_rate_falls(recipe, expected, fit):
    run = fit(CoTeaching, epochs=5, noise_rate=0.2, recipe=recipe)  # falls from 0.4 of the epochs on
    optimizers, seen = run.training.optimizers, []
    for epoch in range(5):
        run.method.adjust(optimizers, Moment(seed=0, epoch=epoch, n_epochs=5, position=0, length=3, step=0))
        seen.append([group.get("betas", [None])[0] for o in optimizers.values() for group in o.param_groups])
    assert seen == [[beta1, beta1] for beta1 in expected]


def test_estimated_rate(fit):
    scores = torch.full((150,), 0.9)
    scores[:75] = 0.6
    selected = torch.arange(150) >= 50
    rates = [
        fit(CoTeaching, epochs=1, material={"noise_rate": lambda: 0.35, **material}).method.rate
        for material in ({}, {"label_scores": scores}, {"selected": selected, "label_scores": scores})
    ]
    assert rates == pytest.approx([0.35, 0.35, 0.25 * 0.4 + 0.75 * 0.1])


def test_rate_that_nobody_knows(fit):
    with pytest.raises(InputError, match="noise rate is not known"):
        fit(CoTeaching)


@pytest.mark.parametrize("wrong", [{"noise_rate": 1.0}, {"noise_rate": "oracle"}, {"n_gradual": 1.5}])
def test_parameters_out_of_range(wrong, fit):
    with pytest.raises(InputError, match=next(iter(wrong))):
        fit(CoTeaching, **wrong)


@pytest.mark.parametrize("wrong", [{"late_beta1": 1.0}, {"exponent": 0.0}])
def test_other_parameters_out_of_range(wrong, fit):
    with pytest.raises(InputError, match=next(iter(wrong))):
        fit(CoTeaching, noise_rate=0.2, **wrong)
