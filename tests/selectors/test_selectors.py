"""What all selectors share, the selection by small loss, and training with robust losses on wrong labels."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tamis.errors import InputError
from tamis.losses import EarlyLearningLoss, GeneralizedCrossEntropy, co_teaching_losses
from tamis.metrics.ranking import average_precision
from tamis.selectors import (
    BareSelector,
    Selection,
    Selector,
    SmallLossSelector,
    logits_of,
    small_loss_selection,
)
from tamis.statistics.schedules import drop_rate

SELECTORS = [lambda: BareSelector(kappa=0.2), lambda: SmallLossSelector(0.4, n_gradual=0)]


class Outputs(NamedTuple):
    logits: Tensor
    features: Tensor


def batch(b=20, k=4):
    generator = torch.Generator().manual_seed(1)
    return 2 * torch.randn(b, k, generator=generator), torch.randint(0, k, (b,), generator=generator)


@pytest.mark.parametrize("make", SELECTORS)
class TestEverySelector:
    def test_selection(self, make):
        logits, labels = batch()
        selection = make().select(logits.requires_grad_(), labels)
        assert selection.keep.dtype == torch.bool
        assert selection.keep.shape == selection.weight.shape == selection.clean_scores.shape == (20,)
        assert not selection.clean_scores.requires_grad
        assert torch.equal(selection.weight, selection.keep.float())
        # What is kept is at least as clean as what is not, among equal labels.
        for c in range(4):
            kept, left = (
                selection.clean_scores[(labels == c) & each] for each in (selection.keep, ~selection.keep)
            )
            if len(kept) and len(left):
                assert kept.min() >= left.max()

    def test_outputs_of_a_network(self, make):
        logits, labels = batch()
        selector = make()
        first = selector.select(logits, labels)
        second = selector(Outputs(logits, torch.zeros(20, 3)), labels, index=torch.arange(20))
        assert torch.equal(first.keep, second.keep)
        with pytest.raises(InputError, match="outputs is a list"):
            selector.select([1.0], labels)

    def test_looking_changes_nothing(self, make):
        logits, labels = batch()
        selector = make()
        first = selector.select(logits, labels)
        selector.commit(first, logits, labels, torch.arange(20))
        assert torch.equal(selector.select(logits, labels).keep, first.keep)
        assert selector.state_dict() == {}


def test_a_selector_of_ones_own():
    class Confident(Selector):
        def select(self, outputs, labels, index=None):
            posterior = logits_of(outputs).softmax(1).gather(1, labels[:, None])[:, 0]
            return Selection(posterior > 0.5, (posterior > 0.5).float(), posterior)

    logits, labels = batch()
    assert Confident()(logits, labels).threshold is None
    with pytest.raises(TypeError, match="abstract"):
        Selector()


class TestWeightedMean:
    def test_by_hand(self):
        weight = torch.tensor([1.0, 3.0, 0.0])
        selection = Selection(weight > 0, weight, weight)
        assert selection.weighted_mean(torch.tensor([4.0, 8.0, torch.inf])).item() == 7.0

    def test_nothing_kept(self):
        weight = torch.zeros(2)
        losses = torch.ones(2, requires_grad=True)
        value = Selection(weight > 0, weight, weight).weighted_mean(losses)
        value.backward()
        assert value.item() == 0.0
        assert losses.grad.tolist() == [0.0, 0.0]


class TestSmallLoss:
    def test_by_hand(self):
        logits = torch.tensor([[3.0, 0.0], [0.0, 1.0], [0.0, 2.0], [5.0, 0.0]])
        selection = small_loss_selection(logits, torch.tensor([0, 0, 0, 0]), 0.5)
        assert selection.keep.tolist() == [True, False, False, True]
        assert selection.threshold.item() == pytest.approx(np.log1p(np.exp(-3)), rel=1e-6)

    def test_number_kept(self):
        logits, labels = batch()
        for rate in (0.0, 0.13, 0.5, 0.99, 1.0):
            kept = small_loss_selection(logits, labels, rate).keep.sum().item()
            assert kept == max(1, int((1 - rate) * 20))
        assert small_loss_selection(logits[:0], labels[:0], 0.5).threshold is None

    def test_order_and_class_names(self):
        logits, labels = batch()
        first = small_loss_selection(logits, labels, 0.3).keep
        rows, classes = torch.randperm(20), torch.tensor([1, 3, 2, 0])
        assert torch.equal(small_loss_selection(logits[rows], labels[rows], 0.3).keep, first[rows])
        assert torch.equal(
            small_loss_selection(logits[:, classes], classes.argsort()[labels], 0.3).keep, first
        )
        assert small_loss_selection(torch.zeros(4, 2), torch.zeros(4).long(), 0.5).keep.tolist() == [
            1,
            1,
            0,
            0,
        ]

    def test_schedule(self):
        logits, labels = batch()
        selector = SmallLossSelector(0.5, n_gradual=3)
        kept = []
        for epoch in range(4):
            selector.set_epoch(epoch)
            kept.append(int(selector.select(logits, labels).keep.sum()))
        assert kept == [20, 15, 10, 10]
        assert selector.epoch == 3

    def test_refuses(self):
        logits, labels = batch()
        with pytest.raises(InputError, match="losses row 2 gives NaN"):
            small_loss_selection(logits.index_fill(0, torch.tensor([2]), torch.nan), labels, 0.5)
        with pytest.raises(InputError, match=r"rate is -0\.1"):
            SmallLossSelector(-0.1)


# Training on planted noise: a network large enough to learn every label by heart.


def noisy_set(n=600, k=4, d=16, rate=0.45):
    rng = np.random.default_rng(0)
    truth = rng.integers(0, k, 2 * n)
    inputs = torch.from_numpy(rng.normal(size=(2 * n, d)) + 3 * np.eye(k, d)[truth]).float()
    truth = torch.from_numpy(truth)
    is_wrong = torch.from_numpy(rng.random(n) < rate)
    labels = torch.where(is_wrong, (truth[:n] + torch.from_numpy(rng.integers(1, k, n))) % k, truth[:n])
    return inputs[:n], labels, is_wrong, inputs[n:], truth[n:]


def network(seed=0, d=16, k=4):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(d, 128), nn.ReLU(), nn.Linear(128, k))


def train(step, networks, n, epochs=50):
    optimizer = torch.optim.Adam(itertools.chain(*(each.parameters() for each in networks)), lr=5e-3)
    generator = torch.Generator().manual_seed(0)
    for epoch in range(epochs):
        for rows in torch.randperm(n, generator=generator).split(100):
            optimizer.zero_grad()
            step(rows, epoch).backward()
            optimizer.step()


@pytest.fixture(scope="module")
def accuracies():
    inputs, labels, is_wrong, test_inputs, test_labels = noisy_set()
    elr, bare, gce = EarlyLearningLoss(len(labels), 4), BareSelector(kappa=0.5), GeneralizedCrossEntropy()
    nets = {name: network() for name in ("ce", "gce", "elr", "bare", "first")}
    second = network(seed=1)

    def co_teaching(rows, epoch):
        losses = co_teaching_losses(
            nets["first"](inputs[rows]), second(inputs[rows]), labels[rows], drop_rate(epoch, 0.45)
        )
        return losses.loss1 + losses.loss2

    def with_bare(rows, epoch):
        logits = nets["bare"](inputs[rows])
        losses = functional.cross_entropy(logits, labels[rows], reduction="none")
        return bare.select(logits, labels[rows]).weighted_mean(losses)

    steps = {
        "ce": lambda rows, epoch: functional.cross_entropy(nets["ce"](inputs[rows]), labels[rows]),
        "gce": lambda rows, epoch: gce(nets["gce"](inputs[rows]), labels[rows]),
        "elr": lambda rows, epoch: elr(nets["elr"](inputs[rows]), labels[rows], rows),
        "bare": with_bare,
        "first": co_teaching,
    }
    for name, step in steps.items():
        train(step, [nets[name], second] if name == "first" else [nets[name]], len(labels))
    with torch.no_grad():
        result = {
            name: (net(test_inputs).argmax(1) == test_labels).double().mean().item()
            for name, net in nets.items()
        }
        result["fitted"] = (nets["ce"](inputs).argmax(1) == labels)[is_wrong].double().mean().item()
    scores = elr.clean_scores(labels)
    result["precision"] = average_precision(scores.numpy(), is_wrong.numpy())
    result["suspects"] = (elr.suspects(labels) == is_wrong).double().mean().item()
    return result


def test_training_on_wrong_labels(accuracies):
    assert accuracies["fitted"] > 0.8  # cross-entropy has learnt the wrong labels by heart
    for name in ("gce", "elr", "bare", "first"):
        assert accuracies[name] > accuracies["ce"] + 0.1, accuracies
    assert accuracies["precision"] > 0.8
    assert accuracies["suspects"] > 0.85
