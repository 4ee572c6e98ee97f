"""The summary survives JSON."""

from __future__ import annotations

import json
from dataclasses import fields

import numpy as np
import pytest

from tamis.issues.summary import AuditSummary, ClassSummary
from tamis.types import Estimate

FULL = AuditSummary(
    n_samples=10,
    n_labelled=9,
    n_assessed=8,
    n_flagged=2,
    class_names=("a", 7),
    expected_wrong=Estimate(2.0, 1.0, 3.5),
    noise_rate=Estimate(0.25, 0.125, 0.4),
    flag_threshold=0.5,
    flag_precision=Estimate(0.9, 0.8, 1.0),
    precision_at={1: Estimate(0.9, 0.1, 1.0), 20: Estimate(0.5, 0.4, 0.6)},
    transition=np.array([[0.9, 0.1], [0.0, 1.0]]),
    class_prior=np.array([0.4, 0.6]),
    classes=(
        ClassSummary("a", 5, 4, 1, Estimate(1.0, 0.5, 1.5), 7),
        ClassSummary(7, 4, 4, 1, None, None),
    ),
    issue_counts={"label": 2, "outlier": 0},
    not_assessed={"unlabelled": 1},
    notes=("one", "two"),
    timings={"read": 0.5},
)
EMPTY = AuditSummary(0, 0, 0, 0, (), None, None, 0.5, None)


@pytest.mark.parametrize("summary", [FULL, EMPTY], ids=["full", "empty"])
def test_round_trip(summary: AuditSummary) -> None:
    text = json.dumps(summary.to_json(), allow_nan=False)
    back = AuditSummary.from_json(json.loads(text))
    for item in fields(AuditSummary):
        one, two = getattr(summary, item.name), getattr(back, item.name)
        if isinstance(one, np.ndarray):
            assert np.array_equal(one, two)
        else:
            assert one == two, item.name
            assert type(one) is type(two), item.name


@pytest.mark.parametrize("value", [None, [], "text", {}, {"n_samples": 1}])
def test_damaged_json_is_refused(value: object) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        AuditSummary.from_json(value)
