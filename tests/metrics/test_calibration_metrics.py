"""Calibration metrics: by hand, against loops and scikit-learn, edges, what they say about noisy scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss

from tamis.errors import InputError
from tamis.metrics.calibration import brier_score, expected_calibration_error, reliability_table


def slow_error(probs, outcomes, n_bins):
    total = 0.0
    for b in range(n_bins):
        low, high = np.linspace(0, 1, n_bins + 1)[[b, b + 1]]
        rows = [i for i, p in enumerate(probs) if low <= p < high or (b == n_bins - 1 and p == 1.0)]
        if rows:
            gap = np.mean([probs[i] for i in rows]) - np.mean([outcomes[i] for i in rows])
            total += len(rows) / len(probs) * abs(gap)
    return total


def test_by_hand():
    table = reliability_table([0.1, 0.3, 0.5, 1.0], [False, True, True, False], n_bins=2)
    np.testing.assert_array_equal(table.edges, [0.0, 0.5, 1.0])
    np.testing.assert_array_equal(table.counts, [2, 2])
    np.testing.assert_allclose(table.mean_probs, [0.2, 0.75])
    np.testing.assert_allclose(table.observed, [0.5, 0.5])
    assert table.calibration_error == pytest.approx((0.3 + 0.25) / 2)
    assert brier_score([0.1, 0.3, 0.5, 1.0], [False, True, True, False]) == pytest.approx(
        (0.01 + 0.49 + 0.25 + 1) / 4
    )


def test_empty_bins_are_nan_and_do_not_count():
    table = reliability_table([0.05, 0.95], [False, True], n_bins=10)
    assert np.isnan(table.observed[1:9]).all()
    assert np.isnan(table.mean_probs[1:9]).all()
    assert table.calibration_error == pytest.approx(0.05)


@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=50),
    st.integers(1, 20),
    st.integers(0, 2**32 - 1),
)
def test_against_loops_and_in_any_row_order(rows, n_bins, seed):
    probs, outcomes = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    error = expected_calibration_error(probs, outcomes, n_bins=n_bins)
    assert error == pytest.approx(slow_error(probs, outcomes, n_bins), abs=1e-12)
    order = np.random.default_rng(seed).permutation(len(rows))
    assert expected_calibration_error(probs[order], outcomes[order], n_bins=n_bins) == pytest.approx(error)
    assert brier_score(probs, outcomes) == pytest.approx(
        brier_score_loss(outcomes, probs, labels=[False, True]), abs=1e-15
    )


def test_honest_probabilities_have_a_small_error_and_overconfident_ones_a_large_one():
    rng = np.random.default_rng(0)
    probs = rng.random(50_000)
    outcomes = rng.random(50_000) < probs
    assert expected_calibration_error(probs, outcomes) < 0.01
    assert expected_calibration_error((probs > 0.5).astype(float), outcomes) > 0.2
    assert expected_calibration_error(1 - probs, outcomes) > 0.4


def test_bad_input_is_refused():
    for metric in (brier_score, expected_calibration_error):
        with pytest.raises(InputError, match=r"probs row 1 is 1\.5; legal are numbers in \[0, 1\]"):
            metric([0.5, 1.5], [True, False])
        with pytest.raises(InputError, match="probs row 0 is nan"):
            metric([float("nan"), 0.5], [True, False])
        with pytest.raises(InputError, match="outcomes must be True or False"):
            metric([0.5, 0.5], [0, 2])
        with pytest.raises(InputError, match="expected two vectors of one length"):
            metric([0.5], [True, False])
        with pytest.raises(InputError, match="expected two vectors of one length"):
            metric([], [])
    with pytest.raises(InputError, match="n_bins is 0"):
        reliability_table([0.5], [True], n_bins=0)
