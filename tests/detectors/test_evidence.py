"""The numbers in the evidence blocks of the pages, measured again on real human label noise."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tamis.data.digests import feature_digests
from tamis.detectors import (
    ConfidenceWeightedEntropy,
    ConfidentJoint,
    NormalizedMargin,
    SelfConfidence,
)
from tamis.metrics.ranking import average_precision
from tamis.neighbors import nearest_neighbors, neighbor_vote

PAGES = Path(__file__).resolve().parents[2] / "docs" / "methods"
LABELS = ("aggre_label", "random_label1", "worse_label")

pytestmark = [pytest.mark.slow, pytest.mark.shared]


@pytest.fixture(scope="module")
def features(shared):
    return np.load(shared / "data" / "cifar10_features_efflite0.npz")["train"].astype(np.float32)


@pytest.fixture(scope="module")
def labels(shared):
    table = pq.read_table(shared / "data" / "cifar10_train.parquet", columns=["label", *LABELS])
    return {name: table[name].to_numpy().astype(np.int64) for name in table.column_names}


@pytest.fixture(scope="module")
def pred_probs(features, labels):
    """Return five-fold out-of-sample probabilities for each set of labels."""
    probs = {name: np.zeros((len(features), 10)) for name in LABELS}
    for name in LABELS:
        folds = StratifiedKFold(5, shuffle=True, random_state=0).split(features, labels[name])
        for train, test in folds:
            model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))
            model.fit(features[train], labels[name][train])
            probs[name][test] = model.predict_proba(features[test])
    return probs


def published(name, row="average precision"):
    """Return the three numbers of one row of a page's table."""
    page = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    found = re.search(rf"^\| {re.escape(row)} \| (.*) \| (.*) \| (.*) \|$", page, flags=re.MULTILINE)
    assert found, f"{name}.md has no row {row!r}"
    return [float(text.replace(",", "")) for text in found.groups()]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("self_confidence", SelfConfidence),
        ("normalized_margin", NormalizedMargin),
        ("confidence_weighted_entropy", ConfidenceWeightedEntropy),
        ("confident_joint", ConfidentJoint),
    ],
)
def test_detectors_on_probabilities(name, kind, labels, pred_probs):
    measured = [
        average_precision(
            kind().fit(labels[which], pred_probs[which]).clean_scores_, labels[which] != labels["label"]
        )
        for which in LABELS
    ]
    np.testing.assert_allclose(measured, published(name), atol=1.5e-3)


def test_counts_of_the_confident_joint(labels, pred_probs):
    fitted = [ConfidentJoint().fit(labels[name], pred_probs[name]) for name in LABELS]
    wrong = [labels[name] != labels["label"] for name in LABELS]
    page = "confident_joint"
    flagged = [detector.is_issue_.sum() for detector in fitted]
    np.testing.assert_allclose(flagged, published(page, "rows in `is_issue_`"), rtol=0.01)
    precision = [truth[detector.is_issue_].mean() for detector, truth in zip(fitted, wrong, strict=True)]
    np.testing.assert_allclose(precision, published(page, "of these wrong"), atol=5e-3)
    expected = [detector.n_expected_errors_ for detector in fitted]
    np.testing.assert_allclose(expected, published(page, "`n_expected_errors_`"), rtol=0.01)
    assert [truth.sum() for truth in wrong] == published(page, "wrong labels in truth")


def test_neighbor_vote(features, labels):
    # One search for all variants: the detector's own search and vote are tested elsewhere.
    found = nearest_neighbors(features, k=50, tie_keys=feature_digests(features))
    rows = np.arange(len(features))
    for row, k, temperature in (
        ("average precision", 30, 0.1),
        ("with `temperature=None`", 30, None),
        ("with `n_neighbors=50`", 50, 0.1),
        ("with `n_neighbors=10`", 10, 0.1),
    ):
        nearest = found.indices[:, :k], found.similarities[:, :k]
        measured = [
            average_precision(
                neighbor_vote(*nearest, labels[name], 10, temperature=temperature)[rows, labels[name]],
                labels[name] != labels["label"],
            )
            for name in LABELS
        ]
        np.testing.assert_allclose(measured, published("neighbor_vote", row), atol=1.5e-3, err_msg=row)
