"""Sums of unit vectors per class: adding, removing, merging."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tamis.errors import InputError
from tamis.statistics.class_sums import ClassSums, unit_rows


def rows_of(n, d=4, k=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) * rng.uniform(0.1, 50, size=(n, 1)), rng.integers(0, k, n)


def direct(features, labels, k):
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    return np.stack([unit[labels == c].sum(axis=0) for c in range(k)]), np.bincount(labels, minlength=k)


def test_against_direct_sums():
    features, labels = rows_of(50)
    sums = ClassSums(5, 4).partial_fit(features, labels)
    expected, counts = direct(features, labels, 5)
    np.testing.assert_allclose(sums.sums, expected, atol=1e-12)
    np.testing.assert_array_equal(sums.counts, counts)
    np.testing.assert_allclose(sums.means[:3], expected[:3] / counts[:3, None], atol=1e-12)
    assert sums.is_present.tolist() == [True, True, True, False, False]
    assert (sums.means[3:] == 0).all()


def test_blocks_and_merge_order_do_not_matter():
    features, labels = rows_of(60)
    whole = ClassSums(3, 4).partial_fit(features, labels)
    parts = [ClassSums(3, 4).partial_fit(features[i::4], labels[i::4]) for i in range(4)]
    for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
        merged = ClassSums(3, 4)
        for place in order:
            merged.merge(parts[place])
        np.testing.assert_allclose(merged.sums, whole.sums, atol=1e-12)
        assert torch.equal(merged.counts, whole.counts)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(0, 1000))
def test_a_ring_of_rows_equals_the_sums_of_what_it_holds(batches, seed):
    """Insert batches into a ring of 12 rows, removing what is overwritten, past the wrap-around."""
    features, labels = rows_of(sum(batches), seed=seed)
    sums, held, start = ClassSums(3, 4), [], 0
    for size in batches:
        new = list(range(start, start + size))
        start += size
        gone, held = (held + new)[:-12], (held + new)[-12:]
        sums.partial_fit(features[new], labels[new])
        if gone:
            sums.remove(features[gone], labels[gone])
    expected, counts = direct(features[held], labels[held], 3)
    np.testing.assert_allclose(sums.sums, expected, atol=1e-12)
    np.testing.assert_array_equal(sums.counts, counts)
    assert (sums.sums[sums.counts == 0] == 0).all()


def test_reindexed_classes_keep_their_rows():
    features, labels = rows_of(20)
    sums = ClassSums(3, 4).partial_fit(features, labels)
    grown = sums.reindexed(torch.tensor([4, 0, 2]), 6)
    assert torch.equal(grown.sums[[4, 0, 2]], sums.sums)
    assert grown.counts.tolist() == [int(sums.counts[1]), 0, int(sums.counts[2]), 0, int(sums.counts[0]), 0]


def test_rows_of_any_kind():
    assert ClassSums(1, 2).partial_fit([[0.0, 0.0]], [0]).counts.tolist() == [1]
    left_out = ClassSums(1, 2).partial_fit([[np.nan, 0.0], [2.0, 0.0]], [-1, 0])
    assert left_out.sums.tolist() == [[1.0, 0.0]]
    assert ClassSums(2, 3).partial_fit(np.empty((0, 3)), []).counts.tolist() == [0, 0]
    half = ClassSums(1, 2, dtype=torch.float32).partial_fit(torch.tensor([[3.0, 4.0]]).half(), [0])
    assert half.sums.dtype == torch.float32
    np.testing.assert_allclose(half.sums, [[0.6, 0.8]], atol=1e-6)
    frozen = np.array([[3, 4]], dtype=np.int32)
    frozen.flags.writeable = False
    np.testing.assert_allclose(ClassSums(1, 2).partial_fit(frozen, [0]).sums, [[0.6, 0.8]])


def test_unit_rows_at_the_extremes():
    rows = torch.tensor([[3e300, 4e300], [3e-300, 4e-300], [np.inf, 1.0], [np.nan, 1.0]], dtype=torch.float64)
    np.testing.assert_allclose(unit_rows(rows), [[0.6, 0.8], [0.6, 0.8], [0, 0], [0, 0]], atol=1e-12)
    tracked = torch.ones(1, 2, requires_grad=True)
    assert not unit_rows(tracked).requires_grad


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda: ClassSums(0, 2), "n_classes is 0; expected at least 1"),
        (lambda: ClassSums(2, 2, dtype=torch.float16), "dtype is torch.float16"),
        (
            lambda: ClassSums(2, 2).partial_fit([[1.0]], [0]),
            r"features has shape \(1, 1\); expected \(rows, 2\)",
        ),
        (lambda: ClassSums(2, 2).partial_fit([[1.0], [1.0, 2.0]], [0, 1]), "not a table of numbers"),
        (lambda: ClassSums(2, 1).partial_fit([["a"]], [0]), "expected real numbers"),
        (lambda: ClassSums(2, 1).partial_fit([[1.0]], [2]), "labels row 0 is 2; legal are -1 to 1"),
        (lambda: ClassSums(2, 1).partial_fit([[1.0]], [0.5]), "expected .1,. int codes"),
        (lambda: ClassSums(2, 1).partial_fit([[1.0]], [0, 1]), r"labels has shape \(2,\)"),
        (lambda: ClassSums(2, 1).partial_fit([[1.0], [np.nan]], [0, 1]), "features row 1 holds NaN"),
        (lambda: ClassSums(2, 1).remove([[1.0]], [1]), "class 1 has 0 rows, 1 of them were to be removed"),
        (lambda: ClassSums(2, 1).merge(ClassSums(3, 1)), r"\(classes, features\) \(3, 1\), these \(2, 1\)"),
    ],
)
def test_bad_input_is_refused(action, message):
    with pytest.raises(InputError, match=message):
        action()
