"""Beliefs translated into reference probabilities: by hand, against scipy and scikit-learn, limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from tamis.errors import InputError
from tamis.statistics.translation import fit_translation


def _made(n: int = 300, k: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    targets = rng.dirichlet(np.full(k, 0.5), size=n)
    labels = np.array([rng.choice(k, p=row) for row in targets])
    leaning = np.log(targets) + 2.0 * np.eye(k)[labels] + 0.3 * rng.normal(size=(n, k))
    return softmax(leaning, axis=1), labels, targets


def test_beliefs_that_are_right_stay_by_hand() -> None:
    targets = np.array([[0.8, 0.2], [0.3, 0.7], [0.6, 0.4], [0.1, 0.9]])
    found = fit_translation(targets, np.array([0, 1, 1, 0]), targets)
    # Below 25 rows per cell: b = 1 and c = 0 leave the beliefs as they are.
    np.testing.assert_allclose(found.mixing, np.eye(2), atol=1e-3)
    np.testing.assert_allclose(found.given, np.zeros((2, 2)), atol=1e-3)


def test_the_lean_towards_given_labels_is_taken_away() -> None:
    beliefs, labels, targets = _made(2000)
    found = fit_translation(beliefs, labels, targets)
    own = np.arange(2000)
    before = beliefs[own, labels].mean() - targets[own, labels].mean()
    after = np.exp(found.log_probs(beliefs, labels))[own, labels].mean() - targets[own, labels].mean()
    assert before > 0.15
    assert abs(after) < 1e-3
    assert found.given.diagonal().mean() < -1


def test_against_scipy() -> None:
    beliefs, labels, targets = _made()
    evidence = np.log(np.maximum(beliefs, 0.01 / 3))
    evidence -= evidence.mean(axis=1, keepdims=True)

    def parts(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        extra = x[2:].reshape(2, 3, 3)
        return x[0] * np.eye(3) + extra[0], x[1] * np.eye(3) + extra[1]

    def loss(x: np.ndarray) -> float:
        mixing, given = parts(x)
        log_q = log_softmax(evidence @ mixing + given[labels], axis=1)
        return float(-(targets * log_q).sum() + ((x[2:] ** 2).sum() + x[1] ** 2) / 2) / len(labels)

    best = minimize(loss, np.r_[0.5, np.zeros(19)], method="BFGS", options={"gtol": 1e-7})
    mixing, given = parts(best.x)
    expected = log_softmax(evidence @ mixing + given[labels], axis=1)
    found = fit_translation(beliefs, labels, targets).log_probs(beliefs, labels)
    np.testing.assert_allclose(np.exp(found), np.exp(expected), atol=1e-4)


def test_a_model_that_knows_its_labels_by_heart_says_nothing() -> None:
    _, labels, targets = _made(900)
    beliefs = np.full((900, 3), 1e-6) + (1 - 3e-6) * np.eye(3)[labels]
    probs = np.exp(fit_translation(beliefs, labels, targets).log_probs(beliefs, labels))
    for code in range(3):
        mine = probs[labels == code]
        np.testing.assert_allclose(mine, np.broadcast_to(mine[0], mine.shape), atol=1e-9)
        np.testing.assert_allclose(mine[0], targets[labels == code].mean(axis=0), atol=0.02)


def test_order_of_rows_and_codes_of_classes_do_not_matter() -> None:
    beliefs, labels, targets = _made()
    found = fit_translation(beliefs, labels, targets).log_probs(beliefs, labels)
    order = np.random.default_rng(1).permutation(300)
    again = fit_translation(beliefs[order], labels[order], targets[order])
    np.testing.assert_allclose(np.exp(again.log_probs(beliefs, labels)), np.exp(found), atol=1e-5)
    codes = np.array([2, 0, 1])  # class c is called codes[c]
    back = np.argsort(codes)
    renamed = fit_translation(beliefs[:, back], codes[labels], targets[:, back])
    probs = np.exp(renamed.log_probs(beliefs[:, back], codes[labels]))[:, codes]
    np.testing.assert_allclose(probs, np.exp(found), atol=1e-5)


@pytest.mark.parametrize("n", [1, 20])
def test_few_rows_have_two_numbers_only(n: int) -> None:
    beliefs, labels, targets = _made(n)
    found = fit_translation(beliefs, labels, targets)
    assert torch.equal(found.mixing, found.mixing[0, 0] * torch.eye(3, dtype=torch.float64))
    assert torch.equal(found.given, found.given[0, 0] * torch.eye(3, dtype=torch.float64))
    assert np.isfinite(found.log_probs(beliefs, labels)).all()


@pytest.mark.parametrize(
    ("labels", "targets", "message"),
    [
        (np.array([0, 1]), np.ones((2, 3)) / 3, "fit together"),
        (np.array([0]), np.ones((2, 2)) / 2, "fit together"),
        (np.array([0, 2]), np.ones((2, 2)) / 2, "from 0 to 2"),
        (np.array([-1, 1]), np.ones((2, 2)) / 2, "from -1 to 1"),
    ],
)
def test_bad_input(labels: np.ndarray, targets: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit_translation(np.ones((2, 2)) / 2, labels, targets)
    with pytest.raises(InputError, match="no row"):
        fit_translation(np.ones((0, 2)), np.zeros(0, dtype=int), np.ones((0, 2)))
