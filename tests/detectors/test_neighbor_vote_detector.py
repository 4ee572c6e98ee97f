"""The neighbour vote as a scikit-learn estimator."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from tamis.detectors import DETECTORS, FeatureDetector, NeighborVote
from tamis.errors import InputError, NotFittedError
from tamis.metrics.ranking import average_precision


def blobs(n, k=3, d=8, seed=0, rate=0.15):
    """Return features in k directions, given labels with planted flips, true labels."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, k, n)
    features = rng.normal(size=(k, d))[truth] * 3 + rng.normal(size=(n, d))
    labels = np.where(rng.random(n) < rate, (truth + rng.integers(1, k, n)) % k, truth)
    return features.astype(np.float32), labels, truth


def slow_votes(features, labels, k, temperature, n_classes):
    """Search and vote by sorting each row of the full similarity matrix."""
    unit = features.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    similarities = unit @ unit.T
    np.fill_diagonal(similarities, -np.inf)
    votes = np.zeros((len(labels), n_classes))
    for row, values in enumerate(similarities):
        nearest = np.argsort(-values)[:k]
        weights = np.exp((values[nearest] - values[nearest[0]]) / temperature)
        np.add.at(votes[row], labels[nearest], weights / weights.sum())
    return votes


def quick(detector):
    """Return a detector with fewer rounds of chance where it has any: conventions hold for any number."""
    rounds = {"max_draws": 5, "n_rounds": 2}
    return detector.set_params(
        **{name: rounds[name] for name in rounds.keys() & detector.get_params().keys()}
    )


@parametrize_with_checks(
    [quick(entry.target()) for entry in DETECTORS if issubclass(entry.target, FeatureDetector)]
)
def test_scikit_learn_conventions(estimator, check):
    check(estimator)


def test_by_hand():
    features = [[1.0, 0.0], [0.9, 0.1], [0.8, 0.1], [0.0, 1.0], [0.1, 0.9], [0.1, 0.8]]
    labels = ["cat", "cat", "dog", "dog", "dog", "dog"]
    detector = NeighborVote(n_neighbors=2, temperature=None).fit(features, labels)
    np.testing.assert_array_equal(detector.clean_scores_, [0.5, 0.5, 0.0, 1.0, 1.0, 1.0])
    # A tie keeps the given label.
    assert detector.suggested_labels_.tolist() == ["cat", "cat", "cat", "dog", "dog", "dog"]
    assert detector.classes_.tolist() == ["cat", "dog"]
    assert detector.n_features_in_ == 2


def test_against_the_slow_reference():
    features, labels, _ = blobs(120)
    detector = NeighborVote(n_neighbors=7, temperature=0.2).fit(features, labels)
    expected = slow_votes(features, labels, 7, 0.2, 3)
    np.testing.assert_allclose(detector.votes_, expected, atol=1e-5)
    np.testing.assert_allclose(detector.clean_scores_, expected[np.arange(120), labels], atol=1e-5)


def test_row_order_class_names_and_memory_do_not_matter():
    features, labels, _ = blobs(150)
    rows = np.random.default_rng(1).permutation(150)
    first = NeighborVote().fit(features, labels)
    second = NeighborVote(memory_budget="1MiB").fit(features[rows], labels[rows])
    np.testing.assert_allclose(second.clean_scores_, first.clean_scores_[rows], rtol=0, atol=1e-6)
    names = np.array(["zebra", "ant", "mole"])
    third = NeighborVote().fit(features, names[labels])
    np.testing.assert_allclose(third.clean_scores_, first.clean_scores_, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(third.suggested_labels_, names[first.suggested_labels_])


def test_copies_do_not_vouch_for_each_other():
    features, labels, _ = blobs(60, rate=0.0)
    copied = np.vstack([features, features[:1], features[:1]])
    wrong = (labels[0] + 1) % 3
    given = np.concatenate([labels, [wrong, wrong]])
    given[0] = wrong
    detector = NeighborVote(n_neighbors=3).fit(copied, given)
    np.testing.assert_array_equal(detector.clean_scores_[[0, 60, 61]], 0.0)


def test_fewer_samples_than_neighbors_and_rows_without_direction():
    detector = NeighborVote(n_neighbors=50).fit([[1.0, 0.0], [1.0, 0.1], [0.0, 0.0]], [0, 0, 1])
    assert detector.clean_scores_[:2].tolist() == [1.0, 1.0]
    assert detector.clean_scores_[2] == 0.5  # an all-zero row has no neighbours: every label is as likely
    assert NeighborVote().fit([[1.0], [2.0]], ["a", "a"]).clean_scores_.tolist() == [1.0, 1.0]


def test_results_before_fit_and_cloning():
    detector = NeighborVote(n_neighbors=4)
    with pytest.raises(NotFittedError, match=r"NeighborVote\.clean_scores_ is a result; call fit first"):
        _ = detector.clean_scores_
    assert clone(detector).get_params() == {"n_neighbors": 4, "temperature": 0.1, "memory_budget": "2GiB"}


@pytest.mark.parametrize("value", [0, -1, 2.5, "many"])
def test_odd_numbers_of_neighbors_are_refused(value):
    with pytest.raises(InputError, match=r"n_neighbors is .*; expected a whole number of at least 1"):
        NeighborVote(n_neighbors=value).fit([[1.0], [2.0]], [0, 1])


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        ([[1.0], [float("nan")]], [0, 1], "NaN"),
        ([[1.0]], [0], "minimum of 2"),
        ([[1.0], [2.0]], [0], "inconsistent numbers of samples"),
        ([[1.0], [2.0]], [0.5, 0.25], "continuous"),
        ([1.0, 2.0], [0, 1], "2D array"),
    ],
)
def test_bad_input_is_refused(features, labels, message):
    with pytest.raises(InputError, match=message):
        NeighborVote().fit(features, labels)


def test_planted_noise_is_found():
    features, labels, truth = blobs(1500, k=4, seed=3)
    detector = NeighborVote().fit(features, labels)
    is_wrong = labels != truth
    assert average_precision(detector.clean_scores_, is_wrong) > 0.9
    assert (detector.suggested_labels_[is_wrong] == truth[is_wrong]).mean() > 0.9
