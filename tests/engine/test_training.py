"""The loop: a step by hand, kills and resumed runs, best weights, patience, plug-ins, divergence."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from tests.engine.conftest import Killed, Make
from torch.nn.functional import cross_entropy

from tamis.engine import Training
from tamis.engine.checkpoint import read_checkpoint
from tamis.errors import RunError
from tamis.methods import Plugin
from tamis.methods.batches import Moment
from tamis.methods.plugin import Seen

METHODS = ["cross_entropy", "elr", "bare", "co_teaching", "sat"]


def state(training: Training) -> dict[str, torch.Tensor]:
    return training.method.state_dict()


def assert_same(one: Training, other: Training) -> None:
    mine, theirs = state(one), state(other)
    assert mine.keys() == theirs.keys()
    for name, tensor in mine.items():
        assert torch.equal(tensor, theirs[name]), name


def test_a_run_against_a_loop_by_hand(make: Make) -> None:
    recipe = {"schedule": "constant", "momentum": 0.9, "weight_decay": 0.01, "epochs": 2}
    training, hand = make(recipe=recipe), make(recipe=recipe)
    # Dropout would need the engine's draws.
    for each in (training, hand):
        for part in each.method.modules():
            if isinstance(part, torch.nn.Dropout):
                part.p = 0.0
    training.run()
    method = hand.method
    method.prepare(hand.material, hand.scan)
    optimizer = torch.optim.SGD(method.network.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    for epoch in range(2):
        (plan,) = method.plan_epoch(epoch, hand.scan)
        order = plan.streams["train"].index
        for start in range(0, 48, 16):
            rows = order[start : start + 16]
            loss = cross_entropy(method.network(hand.feeder.plain(rows)).logits, hand.material.labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for name, tensor in state(training).items():
        torch.testing.assert_close(tensor, state(hand)[name], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("die_at", [1, 3, 7])
def test_a_killed_run_ends_bit_by_bit_the_same(make: Make, tmp_path: Path, method: str, die_at: int) -> None:
    """Killed within the first epoch, at its end, and later; a checkpoint after every step."""
    whole = make(method)
    history = whole.run()
    with pytest.raises(Killed):
        make(method, out=tmp_path, die_at=die_at, seconds=0.0).run()
    again = make(method, out=tmp_path, seconds=0.0)
    resumed = again.run()
    assert_same(whole, again)
    silent = {"samples_per_second", "seconds"}
    for one, other in zip(history, resumed, strict=True):
        assert {k: v for k, v in one.items() if k not in silent} == {
            k: v for k, v in other.items() if k not in silent
        }
    assert torch.equal(whole.verdict().beliefs, again.verdict().beliefs)


def test_checkpoints_at_the_ends_of_epochs_suffice(make: Make, tmp_path: Path) -> None:
    whole = make("elr")
    whole.run()
    with pytest.raises(Killed):
        make("elr", out=tmp_path, die_at=5).run()
    assert read_checkpoint(tmp_path / "checkpoints" / "last.safetensors")[1]["epoch"] == 1
    again = make("elr", out=tmp_path)
    again.run()
    assert_same(whole, again)
    # A finished run has nothing left to do.
    finished = make("elr", out=tmp_path, die_at=0)
    assert len(finished.run()) == 3
    assert_same(whole, finished)


def test_a_checkpoint_of_another_run_is_refused(make: Make, tmp_path: Path) -> None:
    make(out=tmp_path).run()
    with pytest.raises(RunError, match="belongs to a run with other data or settings"):
        make(out=tmp_path, key="b").run()


def test_the_seed_decides_and_the_generator_of_the_caller_is_left_alone(make: Make) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one = make("elr")
    one.run()
    assert torch.equal(torch.rand(3), expected)
    same, other = make("elr"), make("elr", seed=1)
    same.run()
    other.run()
    assert_same(one, same)
    assert not torch.equal(state(one)["network.head.weight"], state(other)["network.head.weight"])


def test_best_weights_are_those_of_the_best_epoch(make: Make, tmp_path: Path) -> None:
    training = make(out=tmp_path, recipe={"epochs": 6})
    history = training.run()
    accuracies = [record["validation_accuracy"] for record in history]
    best, facts = read_checkpoint(tmp_path / "checkpoints" / "best.safetensors")
    assert facts["accuracy"] == max(accuracies)
    assert facts["epoch"] == 1 + accuracies.index(max(accuracies))
    assert set(best) == set(state(training))


def test_patience(make: Make) -> None:
    training = make(recipe={"epochs": 40, "lr": 1e-12, "patience": 3})
    assert len(training.run()) == 4


def test_learning_rates_follow_the_recipe(make: Make) -> None:
    training = make(recipe={"epochs": 4, "schedule": "steps", "milestones": (0.5,), "gamma": 0.1})
    rates = [record["lr"] for record in training.run()]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01])
    warm = make(recipe={"epochs": 2, "schedule": "constant", "warmup": 2.0}).run()
    # The last of three steps of an epoch begins after two thirds of it.
    assert [record["lr"] for record in warm] == pytest.approx([0.1 / 3, 0.1 * 5 / 6])


def test_long_gradients_are_shortened(make: Make) -> None:
    training = make(recipe={"clip_norm": 1e-3, "epochs": 1, "momentum": 0.0, "weight_decay": 0.0})
    before = {name: tensor.clone() for name, tensor in state(training).items()}
    training.run()
    moved = math.sqrt(sum(float((state(training)[name] - before[name]).square().sum()) for name in before))
    assert 0 < moved <= 3 * 0.1 * 1e-3 * 1.001


def test_a_diverged_run_stops_with_an_explanation(make: Make) -> None:
    with pytest.raises(
        RunError, match=r"the loss is (nan|inf) at epoch \d, step \d of 3: training has diverged"
    ):
        make(recipe={"weight_decay": 1e30, "epochs": 9}).run()


class Penalty(Plugin):
    """Adds a multiple of the squared logits."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight

    def is_active(self, moment: Moment) -> bool:
        return self.weight != 0

    def loss(self, seen: list[Seen], moment: Moment) -> torch.Tensor:
        return self.weight * torch.stack([each.outputs.logits.square().mean() for each in seen]).sum()


@pytest.mark.parametrize("method", ["cross_entropy", "co_teaching", "elr"])
def test_a_plugin_of_weight_0_changes_nothing(make: Make, method: str) -> None:
    bare, idle, busy = (
        make(method),
        make(method, plugins=(Penalty(0.0),)),
        make(method, plugins=(Penalty(1.0),)),
    )
    for each in (bare, idle, busy):
        each.run()
    assert_same(bare, idle)
    assert not torch.equal(state(bare)["network.head.weight"], state(busy)["network.head.weight"])
    logits = [
        each.method(each.feeder.plain(torch.arange(60))).logits.square().mean() for each in (bare, busy)
    ]
    assert logits[1] < logits[0]
