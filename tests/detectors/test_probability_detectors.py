"""Detectors on predicted probabilities: one contract for all, and what is particular to each."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tamis.detectors import (
    DETECTORS,
    ConfidenceWeightedEntropy,
    ConfidentJoint,
    NormalizedMargin,
    ProbabilityDetector,
    SelfConfidence,
)
from tamis.detectors.confident_joint import threshold_odds
from tamis.errors import InputError, NotFittedError
from tamis.metrics.ranking import average_precision
from tamis.statistics.confident_joint import confident_thresholds

CLASSES = [SelfConfidence, NormalizedMargin, ConfidenceWeightedEntropy, ConfidentJoint]


def noisy(n, k, seed=0, rate=0.2):
    """Return given labels, out-of-sample probabilities, true labels."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, k, n)
    logits = rng.normal(size=(n, k)) + 4 * np.eye(k)[truth]
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.where(rng.random(n) < rate, (truth + rng.integers(1, k, n)) % k, truth)
    return labels, probs, truth


def test_all_are_registered():
    targets = [entry.target for entry in DETECTORS if issubclass(entry.target, ProbabilityDetector)]
    assert set(CLASSES) <= set(targets)
    for entry in DETECTORS:
        assert entry.target.__module__ == f"tamis.detectors.{entry.name}"
        assert entry.facts.inputs


@pytest.mark.parametrize("kind", CLASSES)
class TestContract:
    def test_attributes(self, kind):
        labels, probs, _ = noisy(60, 4)
        detector = kind()
        assert detector.fit(labels, probs) is detector
        assert detector.clean_scores_.shape == detector.suggested_labels_.shape == (60,)
        assert detector.clean_scores_.dtype == np.float64
        assert detector.classes_.tolist() == [0, 1, 2, 3]
        assert ((detector.clean_scores_ >= 0) & (detector.clean_scores_ <= 1)).all()

    def test_results_before_fit(self, kind):
        with pytest.raises(
            NotFittedError, match=rf"{kind.__name__}\.clean_scores_ is a result; call fit first"
        ):
            _ = kind().clean_scores_
        assert not hasattr(kind(), "suggested_labels_")
        with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
            _ = kind().nothing

    def test_row_order(self, kind):
        labels, probs, _ = noisy(80, 5)
        rows = np.random.default_rng(1).permutation(80)
        first, second = kind().fit(labels, probs), kind().fit(labels[rows], probs[rows])
        np.testing.assert_array_equal(second.clean_scores_, first.clean_scores_[rows])
        np.testing.assert_array_equal(second.suggested_labels_, first.suggested_labels_[rows])

    def test_class_order(self, kind):
        labels, probs, _ = noisy(80, 5)
        columns = np.random.default_rng(1).permutation(5)
        renamed = np.argsort(columns)[labels]
        first, second = kind().fit(labels, probs), kind().fit(renamed, probs[:, columns])
        np.testing.assert_allclose(second.clean_scores_, first.clean_scores_, rtol=0, atol=1e-12)
        np.testing.assert_array_equal(columns[second.suggested_labels_], first.suggested_labels_)

    def test_perfect_predictions(self, kind):
        labels = np.array([0, 0, 1, 2, 2, 2])
        detector = kind().fit(labels, np.eye(3)[labels])
        assert (detector.clean_scores_ == 1.0).all()
        np.testing.assert_array_equal(detector.suggested_labels_, labels)

    def test_ties_suggest_the_given_label(self, kind):
        detector = kind().fit([0, 1], [[0.5, 0.5], [0.5, 0.5]])
        assert detector.suggested_labels_.tolist() == [0, 1]

    def test_one_class_one_row_absent_class(self, kind):
        assert kind().fit([0, 0], [[1.0], [1.0]]).clean_scores_.tolist() == [1.0, 1.0]
        assert np.isfinite(kind().fit([1], [[0.3, 0.7]]).clean_scores_).all()
        labels, probs, _ = noisy(50, 4)
        labels[labels == 3] = 0
        assert np.isfinite(kind().fit(labels, probs).clean_scores_).all()

    def test_tensors_and_lists(self, kind):
        labels, probs, _ = noisy(30, 3)
        expected = kind().fit(labels, probs).clean_scores_
        for one, other in (
            (torch.from_numpy(labels), torch.from_numpy(probs)),
            (labels.tolist(), probs.tolist()),
        ):
            np.testing.assert_array_equal(kind().fit(one, other).clean_scores_, expected)
        single = kind().fit(labels, probs.astype(np.float32)).clean_scores_
        np.testing.assert_allclose(single, expected, rtol=0, atol=1e-5)

    def test_bad_input(self, kind):
        with pytest.raises(InputError, match="look like logits"):
            kind().fit([0], [[4.0, -1.0]])
        with pytest.raises(InputError, match=r"row 0 holds NaN"):
            kind().fit([0], [[float("nan"), 1.0]])
        with pytest.raises(InputError, match=r"labels row 0 is 5"):
            kind().fit([5], [[0.5, 0.5]])

    def test_planted_noise(self, kind):
        labels, probs, truth = noisy(2000, 6, seed=5)
        detector = kind().fit(labels, probs)
        is_wrong = labels != truth
        assert average_precision(detector.clean_scores_, is_wrong) > 0.85
        assert (detector.suggested_labels_[is_wrong] == truth[is_wrong]).mean() > 0.85


def test_threshold_odds_by_hand():
    thresholds = torch.tensor([0.5, 0.25], dtype=torch.float64)
    # Relative to the thresholds: 1.0 against 2.0, then 1.6 against 0.8.
    odds = threshold_odds([0, 0], [[0.5, 0.5], [0.8, 0.2]], thresholds)
    np.testing.assert_allclose(odds, [1 / 3, 2 / 3], rtol=1e-14)
    assert threshold_odds([0], [[1.0, 0.0]], thresholds).tolist() == [1.0]
    assert threshold_odds([1], [[1.0, 0.0]], thresholds).tolist() == [0.0]


def test_confident_joint_flags_counts_and_estimates():
    labels, probs, truth = noisy(5000, 4, seed=2)
    detector = ConfidentJoint().fit(labels, probs)
    is_wrong = labels != truth
    assert detector.n_expected_errors_ == pytest.approx(is_wrong.sum(), rel=0.1)
    assert is_wrong[detector.is_issue_].mean() > 0.9
    assert detector.is_issue_[is_wrong].mean() > 0.8
    np.testing.assert_allclose(detector.thresholds_, confident_thresholds(labels, probs))
    np.testing.assert_array_equal(detector.calibrated_counts_.sum(axis=1), np.bincount(labels))
    np.testing.assert_allclose(detector.noise_matrix_.sum(axis=0), 1.0)
    assert detector.prior_.sum() == pytest.approx(1.0)
    assert detector.counts_.sum() <= 5000


def test_confident_joint_never_flags_the_most_likely_class():
    for seed in range(5):
        rng = np.random.default_rng(seed)
        probs, labels = rng.dirichlet(np.full(4, 0.7), 300), rng.integers(0, 4, 300)
        detector = ConfidentJoint().fit(labels, probs)
        assert not detector.is_issue_[probs.argmax(axis=1) == labels].any()


def test_confident_joint_flags_as_the_reference_package():
    issues = pytest.importorskip("cleanlab.filter")
    for seed in range(10):
        rng = np.random.default_rng(seed)
        k = int(rng.integers(2, 6))
        probs = rng.dirichlet(np.full(k, 0.5), 200)
        labels = (rng.random((200, 1)) > probs.cumsum(axis=1)[:, :-1]).sum(axis=1)
        # Each class twice at least: the reference leaves smaller ones alone, with a warning.
        labels[: 2 * k] = np.tile(np.arange(k), 2)
        expected = issues.find_label_issues(labels, probs, filter_by="confident_learning", n_jobs=1)
        np.testing.assert_array_equal(ConfidentJoint().fit(labels, probs).is_issue_, expected)


def test_confident_joint_streams():
    labels, probs, _ = noisy(300, 5)
    whole = ConfidentJoint().fit(labels, probs)
    parts = np.array_split(np.random.default_rng(0).permutation(300), 4)
    states = [ConfidentJoint().partial_fit(labels[part], probs[part]) for part in parts]
    merged = ConfidentJoint()
    for state in reversed(states):
        merged.merge(state)
    in_turn = ConfidentJoint()
    for part in parts:
        in_turn.partial_fit(labels[part], probs[part])
    for detector in (merged, in_turn, whole):
        np.testing.assert_array_equal(detector.score(labels, probs), whole.clean_scores_)
        np.testing.assert_array_equal(detector.score(labels[7:8], probs[7:8]), whole.clean_scores_[7:8])


def test_confident_joint_refuses_wrong_streams():
    with pytest.raises(NotFittedError, match="call fit or partial_fit first"):
        ConfidentJoint().score([0], [[0.5, 0.5]])
    state = ConfidentJoint().partial_fit([0], [[0.5, 0.5]])
    assert state.merge(ConfidentJoint()).score([0], [[0.5, 0.5]]).shape == (1,)
    with pytest.raises(InputError, match="3 columns, the rows seen had 2"):
        state.score([0], [[0.2, 0.3, 0.5]])
    with pytest.raises(InputError, match="3 columns"):
        state.partial_fit([0], [[0.2, 0.3, 0.5]])
    with pytest.raises(InputError, match="2 and 3 classes"):
        state.merge(ConfidentJoint().partial_fit([0], [[0.2, 0.3, 0.5]]))
