"""GIST, RIST and the fixed mixture."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from tamis.errors import InputError
from tamis.methods import METHODS
from tamis.methods.batches import Batch, Moment
from tamis.methods.gist import GIST
from tamis.methods.self_training import RIST, FixedMix
from tamis.targets import choose_set

SHORT = {"round_length": 1}


def select(n, share=0.5):
    return torch.arange(n) < share * n


@pytest.mark.parametrize("name", ["gist", "rist", "mix"])
def test_with_every_row_trusted_all_policies_learn_from_given_labels_alone(name, fit, plant):
    data = plant()
    run = fit(METHODS.get(name), data, material={"selected": torch.ones(150, dtype=torch.bool)}, **SHORT)
    assert (run.method.current == -1).all()
    first = run.method.network.head.weight
    if name != "gist":  # which holds rows out
        other = fit(RIST, data, material={"selected": torch.ones(150, dtype=torch.bool)}, **SHORT)
        assert torch.equal(first, other.method.network.head.weight)


@pytest.mark.parametrize("method_class", [RIST, FixedMix])
def test_rounds_follow_the_policy(method_class, fit, plant):
    data, trusted = plant(), select(150)
    for epochs in range(1, 5):
        run = fit(method_class, data, epochs=epochs, material={"selected": trusted}, **SHORT)
        number = epochs - 1
        choice = choose_set(method_class.policy, number, 0, n_pseudo=None if number else 0)
        (part,) = run.method._passes(number, number)
        ((name, stream),) = part.streams.items()
        drawn = trusted[stream.index]
        assert name == choice
        assert len(stream.index) == 150
        assert {"trusted": drawn.all(), "pseudo": not drawn.any(), "mixed": 0 < drawn.sum() < 150}[choice]


def test_pseudo_labels_are_those_of_the_newest_network(fit, plant):
    data, trusted = plant(), select(150)
    run = fit(FixedMix, data, epochs=2, material={"selected": trusted}, round_length=2, threshold=0.6)
    method, scan = run.method, run.training.scan
    assert (method.current == -1).all()
    probs = scan.probabilities()
    method.plan_epoch(2, scan)
    confidence, labels = probs.max(dim=1)
    assert torch.equal(method.current, labels.where(~trusted & (confidence >= 0.6), -1))
    held = method.current.clone()
    method.network.head.bias.data += torch.tensor([5.0, 0.0, 0.0])
    method.plan_epoch(3, scan)  # the same round
    assert torch.equal(method.current, held)


def test_a_step_by_hand(fit, plant):
    data, trusted = plant(), select(150)
    method = fit(FixedMix, data, epochs=2, material={"selected": trusted}, **SHORT).method
    rows = torch.arange(60, 90)
    loss = method.training_step(
        {"mixed": Batch((data.inputs[rows],), data.given[rows], rows)}, Moment(0, 1, 4, 0, 5, 7)
    )
    labels = data.given.where(trusted, method.current)[rows]
    assert torch.allclose(loss, cross_entropy(method.network(data.inputs[rows]).logits, labels))


def test_gist_goes_on_with_the_copy_that_validates_better(fit, plant):
    data = plant(rate=0.3)
    run = fit(GIST, data, epochs=3, lr=0.3, material={"selected": ~data.is_wrong}, held_out=0.2, **SHORT)
    method = run.method
    n_trusted = int((~data.is_wrong).sum())
    assert int(method.held.sum()) == round(0.2 * n_trusted)
    assert not data.is_wrong[method.held].any()
    right = [
        int((network(data.inputs[method.held]).logits.argmax(1) == data.given[method.held]).sum())
        for network in (method.network, method.network_2)
    ]
    assert method.n_right.tolist() == right
    assert int(method.leader) == int(right[1] > right[0])
    leader = (method.network, method.network_2)[int(method.leader)]
    assert torch.equal(method(data.inputs).logits, leader(data.inputs).logits)
    method.plan_epoch(3, run.training.scan)
    assert torch.equal(method.network.head.weight, method.network_2.head.weight)
    assert torch.equal(method.network.head.weight, leader.head.weight)


def test_gist_never_trains_on_held_out_rows(fit, plant):
    data = plant()
    run = fit(GIST, data, epochs=2, material={"selected": select(150)}, held_out=0.2, **SHORT)
    train, validation = run.method.plan_epoch(2, run.training.scan)
    for stream in train.streams.values():
        assert not run.method.held[stream.index].any()
    assert run.method.held[validation.streams["held"].index].all()
    assert list(train.streams) == ["trusted", "pseudo"]


def test_gist_validation_moves_no_weight(fit, plant):
    """Not even by momentum or weight decay."""
    data = plant()
    run = fit(GIST, data, epochs=2, material={"selected": select(150)}, **SHORT)
    before = {name: value.clone() for name, value in run.method.state_dict().items() if "network" in name}
    rows = torch.nonzero(run.method.held).flatten()
    moment = Moment(0, 2, 4, 0, 1, 9, phase="validation")
    run.training._take_step({"held": Batch((data.inputs[rows],), data.given[rows], rows)}, moment)
    assert all(torch.equal(run.method.state_dict()[name], value) for name, value in before.items())


def test_a_poor_pseudo_labeller_is_not_followed_by_gist(fit, plant):
    """Pseudo labels of a network that has learnt nothing yet: the trusted copy wins."""
    data = plant()
    run = fit(GIST, data, epochs=4, lr=1e-4, zero_head=True, material={"selected": ~data.is_wrong}, **SHORT)
    assert not run.method.leader


def test_trust_by_label_scores(fit, plant):
    data = plant()
    scores = torch.where(data.is_wrong, 0.2, 0.9)
    run = fit(RIST, data, trust=0.5, material={"label_scores": scores}, **SHORT)
    assert torch.equal(run.method.trusted, ~data.is_wrong)
    with pytest.raises(InputError, match="there are no label scores"):
        fit(RIST, data, trust=0.5, **SHORT)
    with pytest.raises(InputError, match=r"no label score exceeds trust = 0.95"):
        fit(RIST, data, trust=0.95, material={"label_scores": scores}, **SHORT)


def test_one_trusted_row(fit, plant):
    data = plant(40)
    for method_class in (GIST, RIST, FixedMix):
        run = fit(method_class, data, material={"selected": torch.arange(40) == 3}, **SHORT)
        assert run.beliefs().isfinite().all()


def test_a_threshold_nobody_reaches_leaves_trusted_rows(fit, plant):
    run = fit(FixedMix, plant(), threshold=1.5, material={"selected": select(150)}, **SHORT)
    assert (run.method.current == -1).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"round_length": 1.5},
        {"threshold": float("nan")},
        {"trust": 1.0},
        {"selector": "tree"},
        {"held_out": 0.0},
    ],
)
def test_parameters_out_of_range(wrong, fit):
    with pytest.raises(InputError, match=next(iter(wrong))):
        fit(GIST, **wrong)
