"""SimiFeat as scikit-learn estimators (their conventions are checked beside the neighbour vote)."""

from __future__ import annotations

import numpy as np
import pytest

from tamis.detectors import SimiFeatRank, SimiFeatVote
from tamis.detectors.simifeat import cosine_distances
from tamis.errors import InputError
from tamis.metrics.ranking import average_precision
from tamis.statistics.simifeat import similarity_soft_labels


def clusters(n, k=3, d=6, seed=0, rate=0.0, spread=0.1):
    """Return features in k tight clusters, given labels with planted flips, true labels."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, k, n)
    features = np.eye(k, d)[truth] + spread * rng.normal(size=(n, d))
    labels = np.where(rng.random(n) < rate, (truth + rng.integers(1, k, n)) % k, truth)
    return features, labels, truth


def slow_soft_labels(features, labels, k, n_classes):
    """Vote from the full matrix of distances."""
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    distance = 1 - unit @ unit.T
    np.fill_diagonal(distance, np.inf)
    nearest = np.argsort(distance, axis=1)[:, : k - 1]
    return similarity_soft_labels(nearest, np.take_along_axis(distance, nearest, 1), labels, n_classes)


@pytest.mark.parametrize("k", [3, 10, 60])
def test_against_the_slow_reference(k):
    features, labels, _ = clusters(60, rate=0.3, spread=0.5)
    detector = SimiFeatVote(k=k).fit(features, labels)
    np.testing.assert_allclose(detector.soft_labels_, slow_soft_labels(features, labels, k, 3), atol=1e-12)
    given = detector.soft_labels_[np.arange(60), labels]
    np.testing.assert_array_equal(detector.clean_scores_, given)
    np.testing.assert_array_equal(detector.is_issue_, detector.suggested_labels_ != labels)


def test_distances_do_not_depend_on_blocks():
    features, _, _ = clusters(500, d=40)
    indices = np.random.default_rng(0).integers(0, 500, (500, 30))
    whole = cosine_distances(features, indices)
    np.testing.assert_array_equal(cosine_distances(features, indices, memory_budget="1MiB"), whole)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    np.testing.assert_allclose(whole, 1 - np.einsum("nd,nkd->nk", unit, unit[indices]), atol=1e-14)


def test_clean_clusters_are_left_alone_and_one_flip_is_found():
    features, labels, _ = clusters(90)
    assert not SimiFeatVote().fit(features, labels).is_issue_.any()
    labels[17] = (labels[17] + 1) % 3
    assert np.flatnonzero(SimiFeatVote().fit(features, labels).is_issue_).tolist() == [17]
    # The cut by rank always takes someone, the most suspicious first.
    assert SimiFeatRank(n_steps=200).fit(features, labels).is_issue_[17]


@pytest.mark.parametrize("detector", [SimiFeatVote(), SimiFeatRank(n_steps=150, n_points=60, n_rounds=3)])
def test_row_order_class_names_and_memory_do_not_matter(detector):
    features, labels, _ = clusters(150, rate=0.2)
    features[100:] = features[:50]
    rows, names = np.random.default_rng(1).permutation(150), np.array(["zebra", "ant", "mole"])
    first = type(detector)(**detector.get_params()).fit(features, labels)
    detector.set_params(memory_budget="1MiB").fit(features[rows], names[labels[rows]])
    np.testing.assert_allclose(detector.clean_scores_, first.clean_scores_[rows], rtol=0, atol=1e-9)
    np.testing.assert_array_equal(detector.is_issue_, first.is_issue_[rows])
    np.testing.assert_array_equal(detector.suggested_labels_, names[first.suggested_labels_[rows]])


def test_scaling_and_rotation_do_not_matter():
    features, labels, _ = clusters(120, rate=0.2)
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))
    first = SimiFeatRank(n_steps=100).fit(features, labels)
    second = SimiFeatRank(n_steps=100).fit(3.7 * features @ turn, labels)
    np.testing.assert_allclose(second.clean_scores_, first.clean_scores_, atol=1e-9)
    np.testing.assert_array_equal(second.is_issue_, first.is_issue_)


def test_planted_noise_is_found():
    features, labels, truth = clusters(1500, rate=0.2, spread=0.25)
    is_wrong = labels != truth
    vote, rank = SimiFeatVote().fit(features, labels), SimiFeatRank().fit(features, labels)
    np.testing.assert_array_equal(vote.clean_scores_, rank.clean_scores_)
    assert average_precision(vote.clean_scores_, is_wrong) > 0.95
    assert rank.estimate_.noise_rate == pytest.approx(is_wrong.mean(), abs=0.05)
    for detector in (vote, rank):
        assert detector.is_issue_[is_wrong].mean() > 0.85
        assert is_wrong[detector.is_issue_].mean() > 0.75


def test_offset_and_jitter_move_the_cut():
    features, labels, _ = clusters(300, rate=0.2, spread=0.3)
    plain = SimiFeatRank(n_steps=100).fit(features, labels)
    more = SimiFeatRank(n_steps=100, offset=0.8).fit(features, labels)
    assert more.is_issue_.sum() > plain.is_issue_.sum()
    assert more.is_issue_[plain.is_issue_].all()
    shaken = [SimiFeatRank(n_steps=100, jitter=0.2, random_state=0).fit(features, labels) for _ in range(2)]
    np.testing.assert_array_equal(shaken[0].is_issue_, shaken[1].is_issue_)
    assert (shaken[0].is_issue_ != plain.is_issue_).any()


def test_a_single_class():
    features, _, _ = clusters(30)
    rank = SimiFeatRank().fit(features, np.full(30, "only"))
    assert rank.estimate_ is None
    assert rank.clean_scores_.tolist() == [1.0] * 30
    assert not SimiFeatVote().fit(features, np.full(30, "only")).is_issue_.any()


@pytest.mark.parametrize("kind", [SimiFeatVote, SimiFeatRank])
@pytest.mark.parametrize(
    ("k", "message"),
    [
        (2, "k is 2; expected a whole number of at least 3"),
        (21, "k is 21 but there are 20 samples with a direction"),
    ],
)
def test_odd_numbers_of_neighbours_are_refused(kind, k, message):
    features, labels, _ = clusters(20)
    with pytest.raises(InputError, match=message):
        kind(k=k).fit(features, labels)


@pytest.mark.parametrize("kind", [SimiFeatVote, SimiFeatRank])
def test_a_row_without_direction_gets_no_verdict(kind):
    features, labels, _ = clusters(40, rate=0.1)
    alone = kind().fit(np.delete(features, 4, axis=0), np.delete(labels, 4))
    features[4] = 0
    detector = kind().fit(features, labels)
    np.testing.assert_allclose(detector.soft_labels_[4], 3**-0.5)
    assert not detector.is_issue_[4] and detector.suggested_labels_[4] == labels[4]
    np.testing.assert_allclose(np.delete(detector.clean_scores_, 4), alone.clean_scores_, atol=1e-12)
    np.testing.assert_array_equal(np.delete(detector.is_issue_, 4), alone.is_issue_)
