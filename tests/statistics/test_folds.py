"""Folds: groups stay whole, classes are spread, every row is held out once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.errors import InputError
from tamis.statistics.folds import assign_folds


def test_by_hand() -> None:
    codes = np.array([0, 0, 0, 1, 1, 1])
    alone = np.full(6, -1)
    assert assign_folds(codes, alone, 3).tolist() == [0, 1, 2, 0, 1, 2]
    # Rows 1 and 3 are one group; it counts as class 1, so class 0 has two groups and class 1 three.
    assert assign_folds(codes, np.array([-1, 8, -1, 8, -1, -1]), 3).tolist() == [0, 2, 1, 2, 0, 1]


@given(st.integers(0, 10_000), st.integers(2, 6))
def test_groups_stay_whole_and_sizes_are_even(seed: int, n_folds: int) -> None:
    rng = np.random.default_rng(seed)
    codes, groups = rng.integers(-1, 5, size=80), rng.integers(-1, 30, size=80)
    folds = assign_folds(codes, groups, n_folds)
    assert folds.min() >= 0
    assert folds.max() < n_folds
    for group in range(30):
        assert len(set(folds[groups == group])) <= 1
    # In groups, folds differ by one at most.
    keys = np.where(groups >= 0, groups, 1000 + np.arange(80))
    _, first = np.unique(keys, return_index=True)
    counts = np.bincount(folds[first], minlength=n_folds)
    assert np.ptp(counts) <= 1


@pytest.mark.parametrize("n_classes", [2, 7])
def test_classes_are_spread_evenly(n_classes: int) -> None:
    codes = np.random.default_rng(n_classes).integers(0, n_classes, size=203)
    folds = assign_folds(codes, np.full(203, -1), 5)
    for code in range(n_classes):
        assert np.ptp(np.bincount(folds[codes == code], minlength=5)) <= 1


def test_the_rarest_class_is_never_in_one_fold_alone() -> None:
    """Groups that mix classes: the two that hold the rare class 1 must not share a fold."""
    for place in range(1, 10):
        codes, groups = np.zeros(40, dtype=int), np.arange(40) // 4
        codes[[3, 4 * place + 3]] = 1
        folds = assign_folds(codes, groups, 5)
        assert folds[3] != folds[4 * place + 3]


def test_fewer_groups_than_folds_leave_folds_empty() -> None:
    assert assign_folds(np.zeros(4, dtype=int), np.array([2, 2, 9, 9]), 5).tolist() == [0, 0, 1, 1]


def test_edges() -> None:
    assert len(assign_folds(np.zeros(0, dtype=int), np.zeros(0, dtype=int))) == 0
    with pytest.raises(InputError, match="n_folds is 1; at least 2"):
        assign_folds(np.zeros(3, dtype=int), np.full(3, -1), 1)
