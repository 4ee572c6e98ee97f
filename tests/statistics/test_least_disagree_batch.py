"""LDM-S: hand numbers, a slow reference, distinct and diverse picks, edges."""

from __future__ import annotations

import numpy as np
import pytest

from tamis.data import feature_digests
from tamis.errors import InputError, TamisWarning
from tamis.statistics.least_disagree_batch import (
    cosine_distances,
    ldm_batch,
    ldm_weights,
    sampling_probabilities,
)


def problem(n=40, d=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(1, 50, n) / 50, rng.normal(size=(n, d))


def test_weights_by_hand():
    # L = 0.2 (position 1): gamma of the far part is 1, exp(-1), exp(-3); their sum becomes 1.
    far = np.exp([0.0, -1.0, -3.0])
    np.testing.assert_allclose(
        ldm_weights([0.4, 0.1, 0.8, 0.2], 1), [*(far / far.sum())[[1]], 1, *(far / far.sum())[[2, 0]]]
    )


@pytest.mark.parametrize("n_query", [1, 5, 39])
def test_weights_have_the_stated_form(n_query):
    ldm, _ = problem()
    weights = ldm_weights(ldm, n_query)
    order = np.argsort(ldm, kind="stable")
    assert ((weights > 0) & (weights <= 1)).all()
    assert (weights[order[:n_query]] == 1).all()
    assert (np.diff(weights[order[n_query:]]) <= 1e-15).all()
    assert (weights[order[n_query:]] <= 1).all()


def test_zeros_and_ones_among_the_values():
    # The level is the smallest positive value where the usual one is 0.
    np.testing.assert_allclose(ldm_weights([0.0, 0.0, 0.5, 0.5], 1), [1, *(np.ones(3) / 3)])
    assert (ldm_weights([0.0, 0.0, 0.0], 2) == 1).all()
    with pytest.warns(TamisWarning, match="diversity alone"):
        weights = ldm_weights([1.0, 1.0, 1.0], 1)
    np.testing.assert_allclose(weights, [1, 0.5, 0.5])


def test_probabilities_against_loops():
    ldm, features = problem()
    weights = ldm_weights(ldm, 4)
    picks = ldm_batch(ldm, features, 4, greedy=True)
    assert picks[0] == ldm.argmin()
    units = features / np.linalg.norm(features, axis=1, keepdims=True)
    for step in range(1, 4):
        score = [weights[i] * min(1 - units[i] @ units[j] for j in picks[:step]) for i in range(40)]
        chances = np.square(score) / np.square(score).sum()
        nearest = np.min([cosine_distances(features, j) for j in picks[:step]], axis=0)
        np.testing.assert_allclose(sampling_probabilities(weights, nearest), chances, atol=1e-9)
        assert picks[step] == chances.argmax()


def test_draws_follow_the_probabilities():
    ldm, features = np.array([0.1, 0.2, 0.3, 0.5]), np.array([[1.0, 0], [0, 1], [-1, 0.1], [-1, -1]])
    weights, nearest = ldm_weights(ldm, 2), cosine_distances(features, 0)
    expected = sampling_probabilities(weights, nearest)
    second = [ldm_batch(ldm, features, 2, random_state=seed)[1] for seed in range(2000)]
    shares = np.bincount(second, minlength=4) / 2000
    np.testing.assert_allclose(shares, expected, atol=0.04)


@pytest.mark.parametrize("greedy", [True, False])
def test_picks_are_distinct_and_copies_are_not_both_picked(greedy):
    ldm, features = problem(30)
    twice = np.vstack([features, features * 2.0])
    picks = ldm_batch(np.concatenate([ldm, ldm]), twice, 30, greedy=greedy)
    assert len(set(picks % 30)) == 30
    more = ldm_batch(np.concatenate([ldm, ldm]), twice, 45, greedy=greedy)
    assert len(set(more)) == 45
    assert len(set(more % 30)) == 30


def test_equal_features_are_filled_by_value():
    ldm = np.array([0.4, 0.1, 0.3, 0.2])
    assert ldm_batch(ldm, np.ones((4, 2)), 3).tolist() == [1, 3, 2]


def test_few_rows_and_one_pick():
    ldm, features = problem(5)
    assert ldm_batch(ldm, features, 9).tolist() == np.argsort(ldm, kind="stable").tolist()
    assert ldm_batch(ldm, features, 5).tolist() == np.argsort(ldm, kind="stable").tolist()
    assert ldm_batch(ldm, features, 1).tolist() == [ldm.argmin()]
    assert ldm_batch(np.zeros(0), np.zeros((0, 2)), 1).tolist() == []


def test_row_order_does_not_matter_with_keys():
    ldm, features = problem(60)
    ldm = np.round(ldm, 1)
    rows = np.random.default_rng(1).permutation(60)
    for greedy in (True, False):
        first = ldm_batch(ldm, features, 12, greedy=greedy, tie_keys=feature_digests(features))
        second = ldm_batch(
            ldm[rows], features[rows], 12, greedy=greedy, tie_keys=feature_digests(features[rows])
        )
        np.testing.assert_array_equal(rows[second], first)


def test_seeds():
    ldm, features = problem(200)
    first = ldm_batch(ldm, features, 20, random_state=1)
    assert (first == ldm_batch(ldm, features, 20, random_state=1)).all()
    assert (first != ldm_batch(ldm, features, 20, random_state=2)).any()


def test_rows_without_direction():
    features = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    np.testing.assert_array_equal(cosine_distances(features, 1), [1, 0, 0])
    assert ldm_batch([0.2, 0.1, 0.3], features, 2, greedy=True).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ldm": [0.1, 1.5, 0.2]}, "ldm row 1 is 1.5; legal are numbers from 0 to 1"),
        ({"ldm": [0.1, np.nan, 0.2]}, "ldm row 1 is nan"),
        ({"ldm": [[0.1]]}, r"ldm has shape \(1, 1\)"),
        ({"features": np.ones((2, 2))}, "features has 2 rows and ldm 3"),
        ({"features": [[1.0], [np.inf], [2.0]]}, "features row 1 holds NaN"),
        ({"n_query": 0}, "n_query is 0"),
        ({"tie_keys": np.ones(3)}, r"tie_keys has shape \(3,\)"),
        ({"random_state": "x"}, "random_state is 'x'"),
    ],
)
def test_bad_input_is_refused(change, message):
    given = {"ldm": [0.1, 0.2, 0.3], "features": np.ones((3, 2)), "n_query": 1} | change
    with pytest.raises(InputError, match=message):
        ldm_batch(**given)
