"""Prototypes out of sample: by hand, against loops, and that no fold vouches for itself."""

from __future__ import annotations

import numpy as np
import pytest

from tamis.errors import InputError
from tamis.statistics import prototypes
from tamis.statistics.prototypes import prototype_cosines


def _data(n: int = 60, d: int = 5, k: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, d)), rng.dirichlet(np.ones(k), size=n), rng.integers(0, 4, size=n)


def test_by_hand() -> None:
    """Class 0 outside the fold of row 0 is (3, 4) / 5 alone: cosine 0.6 with (1, 0)."""
    features = np.array([[2.0, 0.0], [3.0, 4.0], [0.0, 1.0]])
    found = prototype_cosines(features, np.eye(2)[[0, 0, 1]], np.array([0, 1, 1]))
    assert found[0] == pytest.approx([0.6, 0.0])
    # Class 1 has no member outside the fold of rows 1 and 2.
    assert found[1] == pytest.approx([0.6, 0.0])


def test_against_loops() -> None:
    features, targets, folds = _data()
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    found = prototype_cosines(features, targets, folds)
    for row in range(len(features)):
        for c in range(targets.shape[1]):
            total = sum(targets[j, c] * unit[j] for j in range(len(unit)) if folds[j] != folds[row])
            assert found[row, c] == pytest.approx(float(unit[row] @ total) / np.linalg.norm(total), abs=1e-6)


def test_own_fold_order_names_and_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    features, targets, folds = _data()
    found = prototype_cosines(features, targets, folds)
    other = targets.copy()
    other[folds == 1] = 1 / 3
    assert np.array_equal(prototype_cosines(features, other, folds)[folds == 1], found[folds == 1])
    order = np.random.default_rng(1).permutation(len(features))
    moved = prototype_cosines(features[order], targets[order], 7 - folds[order])
    assert np.allclose(moved, found[order], atol=1e-6)
    assert np.allclose(prototype_cosines(features, targets[:, ::-1].copy(), folds)[:, ::-1], found, atol=1e-6)
    monkeypatch.setattr(prototypes, "_BLOCK_ROWS", 7)
    assert np.allclose(prototype_cosines(features, targets, folds), found, atol=1e-6)


def test_zeros_and_scale() -> None:
    features, targets, folds = _data()
    found = prototype_cosines(features, targets, folds)
    assert np.allclose(prototype_cosines(1e3 * features, targets, folds), found, atol=1e-6)
    features[3] = 0
    assert not prototype_cosines(features, targets, folds)[3].any()


def test_refused() -> None:
    features, targets, folds = _data()
    with pytest.raises(InputError, match="they must match"):
        prototype_cosines(features, targets[1:], folds)
    with pytest.raises(InputError, match="at least 2"):
        prototype_cosines(features, targets, 0 * folds)
