"""The summary says what the table says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tamis
from tamis.auditing.summing_up import Scores
from tamis.issues.schema import ISSUE_TYPES


def test_counts_are_those_of_the_table(found: tamis.Audit) -> None:
    summary, table = found.summary, found.issues
    assert summary.n_samples == summary.n_labelled == summary.n_assessed == 240
    assert (
        summary.n_flagged == summary.issue_counts["label"] == sum(table.column("is_label_issue").to_pylist())
    )
    for issue in ISSUE_TYPES:
        assert summary.issue_counts[issue.name] == sum(table.column(f"is_{issue.name}_issue").to_pylist())
    assert summary.not_assessed == {}
    assert set(summary.timings) == {"read", "encode", "neighbours", "labels", "other issues"}


def test_expected_numbers_are_sums_of_scores(found: tamis.Audit) -> None:
    score = found.issues.column("label_score").to_numpy()
    rank = found.issues.column("rank").to_numpy()
    summary = found.summary
    assert summary.expected_wrong is not None
    assert summary.expected_wrong.estimate == pytest.approx((1 - score).sum())
    assert summary.noise_rate is not None
    assert summary.noise_rate.estimate == pytest.approx((1 - score).mean())
    assert set(summary.precision_at) == {10, 20, 50, 100, 200}
    for k, precision in summary.precision_at.items():
        assert precision.estimate == pytest.approx((1 - score[rank <= k]).mean())
        assert precision.low <= precision.estimate <= precision.high
    flagged = found.issues.column("is_label_issue").to_numpy()
    assert summary.flag_precision is not None
    assert summary.flag_precision.estimate == pytest.approx((1 - score[flagged]).mean())


def test_classes_add_up(found: tamis.Audit) -> None:
    summary = found.summary
    assert [each.name for each in summary.classes] == list(summary.class_names) == [0, 1, 2, 3]
    assert sum(each.n_given for each in summary.classes) == 240
    assert sum(each.n_flagged for each in summary.classes) == summary.n_flagged
    wrong = sum(each.expected_wrong.estimate for each in summary.classes if each.expected_wrong)
    assert summary.expected_wrong is not None
    assert wrong == pytest.approx(summary.expected_wrong.estimate)


def test_transition_and_prior_are_in_the_users_class_order(planted: Any) -> None:
    """Only class 'b' loses labels, a third of them to 'c': row b, column c of the transition."""
    data = planted(600, 3, 5, rate=0.0, gap=4.0)
    labels = data.true.copy()
    moved = (np.arange(600) % 9 == 1) & (labels == 1)
    labels[moved] = 2
    audit = tamis.audit(features=data.features, labels=np.array(["a", "b", "c"])[labels])
    assert audit.summary.class_names == ("a", "b", "c")
    assert audit.transition is not None
    rate = moved.sum() / (data.true == 1).sum()
    assert np.allclose(audit.transition, [[1, 0, 0], [0, 1 - rate, rate], [0, 0, 1]], atol=0.03)
    assert audit.summary.class_prior is not None
    assert np.allclose(audit.summary.class_prior, 1 / 3, atol=0.02)
    by_name = {each.name: each for each in audit.summary.classes}
    assert by_name["c"].confused_with == "b"
    assert by_name["a"].confused_with is None


def test_scores_of_no_rows(data: Any) -> None:
    audit = tamis.audit(features=data.features, labels=[0] * 240)
    scores = Scores(audit.issues)
    assert scores.wrong() is None
    assert scores.precision_at(10) is None
    assert audit.summary.precision_at == {}
    assert all(each.n_assessed == 0 and each.expected_wrong is None for each in audit.summary.classes)
