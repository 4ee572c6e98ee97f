"""The noise model: Bayes' rule by loops, planted noise found again, clean labels left alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from tamis.errors import InputError
from tamis.statistics import noise_model, noise_posterior
from tamis.statistics.noise_model import NoiseModel
from tamis.statistics.noise_posterior import AMBIGUITY, fit_noise_model, refit_class_weights


def _model(k: int = 3, n_kinds: int = 2, seed: int = 0) -> NoiseModel:
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.from_numpy(rng.normal(size=shape))

    return NoiseModel(
        weights=draw(n_kinds).abs(),
        mixing=0.1 * draw(k, k),
        bias=draw(k),
        affinity=draw(k, k) + 2 * torch.eye(k),
        uniform_logit=torch.tensor(-1.5, dtype=torch.float64),
        ambiguity=0.4,
    )


def _slow_posterior(model: NoiseModel, evidence: list[np.ndarray], labels: np.ndarray) -> np.ndarray:
    """Bayes' rule in plain loops, from the formulas of the module."""
    n, k = evidence[0].shape
    u = 1 / (1 + math.exp(-float(model.uniform_logit)))
    a = np.exp(model.affinity.numpy())
    result = np.zeros((n, k))
    for i in range(n):
        logits = [float(model.bias[y]) for y in range(k)]
        rows = [[float(v) - float(np.mean(e[i])) for v in e[i]] for e in evidence]
        for y in range(k):
            logits[y] += sum(float(w) * row[y] for w, row in zip(model.weights, rows, strict=True))
            logits[y] += sum(rows[0][j] * float(model.mixing[j, y]) for j in range(k))
        total = sum(math.exp(v) for v in logits)
        q = [math.exp(v) / total for v in logits]
        joint = list(q)
        if labels[i] >= 0:
            for y in range(k):
                lean = [a[y, s] * q[s] ** model.ambiguity for s in range(k)]
                joint[y] = q[y] * ((1 - u) * lean[labels[i]] / sum(lean) + u / k)
        result[i] = np.array(joint) / sum(joint)
    return result


def _evidence(n: int, k: int, n_kinds: int = 2, seed: int = 1) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [np.log(rng.dirichlet(np.ones(k), size=n)) for _ in range(n_kinds)]


def test_two_classes_by_hand() -> None:
    """With g = 0, u = 0, A = [[.9, .1], [.2, .8]] and q = (.5, .5): P(y = 0 | s = 0) = .9 / 1.1."""
    table = torch.tensor([[0.9, 0.1], [0.2, 0.8]], dtype=torch.float64)
    model = NoiseModel(
        weights=torch.ones(1, dtype=torch.float64),
        mixing=torch.zeros(2, 2, dtype=torch.float64),
        bias=torch.zeros(2, dtype=torch.float64),
        affinity=table.log(),
        uniform_logit=torch.tensor(-100.0, dtype=torch.float64),
        ambiguity=0.0,
    )
    even, sure = np.log([[0.5, 0.5]]), np.log([[0.25, 0.75]])
    assert model.posterior([even], np.array([0]))[0, 0] == pytest.approx(0.9 / 1.1)
    # 0.25 * 0.9 / (0.25 * 0.9 + 0.75 * 0.2)
    assert model.posterior([sure], np.array([0]))[0, 0] == pytest.approx(0.225 / 0.375)
    assert model.label_probs([sure], np.array([1]))[0] == pytest.approx(0.6 / 0.625)


@pytest.mark.parametrize("k", [2, 3, 5])
def test_posterior_against_loops(k: int) -> None:
    model, evidence = _model(k), _evidence(20, k)
    labels = np.random.default_rng(2).integers(-1, k, size=20)
    fast = model.posterior(evidence, labels)
    assert np.allclose(fast, _slow_posterior(model, evidence, labels), atol=1e-6)
    known = labels >= 0
    own = model.label_probs([e[known] for e in evidence], labels[known])
    assert np.allclose(own, fast[known, labels[known]], atol=1e-6)


def test_unlabelled_rows_get_the_class_probabilities() -> None:
    model, evidence = _model(), _evidence(6, 3)
    q = model.log_class_probs([torch.from_numpy(e) for e in evidence]).exp().numpy()
    assert np.allclose(model.posterior(evidence, np.full(6, -1)), q, atol=1e-6)
    assert np.allclose(model.posterior(evidence, np.full(6, -1)).sum(1), 1, atol=1e-6)


def test_noise_is_a_distribution_over_given_labels() -> None:
    model, evidence = _model(), [torch.from_numpy(e) for e in _evidence(7, 3)]
    log_q = model.log_class_probs(evidence)
    total = sum(
        (model.log_joint(evidence, torch.full((7,), s, dtype=torch.long)) - log_q).exp() for s in range(3)
    )
    assert torch.allclose(total, torch.ones(7, 3, dtype=torch.float64))


def _gaussians(n: int, k: int, gap: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return true classes and exact log-probabilities, (n, k): Gaussians at the corners of a simplex."""
    true = np.arange(n) % k
    x = np.random.default_rng(seed).normal(size=(n, k)) + gap * np.eye(k)[true]
    return true, gap * x - logsumexp(gap * x, axis=1, keepdims=True)


def _expected_wrong(model: NoiseModel, evidence: list[np.ndarray], labels: np.ndarray) -> float:
    return float((1 - model.label_probs(evidence, labels)).mean())


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5])
def test_finds_the_rate_of_planted_symmetric_noise(rate: float) -> None:
    true, log_probs = _gaussians(3000, 4, 3.0, seed=int(100 * rate))
    rng = np.random.default_rng(7)
    is_wrong = rng.random(3000) < rate
    given = np.where(is_wrong, (true + rng.integers(1, 4, size=3000)) % 4, true)
    model = fit_noise_model([log_probs], given)
    assert _expected_wrong(model, [log_probs], given) == pytest.approx(is_wrong.mean(), abs=0.02)
    # Noise that does not look at the rows lowers the exponent.
    assert model.ambiguity < AMBIGUITY
    score = model.label_probs([log_probs], given)
    assert score[is_wrong].mean() < 0.15 < 0.85 < score[~is_wrong].mean()


def test_finds_the_rate_and_direction_of_asymmetric_noise() -> None:
    true, log_probs = _gaussians(3000, 4, 3.0, seed=5)
    rng = np.random.default_rng(8)
    is_wrong = (rng.random(3000) < 0.3) & (true == 1)
    given = np.where(is_wrong, 2, true)
    model = fit_noise_model([log_probs], given)
    assert _expected_wrong(model, [log_probs], given) == pytest.approx(is_wrong.mean(), abs=0.02)
    posterior = model.posterior([log_probs], given)
    assert posterior[is_wrong].argmax(1).tolist().count(1) > 0.85 * is_wrong.sum()


def test_clean_labels_are_left_alone() -> None:
    true, log_probs = _gaussians(2000, 4, 3.5, seed=9)
    model = fit_noise_model([log_probs], true)
    assert _expected_wrong(model, [log_probs], true) < 0.01


def test_scale_of_the_evidence_does_not_matter_much() -> None:
    """Over-confident log-probabilities are tempered by the weight."""
    true, log_probs = _gaussians(3000, 3, 2.0, seed=10)
    given = np.where(np.random.default_rng(0).random(3000) < 0.2, (true + 1) % 3, true)
    plain = fit_noise_model([log_probs], given, ambiguity=0.0).label_probs([log_probs], given)
    bold = fit_noise_model([4 * log_probs], given, ambiguity=0.0).label_probs([4 * log_probs], given)
    assert np.abs(plain - bold).mean() < 0.02


def test_renumbered_classes_get_the_same_scores() -> None:
    true, log_probs = _gaussians(900, 4, 2.5, seed=11)
    given = np.where(np.random.default_rng(1).random(900) < 0.2, (true + 1) % 4, true)
    new = np.array([2, 0, 3, 1])  # class c becomes new[c]
    renamed = np.empty_like(log_probs)
    renamed[:, new] = log_probs
    one = fit_noise_model([log_probs], given).posterior([log_probs], given)
    two = fit_noise_model([renamed], new[given]).posterior([renamed], new[given])
    assert np.allclose(one, two[:, new], atol=2e-3)


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    model, evidence, labels = _model(), _evidence(50, 3), np.arange(50) % 3
    whole = model.posterior(evidence, labels)
    monkeypatch.setattr(noise_model, "_APPLY_CELLS", 24 * 7)
    assert np.allclose(model.posterior(evidence, labels), whole, atol=1e-7)


def test_fitted_on_some_rows_agrees_with_all(monkeypatch: pytest.MonkeyPatch) -> None:
    true, log_probs = _gaussians(4000, 3, 3.0, seed=12)
    given = np.where(np.random.default_rng(2).random(4000) < 0.2, (true + 1) % 3, true)
    order = np.random.default_rng(3).permutation(4000)
    log_probs, given = log_probs[order], given[order]
    whole = _expected_wrong(fit_noise_model([log_probs], given), [log_probs], given)
    monkeypatch.setattr(noise_posterior, "_FIT_ROWS", 1500)
    assert _expected_wrong(fit_noise_model([log_probs], given), [log_probs], given) == pytest.approx(
        whole, abs=0.02
    )


def test_more_ambiguity_finds_more_wrong_labels() -> None:
    """Why the interval of an audit spans the exponent: the given labels do not determine it."""
    true, log_probs = _gaussians(2000, 3, 1.5, seed=13)
    given = np.where(np.random.default_rng(3).random(2000) < 0.15, (true + 1) % 3, true)
    rates = [
        _expected_wrong(fit_noise_model([log_probs], given, ambiguity=g), [log_probs], given)
        for g in (0.0, 0.25, 0.5)
    ]
    assert rates[0] < rates[1] < rates[2]


def test_refitted_weights_keep_the_noise() -> None:
    true, log_probs = _gaussians(900, 3, 2.5, seed=14)
    given = np.where(np.random.default_rng(4).random(900) < 0.2, (true + 1) % 3, true)
    model = fit_noise_model([log_probs], given)
    again = refit_class_weights(model, [2 * log_probs, 0 * log_probs], given)
    assert torch.equal(again.affinity, model.affinity)
    assert torch.equal(again.uniform_logit, model.uniform_logit)
    assert again.ambiguity == model.ambiguity
    assert not again.mixing.any()
    assert float(again.weights[0]) == pytest.approx(float(model.weights[0]) / 2, abs=0.3)


@pytest.mark.parametrize(
    "case", ["two classes", "absent class", "one row a class", "extreme", "unlabelled", "one row"]
)
def test_edges_give_probabilities(case: str) -> None:
    rng = np.random.default_rng(0)
    k = 2 if case == "two classes" else 4
    n = {"one row a class": 4, "one row": 1}.get(case, 60)
    labels = np.arange(n) % k
    log_probs = np.log(0.05 + 0.8 * np.eye(k)[labels] + 0.1 * rng.random((n, k)))
    if case == "absent class":
        labels = labels % 3
    if case == "extreme":
        log_probs = np.where(rng.random((n, k)) < 0.5, -1e4, 0.0)
    if case == "unlabelled":
        labels = np.where(np.arange(n) % 2, labels, -1)
    model = fit_noise_model([log_probs.astype(np.float32), log_probs], labels)
    posterior = model.posterior([log_probs.astype(np.float32), log_probs], labels)
    assert np.isfinite(posterior).all()
    assert np.allclose(posterior.sum(1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("evidence", "labels", "message"),
    [
        ([], [0, 1], "evidence is empty; give at least one"),
        ([np.zeros((2, 2)), np.zeros((2, 3))], [0, 1], r"shapes .* must be \(n, K\)"),
        ([np.zeros((3, 2))], [0, 1], "for 2 labels"),
        ([np.zeros((2, 1))], [0, 0], "fewer than 2 classes"),
        ([np.zeros((2, 2))], [0, 2], "labels reach 2, evidence has 2 columns"),
        ([np.zeros((2, 2))], [-1, -1], "no labelled row"),
    ],
)
def test_refused(evidence: list[np.ndarray], labels: list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit_noise_model(evidence, np.array(labels))
