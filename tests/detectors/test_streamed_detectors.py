"""Average similarity, von Mises-Fisher similarity and relative Mahalanobis distance as estimators."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.base import clone

from tamis.detectors import DETECTORS
from tamis.detectors.average_similarity import AverageSimilarity
from tamis.detectors.relative_mahalanobis import RelativeMahalanobis
from tamis.detectors.vmf_similarity import VmfSimilarity
from tamis.errors import InputError, NotFittedError
from tamis.metrics.ranking import average_precision

PAGES = Path(__file__).resolve().parents[2] / "docs" / "methods"
KINDS = (AverageSimilarity, VmfSimilarity, RelativeMahalanobis)
NAMES = ("average_similarity", "vmf_similarity", "relative_mahalanobis")
UNKNOWN = {AverageSimilarity: 1.0, VmfSimilarity: 0.0, RelativeMahalanobis: 0.0}
"""Score of a row whose class has no other member."""

every_kind = pytest.mark.parametrize("kind", KINDS)


def blobs(n, k=3, d=8, seed=0, rate=0.15):
    """Return features in k directions, given labels with planted flips, true labels."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, k, n)
    features = rng.normal(size=(k, d))[truth] * 3 + rng.normal(size=(n, d))
    labels = np.where(rng.random(n) < rate, (truth + rng.integers(1, k, n)) % k, truth)
    return features.astype(np.float32), labels, truth


def test_are_registered():
    assert tuple(DETECTORS.get(name) for name in NAMES) == KINDS


def test_average_by_hand():
    # Class 0 without row 0 is (0, 1) alone, class 1 is (0, 1): cosines 0 and 0.
    detector = AverageSimilarity().fit([[2.0, 0.0], [0.0, 1.0], [0.0, 3.0], [0.0, 1.0]], [0, 0, 1, 1])
    expected = [0.5, 1 / (1 + np.e), np.e / (np.e + np.exp(0.5)), np.e / (np.e + np.exp(0.5))]
    np.testing.assert_allclose(detector.clean_scores_, expected)
    assert detector.suggested_labels_.tolist() == [0, 1, 1, 1]


@every_kind
def test_every_row_is_scored_without_itself(kind):
    features, labels, _ = blobs(40)
    detector = kind().fit(features, labels)
    for row in range(0, 40, 7):
        rest = np.arange(40) != row
        other = kind().fit(features[rest], labels[rest]).score(features[[row]], labels[[row]], seen=False)
        # The shrinkage of the Mahalanobis distance is a share of what all rows spread.
        np.testing.assert_allclose(detector.clean_scores_[row], other[0], rtol=5e-3, atol=5e-3)


@every_kind
def test_row_order_class_names_and_memory_do_not_matter(kind):
    features, labels, _ = blobs(150)
    rows = np.random.default_rng(1).permutation(150)
    first = kind().fit(features, labels)
    second = kind(memory_budget="1MiB").fit(features[rows], labels[rows])
    np.testing.assert_allclose(second.clean_scores_, first.clean_scores_[rows], rtol=0, atol=1e-6)
    names = np.array(["zebra", "ant", "mole"])
    third = kind().fit(features, names[labels])
    np.testing.assert_allclose(third.clean_scores_, first.clean_scores_, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(third.suggested_labels_, names[first.suggested_labels_])


@every_kind
def test_blocks_of_rows_do_not_matter(kind, monkeypatch):
    features, labels, _ = blobs(100)
    whole = kind().fit(features, labels).clean_scores_
    for size in (1, 7):
        monkeypatch.setattr(kind, "_block_rows", lambda self, n_features, size=size: size)
        np.testing.assert_allclose(kind().fit(features, labels).clean_scores_, whole, rtol=0, atol=1e-8)


@every_kind
@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1]])
def test_pieces_and_merging_give_what_fit_gives(kind, order):
    features, labels, _ = blobs(120, k=5)
    names = np.array(["e", "dd", "a", "ccc", "b"])[labels]
    whole = kind().fit(features, names)
    # The pieces are sorted by class: no worker sees every class.
    pieces = np.array_split(np.argsort(labels, kind="stable"), 3)
    workers = [kind().partial_fit(features[piece], names[piece]) for piece in pieces]
    merged = workers[order[0]].merge(workers[order[1]]).merge(workers[order[2]])
    streamed = kind()
    for piece in pieces:
        streamed.partial_fit(features[piece], names[piece])
    for detector in (merged, streamed, kind().partial_fit(features, names, classes=sorted(set(names)))):
        assert detector.classes_.tolist() == ["a", "b", "ccc", "dd", "e"]
        scores = np.empty(120)
        for piece in pieces:
            scores[piece] = detector.score(features[piece], names[piece])
        np.testing.assert_allclose(scores, whole.clean_scores_, rtol=0, atol=1e-8)
        verdict = detector.verdict(features, names)
        np.testing.assert_array_equal(detector.classes_[verdict.suggested], whole.suggested_labels_)


@every_kind
def test_classes_of_one_unknown_classes_and_one_class(kind):
    features, labels, _ = blobs(30)
    lone = np.append(labels, 7)
    detector = kind().fit(np.vstack([features, features[:1] + 0.1]), lone)
    assert detector.clean_scores_[-1] == UNKNOWN[kind]
    assert detector.suggested_labels_[-1] == 7
    assert np.isfinite(detector.clean_scores_).all()
    assert detector.score(features[:1], [99], seen=False).tolist() == [UNKNOWN[kind]]
    assert detector.classes_.tolist() == [0, 1, 2, 7]
    alone = kind().fit([[1.0, 2.0], [1.5, 2.0], [1.0, 3.0]], ["a", "a", "a"])
    assert np.isfinite(alone.clean_scores_).all()
    assert alone.suggested_labels_.tolist() == ["a", "a", "a"]


@every_kind
def test_zeros_constants_and_copies(kind):
    features, labels, _ = blobs(30)
    features[3] = 0.0
    assert np.isfinite(kind().fit(features, labels).clean_scores_).all()
    same = kind().fit(np.ones((6, 3)), [0, 1] * 3)
    np.testing.assert_allclose(same.clean_scores_, same.clean_scores_[0], atol=1e-8)
    assert same.suggested_labels_.tolist() == [0, 1] * 3


@every_kind
def test_planted_noise_is_found(kind):
    features, labels, truth = blobs(1500, k=4, seed=3)
    detector = kind().fit(features, labels)
    is_wrong = labels != truth
    assert average_precision(detector.clean_scores_, is_wrong) > 0.85
    assert (detector.suggested_labels_[is_wrong] == truth[is_wrong]).mean() > 0.85


@every_kind
def test_many_classes(kind):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(5000), 3)
    features = (rng.normal(size=(5000, 24))[labels] * 2 + rng.normal(size=(15000, 24))).astype(np.float32)
    given = labels.copy()
    is_wrong = rng.random(15000) < 0.05
    given[is_wrong] = rng.integers(0, 5000, is_wrong.sum())
    assert average_precision(kind().fit(features, given).clean_scores_, given != labels) > 0.4


def test_samples_of_no_class_are_found_by_the_background():
    rng = np.random.default_rng(0)
    features, labels, _ = blobs(900, rate=0.0)
    is_strange = np.arange(900) % 10 == 0
    features[is_strange] = rng.normal(size=(90, 8)) * 6
    scores = RelativeMahalanobis().fit(features, labels).clean_scores_
    assert average_precision(scores, is_strange) > 0.6


@every_kind
def test_results_before_fit_and_cloning(kind):
    with pytest.raises(NotFittedError, match=r"\.clean_scores_ is a result; call fit first"):
        _ = kind().clean_scores_
    with pytest.raises(NotFittedError, match="has seen no rows; call fit or partial_fit first"):
        kind().score([[1.0]], [0])
    fitted = kind().partial_fit([[1.0, 2.0], [2.0, 1.0]], [0, 1])
    with pytest.raises(NotFittedError, match="has seen no rows"):
        fitted.merge(kind())
    assert clone(kind(memory_budget="1GiB")).memory_budget == "1GiB"


@every_kind
def test_bad_input_is_refused(kind):
    detector = kind().partial_fit([[1.0, 2.0], [2.0, 1.0]], [0, 1])
    for action, message in (
        (lambda: detector.partial_fit([[1.0]], [0]), "1 features, but .* is expecting 2"),
        (lambda: detector.partial_fit([[1.0, np.nan]], [0]), "contains NaN"),
        (lambda: detector.partial_fit([[1.0, 2.0]], ["a"]), "use one type of names"),
        (lambda: detector.score([[1.0, 2.0]], [0, 1]), "inconsistent numbers of samples"),
        (lambda: detector.merge(kind().partial_fit([[1.0]], [0])), "has seen 1 features, this one 2"),
        (lambda: detector.merge(kind(memory_budget=None)), "both must be made alike"),
        (
            lambda: kind(memory_budget="many").fit([[1.0], [2.0]], [0, 1]),
            "memory_budget 'many' is not a size",
        ),
    ):
        with pytest.raises(InputError, match=message):
            action()


@pytest.mark.parametrize(
    ("detector", "message"),
    [
        (VmfSimilarity(min_count=1), "min_count is 1; expected at least 2"),
        (VmfSimilarity(kappa_max=np.inf), "kappa_max inf"),
        (VmfSimilarity(kappa_min=-1.0), "kappa_min is -1.0"),
        (RelativeMahalanobis(shrinkage=-1.0), "shrinkage is -1.0"),
    ],
)
def test_odd_settings_are_refused(detector, message):
    with pytest.raises(InputError, match=message):
        detector.fit([[1.0], [2.0]], [0, 1])


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "row", "settings"),
    [
        ("average_similarity", "average precision", {}),
        ("vmf_similarity", "average precision", {}),
        ("vmf_similarity", "with one concentration of 100", {"kappa_min": 100, "kappa_max": 100}),
        ("relative_mahalanobis", "average precision", {}),
        ("relative_mahalanobis", "with `shrinkage=0.1`", {"shrinkage": 0.1}),
        ("relative_mahalanobis", "with `shrinkage=1`", {"shrinkage": 1.0}),
    ],
)
def test_evidence_on_the_pages(shared, name, row, settings):
    features = np.load(shared / "data" / "cifar10_features_efflite0.npz")["train"].astype(np.float32)
    sets = ["aggre_label", "random_label1", "worse_label"]
    table = pq.read_table(shared / "data" / "cifar10_train.parquet", columns=["label", *sets])
    page = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    found = re.search(rf"^\| {re.escape(row)} \| (.*) \| (.*) \| (.*) \|$", page, flags=re.MULTILINE)
    assert found, f"{name}.md has no row {row!r}"
    truth = table["label"].to_numpy()
    measured = []
    for each in sets:
        given = table[each].to_numpy()
        scores = DETECTORS.get(name)(**settings).fit(features, given).clean_scores_
        measured.append(average_precision(scores, given != truth))
    np.testing.assert_allclose(measured, [float(text) for text in found.groups()], atol=1.5e-3)
