"""Rounding that preserves the totals of rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tamis.errors import InputError
from tamis.statistics.rounding import round_rows


def slow_reference(row):
    """Round half to even, then repair the total one entry at a time."""
    rounded = [round(value) for value in row]
    remainders = [value - whole for value, whole in zip(row, rounded, strict=True)]
    missing = round(sum(row)) - sum(rounded)
    places = sorted(range(len(row)), key=lambda place: (remainders[place], place))
    for place in places[:-missing] if missing < 0 else places[len(row) - missing :]:
        rounded[place] += 1 if missing > 0 else -1
    return rounded


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ([1.2, 0.8], [1, 1]),
        ([2.5, 2.5], [2, 3]),
        ([0.6, 0.6, 0.6, 0.2], [0, 1, 1, 0]),
        ([0.4, 0.4, 0.4, 0.4, 0.4], [0, 0, 0, 1, 1]),
        ([0.45, 3.45, 1.1], [0, 4, 1]),
        ([0.0, 0.0], [0, 0]),
        ([7.0], [7]),
    ],
)
def test_by_hand(row, expected):
    assert round_rows(torch.tensor([row], dtype=torch.float64)).tolist() == [expected]


shares = hnp.arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 9)), elements=st.integers(0, 64))


@given(shares)
def test_against_the_slow_reference(eighths):
    # Eighths are exact in binary, so that equal remainders really are equal.
    matrix = eighths / 8.0
    assert round_rows(torch.from_numpy(matrix)).tolist() == [slow_reference(row) for row in matrix.tolist()]


@given(hnp.arrays(np.float64, (3, 7), elements=st.floats(0, 1e6)))
def test_totals_are_kept_and_no_entry_moves_by_more_than_one(matrix):
    for compat in (False, True):
        rounded = round_rows(torch.from_numpy(matrix), compat=compat).numpy()
        np.testing.assert_array_equal(
            rounded.sum(axis=1), torch.from_numpy(matrix).sum(dim=1).round().numpy()
        )
        assert (np.abs(rounded - matrix) <= 1.5).all()


def test_odd_input_is_refused():
    with pytest.raises(InputError, match=r"matrix has shape \(3,\)"):
        round_rows(torch.zeros(3))
    with pytest.raises(InputError, match="NaN or infinity"):
        round_rows(torch.tensor([[float("nan"), 1.0]]))
