"""The least disagree metric: hand numbers, a slow reference, the properties of the specification, edges."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from tamis.errors import InputError, TamisWarning
from tamis.statistics.least_disagree import SIGMAS, least_disagree_metric


def two_classes(d=2, n=400, seed=0, size=0.5):
    """Return a linear head of a given size and the rows of two normal classes."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % 2
    pool = rng.normal(size=(n, d)) + np.where(truth, 1.0, -1.0)[:, None] / np.sqrt(d)
    weight = np.stack([-np.ones(d), np.ones(d)], axis=1) * size
    return weight, np.zeros(2), pool


def slow(weight, bias, pool, reference, draws, patience, sigmas, labels=None):
    """Follow the algorithm draw by draw and row by row."""
    d, k = weight.shape
    before, before_ref = (pool @ weight + bias).argmax(1), (reference @ weight + bias).argmax(1)
    ldm = np.ones(len(pool))
    if labels is not None:
        ldm[before == labels] = 0
    used = 0
    for sigma in sigmas:
        count = 0
        while count < patience:
            z = draws[used]
            used, count = used + 1, count + 1
            w, b = weight + sigma * z[: d * k].reshape(d, k), bias + sigma * z[d * k :]
            rho = np.mean((reference @ w + b).argmax(1) != before_ref)
            for i, x in enumerate(pool):
                now = (x @ w + b).argmax()
                hit = now != before[i] if labels is None else now == labels[i]
                if hit and rho < ldm[i]:
                    ldm[i], count = rho, 0
    return ldm, used


@pytest.mark.parametrize("mode", ["any", "label"])
@pytest.mark.parametrize("patience", [1, 3])
def test_against_the_slow_reference(mode, patience):
    rng = np.random.default_rng(3)
    weight, bias = rng.normal(size=(3, 4)), rng.normal(size=4)
    pool, reference = rng.normal(size=(12, 3)), rng.normal(size=(25, 3))
    labels = rng.integers(0, 4, 12) if mode == "label" else None
    sigmas, draws = SIGMAS[::5], rng.normal(size=(600, 16))
    expected, used = slow(weight, bias, pool, reference, draws, patience, sigmas, labels)
    found = least_disagree_metric(
        weight,
        bias,
        pool,
        reference,
        labels=labels,
        patience=patience,
        sigmas=sigmas,
        relative_sigma=False,
        draws=draws,
    )
    np.testing.assert_allclose(found.values, expected, rtol=0, atol=1e-12)
    assert found.n_draws == used


def test_by_hand():
    # One feature: the boundary lies at 0; the noise on the biases alone moves it to the right, then further.
    weight, bias = np.array([[-1.0, 1.0]]), np.zeros(2)
    pool = np.array([[-2.0], [0.5], [2.0]])
    draws = np.array([[0, 0, 1.0, -1.0], [0, 0, 3.0, -3.0], [0, 0, 0, 0]])
    found = least_disagree_metric(
        weight, bias, pool, patience=1, sigmas=[1.0], relative_sigma=False, draws=draws
    )
    # Draw 1 flips the row at 0.5 (one of three), draw 2 the one at 2 too (two of three), draw 3 nothing.
    np.testing.assert_allclose(found.values, [1.0, 1 / 3, 2 / 3])
    assert found.n_draws == 3


def test_values_are_shares_and_more_draws_never_raise_them():
    weight, bias, pool = two_classes(n=120)
    few = least_disagree_metric(weight, bias, pool, patience=2)
    many = least_disagree_metric(weight, bias, pool, patience=6)
    capped = least_disagree_metric(weight, bias, pool, patience=6, max_draws=2)
    np.testing.assert_allclose(few.values * 120, np.round(few.values * 120), atol=1e-9)
    assert ((few.values >= 0) & (few.values <= 1)).all()
    assert (many.values <= few.values).all()
    assert (many.values < few.values).any()
    assert (capped.values >= many.values).all()
    assert capped.n_draws == 2 * len(SIGMAS)


@pytest.mark.parametrize("d", [2, 16])
@pytest.mark.parametrize(("patience", "size"), [(2, 0.25), (10, 0.7)])
def test_follows_the_margin(d, patience, size):
    weight, bias, pool = two_classes(d, size=size)
    logits = pool @ weight + bias
    margin = np.abs(logits[:, 0] - logits[:, 1])
    found = least_disagree_metric(weight, bias, pool, patience=patience, relative_sigma=False)
    assert spearmanr(found.values, margin).statistic >= 0.8


def test_what_all_classes_share_changes_nothing():
    rng = np.random.default_rng(1)
    weight, bias, pool = rng.normal(size=(4, 3)), rng.normal(size=3), rng.normal(size=(60, 4))
    first = least_disagree_metric(weight, bias, pool, patience=2, relative_sigma=False)
    moved = least_disagree_metric(
        weight + rng.normal(size=(4, 1)), bias + 5.0, pool, patience=2, relative_sigma=False
    )
    np.testing.assert_array_equal(first.values, moved.values)


def test_relative_scales_do_not_see_the_size_of_the_head():
    rng = np.random.default_rng(1)
    weight, bias, pool = rng.normal(size=(4, 3)), rng.normal(size=3), rng.normal(size=(60, 4))
    first = least_disagree_metric(weight, bias, pool, patience=2)
    large = least_disagree_metric(weight * 64, bias * 64, pool, patience=2)
    np.testing.assert_array_equal(first.values, large.values)
    absolute = least_disagree_metric(weight * 8, bias * 8, pool, patience=2, relative_sigma=False)
    assert (absolute.values == 1).sum() > (large.values == 1).sum()


def test_row_order_and_blocks_do_not_matter():
    weight, bias, pool = two_classes(4, 150)
    reference = pool[:40]
    first = least_disagree_metric(weight, bias, pool, reference, patience=3)
    rows = np.random.default_rng(0).permutation(150)
    second = least_disagree_metric(weight, bias, pool[rows], reference[::-1], patience=3)
    np.testing.assert_array_equal(second.values, first.values[rows])
    third = least_disagree_metric(weight, bias, pool, reference, patience=3, memory_budget="1MiB")
    np.testing.assert_array_equal(third.values, first.values)


def test_classes_may_be_numbered_otherwise():
    rng = np.random.default_rng(5)
    weight, bias, pool = rng.normal(size=(4, 3)), rng.normal(size=3), rng.normal(size=(50, 4))
    draws, turn = rng.normal(size=(2000, 15)), np.array([2, 0, 1])
    first = least_disagree_metric(weight, bias, pool, patience=2, draws=draws)
    turned = draws.reshape(-1, 5, 3)[:, :, turn].reshape(2000, 15)
    second = least_disagree_metric(weight[:, turn], bias[turn], pool, patience=2, draws=turned)
    np.testing.assert_array_equal(second.values, first.values)


def test_seeds():
    weight, bias, pool = two_classes(n=80)
    first = least_disagree_metric(weight, bias, pool, patience=2, random_state=7)
    assert (
        first.values == least_disagree_metric(weight, bias, pool, patience=2, random_state=7).values
    ).all()
    assert (
        first.values != least_disagree_metric(weight, bias, pool, patience=2, random_state=8).values
    ).any()


def test_flip_to_a_label():
    weight, bias, pool = two_classes(n=100)
    predicted = (pool @ weight + bias).argmax(1)
    agrees = least_disagree_metric(weight, bias, pool, labels=predicted, patience=2)
    assert (agrees.values == 0).all()
    # With two classes the only flip is to the other class.
    other = least_disagree_metric(weight, bias, pool, labels=1 - predicted, patience=2)
    np.testing.assert_array_equal(other.values, least_disagree_metric(weight, bias, pool, patience=2).values)


def test_few_reference_rows_give_zeros_and_half_precision_is_widened():
    weight, bias, pool = two_classes(n=60)
    found = least_disagree_metric(weight, bias, pool, pool[[0]], patience=3)
    assert set(np.unique(found.values)) <= {0.0, 1.0}
    assert (found.values == 0).any()
    half = least_disagree_metric(
        torch.tensor(weight).half(), bias.astype(np.float16), pool.astype(np.float16)
    )
    assert half.values[np.abs(pool.sum(1)).argmin()] < 0.1
    assert least_disagree_metric(weight, bias, pool[:0], pool, patience=1).values.shape == (0,)


def test_scales_that_are_too_small_are_told():
    weight, bias, pool = two_classes(n=20)
    with pytest.warns(
        TamisWarning, match="no perturbation flipped any of the 20 rows; pass relative_sigma=True"
    ):
        found = least_disagree_metric(
            weight * 1e9, bias, pool, patience=1, relative_sigma=False, sigmas=[1e-5]
        )
    assert (found.values == 1).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": np.ones((2, 1)), "bias": [0.0]}, r"expected \(D, K\) and \(K,\) with K >= 2"),
        ({"weight": np.ones((3, 2))}, r"pool has shape \(4, 2\); expected \(rows, 3\)"),
        ({"bias": [0.0]}, r"bias has shape \(1, 1\); expected \(rows, 2\)"),
        ({"bias": np.zeros((2, 2))}, "transpose the weight"),
        ({"pool": [[0.0, np.nan]]}, "pool row 0 holds NaN or infinity"),
        ({"pool": [["a", "b"]]}, "expected real numbers"),
        ({"reference": np.ones((0, 2))}, "reference has no rows"),
        ({"labels": [0, 1, 2, 0]}, "labels row 2 is 2; legal are 0 to 1"),
        ({"labels": [0.0, 1.0, 0.0, 0.0]}, r"expected \(4,\) integers"),
        ({"patience": 0}, "patience is 0"),
        ({"max_draws": 1.5}, "max_draws is 1.5"),
        ({"sigmas": [1.0, 0.5]}, "sigmas must be increasing"),
        ({"draws": np.ones((3, 5))}, r"draws has shape \(3, 5\); expected \(rows, 6\)"),
        ({"draws": np.ones((3, 6))}, "draws has 3 rows and all are used up at scale 1"),
        ({"random_state": -1}, "random_state is -1"),
        ({"memory_budget": "many"}, "memory_budget 'many' is not a size"),
    ],
)
def test_bad_input_is_refused(change, message):
    given = {"weight": np.array([[1.0, -1.0], [0.0, 1.0]]), "bias": np.zeros(2), "pool": np.ones((4, 2))}
    given = {**given, "sigmas": [0.1, 1.0], "patience": 2} | change
    with pytest.raises(InputError, match=message):
        least_disagree_metric(**given)
