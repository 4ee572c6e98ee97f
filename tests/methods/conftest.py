"""Runs of training methods by the real engine, on small sets of Gaussian features with planted errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from tamis.augment import normals
from tamis.backbones import Classifier, build_backbone
from tamis.engine import Evaluation, Feeder, ResidentExamples, Settings, Training, make_fabric
from tamis.evaluation import retrieval_metrics
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

    @property
    def precision_at_1(self) -> float:
        """Of embeddings of new rows, against the truth."""
        return self.records[-1]["test_precision_at_1"]

    def is_same(self, other: Run, only: str = "") -> bool:
        """Return whether both runs ended with the same weights and buffers, bit by bit."""
        mine, theirs = (
            {name: value for name, value in run.method.state_dict().items() if name.startswith(only)}
            for run in (self, other)
        )
        return mine.keys() == theirs.keys() and all(_equal(mine[name], theirs[name]) for name in mine)

    def beliefs(self) -> Tensor:
        return self.training.verdict().beliefs

    def ranks_wrong_below_right(self) -> float:
        """Return how often a wrong label has a lower clean score than a right one."""
        scores = self.training.verdict().clean_scores
        wrong, right = scores[self.data.is_wrong], scores[~self.data.is_wrong]
        return float((wrong[:, None] < right[None, :]).float().mean())


def _equal(one: Tensor, other: Tensor) -> bool:
    # NaN stands for nothing yet in some buffers.
    return one.shape == other.shape and torch.equal(one.nan_to_num(12345), other.nan_to_num(12345))


Fit = Callable[..., Run]


def _identity(inputs: Tensor, index: Tensor, *, seed: int, step: int, view: int) -> Tensor:
    return inputs


def shaken(inputs: Tensor, index: Tensor, *, seed: int, step: int, view: int) -> Tensor:
    """Return the rows with noise: the strong view."""
    drawn = normals(seed, step, index, inputs[0].numel(), stream=f"shaken {view}")
    return inputs + 0.3 * drawn.view_as(inputs)


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
    test: Planted | None = None,
    **params: object,
) -> Run:
    """Train; the recipe is the method's own, changed by what is given."""
    data = plant() if data is None else data
    n_classes = max(2, int(data.truth.max()) + 1)

    def build(number: int, n_outputs: int | None = None) -> Classifier:
        width, shape = n_outputs or n_classes, tuple(data.inputs.shape[1:])
        network = build_backbone(
            backbone, input_shape=shape, n_classes=width, seed=seed + number, **(options or {})
        )
        if zero_head:
            torch.nn.init.zeros_(network.head.weight)
        return network

    fabric = make_fabric("cpu", precision)
    feeder = Feeder(
        ResidentExamples(data.inputs),
        data.given,
        {"weak": _identity, "none": _identity, "strong": shaken},
        batch_size,
    )
    test = plant(300, n_classes, seed=99) if test is None else test
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


N_IDENTITIES = 8


def plant_identities(
    per_class: int = 20, rate: float = 0.2, *, n_classes: int = N_IDENTITIES, seed: int = 0
) -> Planted:
    """Return Gaussian clusters in 8 of 16 dimensions, the others louder noise; a share of labels is wrong.

    Raw cosines find the class of three rows in five: the noise must be unlearnt.
    """
    generator = torch.Generator().manual_seed(seed)
    truth = torch.arange(per_class * n_classes) % n_classes
    signal = 2.5 * torch.eye(n_classes, N_FEATURES)[truth]
    signal += 0.6 * torch.randn(len(truth), N_FEATURES, generator=generator)
    noise = 1.6 * torch.randn(len(truth), N_FEATURES, generator=generator)
    given = truth.clone()
    flipped = torch.randperm(len(truth), generator=generator)[: round(rate * len(truth))]
    given[flipped] += torch.randint(1, n_classes, (len(flipped),), generator=generator)
    return Planted(torch.cat([signal, noise], dim=1), truth, given % n_classes)


def raw_precision_at_1(data: Planted) -> float:
    """Return P@1 of the inputs themselves, against the truth."""
    found = retrieval_metrics(data.inputs, data.truth, metrics=("precision_at_1",))
    return float(found["precision_at_1"])


def fit_embedding_method(method_class: type[Method], data: Planted | None = None, **changed: object) -> Run:
    """Train embeddings on 8 identities of 20 rows, batches of 32; arguments as for `fit_method`."""
    data = plant_identities() if data is None else data
    usual: dict[str, object] = {"epochs": 4, "batch_size": 32, "lr": 0.01, "embedding_size": 8}
    usual["test"] = plant_identities(12, 0.0, n_classes=int(data.truth.max()) + 1, seed=99)
    usual |= changed
    material = {"batch_size": usual["batch_size"], **usual.pop("material", {})}  # type: ignore[dict-item]
    return fit_method(method_class, data, material=material, **usual)  # type: ignore[arg-type]


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


@pytest.fixture(name="plant_identities")
def plant_identities_fixture() -> Callable[..., Planted]:
    """Return `plant_identities`."""
    return plant_identities


@pytest.fixture
def fit() -> Fit:
    """Return `fit_method`: trains a method with the real engine, in a fraction of a second."""
    return fit_method


@pytest.fixture
def fit_embedding() -> Fit:
    """Return `fit_embedding_method`: the same for methods that train embeddings."""
    return fit_embedding_method


@pytest.fixture
def resumed_embedding(tmp_path: Path) -> Fit:
    """Return what `fit_embedding` does, but killed at ``at_step`` and started again in the same folder."""

    def run(method_class: type[Method], *arguments: object, at_step: int = 4, **options: object) -> Run:
        with pytest.raises(Interruption):
            fit_embedding_method(interrupted(method_class, at_step), *arguments, out=tmp_path, **options)
        return fit_embedding_method(method_class, *arguments, out=tmp_path, **options)

    return run


@pytest.fixture
def resumed(tmp_path: Path) -> Fit:
    """Return what `fit_method` does, but killed at ``at_step`` and started again in the same folder."""

    def run(method_class: type[Method], *arguments: object, at_step: int = 4, **options: object) -> Run:
        with pytest.raises(Interruption):
            fit_method(interrupted(method_class, at_step), *arguments, out=tmp_path, **options)
        return fit_method(method_class, *arguments, out=tmp_path, **options)

    return run
