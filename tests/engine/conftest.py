"""A training of the engine alone, in a fraction of a second."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch

from tamis.backbones import Classifier, build_backbone
from tamis.engine import Evaluation, Feeder, ResidentExamples, Settings, Training, make_fabric
from tamis.methods import METHODS, Material, Plugin
from tamis.methods.base import Losses, Method
from tamis.methods.batches import Batch, Moment


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


def mortal(kind: type[Method], at_step: int | None) -> type[Method]:
    class Mortal(kind):
        def training_step(self, batches: Mapping[str, Batch], moment: Moment) -> Losses:
            if moment.step == at_step:
                raise Killed
            return super().training_step(batches, moment)

    return Mortal


def plain(inputs: torch.Tensor, index: torch.Tensor, *, seed: int, step: int, view: int) -> torch.Tensor:
    return inputs


Make = Callable[..., Training]


@pytest.fixture
def make() -> Make:
    """Return a function that makes a `Training` of a method by name on Gaussian features."""

    def build_training(
        method: str = "cross_entropy",
        *,
        out: Path | None = None,
        die_at: int | None = None,
        recipe: Mapping[str, object] | None = None,
        plugins: tuple[Plugin, ...] = (),
        seconds: float = 300.0,
        key: str = "a",
        seed: int = 0,
    ) -> Training:
        generator = torch.Generator().manual_seed(0)
        labels = torch.arange(60) % 3
        inputs = torch.eye(3, 5)[labels] * 3 + torch.randn(60, 5, generator=generator)
        labels[:6] = (labels[:6] + 1) % 3
        kind = METHODS.get(method)

        def network(number: int) -> Classifier:
            options = {"hidden": (8,), "dropout": 0.3}
            return build_backbone("mlp", input_shape=(5,), n_classes=3, seed=seed + number, **options)

        made = mortal(kind, die_at)(network, n_samples=60, n_classes=3)
        wanted = {"epochs": 3, "batch_size": 16, "lr": 0.1} | dict(recipe or {})
        held = Evaluation(ResidentExamples(inputs[:30]), labels[:30])
        return Training(
            made,
            Feeder(ResidentExamples(inputs), labels, {"none": plain, "weak": plain}, wanted["batch_size"]),
            Material(labels, 3, seed=seed, noise_rate=lambda: 0.1),
            kind.recipe.changed(**wanted),
            make_fabric("cpu"),
            plugins,
            Settings(out, key, {"validation": held}, checkpoint_seconds=seconds),
        )

    return build_training
