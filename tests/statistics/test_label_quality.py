"""Label quality scores: by hand, against loops and the reference package, properties, edges, noise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tamis.errors import InputError
from tamis.metrics.ranking import average_precision
from tamis.statistics.confident_joint import confident_thresholds
from tamis.statistics.label_quality import (
    adjust_probabilities,
    confidence_weighted_entropy,
    normalized_margin,
    self_confidence,
)

SCORES = [self_confidence, normalized_margin, confidence_weighted_entropy]


def draw(n, k, seed=0, concentration=0.5):
    rng = np.random.default_rng(seed)
    return rng.integers(0, k, n), rng.dirichlet(np.full(k, concentration), n)


def loop_score(name, label, row):
    """Write the definitions out for one row."""
    others = [value for place, value in enumerate(row) if place != label]
    if name == "self_confidence":
        return row[label]
    if name == "normalized_margin":
        return (row[label] - max(others) + 1) / 2
    entropy = -sum(value * math.log(value) for value in row if value > 0)
    z = entropy / math.log(len(row)) / max(row[label], 1e-6)
    if z < 1e-6 and row[label] >= max(row):
        return 1.0
    return math.log1p(z) / max(z, 1e-6)


def test_by_hand():
    labels, probs = [0, 2], [[0.5, 0.25, 0.25], [0.5, 0.25, 0.25]]
    assert self_confidence(labels, probs).tolist() == [0.5, 0.25]
    assert normalized_margin(labels, probs).tolist() == [0.625, 0.375]
    # H = 1.5 ln 2; divided by ln 3 and by the given label's probability.
    z = [1.5 * math.log(2) / math.log(3) / given for given in (0.5, 0.25)]
    expected = [math.log(1 + value) / value for value in z]
    np.testing.assert_allclose(confidence_weighted_entropy(labels, probs), expected, rtol=1e-14)


@pytest.mark.parametrize("score", SCORES)
def test_against_loops(score):
    labels, probs = draw(200, 5, concentration=0.05)
    expected = [
        loop_score(score.__name__, label, row) for label, row in zip(labels, probs.tolist(), strict=True)
    ]
    np.testing.assert_allclose(score(labels, probs), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_against_the_reference_package(seed):
    rank = pytest.importorskip("cleanlab.rank")
    k = 2 + seed
    labels, probs = draw(300, k, seed)
    labels[:k] = np.arange(k)
    for score in (self_confidence, normalized_margin):
        expected = rank.get_label_quality_scores(labels, probs, method=score.__name__)
        np.testing.assert_allclose(score(labels, probs), expected, rtol=0, atol=1e-12)
        expected = rank.get_label_quality_scores(labels, probs, method=score.__name__, adjust_pred_probs=True)
        adjusted = score(labels, adjust_probabilities(labels, probs))
        np.testing.assert_allclose(adjusted, expected, rtol=0, atol=1e-12)
    expected = rank.get_label_quality_scores(labels, probs, method="confidence_weighted_entropy")
    ours = confidence_weighted_entropy(labels, probs, compat=True)
    np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-9)


@given(st.integers(1, 40), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_range_row_order_and_class_order(n, k, seed):
    labels, probs = draw(n, k, seed)
    rng = np.random.default_rng(seed)
    rows, columns = rng.permutation(n), rng.permutation(k)
    renamed = np.argsort(columns)[labels]
    for score in SCORES:
        values = score(labels, probs).numpy()
        assert (values >= 0.0).all()
        assert (values <= 1.0).all()
        np.testing.assert_array_equal(score(labels[rows], probs[rows]), values[rows])
        np.testing.assert_allclose(score(renamed, probs[:, columns]), values, rtol=0, atol=1e-12)


@pytest.mark.parametrize("score", SCORES)
def test_float32_agrees_with_float64(score):
    labels, probs = draw(100, 7)
    single = score(labels, torch.from_numpy(probs).float())
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single, score(labels, probs), rtol=0, atol=1e-5)


def test_self_confidence_rises_with_the_given_probability():
    given_probs = np.linspace(0, 1, 11)
    probs = np.stack([given_probs, 1 - given_probs], axis=1)
    assert (np.diff(self_confidence(np.zeros(11, dtype=int), probs)) > 0).all()


def test_confident_predictions_get_the_limit_where_they_agree():
    labels = [0, 0, 2, 1]
    probs = [[1, 0, 0], [0, 1, 0], [1 / 3, 1 / 3, 1 / 3], [0.5, 0.5, 0]]
    ours = confidence_weighted_entropy(labels, probs)
    official = confidence_weighted_entropy(labels, probs, compat=True)
    assert ours[0] == 1.0
    assert official[0] == 0.0
    assert ours[1] == official[1] == 0.0
    assert torch.equal(ours[2:], official[2:])


def test_the_limit_is_continuous():
    # The score for a nearly confident right label must not fall when the prediction becomes fully confident.
    tails = [0.0, 1e-12, 1e-9, 1e-8, 1e-7, 1e-6]
    values = confidence_weighted_entropy([0] * len(tails), [[1 - tail, tail] for tail in tails])
    assert (values > 0.99).all()


def test_one_class():
    for score in SCORES:
        assert score([0, 0], [[1.0], [1.0]]).tolist() == [1.0, 1.0]


def test_adjusted_by_hand_and_with_an_absent_class():
    # Thresholds 0.75 and 0.5: the second column gains 0.25 before rows are divided by their sums.
    adjusted = adjust_probabilities([0, 1], [[0.75, 0.25], [0.5, 0.5]])
    np.testing.assert_allclose(adjusted, [[0.75 / 1.25, 0.5 / 1.25], [0.5 / 1.25, 0.75 / 1.25]], rtol=1e-14)
    labels, probs = draw(50, 3)
    labels[labels == 2] = 0
    adjusted = adjust_probabilities(labels, probs)
    assert bool(torch.isfinite(adjusted).all())
    np.testing.assert_allclose(adjusted.sum(dim=1), 1.0, rtol=1e-14)


def test_adjusting_takes_given_thresholds():
    labels, probs = draw(80, 4)
    thresholds = confident_thresholds(labels, probs)
    first, second = (
        adjust_probabilities(labels[:30], probs[:30], thresholds),
        adjust_probabilities(labels, probs),
    )
    np.testing.assert_array_equal(first, second[:30])


@pytest.mark.parametrize("score", [*SCORES, adjust_probabilities])
def test_bad_input_is_refused(score):
    with pytest.raises(InputError, match="look like logits"):
        score([0], [[2.0, -3.0]])
    with pytest.raises(InputError, match=r"legal are 0\.\.1"):
        score([2], [[0.5, 0.5]])


@pytest.mark.parametrize(("score", "at_least"), [(self_confidence, 0.9), (normalized_margin, 0.9)])
def test_planted_noise_is_found(score, at_least):
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 5, 2000)
    logits = rng.normal(size=(2000, 5)) + 4 * np.eye(5)[truth]
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    is_wrong = rng.random(2000) < 0.2
    labels = np.where(is_wrong, (truth + rng.integers(1, 5, 2000)) % 5, truth)
    assert average_precision(score(labels, probs).numpy(), is_wrong) > at_least
