"""Logistic regression: against scikit-learn, against loops, out of sample, in any block size."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tamis.errors import InputError
from tamis.statistics import logistic
from tamis.statistics.logistic import PENALTIES, CrossValidatedLogistic, fit_logistic, standardise


def _classes(n: int = 240, d: int = 6, k: int = 3, seed: int = 0) -> tuple[torch.Tensor, np.ndarray]:
    rng = np.random.default_rng(seed)
    codes = np.arange(n) % k
    x = rng.normal(size=(n, d)) + 1.5 * np.eye(d)[codes]
    return standardise(x), codes


@pytest.mark.parametrize("penalty", [1e-3, 1e-1])
def test_agrees_with_scikit_learn(penalty: float) -> None:
    from sklearn.linear_model import LogisticRegression

    x, codes = _classes()
    model = fit_logistic([x], [torch.eye(3)[codes]], penalty=penalty, max_iter=1000)
    other = LogisticRegression(C=1 / (len(x) * penalty), tol=1e-10, max_iter=10_000)
    other.fit(x.double().numpy(), codes)
    weights = model.weights.numpy()
    assert np.allclose(weights[:-1].T, other.coef_, atol=1e-4)
    # Intercepts are free up to a constant that all classes share.
    assert np.allclose(
        weights[-1] - weights[-1].mean(), other.intercept_ - other.intercept_.mean(), atol=1e-4
    )
    probs = torch.softmax(model.logits(x), 1).numpy()
    assert np.allclose(probs, other.predict_proba(x.double().numpy()), atol=1e-4)


def test_by_hand() -> None:
    """Two rows at -1 and 1: by symmetry the gap w of the logits solves sigmoid(-2w) = penalty * w."""
    x = torch.tensor([[-1.0], [1.0]])
    weights = fit_logistic([x], [torch.eye(2)], penalty=0.1, max_iter=500).weights
    w = float(weights[0, 1])
    assert float(weights[0, 0]) == pytest.approx(-w, abs=1e-5)
    assert 1 / (1 + np.exp(2 * w)) == pytest.approx(0.1 * w, abs=1e-5)


def test_soft_targets_equal_repeated_rows() -> None:
    """A target of (3/4, 1/4) says the same as three rows of one class and one of the other."""
    x, _ = _classes(n=30)
    shares = torch.from_numpy(np.random.default_rng(1).integers(0, 5, size=30) / 4).float()
    soft = torch.stack([shares, 1 - shares], 1)
    repeated = [torch.cat([x] * 4)]
    hard = torch.cat([torch.eye(2)[(torch.full((30,), step / 4) >= shares).long()] for step in range(4)])
    one = fit_logistic([x], [soft], penalty=0.01, max_iter=1000).weights
    two = fit_logistic(repeated, [hard], penalty=0.01, max_iter=1000).weights
    assert torch.allclose(one, two, atol=1e-4)


def test_pieces_and_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    x, codes = _classes()
    targets = torch.eye(3)[codes]
    whole = fit_logistic([x], [targets], penalty=0.01, max_iter=500).weights
    pieces = fit_logistic(
        [x[:7], x[7:100], x[100:]], [targets[:7], targets[7:100], targets[100:]], penalty=0.01
    )
    assert torch.allclose(whole, pieces.weights, atol=1e-4)
    monkeypatch.setattr(logistic, "_BLOCK_ROWS", 11)
    assert torch.allclose(fit_logistic([x], [targets], penalty=0.01).weights, whole, atol=1e-4)


def test_a_start_does_not_change_the_end() -> None:
    x, codes = _classes()
    targets = torch.eye(3)[codes]
    cold = fit_logistic([x], [targets], penalty=0.01, max_iter=500)
    warm = fit_logistic([x], [targets], penalty=0.01, start=torch.full_like(cold.weights, 2.0))
    # Weights agree but for a constant shared by the free intercepts.
    assert torch.allclose(warm.weights[:-1], cold.weights[:-1], atol=1e-3)
    assert torch.allclose(warm.logits(x).softmax(1), cold.logits(x).softmax(1), atol=1e-3)


def test_folds_are_out_of_sample() -> None:
    """Each fold's logits come from a fit to the other folds, here done one by one."""
    x, codes = _classes()
    folds = np.arange(len(x)) % 4
    targets = np.eye(3, dtype=np.float32)[codes]
    regression = CrossValidatedLogistic(x, folds)
    logits = regression.logits(targets)
    assert regression.penalty in PENALTIES
    for fold in range(4):
        train = torch.from_numpy(folds != fold)
        alone = fit_logistic(
            [x[train]], [torch.from_numpy(targets)[train]], penalty=regression.penalty, max_iter=1000
        )
        expected = torch.softmax(alone.logits(x[~train]), 1)
        assert torch.allclose(torch.softmax(logits[~train].double(), 1), expected, atol=1e-3)


def test_own_label_has_no_part_in_a_row() -> None:
    x, codes = _classes()
    folds = np.arange(len(x)) % 4
    targets = np.eye(3, dtype=np.float32)[codes]
    changed = targets.copy()
    changed[folds == 2] = np.eye(3)[0]
    regression, other = CrossValidatedLogistic(x, folds), CrossValidatedLogistic(x, folds)
    regression.penalty = other.penalty = 0.01
    one, two = regression.logits(targets), other.logits(changed)
    assert torch.allclose(one[folds == 2].softmax(1), two[folds == 2].softmax(1), atol=1e-3)
    assert not torch.allclose(one[folds == 1].softmax(1), two[folds == 1].softmax(1), atol=1e-2)


def test_rows_of_no_fold_get_the_mean_of_the_folds() -> None:
    x, codes = _classes()
    folds = np.arange(len(x)) // 3 % 3
    folds[:10] = -1
    targets = np.eye(3, dtype=np.float32)[codes]
    regression = CrossValidatedLogistic(x, folds)
    logits = regression.logits(targets)
    models = [
        fit_logistic(
            [x[torch.from_numpy((folds != fold) & (folds >= 0))]],
            [torch.from_numpy(targets[(folds != fold) & (folds >= 0)])],
            penalty=regression.penalty or 0.0,
            max_iter=1000,
        )
        for fold in range(3)
    ]
    mean = torch.stack([model.logits(x[:10]) for model in models]).mean(0)
    assert torch.allclose(logits[:10].double().softmax(1), mean.softmax(1), atol=2e-3)


def test_a_class_without_rows_gets_little() -> None:
    x, codes = _classes()
    targets = np.eye(4, dtype=np.float32)[codes]
    probs = CrossValidatedLogistic(x, np.arange(len(x)) // 3 % 3).logits(targets).softmax(1)
    assert float(probs[:, 3].max()) < 0.02


def test_more_columns_than_rows() -> None:
    rng = np.random.default_rng(0)
    x, codes = standardise(rng.normal(size=(20, 100))), np.arange(20) % 2
    logits = CrossValidatedLogistic(x, np.arange(20) // 2 % 5).logits(np.eye(2)[codes])
    assert bool(torch.isfinite(logits).all())


def test_refused() -> None:
    x, _ = _classes(n=6)
    with pytest.raises(InputError, match="features has 6 rows and folds 5"):
        CrossValidatedLogistic(x, np.arange(5))
    with pytest.raises(InputError, match="fewer than 2 folds"):
        CrossValidatedLogistic(x, np.zeros(6, dtype=int))


def test_standardise(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(5, 3, size=(50, 4))
    x[:, 2] = 1e6 + 1e-4 * rng.normal(size=50)  # rounding noise beside its size
    x[:, 3] = 7.0
    result = standardise(x).numpy()
    assert np.allclose(result[:, :2], (x[:, :2] - x[:, :2].mean(0)) / x[:, :2].std(0), atol=1e-6)
    assert not result[:, 2:].any()
    monkeypatch.setattr(logistic, "_BLOCK_ROWS", 7)
    assert np.allclose(standardise(x).numpy(), result, atol=1e-6)
