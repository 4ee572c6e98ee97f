"""Pairs that do not belong together: cosines, maps, votes, order, edges, and digits with two views."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import subspace_angles
from sklearn.cross_decomposition import CCA
from sklearn.datasets import load_digits
from sklearn.mixture import GaussianMixture

from tamis.detectors import MismatchedPairs
from tamis.detectors.pair_rules import (
    IGNORED,
    PairVotes,
    correct_labels,
    pair_consistency,
    pair_votes,
    training_labels,
)
from tamis.errors import InputError, NotFittedError
from tamis.metrics.ranking import average_precision
from tamis.statistics.pair_alignment import PairAlignment


def digits(kind="copy", flipped=0.2, shuffled=0.2, seed=0):
    """Return two views, given labels, true labels and which pairs are mixed up."""
    rng = np.random.default_rng(seed)
    data = load_digits()
    first, truth = data.data - data.data.mean(axis=0), data.target
    n = len(truth)
    second = first + rng.normal(0, 4, first.shape)
    if kind == "halves":
        first, second = first[:, :32], first[:, 32:].copy()
    rows = rng.choice(n, int(shuffled * n), replace=False)
    second[rows] = second[np.roll(rows, 1)]
    is_mixed = np.isin(np.arange(n), rows)
    given = np.where(rng.random(n) < flipped, (truth + rng.integers(1, 10, n)) % 10, truth)
    return first, second, given, truth, is_mixed


def views(n=200, d=6, seed=0):
    rng = np.random.default_rng(seed)
    first = rng.normal(size=(n, d))
    second = first + 0.3 * rng.normal(size=(n, d))
    second[: n // 5] = second[np.roll(np.arange(n // 5), 1)]
    labels = (first[:, 0] > 0) * 2 + (first[:, 1] > 0)
    return first, second, np.array(["a", "b", "c", "d"])[labels]


def test_cosines_by_hand():
    cosines = pair_consistency([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]], [[3.0, 4.0], [0.0, -1.0], [1.0, 1.0]])
    np.testing.assert_allclose(cosines, [0.6, -1.0, 0.0])


def test_the_posterior_is_that_of_scikit_learn():
    first, second, _ = views()
    found = MismatchedPairs().fit(first, second)
    cosines = np.sort(found.consistency_)[:, None]
    peer = GaussianMixture(2, random_state=0).fit(cosines)
    expected = peer.predict_proba(found.consistency_[:, None])[:, peer.means_[:, 0].argmax()]
    np.testing.assert_allclose(found.clean_scores_, expected, atol=1e-9)
    np.testing.assert_array_equal(found.is_issue_, expected <= 0.5)


def test_rules_by_hand():
    zero, one, split = [0.9, 0.1], [0.1, 0.9], [0.45, 0.55]
    joint = np.array([zero, one, one, split, one])
    first = np.array([zero, one, zero, one, one])
    second = np.array([zero, one, one, one, one])
    labels = np.array([0, 0, 0, 0, 1])
    votes = PairVotes(joint, first, second)
    corrected, is_supported = correct_labels(votes, labels)
    assert corrected.tolist() == [0, 1, 0, 0, 1]
    assert is_supported.tolist() == [True, True, False, False, True]
    # Confirmed, corrected, views disagree, too small a share, confirmed.
    assert training_labels(votes, labels).tolist() == [0, 1, IGNORED, IGNORED, 1]
    assert training_labels(votes, labels, least_share=0.5).tolist() == [0, 1, IGNORED, 1, 1]
    with pytest.raises(InputError, match="least_share is 1"):
        correct_labels(votes, labels, least_share=1)


def test_rows_of_mixed_up_pairs_count_less():
    first = np.array([[1.0, 0.0], [0.99, 0.1], [0.98, 0.2]])
    labels = np.array([0, 1, 2])
    heavy = pair_votes(first, first, labels, 3, weights=np.array([1.0, 1.0, 0.25]), n_neighbors=2)
    np.testing.assert_allclose(heavy.joint[0], [0.0, 0.8, 0.2], atol=1e-6)


def test_directions_against_scikit_learn():
    rng = np.random.default_rng(0)
    first = rng.normal(size=(500, 5)) @ rng.normal(size=(5, 5))
    second = first[:, :3] @ rng.normal(size=(3, 4)) + 0.5 * rng.normal(size=(500, 4))
    maps = PairAlignment(5, 4).partial_fit(first, second).solve(2, shrinkage=0.0)
    peer = CCA(2, max_iter=5000, tol=1e-10).fit(first, second)
    for ours, theirs in zip(maps.apply(first, second), peer.transform(first, second), strict=True):
        assert np.rad2deg(subspace_angles(ours, theirs - theirs.mean(0))).max() < 0.1
    both = peer.transform(first, second)
    expected = [np.corrcoef(both[0][:, i], both[1][:, i])[0, 1] for i in range(2)]
    np.testing.assert_allclose(maps.correlations, expected, atol=1e-3)


def test_alignment_of_blocks_and_merged_states():
    first, second, *_ = digits("halves")
    whole = PairAlignment(32, 32).partial_fit(first, second).solve(8)
    parts = [
        PairAlignment(32, 32).partial_fit(first[a:b], second[a:b]) for a, b in ((0, 5), (5, 900), (900, 1797))
    ]
    merged = parts[2].merge(parts[0]).merge(parts[1]).merge(PairAlignment(32, 32)).solve(8)
    one, two = (pair_consistency(*maps.apply(first, second)) for maps in (whole, merged))
    np.testing.assert_allclose(one, two, atol=1e-9)


@pytest.mark.parametrize("align", [None, 4])
def test_order_names_scale_and_sides_do_not_matter(align):
    first, second, labels = views()
    first[7], second[7] = first[9], second[9]
    found = MismatchedPairs(align=align).fit(first, second, labels)
    rows = np.random.default_rng(1).permutation(len(first))
    moved = MismatchedPairs(align=align).fit(first[rows], second[rows], labels[rows])
    for name in ("clean_scores_", "label_scores_", "training_labels_"):
        np.testing.assert_allclose(getattr(moved, name), getattr(found, name)[rows], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(moved.suggested_labels_, found.suggested_labels_[rows])
    names = dict(zip("abcd", "zxyw", strict=True))
    renamed = MismatchedPairs(align=align).fit(first, second, [names[label] for label in labels])
    np.testing.assert_allclose(renamed.label_scores_, found.label_scores_, rtol=0, atol=1e-5)
    assert renamed.suggested_labels_.tolist() == [names[label] for label in found.suggested_labels_]
    for other in ((4 * first, second / 8), (second, first)):
        turned = MismatchedPairs(align=align).fit(*other)
        np.testing.assert_allclose(turned.clean_scores_, found.clean_scores_, rtol=0, atol=1e-5)


def test_blocks_and_merging_do_not_matter():
    first, second, _ = views(400)
    found = MismatchedPairs().fit(first, second)
    parts = [
        MismatchedPairs().partial_fit(first[a:b], second[a:b]) for a, b in ((0, 3), (3, 200), (200, 400))
    ]
    merged = MismatchedPairs().merge(parts[1]).merge(parts[2]).merge(parts[0])
    np.testing.assert_allclose(merged.score(first, second), found.clean_scores_, atol=1e-9)
    np.testing.assert_allclose(found.score(first[:9], second[:9]), found.clean_scores_[:9], atol=1e-9)
    aligned = MismatchedPairs(align=3).fit(first, second)
    np.testing.assert_allclose(aligned.score(first, second), aligned.clean_scores_, atol=1e-9)


def test_edges():
    same = MismatchedPairs().fit(np.eye(3), np.eye(3))
    assert same.clean_scores_.tolist() == [1.0] * 3
    assert same.mixture_ is None
    assert len(same.suggested_labels_) == len(same.classes_) == 0
    with_labels = MismatchedPairs().fit(np.eye(3), np.eye(3), ["a", "a", "a"])
    assert with_labels.suggested_labels_.tolist() == ["a"] * 3
    assert not MismatchedPairs(align=9).fit(np.zeros((3, 2)), np.eye(3)).is_issue_.any()


def test_reading_early_and_wrong_use():
    with pytest.raises(NotFittedError, match="call fit first"):
        _ = MismatchedPairs().clean_scores_
    with pytest.raises(NotFittedError, match="has seen no pairs"):
        MismatchedPairs().score([[1.0]], [[1.0]])
    with pytest.raises(InputError, match="align is 2: maps need a pass of their own"):
        MismatchedPairs(align=2).partial_fit(np.eye(2), np.eye(2))
    with pytest.raises(InputError, match="other numbers of features"):
        PairAlignment(2, 2).merge(PairAlignment(2, 3))
    with pytest.raises(InputError, match="before it were others"):
        PairAlignment(2, 2).partial_fit(np.eye(2), np.eye(3)[:2])
    with pytest.raises(InputError, match="the maps were fitted to 2"):
        PairAlignment(2, 2).partial_fit(np.eye(2), np.eye(2)).solve(1).apply(np.eye(3), np.eye(3))
    with pytest.raises(InputError, match="n_directions 0"):
        PairAlignment(2, 2).partial_fit(np.eye(2), np.eye(2)).solve(0)


@pytest.mark.parametrize(
    ("first", "second", "options", "message"),
    [
        ([[1.0], [2.0]], [[1.0]], {}, "features has 2 rows, second_features 1"),
        ([[1.0], [np.nan]], [[1.0], [2.0]], {}, "features row 1 holds NaN"),
        ([[1.0], [2.0]], [[1.0, 2.0], [2.0, 1.0]], {}, "not one space; give align="),
        ([[1.0]], [[1.0]], {}, "features has 1 rows"),
        ([[1.0], [2.0]], [[1.0], [2.0]], {"threshold": 1.0}, "threshold is 1.0"),
        ([[1.0], [2.0]], [[1.0], [2.0]], {"n_neighbors": 0}, "n_neighbors is 0"),
    ],
)
def test_bad_input_is_refused(first, second, options, message):
    with pytest.raises(InputError, match=message):
        MismatchedPairs(**options).fit(first, second)
    with pytest.raises(InputError, match=r"labels has shape \(3,\)"):
        MismatchedPairs().fit(np.eye(2), np.eye(2)[::-1], [0, 1, 1])


@pytest.mark.parametrize(
    ("kind", "align", "pairs", "labels"), [("copy", None, 0.98, 0.95), ("halves", 16, 0.83, 0.8)]
)
def test_digits_with_two_views(kind, align, pairs, labels):
    first, second, given, truth, is_mixed = digits(kind, seed=3)
    found = MismatchedPairs(align=align).fit(first, second, given)
    assert average_precision(found.clean_scores_, is_mixed) > pairs
    assert average_precision(found.label_scores_, given != truth) > labels
    is_used = found.training_labels_ != IGNORED
    assert is_used.mean() > 0.7
    assert (found.training_labels_ == truth)[is_used].mean() > 0.97 > (given == truth).mean()
