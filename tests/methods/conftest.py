"""Runs of training methods by the real engine, on small sets of Gaussian features with planted errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from tamis.backbones import Classifier, build_backbone
from tamis.engine import Evaluation, Feeder, ResidentExamples, Settings, Training, make_fabric
from tamis.methods.base import Losses, Method
from tamis.methods.batches import Batch, Moment
from tamis.methods.material import Material

N_FEATURES = 8


class Planted(NamedTuple):
    """Features whose labels are partly wrong: (n, 8) float32, (n,) int64, (n,) int64."""

    inputs: Tensor
    truth: Tensor
    given: Tensor

    @property
    def is_wrong(self) -> Tensor:
        return self.truth != self.given


def plant(
    n: int = 150, n_classes: int = 3, rate: float = 0.3, *, spread: float = 0.4, seed: int = 0
) -> Planted:
    """Return one Gaussian a class; a share of the labels goes to another class, all equally likely."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.arange(n) % n_classes
    centres = torch.eye(n_classes, N_FEATURES) * 2
    inputs = centres[truth] + spread * torch.randn(n, N_FEATURES, generator=generator)
    given = truth.clone()
    flipped = torch.randperm(n, generator=generator)[: round(rate * n)]
    given[flipped] += torch.randint(1, n_classes, (len(flipped),), generator=generator)
    return Planted(inputs, truth, given % n_classes)


@dataclass
class Run:
    """A method, trained."""

    method: Method
    training: Training
    data: Planted

    @property
    def records(self) -> list[dict[str, float]]:
        return self.training.records.lines

    @property
    def accuracy(self) -> float:
        """On new rows, against the truth."""
        return self.records[-1]["test_accuracy"]

    def is_same(self, other: Run, only: str = "") -> bool:
        """Return whether both runs ended with the same weights and buffers, bit by bit."""
        mine, theirs = (
            {name: value for name, value in run.method.state_dict().items() if name.startswith(only)}
            for run in (self, other)
        )
        return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)

    def beliefs(self) -> Tensor:
        return self.training.verdict().beliefs

    def ranks_wrong_below_right(self) -> float:
        """Return how often a wrong label has a lower clean score than a right one."""
        scores = self.training.verdict().clean_scores
        wrong, right = scores[self.data.is_wrong], scores[~self.data.is_wrong]
        return float((wrong[:, None] < right[None, :]).float().mean())


Fit = Callable[..., Run]


def _identity(inputs: Tensor, index: Tensor, *, seed: int, step: int, view: int) -> Tensor:
    return inputs


def fit_method(
    method_class: type[Method],
    data: Planted | None = None,
    *,
    backbone: str = "linear",
    zero_head: bool = False,
    options: Mapping[str, object] | None = None,
    epochs: int = 4,
    batch_size: int = 50,
    lr: float = 0.1,
    recipe: Mapping[str, object] | None = None,
    seed: int = 0,
    out: Path | None = None,
    material: Mapping[str, object] | None = None,
    precision: str = "32-true",
    **params: object,
) -> Run:
    """Train; the recipe is the method's own, changed by what is given."""
    data = plant() if data is None else data
    n_classes = max(2, int(data.truth.max()) + 1)

    def build(number: int) -> Classifier:
        shape = tuple(data.inputs.shape[1:])
        network = build_backbone(
            backbone, input_shape=shape, n_classes=n_classes, seed=seed + number, **(options or {})
        )
        if zero_head:
            torch.nn.init.zeros_(network.head.weight)
        return network

    fabric = make_fabric("cpu", precision)
    feeder = Feeder(
        ResidentExamples(data.inputs), data.given, {"weak": _identity, "none": _identity}, batch_size
    )
    test = plant(300, n_classes, seed=99)
    method = method_class(build, n_samples=len(data.given), n_classes=n_classes, **params)
    settings = Settings(
        out=out,
        checkpoint_seconds=0.0,
        evaluations={"test": Evaluation(ResidentExamples(test.inputs), test.truth)},
    )
    changed = {"epochs": epochs, "batch_size": batch_size, "lr": lr, **(recipe or {})}
    training = Training(
        method,
        feeder,
        Material(data.given, n_classes, seed=seed, **(material or {})),
        method_class.recipe.changed(**changed),
        fabric,
        settings=settings,
    )
    training.run()
    return Run(method, training, data)


class Interruption(Exception):
    """Stands for a kill."""


def interrupted(method_class: type[Method], at_step: int) -> type[Method]:
    """Return the method, dying at one step."""

    class Mortal(method_class):
        def training_step(self, batches: Mapping[str, Batch], moment: Moment) -> Losses:
            if moment.step == at_step:
                raise Interruption
            return super().training_step(batches, moment)

    return Mortal


@pytest.fixture(name="plant")
def plant_fixture() -> Callable[..., Planted]:
    """Return `plant`."""
    return plant


@pytest.fixture
def fit() -> Fit:
    """Return `fit_method`: trains a method with the real engine, in a fraction of a second."""
    return fit_method


@pytest.fixture
def resumed(tmp_path: Path) -> Fit:
    """Return what `fit_method` does, but killed at ``at_step`` and started again in the same folder."""

    def run(method_class: type[Method], *arguments: object, at_step: int = 4, **options: object) -> Run:
        with pytest.raises(Interruption):
            fit_method(interrupted(method_class, at_step), *arguments, out=tmp_path, **options)
        return fit_method(method_class, *arguments, out=tmp_path, **options)

    return run
