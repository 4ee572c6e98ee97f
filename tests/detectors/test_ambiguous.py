"""Ambiguous rows: the rule by hand, its promise as a property, edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.detectors.ambiguous import ambiguous
from tamis.errors import InputError


def test_by_hand():
    found = ambiguous(np.array([[0.5, 0.5, 0.0], [0.6, 0.4, 0.0], [0.61, 0.39, 0.0], [1.0, 0.0, 0.0]]))
    np.testing.assert_array_equal(found.is_issue, [True, True, False, False])
    np.testing.assert_allclose(found.scores, [0.0, 0.2, 0.22, 1.0], atol=1e-12)


@given(st.integers(0, 10**6), st.integers(2, 6), st.floats(0.34, 0.5))
def test_a_flag_keeps_its_promise_in_any_order_of_classes(seed, n_classes, least):
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.full(n_classes, 0.4), size=50)
    found = ambiguous(probs, least=least)
    first, second = -np.sort(-probs, axis=1)[:, :2].T
    np.testing.assert_array_equal(found.is_issue, second >= least)
    assert (first + second >= 2 * least)[found.is_issue].all()
    assert (first - second <= 1 - 2 * least + 1e-12)[found.is_issue].all()
    np.testing.assert_array_equal(ambiguous(probs[:, ::-1], least=least).scores, found.scores)


def test_edges():
    assert len(ambiguous(np.empty((0, 3))).scores) == 0
    np.testing.assert_array_equal(ambiguous(np.ones((2, 1))).scores, [1.0, 1.0])
    unknown = ambiguous(np.array([[np.nan, np.nan], [0.5, 0.5]]))
    np.testing.assert_array_equal(unknown.is_issue, [False, True])
    assert unknown.scores[0] == 1.0


@pytest.mark.parametrize(
    ("probs", "least", "message"),
    [
        (np.array([0.5, 0.5]), 0.4, r"shape \(2,\)"),
        (np.array([[0.5, 0.5], [3.0, -1.0]]), 0.4, "row 1 has a value outside 0 to 1"),
        (np.array([[0.5, 0.5]]), 0.3, "least is 0.3"),
    ],
)
def test_wrong_arguments_are_explained(probs, least, message):
    with pytest.raises(InputError, match=message):
        ambiguous(probs, least=least)
