"""Ranking metrics: by hand, against scikit-learn, ties, edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from tamis.errors import InputError
from tamis.metrics.ranking import auroc, average_precision, precision_at_k, recall_at_k

METRICS = [
    average_precision,
    auroc,
    lambda scores, is_wrong: precision_at_k(scores, is_wrong, 2),
    lambda scores, is_wrong: recall_at_k(scores, is_wrong, 2),
]


def test_by_hand():
    scores, is_wrong = [0.1, 0.2, 0.3, 0.4], [True, False, True, False]
    assert average_precision(scores, is_wrong) == pytest.approx((1 + 2 / 3) / 2)
    assert auroc(scores, is_wrong) == 0.75
    assert precision_at_k(scores, is_wrong, 3) == pytest.approx(2 / 3)
    assert recall_at_k(scores, is_wrong, 3) == 1.0
    assert recall_at_k(scores, is_wrong, 1) == 0.5


def test_perfect_and_reversed():
    scores, is_wrong = np.arange(10), np.arange(10) < 3
    assert average_precision(scores, is_wrong) == auroc(scores, is_wrong) == 1.0
    assert auroc(-scores, is_wrong) == 0.0


def test_ties_at_the_cut_count_in_proportion():
    # One row before the tie, three in the tie, of which two are wrong; two of the three are taken.
    scores, is_wrong = [0.0, 0.5, 0.5, 0.5, 1.0], [False, True, True, False, True]
    assert precision_at_k(scores, is_wrong, 3) == pytest.approx((0 + 2 * 2 / 3) / 3)
    assert recall_at_k(scores, is_wrong, 3) == pytest.approx(2 * 2 / 3 / 3)


@given(
    st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=60), st.integers(0, 2**32 - 1)
)
def test_against_scikit_learn_and_in_any_row_order(rows, seed):
    scores, is_wrong = np.array([row[0] for row in rows]) / 7, np.array([row[1] for row in rows])
    assume(is_wrong.any() and not is_wrong.all())
    assert average_precision(scores, is_wrong) == pytest.approx(average_precision_score(is_wrong, -scores))
    assert auroc(scores, is_wrong) == pytest.approx(roc_auc_score(is_wrong, -scores))
    order = np.random.default_rng(seed).permutation(len(rows))
    for metric in METRICS:
        assert metric(scores[order], is_wrong[order]) == metric(scores, is_wrong)


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=8), st.data())
def test_precision_at_k_is_the_mean_over_all_orders_of_ties(rows, data):
    scores, is_wrong = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    assume(is_wrong.any())
    k = data.draw(st.integers(1, len(rows)))
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(400):
        order = rng.permutation(len(rows))
        drawn.append(is_wrong[order][np.argsort(scores[order], kind="stable")][:k].mean())
    assert precision_at_k(scores, is_wrong, k) == pytest.approx(np.mean(drawn), abs=0.15)
    assert recall_at_k(scores, is_wrong, k) * is_wrong.sum() == pytest.approx(
        precision_at_k(scores, is_wrong, k) * k
    )


@pytest.mark.parametrize("metric", METRICS)
def test_bad_input_is_refused(metric):
    with pytest.raises(InputError, match="nothing to find"):
        metric([0.1, 0.2], [False, False])
    with pytest.raises(InputError, match="scores row 1 is NaN"):
        metric([0.1, float("nan")], [True, False])
    with pytest.raises(InputError, match=r"shape \(2,\) and is_wrong \(1,\)"):
        metric([0.1, 0.2], [True])
    with pytest.raises(InputError, match="expected two vectors"):
        metric([], [])
    with pytest.raises(InputError, match="True or False"):
        metric([0.1, 0.2], [2, 0])


def test_limits_of_k_and_one_sided_truth():
    for k in (0, 3):
        with pytest.raises(InputError, match=rf"k is {k}; legal are 1\.\.2"):
            precision_at_k([0.1, 0.2], [True, False], k)
    with pytest.raises(InputError, match="True everywhere"):
        auroc([0.1, 0.2], [True, True])
    assert average_precision([0.1, 0.2], [1, 1]) == 1.0
