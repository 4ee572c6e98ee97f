"""Temperatures and biases: against an independent optimiser, by hand, properties, edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax

from tamis.errors import InputError
from tamis.metrics.calibration import expected_calibration_error
from tamis.statistics.temperature import fit_temperature, fit_temperature_and_bias, softmax_with_temperature


def sample(n=400, k=4, seed=0, true_temperature=2.0, bias=None):
    """Return logits, and codes drawn from their softmax at a known temperature and bias."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, k)) * 4
    shift = np.zeros(k) if bias is None else np.asarray(bias)
    noise = rng.gumbel(size=(n, k))
    return logits, np.argmax(logits / true_temperature + shift + noise, axis=1)


def cross_entropy(logits, targets, weights=None):
    return -np.average((targets * log_softmax(logits, axis=1)).sum(axis=1), weights=weights)


def test_by_hand():
    # Three of four rows agree with a logit difference of 1: log(3) = 1 / T.
    logits = np.array([[1.0, 0.0]] * 4)
    assert fit_temperature(logits, np.array([0, 0, 0, 1])) == pytest.approx(1 / np.log(3), rel=1e-9)
    # Weights count rows; code -1 does not count.
    weights = np.array([3.0, 0.0, 1.0, 2.0])
    assert fit_temperature(logits, np.array([0, 0, 1, -1]), weights=weights) == pytest.approx(1 / np.log(3))
    np.testing.assert_allclose(softmax_with_temperature(logits[:1], 1 / np.log(3)), [[0.75, 0.25]])
    np.testing.assert_allclose(softmax_with_temperature(logits[:1], 1.0, np.array([-1.0, 0.0])), [[0.5, 0.5]])


@given(seed=st.integers(0, 1000), scale=st.floats(-3, 3))
def test_temperature_against_an_independent_optimiser(seed, scale):
    logits, codes = sample(60, 3, seed)
    logits = logits * 10**scale
    rng = np.random.default_rng(seed)
    targets = 0.8 * np.eye(3)[codes] + 0.2 * rng.dirichlet(np.ones(3), 60)
    weights = rng.random(60)
    found = minimize_scalar(
        lambda u: cross_entropy(logits * np.exp(u), targets, weights),
        bounds=(-15, 15),
        method="bounded",
        options={"xatol": 1e-10},
    )
    ours = fit_temperature(logits, targets, weights=weights)
    best = cross_entropy(logits / ours, targets, weights)
    assert best <= found.fun + 1e-9
    assert np.log(ours) == pytest.approx(-found.x, abs=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_temperature_and_bias_against_an_independent_optimiser(seed):
    logits, codes = sample(300, 4, seed, bias=[1.0, -1.0, 0.5, 0.0])
    logits += 7.0

    def loss(point):
        fit = log_softmax(logits * point[0] + point[1:], axis=1)[np.arange(300), codes]
        return -fit.sum() + 0.5 * (point[1:] ** 2).sum()

    found = minimize(loss, np.r_[1.0, np.zeros(4)], method="BFGS", options={"gtol": 1e-8})
    temperature, bias = fit_temperature_and_bias(logits, codes)
    np.testing.assert_allclose(np.r_[1 / temperature, bias], found.x, atol=1e-4)


def test_known_temperature_and_bias_are_recovered():
    true_bias = np.array([0.8, -0.5, 0.2, -0.5])
    logits, codes = sample(20_000, 4, bias=true_bias)
    temperature, bias = fit_temperature_and_bias(logits, codes)
    assert temperature == pytest.approx(2.0, rel=0.03)
    np.testing.assert_allclose(bias - bias.mean(), true_bias, atol=0.1)
    plain, codes = sample(20_000, 4)
    assert fit_temperature(plain, codes) == pytest.approx(2.0, rel=0.03)


def test_row_order_class_order_and_scale():
    logits, codes = sample(200, 4)
    order, classes = np.random.default_rng(1).permutation(200), np.array([2, 0, 3, 1])
    first = fit_temperature(logits, codes)
    assert fit_temperature(logits[order], codes[order]) == pytest.approx(first, rel=1e-9)
    assert fit_temperature(logits * 100, codes) == pytest.approx(first * 100, rel=1e-9)
    temperature, bias = fit_temperature_and_bias(logits, codes)
    permuted = fit_temperature_and_bias(logits[order][:, classes], np.argsort(classes)[codes[order]])
    assert permuted[0] == pytest.approx(temperature, rel=1e-7)
    np.testing.assert_allclose(permuted[1], bias[classes], atol=1e-7)
    scaled = fit_temperature_and_bias(logits * 100, codes)
    assert scaled[0] == pytest.approx(temperature * 100, rel=1e-5)


def test_a_subset_of_many_rows_is_enough():
    logits, codes = sample(30_000)
    codes[::2] = -1
    whole, part = fit_temperature(logits, codes), fit_temperature(logits, codes, max_rows=5000)
    assert part == pytest.approx(whole, rel=0.05)
    assert part != whole
    assert fit_temperature(logits, codes, max_rows=15_000) == whole


def test_separable_useless_and_contrary_scores():
    scores = np.array([[1.0, 0.0], [0.0, 1.0]] * 20)
    codes = np.array([0, 1] * 20)
    assert fit_temperature(scores, codes) < 0.01
    assert fit_temperature(scores, 1 - codes) > 100
    temperature, bias = fit_temperature_and_bias(scores, codes)
    assert 0.001 < temperature < 0.2
    assert np.isfinite(bias).all()
    temperature, bias = fit_temperature_and_bias(scores, 1 - codes)
    assert temperature > 100
    np.testing.assert_allclose(softmax_with_temperature(scores, temperature, bias), 0.5, atol=0.01)


def test_equal_scores_and_missing_classes():
    scores, codes = np.ones((12, 3)), np.array([0] * 9 + [1] * 3)
    assert fit_temperature(scores, codes) == 1.0
    temperature, bias = fit_temperature_and_bias(scores, codes)
    assert temperature == 1.0
    assert np.isfinite(bias).all()
    assert bias[0] > bias[1] > bias[2]
    assert fit_temperature(np.ones((3, 1)), np.zeros(3, int)) == 1.0


def test_probabilities_keep_their_precision_and_sum():
    logits, _ = sample(50)
    logits[0] = [1e5, -1e5, 0, 0]
    for kind, answer in ((np.float16, np.float32), (np.float32, np.float32), (np.float64, np.float64)):
        probs = softmax_with_temperature((logits / 10).astype(kind), 0.5)
        assert probs.dtype == answer
        np.testing.assert_allclose(probs.sum(axis=1), 1.0, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logits": np.zeros(3)}, r"logits has shape \(3,\)"),
        ({"targets": np.array([0])}, r"targets \(1,\); expected \(n, K\), and n rows of each"),
        ({"targets": np.array([0, 2])}, "targets row 1 of the block is 2; legal are 0 to 1"),
        ({"targets": np.array([-1, -1])}, "no row counts"),
        ({"logits": np.array([[0.0, 1.0], [np.nan, 0.0]])}, "logits row 1 holds NaN or infinity"),
        ({"weights": np.array([1.0])}, r"weights has shape \(1,\); expected \(2,\)"),
        ({"weights": np.array([1.0, -1.0])}, "numbers of at least 0"),
        ({"weights": np.array([0.0, 0.0])}, "every weight 0"),
        ({"max_rows": 0}, "max_rows is 0"),
    ],
)
def test_bad_input_is_refused(change, message):
    call = {"logits": np.array([[0.0, 1.0], [1.0, 0.0]]), "targets": np.array([0, 1])} | change
    with pytest.raises(InputError, match=message):
        fit_temperature(**call)


def test_bad_softmax_arguments_are_refused():
    logits = np.zeros((2, 3))
    with pytest.raises(InputError, match=r"temperature is 0\.0; expected a number above 0"):
        softmax_with_temperature(logits, 0.0)
    with pytest.raises(InputError, match=r"bias has shape \(2,\); expected one number for each of 3"):
        softmax_with_temperature(logits, 1.0, np.zeros(2))
    with pytest.raises(InputError, match="expected \\(n, K\\) floats"):
        softmax_with_temperature(np.zeros((2, 3), int), 1.0)
    with pytest.raises(InputError, match="above 4096 use fit_temperature"):
        fit_temperature_and_bias(np.zeros((1, 5000)), np.zeros(1, int))


def test_calibration_improves_on_noisy_labels():
    logits, codes = sample(6000, seed=3)
    half = np.arange(6000) < 3000
    temperature = fit_temperature(logits[half], codes[half])
    errors = []
    for value in (1.0, temperature):
        probs = softmax_with_temperature(logits[~half], value)
        errors.append(expected_calibration_error(probs.max(axis=1), probs.argmax(axis=1) == codes[~half]))
    assert errors[1] < 0.03 < errors[0]
