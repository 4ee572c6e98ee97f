"""Small noisy data sets, and trainings of a fraction of a second."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest

from tamis.training import TrainedModel, train


class Planted(NamedTuple):
    """Features (n, 6), given labels and true ones (n,)."""

    features: np.ndarray
    given: np.ndarray
    truth: np.ndarray

    @property
    def is_wrong(self) -> np.ndarray:
        return self.given != self.truth


def plant(n: int = 120, n_classes: int = 3, rate: float = 0.1, seed: int = 0) -> Planted:
    random = np.random.default_rng(seed)
    truth = np.arange(n) % n_classes
    features = (random.normal(size=(n, 6)) + 4 * np.eye(6)[truth]).astype(np.float32)
    given = truth.copy()
    wrong = random.permutation(n)[: round(rate * n)]
    given[wrong] = (given[wrong] + 1) % n_classes
    return Planted(features, given, truth)


Go = Callable[..., TrainedModel]


@pytest.fixture(scope="session")
def planted() -> Planted:
    return plant()


@pytest.fixture
def go(planted: Planted) -> Go:
    """Return `tamis.train` on planted features without an audit, two epochs; arguments replace these."""

    def run(**changed: object) -> TrainedModel:
        usual = {"features": planted.features, "labels": planted.given, "method": "cross_entropy"}
        usual |= {"epochs": 2, "audit": False, "backbone": "linear"}
        wanted = {name: value for name, value in (usual | changed).items() if value is not ...}
        return train(**wanted)

    return run
