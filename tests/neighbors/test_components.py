"""Linked groups against a graph library, and their numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tamis.errors import InputError
from tamis.neighbors import linked_groups, number_groups

PAIRS = st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=40)


@given(PAIRS)
def test_links_agree_with_scipy(pairs):
    left, right = np.array(pairs, dtype=int).reshape(-1, 2).T
    root = linked_groups(30, left, right)
    graph = coo_array((np.ones(len(left)), (left, right)), shape=(30, 30))
    _, expected = connected_components(graph, directed=False)
    np.testing.assert_array_equal(root[:, None] == root, expected[:, None] == expected)
    for group in np.unique(root):
        assert group == np.flatnonzero(root == group).min()


def test_a_long_chain_is_one_group():
    n = 50_000
    order = np.random.default_rng(0).permutation(n)
    assert (linked_groups(n, order[:-1], order[1:]) == 0).all()


def test_numbers_by_hand():
    root = np.array([5, 1, 1, 5, 3])
    np.testing.assert_array_equal(number_groups(root), [0, 1, 1, 0, -1])
    np.testing.assert_array_equal(number_groups(root, order=np.array([4, 3, 0, 2, 1])), [1, 0, 0, 1, -1])
    assert len(number_groups(np.empty(0, dtype=int))) == 0


@given(PAIRS, st.integers(0, 10**6))
def test_numbers_follow_the_key_through_a_shuffle(pairs, seed):
    left, right = np.array(pairs, dtype=int).reshape(-1, 2).T
    rng = np.random.default_rng(seed)
    order, key = rng.permutation(30), rng.permutation(30)
    place = np.argsort(order)
    plain = number_groups(linked_groups(30, left, right), order=key)
    shuffled = number_groups(linked_groups(30, place[left], place[right]), order=key[order])
    np.testing.assert_array_equal(shuffled, plain[order])


def test_rows_that_do_not_exist_are_refused():
    with pytest.raises(InputError, match="outside 0 to 3"):
        linked_groups(4, np.array([0]), np.array([4]))
