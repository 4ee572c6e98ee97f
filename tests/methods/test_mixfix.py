"""MixFix and the selection it makes where nobody brings one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tamis.errors import InputError
from tamis.methods.batches import Batch, Moment
from tamis.methods.mixfix import MixFix
from tamis.methods.visual_selection import SelectionRules, select_by_features
from tamis.targets import absorb_and_relabel

OWN = {"n_neighbors": 10}


def test_a_step_by_hand(fit, plant, monkeypatch):
    data = plant()
    method = fit(MixFix, data, epochs=1, **OWN).method
    method.current[:75] = 2
    monkeypatch.setattr("tamis.methods.mixfix.mixup_lambda", lambda alpha, seed, step: 0.7)
    monkeypatch.setattr(
        "tamis.methods.mixfix.mixup_permutation", lambda n, seed, step, device: torch.arange(n).flip(0)
    )
    rows = torch.arange(60, 90)
    batch = Batch((data.inputs[rows],), data.given[rows], rows)
    loss = method.training_step({"train": batch}, Moment(0, 1, 4, 0, 5, 7))
    inputs, targets = data.inputs[rows], torch.eye(3)[method.current[rows]]
    inputs, targets = (0.7 * part + 0.3 * part.flip(0) for part in (inputs, targets))
    expected = -(targets * method.network(inputs).logits.log_softmax(1)).sum(1).mean()
    assert torch.allclose(loss, expected, atol=1e-6)


def test_selection_grows_from_the_first_one_by_the_rules(fit, plant):
    data = plant()
    run = fit(MixFix, data, epochs=3, lr=0.3, **OWN)
    method, scan = run.method, run.training.scan
    (part,) = method.plan_epoch(3, scan)
    expected = absorb_and_relabel(scan.probabilities(), data.given, method.kept)
    assert torch.equal(method.current, expected.labels)
    assert torch.equal(method.selected, expected.selected)
    assert (method.kept <= method.selected).all()
    assert method.selected.sum() > method.kept.sum()
    assert (method.current == data.truth)[method.selected].float().mean() > 0.95
    index = part.streams["train"].index
    assert len(index) == 150
    assert method.selected[index].all()


def test_classes_are_drawn_equally_often(fit, plant):
    data = plant(n_classes=3)
    selected = torch.ones(150, dtype=torch.bool)
    selected[(data.given == 0) & (torch.arange(150) > 20)] = False
    run = fit(MixFix, data, epochs=0, material={"selected": selected})
    (part,) = run.method.plan_epoch(0, run.training.scan)
    drawn = np.bincount(data.given[part.streams["train"].index].numpy())
    assert drawn.min() > 0.6 * drawn.max()


def test_rules_that_are_off_leave_everything_as_it_was(fit, plant):
    data = plant()
    selected = torch.arange(150) % 2 == 0
    run = fit(MixFix, data, theta_r=2.0, theta_r2=2.0, material={"selected": selected})
    assert torch.equal(run.method.selected, selected)
    assert torch.equal(run.method.current, data.given)


@pytest.mark.parametrize("selector", ["knn", "logistic"])
def test_own_selection_is_cleaner_than_the_labels(selector, plant):
    data = plant(300, rate=0.4)
    rules = SelectionRules(selector, n_neighbors=20)
    found = torch.from_numpy(select_by_features(data.inputs.numpy(), data.given.numpy(), 3, rules))
    assert (~data.is_wrong)[found].float().mean() > 0.97
    assert found[~data.is_wrong].float().mean() > 0.4


def test_own_selection_does_not_hang_on_order_or_codes(plant):
    data = plant(200)
    inputs, given = data.inputs.numpy(), data.given.numpy()
    found = select_by_features(inputs, given, 3)
    order, codes = np.random.default_rng(0).permutation(200), np.array([2, 0, 1])
    assert np.array_equal(select_by_features(inputs[order], given[order], 3), found[order])
    assert np.array_equal(select_by_features(inputs, codes[given], 3), found)


def test_own_selection_shrinks_with_its_thresholds_and_leaves_no_class_out(plant):
    data = plant(200, rate=0.5)
    inputs, given = data.inputs.numpy(), data.given.numpy()
    sizes = [
        select_by_features(inputs, given, 3, SelectionRules(theta_cons=cons, theta_gmm=gmm)).sum()
        for cons, gmm in ((0.0, 0.0), (0.5, 0.0), (1.0, 0.0), (1.0, 0.5))
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == 200
    none = select_by_features(inputs, given, 3, SelectionRules(theta_cons=2.0))
    assert np.bincount(given[none], minlength=3).min() > 0


def test_given_features_come_first(fit, plant):
    data = plant()
    known = {"features": lambda: data.inputs, "has_features": True}
    scrambled = data._replace(
        inputs=data.inputs[torch.randperm(150, generator=torch.Generator().manual_seed(0))]
    )
    run = fit(MixFix, scrambled, epochs=1, material=known, **OWN)
    assert torch.equal(run.method.kept, fit(MixFix, data, epochs=1, **OWN).method.kept)


def test_without_numbers_the_networks_own_features_serve_after_a_warm_up(fit, plant, monkeypatch):
    data = plant(60)
    monkeypatch.setattr("tamis.methods.visual_selection.are_features", lambda scan, n_classes: False)
    how = {"view": "weak", "warm_up": 2, "n_neighbors": 10, "batch_size": 20}
    young, old = (fit(MixFix, data, epochs=n, **how).method for n in (2, 3))
    assert not young.is_started
    assert young.selected.all()
    assert old.is_started
    assert 0 < old.kept.sum() < 60


@pytest.mark.parametrize(
    "wrong",
    [
        {"theta_r": -0.1},
        {"theta_r2": float("nan")},
        {"alpha": -1.0},
        {"selector": "tree"},
        {"n_neighbors": 0},
        {"theta_gmm": -1.0},
        {"theta_cons": float("nan")},
        {"warm_up": 1.5},
    ],
)
def test_parameters_out_of_range(wrong, fit):
    with pytest.raises(InputError, match=next(iter(wrong))):
        fit(MixFix, **wrong)
