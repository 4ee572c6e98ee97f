"""Exact duplicates, their label conflicts and split leaks, by hand and against loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.detectors.exact_duplicates import (
    conflicting_duplicates,
    duplicate_groups,
    exact_duplicates,
    split_leaks,
)
from tamis.errors import InputError

DIGESTS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=25)


@given(DIGESTS, st.integers(0, 10**6))
def test_groups_equal_loops_in_any_row_order(pairs, seed):
    digests = np.array(pairs, dtype=np.uint64).reshape(-1, 2)
    groups = duplicate_groups(digests)
    for i, one in enumerate(pairs):
        copies = [j for j, other in enumerate(pairs) if one == other and one != (0, 0)]
        assert (groups[i] >= 0) == (len(copies) > 1)
        if len(copies) > 1:
            np.testing.assert_array_equal(np.flatnonzero(groups == groups[i]), copies)
    order = np.random.default_rng(seed).permutation(len(pairs))
    np.testing.assert_array_equal(duplicate_groups(digests[order]), groups[order])
    found = exact_duplicates(digests)
    np.testing.assert_array_equal(found.is_issue, groups >= 0)
    np.testing.assert_array_equal(found.scores, 1.0 - found.is_issue)


@given(st.lists(st.tuples(st.integers(-1, 3), st.integers(-1, 2)), max_size=25))
def test_conflicts_equal_loops(rows):
    groups, labels = np.array(rows, dtype=int).reshape(-1, 2).T
    found = conflicting_duplicates(groups, labels)
    for i, (group, label) in enumerate(rows):
        others = [b for j, (a, b) in enumerate(rows) if a == group and j != i and b >= 0]
        is_known = group >= 0 and label >= 0 and len(others) > 0
        expected = sum(b == label for b in others) / len(others) if is_known else 1.0
        assert found.scores[i] == pytest.approx(expected)
        assert found.is_issue[i] == (expected < 1.0)
        assert found.groups[i] == (group if expected < 1.0 else -1)


def test_leaks_by_hand():
    found = split_leaks(np.array([0, 0, 1, 1, 2, 2, -1]), np.array([0, 1, 1, 1, 0, -1, 1]))
    np.testing.assert_array_equal(found.is_issue, [True, True, False, False, False, False, False])
    np.testing.assert_array_equal(found.scores, [0, 0, 1, 1, 1, 1, 1])


def test_wrong_arguments_are_explained():
    with pytest.raises(InputError, match=r"digests has shape \(3,\)"):
        duplicate_groups(np.zeros(3, dtype=np.uint64))
    with pytest.raises(InputError, match="int64"):
        duplicate_groups(np.zeros((3, 2), dtype=np.int64))
    with pytest.raises(InputError, match=r"labels has shape \(2,\)"):
        conflicting_duplicates(np.zeros(3, dtype=int), np.zeros(2, dtype=int))
    with pytest.raises(InputError, match=r"splits .* float64"):
        split_leaks(np.zeros(3, dtype=int), np.zeros(3))
