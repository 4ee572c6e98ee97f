"""`tamis.audit` from end to end: finds planted errors, counts them, and depends on the content alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import tamis
from tamis.errors import InputError


def _scores(audit: tamis.Audit) -> np.ndarray:
    """Return label scores, NaN where a row was not assessed."""
    return audit.issues.column("label_score").to_numpy(zero_copy_only=False)


def _column(audit: tamis.Audit, name: str) -> list[Any]:
    values: list[Any] = audit.issues.column(name).to_pylist()
    return values


def _average_precision(suspicion: np.ndarray, is_wrong: np.ndarray) -> float:
    hits = is_wrong[np.argsort(-suspicion, kind="stable")]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float(precision[hits].mean())


def _same(one: tamis.Audit, two: tamis.Audit, order: np.ndarray | None = None) -> None:
    """Assert that two audits agree; row i of ``two`` is row ``order[i]`` of ``one``."""
    rows = np.arange(one.issues.num_rows) if order is None else order
    assert np.allclose(_scores(one)[rows], _scores(two), atol=1e-5, equal_nan=True)
    for name in one.issues.column_names:
        if name.startswith("is_") or name in ("suggested_label", "rank", "reason"):
            assert [_column(one, name)[row] for row in rows] == _column(two, name), name


def test_finds_planted_errors(data: Any, found: tamis.Audit) -> None:
    assert _average_precision(1 - _scores(found), data.is_wrong) > 0.9
    flagged = np.array(_column(found, "is_label_issue"))
    assert (flagged & data.is_wrong).sum() >= 0.85 * data.is_wrong.sum()
    assert (flagged & ~data.is_wrong).sum() <= 4
    suggested = np.array(_column(found, "suggested_label"))
    assert (suggested[data.is_wrong] == data.true[data.is_wrong]).mean() > 0.85


def test_counts_planted_errors(data: Any, found: tamis.Audit) -> None:
    wrong = found.expected_wrong
    assert wrong is not None
    assert wrong.estimate == pytest.approx(data.is_wrong.sum(), abs=0.03 * len(data.labels))
    assert wrong.low <= wrong.estimate <= wrong.high
    assert wrong.estimate == pytest.approx((1 - _scores(found)).sum())


@pytest.mark.parametrize(("rate", "k"), [(0.0, 3), (0.2, 3), (0.35, 5)])
def test_scores_are_calibrated(planted: Callable[..., Any], rate: float, k: int) -> None:
    data = planted(900, k, 6, rate=rate, gap=3.0, seed=int(100 * rate) + k)
    audit = tamis.audit(features=data.features, labels=data.labels)
    score = _scores(audit)
    bins = np.minimum((score * 15).astype(int), 14)
    error = sum(abs(score[bins == b].sum() - (~data.is_wrong)[bins == b].sum()) for b in range(15)) / len(
        score
    )
    assert error < 0.05
    assert (1 - score).mean() == pytest.approx(data.is_wrong.mean(), abs=0.03)


def test_order_of_rows_does_not_matter(data: Any, found: tamis.Audit) -> None:
    order = np.random.default_rng(1).permutation(len(data.labels))
    _same(found, tamis.audit(features=data.features[order], labels=data.labels[order]), order)


def test_names_of_classes_do_not_matter(data: Any, found: tamis.Audit) -> None:
    names = np.array(["zebra", "ant", "<b>cow</b>", "=dog"])
    renamed = tamis.audit(features=data.features, labels=names[data.labels])
    assert np.allclose(_scores(found), _scores(renamed), atol=1e-5)
    assert _column(found, "is_label_issue") == _column(renamed, "is_label_issue")
    assert _column(found, "rank") == _column(renamed, "rank")
    assert [names[code] for code in _column(found, "suggested_label")] == _column(renamed, "suggested_label")


def test_memory_budget_layout_and_seed_do_not_matter(data: Any, found: tamis.Audit) -> None:
    columns_first = np.asfortranarray(data.features)
    again = tamis.audit((columns_first, data.labels.tolist()), memory_budget="1MiB", random_state=5)
    _same(found, again)


@pytest.mark.usefixtures("short_training")
def test_number_of_threads_does_not_matter(planted: Callable[..., Any]) -> None:
    data = planted(80, 2, 4)
    one = tamis.audit(features=data.features, labels=data.labels)
    torch.set_num_threads(2)
    try:
        _same(one, tamis.audit(features=data.features, labels=data.labels))
    finally:
        torch.set_num_threads(1)


def test_copies_never_vouch_for_each_other(planted: Callable[..., Any]) -> None:
    """A wrong label on a sample and all its copies is found although the copies agree with each other."""
    data = planted(200, 2, 4, rate=0.0, gap=6.0)
    copies = np.repeat(data.features[:1], 12, axis=0)
    features = np.concatenate([data.features, copies])
    labels = np.concatenate([data.labels, np.ones(12, dtype=int)])
    labels[0] = 1  # its true class is 0
    audit = tamis.audit(features=features, labels=labels)
    assert (_scores(audit)[[0, *range(200, 212)]] < 0.1).all()
    assert _column(audit, "is_exact_duplicate_issue")[0]


def test_rows_of_a_group_never_vouch_for_each_other(planted: Callable[..., Any]) -> None:
    """Twelve close rows of one patient with the same wrong label: found once the group is known."""
    data = planted(200, 2, 4, rate=0.0, gap=3.0)
    near = data.features[:1] + 4 * np.eye(4)[3] + 0.01 * np.random.default_rng(0).normal(size=(12, 4))
    features = np.concatenate([data.features, near])
    labels = np.concatenate([data.labels, np.ones(12, dtype=int)])
    groups = [f"row {i}" for i in range(200)] + ["patient"] * 12
    alone = tamis.audit(features=features, labels=labels)
    grouped = tamis.audit(features=features, labels=labels, groups=groups)
    assert _scores(alone)[200:].mean() > 0.9
    assert _scores(grouped)[200:].mean() < 0.1


@pytest.mark.usefixtures("short_training")
def test_unlabelled_rows_are_not_assessed(data: Any) -> None:
    labels = [None if row % 6 == 0 else int(label) for row, label in enumerate(data.labels)]
    audit = tamis.audit(features=data.features, labels=labels)
    assert audit.summary.not_assessed == {"unlabelled": 40}
    assert np.isnan(_scores(audit)[::6]).all()
    assert _column(audit, "reason")[:2] == ["unlabelled", None]
    assert audit.summary.n_labelled == audit.summary.n_assessed == 200


@pytest.mark.usefixtures("short_training")
def test_unusable_rows_are_issues_and_no_duplicates(data: Any) -> None:
    features = data.features.copy()
    features[3, 0], features[4, 1] = np.nan, np.inf
    audit = tamis.audit(features=features, labels=data.labels)
    rows = audit.issues.slice(3, 2).to_pylist()
    for row in rows:
        assert row["is_unreadable_issue"]
        assert row["reason"].startswith("unreadable: ")
        assert row["label_score"] is row["outlier_score"] is row["near_duplicate_score"] is None
        assert not row["is_exact_duplicate_issue"]
        assert not row["is_conflicting_duplicate_issue"]
    assert audit.summary.n_assessed == 238


@pytest.mark.usefixtures("short_training")
def test_small_classes_are_not_assessed(data: Any) -> None:
    labels = data.labels.copy()
    labels[:4] = 77
    labels[4] = 78
    audit = tamis.audit(features=data.features, labels=labels)
    assert audit.summary.not_assessed == {"class too small": 5}
    assert _column(audit, "is_small_class_issue")[:6] == [True] * 5 + [False]
    assert 77 not in _column(audit, "suggested_label")
    assert audit.summary.issue_counts["small_class"] == 5
    # Nothing is known about classes that were not assessed: they keep their labels.
    assert audit.transition is not None
    place = audit.summary.class_names.index(77)
    assert audit.transition[place, place] == 1.0


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("one class", "fewer than two classes can be assessed"),
        ("three rows", "class too small"),
        ("K = 1000", "class too small"),
        ("constant features", "class is a single group or a single duplicated sample"),
        ("a group per class", "class is a single group or a single duplicated sample"),
        ("one group", "class is a single group or a single duplicated sample"),
        ("noise", "nothing tells the classes apart"),
    ],
)
def test_says_when_nothing_can_be_known(data: Any, case: str, reason: str) -> None:
    features, labels, groups = data.features, data.true, None
    rng = np.random.default_rng(0)
    if case == "one class":
        labels = np.zeros(len(labels), dtype=int)
    elif case == "three rows":
        features, labels = features[:3], labels[:3]
    elif case == "K = 1000":
        features, labels = rng.normal(size=(1500, 5)), np.arange(1500) % 1000
    elif case == "constant features":
        features = np.ones_like(features)
    elif case == "noise":
        features = rng.normal(size=features.shape)
    elif "group" in case:
        groups = ["all"] * len(labels) if case == "one group" else [str(label) for label in labels]
    audit = tamis.audit(features=features, labels=labels, groups=groups)
    assert audit.summary.not_assessed == {reason: len(labels)}
    assert audit.expected_wrong is None
    assert audit.precision_at(5) is None
    assert audit.transition is None
    assert audit.summary.n_flagged == 0
    assert len(audit.ranked()) == 0
    assert any("cannot be known" in note for note in audit.summary.notes)
    assert not np.array(_column(audit, "is_label_issue")).any()


@pytest.mark.parametrize("case", ["more columns than rows", "ten rows", "a constant column", "whole numbers"])
@pytest.mark.usefixtures("short_training")
def test_unusual_shapes_are_assessed(planted: Callable[..., Any], case: str) -> None:
    data = planted(10 if case == "ten rows" else 60, 2, 4, rate=0.0, gap=6.0)
    features = data.features
    if case == "more columns than rows":
        features = np.hstack([features, np.random.default_rng(0).normal(size=(60, 100))])
    elif case == "a constant column":
        features = np.hstack([features, np.full((60, 1), 1e6)])
    elif case == "whole numbers":
        features = (100 * features).astype(int)
    audit = tamis.audit(features=features, labels=data.labels)
    assert audit.summary.n_assessed == len(data.labels)
    assert audit.summary.n_flagged <= 2


def test_given_probabilities_alone(data: Any, out_of_sample: np.ndarray) -> None:
    audit = tamis.audit(pred_probs=out_of_sample, labels=data.labels)
    assert _average_precision(1 - _scores(audit), data.is_wrong) > 0.9
    own = out_of_sample[np.arange(len(data.labels)), data.labels]
    assert np.allclose(_column(audit, "self_confidence"), np.maximum(own, 1e-6), rtol=1e-4)
    assert "neighbor_vote" not in audit.issues.column_names
    assert any("Only predicted probabilities" in note for note in audit.summary.notes)


def test_equal_probabilities_are_no_duplicates(data: Any) -> None:
    saturated = np.eye(4)[data.true]
    audit = tamis.audit(pred_probs=saturated, labels=data.labels)
    assert audit.summary.n_assessed == len(data.labels)
    assert audit.summary.issue_counts["exact_duplicate"] == 0
    assert audit.summary.issue_counts["conflicting_duplicate"] == 0
    assert _column(audit, "exact_duplicate_score") == [None] * len(data.labels)
    assert _average_precision(1 - _scores(audit), data.is_wrong) == pytest.approx(1.0)


def test_probabilities_with_features(data: Any, out_of_sample: np.ndarray) -> None:
    audit = tamis.audit(features=data.features, pred_probs=out_of_sample, labels=data.labels)
    assert _average_precision(1 - _scores(audit), data.is_wrong) > 0.9
    own = out_of_sample[np.arange(len(data.labels)), data.labels]
    assert np.allclose(_column(audit, "self_confidence"), np.maximum(own, 1e-6), rtol=1e-4)


def test_logits_are_refused(data: Any, out_of_sample: np.ndarray) -> None:
    with pytest.raises(InputError, match="these look like logits; pass softmax of them"):
        tamis.audit(pred_probs=np.log(out_of_sample), labels=data.labels)


def test_sums_are_checked_and_renormalised(data: Any, out_of_sample: np.ndarray) -> None:
    exact = tamis.audit(pred_probs=out_of_sample, labels=data.labels)
    close = tamis.audit(pred_probs=1.0005 * out_of_sample, labels=data.labels)
    assert np.allclose(_scores(exact), _scores(close), atol=1e-5)
    with pytest.raises(InputError, match=r"row 0 sums to 1\.005 .* expected 1"):
        tamis.audit(pred_probs=1.005 * out_of_sample, labels=data.labels)


def test_in_sample_probabilities_are_refused_unless_vouched_for(data: Any) -> None:
    probs = np.full((len(data.labels), 4), 0.1)
    probs[np.arange(len(data.labels)), data.labels] = 0.7
    with pytest.raises(InputError, match=r"look in-sample: not one of 240 rows .* out_of_sample=True"):
        tamis.audit(pred_probs=probs, labels=data.labels)
    assert tamis.audit(pred_probs=probs, labels=data.labels, out_of_sample=True).summary.n_flagged == 0


def test_permuted_columns_are_noted_unless_they_are_named(data: Any, out_of_sample: np.ndarray) -> None:
    moved = out_of_sample[:, [1, 2, 3, 0]]
    said = tamis.audit(pred_probs=moved, labels=data.labels).summary.notes
    assert any("fit the labels far better in another order" in note for note in said)
    right = tamis.audit(pred_probs=out_of_sample, labels=data.labels).summary.notes
    assert not any("another order" in note for note in right)
    vouched = tamis.audit(pred_probs=moved, labels=data.labels, class_names=[0, 1, 2, 3]).summary.notes
    assert not any("another order" in note for note in vouched)


@pytest.mark.usefixtures("short_training")
def test_columns_of_a_data_frame_are_matched_by_name(data: Any, out_of_sample: np.ndarray) -> None:
    names = np.array(["ant", "bee", "cow", "dog"])
    plain = tamis.audit(pred_probs=out_of_sample, labels=names[data.labels])
    frame = pd.DataFrame(out_of_sample, columns=names)[["dog", "ant", "cow", "bee"]]
    matched = tamis.audit(pred_probs=frame, labels=names[data.labels])
    assert np.allclose(_scores(plain), _scores(matched), atol=1e-6)
    assert _column(plain, "suggested_label") == _column(matched, "suggested_label")
    beside = tamis.audit((data.features, names[data.labels]), pred_probs=frame)
    assert beside.summary.class_names == ("ant", "bee", "cow", "dog")
    assert _average_precision(1 - _scores(beside), data.is_wrong) > 0.9


def test_names_of_columns_that_match_no_class_are_refused(data: Any, out_of_sample: np.ndarray) -> None:
    names = np.array(["ant", "bee", "cow", "dog"])
    frame = pd.DataFrame(out_of_sample, columns=["ant", "bee", "cow", "elk"])
    with pytest.raises(InputError, match="dog"):
        tamis.audit(pred_probs=frame, labels=names[data.labels])
    with pytest.raises(InputError, match=r"columns without class \['elk'\].* without column \['dog'\]"):
        tamis.audit((data.features, names[data.labels]), pred_probs=frame)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "labels is missing"),
        ({"features": [[1.0], [2.0]]}, "labels is missing"),
        ({"labels": [0, 1]}, "pass at least one"),
        ({"features": np.zeros((0, 3)), "labels": []}, "no rows"),
        ({"features": [[1.0], [2.0]], "labels": [0, 1, 1]}, "3 rows"),
        ({"features": [[1.0], [2.0]], "labels": [0, 1], "task": "multilabel"}, "task is 'multilabel'"),
        ({"features": [[1.0], [2.0]], "labels": [0, 1], "memory_budget": "lots"}, "memory_budget 'lots'"),
        ({"features": [[1.0], [2.0]], "labels": [0, 1], "read_options": {"label": "y"}}, "belong to data"),
        ({"data": ([[1.0], [2.0]], [0, 1]), "labels": [0, 1]}, "labels was given beside data"),
        ({"data": ([[1.0], [2.0]], [0, 1]), "groups": ["a", "b"]}, "groups go with features"),
        ({"data": ([[1.0], [2.0]], [0, 1]), "features": [[1.0]]}, "features has 1 rows but the data have 2"),
        ({"data": ([[1.0], [2.0]], [0, 1]), "pred_probs": [[1.0], [1.0]]}, "pred_probs has 1 columns"),
        ({"pred_probs": [[0.5, 0.5]], "labels": [0], "class_names": ["a", "b", "c"]}, "3 class names"),
    ],
)
def test_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        tamis.audit(**arguments)
