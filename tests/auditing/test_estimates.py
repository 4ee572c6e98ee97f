"""Expected numbers and their intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.auditing.estimates import expected_precision, expected_wrong


def test_by_hand() -> None:
    score = np.array([0.1, 0.5, 0.9, 0.5])
    found = expected_wrong(score, score, score)
    assert found is not None
    spread = 1.959963984540054 * math.sqrt(0.09 + 0.25 + 0.09 + 0.25)
    assert found.estimate == pytest.approx(2.0)
    assert found.low == pytest.approx(2 - spread)
    assert found.high == pytest.approx(2 + spread)
    share = expected_precision(score, score, score)
    assert share is not None
    assert share == pytest.approx(tuple(value / 4 for value in found))


def test_the_assumption_widens_the_interval_by_squares() -> None:
    score = np.full(100, 0.5)
    found = expected_wrong(score, score - 0.1, score + 0.2)
    assert found is not None
    sampling = 1.959963984540054 * 5
    assert found.high == pytest.approx(50 + math.hypot(sampling, 10))
    assert found.low == pytest.approx(50 - math.hypot(sampling, 20))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0, 0.5))
def test_the_interval_holds_the_estimate_and_stays_possible(scores: list[float], width: float) -> None:
    score = np.array(scores)
    found = expected_wrong(score, np.maximum(score - width, 0), np.minimum(score + width, 1))
    assert found is not None
    assert -1e-9 <= found.low <= found.estimate + 1e-9
    assert found.estimate - 1e-9 <= found.high <= len(score) + 1e-9


def test_independent_rows_fall_into_the_interval_as_often_as_promised() -> None:
    rng = np.random.default_rng(0)
    score = rng.beta(2, 0.5, size=400)
    found = expected_wrong(score, score, score)
    assert found is not None
    wrong = (rng.random((2000, 400)) > score).sum(axis=1)
    assert ((wrong >= found.low) & (wrong <= found.high)).mean() == pytest.approx(0.95, abs=0.02)


def test_no_rows() -> None:
    nothing = np.zeros(0)
    assert expected_wrong(nothing, nothing, nothing) is None
    assert expected_precision(nothing, nothing, nothing) is None
