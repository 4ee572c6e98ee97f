"""The split of DivideMix: by hand, against scikit-learn, affine maps, history, what to do where it fails."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from tamis.errors import InputError, TamisWarning
from tamis.statistics.co_divide import CoDivide, co_divide, normalised_losses


def losses(n=300, seed=0, rate=0.3):
    rng = np.random.default_rng(seed)
    is_wrong = rng.random(n) < rate
    return np.where(is_wrong, rng.normal(4, 0.6, n), np.abs(rng.normal(0.3, 0.3, n))), is_wrong


def test_against_the_mixture_of_scikit_learn():
    values, _ = losses()
    scaled = (values - values.min()) / np.ptp(values)
    peer = GaussianMixture(2, max_iter=10, tol=1e-2, reg_covar=5e-4, random_state=3).fit(scaled[:, None])
    expected = peer.predict_proba(scaled[:, None])[:, peer.means_[:, 0].argmin()]
    found = co_divide(values)
    np.testing.assert_allclose(found.prob_clean, expected, atol=1e-6)
    np.testing.assert_array_equal(found.is_clean, expected > 0.5)
    np.testing.assert_allclose(found.normalised, scaled, rtol=1e-12)


def test_affine_maps_order_and_seeds_do_not_matter():
    values, is_wrong = losses()
    found = co_divide(values)
    np.testing.assert_allclose(co_divide(7 * values + 3).prob_clean, found.prob_clean, atol=1e-6)
    rows = np.random.default_rng(1).permutation(len(values))
    np.testing.assert_allclose(co_divide(values[rows]).prob_clean, found.prob_clean[rows], atol=1e-9)
    for seed in range(1, 5):
        np.testing.assert_allclose(
            co_divide(values, random_state=seed).prob_clean, found.prob_clean, atol=1e-3
        )
    assert values[found.is_clean].mean() < values[~found.is_clean].mean()
    assert (found.is_clean != is_wrong).mean() > 0.97


def test_the_last_normalised_vectors_are_averaged():
    rng = np.random.default_rng(0)
    history = rng.uniform(0, 5, (6, 80)) + np.where(np.arange(80) < 50, 0, 9)
    scaled = [normalised_losses(row) for row in history]
    np.testing.assert_allclose(
        co_divide(history[-1], history[:-1], average_last=5).normalised, np.mean(scaled[-5:], axis=0)
    )
    # A shorter history: all of it.
    np.testing.assert_allclose(
        co_divide(history[-1], history[3:5], average_last=5).normalised, np.mean(scaled[3:], axis=0)
    )
    np.testing.assert_allclose(co_divide(history[-1], history[:-1]).normalised, scaled[-1])


def test_equal_losses_are_all_clean():
    found = co_divide([0.7] * 5)
    assert found.is_clean.all()
    assert found.prob_clean.tolist() == [1.0] * 5
    assert found.normalised.tolist() == [0.0] * 5
    assert co_divide([3.0]).is_clean.tolist() == [True]


def test_where_the_mixture_fails():
    values, _ = losses()
    previous = CoDivide(np.linspace(0, 1, 300), np.linspace(0, 1, 300) > 0.5, values)
    with pytest.warns(TamisWarning, match="has not converged; the split of the epoch before stands"):
        found = co_divide(values, previous=previous, max_iter=1, tol=1e-9)
    np.testing.assert_array_equal(found.is_clean, previous.is_clean)
    assert found.normalised.max() == 1.0
    with pytest.warns(TamisWarning, match="the half with smaller losses is clean"):
        first = co_divide(values, max_iter=1, tol=1e-9)
    np.testing.assert_array_equal(first.is_clean, values <= np.median(values))
    assert set(first.prob_clean) == {0.0, 1.0}


def test_never_empty():
    values, _ = losses()
    found = co_divide(values, threshold=1 - 1e-16)
    assert found.is_clean.sum() >= 30
    assert found.prob_clean[found.is_clean].min() >= found.prob_clean[~found.is_clean].max()
    assert co_divide(values, threshold=1 - 1e-16, batch_size=64).is_clean.sum() >= 64


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([], {}, "losses is empty"),
        ([1.0, float("nan")], {}, "losses row 1 is nan"),
        ([[1.0]], {}, "losses has shape"),
        ([1.0, 2.0], {"history": [[1.0]]}, r"history has shape \(1, 1\)"),
        ([1.0, 2.0], {"history": [[1.0, np.inf]], "average_last": 2}, "history row 1 is inf"),
        ([1.0, 2.0], {"average_last": 0}, "average_last is 0"),
        ([1.0, 2.0], {"batch_size": 0}, "batch_size 0"),
        ([1.0, 2.0], {"threshold": 1.0}, "threshold is 1.0"),
        ([1.0, 2.0], {"previous": CoDivide(np.ones(3), np.ones(3, bool), np.ones(3))}, "previous has 3"),
    ],
)
def test_bad_input_is_refused(values, options, message):
    with pytest.raises(InputError, match=message):
        co_divide(values, **options)
