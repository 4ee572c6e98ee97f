"""The fit of a noise model: the written-out gradient, and that the fit ends where nothing is better."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tamis.statistics.noise_fit import Prior, maximise, objective, prior_for
from tamis.statistics.noise_gradient import log_likelihood
from tamis.statistics.noise_model import NoiseModel, centred

FIELDS = ("weights", "mixing", "bias", "affinity", "uniform_logit")


def _model(k: int, n_kinds: int, ambiguity: float, seed: int) -> NoiseModel:
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.from_numpy(np.asarray(rng.normal(size=shape)))

    return NoiseModel(
        draw(n_kinds).abs(), 0.2 * draw(k, k), draw(k), draw(k, k) + 2 * torch.eye(k), draw(), ambiguity
    )


def _rows(n: int, k: int, n_kinds: int, size: float, seed: int) -> tuple[list[torch.Tensor], torch.Tensor]:
    rng = np.random.default_rng(seed)
    pieces = [centred(torch.from_numpy(size * rng.normal(size=(n, k)))) for _ in range(n_kinds)]
    return pieces, torch.from_numpy(rng.integers(0, k, n))


def test_one_row_by_hand() -> None:
    model = NoiseModel(
        weights=torch.tensor([1.0], dtype=torch.float64),
        mixing=torch.zeros(2, 2, dtype=torch.float64),
        bias=torch.zeros(2, dtype=torch.float64),
        affinity=torch.tensor([[0.9, 0.1], [0.2, 0.8]], dtype=torch.float64).log(),
        uniform_logit=torch.tensor(math.log(1 / 3), dtype=torch.float64),  # u = 1/4
        ambiguity=0.0,
    )
    # q = (3/4, 1/4), given class 0: P = 3/4 (3/4 0.9 + 1/8) + 1/4 (3/4 0.2 + 1/8).
    piece = centred(torch.tensor([[math.log(3.0), 0.0]], dtype=torch.float64))
    value, gradient = log_likelihood(model, [piece], torch.tensor([0]))
    first, second = 0.75 * (0.675 + 0.125), 0.25 * (0.15 + 0.125)
    total = first + second
    assert value == pytest.approx(math.log(total))
    # By the bias of class 0: q0 (1 - q0) (P(s | 0) - P(s | 1)) / P(s).
    assert float(gradient.bias[0]) == pytest.approx(0.1875 * (0.8 - 0.275) / total)
    assert float(gradient.bias.sum()) == pytest.approx(0.0, abs=1e-15)
    # By u: of class y with q_y, 1/2 - A[y, 0]; u by its logit is u (1 - u).
    by_u = 0.75 * (0.5 - 0.9) + 0.25 * (0.5 - 0.2)
    assert float(gradient.uniform_logit) == pytest.approx(by_u * 0.1875 / total)


@pytest.mark.parametrize("ambiguity", [0.0, 0.23, 1.0, 9.0])
@pytest.mark.parametrize(("k", "n_kinds", "size"), [(2, 1, 1.0), (5, 3, 4.0), (4, 2, 60.0)])
def test_gradient_against_autograd(ambiguity: float, k: int, n_kinds: int, size: float) -> None:
    model = _model(k, n_kinds, ambiguity, seed=k)
    pieces, labels = _rows(40, k, n_kinds, size, seed=1)
    free = {name: getattr(model, name).clone().requires_grad_() for name in FIELDS}
    expected = torch.logsumexp(replace(model, **free).log_joint(pieces, labels), 1).mean()
    expected.backward()
    value, gradient = log_likelihood(model, pieces, labels)
    assert value == pytest.approx(float(expected.detach()), abs=1e-12)
    for name in FIELDS:
        found, by = getattr(gradient, name), free[name].grad
        assert found.shape == by.shape
        assert torch.allclose(found, by, rtol=1e-10, atol=1e-12), name


def test_rows_and_classes_may_be_in_any_order() -> None:
    model = _model(4, 2, 0.23, seed=0)
    pieces, labels = _rows(30, 4, 2, 3.0, seed=2)
    value, gradient = log_likelihood(model, pieces, labels)
    rows, names = torch.arange(30).flip(0), torch.tensor([2, 0, 3, 1])
    renamed = replace(
        model,
        mixing=model.mixing[names][:, names],
        bias=model.bias[names],
        affinity=model.affinity[names][:, names],
    )
    moved = [piece[rows][:, names] for piece in pieces]
    again, by = log_likelihood(renamed, moved, names.argsort()[labels[rows]])
    assert again == pytest.approx(value, abs=1e-12)
    assert torch.allclose(by.affinity, gradient.affinity[names][:, names], atol=1e-12)
    assert torch.allclose(by.weights, gradient.weights, atol=1e-12)


def test_the_scale_of_a_row_of_the_transition_does_not_matter() -> None:
    model = _model(4, 2, 0.23, seed=0)
    pieces, labels = _rows(30, 4, 2, 3.0, seed=2)
    value, gradient = log_likelihood(model, pieces, labels)
    # A step of the search may well try this: e^900 is no number any more.
    scaled = replace(model, affinity=model.affinity + torch.tensor([[900.0], [-900.0], [3.0], [0.0]]))
    again, by = log_likelihood(scaled, pieces, labels)
    assert again == pytest.approx(value, abs=1e-12)
    for name in FIELDS:
        assert torch.allclose(getattr(by, name), getattr(gradient, name), rtol=1e-9, atol=1e-12), name


@pytest.mark.parametrize("level", [50.0, 5000.0])
def test_labels_that_are_never_wrong(level: float) -> None:
    model = replace(
        _model(3, 1, 0.23, seed=1),
        affinity=level * torch.eye(3).double(),
        uniform_logit=torch.tensor(-12.0).double(),
    )
    piece = centred(1e4 * torch.eye(3, dtype=torch.float64)[torch.arange(30) % 3])
    for labels in (torch.arange(30) % 3, (torch.arange(30) + 1) % 3):
        value, gradient = log_likelihood(model, [piece], labels)
        assert math.isfinite(value)
        assert all(torch.isfinite(getattr(gradient, name)).all() for name in FIELDS)


@pytest.mark.parametrize("prior", [None, Prior(20.0, 7.0, 0.5, 4.0, 0.1), Prior(20.0, 1.5)])
def test_nothing_near_the_fit_is_better(prior: Prior | None) -> None:
    pieces, labels = _rows(200, 3, 2, 1.0, seed=3)
    # Labels drawn from what the first evidence says, an eighth of them from nothing.
    drawn = (2 * pieces[0] + torch.from_numpy(np.random.default_rng(7).gumbel(size=(200, 3)))).argmax(1)
    labels = torch.where(torch.arange(200) % 8 > 0, drawn, labels)
    prior = prior_for(pieces, labels) if prior is None else prior
    found = maximise(_model(3, 2, 0.23, seed=4), pieces, labels, prior, 500)
    least = objective(found, pieces, labels, prior)
    for name in FIELDS:
        flat = getattr(found, name).reshape(-1)
        for place in range(len(flat)):
            for step in (-1e-2, 1e-2):
                moved = flat.clone()
                moved[place] += step
                near = replace(found, **{name: moved.reshape(getattr(found, name).shape)})
                assert objective(near, pieces, labels, prior) > least - 1e-7, (name, place)


def test_what_is_known_stays() -> None:
    pieces, labels = _rows(100, 3, 1, 2.0, seed=5)
    start = _model(3, 1, 0.23, seed=6)
    prior = Prior(20.0, 1.5)
    known = maximise(start, pieces, labels, prior, 50, noise_is_known=True)
    assert torch.equal(known.mixing, start.mixing)
    assert torch.allclose(known.affinity, start.affinity, atol=1e-15)
    assert not torch.equal(known.bias, start.bias)
    held = maximise(start, pieces, labels, prior, 50, level_is_known=True)
    assert torch.equal(held.uniform_logit, start.uniform_logit)
    assert not torch.allclose(held.affinity, start.affinity)
