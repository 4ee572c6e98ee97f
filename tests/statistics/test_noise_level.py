"""Few rows: errors between single pairs of classes are found, clean labels left alone, a mean level."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from tamis.statistics.noise_fit import best_start, has_few_rows, objective, prior_for, with_level
from tamis.statistics.noise_level import at_mean_level
from tamis.statistics.noise_model import NoiseModel
from tamis.statistics.noise_posterior import fit_noise_model


def _gaussians(n: int, k: int, gap: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    true = np.arange(n) % k
    x = np.random.default_rng(seed).normal(size=(n, k)) + gap * np.eye(k)[true]
    return true, gap * x - logsumexp(gap * x, axis=1, keepdims=True)


def _rate(model: NoiseModel, log_probs: np.ndarray, given: np.ndarray) -> float:
    return float((1 - model.label_probs([log_probs], given)).mean())


def test_few_rows_are_fewer_than_fifty_a_cell() -> None:
    assert has_few_rows(4999, 10)
    assert not has_few_rows(5000, 10)
    assert not has_few_rows(5000, 100)
    assert has_few_rows(4999, 100)
    assert not has_few_rows(200, 2)


@pytest.mark.parametrize("n", [300, 900])
def test_pair_flips_are_found_in_few_rows(n: int) -> None:
    true, log_probs = _gaussians(n, 8, 3.0, seed=n)
    is_wrong = np.random.default_rng(1).random(n) < 0.2
    given = np.where(is_wrong, (true + 1) % 8, true)
    model = fit_noise_model([log_probs], given)
    assert _rate(model, log_probs, given) == pytest.approx(is_wrong.mean(), abs=0.05)
    score = model.label_probs([log_probs], given)
    assert score[is_wrong].mean() < 0.25 < 0.85 < score[~is_wrong].mean()


@pytest.mark.parametrize("gap", [2.5, 4.0])
def test_clean_labels_of_few_rows_are_left_alone(gap: float) -> None:
    true, log_probs = _gaussians(600, 8, gap, seed=3)
    assert _rate(fit_noise_model([log_probs], true), log_probs, true) < 0.02


def test_mean_level_lies_between_the_levels_and_is_as_probable() -> None:
    true, log_probs = _gaussians(400, 6, 3.0, seed=4)
    given = np.where(np.random.default_rng(2).random(400) < 0.2, (true + 1) % 6, true)
    evidence, labels = [torch.from_numpy(log_probs)], torch.from_numpy(given)
    prior = prior_for(evidence, labels)
    best = best_start(evidence, labels, 0.0, 100)
    mean = at_mean_level(best, evidence, labels, prior)
    assert float(mean.uniform_logit) < -10
    assert 0.1 < _rate(mean, log_probs, given) < 0.3
    assert objective(mean, evidence, labels, prior) < objective(best, evidence, labels, prior) + 0.02


def test_with_level_moves_the_diagonal_only() -> None:
    true, log_probs = _gaussians(100, 3, 3.0, seed=5)
    model = best_start([torch.from_numpy(log_probs)], torch.from_numpy(true), 0.2, 5)
    moved = with_level(model, 2.5)
    assert float(moved.affinity.diagonal().mean()) == pytest.approx(2.5)
    is_off = ~torch.eye(3, dtype=torch.bool)
    assert torch.equal(moved.affinity[is_off], model.affinity[is_off])
    assert moved.uniform_share < 1e-4


def test_prior_of_few_rows_fades_into_that_of_many() -> None:
    few, many = (prior_for([torch.zeros(n, 4, dtype=torch.float64)], torch.arange(n) % 4) for n in (400, 800))
    assert few.mixing == pytest.approx(4 * many.mixing)
    assert few.scale is not None and many.scale is None
    # Evidence that says nothing has no weight to believe in.
    assert math.isfinite(few.log_sharpness)


def test_renumbered_classes_of_few_rows() -> None:
    true, log_probs = _gaussians(300, 5, 3.0, seed=6)
    given = np.where(np.random.default_rng(3).random(300) < 0.2, (true + 1) % 5, true)
    new = np.array([2, 0, 3, 4, 1])
    renamed = np.empty_like(log_probs)
    renamed[:, new] = log_probs
    one = fit_noise_model([log_probs], given).posterior([log_probs], given)
    two = fit_noise_model([renamed], new[given]).posterior([renamed], new[given])
    assert np.allclose(one, two[:, new], atol=5e-3)
