"""DivideMix."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from tamis.errors import InputError, TamisWarning
from tamis.methods.batches import Batch, Moment
from tamis.methods.cross_entropy import CrossEntropy
from tamis.methods.dividemix import DivideMix
from tamis.methods.division import Division
from tamis.methods.material import Material
from tamis.statistics.co_divide import co_divide

WARM = {"warm_up": 1, "rampup_length": 4}
PLAIN = {"recipe": {"schedule": "constant", "weight_decay": 0.0}, "lr": 0.5, "batch_size": 150}


def sharpened(probs):
    return probs**2 / (probs**2).sum(dim=1, keepdim=True)


def test_warm_up_is_cross_entropy_of_each_network(fit):
    run = fit(DivideMix, warm_up=4, **PLAIN)
    for number, network in enumerate((run.method.network, run.method.network_2)):
        plain = fit(CrossEntropy, seed=number, **PLAIN)
        assert torch.allclose(network.head.weight, plain.method.network.head.weight, atol=1e-5)
    assert not run.method.division.is_made
    given = run.beliefs().gather(1, run.data.given[:, None])[:, 0]
    assert torch.allclose(run.training.verdict().clean_scores, given)


def test_confidence_penalty_by_hand(fit, plant):
    data = plant()
    start = fit(DivideMix, data, epochs=0).method
    expected = 0.0
    for network in (start.network, start.network_2):
        logits = network(data.inputs).logits
        probs = logits.softmax(dim=1)
        expected += cross_entropy(logits, data.given) + (probs * probs.log()).sum(dim=1).mean()
    run = fit(DivideMix, data, epochs=1, warm_up=1, confidence_penalty=1.0, **PLAIN)
    assert run.records[0]["loss"] == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("is_augmented", [True, False])
def test_a_step_by_hand(is_augmented, fit, plant, monkeypatch):
    """Everything from inputs to the loss, against formulas of the paper, with the mixing fixed."""
    data = plant()
    method = fit(DivideMix, data, epochs=2, lambda_u=8.0, **WARM).method
    order = np.random.default_rng(0).permutation
    monkeypatch.setattr("tamis.methods.dividemix.mixup_lambda", lambda alpha, seed, step: 0.7)
    monkeypatch.setattr(
        "tamis.methods.dividemix.mixup_permutation", lambda n, seed, step, device: torch.arange(n).flip(0)
    )
    rows = torch.from_numpy(order(150))
    x, u = rows[:20], rows[20:40]
    views = {
        name: (data.inputs[part], data.inputs[part] + 0.1) if is_augmented else (data.inputs[part],) * 2
        for name, part in (("labelled", x), ("unlabelled", u))
    }
    batches = {
        "labelled": Batch(views["labelled"], data.given[x], x),
        "unlabelled": Batch(views["unlabelled"], data.given[u], u),
    }
    moment = Moment(0, epoch=2, n_epochs=9, position=1, length=2, step=9, phase="second")
    found = method.training_step(batches, moment)

    network, other, weight = method.network_2, method.network, method.division.prob_clean[x][:, None]
    p = {name: [network(view).logits.softmax(1) for view in both] for name, both in views.items()}
    q = [other(view).logits.softmax(1) for view in views["unlabelled"]]
    one_hot = torch.eye(3)[data.given[x]]
    t_x = sharpened(weight * one_hot + (1 - weight) * sum(p["labelled"]) / 2)
    t_u = sharpened((sum(p["unlabelled"]) + sum(q)) / 4)
    n_views = 2 if is_augmented else 1
    inputs = torch.cat([*views["labelled"][:n_views], *views["unlabelled"][:n_views]])
    targets = torch.cat([t_x] * n_views + [t_u] * n_views)
    inputs, targets = (0.7 * rows + 0.3 * rows.flip(0) for rows in (inputs, targets))
    logits, n = network(inputs).logits, 20 * n_views
    l_x = -(targets[:n] * logits[:n].log_softmax(1)).sum(1).mean()
    l_u = ((logits[n:].softmax(1) - targets[n:]) ** 2).mean()
    penalty = -(logits.softmax(1).mean(0) * 3).log().mean()
    expected = l_x + 8.0 * (2.5 - 1) / 4 * l_u + penalty
    assert list(found) == ["second"]
    assert torch.allclose(found["second"], expected, atol=1e-6)
    found["second"].backward()
    assert network.head.weight.grad is not None
    assert other.head.weight.grad is None


def test_each_network_is_trained_by_the_split_of_the_other(fit, plant):
    """Both splits are made from the weights at the end of the warm-up."""
    data = plant()
    run = fit(DivideMix, data, epochs=2, recipe={"schedule": "constant"}, **WARM)
    start = fit(DivideMix, data, epochs=1, recipe={"schedule": "constant"}, **WARM)
    for network, division in (
        (start.method.network, run.method.division),
        (start.method.network_2, run.method.division_2),
    ):
        losses = cross_entropy(network(data.inputs).logits, data.given, reduction="none")
        split = co_divide(losses.detach().numpy(), batch_size=50)
        assert np.allclose(division.prob_clean.numpy(), split.prob_clean, atol=1e-4)
        assert np.array_equal(division.is_clean.numpy(), split.is_clean)
    first, second = run.training.method.plan_epoch(1, run.training.scan)
    assert (first.name, second.name) == ("first", "second")
    for part, judge in ((first, run.method.division_2), (second, run.method.division)):
        labelled, unlabelled = part.streams["labelled"].index, part.streams["unlabelled"].index
        assert set(labelled.tolist()) == set(torch.nonzero(judge.is_clean).flatten().tolist())
        assert not judge.is_clean[unlabelled].any()
        assert len(unlabelled) == len(labelled)


def test_history_is_averaged_as_far_as_it_goes():
    material = Material(torch.tensor([0, 1] * 20 + [-1]), 2)
    division = Division(41, threshold=0.5, average_last=3)
    generator = torch.Generator().manual_seed(0)
    epochs = [3 * torch.rand(41, generator=generator) ** 2 for _ in range(5)]
    for number, losses in enumerate(epochs):
        known = np.stack([row[:40].numpy() for row in epochs[max(0, number - 2) : number + 1]])
        expected = co_divide(known[-1], known[:-1], average_last=3).normalised
        assert np.allclose(division.split(losses, material).normalised, expected, atol=1e-6)
        division.renew(losses, material)
    assert int(division.n_history) == 2
    assert not division.is_clean[40]


def test_history_survives_a_kill(fit, resumed):
    how = {"average_last": 3, **WARM}
    assert fit(DivideMix, **how).is_same(resumed(DivideMix, at_step=7, **how))


def test_initial_selection_is_the_first_split_with_its_scores(fit, plant):
    data = plant()
    selected = ~data.is_wrong
    scores = torch.linspace(0, 1, 150).masked_fill(torch.arange(150) == 3, float("nan"))
    run = fit(DivideMix, data, epochs=2, material={"selected": selected, "label_scores": scores}, **WARM)
    for division in (run.method.division, run.method.division_2):
        assert torch.equal(division.is_clean, selected)
        expected = scores.where(~scores.isnan(), selected.float())
        assert torch.allclose(division.prob_clean, expected)
    later = fit(DivideMix, data, epochs=4, material={"selected": selected}, **WARM)
    assert not torch.equal(later.method.division.prob_clean, selected.float())


def test_without_unlabelled_rows_there_is_no_second_term(fit, plant):
    data = plant(rate=0.0)
    run = fit(DivideMix, data, epochs=2, material={"selected": torch.ones(150, dtype=torch.bool)}, **WARM)
    assert run.records[-1]["unlabelled"] == 0.0
    assert run.records[-1]["kept"] == 1.0


def test_equal_losses_use_every_label():
    material = Material(torch.tensor([0, 1, 0, 1]), 2)
    division = Division(4, threshold=0.5, average_last=1)
    division.renew(torch.full((4,), 0.7), material)
    assert division.is_clean.all()
    assert (division.prob_clean == 1).all()


def test_a_class_that_is_lost_is_told():
    material = Material(torch.tensor([0, 0, 0, 0, 1, 1]), 3)
    division = Division(6, threshold=0.5, average_last=1)
    with pytest.warns(TamisWarning, match=r"no label of 1 classes .*codes 1\)"):
        division.renew(torch.tensor([0.1, 0.1, 0.2, 0.1, 5.0, 5.1]), material)


def test_a_mixture_that_fails_leaves_the_split_before(monkeypatch):
    """The split before is handed to `co_divide`, which falls back to it."""
    seen = []
    monkeypatch.setattr(
        "tamis.methods.division.co_divide", lambda *args, **how: seen.append(how) or co_divide(*args, **how)
    )
    material = Material(torch.tensor([0, 1, 0, 1, -1]), 2)
    division = Division(5, threshold=0.5, average_last=1)
    for losses in ([0.1, 0.2, 3.0, 3.1, 0.0], [0.1, 3.2, 3.0, 0.1, 0.0]):
        before = division.is_clean.clone()
        division.renew(torch.tensor(losses), material)
    assert seen[1]["previous"] is None
    assert np.array_equal(seen[2]["previous"].is_clean, before[:4].numpy())


@pytest.mark.filterwarnings("ignore:no label of", "ignore:the mixture on")
def test_targets_in_evaluation_mode(fit):
    mlp = {"backbone": "mlp", "options": {"hidden": (8,), "dropout": 0.5}, "batch_size": 25}
    plain, still = (fit(DivideMix, eval_targets=way, **mlp, **WARM) for way in (False, True))
    assert not plain.is_same(still, only="network")
    assert still.beliefs().isfinite().all()


@pytest.mark.filterwarnings("ignore:no label of", "ignore:the mixture on")
@pytest.mark.parametrize("eval_targets", [False, True])
def test_modes_in_which_targets_are_made(eval_targets, fit, plant):
    """Of labelled and of unlabelled rows alike; the other network is always in evaluation mode."""
    data, rows = plant(), torch.arange(20)
    method = fit(DivideMix, data, epochs=2, eval_targets=eval_targets, **WARM).method.train()
    seen = {"network": [], "network_2": []}
    for name, modes in seen.items():
        part = getattr(method, name)
        part.register_forward_pre_hook(lambda part, inputs, modes=modes: modes.append(part.training))
    batch = Batch((data.inputs[rows], data.inputs[rows] + 0.1), data.given[rows], rows)
    moment = Moment(0, epoch=2, n_epochs=9, position=1, length=2, step=9, phase="first")
    method.training_step({"labelled": batch, "unlabelled": batch}, moment)
    assert seen == {"network": [not eval_targets, not eval_targets, True], "network_2": [False]}


def test_verdict_is_the_mean_posterior(fit):
    run = fit(DivideMix, epochs=5, lr=0.3, **WARM)
    method, scan = run.method, run.training.scan
    expected = np.mean(
        [
            division.split(scan.losses(network), method.known).prob_clean
            for network, division in (
                (method.network, method.division),
                (method.network_2, method.division_2),
            )
        ],
        axis=0,
    )
    verdict = run.training.verdict()
    assert np.allclose(verdict.clean_scores.numpy(), expected)
    both = [network(run.data.inputs).logits.softmax(1) for network in (method.network, method.network_2)]
    assert torch.allclose(verdict.beliefs, sum(both) / 2, atol=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        {"warm_up": 1.5},
        {"confidence_penalty": -1.0},
        {"threshold": 1.0},
        {"average_last": 0},
        {"temperature": -0.5},
        {"alpha": -1.0},
        {"lambda_u": float("nan")},
        {"rampup_length": -1},
    ],
)
def test_parameters_out_of_range(wrong, fit):
    with pytest.raises(InputError, match=next(iter(wrong))):
        fit(DivideMix, **wrong)
