"""The confident joint: thresholds, counts, streaming, calibration and latent estimates."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tamis.errors import InputError, NotFittedError
from tamis.statistics.confident_joint import (
    ConfidentJointCounts,
    ConfidentThresholds,
    confident_guesses,
    confident_joint,
    confident_thresholds,
)
from tamis.statistics.latent import (
    calibrate_joint,
    estimate_latent,
    expected_errors,
    joint_distribution,
)


def draw(n, k, seed=0, concentration=0.5):
    """Return labels drawn from the probabilities themselves: about what a calibrated model predicts."""
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.full(k, concentration), n)
    labels = (rng.random((n, 1)) > probs.cumsum(axis=1)[:, :-1]).sum(axis=1)
    return labels, probs


def counts_of(labels, k):
    return torch.bincount(torch.as_tensor(labels), minlength=k)


def slow_joint(labels, probs):
    """Follow the definition row by row."""
    k = probs.shape[1]
    thresholds = [probs[labels == c, c].mean() if (labels == c).any() else 2.0 for c in range(k)]
    joint = np.zeros((k, k), dtype=int)
    for label, row in zip(labels, probs, strict=True):
        confident = [c for c in range(k) if row[c] >= max(thresholds[c], 2e-6) - 1e-6]
        if confident:
            joint[label, confident[0] if len(confident) == 1 else row.argmax()] += 1
    np.fill_diagonal(joint, joint.diagonal().clip(min=1))
    return thresholds, joint


def test_by_hand():
    # Thresholds: (0.9 + 0.7) / 2 = 0.8 and (0.6 + 0.8) / 2 = 0.7. Row 1 reaches neither and is not counted.
    labels = [0, 0, 1, 1, 0]
    probs = [[0.9, 0.1], [0.7, 0.3], [0.4, 0.6], [0.2, 0.8], [0.8, 0.2]]
    assert confident_thresholds(labels, probs).tolist() == pytest.approx([0.8, 0.7], abs=1e-15)
    assert confident_joint(labels, probs).tolist() == [[2, 0], [0, 1]]


def test_several_confident_classes_take_the_largest_of_all():
    thresholds = torch.tensor([0.2, 0.2, 0.9])
    probs = torch.tensor([[0.25, 0.3, 0.45], [0.3, 0.6, 0.1], [0.1, 0.1, 0.8], [0.0, 0.05, 0.95]])
    # Row 0: classes 0 and 1 are confident, but the most likely of all is 2.
    assert confident_guesses(probs, thresholds).tolist() == [2, 1, -1, 2]


def test_the_slack_below_a_threshold():
    thresholds = torch.tensor([0.5, 2.0], dtype=torch.float64)
    probs = torch.tensor([[0.5 - 0.9e-6, 0.5 + 0.9e-6], [0.5 - 1.1e-6, 0.5 + 1.1e-6]], dtype=torch.float64)
    assert confident_guesses(probs, thresholds).tolist() == [0, -1]


@pytest.mark.parametrize("seed", range(6))
def test_against_the_slow_reference(seed):
    labels, probs = draw(120, 2 + seed, seed)
    thresholds, joint = slow_joint(labels, probs)
    np.testing.assert_allclose(confident_thresholds(labels, probs), thresholds, rtol=1e-13)
    np.testing.assert_array_equal(confident_joint(labels, probs), joint)


@pytest.mark.parametrize("seed", range(20))
def test_against_the_reference_package(seed):
    count = pytest.importorskip("cleanlab.count")
    rng = np.random.default_rng(seed)
    k, n = int(rng.integers(2, 9)), int(rng.integers(8, 150))
    labels, probs = draw(n, k, seed, concentration=rng.choice([0.2, 0.5, 2.0]))
    per_label = counts_of(labels, k)
    raw = confident_joint(labels, probs)
    np.testing.assert_allclose(
        confident_thresholds(labels, probs), count.get_confident_thresholds(labels, probs), rtol=1e-13
    )
    np.testing.assert_array_equal(raw, count.compute_confident_joint(labels, probs, calibrate=False))
    calibrated = calibrate_joint(raw, per_label, compat=True)
    np.testing.assert_array_equal(calibrated, count.compute_confident_joint(labels, probs))
    for method in ("cnt", "marginal", "marginal_ps", "eqn"):
        try:
            expected = count.estimate_latent(calibrated.numpy(), labels, py_method=method)
        except np.linalg.LinAlgError:
            continue  # "eqn" with an absent class: no answer there, a least-squares one here
        for ours, theirs in zip(
            estimate_latent(calibrated, per_label, prior_method=method), expected, strict=True
        ):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9)


@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_blocks_and_the_order_of_merging_do_not_change_a_bit(seed, blocks):
    labels, probs = draw(60, 4, seed)
    rng = np.random.default_rng(seed)
    parts = np.array_split(rng.permutation(60), blocks)
    whole = ConfidentThresholds(4).partial_fit(labels, probs)
    merged = ConfidentThresholds(4)
    for part in parts:
        merged.merge(ConfidentThresholds(4).partial_fit(labels[part], probs[part]))
    assert torch.equal(whole.values, merged.values)
    assert torch.equal(whole.label_counts, merged.label_counts)
    counts = ConfidentJointCounts(merged.values)
    for part in reversed(parts):
        counts.merge(ConfidentJointCounts(merged.values).partial_fit(labels[part], probs[part]))
    assert torch.equal(counts.counts, confident_joint(labels, probs))


@given(st.integers(0, 2**32 - 1))
def test_renamed_classes_permute_the_matrices(seed):
    labels, probs = draw(80, 5, seed)
    columns = np.random.default_rng(seed).permutation(5)
    renamed = np.argsort(columns)[labels]
    raw, moved = confident_joint(labels, probs), confident_joint(renamed, probs[:, columns])
    assert torch.equal(moved, raw[columns][:, columns])
    kept = calibrate_joint(raw, counts_of(labels, 5), rounded=False)
    turned = calibrate_joint(moved, counts_of(renamed, 5), rounded=False)
    np.testing.assert_allclose(turned, kept[columns][:, columns], rtol=1e-12)


@given(st.integers(0, 2**32 - 1), st.integers(1, 7), st.integers(1, 90))
def test_totals_and_columns(seed, k, n):
    labels, probs = draw(n, k, seed)
    per_label = counts_of(labels, k)
    raw = confident_joint(labels, probs)
    for rounded in (True, False):
        calibrated = calibrate_joint(raw, per_label, rounded=rounded)
        np.testing.assert_allclose(calibrated.double().sum(dim=1), per_label.double(), rtol=1e-12)
        latent = estimate_latent(calibrated, per_label)
        assert float(latent.prior.sum()) == pytest.approx(1.0, abs=1e-12)
        for matrix in (latent.noise_matrix, latent.inverse_noise_matrix):
            sums = matrix.sum(dim=0)
            assert bool(((sums - 1.0).abs() < 1e-12).logical_or(sums == 0).all())
    assert 0 <= expected_errors(calibrate_joint(raw, per_label)) <= n


def test_perfect_predictions():
    labels = np.array([0, 0, 1, 2, 2, 2])
    raw = confident_joint(labels, np.eye(3)[labels])
    assert raw.tolist() == [[2, 0, 0], [0, 1, 0], [0, 0, 3]]
    calibrated = calibrate_joint(raw, counts_of(labels, 3))
    assert expected_errors(calibrated) == 0
    np.testing.assert_allclose(estimate_latent(calibrated, counts_of(labels, 3)).prior, [1 / 3, 1 / 6, 1 / 2])


def test_an_absent_class_stays_in_the_matrices():
    labels, probs = draw(40, 4, seed=1)
    labels[labels == 2] = 0
    thresholds = confident_thresholds(labels, probs)
    assert thresholds[2] == 2.0
    raw = confident_joint(labels, probs)
    assert raw[2].tolist() == [0, 0, 1, 0]
    assert raw[:, 2].tolist() == [0, 0, 1, 0]
    calibrated = calibrate_joint(raw, counts_of(labels, 4))
    assert calibrated[2].tolist() == [0, 0, 0, 0]
    for method in ("cnt", "eqn", "marginal", "marginal_ps"):
        latent = estimate_latent(calibrated, counts_of(labels, 4), prior_method=method)
        assert bool(torch.isfinite(latent.prior).all())


def test_one_class_one_row():
    assert confident_joint([0], [[1.0]]).tolist() == [[1]]
    assert joint_distribution(torch.tensor([[1]])).tolist() == [[1.0]]
    assert confident_joint([1], [[0.7, 0.3]]).tolist() == [[1, 0], [0, 1]]


def test_a_class_the_model_never_predicts():
    # The mean is 0: the floor keeps rows with probability 0 from counting as confident in everything.
    thresholds = confident_thresholds([0, 1], [[1.0, 0.0], [1.0, 0.0]])
    assert thresholds.tolist() == [1.0, 2e-6]
    assert confident_joint([0, 1], [[1.0, 0.0], [1.0, 0.0]]).tolist() == [[1, 0], [1, 1]]


def test_bad_use_is_refused():
    with pytest.raises(InputError, match="2 and 3 classes cannot be merged"):
        ConfidentThresholds(2).merge(ConfidentThresholds(3))
    with pytest.raises(InputError, match="n_classes is 0"):
        ConfidentThresholds(0)
    with pytest.raises(InputError, match="3 columns, the state was made for 2"):
        ConfidentThresholds(2).partial_fit([0], [[0.2, 0.3, 0.5]])
    first, second = (
        ConfidentJointCounts(torch.tensor([0.5, 0.6])),
        ConfidentJointCounts(torch.tensor([0.5, 0.7])),
    )
    with pytest.raises(InputError, match="other thresholds"):
        first.merge(second)
    with pytest.raises(NotFittedError, match="call partial_fit first"):
        _ = first.counts
    with pytest.raises(InputError, match="take them from ConfidentThresholds"):
        ConfidentJointCounts(torch.tensor([0.0, 0.5]))
    with pytest.raises(InputError, match=r"shape \(2, 2\) but label_counts has 3"):
        calibrate_joint(torch.ones(2, 2), torch.ones(3))
    with pytest.raises(InputError, match="zero everywhere"):
        calibrate_joint(torch.ones(2, 2), torch.zeros(2))
    with pytest.raises(InputError, match="prior_method is 'median'; legal are 'cnt'"):
        estimate_latent(torch.ones(2, 2), torch.ones(2), prior_method="median")


def test_noise_rates_of_noisy_data_are_recovered():
    rng = np.random.default_rng(0)
    transition = np.array([[0.8, 0.2, 0.0], [0.0, 0.9, 0.1], [0.3, 0.0, 0.7]])  # P(given | true), rows true
    truth = rng.choice(3, 20_000, p=[0.5, 0.3, 0.2])
    labels = (rng.random((20_000, 1)) > transition.cumsum(axis=1)[truth][:, :-1]).sum(axis=1)
    logits = rng.normal(size=(20_000, 3)) + 5 * np.eye(3)[truth]
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    per_label = counts_of(labels, 3)
    calibrated = calibrate_joint(confident_joint(labels, probs), per_label)
    latent = estimate_latent(calibrated, per_label)
    np.testing.assert_allclose(latent.noise_matrix, transition.T, atol=0.03)
    np.testing.assert_allclose(latent.prior, [0.5, 0.3, 0.2], atol=0.02)
    assert expected_errors(calibrated) / 20_000 == pytest.approx((labels != truth).mean(), abs=0.02)
