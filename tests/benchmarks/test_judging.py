"""Figures of an answer, worked out by hand and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from tamis.benchmarks.candidates import Answer
from tamis.benchmarks.judging import judge
from tamis.benchmarks.material import Material
from tamis.errors import InputError


def material(labels, truth):
    labels, truth = np.asarray(labels), np.asarray(truth)
    return Material({}, labels, labels != truth, truth >= 0, truth)


def test_by_hand():
    # Wrong are rows 0 and 3; row 4 is not known, row 5 was told.
    made = material([1, 1, 0, 0, 1, 0], [0, 1, 0, 1, -1, 0])
    answer = Answer(
        np.array([0.1, 0.2, 0.9, 0.5, 0.0, 0.0]),
        np.array([True, True, False, False, True, True]),
        np.array([0, 0, 0, 0, 0, 0]),
        np.array([False, False, False, False, False, True]),
    )
    found = judge(answer, made)
    assert found["ap"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["auroc"] == pytest.approx(3 / 4)
    assert (found["precision"], found["recall"], found["f1"]) == (0.5, 0.5, 0.5)
    # Four rows, each in a bin of its own: 0.1, 0.8, 0.1 and 0.5 away from what happened.
    assert found["ece"] == pytest.approx((0.1 + 0.8 + 0.1 + 0.5) / 4)
    assert found["suggested_right"] == 0.5
    assert made.realised_rate == pytest.approx(2 / 5)


def test_against_scikit_learn():
    rng = np.random.default_rng(0)
    truth, labels = rng.integers(0, 4, (2, 300))
    scores = rng.normal(size=300).round(1) + (labels == truth)
    flagged = scores < 0.3
    found = judge(Answer(scores, flagged), material(labels, truth))
    wrong = labels != truth
    assert found["ap"] == pytest.approx(average_precision_score(wrong, -scores))
    assert found["auroc"] == pytest.approx(roc_auc_score(wrong, -scores))
    assert found["f1"] == pytest.approx(f1_score(wrong, flagged))
    assert "ece" not in found
    assert "suggested_right" not in found


def test_order_of_rows_and_scale_of_scores_change_nothing():
    rng = np.random.default_rng(1)
    truth, labels = rng.integers(0, 3, (2, 80))
    scores, flagged, order = rng.normal(size=80), rng.random(80) < 0.3, rng.permutation(80)
    one = judge(Answer(scores, flagged, truth), material(labels, truth))
    two = judge(
        Answer(np.exp(3 * scores[order]) * 100, flagged[order], truth[order]),
        material(labels[order], truth[order]),
    )
    assert two == pytest.approx(one)


def test_what_has_no_meaning_is_left_out():
    nothing_wrong = judge(Answer(np.array([0.5, 1.0]), np.zeros(2, bool)), material([0, 1], [0, 1]))
    assert set(nothing_wrong) == {"ece"}
    all_wrong = judge(Answer(np.array([0.5, 2.0]), np.zeros(2, bool)), material([0, 1], [1, 0]))
    assert set(all_wrong) == {"ap", "recall", "f1"}
    nothing_known = judge(Answer(np.zeros(2), None, np.zeros(2, int)), material([0, 1], [-1, -1]))
    assert nothing_known == {}
    assert material([0, 1], [-1, -1]).realised_rate is None


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(np.array([0.1, np.nan])), "row 1 is nan"),
        (Answer(np.array([np.inf, 0.0])), "row 0 is inf"),
        (Answer(np.zeros(3)), r"shape \(3,\); expected \(2,\)"),
        (Answer(np.zeros(2), np.zeros(1, bool)), "is_issue has shape"),
    ],
)
def test_answers_that_cannot_be_judged(answer, message):
    with pytest.raises(InputError, match=message):
        judge(answer, material([0, 1], [0, 0]))
