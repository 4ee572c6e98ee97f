"""The small-loss mixture as a detector: contract, streaming, order, edges, planted noise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture

from tamis.detectors import SmallLoss
from tamis.detectors.small_loss import given_label_loss
from tamis.errors import InputError, NotFittedError
from tamis.metrics.ranking import average_precision

BOTH = pytest.mark.parametrize("per_class", [False, True])


def noisy(n, k, seed=0, rate=0.2):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, k, n)
    logits = rng.normal(size=(n, k)) + 5 * np.eye(k)[truth]
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.where(rng.random(n) < rate, (truth + rng.integers(1, k, n)) % k, truth)
    return labels, probs, truth


def test_losses_by_hand():
    loss = given_label_loss([1, 0, 0], [[0.5, 0.5], [1.0, 0.0], [0.0, 1.0]])
    np.testing.assert_allclose(loss, [np.log(2), 0.0, 708.396], atol=1e-3)


@BOTH
def test_against_scikit_learn(per_class):
    labels, probs, _ = noisy(400, 3)
    detector = SmallLoss(per_class=per_class).fit(labels, probs)
    losses = -np.log(probs[np.arange(400), labels])
    expected = np.empty(400)
    for rows in [labels == c for c in range(3)] if per_class else [labels >= 0]:
        own = losses[rows]
        scaled = ((own - own.min()) / np.ptp(own))[:, None]
        peer = GaussianMixture(2, reg_covar=5e-4, random_state=0).fit(np.sort(scaled, axis=0))
        expected[rows] = peer.predict_proba(scaled)[:, peer.means_[:, 0].argmin()]
    np.testing.assert_allclose(detector.prob_clean_, expected, atol=1e-5)
    np.testing.assert_allclose(np.exp(detector.clean_scores_), detector.prob_clean_)
    np.testing.assert_array_equal(detector.is_issue_, ~(detector.prob_clean_ > 0.5))
    np.testing.assert_array_equal(detector.suggested_labels_, probs.argmax(1))
    assert len(detector.mixtures_) == (3 if per_class else 1)


@BOTH
def test_rows_classes_blocks_and_merging(per_class, monkeypatch):
    labels, probs, _ = noisy(500, 4)
    rows, columns = np.random.default_rng(1).permutation(500), np.array([2, 0, 3, 1])
    for exact_values in (65_536, 60):
        monkeypatch.setattr("tamis.detectors.small_loss.EXACT_VALUES", exact_values)
        first = SmallLoss(per_class=per_class).fit(labels, probs)
        scores = first.clean_scores_
        moved = SmallLoss(per_class=per_class).fit(labels[rows], probs[rows])
        np.testing.assert_allclose(moved.clean_scores_, scores[rows], rtol=1e-7, atol=1e-6)
        renamed = SmallLoss(per_class=per_class).fit(np.argsort(columns)[labels], probs[:, columns])
        np.testing.assert_allclose(renamed.clean_scores_, scores, rtol=1e-7, atol=1e-6)
        parts = [
            SmallLoss(per_class=per_class).partial_fit(labels[a:b], probs[a:b])
            for a, b in ((0, 7), (7, 300), (300, 500))
        ]
        merged = SmallLoss(per_class=per_class).merge(parts[2]).merge(parts[0]).merge(parts[1])
        np.testing.assert_allclose(merged.score(labels, probs), scores, rtol=1e-7, atol=1e-6)
        streamed = SmallLoss(per_class=per_class)
        for a in range(0, 500, 50):
            streamed.partial_fit(labels[a : a + 50], probs[a : a + 50])
        np.testing.assert_allclose(streamed.score(labels, probs), scores, rtol=1e-7, atol=1e-6)


def test_fitting_again_forgets_and_adding_goes_on():
    labels, probs, _ = noisy(200, 3)
    other = noisy(200, 3, seed=9)[:2]
    detector = SmallLoss().fit(*other).fit(labels, probs)
    np.testing.assert_array_equal(detector.clean_scores_, SmallLoss().fit(labels, probs).clean_scores_)
    both = detector.partial_fit(*other).score(labels, probs)
    whole = SmallLoss().fit(np.concatenate([labels, other[0]]), np.concatenate([probs, other[1]]))
    np.testing.assert_allclose(both, whole.clean_scores_[:200], atol=1e-9)


def test_reading_early_and_wrong_use():
    with pytest.raises(NotFittedError, match="call fit first"):
        _ = SmallLoss().clean_scores_
    with pytest.raises(NotFittedError, match="has seen no rows"):
        SmallLoss().score([0], [[1.0, 0.0]])
    seen = SmallLoss().partial_fit([0, 1], [[0.9, 0.1], [0.2, 0.8]])
    with pytest.raises(InputError, match="has 3 columns, the rows before had 2"):
        seen.partial_fit([0], [[0.5, 0.25, 0.25]])
    with pytest.raises(InputError, match="per_class is True there"):
        seen.merge(SmallLoss(per_class=True))
    assert seen.merge(SmallLoss()) is seen
    for threshold in (1.0, -0.1):
        with pytest.raises(InputError, match="threshold is"):
            SmallLoss(threshold=threshold).fit([0, 1], [[0.9, 0.1], [0.2, 0.8]])
    with pytest.raises(InputError, match="look like logits"):
        SmallLoss().fit([0], [[4.0, -1.0]])


@BOTH
def test_where_there_is_nothing_to_part(per_class):
    same = SmallLoss(per_class=per_class).fit([0, 0, 1], np.full((3, 3), 1 / 3))
    assert same.prob_clean_.tolist() == [1.0] * 3
    assert not same.is_issue_.any()
    assert SmallLoss(per_class=per_class).fit([0], [[0.1, 0.9]]).clean_scores_.tolist() == [0.0]
    tensors = SmallLoss(per_class=per_class).fit(
        torch.tensor([0, 1, 1]), torch.eye(2)[torch.tensor([0, 1, 0])]
    )
    assert tensors.clean_scores_.argmin() == 2 or per_class


@BOTH
def test_planted_noise(per_class):
    labels, probs, truth = noisy(3000, 5, seed=5, rate=0.3)
    detector = SmallLoss(per_class=per_class).fit(labels, probs)
    is_wrong = labels != truth
    assert average_precision(detector.clean_scores_, is_wrong) > 0.9
    assert is_wrong[detector.is_issue_].mean() > 0.85
    assert detector.is_issue_[is_wrong].mean() > 0.85
    assert (detector.suggested_labels_[is_wrong] == truth[is_wrong]).mean() > 0.9
