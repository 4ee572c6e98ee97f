"""Leave-one-out ridge regression as a scikit-learn estimator."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.base import clone
from sklearn.linear_model import Ridge

from tamis.detectors import DETECTORS, LeaveOneOutRidge
from tamis.errors import InputError, NotFittedError
from tamis.metrics.calibration import expected_calibration_error
from tamis.metrics.ranking import average_precision

PAGE = Path(__file__).resolve().parents[2] / "docs" / "methods" / "leave_one_out_ridge.md"
LABELS = ("aggre_label", "random_label1", "worse_label")


def blobs(n, k=3, d=8, seed=0, rate=0.15):
    """Return features in k directions, given labels with planted flips, true labels."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, k, n)
    features = rng.normal(size=(k, d))[truth] * 3 + rng.normal(size=(n, d)) * 2
    labels = np.where(rng.random(n) < rate, (truth + rng.integers(1, k, n)) % k, truth)
    return features.astype(np.float32), labels, truth


def slow_probabilities(features, labels, n_classes, l2):
    """Refit without each row, then find the temperature by another optimiser."""
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    targets = np.eye(n_classes)[labels]
    scores = np.empty_like(targets)
    for row in range(len(labels)):
        rest = np.arange(len(labels)) != row
        model = Ridge(alpha=l2 * len(labels), solver="cholesky").fit(scaled[rest], targets[rest])
        scores[row] = model.predict(scaled[[row]])[0]

    def loss(log_inverse):
        return -(targets * log_softmax(scores * np.exp(log_inverse), axis=1)).sum()

    found = minimize_scalar(loss, bounds=(-5, 8), method="bounded", options={"xatol": 1e-9})
    return softmax(scores * np.exp(found.x), axis=1)


def test_is_registered():
    assert DETECTORS.get("leave_one_out_ridge") is LeaveOneOutRidge


def test_against_the_slow_reference():
    features, labels, _ = blobs(60)
    detector = LeaveOneOutRidge(l2=0.05).fit(features, labels)
    expected = slow_probabilities(features.astype(np.float64), labels, 3, 0.05)
    np.testing.assert_allclose(detector.pred_probs_, expected, atol=1e-4)
    np.testing.assert_allclose(detector.clean_scores_, expected[np.arange(60), labels], atol=1e-4)
    np.testing.assert_array_equal(detector.suggested_labels_, expected.argmax(axis=1))


def test_row_order_class_names_and_memory_do_not_matter():
    features, labels, _ = blobs(150)
    rows = np.random.default_rng(1).permutation(150)
    first = LeaveOneOutRidge().fit(features, labels)
    second = LeaveOneOutRidge(memory_budget="1MiB").fit(features[rows], labels[rows])
    np.testing.assert_allclose(second.clean_scores_, first.clean_scores_[rows], rtol=0, atol=1e-6)
    names = np.array(["zebra", "ant", "mole"])
    third = LeaveOneOutRidge().fit(features, names[labels])
    np.testing.assert_allclose(third.clean_scores_, first.clean_scores_, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(third.suggested_labels_, names[first.suggested_labels_])


def test_copies_do_not_vouch_for_each_other():
    features, labels, _ = blobs(60, d=50, rate=0.0)
    copied = np.vstack([features, np.repeat(features[:1], 5, axis=0)])
    wrong = (labels[0] + 1) % 3
    given = np.concatenate([labels, [wrong] * 5])
    given[0] = wrong
    detector = LeaveOneOutRidge(l2=0.01).fit(copied, given)
    own = detector.clean_scores_[[0, *range(60, 65)]]
    np.testing.assert_allclose(own, own[0], atol=1e-6)
    alone = LeaveOneOutRidge(l2=0.01).fit(copied + 1e-3 * np.arange(65)[:, None], given)
    assert own[0] < 0.3 < alone.clean_scores_[0]


def test_one_class_and_useless_features():
    assert LeaveOneOutRidge().fit([[1.0], [2.0]], ["a", "a"]).clean_scores_.tolist() == [1.0, 1.0]
    detector = LeaveOneOutRidge().fit(np.ones((40, 2)), [0, 1] * 20)
    np.testing.assert_allclose(detector.clean_scores_, 0.5, atol=0.05)


def test_calibration_and_planted_noise():
    features, labels, truth = blobs(2500, k=4, seed=3)
    detector = LeaveOneOutRidge().fit(features, labels)
    is_wrong = labels != truth
    assert average_precision(detector.clean_scores_, is_wrong) > 0.85
    assert (detector.suggested_labels_[is_wrong] == truth[is_wrong]).mean() > 0.9
    best = detector.pred_probs_.argmax(axis=1)
    assert expected_calibration_error(detector.pred_probs_.max(axis=1), best == labels) < 0.1


def test_results_before_fit_and_cloning():
    detector = LeaveOneOutRidge(l2=0.5)
    with pytest.raises(NotFittedError, match=r"LeaveOneOutRidge\.clean_scores_ is a result; call fit first"):
        _ = detector.clean_scores_
    assert clone(detector).get_params() == {"l2": 0.5, "memory_budget": "2GiB"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"l2": -1.0}, "l2 is -1.0; expected a number of at least 1e-10, or 'auto'"),
        ({"l2": "best"}, "l2 is 'best'"),
        ({"memory_budget": "many"}, "memory_budget 'many' is not a size"),
    ],
)
def test_odd_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        LeaveOneOutRidge(**settings).fit([[1.0], [2.0]], [0, 1])


@pytest.mark.slow
@pytest.mark.shared
def test_evidence_on_the_page(shared):
    features = np.load(shared / "data" / "cifar10_features_efflite0.npz")["train"].astype(np.float32)
    table = pq.read_table(shared / "data" / "cifar10_train.parquet", columns=["label", *LABELS])
    truth = table["label"].to_numpy()
    text = PAGE.read_text(encoding="utf-8")
    for name, l2 in (("average precision", "auto"), ("with `l2=0.3`", 0.3)):
        row = re.search(rf"^\| {re.escape(name)} \| (.*) \| (.*) \| (.*) \|$", text, flags=re.MULTILINE)
        assert row is not None
        measured = [
            average_precision(
                LeaveOneOutRidge(l2=l2).fit(features, table[which].to_numpy()).clean_scores_,
                table[which].to_numpy() != truth,
            )
            for which in LABELS
        ]
        np.testing.assert_allclose(measured, [float(text) for text in row.groups()], atol=1.5e-3)
