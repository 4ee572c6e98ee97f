"""Soft labels from similar samples, scores and cuts."""

from __future__ import annotations

import numpy as np
import pytest

from tamis.errors import InputError
from tamis.statistics.simifeat import (
    cores_score,
    corrupted_shares,
    label_posterior,
    label_shares,
    majority_flags,
    mean_soft_label_score,
    peer_score,
    rank_flags,
    similarity_soft_labels,
    soft_label_score,
    vote_flags,
)


def neighbours(n=40, k=5, n_classes=3, seed=0):
    """Return random neighbours, rising distances, and labels."""
    rng = np.random.default_rng(seed)
    indices = np.stack([rng.permutation(np.delete(np.arange(n), row))[:k] for row in range(n)])
    return indices, np.sort(rng.random((n, k)), axis=1), rng.integers(0, n_classes, n)


def slow_soft_labels(indices, distances, labels, n_classes, min_similarity):
    """Vote by loops."""
    soft = np.zeros((len(labels), n_classes))
    for i in range(len(labels)):
        soft[i, labels[i]] += max(0.0, 1 - min_similarity - (2 * distances[i, 0] - distances[i, 1]))
        for j, d in zip(indices[i], distances[i], strict=True):
            soft[i, labels[j]] += max(0.0, 1 - min_similarity - d)
        soft[i] /= np.sqrt((soft[i] ** 2).sum())
    return soft


def test_soft_labels_by_hand():
    # Own weight 1 - (2 * 0.2 - 0.3) = 0.9; neighbours 0.8 and 0.7.
    soft = similarity_soft_labels(
        np.array([[1, 2], [0, 2], [1, 0]]), np.array([[0.2, 0.3]] * 3), np.array([0, 1, 1]), 2, norm="l1"
    )
    np.testing.assert_allclose(soft[0], [0.9 / 2.4, 1.5 / 2.4])
    np.testing.assert_allclose(soft[1], [0.8 / 2.4, 1.6 / 2.4])


@pytest.mark.parametrize("min_similarity", [0.0, 0.5, 0.9])
def test_soft_labels_against_loops(min_similarity):
    indices, distances, labels = neighbours()
    soft = similarity_soft_labels(indices, distances * 0.2, labels, 3, min_similarity=min_similarity)
    wanted = slow_soft_labels(indices, distances * 0.2, labels, 3, min_similarity)
    np.testing.assert_allclose(soft, wanted, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(soft, axis=1), 1.0)


def test_negative_weights_count_as_nothing_unless_asked_for():
    indices, labels = np.array([[1, 2], [0, 2], [0, 1]]), np.array([0, 0, 1])
    distances = np.array([[0.5, 1.5]] * 3)
    clipped = similarity_soft_labels(indices, distances, labels, 2, norm="l1")
    kept = similarity_soft_labels(indices, distances, labels, 2, norm="l1", compat=True)
    assert clipped[0].tolist() == [1.0, 0.0]
    np.testing.assert_allclose(kept[0], [2.0 / 1.5, -0.5 / 1.5])


def test_nobody_alike_leaves_every_label_equally_likely():
    indices, labels = np.array([[1, 2], [0, 2], [0, 1]]), np.array([0, 0, 1])
    far = np.full((3, 2), 2.0)
    np.testing.assert_allclose(similarity_soft_labels(indices, far, labels, 2), np.sqrt(0.5))
    np.testing.assert_allclose(similarity_soft_labels(indices, far, labels, 2, norm="l1"), 0.5)
    assert not vote_flags(similarity_soft_labels(indices, far, labels, 2), labels).any()


def test_scores_by_hand():
    soft, labels = np.array([[0.6, 0.8], [1.0, 0.0]]), np.array([0, 1])
    np.testing.assert_allclose(soft_label_score(soft, labels), [-np.log(0.6 + 1e-8), -np.log(1e-8)])
    mean = [(np.log(0.6) + np.log(0.8)) / 2, np.log(1e-8) / 2]
    np.testing.assert_allclose(mean_soft_label_score(soft), mean, atol=1e-7)
    np.testing.assert_allclose(cores_score(soft, labels), soft_label_score(soft, labels) + mean, atol=1e-7)
    # Both labels are given once: the expectation is the mean over the classes.
    np.testing.assert_allclose(peer_score(soft, labels), cores_score(soft, labels))


def test_scores_do_not_depend_on_the_numbering_of_classes():
    indices, distances, labels = neighbours()
    turn = np.array([2, 0, 1])
    first = similarity_soft_labels(indices, distances, labels, 3)
    second = similarity_soft_labels(indices, distances, turn[labels], 3)
    np.testing.assert_allclose(second[:, turn], first)
    for score in (soft_label_score, cores_score, peer_score):
        np.testing.assert_allclose(score(second, turn[labels]), score(first, labels), atol=1e-9)
    np.testing.assert_array_equal(vote_flags(second, turn[labels]), vote_flags(first, labels))


def test_row_order_does_not_matter():
    indices, distances, labels = neighbours()
    rows = np.random.default_rng(1).permutation(len(labels))
    back = np.argsort(rows)
    first = similarity_soft_labels(indices, distances, labels, 3)
    second = similarity_soft_labels(back[indices[rows]], distances[rows], labels[rows], 3)
    np.testing.assert_allclose(second, first[rows], atol=1e-14)


def test_posterior_and_shares_by_hand():
    transition, prior = np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0.5, 0.5])
    given = prior @ transition
    posterior = label_posterior(transition, prior, given)
    np.testing.assert_allclose(posterior.sum(axis=0), 1.0)
    np.testing.assert_allclose(posterior[0, 0], 0.45 / 0.55)
    assert label_posterior(np.eye(2), np.array([1.0, 0.0]), np.array([1.0, 0.0])).tolist() == [[1, 0], [0, 0]]
    np.testing.assert_allclose(label_shares(np.array([0, 0, 2]), 3), [2 / 3, 0, 1 / 3])
    np.testing.assert_allclose(corrupted_shares(np.array([0.5, 0.99, 1.5, 0.0])), [0.5, 0.01, 0.05, 0.95])
    np.testing.assert_allclose(corrupted_shares(np.array([0.5]), offset=0.8), [0.6])


def test_rank_flags_the_expected_share_of_each_class():
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 3, 3000), rng.random(3000)
    shares = np.array([0.1, 0.3, 0.05])
    flags = rank_flags(scores, labels, shares)
    for code, share in enumerate(shares):
        own = labels == code
        assert abs(flags[own].sum() - share * own.sum()) <= 1
        assert scores[own & flags].min() > scores[own & ~flags].max()


def test_rank_flags_at_least_one_of_every_class_and_none_of_an_empty_one():
    flags = rank_flags(np.array([1.0, 2.0, 5.0]), np.array([0, 0, 2]), np.full(3, 0.05))
    assert flags.tolist() == [False, True, True]


def test_majority():
    assert majority_flags(np.array([[1, 1, 0], [1, 0, 0], [1, 1, 0], [0, 0, 1]], dtype=bool)).tolist() == [
        True,
        False,
        False,
    ]
    with pytest.raises(InputError, match="at least one row"):
        majority_flags(np.zeros((0, 3), dtype=bool))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"indices": np.array([[1], [0], [0]])}, "k >= 2"),
        ({"labels": np.array([0, 1])}, r"labels \(2,\)"),
        ({"labels": np.array([0, 1, 2])}, "codes from 0 to 1"),
        ({"indices": np.array([[1, 2], [0, 3], [0, 1]])}, "runs from 0 to 3"),
        ({"indices": np.array([[1, 2], [0, -1], [0, 1]])}, "runs from -1 to 2"),
        ({"distances": np.array([[0.1, 0.2], [0.1, np.nan], [0.1, 0.2]])}, "distances row 1"),
        ({"norm": "l3"}, "choose 'l2' or 'l1'"),
    ],
)
def test_bad_arguments_are_refused(change, message):
    arguments = {
        "indices": np.array([[1, 2], [0, 2], [0, 1]]),
        "distances": np.full((3, 2), 0.1),
        "labels": np.array([0, 0, 1]),
        "n_classes": 2,
    } | change
    if arguments["indices"].shape[1] == 1:
        arguments["distances"] = arguments["distances"][:, :1]
    with pytest.raises(InputError, match=message):
        similarity_soft_labels(**arguments)
