"""The log normaliser and the concentration of the von Mises-Fisher distribution."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import torch
from scipy.special import ive
from scipy.stats import vonmises_fisher

from tamis.errors import InputError
from tamis.statistics.von_mises_fisher import concentration, log_normaliser


def exact(dimension, kappa):
    """Return log C_d(kappa) by 40-digit arithmetic."""
    with mpmath.workdps(40):
        nu, k = mpmath.mpf(dimension) / 2 - 1, mpmath.mpf(kappa)
        bessel = mpmath.besseli(nu, k)
        return float(
            nu * mpmath.log(k) - mpmath.mpf(dimension) / 2 * mpmath.log(2 * mpmath.pi) - mpmath.log(bessel)
        )


def test_by_hand():
    kappa = torch.tensor([0.5, 3.0, 20.0], dtype=torch.float64)
    # d = 1: two points; d = 3: kappa / (4 pi sinh kappa).
    np.testing.assert_allclose(log_normaliser(kappa, 1), -torch.log(2 * torch.cosh(kappa)), atol=1e-11)
    np.testing.assert_allclose(
        log_normaliser(kappa, 3), torch.log(kappa / (4 * np.pi * torch.sinh(kappa))), atol=1e-11
    )


@pytest.mark.parametrize("dimension", [1, 2, 5, 16, 40, 63, 64, 65, 66, 500, 4096])
def test_against_many_digits(dimension):
    kappa = [1e-6, 0.3, 7.0, 14.0, 60.0, 1e3, 1e5]
    got = log_normaliser(torch.tensor(kappa, dtype=torch.float64), dimension)
    np.testing.assert_allclose(got, [exact(dimension, k) for k in kappa], rtol=1e-12, atol=1e-10)


def test_against_scipy():
    rng = np.random.default_rng(0)
    mean, point = np.eye(6)[0], rng.normal(size=6)
    point /= np.linalg.norm(point)
    got = log_normaliser(torch.tensor([4.2], dtype=torch.float64), 6) + 4.2 * point[0]
    np.testing.assert_allclose(got[0], vonmises_fisher(mean, 4.2).logpdf(point), atol=1e-9)


@pytest.mark.parametrize("dimension", [2, 7, 64, 65, 512])
def test_derivative_and_monotony(dimension):
    """-d log C / d kappa = I_(d/2) / I_(d/2-1); log C falls, log C + kappa rises."""
    kappa = torch.tensor([5.0, 40.0, 300.0, 3000.0], dtype=torch.float64)
    step = 1e-3 * kappa
    slope = (log_normaliser(kappa - step, dimension) - log_normaliser(kappa + step, dimension)) / (2 * step)
    below = ive(dimension / 2 - 1, kappa.numpy())
    is_there = below > 1e-250
    expected = ive(dimension / 2, kappa.numpy())[is_there] / below[is_there]
    np.testing.assert_allclose(slope[is_there], expected, rtol=1e-5)
    grid = torch.linspace(0.0, 2000.0, 500, dtype=torch.float64)
    values = log_normaliser(grid, dimension)
    assert (values.diff() < 0).all()
    assert ((values + grid).diff() > 0).all()


@pytest.mark.parametrize("dimension", [1, 2, 3, 64, 512, 4096])
def test_finite_in_float32_and_uniform_at_zero(dimension):
    kappa = torch.tensor([0.0, 1e-20, 1e-3, 1.0, 100.0, 1e5])
    values = log_normaliser(kappa, dimension)
    assert values.dtype == torch.float32
    assert torch.isfinite(values).all()
    uniform = mpmath.loggamma(dimension / 2) - mpmath.log(2) - dimension / 2 * mpmath.log(mpmath.pi)
    np.testing.assert_allclose(values[0], float(uniform), rtol=1e-6)
    assert log_normaliser(kappa[:5].half(), dimension).dtype == torch.float32
    assert not log_normaliser(kappa.requires_grad_(), dimension).requires_grad


def test_concentration():
    lengths = torch.tensor([0.0, 0.5, 0.9, 1.0, 1.0 + 1e-9], dtype=torch.float64)
    got = concentration(lengths, 64)
    np.testing.assert_allclose(got[:3], [0, 0.5 * 63.75 / 0.75, 0.9 * (64 - 0.81) / 0.19])
    assert got[3:].tolist() == [1e5, 1e5]
    assert concentration(lengths, 64, kappa_min=50, kappa_max=200).tolist()[::3] == [50, 200]
    assert concentration(torch.tensor([1.0]), 1).tolist() == [1e5]


def test_concentration_of_samples():
    for kappa in (20.0, 200.0):
        points = vonmises_fisher(np.eye(16)[0], kappa).rvs(4000, random_state=0)
        length = torch.tensor(np.linalg.norm(points.mean(axis=0)))
        np.testing.assert_allclose(concentration(length, 16), kappa, rtol=0.03)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda: log_normaliser(torch.ones(1), 0), "dimension is 0; expected at least 1"),
        (lambda: log_normaliser(torch.tensor([-1.0]), 3), "negative number or NaN"),
        (lambda: log_normaliser(torch.tensor([torch.nan]), 3), "negative number or NaN"),
        (lambda: concentration(torch.ones(1), 3, kappa_min=-1), "kappa_min is -1"),
        (lambda: concentration(torch.ones(1), 3, kappa_min=2, kappa_max=1), "kappa_max 1"),
    ],
)
def test_bad_input_is_refused(action, message):
    with pytest.raises(InputError, match=message):
        action()
