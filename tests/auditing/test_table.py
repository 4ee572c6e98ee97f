"""The issue table: schema, nulls, ranks, alternatives."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import tamis
from tamis.auditing.table import FLAG_THRESHOLD
from tamis.issues.schema import ISSUE_TYPES, issue_schema

SCORES = ("label_score_low", "label_score_high", "self_confidence", "neighbor_vote")


def _values(audit: tamis.Audit, name: str) -> np.ndarray:
    return audit.issues.column(name).to_numpy(zero_copy_only=False)


def test_schema(found: tamis.Audit) -> None:
    assert found.issues.schema.equals(issue_schema(pa.int64(), SCORES))
    assert found.issues.num_rows == 240
    assert found.issues.column("id").to_pylist() == [str(row) for row in range(240)]


@pytest.mark.usefixtures("short_training")
def test_schema_of_text_labels_and_without_evidence(data: Any) -> None:
    named = tamis.audit(features=data.features, labels=np.array(list("abcd"))[data.labels])
    assert named.issues.schema.equals(issue_schema(pa.string(), SCORES))
    nothing = tamis.audit(features=data.features, labels=["one"] * 240)
    assert nothing.issues.schema.equals(issue_schema(pa.string(), ()))
    for name in ("label_score", "suggested_label", "rank", "alternative_labels", "alternative_probs"):
        assert nothing.issues.column(name).null_count == 240


def test_scores_are_in_order_and_in_range(found: tamis.Audit) -> None:
    score = _values(found, "label_score")
    for name in ("label_score", *SCORES):
        assert (_values(found, name) >= 0).all()
        assert (_values(found, name) <= 1).all()
    assert (_values(found, "label_score_low") <= score + 1e-6).all()
    assert (score <= _values(found, "label_score_high") + 1e-6).all()
    for issue in ISSUE_TYPES:
        column = found.issues.column(f"{issue.name}_score").drop_null().to_numpy()
        assert ((column >= 0) & (column <= 1)).all()


def test_ranks_follow_scores(found: tamis.Audit) -> None:
    rank, score = _values(found, "rank"), _values(found, "label_score")
    assert sorted(rank) == list(range(1, 241))
    assert (np.diff(score[np.argsort(rank)]) >= 0).all()


def test_flags_and_suggestions(found: tamis.Audit) -> None:
    score, flagged = _values(found, "label_score"), _values(found, "is_label_issue")
    differs = _values(found, "suggested_label") != _values(found, "given_label")
    assert (flagged == ((score < FLAG_THRESHOLD) & differs)).all()
    assert flagged.any()


def test_alternatives_are_the_best_classes_with_the_suggestion_first(found: tamis.Audit) -> None:
    for row in found.issues.to_pylist():
        assert len(row["alternative_labels"]) == len(set(row["alternative_labels"])) == 3
        assert row["alternative_labels"][0] == row["suggested_label"]
        probs = row["alternative_probs"]
        assert all(one >= two - 2e-12 for one, two in pairwise(probs))
        assert sum(probs) <= 1 + 1e-6
        if row["given_label"] in row["alternative_labels"]:
            own = probs[row["alternative_labels"].index(row["given_label"])]
            assert abs(own - row["label_score"]) < 1e-6


@pytest.mark.usefixtures("short_training")
def test_rows_not_assessed_are_null(data: Any) -> None:
    labels = [None if row == 7 else int(label) for row, label in enumerate(data.labels)]
    row = tamis.audit(features=data.features, labels=labels).issues.slice(7, 1).to_pylist()[0]
    assert row["reason"] == "unlabelled"
    assert not row["is_assessed"]
    assert not row["is_label_issue"]
    empty = ("given_label", "suggested_label", "label_score", "rank", "alternative_labels", *SCORES)
    assert all(row[name] is None for name in empty)
    # Other issues are looked for all the same.
    assert row["outlier_score"] is not None


@pytest.mark.usefixtures("short_training")
def test_duplicate_groups(data: Any) -> None:
    features = np.concatenate([data.features, data.features[:2]])
    labels = np.concatenate([data.true, [data.true[0], (data.true[1] + 1) % 4]])
    splits = ["train"] * 240 + ["test"] * 2
    audit = tamis.audit(features=features, labels=labels, splits=splits)
    rows = {row["id"]: row for row in audit.issues.to_pylist()}
    assert rows["0"]["duplicate_group"] == rows["240"]["duplicate_group"] is not None
    assert rows["5"]["duplicate_group"] is None
    assert [key for key, row in rows.items() if row["is_exact_duplicate_issue"]] == ["0", "1", "240", "241"]
    assert [key for key, row in rows.items() if row["is_conflicting_duplicate_issue"]] == ["1", "241"]
    assert [key for key, row in rows.items() if row["is_split_leak_issue"]] == ["0", "1", "240", "241"]
