"""Canonical order: a function of content and labels, never of names, numbers or positions."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tamis.statistics.canonical import canonical_classes, canonical_rows


def _case(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    digests = rng.integers(0, 12, size=(40, 2), dtype=np.uint64)  # some rows share their content
    return digests, rng.integers(-1, 4, size=40)


def test_by_hand() -> None:
    digests = np.array([[5, 0], [1, 9], [1, 2], [7, 7]], dtype=np.uint64)
    codes = np.array([2, 0, 2, -1])
    # Class 2 has two rows, class 0 one, class 1 none.
    assert canonical_classes(digests, codes, 3).tolist() == [2, 0, 1]
    assert canonical_rows(digests, codes, np.array([2, 0, 1])).tolist() == [2, 1, 0, 3]


def test_ties_of_class_size_are_broken_by_content_and_sums_may_wrap() -> None:
    large = np.iinfo(np.uint64).max
    digests = np.array([[large, 0], [3, 0], [1, 0], [0, 0]], dtype=np.uint64)
    # Sums: class 0 wraps around to 2, class 1 is 1.
    assert canonical_classes(digests, np.array([0, 0, 1, 1]), 2).tolist() == [1, 0]


@given(st.integers(0, 1000))
def test_order_of_rows_and_numbers_of_classes_do_not_matter(seed: int) -> None:
    digests, codes = _case(seed)
    rng = np.random.default_rng(seed + 1)
    order, renamed = rng.permutation(40), rng.permutation(4)
    moved = np.where(codes >= 0, renamed[codes], -1)[order]
    classes, other = canonical_classes(digests, codes, 4), canonical_classes(digests[order], moved, 4)
    counts = np.bincount(codes[codes >= 0], minlength=4)
    filled = counts[classes] > 0  # empty classes look alike
    assert renamed[classes[filled]].tolist() == other[filled].tolist()
    rows = canonical_rows(digests, codes, classes)
    rows_other = order[canonical_rows(digests[order], moved, other)]
    assert np.array_equal(digests[rows], digests[rows_other])
    assert np.array_equal(codes[rows], codes[rows_other])


def test_empty() -> None:
    nothing = np.zeros((0, 2), dtype=np.uint64)
    classes = canonical_classes(nothing, np.zeros(0, dtype=int), 2)
    assert len(canonical_rows(nothing, np.zeros(0, dtype=int), classes)) == 0
