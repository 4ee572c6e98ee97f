"""Two Gaussians on the line: scikit-learn's numbers on few values, nearly the same from bins on many."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.mixture import GaussianMixture

from tamis.errors import InputError
from tamis.statistics.two_gaussians import (
    TwoGaussians,
    fit_histogram,
    fit_two_gaussians,
    split_into_two_means,
)
from tamis.statistics.value_histogram import Points, ValueHistogram

ROOT = Path(__file__).resolve().parents[2]


def losses(n, seed=0):
    rng = np.random.default_rng(seed)
    is_wrong = rng.random(n) < 0.3
    return np.where(is_wrong, np.abs(rng.normal(4, 1.5, n)), rng.exponential(0.1, n)), is_wrong


def test_posteriors_by_hand():
    mixture = TwoGaussians(np.array([0.0, 3.0]), np.array([1.0, 4.0]), np.array([0.25, 0.75]), 1, True)
    values = np.array([-50.0, 0.0, 1.5, 50.0])
    low, high = 0.25 * norm.pdf(values), 0.75 * norm.pdf(values, 3, 2)
    np.testing.assert_allclose(mixture.low_posterior(values), low / (low + high), atol=1e-12)
    np.testing.assert_allclose(mixture.low_posterior(values) + mixture.high_posterior(values), 1.0)
    # The wide component wins at both ends.
    assert mixture.low_posterior([-50.0, 0.0, 50.0]).round(3).tolist() == [0.0, 0.673, 0.0]


@pytest.mark.parametrize("options", [{}, {"max_iter": 10, "tol": 1e-2, "reg_covar": 5e-4}, {"n_init": 3}])
def test_few_values_are_those_of_scikit_learn(options):
    values, _ = losses(400)
    peer = GaussianMixture(2, random_state=0, **options).fit(np.sort(values)[:, None])
    order = peer.means_[:, 0].argsort()
    fitted = fit_two_gaussians(values, **options)
    np.testing.assert_allclose(fitted.means, peer.means_[order, 0], rtol=1e-12)
    np.testing.assert_allclose(fitted.variances, peer.covariances_[order, 0, 0], rtol=1e-12)
    np.testing.assert_allclose(fitted.weights, peer.weights_[order], rtol=1e-12)
    assert (fitted.n_iter, fitted.is_converged) == (peer.n_iter_, peer.converged_)
    posterior = peer.predict_proba(values[:, None])[:, order[0]]
    np.testing.assert_allclose(fitted.low_posterior(values), posterior, atol=1e-9)


@pytest.mark.parametrize("tol", [1e-2, 1e-8])
@pytest.mark.parametrize("is_score", [False, True])
def test_bins_against_every_value(tol, is_score):
    values, _ = losses(30_000)
    if is_score:
        values = 1 - values / values.max()
    ordered = np.sort(values)
    place = split_into_two_means(Points(np.ones(len(ordered)), ordered, np.zeros(len(ordered))))
    parts = ordered[:place], ordered[place:]
    peer = GaussianMixture(
        2,
        tol=tol,
        max_iter=5000,
        weights_init=[len(part) / len(values) for part in parts],
        means_init=[[part.mean()] for part in parts],
        precisions_init=[[[1 / (part.var() + 1e-6)]] for part in parts],
    ).fit(values[:, None])
    posterior = peer.predict_proba(values[:, None])[:, peer.means_[:, 0].argmin()]
    fitted = fit_two_gaussians(values, tol=tol, max_iter=5000, exact_values=0)
    assert fitted.n_iter == peer.n_iter_
    np.testing.assert_allclose(fitted.low_posterior(values), posterior, atol=1e-4)


def test_streamed_values_give_the_same_mixture():
    values, _ = losses(3000)
    exact = ValueHistogram().partial_fit(values)
    assert fit_histogram(exact).means.tolist() == fit_two_gaussians(values).means.tolist()
    one = fit_histogram(ValueHistogram(exact_values=0).partial_fit(values), tol=1e-6)
    two = ValueHistogram(exact_values=0).partial_fit(values[:100])
    two.merge(ValueHistogram(exact_values=0).partial_fit(values[100:]))
    many = fit_histogram(two, tol=1e-6)
    np.testing.assert_allclose(many.low_posterior(values), one.low_posterior(values), atol=1e-9)
    whole = fit_two_gaussians(values, tol=1e-6)
    np.testing.assert_allclose(one.means, whole.means, rtol=1e-2)


@pytest.mark.parametrize("exact_values", [0, 10_000])
def test_order_shift_and_scale(exact_values):
    values, _ = losses(2000)
    options = {"tol": 1e-6, "max_iter": 1000, "exact_values": exact_values}
    fitted = fit_two_gaussians(values, reg_covar=0.0, **options)
    posterior = fitted.low_posterior(values)
    shuffled = np.random.default_rng(1).permutation(values)
    np.testing.assert_allclose(
        fit_two_gaussians(shuffled, reg_covar=0.0, **options).means, fitted.means, rtol=1e-9
    )
    for factor, shift in ((1e-6, 0.0), (1e5, 3.0), (2.0, -7.0)):
        moved = fit_two_gaussians(values * factor + shift, reg_covar=0.0, **options)
        np.testing.assert_allclose(moved.low_posterior(values * factor + shift), posterior, atol=1e-5)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30), st.booleans())
def test_any_values_give_probabilities(values, is_binned):
    fitted = fit_two_gaussians(values, exact_values=0 if is_binned else 100)
    posterior = fitted.low_posterior(values)
    assert ((posterior >= 0) & (posterior <= 1)).all()
    assert fitted.means[0] <= fitted.means[1]
    assert fitted.weights.sum() == pytest.approx(1.0)


@pytest.mark.parametrize("exact_values", [0, 100])
def test_equal_values_are_one_point(exact_values):
    fitted = fit_two_gaussians([2.0, 2.0, 2.0], exact_values=exact_values)
    assert not fitted.is_separated()
    assert fitted.low_posterior([2.0]).tolist() == [1.0]
    same = fit_histogram(ValueHistogram(exact_values=exact_values).partial_fit([2.0, 2.0, 2.0]))
    assert same.weights.tolist() == [1.0, 0.0]
    two = fit_two_gaussians([0.0, 1.0], exact_values=exact_values)
    assert two.is_separated()
    np.testing.assert_allclose(two.low_posterior([0.0, 1.0]), [1.0, 0.0], atol=1e-6)


def test_split_into_two_means_is_the_best_split():
    rng = np.random.default_rng(0)
    values = np.sort(rng.exponential(1, 40))
    costs = [values[:cut].var() * cut + values[cut:].var() * (40 - cut) for cut in range(1, 40)]
    points = Points(np.ones(40), values, np.zeros(40))
    assert split_into_two_means(points) == int(np.argmin(costs)) + 1


def test_bad_input_is_refused():
    with pytest.raises(InputError, match="values holds 1 numbers"):
        fit_two_gaussians([1.0])
    with pytest.raises(InputError, match="values holds 0 numbers"):
        fit_histogram(ValueHistogram())
    with pytest.raises(InputError, match="values row 0 is inf"):
        fit_two_gaussians([float("inf"), 1.0])
    for options in ({"max_iter": 0}, {"tol": 0.0}, {"reg_covar": -1.0}, {"n_init": 0}):
        with pytest.raises(InputError, match=next(iter(options))):
            fit_two_gaussians([1.0, 2.0], **options)


def test_planted_heaps_are_told_apart():
    for exact_values in (0, 100_000):
        values, is_wrong = losses(20_000, seed=4)
        is_low = fit_two_gaussians(values, exact_values=exact_values).low_posterior(values) > 0.5
        assert (is_low != is_wrong).mean() > 0.95


def test_the_benchmark_runs_on_few_values(monkeypatch, capsys):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    spec = importlib.util.spec_from_file_location("mixture", ROOT / "benchmarks" / "mixture.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(["--n", "3000", "--kinds", "softmax", "score"])
    table = capsys.readouterr().out
    assert "| softmax |" in table
    assert "| score |" in table
    assert module.compare("exponential", 5000, 0, 1e-8)["difference"] < 1e-3
