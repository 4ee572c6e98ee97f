"""Sample weights from a small trusted set."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tamis.detectors import DETECTORS
from tamis.detectors.trusted_weights import TrustedWeights, odds_weights
from tamis.errors import InputError, NotFittedError
from tamis.metrics.ranking import auroc


def planted(n=900, k=4, d=6, seed=0, rate=0.3, n_trusted=150):
    """Return features, given labels with planted flips, a trusted mask among the right ones, the errors."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, k, n)
    features = rng.normal(size=(k, d))[truth] * 2.5 + rng.normal(size=(n, d))
    labels = np.where(rng.random(n) < rate, (truth + rng.integers(1, k, n)) % k, truth)
    is_wrong = labels != truth
    trusted = np.zeros(n, dtype=bool)
    trusted[rng.choice(np.flatnonzero(~is_wrong), n_trusted, replace=False)] = True
    return features, labels, trusted, is_wrong


def test_is_registered():
    assert DETECTORS.get("trusted_weights") is TrustedWeights
    assert DETECTORS.facts("trusted_weights").inputs == ("features", "trusted")


def test_weights_by_hand():
    weights = odds_weights(torch.log(torch.tensor([0.5, 1.0, 2.0, 9.0])), max_weight=2.5)
    np.testing.assert_allclose(weights, np.array([0.5, 1.0, 2.0, 2.5]) / 1.5, rtol=1e-6)
    assert odds_weights(torch.full((3,), -1e4)).tolist() == [1.0, 1.0, 1.0]
    with pytest.raises(InputError, match="max_weight is 0"):
        odds_weights(torch.zeros(1), max_weight=0)


def test_planted_errors_get_lower_weights():
    features, labels, trusted, is_wrong = planted()
    detector = TrustedWeights().fit(features, labels, trusted)
    rest = ~trusted
    assert auroc(detector.clean_scores_[rest], is_wrong[rest]) > 0.95
    assert detector.weights_[is_wrong].mean() < 0.5 < 1.0 < detector.weights_[~is_wrong].mean()
    np.testing.assert_allclose(detector.weights_.mean(), 1.0)
    assert (detector.weights_ >= 0).all()
    assert ((detector.clean_scores_ >= 0) & (detector.clean_scores_ <= 1)).all()
    np.testing.assert_array_equal(detector.suggested_labels_[trusted], labels[trusted])


def test_order_class_names_and_blocks_do_not_matter():
    features, labels, trusted, _ = planted(n=300)
    first = TrustedWeights(prior=0.3).fit(features, labels, trusted)
    order = np.random.default_rng(1).permutation(300)
    second = TrustedWeights(prior=0.3, memory_budget="1MiB").fit(
        features[order], labels[order], trusted[order]
    )
    np.testing.assert_allclose(second.clean_scores_, first.clean_scores_[order], rtol=0, atol=1e-5)
    np.testing.assert_allclose(second.weights_, first.weights_[order], rtol=0, atol=1e-4)
    names = np.array(["zebra", "ant", "mole", "bee"])
    third = TrustedWeights(prior=0.3).fit(features, names[labels], trusted)
    np.testing.assert_allclose(third.clean_scores_, first.clean_scores_, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(third.suggested_labels_, names[first.suggested_labels_])


def test_a_random_trusted_set_of_clean_data_gives_near_constant_weights():
    features, labels, _, _ = planted(n=2000, rate=0.0)
    trusted = np.random.default_rng(0).random(2000) < 0.5
    detector = TrustedWeights(prior=0.5).fit(features, labels, trusted)
    assert detector.weights_.std() < 0.15


def test_one_class_lone_members_and_useless_features():
    trusted = np.arange(6) < 3
    assert np.isfinite(TrustedWeights().fit(np.ones((6, 2)), [0, 1] * 3, trusted).weights_).all()
    rng = np.random.default_rng(0)
    alone = TrustedWeights().fit(rng.normal(size=(6, 2)), ["a"] * 6, trusted)
    assert np.isfinite(alone.clean_scores_).all()
    lone = TrustedWeights().fit(rng.normal(size=(6, 2)), [0, 0, 0, 0, 0, 1], trusted)
    assert np.isfinite(lone.weights_).all()


def test_results_before_fit():
    with pytest.raises(NotFittedError, match=r"TrustedWeights\.weights_ is a result"):
        _ = TrustedWeights().weights_


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trusted": [1, 0, 1, 0]}, r"trusted has shape \(4,\) and dtype int64; expected \(4,\) bool"),
        ({"trusted": [True] * 3}, r"trusted has shape \(3,\)"),
        ({"trusted": [True] * 4}, "trusted is True for 4 of 4 rows"),
        ({"trusted": [False] * 4}, "trusted is True for 0 of 4 rows"),
        ({"features": [[np.nan], [1.0], [2.0], [3.0]]}, "contains NaN"),
        ({"labels": [0.5, 0.1, 0.2, 0.3]}, "Unknown label type"),
    ],
)
def test_bad_input_is_refused(change, message):
    good = {
        "features": [[0.0], [1.0], [2.0], [3.0]],
        "labels": [0, 0, 1, 1],
        "trusted": [True, False, True, False],
    }
    with pytest.raises(InputError, match=message):
        TrustedWeights().fit(**(good | change))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prior": 1.5}, "prior is 1.5"),
        ({"pooling": -1.0}, "pooling is -1.0"),
        ({"max_weight": 0.0}, "max_weight is 0.0"),
        ({"shrinkage": -1.0}, "shrinkage is -1.0"),
        ({"memory_budget": "many"}, "memory_budget 'many' is not a size"),
    ],
)
def test_odd_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        TrustedWeights(**settings).fit([[0.0], [1.0], [2.0]], [0, 0, 1], [True, False, False])
