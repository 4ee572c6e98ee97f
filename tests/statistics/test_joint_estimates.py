"""The confident joint and latent estimates on arrays: by hand, beside the reference package, edges."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.errors import InputError
from tamis.statistics.joint_estimates import (
    calibrate_confident_joint,
    compute_confident_joint,
    estimate_joint,
    get_confident_thresholds,
    num_label_issues,
)
from tamis.statistics.latent_estimates import (
    estimate_latent,
    estimate_py_and_noise_matrices_from_probabilities,
)


def draw(seed, n, k, dtype=np.float64, absent=0):
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.full(k, rng.choice([0.1, 0.5, 3.0])), n)
    labels = (rng.random((n, 1)) > probs.cumsum(axis=1)[:, :-1]).sum(axis=1)
    labels = np.where(labels >= k - absent, 0, labels)
    labels[0], labels[-1] = 0, 1
    return labels, probs.astype(dtype)


CASES = st.tuples(
    st.integers(0, 2**32 - 1),
    st.integers(2, 120),
    st.integers(2, 8),
    st.sampled_from([np.float64, np.float32]),
    st.integers(0, 2),
).filter(lambda case: case[2] - case[4] >= 2)


@given(CASES, st.booleans(), st.booleans())
def test_joint_beside_the_reference(case, is_calibrated, is_given):
    count = pytest.importorskip("cleanlab.count")
    labels, probs = draw(*case)
    thresholds = np.random.default_rng(case[0]).random(probs.shape[1]) + 0.01 if is_given else None
    np.testing.assert_array_equal(
        get_confident_thresholds(labels, probs), count.get_confident_thresholds(labels, probs)
    )
    options = {"thresholds": thresholds, "calibrate": is_calibrated, "return_indices_of_off_diagonals": True}
    expected = count.compute_confident_joint(labels, probs, **options)
    for ours, theirs in zip(compute_confident_joint(labels, probs, **options), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_allclose(estimate_joint(labels, probs), count.estimate_joint(labels, probs), atol=1e-15)


@given(CASES)
def test_numbers_of_issues_beside_the_reference(case):
    count = pytest.importorskip("cleanlab.count")
    labels, probs = draw(*case)
    joint = np.random.default_rng(case[0]).integers(0, 9, (probs.shape[1],) * 2)
    for method in ("off_diagonal", "off_diagonal_calibrated", "off_diagonal_custom"):
        options = {"estimation_method": method}
        options |= {"confident_joint": joint} if method == "off_diagonal_custom" else {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = count.num_label_issues(labels, probs, **options)
        if np.isfinite(expected):
            assert num_label_issues(labels, probs, **options) == expected


@given(CASES, st.sampled_from(["cnt", "marginal", "marginal_ps"]), st.booleans())
def test_latent_estimates_beside_the_reference(case, method, is_converged):
    count = pytest.importorskip("cleanlab.count")
    labels, probs = draw(*case)
    options = {"py_method": method, "converge_latent_estimates": is_converged}
    expected = count.estimate_py_and_noise_matrices_from_probabilities(labels, probs, **options)
    ours = estimate_py_and_noise_matrices_from_probabilities(labels, probs, **options)
    for mine, theirs in zip(ours, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-8)
    joint = compute_confident_joint(labels, probs, calibrate=False)
    expected = count.estimate_latent(joint, labels, **options)
    for mine, theirs in zip(estimate_latent(joint, labels, **options), expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-8)


def test_by_hand():
    labels = [0, 0, 1, 1, 0]
    probs = [[0.9, 0.1], [0.7, 0.3], [0.4, 0.6], [0.2, 0.8], [0.8, 0.2]]
    joint, rows = compute_confident_joint(
        labels, probs, K=2, calibrate=False, return_indices_of_off_diagonals=True
    )
    assert joint.tolist() == [[2, 0], [0, 1]]
    assert rows.tolist() == []
    assert compute_confident_joint(labels, probs).tolist() == [[3, 0], [0, 2]]
    latent = estimate_latent([[6, 2], [0, 4]], [0] * 8 + [1] * 4)
    np.testing.assert_allclose(latent.noise_matrix, [[1, 1 / 3], [0, 2 / 3]])
    np.testing.assert_allclose(latent.inverse_noise_matrix, [[3 / 4, 0], [1 / 4, 1]])
    np.testing.assert_allclose(latent.py, [1 / 2, 1 / 2])


def test_agreeing_estimates_agree():
    labels, probs = draw(1, 400, 3)
    latent = estimate_latent(compute_confident_joint(labels, probs), labels, converge_latent_estimates=True)
    shares = np.bincount(labels) / 400
    np.testing.assert_allclose(latent.noise_matrix @ latent.py, shares, atol=1e-6)
    np.testing.assert_allclose(latent.inverse_noise_matrix @ shares, latent.py, atol=1e-6)


@given(CASES)
def test_totals(case):
    labels, probs = draw(*case)
    joint = compute_confident_joint(labels, probs)
    np.testing.assert_array_equal(joint.sum(axis=1), np.bincount(labels, minlength=probs.shape[1]))
    rows = np.random.default_rng(0).permutation(len(labels))
    if case[3] is np.float64:
        np.testing.assert_array_equal(compute_confident_joint(labels[rows], probs[rows]), joint)
    assert calibrate_confident_joint(joint, labels).tolist() == joint.tolist()


def test_no_confident_row():
    joint = compute_confident_joint([0, 1], np.full((2, 2), 0.5), thresholds=[0.9, 0.9], calibrate=False)
    assert joint.tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda y, p: compute_confident_joint(y, p, K=3), "K is 3 but pred_probs has 2 columns"),
        (lambda y, p: compute_confident_joint(y, p, multi_label=True), "one label a row"),
        (lambda y, p: compute_confident_joint(y, p, thresholds=[0.5]), "expected 2 numbers above 1e-6"),
        (lambda y, p: compute_confident_joint(y, p, thresholds=[0.5, 0]), "expected 2 numbers above 1e-6"),
        (lambda y, p: get_confident_thresholds(y, p, multi_label=True), "one label a row"),
        (lambda y, p: num_label_issues(y, p, estimation_method="luck"), "legal are 'off_diagonal'"),
        (
            lambda y, p: num_label_issues(y, p, estimation_method="off_diagonal_custom"),
            "needs confident_joint",
        ),
        (lambda y, p: estimate_joint(y, p, confident_joint=[[1, 2]]), r"has shape \(1, 2\)"),
        (lambda y, p: calibrate_confident_joint(3, y), r"has shape \(\)"),
        (lambda y, p: calibrate_confident_joint([[1, -1], [0, 1]], y), "none negative"),
        (lambda y, p: calibrate_confident_joint([[1]], y), "labels row 1 is 1"),
        (lambda y, p: estimate_latent([[1, 0], [0, 1]], y, py_method="luck"), "prior_method is 'luck'"),
    ],
)
def test_bad_use(call, message):
    with pytest.raises(InputError, match=message):
        call([0, 1], [[0.9, 0.1], [0.2, 0.8]])
