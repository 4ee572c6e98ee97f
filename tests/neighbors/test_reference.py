"""Reference subsets: sizes by hand, and choices that do not depend on order or names."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.errors import InputError
from tamis.neighbors import balanced_reference, choose_reference


def test_sizes_by_hand():
    assert choose_reference(200_000, 256) is None
    assert choose_reference(200_001, 256) == 30_000
    assert choose_reference(10**6, 256, n_classes=1000) == 50_000
    assert choose_reference(10**6, 256, n_classes=10**5) == 100_000
    assert choose_reference(10**6, 4, n_classes=1000) is None
    assert choose_reference(100, 8, effort=10) == 100


def test_shares_by_hand():
    labels = np.repeat([0, 1, 2, -1], [3, 100, 100, 50])
    rows = balanced_reference(labels, np.arange(253, dtype=np.uint64), size=23, floor=1)
    np.testing.assert_array_equal(np.bincount(labels[rows]), [3, 10, 10])
    # The floor outweighs the size.
    rows = balanced_reference(labels, np.arange(253, dtype=np.uint64), size=23, floor=40)
    np.testing.assert_array_equal(np.bincount(labels[rows]), [3, 40, 40])
    assert len(balanced_reference(np.full(4, -1), np.arange(4, dtype=np.uint64), size=3)) == 0


@given(st.integers(0, 10**6), st.integers(1, 300), st.integers(1, 20), st.booleans())
def test_properties(seed, size, floor, wide):
    rng = np.random.default_rng(seed)
    n = 200
    labels = rng.choice([-1, 0, 1, 2, 5], size=n, p=[0.1, 0.5, 0.3, 0.08, 0.02])
    keys = rng.permutation(n).astype(np.uint64)
    if wide:
        keys = np.stack([keys // 10, keys], axis=1)
    rows = balanced_reference(labels, keys, size=size, floor=floor)
    counts = {c: int((labels == c).sum()) for c in np.unique(labels[labels >= 0])}
    taken = {c: int((labels[rows] == c).sum()) for c in counts}
    assert len(np.unique(rows)) == len(rows)
    assert all(taken[c] >= min(counts[c], floor) for c in counts)
    assert len(rows) <= max(size, sum(min(c, floor) for c in counts.values()))
    largest = max(taken.values())
    assert all(taken[c] in (counts[c], largest) for c in counts)
    order, renamed = rng.permutation(n), np.array([7, 3, 0, 9, 9, 1, -1])[labels]
    shuffled = balanced_reference(renamed[order], keys[order], size=size, floor=floor)
    np.testing.assert_array_equal(np.sort(order[shuffled]), rows)


def test_counters_as_keys_do_not_favour_the_first_rows():
    rows = balanced_reference(np.zeros(10_000, dtype=int), np.arange(10_000, dtype=np.uint64), size=1000)
    assert len(rows) == 1000
    # 1,000 uniform draws: the mean's standard error is 91.
    assert abs(rows.mean() - 5000) < 400


@pytest.mark.parametrize(
    ("labels", "keys", "size", "message"),
    [
        (np.zeros(3, dtype=int), np.zeros(3, dtype=np.uint64), 0, "size is 0"),
        (np.zeros(3), np.zeros(3, dtype=np.uint64), 1, "float64"),
        (np.zeros(3, dtype=int), np.zeros(3, dtype=int), 1, "keys has shape"),
        (np.zeros(3, dtype=int), np.zeros(4, dtype=np.uint64), 1, "keys has shape"),
    ],
)
def test_wrong_arguments_are_explained(labels, keys, size, message):
    with pytest.raises(InputError, match=message):
        balanced_reference(labels, keys, size=size)
