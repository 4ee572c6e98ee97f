"""The least disagree metric as a scikit-learn estimator."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.base import clone

from tamis.detectors import DETECTORS
from tamis.detectors.least_disagree_metric import LeastDisagreeMetric
from tamis.errors import InputError
from tamis.metrics.ranking import average_precision

PAGE = Path(__file__).resolve().parents[2] / "docs" / "methods" / "least_disagree_metric.md"
LABELS = ("aggre_label", "random_label1", "worse_label")


def blobs(n, k=3, d=8, seed=0, rate=0.15):
    """Return features in k directions, given labels with planted flips, true labels."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, k, n)
    features = rng.normal(size=(k, d))[truth] * 3 + rng.normal(size=(n, d)) * 2
    labels = np.where(rng.random(n) < rate, (truth + rng.integers(1, k, n)) % k, truth)
    return features, labels, truth


def test_is_registered():
    assert DETECTORS.get("least_disagree_metric") is LeastDisagreeMetric


def test_scores_say_whether_the_probe_agrees():
    features, labels, _ = blobs(200)
    detector = LeastDisagreeMetric(n_reference=100).fit(features, labels)
    agrees = detector.suggested_labels_ == labels
    assert (detector.clean_scores_[agrees] >= 0).all()
    assert (detector.clean_scores_[~agrees] <= 0).all()
    np.testing.assert_array_equal(detector.clean_scores_[agrees], detector.ldm_[agrees])
    # Any flip is at most as far as the flip to one label.
    assert (detector.ldm_[~agrees] <= -detector.clean_scores_[~agrees]).all()
    np.testing.assert_allclose(detector.ldm_ * 100, np.round(detector.ldm_ * 100), atol=1e-9)


def test_row_order_class_names_and_memory_do_not_matter():
    features, labels, _ = blobs(150)
    rows = np.random.default_rng(1).permutation(150)
    first = LeastDisagreeMetric().fit(features, labels)
    second = LeastDisagreeMetric(memory_budget="1MiB").fit(features[rows], labels[rows])
    np.testing.assert_allclose(second.clean_scores_, first.clean_scores_[rows], rtol=0, atol=1e-6)
    names = np.array(["zebra", "ant", "mole"])
    third = LeastDisagreeMetric().fit(features, names[labels])
    np.testing.assert_allclose(third.clean_scores_, first.clean_scores_, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(third.suggested_labels_, names[first.suggested_labels_])


def test_copies_do_not_vouch_for_each_other():
    features, labels, _ = blobs(60, d=40, rate=0.0)
    copied = np.vstack([features, np.repeat(features[:1], 5, axis=0)])
    wrong = (labels[0] + 1) % 3
    given = np.concatenate([labels, [wrong] * 5])
    given[0] = wrong
    detector = LeastDisagreeMetric(l2=0.01).fit(copied, given)
    assert (detector.clean_scores_[[0, *range(60, 65)]] < 0).all()


def test_one_class_useless_features_and_nothing_but_copies():
    assert LeastDisagreeMetric().fit([[1.0], [2.0]], ["a", "a"]).clean_scores_.tolist() == [1.0, 1.0]
    assert np.isfinite(LeastDisagreeMetric().fit(np.ones((40, 2)), [0, 1] * 20).clean_scores_).all()


def test_planted_noise_is_found():
    features, labels, truth = blobs(1000, k=4, seed=3)
    detector = LeastDisagreeMetric(max_draws=20).fit(features, labels)
    is_wrong = labels != truth
    assert average_precision(detector.clean_scores_, is_wrong) > 0.8
    assert (detector.suggested_labels_[is_wrong] == truth[is_wrong]).mean() > 0.85


def test_cloning():
    assert clone(LeastDisagreeMetric(l2=0.5, max_draws=None)).get_params() == {
        "l2": 0.5,
        "max_draws": None,
        "memory_budget": "2GiB",
        "n_reference": 1000,
        "patience": 10,
        "random_state": 0,
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_reference": 0}, "n_reference is 0"),
        ({"patience": 0}, "patience is 0"),
        ({"max_draws": 0}, "max_draws is 0"),
        ({"l2": -1.0}, "l2 is -1.0"),
        ({"random_state": 0.5}, "random_state is 0.5"),
    ],
)
def test_odd_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        LeastDisagreeMetric(**settings).fit([[1.0], [2.0], [4.0]], [0, 1, 1])


@pytest.mark.slow
@pytest.mark.shared
def test_evidence_on_the_page(shared):
    features = np.load(shared / "data" / "cifar10_features_efflite0.npz")["train"].astype(np.float32)
    table = pq.read_table(shared / "data" / "cifar10_train.parquet", columns=["label", *LABELS])
    truth = table["label"].to_numpy()
    row = re.search(
        r"^\| average precision \| (.*) \| (.*) \| (.*) \|$", PAGE.read_text(), flags=re.MULTILINE
    )
    assert row is not None
    measured = [
        average_precision(
            LeastDisagreeMetric().fit(features, table[name].to_numpy()).clean_scores_,
            table[name].to_numpy() != truth,
        )
        for name in LABELS
    ]
    np.testing.assert_allclose(measured, [float(text) for text in row.groups()], atol=2e-3)
