"""Data with planted errors, audits of them that several tests look at, and one thread for small matrices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pytest
import torch

import tamis


class Planted(NamedTuple):
    """Gaussian classes with wrong labels."""

    features: np.ndarray
    labels: np.ndarray
    true: np.ndarray

    @property
    def is_wrong(self) -> np.ndarray:
        return self.labels != self.true


def plant(
    n: int = 240, k: int = 4, d: int = 8, *, rate: float = 0.1, gap: float = 3.5, seed: int = 0
) -> Planted:
    rng = np.random.default_rng(seed)
    true = np.arange(n) % k
    features = rng.normal(size=(n, d)) + gap * np.eye(d)[true]
    flipped = rng.random(n) < rate
    labels = np.where(flipped, (true + rng.integers(1, k, size=n)) % k, true)
    return Planted(features, labels, true)


@pytest.fixture(scope="session")
def planted() -> Callable[..., Planted]:
    """Return `plant`."""
    return plant


@pytest.fixture(scope="session")
def data() -> Planted:
    """Return 240 rows of 4 classes, a tenth of the labels wrong."""
    return plant()


@pytest.fixture(scope="session")
def found(data: Planted) -> tamis.Audit:
    """Return the audit of `data`."""
    return tamis.audit(features=data.features, labels=data.labels)


@pytest.fixture(scope="session")
def out_of_sample(data: Planted) -> np.ndarray:
    """Return (240, 4) probabilities of a model that never saw the labels."""
    logits = 1.5 * data.features[:, :4]
    probs = np.exp(logits - logits.max(1, keepdims=True))
    return probs / probs.sum(1, keepdims=True)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
